//! The sandbox: runs WebAssembly of strangers, metered, limited, and with the same result on every machine.
//!
//! | module | what it holds |
//! |---|---|
//! | [`pass`] | the determinism pass: any module in, one that pays gas and shows no bits of a NaN out |
//! | [`engine`] | engines that run instrumented modules in slices, and the ABI `pangea:1` |
//!
//! # Invariants
//!
//! - Equal module, input and limits give an equal outcome, gas included, on every machine, engine and slicing.
//! - A guest reaches nothing but its memory, its input and the imports that were granted.
//! - Whatever a module or a guest does ends that guest and nothing else, within its limits.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod engine;
pub mod pass;
