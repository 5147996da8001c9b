//! Soundness: what has been verified can be decrypted. No plan makes an owner store garbage, so nobody may be told that
//! an object was damaged when it was stored.

use crate::{
    observer::{Findings, Sight, Watch, Who},
    record::NodeId,
};
use pangea::node::hub::HubIn;
use pangea_protocols::{
    job::{ErrorKind, JobEvent},
    time::Time,
};

/// What both the downloader and the decoder say of such an object.
const DAMAGED: &str = "damaged when it was stored";

/// Hears the errors that users get.
pub struct Sound;

impl Watch for Sound {
    fn name(&self) -> &'static str {
        "sound"
    }

    fn see(&mut self, _: Time, node: Option<NodeId>, _: &Who, sight: Sight<'_>, findings: &mut Findings) {
        if let (Some(node), Sight::Hub(HubIn::Job(JobEvent::Failed { job, error }))) = (node, sight)
            && error.kind == ErrorKind::Integrity
            && error.message.contains(DAMAGED)
        {
            findings.violation(format!("node {node} was told of job {}: {}", job.0, error.message));
        }
    }
}
