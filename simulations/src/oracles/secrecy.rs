//! Secrecy: neither what users store nor the keys that open it are seen by others, on the wire or on their disks.

use crate::{
    observer::{Findings, Sight, Watch, Who},
    record::NodeId,
    run::MARKER,
};
use pangea::node::hub::HubIn;
use pangea_protocols::{
    disk,
    job::{JobEvent, Outcome},
    time::Time,
};

/// Keys that are looked for: the latest.
const KEYS_MAX: usize = 16;

/// What must not be seen.
#[derive(Default)]
pub struct Secrecy {
    keys: Vec<Vec<u8>>,
}

impl Secrecy {
    fn secret_in(&self, bytes: &[u8]) -> Option<&'static str> {
        if memchr::memmem::find(bytes, MARKER).is_some() {
            return Some("plaintext");
        }
        self.keys.iter().any(|key| memchr::memmem::find(bytes, key).is_some()).then_some("a read key")
    }
}

impl Watch for Secrecy {
    fn name(&self) -> &'static str {
        "secrecy"
    }

    fn see(&mut self, _: Time, node: Option<NodeId>, _: &Who, sight: Sight<'_>, findings: &mut Findings) {
        let Some(node) = node else { return };
        match sight {
            Sight::Send { frame, .. } => {
                let head = frame.head().unwrap_or_default();
                if let Some(what) = self.secret_in(&head).or_else(|| self.secret_in(&frame.body)) {
                    findings
                        .violation(format!("node {node} sent {what} in a {}", crate::chronicle::frame_label(frame)));
                }
            }
            Sight::Disk(disk::Command::Append { body, shard, .. }) => {
                if let Some(what) = self.secret_in(body) {
                    findings.violation(format!("node {node} was given {what} to keep in {shard:?}"));
                }
            }
            Sight::Hub(HubIn::Job(JobEvent::Done { outcome: Outcome::Put(stored), .. })) => {
                self.keys.push(stored.key.0.to_vec());
                if self.keys.len() > KEYS_MAX {
                    self.keys.remove(0);
                }
            }
            _ => {}
        }
    }
}
