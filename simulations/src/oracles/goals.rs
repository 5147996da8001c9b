//! Goals: interesting states that a sweep of seeds must reach, or it proves less than it seems to.
//!
//! | goal | reached when |
//! |---|---|
//! | `stored`, `read`, `removed` | a put, a get, a removal has succeeded |
//! | `hedged` | a slow holder was overtaken by a second request |
//! | `healed` | a bad or missing shard was replaced by another |
//! | `refused` | a holder said no: quota, disk, or wish |
//! | `busy` | a holder had too much to do |
//! | `corrupt-found` | a holder found damage on its own disk |
//! | `disk-failed` | an append failed, and its uploader heard of it |
//! | `expired` | a lease ended and its shards were forgotten |
//! | `cut-off` | a connection was lost to silence |
//! | `restarted` | a node came back after a crash |
//! | `died-with-unsynced-writes` | a crash hit a disk in the middle of a write |
//! | `quarantined` | a peer was blamed |
//! | `cancelled` | a user gave up |
//! | `installed`, `replaced`, `upgrade-refused` | a plugin was installed, or replaced by a version, or by one not |
//! | `told`, `recalled` | a plugin has acknowledged something, or known all that it must |
//! | `computed` | a computation was done |
//! | `read-in-place` | nodes have read the input of a computation themselves, from their own disks and from others |
//! | `audited` | a result was confirmed by a second node |
//! | `resumed` | a computation went on where an earlier life of its node had left it |
//! | `caught` | a node was banned for a wrong result |
//! | `given-again` | a task was lost with its node and given to another |

use crate::{
    observer::{Findings, Sight, Watch, Who},
    record::NodeId,
};
use pangea::node::hub::HubIn;
use pangea_compute::api::{Happened, coordinator};
use pangea_protocols::{
    disk,
    job::{ErrorKind, JobEvent},
    net,
    time::Time,
    wire::{
        Message,
        fetch::{Fetch, MissingReason},
        store::{Refusal, Store},
    },
};
use std::collections::BTreeSet;

/// Watches for goals.
#[derive(Default)]
pub struct Goals {
    /// Expiries that the disk has not answered.
    expiring: BTreeSet<(NodeId, u64)>,
}

impl Watch for Goals {
    fn name(&self) -> &'static str {
        "goals"
    }

    fn see(&mut self, _: Time, node: Option<NodeId>, _: &Who, sight: Sight<'_>, findings: &mut Findings) {
        let Some(node) = node else { return };
        match sight {
            Sight::Hub(HubIn::Tally { healed, hedged, .. }) => {
                reach(findings, "healed", *healed > 0);
                reach(findings, "hedged", *hedged > 0);
            }
            Sight::Hub(HubIn::Job(JobEvent::Progress { progress, .. })) => {
                reach(findings, "healed", progress.healed > 0);
                reach(findings, "hedged", progress.hedged > 0);
            }
            Sight::Hub(HubIn::Job(JobEvent::Failed { error, .. })) => {
                reach(findings, "cancelled", error.kind == ErrorKind::Interrupted);
            }
            Sight::Send { frame, .. } => match &frame.message {
                Message::Store(Store::Refused { reason, .. } | Store::NotStored { reason, .. }) => {
                    reach(findings, "refused", true);
                    reach(findings, "busy", *reason == Refusal::Busy);
                }
                Message::Fetch(Fetch::Missing { reason, .. }) => {
                    reach(findings, "busy", *reason == MissingReason::Busy);
                }
                _ => {}
            },
            Sight::Jobs(coordinator::Out::Trace { traces, .. }) => {
                for trace in traces {
                    match trace.what {
                        Happened::Accepted { voters } => reach(findings, "audited", voters > 1),
                        Happened::Restored => findings.goal("resumed"),
                        Happened::Banned => findings.goal("caught"),
                        Happened::Lost => findings.goal("given-again"),
                        _ => {}
                    }
                }
            }
            Sight::DiskSaid(disk::Event::Corrupt { .. }) => findings.goal("corrupt-found"),
            Sight::DiskSaid(disk::Event::AppendFailed { .. }) => findings.goal("disk-failed"),
            Sight::Disk(disk::Command::Expire { tag, .. }) => {
                self.expiring.insert((node, *tag));
            }
            Sight::DiskSaid(disk::Event::Deleted { tag, count, .. }) => {
                let expiry = self.expiring.remove(&(node, *tag));
                reach(findings, "expired", expiry && *count > 0);
            }
            Sight::Heard(net::Event::Disconnected { reason, .. }) => {
                reach(findings, "cut-off", reason.contains("timed out"));
            }
            _ => {}
        }
    }
}

fn reach(findings: &mut Findings, goal: &'static str, reached: bool) {
    if reached {
        findings.goal(goal);
    }
}
