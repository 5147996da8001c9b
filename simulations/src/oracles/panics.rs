//! Panics: production contains them, but each is a bug.

use crate::{
    observer::{Findings, Sight, Watch, Who},
    record::NodeId,
};
use pangea::node::hub::HubIn;
use pangea_protocols::time::Time;

/// Sees actors that were rebuilt.
pub struct Panics;

impl Watch for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    fn see(&mut self, _: Time, node: Option<NodeId>, _: &Who, sight: Sight<'_>, findings: &mut Findings) {
        if let (Some(node), Sight::Hub(HubIn::Restarted { actor })) = (node, sight) {
            findings.violation(format!("the actor `{actor}` of node {node} panicked"));
        }
    }
}
