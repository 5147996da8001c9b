//! After the calm: what should be readable is read. Whether it should be is decided by what is on the disks of nodes
//! that can be reached and have always behaved, not by what anybody says.

use super::{Run, operations::Operations};
use crate::{
    oracles::ledger::Ledger,
    plan::{Act, Conduct, Do, Nat, Operation, Plan},
    record::NodeId,
};
use pangea_protocols::ShardId;
use std::collections::BTreeSet;

/// Objects that are read back; of more, those stored last.
const OBJECTS_MAX: usize = 64;
/// Ids of read-backs are above those of a plan.
pub const FIRST_ID: u32 = 1 << 30;
/// And those of recalls above these.
const FIRST_RECALL: u32 = 1 << 31;

/// The reads to ask for now.
pub(super) fn plan(plan: &Plan, operations: &Operations, ledger: &Ledger, run: &Run<'_>) -> Vec<Operation> {
    let good: Vec<NodeId> = run.up.iter().copied().filter(|node| is_good(plan, *node)).collect();
    let held: BTreeSet<ShardId> = good.iter().flat_map(|node| run.tier.holdings(*node).shards).collect();
    let now_unix = crate::Timeline::unix(run.tier.now()).0;
    let mut reads = Vec::new();
    for (id, stored) in operations.kept().collect::<Vec<_>>().into_iter().rev().take(OBJECTS_MAX) {
        let Some(Do::Put { lease_s, .. }) = plan.operation(id).map(|operation| operation.what.clone()) else {
            continue;
        };
        // Calendars were off by up to an hour or two: leases that end about now are nobody's business.
        let fresh = stored.sealed_unix + lease_s > now_unix + 4 * 3600;
        let mut draw = run.seed.derive("read back").derive(&id.to_string()).draw();
        let reader = draw.choose(&good).copied();
        if let (true, true, Some(node)) = (fresh, ledger.is_recoverable(id, &held), reader) {
            let at_ms = run.tier.now().0 / 1_000_000;
            let what = Do::Get { of: id, range: None };
            reads.push(Operation { id: FIRST_ID + id, at_ms, node, what });
        }
    }
    reads
}

/// Every plugin is asked for all that any has acknowledged.
pub(super) fn recalls(operations: &Operations, run: &Run<'_>) -> Vec<Operation> {
    let at_ms = run.tier.now().0 / 1_000_000;
    let recall = |node: NodeId| Operation { id: FIRST_RECALL + node, at_ms, node, what: Do::Recall { all: true } };
    operations.plugins().nodes().filter(|node| run.up.contains(node)).map(recall).collect()
}

/// Can be reached by everybody, and has always followed the protocol.
fn is_good(plan: &Plan, node: NodeId) -> bool {
    let open = plan.node(node).is_some_and(|node| node.nat == Nat::Open);
    let misbehaved = plan.faults.iter().any(|fault| match &fault.act {
        Act::Byzantine { nodes, how } => *how != Conduct::Older && nodes.contains(&node),
        Act::Eclipse { nodes, .. } => nodes.contains(&node),
        // It is under a port that nobody knows until it dials again, which may take as long as its back-off.
        Act::Rebind { nodes } => nodes.contains(&node),
        _ => false,
    });
    open && !misbehaved
}
