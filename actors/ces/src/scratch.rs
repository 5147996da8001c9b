//! What a cpu worker keeps between frames, so that a frame costs one hand-over of a buffer and no page faults.
//!
//! Shards leave a worker as slices of one pooled buffer; when the last slice is dropped, wherever that is, the buffer
//! comes back. A pool never blocks: if all its buffers are out it makes a new one, and it keeps at most
//! [`KEPT_MAX`]. Not here: limits on how many stripes are under way (`encoder`, `window`).

use crate::{compress::Compressor, erasure::Erasure};
use bytes::Bytes;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// Buffers that a pool keeps for later.
pub const KEPT_MAX: usize = 6;

/// One worker's memory. Make one per worker thread and lend it to every [`crate::work::Work`].
#[derive(Default)]
pub struct Scratch {
    pub(crate) compressor: Compressor,
    pub(crate) erasure: Erasure,
    /// Ciphertext of the frame that is being decoded.
    pub(crate) sealed: Vec<u8>,
    pub(crate) pool: Pool,
}

impl Scratch {
    /// An empty one; buffers are made when they are first needed.
    pub fn new() -> Self {
        Self::default()
    }
}

/// Buffers that come back when the [`Bytes`] made of them are dropped. Also for whoever reads frames from a disk: a new
/// megabyte per frame costs 256 page faults, which is a fifth of the CPU time of the fast profile.
#[derive(Clone, Default)]
pub struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    /// A buffer of at least `len` initialised bytes whose content is arbitrary.
    pub fn take(&self, len: usize) -> Buffer {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        if bytes.len() < len {
            bytes.resize(len, 0);
        }
        Buffer { bytes, len: 0, pool: self.clone() }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pool")
    }
}

/// A buffer on its way to become [`Bytes`].
pub struct Buffer {
    /// At least as many bytes as were asked for.
    pub bytes: Vec<u8>,
    len: usize,
    pool: Pool,
}

impl Buffer {
    /// The first `len` bytes, shared; the buffer goes home when the last share is dropped.
    pub fn freeze(mut self, len: usize) -> Bytes {
        self.len = len.min(self.bytes.len());
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut kept = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_slice_is_dropped_and_few_are_kept() {
        let pool = Pool::default();
        let slice = pool.take(100).freeze(10).slice(2..4);
        assert_eq!(slice.len(), 2);
        assert_eq!(pool.0.lock().unwrap().len(), 0);
        drop(slice);
        assert_eq!(pool.0.lock().unwrap().len(), 1);
        let many: Vec<_> = (0..KEPT_MAX + 3).map(|_| pool.take(100)).collect();
        drop(many);
        assert_eq!(pool.0.lock().unwrap().len(), KEPT_MAX);
    }
}
