//! Convergence: some time after the last fault, all nodes that run and can be reached are one connected network again.

use crate::{
    observer::{Findings, Sight, Watch, Who},
    plan::{Nat, Plan},
    record::{NodeId, What},
};
use pangea_protocols::{net::Event, time::Time};
use std::collections::{BTreeMap, BTreeSet};

/// Connections that every node should have, if there are so many others.
const CONNECTIONS_MIN: usize = 2;

/// Who is up, and who is connected to whom.
pub struct Converged {
    /// Nodes that others can reach.
    open: BTreeSet<NodeId>,
    up: BTreeSet<NodeId>,
    connected: BTreeMap<NodeId, BTreeSet<NodeId>>,
}

impl Converged {
    /// Of a plan.
    pub fn new(plan: &Plan) -> Self {
        let open = plan.nodes.iter().filter(|node| node.nat == Nat::Open).map(|node| node.id).collect();
        Self { open, up: BTreeSet::new(), connected: BTreeMap::new() }
    }

    /// All that can be reached from `first`.
    fn component(&self, first: NodeId) -> BTreeSet<NodeId> {
        let (mut found, mut queue) = (BTreeSet::from([first]), vec![first]);
        while let Some(node) = queue.pop() {
            for peer in self.connected.get(&node).into_iter().flatten() {
                if self.up.contains(peer) && found.insert(*peer) {
                    queue.push(*peer);
                }
            }
        }
        found
    }
}

impl Watch for Converged {
    fn name(&self) -> &'static str {
        "converged"
    }

    fn see(&mut self, _: Time, node: Option<NodeId>, who: &Who, sight: Sight<'_>, findings: &mut Findings) {
        let Some(node) = node else { return };
        match sight {
            Sight::Run(What::Started { .. }) => {
                if !self.up.insert(node) || self.connected.contains_key(&node) {
                    findings.goal("restarted");
                }
                self.connected.insert(node, BTreeSet::new());
            }
            Sight::Run(What::Crashed { .. }) => {
                self.up.remove(&node);
            }
            Sight::Heard(Event::Connected { peer, .. }) => {
                self.connected.entry(node).or_default().extend(who.node(*peer));
            }
            Sight::Heard(Event::Disconnected { peer, .. }) => {
                if let (Some(peer), Some(connected)) = (who.node(*peer), self.connected.get_mut(&node)) {
                    connected.remove(&peer);
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, _: Time, findings: &mut Findings) {
        let should: BTreeSet<NodeId> = self.up.intersection(&self.open).copied().collect();
        let Some(first) = should.first() else { return };
        let together = self.component(*first);
        let apart: Vec<&NodeId> = should.difference(&together).collect();
        if !apart.is_empty() {
            findings.violation(format!("nodes {apart:?} are cut off from node {first}, long after the last fault"));
        }
        let wanted = CONNECTIONS_MIN.min(should.len() - 1);
        for node in &should {
            let count = self.connected.get(node).map_or(0, |peers| peers.intersection(&self.up).count());
            if count < wanted {
                findings
                    .violation(format!("node {node} has {count} connections in the end; {wanted} were there to have"));
            }
        }
    }
}
