//! Blame: nobody is quarantined or banned who has not given cause.

use super::{forgetful, misbehaving};
use crate::{
    observer::{Findings, Sight, Watch, Who},
    plan::Plan,
    record::NodeId,
};
use pangea::node::hub::HubIn;
use pangea_peers::standing::State;
use pangea_protocols::time::Time;
use std::collections::BTreeSet;

/// Who has given cause, by the plan.
pub struct Blame {
    culprits: BTreeSet<NodeId>,
}

impl Blame {
    /// Of a plan.
    pub fn new(plan: &Plan) -> Self {
        Self { culprits: misbehaving(plan).union(&forgetful(plan)).copied().collect() }
    }
}

impl Watch for Blame {
    fn name(&self) -> &'static str {
        "blame"
    }

    fn see(&mut self, _: Time, node: Option<NodeId>, who: &Who, sight: Sight<'_>, findings: &mut Findings) {
        let (Some(node), Sight::Hub(HubIn::SavePeers { records })) = (node, sight) else { return };
        for record in records {
            let condemned = matches!(record.state, State::Quarantined | State::Banned) && !record.banned_by_user;
            let Some(peer) = who.node(record.peer).filter(|_| condemned) else { continue };
            findings.goal("quarantined");
            // A node that misbehaves may say of others what it likes; its own judgement is no better.
            if !self.culprits.contains(&peer) && !self.culprits.contains(&node) {
                findings.violation(format!("node {node} holds node {peer} for {:?}: {}", record.state, record.reason));
            }
        }
    }
}
