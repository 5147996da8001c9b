//! What a sandboxed task is given, what it may use, and how it ended.
//!
//! A task is one run of a WebAssembly module over one input. Its [`Outcome`] is a function of module, input and limits
//! only: every honest node gets the same one, gas included. Not here: how it is run (`actors/sandbox`).

use crate::id::Hash;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// One task of this node. Never sent to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId(pub u64);

/// Something outside of its own memory that a guest may use: an import of the module `pangea`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Capability {
    /// `send(ptr, len)`: a message for whoever runs the guest.
    Send,
    /// `log(level, ptr, len)`: a line for whoever debugs it.
    Log,
    /// `now() -> i64`: milliseconds since 1970, as the caller of the guest set them.
    Now,
    /// `random(ptr, len)`: bytes that follow from the seed of the call.
    Random,
    /// `chunk_read(chunk, offset, ptr, len) -> i32`: bytes of the data that the task was given beside its input.
    ChunkRead,
}

impl Capability {
    /// All of them, in the order of their bits.
    pub const ALL: [Self; 5] = [Self::Send, Self::Log, Self::Now, Self::Random, Self::ChunkRead];

    /// The name of the import, and what a manifest says.
    pub fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Log => "log",
            Self::Now => "now",
            Self::Random => "random",
            Self::ChunkRead => "chunk_read",
        }
    }

    /// The capability of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.name() == name)
    }
}

/// A set of capabilities. Prints as the line of a manifest that grants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Capabilities(u8);

impl Capabilities {
    /// The set without any.
    pub const NONE: Self = Self(0);

    /// This set and one more.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability as u8)
    }

    /// Is it in the set?
    pub fn has(self, capability: Capability) -> bool {
        self.0 & 1 << capability as u8 != 0
    }

    /// In the order of [`Capability::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |capability| self.has(*capability))
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        capabilities.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.iter().map(|capability| format!("\"{}\"", capability.name())).collect();
        write!(f, "capabilities = [{}]", names.join(", "))
    }
}

/// What a task may use. Reaching one ends the task (see [`Trap`]), except `log_bytes`, beyond which lines are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Gas of one call: about one per WebAssembly instruction.
    pub gas: u64,
    /// Linear memory.
    pub memory_bytes: u64,
    /// Elements of all tables together.
    pub table_elements: u32,
    /// Stack of nested calls, in slots of 8 bytes: parameters, locals and operands of every frame.
    pub stack_slots: u32,
    /// Output and sent messages together.
    pub output_bytes: u32,
    /// Log lines.
    pub log_bytes: u32,
}

impl Limits {
    /// The first limit that is more than that of `other`: its name, and both.
    pub fn exceeds(&self, other: &Self) -> Option<(&'static str, u64, u64)> {
        let pairs = [
            ("gas", self.gas, other.gas),
            ("memory_bytes", self.memory_bytes, other.memory_bytes),
            ("table_elements", self.table_elements.into(), other.table_elements.into()),
            ("stack_slots", self.stack_slots.into(), other.stack_slots.into()),
            ("output_bytes", self.output_bytes.into(), other.output_bytes.into()),
            ("log_bytes", self.log_bytes.into(), other.log_bytes.into()),
        ];
        pairs.into_iter().find(|(_, ours, theirs)| ours > theirs)
    }
}

impl Default for Limits {
    /// Some seconds of an interpreter, 64 MiB of memory and 16 MiB of output.
    fn default() -> Self {
        Self {
            gas: 2_000_000_000,
            memory_bytes: 64 << 20,
            table_elements: 65_536,
            stack_slots: 131_072,
            output_bytes: 16 << 20,
            log_bytes: 64 << 10,
        }
    }
}

/// Why a guest was stopped. The same on every engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Trap {
    /// [`Limits::gas`].
    #[error("used up its gas")]
    Gas,
    /// [`Limits::stack_slots`].
    #[error("nested calls deeper than its stack")]
    Stack,
    /// [`Limits::memory_bytes`] or [`Limits::table_elements`] at the start, or it gave up after one refused to grow.
    #[error("needs more memory than its limit")]
    Memory,
    /// [`Limits::output_bytes`].
    #[error("produced more output than its limit")]
    Output,
    /// Executed `unreachable`: a panic or an abort of the guest's language.
    #[error("gave up (unreachable)")]
    Unreachable,
    /// Read or wrote beyond its memory or a table.
    #[error("reached beyond its memory or a table")]
    OutOfBounds,
    /// Called an empty table element, or one of another type.
    #[error("called a function that is not there or has another type")]
    IndirectCall,
    /// Divided by zero, or a result does not fit an integer.
    #[error("divided by zero or overflowed an integer")]
    Arithmetic,
    /// Gave the host a pointer and a length that are not in its memory.
    #[error("gave the host a pointer outside of its memory")]
    Pointer,
    /// `abi_version` returned another version than 1.
    #[error("speaks another version of the ABI than pangea:1")]
    AbiVersion,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// `handle` returned these bytes.
    Output(Bytes),
    /// It was stopped.
    Trapped(Trap),
}

/// The result of a task: equal for equal module, input and limits, wherever it ran and however it was sliced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Output or trap.
    pub ending: Ending,
    /// What it sent, in order.
    pub sent: Vec<Bytes>,
    /// Gas used; the whole limit after [`Trap::Gas`].
    pub gas: u64,
    /// Most linear memory.
    pub memory_bytes: u64,
}

/// What a worker signs for: its outcome in hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The determinism pass whose gas this is.
    pub pass_version: u32,
    /// BLAKE3 of the module, before the pass.
    pub module: Hash,
    /// BLAKE3 of the input; see [`input_hash`]. Of one that lies in a stored object, [`crate::stored::StoredInput::hash`].
    pub input: Hash,
    /// BLAKE3 of the output, or why there is none.
    pub output: Result<Hash, Trap>,
    /// BLAKE3 of what it sent; see [`list_hash`].
    pub sent: Hash,
    /// Gas used.
    pub gas: u64,
}

/// BLAKE3 over byte strings, each behind its length as 8 bytes, little endian: no two lists collide.
pub fn list_hash<'a>(list: impl IntoIterator<Item = &'a Bytes>) -> Hash {
    let mut hasher = blake3::Hasher::new();
    for bytes in list {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    Hash(*hasher.finalize().as_bytes())
}

/// All that a task sees: its input and chunks as a list, the clock and the seed.
pub fn input_hash(input: &Input) -> Hash {
    let clock = Bytes::copy_from_slice(&input.unix_ms.to_le_bytes());
    let seed = Bytes::copy_from_slice(&input.seed);
    list_hash([&input.bytes, &clock, &seed].into_iter().chain(&input.chunks))
}

/// What a guest is called with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// For `handle`.
    pub bytes: Bytes,
    /// For `chunk_read`.
    pub chunks: Vec<Bytes>,
    /// For `now`: fixed for the whole call, and agreed on if results are compared.
    pub unix_ms: u64,
    /// For `random`.
    pub seed: [u8; 32],
}

/// A task for the sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Its name, never used again in this life of the node.
    pub task: TaskId,
    /// An installed module.
    pub module: Hash,
    /// What it is called with.
    pub input: Input,
    /// What it may use.
    pub limits: Limits,
    /// What it may import.
    pub granted: Capabilities,
    /// Higher goes first among those that wait.
    pub priority: u8,
    /// Longest time from its start to its end; none if it may take what its gas takes.
    pub wall_max: Option<Duration>,
}

/// A line that a guest logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// 0 error, 1 warning, 2 information, 3 and more for debugging.
    pub level: u8,
    /// Its text; what is not UTF-8 is replaced.
    pub text: String,
}

/// Why a module or a task is not run at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Not WebAssembly.
    #[error("invalid module: {message} (at byte {offset})")]
    Invalid { offset: u64, message: String },
    /// WebAssembly that does not run here.
    #[error(
        "the module uses {name} (at byte {offset}), which has no equal result on every machine or no limit: {remedy}"
    )]
    Feature { name: String, offset: u64, remedy: String },
    /// An import that no capability stands for.
    #[error(
        "the module imports `{name}` of `{module}`, which does not exist here: there are only send, log, now, random \
         and chunk_read of `pangea`; compile without WASI and without a start file"
    )]
    UnknownImport { module: String, name: String },
    /// A known import with another type.
    #[error("the module imports `{name}` of `pangea` with another type than {expected}")]
    ImportType { name: String, expected: String },
    /// An export of the ABI is missing or has another type.
    #[error("the module must export `{name}` as {expected} (ABI pangea:1)")]
    Export { name: String, expected: String },
    /// Larger than what is compiled.
    #[error("the module has {found} {what}; {max} is the most")]
    TooLarge { what: String, found: u64, max: u64 },
    /// Imports that the manifest does not grant.
    #[error("the module imports {missing} of `pangea`, not granted by its manifest; to grant it, write: {needed}", missing = names(*.missing))]
    NotGranted { missing: Capabilities, needed: Capabilities },
    /// This node has not got the module.
    #[error("module {module} is not installed: install it before it is run")]
    NotInstalled { module: Hash },
    /// The task asks for more than this node gives.
    #[error("{what} of the task is {found}; this node gives at most {max}")]
    OverLimit { what: String, found: u64, max: u64 },
    /// Full.
    #[error("{waiting} tasks wait already: try again later, or at another node")]
    Busy { waiting: u64 },
    /// The task id is in use.
    #[error("a task of this id is running already")]
    Twice,
    /// The node itself failed; says nothing about the module.
    #[error("this node failed: {message}")]
    Node { message: String },
}

fn names(capabilities: Capabilities) -> String {
    capabilities.iter().map(|capability| format!("`{}`", capability.name())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_line_that_would_grant() {
        let missing = Capabilities::NONE.with(Capability::Send);
        let needed = missing.with(Capability::Log);
        let text = Refusal::NotGranted { missing, needed }.to_string();
        assert!(text.contains("imports `send`") && text.ends_with("capabilities = [\"send\", \"log\"]"), "{text}");
        assert!(Capability::ALL.into_iter().all(|one| Capability::from_name(one.name()) == Some(one)));
    }

    #[test]
    fn lists_that_concatenate_alike_hash_differently() {
        let (a, b, ab) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"), Bytes::from_static(b"ab"));
        assert_ne!(list_hash([&a, &b]), list_hash([&ab]));
        assert_ne!(list_hash([&ab]), list_hash([&ab, &Bytes::new()]));
    }

    #[test]
    fn the_first_limit_that_is_exceeded_is_named() {
        let (ours, node) =
            (Limits { stack_slots: 2, ..Limits::default() }, Limits { stack_slots: 1, ..Limits::default() });
        assert_eq!(ours.exceeds(&node), Some(("stack_slots", 2, 1)));
        assert_eq!(node.exceeds(&ours), None);
    }
}
