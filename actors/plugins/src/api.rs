//! The whole interface of the plugins actor on one screen. What a single plugin hears and wants is in
//! [`crate::extension`].

use crate::{
    extension,
    manifest::{MODULE_BYTES_MAX, Manifest, ManifestError},
};
use bytes::Bytes;
use pangea_protocols::{
    PeerId,
    guest::{self, Line},
    task::TaskId,
    wire::{Frame, extension::Name},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What the actor receives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum In {
    /// From the node store, when the node or this actor starts. No answer.
    Restore { package: Package, snapshot: Option<Snapshot> },
    /// Run a plugin, or replace the one of that name: answered by `Installed` or `Refused`.
    Install { request: u64, package: Package },
    /// Stop a plugin and forget all of it: answered by `Removed` or `Refused`.
    Remove { request: u64, name: Name },
    /// Ask a plugin: answered by `Answer` or `Refused`.
    Ask { request: u64, name: Name, bytes: Bytes },
    /// All plugins: answered by `List`.
    List { request: u64 },
    /// What a plugin has logged lately: answered by `Lines` or `Refused`.
    Lines { request: u64, name: Name },
    /// Have every plugin save what it knows: answered by `Drained`. Nothing is started after it.
    Drain { request: u64 },
    /// A message of a peer's plugin.
    Received { peer: PeerId, frame: Frame },
    /// A peer is there.
    Connected { peer: PeerId },
    /// It is gone.
    Disconnected { peer: PeerId },
    /// The node's answer to an [`Out::From`].
    To { name: Name, event: extension::In },
    /// What was to be kept is durable, or could not be written.
    Saved { name: Name, number: u64, error: Option<String> },
    /// From the driver that runs them.
    Guest(guest::Event),
    /// An own timer: one that a plugin has set.
    Timer { instance: TaskId, id: u64 },
    /// An own timer: the pause of a plugin is over.
    Rested { instance: TaskId },
    /// An own timer: a plugin has had its time to answer.
    Late { request: u64 },
}

/// What the actor emits.
#[derive(Clone, Debug)]
pub enum Out {
    /// To the driver that runs them.
    Guest(guest::Command),
    /// Something that a plugin wants of the node and may have. `Send` goes to the network; snapshots are not among them.
    From { name: Name, folder: Option<String>, out: extension::Out },
    /// To the node store: keep these instead of what is kept of the plugin, both or neither; answered by `Saved`.
    Save { name: Name, number: u64, package: Option<Package>, snapshot: Option<Snapshot> },
    /// To the node store: forget a plugin and its snapshot.
    Forget { name: Name },
    /// To who asked.
    Reply { request: u64, reply: Reply },
}

/// A plugin as it is installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// The text of its manifest.
    pub manifest: String,
    /// Its module: WebAssembly, not text.
    pub module: Bytes,
}

/// What a plugin keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Version of what the bytes mean.
    pub schema: u32,
    /// Its own.
    pub bytes: Bytes,
}

/// Answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It runs, and has replaced that version.
    Installed { view: View, replaced: Option<String> },
    /// It is gone.
    Removed,
    /// By name.
    List(Vec<View>),
    /// Oldest first.
    Lines(Vec<Line>),
    /// What the plugin says.
    Answer(Bytes),
    /// All have saved what they know.
    Drained,
    /// No.
    Refused(Refusal),
}

/// A plugin from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// See [`Manifest`].
    pub name: Name,
    /// See [`Manifest`].
    pub version: String,
    /// See [`Manifest`].
    pub about: String,
    /// First words of what it can be asked, and what they do.
    pub commands: Vec<(String, String)>,
    /// What it may do beside computing.
    pub capabilities: Vec<String>,
    /// Does it run?
    pub state: State,
    /// Events that wait.
    pub waiting: u64,
    /// Events it has handled.
    pub handled: u64,
    /// Messages of peers that were dropped because too many waited.
    pub dropped: u64,
    /// Times it was started anew.
    pub restarts: u64,
    /// Gas of all calls.
    pub gas: u64,
    /// Time of all calls, waiting for a thread of the sandbox included.
    pub busy: Duration,
    /// Bytes of memory after the last call.
    pub memory_bytes: u64,
    /// Bytes of its snapshot.
    pub snapshot_bytes: u64,
    /// Why it failed the last time.
    pub last_failure: Option<String>,
}

/// How a plugin is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Its module is compiled, or it has not handled `started` yet.
    Starting,
    /// It takes events.
    Running,
    /// It has failed and will be started anew.
    Pausing,
    /// It has failed too often, or cannot be run. Installing it again starts it again.
    Disabled(String),
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// See [`ManifestError`].
    #[error("{0}")]
    Manifest(String),
    /// The module is not run.
    #[error("{0}")]
    Module(String),
    /// Full.
    #[error("{0} plugins are installed already: remove one with `pangea actor rm`")]
    Full(usize),
    /// Nothing is called that.
    #[error("there is no plugin `{name}`{}", others(.known))]
    NoSuch { name: Name, known: Vec<Name> },
    /// The snapshot would not be understood.
    #[error(
        "version {new} does not understand what the running {old} keeps (snapshot schema {found}): give it \
         `reads = [{found}]`, or remove the plugin first, with what it keeps"
    )]
    Schema { old: String, new: String, found: u32 },
    /// The new version failed; the old one goes on.
    #[error("version {new} did not start: {reason}; {old} goes on")]
    RolledBack { old: String, new: String, reason: String },
    /// It failed when it was started.
    #[error("it did not start: {0}")]
    NotStarted(String),
    /// It is being replaced or removed already.
    #[error("another version of it is being installed: try again in a moment")]
    Twice,
    /// Its mailbox is full.
    #[error("{waiting} events wait for `{name}` already: try again in a moment")]
    Busy { name: Name, waiting: usize },
    /// It is not one of its commands.
    #[error("`{name}` is not asked that; it answers {}", commands.join(", "))]
    NoCommand { name: Name, commands: Vec<String> },
    /// It does not run.
    #[error("`{name}` is disabled: {reason}; install it again to start it again")]
    Disabled { name: Name, reason: String },
    /// It did not answer.
    #[error("`{name}` has not answered within {secs} seconds")]
    Late { name: Name, secs: u64 },
    /// It failed before it answered.
    #[error("`{name}` failed: {reason}")]
    Failed { name: Name, reason: String },
    /// The plugin's own words.
    #[error("{0}")]
    Plugin(String),
    /// It was removed, or the node stops.
    #[error("`{0}` ended before it answered")]
    Ended(Name),
}

fn others(known: &[Name]) -> String {
    match known {
        [] => ": none is installed".to_owned(),
        known => format!(": there are {}", known.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")),
    }
}

impl From<ManifestError> for Refusal {
    fn from(error: ManifestError) -> Self {
        Self::Manifest(error.to_string())
    }
}

impl Package {
    /// Checks sizes and the manifest.
    ///
    /// # Errors
    /// [`Refusal::Manifest`] or [`Refusal::Module`].
    pub fn open(&self) -> Result<Manifest, Refusal> {
        if self.module.len() > MODULE_BYTES_MAX {
            let bytes = self.module.len();
            return Err(Refusal::Module(format!("the module has {bytes} bytes; {MODULE_BYTES_MAX} is the most")));
        }
        Ok(Manifest::parse(&self.manifest)?)
    }
}
