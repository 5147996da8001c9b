//! Shunning: a peer that a node holds for quarantined or banned gets nothing new of it and gives it nothing new: no
//! room, and no shards of puts that were asked for later.

use super::misbehaving;
use crate::{
    observer::{Findings, Sight, Watch, Who},
    plan::Plan,
    record::{NodeId, What},
};
use pangea::node::hub::HubIn;
use pangea_protocols::{
    JobId, PeerId,
    job::JobEvent,
    time::Time,
    wire::{Message, store::Store},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Until a judgement has reached all actors of a node, and what was granted before is on its way.
const GRACE: Duration = Duration::from_secs(1);

/// Who holds whom for what.
pub struct Shunned {
    /// Whose own judgement is not looked at.
    excused: BTreeSet<NodeId>,
    /// By node and peer: since when.
    condemned: BTreeMap<(NodeId, PeerId), Time>,
    asked: BTreeMap<(NodeId, JobId), Time>,
}

impl Shunned {
    /// Of a plan.
    pub fn new(plan: &Plan) -> Self {
        Self { excused: misbehaving(plan), condemned: BTreeMap::new(), asked: BTreeMap::new() }
    }

    fn since(&self, node: NodeId, peer: PeerId, now: Time) -> bool {
        self.condemned.get(&(node, peer)).is_some_and(|since| now.since(*since) >= GRACE)
    }
}

impl Watch for Shunned {
    fn name(&self) -> &'static str {
        "shunned"
    }

    fn see(&mut self, at: Time, node: Option<NodeId>, who: &Who, sight: Sight<'_>, findings: &mut Findings) {
        let Some(node) = node.filter(|node| !self.excused.contains(node)) else { return };
        match sight {
            Sight::Hub(HubIn::SavePeers { records }) => {
                for record in records {
                    if record.state.is_served() {
                        self.condemned.remove(&(node, record.peer));
                    } else {
                        self.condemned.entry((node, record.peer)).or_insert(at);
                    }
                }
            }
            Sight::Send { to, frame }
                if matches!(frame.message, Message::Store(Store::Reserved { .. })) && self.since(node, to, at) =>
            {
                findings.violation(format!("node {node} gives room to {:?}, which it has condemned", who.node(to)));
            }
            Sight::Run(What::Asked { operation, .. }) => {
                self.asked.insert((node, JobId(u64::from(*operation) + 1)), at);
            }
            Sight::Hub(HubIn::Job(JobEvent::Placed { job, holders, .. })) => {
                let asked = self.asked.get(&(node, *job)).copied().unwrap_or(at);
                for peer in holders.iter().filter(|peer| self.since(node, **peer, asked)) {
                    let peer = who.node(*peer);
                    findings.violation(format!("node {node} places job {} on {peer:?}, which it has condemned", job.0));
                }
            }
            Sight::Run(What::Crashed { .. }) => {
                self.condemned.retain(|(of, _), _| *of != node);
                self.asked.retain(|(of, _), _| *of != node);
            }
            _ => {}
        }
    }
}
