//! [`Record`]: what a run tells of itself, event by event. Traces, pictures and reports are made of these and of
//! nothing else; they are written as one JSON object per line.

use serde::{Deserialize, Serialize};

/// Names a node of a plan. Stays the same when other nodes are taken out of it.
pub type NodeId = u32;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Virtual nanoseconds since the run began.
    pub at_ns: u64,
    /// Where it happened; `None` if it is about the whole network.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub node: Option<NodeId>,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// The node's process runs, for the first time or again.
    Started { region: String },
    /// It ended without a word; `disk` tells what became of its writes.
    Crashed { disk: String },
    /// It stands still, or goes on.
    Paused { paused: bool },
    /// A connection to a peer is there.
    Connected { peer: NodeId },
    /// It is gone.
    Disconnected { peer: NodeId, reason: String },
    /// A frame left for a peer. `frame` is the same for the frame's arrival, and unique enough to pair the two.
    Sent { peer: NodeId, frame: u64, label: String, bytes: u64 },
    /// A frame arrived from a peer.
    Arrived { peer: NodeId, frame: u64, label: String, bytes: u64 },
    /// A user asked for something.
    Asked { operation: u32, text: String },
    /// How far it is, 0 to 1.
    Progress { operation: u32, done: f64 },
    /// It ended.
    Ended { operation: u32, ok: bool, text: String },
    /// A fault began; `nodes` are those it is about.
    FaultBegan { fault: u32, text: String, nodes: Vec<NodeId> },
    /// It is over.
    FaultEnded { fault: u32 },
    /// How much the node's disk holds for others.
    Holds { shards: u64, bytes: u64 },
    /// An interesting state was reached for the first time in this run.
    Reached { goal: String },
    /// A promise was broken.
    Violated { oracle: String, text: String },
    /// All faults are over; from here on the network must recover.
    Calm,
}
