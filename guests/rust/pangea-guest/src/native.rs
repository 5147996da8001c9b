//! A stand-in for the host, so that tasks run in `cargo test` as plain functions.
//!
//! Every thread has its own, empty at first. Its [`random`](crate::random) gives other bytes than the sandbox does.

use core::cell::RefCell;
use std::{string::String, thread_local, vec::Vec};

use crate::host::Level;

/// What the functions of [`host`](crate::host) read and write off wasm32.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Native {
    /// What was logged.
    pub lines: Vec<(Level, String)>,
    /// What was sent.
    pub sent: Vec<Vec<u8>>,
    /// What [`now`](crate::now) says.
    pub unix_ms: u64,
    /// What [`random`](crate::random) follows from.
    pub seed: u64,
    /// What [`chunk_read`](crate::chunk_read) reads.
    pub chunks: Vec<Vec<u8>>,
}

thread_local!(static NATIVE: RefCell<Native> = RefCell::default());

/// Reads or changes the stand-in of this thread. Not from within itself.
pub fn with<R>(what: impl FnOnce(&mut Native) -> R) -> R {
    NATIVE.with(|native| what(&mut native.borrow_mut()))
}

impl Native {
    /// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    pub(crate) fn random(&mut self, bytes: &mut [u8]) {
        for bytes in bytes.chunks_mut(8) {
            self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.seed;
            word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            bytes.copy_from_slice(&(word ^ word >> 31).to_le_bytes()[..bytes.len()]);
        }
    }

    pub(crate) fn chunk_read(&self, chunk: u32, offset: u64, into: &mut [u8]) -> Option<usize> {
        let chunk = self.chunks.get(usize::try_from(chunk).ok()?)?;
        let source = &chunk[usize::try_from(offset).unwrap_or(usize::MAX).min(chunk.len())..];
        let copied = source.len().min(into.len());
        into[..copied].copy_from_slice(&source[..copied]);
        Some(copied)
    }
}
