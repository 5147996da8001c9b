//! Quotas: what a disk takes, index included, never exceeds what its owner gives.

use crate::{
    observer::{Findings, Sight, Watch, Who},
    plan::Plan,
    record::NodeId,
};
use pangea_protocols::{disk::Event, time::Time};
use std::collections::BTreeMap;

/// Quotas by node.
pub struct Quota(BTreeMap<NodeId, u64>);

impl Quota {
    /// Of a plan.
    pub fn new(plan: &Plan) -> Self {
        Self(plan.nodes.iter().map(|node| (node.id, node.quota)).collect())
    }
}

impl Watch for Quota {
    fn name(&self) -> &'static str {
        "quota"
    }

    fn see(&mut self, _: Time, node: Option<NodeId>, _: &Who, sight: Sight<'_>, findings: &mut Findings) {
        let (Some(node), Sight::DiskSaid(event)) = (node, sight) else { return };
        let (Event::Opened { usage } | Event::Appended { usage, .. } | Event::Deleted { usage, .. }) = event else {
            return;
        };
        let quota = self.0.get(&node).copied().unwrap_or(u64::MAX);
        if usage.disk_bytes > quota {
            findings.violation(format!("the disk of node {node} takes {} B of {quota} B", usage.disk_bytes));
        }
    }
}
