//! [`StoredInput`]: the input of a task that lies in a stored object. Whoever runs the task reads it itself.
//!
//! It names a range of plaintext that begins with a frame, and carries a [`FrameKey`] for each frame that it touches. The
//! keys of frames are derived one by one from the object's read key, which stays with the owner: who has some of them
//! reads those frames, and no others. Not here: how they are derived (`actors/ces`), who reads when (`actors/compute`).

use crate::{
    codec::{self, Limit},
    id::{Address, Cid, Hash, PeerId},
    manifest::FRAME_BYTES,
    ticket::HINTS_MAX,
};
use serde::{Deserialize, Serialize};
use std::{fmt, ops::Range};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Most frames of one input: with its head it is at most 16 MiB.
pub const FRAMES_MAX: usize = 15;
/// Most bytes in front of the frames.
pub const HEAD_BYTES_MAX: usize = 64;

/// Opens one frame of one object, and seals none. Its `Debug` form shows nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct FrameKey(pub [u8; 32]);

impl fmt::Debug for FrameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameKey(…)")
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredInput {
    /// The object.
    pub cid: Cid,
    /// Peers that may have its root block, at most [`HINTS_MAX`].
    pub hints: Vec<(PeerId, Address)>,
    /// The first frame.
    pub first: u64,
    /// Plaintext bytes from its beginning.
    pub len: u32,
    /// One for each frame that has some of them, in order; at most [`FRAMES_MAX`].
    pub keys: Vec<FrameKey>,
    /// What the task sees before those bytes, at most [`HEAD_BYTES_MAX`] bytes.
    pub head: Vec<u8>,
}

impl StoredInput {
    /// Bytes that the guest sees.
    pub fn seen_bytes(&self) -> usize {
        self.head.len() + self.len as usize
    }

    /// The bytes of the object, as offsets in it.
    pub fn range(&self) -> Range<u64> {
        let start = self.first.saturating_mul(FRAME_BYTES as u64);
        start..start.saturating_add(self.len.into())
    }

    /// What claims name as the hash of this input: it commits to the bytes, through the CID, to whoever has not read
    /// them. No keys and no hints: they do not change what is read.
    pub fn hash(&self) -> Hash {
        let mut hasher = blake3::Hasher::new();
        let named = codec::encode(&(self.cid, self.first, self.len, &self.head), Limit::Message);
        // Some hundred bytes: far below the limit.
        hasher.update(b"pangea/compute/1 stored input\0").update(&named.unwrap_or_default());
        Hash(*hasher.finalize().as_bytes())
    }

    /// Do its parts agree, and keep to their limits?
    pub fn fits(&self) -> bool {
        let frames = self.keys.len();
        (1..=FRAMES_MAX).contains(&frames)
            && (self.len as usize).div_ceil(FRAME_BYTES) == frames
            && self.first.checked_add(frames as u64).is_some_and(|end| end <= u64::MAX / FRAME_BYTES as u64)
            && self.head.len() <= HEAD_BYTES_MAX
            && self.hints.len() <= HINTS_MAX
    }
}
