//! The sandbox: runs WebAssembly of strangers, metered, limited, and with the same result on every machine.
//!
//! **Job.** Take any module, make it one that pays for what it does; run tasks of it in slices, so that none holds a
//! worker; end each with an outcome that another node can check.
//!
//! | module | what it holds |
//! |---|---|
//! | [`api`] | what the actor receives and emits |
//! | [`sandbox`] | [`Sandbox`]: the actor's core, a table of tasks that take turns |
//! | [`work`] | [`work::Work`]: what a cpu worker runs, on the [`work::Workshop`] that all workers share |
//! | [`extism`] | plugins that were written for Extism, as modules of the ABI |
//! | [`guests`] | instances that stay from one call to the next |
//! | [`cache`] | compiled and refused modules by their hash |
//! | [`pass`] | the determinism pass: any module in, one that pays gas and shows no bits of a NaN out |
//! | `sections` | a module that is being written |
//! | [`engine`] | engines that run instrumented modules in slices, and the ABI `pangea:1` |
//!
//! # Messages
//!
//! `Install` → one `Work` → `Installed`. `Run` → waiting → `Started` and a `Work` per slice, in turns with other tasks →
//! `Done` with outcome and receipt. `Cancel` and the wall time end a task when its slice ends: `Stopped`. `Refused` at
//! any point means that there is no outcome, and why.
//!
//! # Limits
//!
//! Of a module: [`pass::limits`]. Of a task: its [`Limits`](pangea_protocols::task::Limits), at most those of
//! [`sandbox::Config`], which bounds the tasks that run and those that wait as well; one more is refused with the length of
//! the queue. Compiled modules: bytes, see [`cache`].
//!
//! # Invariants
//!
//! - Equal module, input and limits give an equal outcome, gas included, on every machine, engine and slicing.
//! - A guest reaches nothing but its memory, its input and the imports that were granted.
//! - Whatever a module or a guest does ends that guest and nothing else, within its limits.
//! - A node that fails gives no outcome, rather than another one.
//!
//! Deliberately absent: which task runs where, and whether its outcome is believed (that is the scheduler); WASI.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod api;
pub mod cache;
pub mod engine;
pub mod extism;
pub mod guests;
pub mod pass;
pub mod sandbox;
mod sections;
pub mod work;

pub use guests::Guests;
pub use sandbox::Sandbox;
pub use work::Workshop;
