//! Engines that run instrumented modules, and what is the same on all of them.
//!
//! | module | what it holds |
//! |---|---|
//! | [`instance`] | [`Instance`]: the calls of the ABI in their order, in slices, and their outcome |
//! | [`host`] | [`host::Host`]: what the imports of a guest do, and its limits |
//! | [`tank`] | [`tank::Tank`]: gas between slices |
//! | [`interpreter`] | [`Wasmi`]: the default engine |
//! | `jit` | `Jit`: a compiler, behind the feature of that name |
//!
//! [`Machine`] is all that an engine adds: to call an export, to go on after a pause, to show memory. An outcome is made
//! of gas counted by the module itself, of traps in our words and of the host's state, so it is the same on every
//! engine.

pub mod host;
pub mod instance;
pub mod interpreter;
#[cfg(feature = "jit")]
pub mod jit;
pub mod tank;

use crate::pass::{self, Instrumented};
use host::Host;
use pangea_protocols::task::{Refusal, Trap};

pub use instance::{Instance, Slice};
pub use interpreter::Wasmi;
#[cfg(feature = "jit")]
pub use jit::Jit;

/// Most [`pangea_protocols::task::Limits::stack_slots`]: an engine's own stack must hold it.
pub const STACK_SLOTS_MAX: u32 = 1 << 20;

/// Compiles modules and makes instances of them.
pub trait Engine: Send + Sync + 'static {
    /// A compiled module. Clones share it.
    type Module: Clone + Send + Sync + 'static;
    /// An instance.
    type Machine: Machine;

    /// Compiles all of a module, so that nothing is left to fail when it runs.
    ///
    /// # Errors
    /// The engine cannot: says nothing about what other nodes can.
    fn compile(&self, module: &Instrumented) -> Result<Self::Module, Refusal>;

    /// Makes an instance. Nothing of the guest runs yet.
    ///
    /// # Errors
    /// A segment does not fit, or memory and tables do not fit the limits.
    fn instantiate(&self, module: &Self::Module, host: Host) -> Result<Self::Machine, Halt>;
}

/// An instance in an engine.
pub trait Machine: Send + 'static {
    /// Most gas between two pauses, where the engine gives back what it took of the host's stack.
    const BREATH: u64;

    /// Calls an export; `None` if there is none.
    fn call(&mut self, export: Export, arguments: &[u32]) -> Option<Step>;
    /// Goes on after [`Step::Paused`].
    fn resume(&mut self) -> Step;
    /// Sets the globals that the pass added.
    fn set(&mut self, gas: i64, stack: Option<u32>);
    /// The global [`pass::GAS`].
    fn gas(&mut self) -> i64;
    /// The guest's memory, and what belongs to the host.
    fn parts(&mut self) -> (&mut [u8], &mut Host);
}

/// How far a call came.
#[derive(Debug)]
pub enum Step {
    /// It returned this; 0 if it returns nothing, an `i32` without its sign.
    Returned(u64),
    /// The gas of the slice is used up.
    Paused,
    /// It cannot go on.
    Halted(Halt),
}

/// Why a guest cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// Its own doing: the same everywhere.
    Trap(Trap),
    /// This node's doing.
    Node(String),
}

impl From<Trap> for Halt {
    fn from(trap: Trap) -> Self {
        Self::Trap(trap)
    }
}

/// What a host calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Export {
    /// The start function.
    Start,
    /// `abi_version() -> i32`.
    AbiVersion,
    /// `init()`.
    Init,
    /// `alloc(len) -> ptr`.
    Alloc,
    /// `handle(ptr, len) -> ptr << 32 | len`.
    Handle,
}

impl Export {
    /// In the order in which they are called; the last two for every input.
    pub const ALL: [Self; 5] = [Self::Start, Self::AbiVersion, Self::Init, Self::Alloc, Self::Handle];

    /// Its name in the instrumented module.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => pass::START,
            Self::AbiVersion => "abi_version",
            Self::Init => "init",
            Self::Alloc => "alloc",
            Self::Handle => "handle",
        }
    }
}
