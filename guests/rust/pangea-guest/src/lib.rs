//! What makes tasks, jobs and plugins for the sandbox short to write in Rust.
//!
#![doc = include_str!("../README.md")]
//!
//! # Where to find what
//!
//! | module | what it holds |
//! |---|---|
//! | [`data`] | what functions may take and return, and the envelope of a job |
//! | [`plugin`] | what plugins hear, and what they may want of their node |
//! | [`host`] | what a module may import: log, send, now, random, chunk_read |
//! | `native` | the same without a sandbox, for `cargo test`; not on wasm32 |
//! | [`abi`] | what the attributes expand to |
//! | `runtime`, `heap` | panic handler and allocator for modules without the standard library |

#![no_std]

pub extern crate alloc as __alloc;
#[cfg(any(feature = "std", not(target_arch = "wasm32")))]
extern crate std;

pub mod abi;
pub mod data;
#[cfg(any(test, all(feature = "runtime", target_arch = "wasm32")))]
mod heap;
pub mod host;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;
pub mod plugin;
#[cfg(all(feature = "runtime", target_arch = "wasm32"))]
mod runtime;

#[cfg(all(feature = "runtime", feature = "std", target_arch = "wasm32"))]
compile_error!("the feature `runtime` is for modules without `std`: add default-features = false");

pub use data::{Chunk, Parts};
pub use host::{Level, chunk_read, log, now, random, send};
pub use pangea_guest_macros::{execute, merge, plugin, split, task};
