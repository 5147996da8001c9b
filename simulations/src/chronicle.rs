//! The chronicle of a run: what nodes do, as [`Record`]s for traces and pictures.

use crate::{
    observer::{Findings, Sight, Watch, Who},
    record::{NodeId, Record, What},
};
use pangea::node::hub::HubIn;
use pangea_protocols::{
    disk,
    job::JobEvent,
    net,
    time::Time,
    wire::{Frame, Message},
};
use std::sync::{Arc, Mutex, PoisonError};

/// Records that are kept; a run that does more is told up to here.
const RECORDS_MAX: usize = 4_000_000;

/// Collects records. Clones are the same chronicle.
#[derive(Clone, Default)]
pub struct Chronicle(Arc<Mutex<Vec<Record>>>);

impl Chronicle {
    /// All so far.
    pub fn take(&self) -> Vec<Record> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Watch for Chronicle {
    fn name(&self) -> &'static str {
        "chronicle"
    }

    fn see(&mut self, at: Time, node: Option<NodeId>, who: &Who, sight: Sight<'_>, _: &mut Findings) {
        let Some(what) = told(who, sight) else { return };
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() < RECORDS_MAX {
            records.push(Record { at_ns: at.0, node, what });
        }
    }
}

fn told(who: &Who, sight: Sight<'_>) -> Option<What> {
    Some(match sight {
        Sight::Send { to, frame } => What::Sent {
            peer: who.node(to)?,
            frame: name(frame),
            label: frame_label(frame),
            bytes: frame.body.len() as u64,
        },
        Sight::Receive { from, frame } => What::Arrived {
            peer: who.node(from)?,
            frame: name(frame),
            label: frame_label(frame),
            bytes: frame.body.len() as u64,
        },
        Sight::Heard(net::Event::Connected { peer, .. }) => What::Connected { peer: who.node(*peer)? },
        Sight::Heard(net::Event::Disconnected { peer, reason, .. }) => {
            What::Disconnected { peer: who.node(*peer)?, reason: reason.clone() }
        }
        Sight::DiskSaid(disk::Event::Appended { usage, .. } | disk::Event::Deleted { usage, .. }) => {
            What::Holds { shards: usage.shards, bytes: usage.disk_bytes }
        }
        Sight::Hub(HubIn::Job(JobEvent::Progress { job, progress })) => What::Progress {
            operation: u32::try_from(job.0).unwrap_or(0),
            done: progress.total_bytes.map_or(0.0, |total| progress.done_bytes as f64 / total.max(1) as f64),
        },
        Sight::Run(what) => what.clone(),
        _ => return None,
    })
}

/// Pairs a frame's departure with its arrival.
fn name(frame: &Frame) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{:?}", frame.message).as_bytes()).update(&frame.body);
    let hash = hasher.finalize();
    u64::from_le_bytes(std::array::from_fn(|at| hash.as_bytes()[at]))
}

/// What a frame says, in two words.
pub fn frame_label(frame: &Frame) -> String {
    let (protocol, text) = match &frame.message {
        Message::Store(message) => ("store", format!("{message:?}")),
        Message::Fetch(message) => ("fetch", format!("{message:?}")),
        Message::Have(message) => ("have", format!("{message:?}")),
        Message::Pex(message) => ("pex", format!("{message:?}")),
        Message::Compute(message) => ("compute", format!("{message:?}")),
        Message::Extension(message) => ("extension", format!("{message:?}")),
    };
    format!("{protocol} {}", first_word(&text))
}

/// What a sight is, in a few words.
pub fn label(sight: Sight<'_>) -> String {
    match sight {
        Sight::Send { frame, .. } => format!("send {}", frame_label(frame)),
        Sight::Receive { frame, .. } => format!("receive {}", frame_label(frame)),
        Sight::Network(command) => format!("network {}", first_word(&format!("{command:?}"))),
        Sight::Heard(event) => format!("heard {}", first_word(&format!("{event:?}"))),
        Sight::Disk(command) => format!("disk {}", first_word(&format!("{command:?}"))),
        Sight::DiskSaid(event) => format!("disk said {}", first_word(&format!("{event:?}"))),
        Sight::Hub(message) => format!("hub {}", first_word(&format!("{message:?}"))),
        Sight::Plugins(out) => format!("plugins {}", first_word(&format!("{out:?}"))),
        Sight::Jobs(out) => format!("jobs {}", first_word(&format!("{out:?}"))),
        Sight::Run(what) => format!("run {}", first_word(&format!("{what:?}"))),
    }
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default()
}
