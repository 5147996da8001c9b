//! The determinism pass: WebAssembly in, WebAssembly out, whose every run is the same on every machine and engine, and
//! ends.
//!
//! | module | what it does |
//! |---|---|
//! | [`limits`] | the most that a module may have of anything |
//! | `survey` | validates, refuses, and measures every function |
//! | [`abi`] | the imports and exports of `pangea:1` |
//! | `rewrite` | the sections of the new module |
//! | `body` | one function: gas, stack, growth |
//! | [`cost`] | what an instruction costs |
//! | `nan` | which instructions let the bits of a NaN be seen |
//! | `choice` | a defect of an engine that `select` must not meet |
//!
//! # Why equal inputs give equal outputs
//!
//! WebAssembly 2.0 leaves four things open (core specification, "Nondeterminism"); nothing else differs between engines.
//!
//! - **NaN bits** of float arithmetic. They are made canonical where they could be seen; `nan` argues why nowhere else.
//! - **Whether memory or a table can grow.** The sandbox's limits alone decide. A node that cannot allocate what the
//!   limits allow gives no result, rather than another one.
//! - **When the stack is exhausted.** A counter of our own ends a call long before the stack of any engine does.
//! - **Host functions.** The host gives what the caller of the task wrote down: input, chunks, clock, seed.
//!
//! Threads, SIMD and whatever else leaves more open are refused.
//!
//! # Gas
//!
//! Each basic block pays for itself before it runs, and entries of functions and loops look whether there was enough: if
//! not, they call the import [`OUT_OF_GAS`], which gives more, pauses the guest until its next slice, or traps. A guest
//! has run out when the sum of what it paid exceeds its limit, which depends on neither the slices nor the engine's own
//! metering, which differs by up to two orders of magnitude between engines. Every loop and every call pays at least one.
//! What takes time in proportion to an operand (`memory.copy`, `memory.grow`, `table.fill`, ...) pays for it; growth
//! pays only if it is granted.
//!
//! Why not the interpreter's fuel: no other engine counts the same. Why not both: fuel alone costs up to a fifth, and the
//! module's own gas pauses it just as well.

pub mod abi;
mod body;
mod choice;
pub mod cost;
pub mod limits;
mod nan;
mod rewrite;
mod survey;

use pangea_protocols::task::{Capabilities, Refusal};
pub(crate) use survey::FEATURES;

/// Part of every receipt: gas, traps and outputs are comparable between equal versions only.
pub const VERSION: u32 = 1;

/// Module name of [`OUT_OF_GAS`].
pub const PASS_MODULE: &str = "pangea:pass";
/// The function `() -> ()` that an instrumented module imports beside those of its author.
pub const OUT_OF_GAS: &str = "out_of_gas";
/// Exported mutable `i64`: gas until the next call of [`OUT_OF_GAS`].
pub const GAS: &str = "pangea:gas";
/// Exported mutable `i32`: slots left of the stack; negative if that is why the guest trapped.
pub const STACK: &str = "pangea:stack";
/// The start function as an export, so that it can run in slices.
pub const START: &str = "pangea:start";

/// A module that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrumented {
    /// WebAssembly, valid.
    pub bytes: Vec<u8>,
    /// What it imports.
    pub imports: Capabilities,
    /// Gas to make an instance: memory, tables and segments by their size.
    pub setup_gas: u64,
}

/// Rewrites a module. Time and memory are bounded by [`limits`]; never panics, whatever the bytes.
///
/// # Errors
/// [`Refusal`]: invalid, too large, of a forbidden feature, or not of the ABI `pangea:1`.
pub fn instrument(module: &[u8]) -> Result<Instrumented, Refusal> {
    let survey = survey::survey(module)?;
    let bytes = rewrite::rewrite(module, &survey)?;
    wasmparser::Validator::new_with_features(survey::FEATURES)
        .validate_all(&bytes)
        .map_err(|error| Refusal::Node { message: format!("the pass made an invalid module: {error}") })?;
    Ok(Instrumented { bytes, imports: survey.capabilities, setup_gas: survey.setup_gas })
}
