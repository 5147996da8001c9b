//! [`Plan`]: everything about a run that is decided before it begins. A scenario and a seed make one; shrinking takes
//! parts out of it; the rest of chance is drawn from its seed, keyed by the ids that stand here, so that what is left
//! behaves as before. Written as TOML, it is a corpus file.
//!
//! Times are virtual milliseconds since the run began. How a plan is drawn: `crate::scenario`. Who carries it out:
//! `crate::run`.

use crate::record::NodeId;
use pangea_protocols::{encoded::Profile, time::Time};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Name of the scenario it was drawn from.
    pub scenario: String,
    /// What the scenario tells, in a sentence or two.
    #[serde(default)]
    pub story: String,
    /// Root of all chance.
    pub seed: u64,
    /// What runs the nodes.
    pub tier: TierName,
    /// The nodes begin connected, as after a long life.
    #[serde(default)]
    pub warm: bool,
    /// From here on no fault acts: safety before, liveness after.
    pub calm_ms: u64,
    /// Everything that was asked must have ended by now.
    pub end_ms: u64,
    /// After the calm, every object that should be there is read once more.
    #[serde(default = "yes")]
    pub read_back: bool,
    /// What goes wrong is within what users are promised: everything that is asked succeeds all the same.
    #[serde(default, skip_serializing_if = "is_false")]
    pub harmless: bool,
    /// The longest that a read may take, however it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads_within_ms: Option<u64>,
    /// Oracles that do not apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// Goals that some seed of a sweep must reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sometimes: Vec<String>,
    /// Connections that a node keeps by itself.
    #[serde(default = "peers_target")]
    pub peers_target: u32,
    /// Places of nodes.
    pub regions: Vec<Region>,
    /// The lines between regions, in both directions. Not named: the line within the first of the two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
    /// Who is there.
    pub nodes: Vec<Node>,
    /// What users ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
    /// What goes wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

fn yes() -> bool {
    true
}

fn is_false(value: &bool) -> bool {
    !value
}

fn peers_target() -> u32 {
    32
}

impl Plan {
    /// A node by its id.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// An operation by its id.
    pub fn operation(&self, id: u32) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.id == id)
    }
}

/// A plan's millisecond as a time.
pub fn at(ms: u64) -> Time {
    Time(0) + Duration::from_millis(ms)
}

/// What runs the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TierName {
    /// Cores on one event heap, modelled network, DHT and disk: thousands of nodes.
    Swarm,
    /// The node as it is shipped, with Kademlia and the shard disk; connections are virtual streams: hundreds of nodes.
    Streams,
    /// The node as it is shipped, with QUIC, Kademlia and the shard disk, on virtual sockets and disks.
    Fleet,
}

/// A place, and the line between any two nodes in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// One way.
    pub latency_ms: f64,
    /// Added to it, uniform from 0 to this.
    #[serde(default)]
    pub jitter_ms: f64,
    /// Part of packets lost, 0 to 1.
    #[serde(default)]
    pub loss: f64,
    /// Bytes per second that a node here can send; `None` for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<u64>,
}

/// The line between two regions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The two.
    pub between: [String; 2],
    /// One way.
    pub latency_ms: f64,
    /// Added to it, uniform from 0 to this.
    #[serde(default)]
    pub jitter_ms: f64,
    /// Part of packets lost, 0 to 1.
    #[serde(default)]
    pub loss: f64,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name for good.
    pub id: NodeId,
    /// Where it stands.
    pub region: String,
    /// When it is first started; `None` if only an [`Act::Eclipse`] starts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<u64>,
    /// Bytes that it gives to others.
    pub quota: u64,
    /// What stands between it and the rest.
    #[serde(default, skip_serializing_if = "Nat::is_open")]
    pub nat: Nat,
    /// Whom it knows from the beginning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub knows: Vec<NodeId>,
}

/// Address translation in front of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nat {
    /// None: everybody reaches it.
    #[default]
    Open,
    /// Only those it has sent to lately reach it.
    Restricted,
    /// Likewise, and it appears under another port to each of them.
    Symmetric,
}

impl Nat {
    fn is_open(&self) -> bool {
        *self == Self::Open
    }
}

/// Something a user asks of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Its name for good.
    pub id: u32,
    /// When.
    pub at_ms: u64,
    /// Of whom.
    pub node: NodeId,
    /// What.
    #[serde(flatten)]
    pub what: Do,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Do {
    /// Store something.
    Put {
        content: Content,
        bytes: u64,
        /// Files of a directory; 0 for a file.
        #[serde(default)]
        files: u32,
        /// Data and parity shards; `None` lets the node choose.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<[u8; 2]>,
        #[serde(default = "fast")]
        profile: Profile,
        lease_s: u64,
    },
    /// Read what the put `of` stored, or a range `[offset, length]` of it.
    Get {
        of: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        range: Option<[u64; 2]>,
    },
    /// Have the holders forget it.
    Remove { of: u32 },
    /// Give the operation up.
    Cancel { of: u32 },
    /// Compute over so many chunks of so many bytes, each read `rounds` times.
    Compute {
        chunks: u32,
        bytes: u64,
        rounds: u16,
        /// One result of all of them.
        merge: bool,
        checked: Checked,
    },
    /// Compute over what the put `of` stored, so many MiB a chunk; whoever runs a task reads its part.
    ComputeStored { of: u32, stripes: u32, merge: bool, checked: Checked },
    /// Run the plugin that the put `of` stored, in a version; or replace by it the one that runs.
    Install { of: u32, version: Version },
    /// Tell the plugin something that nobody else tells it.
    Tell,
    /// Ask the plugin for what it has been told: by this node, or by all.
    Recall { all: bool },
}

/// What a plugin's manifest says of the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Version {
    /// It is new here.
    #[default]
    First,
    /// It understands what the first one keeps.
    Newer,
    /// It does not, and must be refused.
    Strange,
    /// It does not start, and the one before it must go on.
    Failing,
}

/// How the results of a computation are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checked {
    /// One in ten is run again, after it was signed for.
    Audited,
    /// Three nodes must agree.
    Agreed,
    /// Not at all.
    Believed,
}

fn fast() -> Profile {
    Profile::Fast
}

/// What is stored; the bytes are a function of the plan's seed and the operation's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Does not compress.
    Random,
    /// Compresses well.
    Text,
    /// Zeros.
    Zeros,
    /// Runs of all three.
    Mixed,
    /// The same mebibyte of text again and again.
    Repeated,
    /// A plugin, however long.
    Plugin,
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Its name for good.
    pub id: u32,
    /// When it begins.
    pub at_ms: u64,
    /// When it is over; `None`: it is a moment, or lasts until the calm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// What.
    #[serde(flatten)]
    pub act: Act,
}

/// What can go wrong. `from` and `to` are groups of nodes; an empty group means all nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum Act {
    /// Packets take longer.
    Latency { from: Vec<NodeId>, to: Vec<NodeId>, extra_ms: f64, jitter_ms: f64 },
    /// Packets of one direction are lost.
    Loss { from: Vec<NodeId>, to: Vec<NodeId>, rate: f64 },
    /// Some packets come later than those sent after them.
    Reorder { from: Vec<NodeId>, to: Vec<NodeId>, rate: f64, by_ms: f64 },
    /// Some packets come twice.
    Duplicate { from: Vec<NodeId>, to: Vec<NodeId>, rate: f64 },
    /// Nothing passes from one group to the other, nor back unless `one_way`.
    Partition { from: Vec<NodeId>, to: Vec<NodeId>, one_way: bool },
    /// A narrow uplink with a queue in front of it: bufferbloat.
    Bandwidth { nodes: Vec<NodeId>, bytes_per_s: u64, queue_bytes: u64 },
    /// Packets above a size vanish without a word.
    MtuBlackHole { from: Vec<NodeId>, to: Vec<NodeId>, bytes: u64 },
    /// The router in front of a node forgets its mapping: the node appears under another port.
    Rebind { nodes: Vec<NodeId> },
    /// The process that runs a node's plugins ends.
    EndGuests { nodes: Vec<NodeId> },
    /// Processes end without a word; at the end of the fault they start again, on the disk that is left.
    Crash { nodes: Vec<NodeId>, disk: DiskFate },
    /// Processes stand still.
    Pause { nodes: Vec<NodeId> },
    /// Calendars go wrong.
    Skew { nodes: Vec<NodeId>, by_s: i64, drift_ppm: i64 },
    /// A disk does something that disks do.
    Disk { nodes: Vec<NodeId>, how: DiskFault },
    /// Nodes do not follow the protocol.
    Byzantine { nodes: Vec<NodeId>, how: Conduct },
    /// Nodes that were not there join with identities next to the object that the put `of` stored, and keep silent
    /// about it.
    Eclipse { nodes: Vec<NodeId>, of: u32 },
}

impl Act {
    /// The nodes that it is about; those of a line, its two ends.
    pub fn groups(&self) -> Vec<&Vec<NodeId>> {
        match self {
            Self::Latency { from, to, .. }
            | Self::Loss { from, to, .. }
            | Self::Reorder { from, to, .. }
            | Self::Duplicate { from, to, .. }
            | Self::Partition { from, to, .. }
            | Self::MtuBlackHole { from, to, .. } => vec![from, to],
            Self::Bandwidth { nodes, .. }
            | Self::Rebind { nodes }
            | Self::EndGuests { nodes }
            | Self::Crash { nodes, .. }
            | Self::Pause { nodes }
            | Self::Skew { nodes, .. }
            | Self::Disk { nodes, .. }
            | Self::Byzantine { nodes, .. }
            | Self::Eclipse { nodes, .. } => vec![nodes],
        }
    }

    /// As [`Act::groups`], to be changed.
    pub fn groups_mut(&mut self) -> Vec<&mut Vec<NodeId>> {
        match self {
            Self::Latency { from, to, .. }
            | Self::Loss { from, to, .. }
            | Self::Reorder { from, to, .. }
            | Self::Duplicate { from, to, .. }
            | Self::Partition { from, to, .. }
            | Self::MtuBlackHole { from, to, .. } => vec![from, to],
            Self::Bandwidth { nodes, .. }
            | Self::Rebind { nodes }
            | Self::EndGuests { nodes }
            | Self::Crash { nodes, .. }
            | Self::Pause { nodes }
            | Self::Skew { nodes, .. }
            | Self::Disk { nodes, .. }
            | Self::Byzantine { nodes, .. }
            | Self::Eclipse { nodes, .. } => vec![nodes],
        }
    }

    /// Who suffers first: of a line, those at its beginning.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.groups().first().map(|group| group.to_vec()).unwrap_or_default()
    }
}

/// What becomes of a disk when its node crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFate {
    /// The process ended, the machine did not: all that was written is there.
    Kept,
    /// Power loss: every write that was not synced is there, is not, or is torn.
    Torn,
    /// Power loss: nothing that was not synced is there.
    Lost,
    /// A backup was restored.
    Old,
    /// A new disk.
    Wiped,
}

/// What a disk can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFault {
    /// A sync takes this long.
    Slow { sync_ms: u64 },
    /// No space is left.
    Full,
    /// A sync says that it is done and does nothing.
    LyingSync,
    /// Reads and writes fail.
    Errors,
    /// A moment: writes land in the wrong place.
    Misdirected,
    /// A moment: bits flip in what is stored, in this many places.
    Rot { places: u32 },
}

/// How a node misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conduct {
    /// Signs for shards and throws them away.
    Lying,
    /// Keeps shards and never answers who asks for them.
    Withholding,
    /// Serves shards with a flipped bit.
    Corrupting,
    /// Accepts everything and answers after minutes: a slowloris.
    Stalling,
    /// Stores nothing for others.
    FreeRiding,
    /// Says things at the wrong time: answers that nobody asked for, requests without end.
    Babbling,
    /// Sends receipts that it has not signed, and keeps nothing.
    Forging,
    /// Damages the shards that it stores on others.
    Mangling,
    /// Signs for wrong results of everything it computes; all such nodes agree on what is wrong.
    Cheating,
    /// Likewise, but of every fifth task only, by chance.
    CheatingSometimes,
    /// Likewise, but only after ten right results.
    CheatingLate,
    /// An older version, which knows neither peer exchange nor have/want.
    Older,
}
