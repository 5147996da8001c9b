//! [`Scenario`]: the file that tells a story: who is there, what they do, what goes wrong. With a seed it becomes a
//! [`crate::plan::Plan`] (see `draw.rs`); every `range` in it is drawn from the seed.

use super::units::{Count, Ms, Range, Size};
use crate::{
    plan::{Checked, Conduct, Content, DiskFate, TierName, Version},
    record::NodeId,
};
use pangea_protocols::encoded::Profile;
use serde::Deserialize;

/// A scenario file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it tells, in a sentence or two.
    pub story: String,
    /// Where it makes sense, the usual one first.
    #[serde(default = "all_tiers")]
    pub tiers: Vec<TierName>,
    /// Nodes begin connected, as after a long life.
    #[serde(default)]
    pub warm: bool,
    /// From here on no fault acts.
    pub calm: Range<Ms>,
    /// By now all must have ended.
    pub end: Range<Ms>,
    /// After the calm, all that is stored is read once more.
    #[serde(default = "yes")]
    pub read_back: bool,
    /// Everything that is asked succeeds in spite of the faults.
    #[serde(default)]
    pub harmless: bool,
    /// The longest that a read may take.
    #[serde(default)]
    pub reads_within: Option<Range<Ms>>,
    /// Oracles that do not apply.
    #[serde(default)]
    pub without: Vec<String>,
    /// Goals that some seed must reach.
    #[serde(default)]
    pub sometimes: Vec<String>,
    /// Connections that a node keeps by itself.
    #[serde(default)]
    pub peers_target: Option<u32>,
    /// Nodes that a new node is told of [default: 3].
    #[serde(default)]
    pub knows: Option<usize>,
    /// Who is there.
    #[serde(rename = "region")]
    pub regions: Vec<RegionSpec>,
    /// Lines between regions.
    #[serde(rename = "line", default)]
    pub lines: Vec<LineSpec>,
    /// Things stored.
    #[serde(rename = "put", default)]
    pub puts: Vec<PutSpec>,
    /// Things read.
    #[serde(rename = "get", default)]
    pub gets: Vec<GetSpec>,
    /// Things removed.
    #[serde(rename = "remove", default)]
    pub removes: Vec<EndSpec>,
    /// Things computed.
    #[serde(rename = "compute", default)]
    pub computes: Vec<ComputeSpec>,
    /// Plugins installed.
    #[serde(rename = "install", default)]
    pub installs: Vec<InstallSpec>,
    /// Things that plugins are told.
    #[serde(rename = "tell", default)]
    pub tells: Vec<TellSpec>,
    /// Plugins asked for what they were told.
    #[serde(rename = "recall", default)]
    pub recalls: Vec<TellSpec>,
    /// Operations given up.
    #[serde(rename = "cancel", default)]
    pub cancels: Vec<EndSpec>,
    /// What goes wrong.
    #[serde(rename = "fault", default)]
    pub faults: Vec<FaultSpec>,
    /// Nodes that come and go.
    #[serde(rename = "churn", default)]
    pub churns: Vec<ChurnSpec>,
}

fn yes() -> bool {
    true
}

fn all_tiers() -> Vec<TierName> {
    vec![TierName::Swarm, TierName::Streams, TierName::Fleet]
}

fn soon() -> Range<Ms> {
    Range::new(0.0, 5_000.0)
}

fn quota() -> Range<Size> {
    Range::new(1e9, 1e9)
}

fn frame() -> Range<Size> {
    Range::new(1e6, 1e6)
}

fn one() -> Range<Count> {
    Range::new(1.0, 1.0)
}

fn day() -> Range<Ms> {
    Range::new(86_400e3, 86_400e3)
}

/// Nodes of one place.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionSpec {
    pub name: String,
    pub nodes: Range<Count>,
    pub latency: Range<Ms>,
    #[serde(default = "nothing")]
    pub jitter: Range<Ms>,
    #[serde(default)]
    pub loss: f64,
    #[serde(default)]
    pub uplink: Option<Range<Size>>,
    #[serde(default = "quota")]
    pub quota: Range<Size>,
    /// When they are started; left out: only an eclipse starts them.
    #[serde(default = "soon")]
    pub start: Range<Ms>,
    /// Not started by themselves.
    #[serde(default)]
    pub hidden: bool,
    /// Share of nodes behind a router that lets in only whom they know.
    #[serde(default)]
    pub restricted: f64,
    /// Share behind one that also changes ports.
    #[serde(default)]
    pub symmetric: f64,
}

fn nothing() -> Range<Ms> {
    Range::new(0.0, 0.0)
}

/// The line between two regions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineSpec {
    pub between: [String; 2],
    pub latency: Range<Ms>,
    #[serde(default = "nothing")]
    pub jitter: Range<Ms>,
    #[serde(default)]
    pub loss: f64,
}

/// Which nodes: `any`, a region, `3 of any`, `30% of eu`, or ids.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(untagged)]
pub enum Who {
    Ids(Vec<NodeId>),
    Words(String),
}

/// Things stored.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutSpec {
    #[serde(default = "one")]
    pub count: Range<Count>,
    pub at: Range<Ms>,
    pub size: Range<Size>,
    #[serde(default)]
    pub content: Option<Content>,
    #[serde(default)]
    pub files: Option<Range<Count>>,
    #[serde(default)]
    pub code: Option<[u8; 2]>,
    #[serde(default)]
    pub profile: Option<Profile>,
    #[serde(default = "day")]
    pub lease: Range<Ms>,
    #[serde(default)]
    pub from: Option<Who>,
}

/// Things read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetSpec {
    #[serde(default = "one")]
    pub count: Range<Count>,
    pub at: Range<Ms>,
    /// The number of the `[[put]]` whose objects are read; left out: any.
    #[serde(default)]
    pub of: Option<usize>,
    /// Share of reads that want a range only.
    #[serde(default)]
    pub ranges: f64,
    #[serde(default)]
    pub from: Option<Who>,
}

/// Things computed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComputeSpec {
    #[serde(default = "one")]
    pub count: Range<Count>,
    pub at: Range<Ms>,
    /// Of so many chunks of so many bytes; not of what is stored.
    #[serde(default = "one")]
    pub chunks: Range<Count>,
    #[serde(default = "frame")]
    pub size: Range<Size>,
    /// On what one of the `[[put]]` with this number has stored, in chunks of so many stripes, which are read where they
    /// are computed on. Asked by whoever stored it.
    #[serde(default)]
    pub of: Option<usize>,
    #[serde(default = "one")]
    pub stripes: Range<Count>,
    /// How often each chunk is read: what a task takes is about 3 µs for each byte and round.
    #[serde(default = "one")]
    pub rounds: Range<Count>,
    #[serde(default)]
    pub merge: bool,
    #[serde(default)]
    pub checked: Option<Checked>,
    #[serde(default)]
    pub from: Option<Who>,
}

/// A plugin installed, on each of some nodes at a time of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallSpec {
    pub at: Range<Ms>,
    /// The number of the `[[put]]` that stores it.
    #[serde(default)]
    pub of: Option<usize>,
    #[serde(default)]
    pub version: Version,
    #[serde(default)]
    pub on: Option<Who>,
}

/// Things that plugins are told, or asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TellSpec {
    #[serde(default = "one")]
    pub count: Range<Count>,
    pub at: Range<Ms>,
    #[serde(default)]
    pub from: Option<Who>,
}

/// Things removed, or operations given up.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndSpec {
    #[serde(default = "one")]
    pub count: Range<Count>,
    /// When; for a cancel: how long after the operation began.
    #[serde(default)]
    pub at: Option<Range<Ms>>,
    #[serde(default)]
    pub after: Option<Range<Ms>>,
    #[serde(default)]
    pub of: Option<usize>,
}

/// Something that goes wrong. Which of the fields it has depends on `fault`; those left out are drawn.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// One kind, or several of which each draw takes one.
    pub fault: OneOrMany,
    #[serde(default = "one")]
    pub count: Range<Count>,
    pub at: Range<Ms>,
    /// Left out: until the calm; a crash without it is for good.
    #[serde(default)]
    pub lasts: Option<Range<Ms>>,
    #[serde(default)]
    pub who: Option<Who>,
    #[serde(default)]
    pub from: Option<Who>,
    #[serde(default)]
    pub to: Option<Who>,
    #[serde(default)]
    pub one_way: bool,
    #[serde(default)]
    pub rate: Option<[f64; 2]>,
    #[serde(default)]
    pub by: Option<Range<Ms>>,
    #[serde(default)]
    pub drift_ppm: i64,
    #[serde(default)]
    pub bytes: Option<Range<Size>>,
    #[serde(default)]
    pub queue: Option<Range<Size>>,
    #[serde(default)]
    pub disk: Option<DiskFate>,
    #[serde(default)]
    pub how: Option<Conduct>,
    /// The number of the `[[put]]` that an eclipse is about.
    #[serde(default)]
    pub of: Option<usize>,
    /// One after the other instead of each at a time of its own: a rolling restart.
    #[serde(default)]
    pub rolling: Option<Range<Ms>>,
}

/// One word, or a list of them.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    /// All of them.
    pub fn all(&self) -> Vec<String> {
        match self {
            Self::One(word) => vec![word.clone()],
            Self::Many(words) => words.clone(),
        }
    }
}

/// Nodes that come and go, with lifetimes of a heavy tail: most are short, a few are very long.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChurnSpec {
    pub who: Who,
    /// From when to when.
    pub during: Range<Ms>,
    /// Median time that a node stays.
    pub up: Range<Ms>,
    /// Median time that it is away.
    pub down: Range<Ms>,
    /// Exponent of the tail (Pareto): 1.1 is very heavy, 3 hardly.
    #[serde(default = "tail")]
    pub tail: f64,
    #[serde(default)]
    pub disk: Option<DiskFate>,
}

fn tail() -> f64 {
    1.3
}
