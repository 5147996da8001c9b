//! What a cpu worker runs for CES, as data, and what it answers. Not here: threads, queues, priorities: the cpu driver
//! of the node lends every worker one [`Scratch`] and calls [`Work::run`].

use crate::{
    api::{Profile, Stripe},
    frame::{self, FrameError, Opening, Place},
    scratch::Scratch,
};
use bytes::Bytes;
use pangea_protocols::{
    JobId,
    manifest::{Codec, INLINE_BYTES_MAX, StripeRecord},
    stored::FrameKey,
    ticket::ReadKey,
};
use serde::{Deserialize, Serialize};

/// One frame to work on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Work {
    /// Compress, encrypt, shard.
    EncodeFrame(EncodeFrame),
    /// Recover, decrypt, decompress.
    DecodeFrame(DecodeFrame),
    /// Decrypt and decompress what the root block holds.
    DecodeInline(DecodeInline),
}

/// See [`frame::encode_frame`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EncodeFrame {
    /// For whom.
    pub job: JobId,
    /// Read key of the object.
    pub key: ReadKey,
    /// Name of the object.
    pub object: [u8; 16],
    /// Which frame.
    pub index: u64,
    /// 1 byte to 1 MiB.
    pub raw: Bytes,
    /// Data shards.
    pub k: u8,
    /// Parity shards.
    pub m: u8,
    /// How hard to compress.
    pub profile: Profile,
    /// The frame is the whole object: if it is small enough, it goes into the root block.
    pub alone: bool,
}

/// See [`frame::decode_frame`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DecodeFrame {
    /// For whom.
    pub job: JobId,
    /// Opens the frame.
    pub key: FrameKey,
    /// Name of the object.
    pub object: [u8; 16],
    /// Which frame.
    pub index: u64,
    /// Its record.
    pub record: StripeRecord,
    /// Data shards.
    pub k: u8,
    /// Parity shards.
    pub m: u8,
    /// k or more verified shards with their positions.
    pub shards: Vec<(u16, Bytes)>,
}

/// See [`frame::decode_inline`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DecodeInline {
    /// For whom.
    pub job: JobId,
    /// Opens it.
    pub key: FrameKey,
    /// Name of the object.
    pub object: [u8; 16],
    /// How it was compressed.
    pub codec: Codec,
    /// Plaintext bytes.
    pub raw_len: u32,
    /// From the root block.
    pub ciphertext: Vec<u8>,
}

/// A worker's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// For whom.
    pub job: JobId,
    /// Which frame; 0 for inline content.
    pub index: u64,
    /// What came out.
    pub result: Result<Output, FrameError>,
}

/// What a frame became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// Shards.
    Stripe(Stripe),
    /// Content of the root block.
    Inline(Codec, Vec<u8>),
    /// Plaintext.
    Raw(Bytes),
}

impl Work {
    /// For whom.
    pub fn job(&self) -> JobId {
        match self {
            Self::EncodeFrame(work) => work.job,
            Self::DecodeFrame(work) => work.job,
            Self::DecodeInline(work) => work.job,
        }
    }

    /// Which frame; 0 for inline content.
    pub fn index(&self) -> u64 {
        match self {
            Self::EncodeFrame(work) => work.index,
            Self::DecodeFrame(work) => work.index,
            Self::DecodeInline(_) => 0,
        }
    }

    /// Runs on the calling thread for up to some tens of milliseconds. Never panics, whatever the bytes.
    pub fn run(self, scratch: &mut Scratch) -> Done {
        match self {
            Self::EncodeFrame(work) => Done { job: work.job, index: work.index, result: work.run(scratch) },
            Self::DecodeFrame(work) => {
                let place = Opening { key: work.key, object: &work.object, index: work.index };
                let raw = frame::decode_frame(scratch, place, &work.record, (work.k, work.m), &work.shards);
                Done { job: work.job, index: work.index, result: raw.map(Output::Raw) }
            }
            Self::DecodeInline(work) => {
                let place = Opening { key: work.key, object: &work.object, index: 0 };
                let raw = frame::decode_inline(scratch, place, work.codec, work.raw_len, &work.ciphertext);
                Done { job: work.job, index: 0, result: raw.map(Output::Raw) }
            }
        }
    }
}

impl EncodeFrame {
    fn run(&self, scratch: &mut Scratch) -> Result<Output, FrameError> {
        let place = Place { key: &self.key, object: &self.object, index: self.index };
        let code = (self.k, self.m);
        let sealed = frame::seal(scratch, place, &self.raw, code, self.profile)?;
        if self.alone && sealed.ct_len <= INLINE_BYTES_MAX {
            return Ok(Output::Inline(sealed.codec, sealed.buffer.bytes[..sealed.ct_len].to_vec()));
        }
        frame::shard(scratch, sealed, code).map(Output::Stripe)
    }
}
