//! Progress: what a user is shown as done never shrinks, never exceeds the whole, and is whole when the job is done.

use crate::{
    observer::{Findings, Sight, Watch, Who},
    record::{NodeId, What},
};
use pangea::node::hub::HubIn;
use pangea_protocols::{JobId, job, job::JobEvent, time::Time};
use std::collections::BTreeMap;

/// The last progress of every job.
#[derive(Default)]
pub struct Progress(BTreeMap<(NodeId, JobId), job::Progress>);

impl Watch for Progress {
    fn name(&self) -> &'static str {
        "progress"
    }

    fn see(&mut self, _: Time, node: Option<NodeId>, _: &Who, sight: Sight<'_>, findings: &mut Findings) {
        let Some(node) = node else { return };
        match sight {
            Sight::Hub(HubIn::Job(JobEvent::Progress { job, progress })) => {
                let before = self.0.insert((node, *job), *progress).unwrap_or_default();
                let total = progress.total_bytes.unwrap_or(u64::MAX);
                let shrinks = progress.done_bytes < before.done_bytes || progress.full_bytes < before.full_bytes;
                if shrinks || progress.full_bytes > progress.done_bytes || progress.done_bytes > total {
                    findings
                        .violation(format!("progress of job {} at node {node}: {before:?}, then {progress:?}", job.0));
                }
            }
            Sight::Hub(HubIn::Job(JobEvent::Done { job, .. })) => {
                let last = self.0.remove(&(node, *job)).unwrap_or_default();
                if last.total_bytes.is_some_and(|total| last.done_bytes != total) {
                    findings.violation(format!("job {} at node {node} is done with {last:?}", job.0));
                }
            }
            Sight::Run(What::Crashed { .. }) => self.0.retain(|(of, _), _| *of != node),
            _ => {}
        }
    }
}
