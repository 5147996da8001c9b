//! The whole interface of the CES actor on one screen.

use crate::work::{Done, Work};
use bytes::Bytes;
use pangea_protocols::{
    JobId,
    files::{self, Sink, Source},
    job::JobEvent,
    manifest::{RootBody, StripeRecord},
    merkle::StripeProof,
    stored::FrameKey,
    ticket::ReadKey,
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

pub use pangea_protocols::encoded::{EncodedEnd, Profile};

/// What the actor receives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum In {
    /// Begin to encode: a fresh key is drawn and the source opened. From the uploader.
    Encode { job: JobId, source: Source, k: u8, m: u8, profile: Profile },
    /// The uploader can take this many more stripes.
    Credit { job: JobId, stripes: u32 },
    /// Begin to decode: waits for `Root`. From the control API. `only` limits what is written.
    Decode { job: JobId, key: Key, only: Selection, sink: Sink },
    /// The manifest of a job that is to be decoded. From the downloader.
    Root { job: JobId, root: RootBody },
    /// k or more verified shards of a stripe that was asked for with `Need`, in any order of stripes.
    Stripe { job: JobId, index: u64, record: StripeRecord, shards: Vec<(u16, Bytes)> },
    /// The job is over, whatever its state.
    Cancel { job: JobId },
    /// From the files driver.
    Files(files::Event),
    /// From the cpu driver.
    Worked(Done),
}

/// What opens an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Key {
    /// All of it.
    Read(ReadKey),
    /// These frames, from `first` on, and nothing else: not even what the object is, so that a range of bytes is all that
    /// can be asked for.
    Frames { first: u64, keys: Vec<FrameKey> },
}

/// Which part of an object is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    /// All of it.
    All,
    /// Bytes `offset..offset + len` of a file; `len` `None` reads to the end.
    Range { offset: u64, len: Option<u64> },
    /// One entry of a directory (a file, or a directory with all below it), as path components.
    Entry(Vec<String>),
    /// Only name, kind and (for a directory) the index: nothing is written to the sink.
    Info,
}

/// What the actor emits.
#[derive(Clone, Debug)]
pub enum Out {
    /// To the files driver.
    Files(files::Command),
    /// To the cpu driver: pure work, answered by `In::Worked`.
    Work(Work),
    /// To the uploader: a stripe, in ascending order of index.
    Encoded { job: JobId, index: u64, stripe: Stripe },
    /// To the uploader: the source has ended.
    EncodedAll { job: JobId, end: EncodedEnd },
    /// To the downloader: stripes that will be needed, ascending; asked for as decoding advances.
    Need { job: JobId, stripes: Range<u64> },
    /// To the downloader: a stripe is decoded and its memory free.
    Consumed { job: JobId, index: u64 },
    /// To the downloader: shards of this stripe passed their proofs but did not decrypt; the object is damaged
    /// at its source or the key is wrong, so the job fails. Sent before `Job(Failed)`.
    Stop { job: JobId },
    /// To the control API: a directory's index, when `Selection::Info` or `All` read it.
    Index { job: JobId, index: pangea_protocols::manifest::DirectoryIndex },
    /// To the control API. For an encode job only `Failed` is sent; the uploader reports the rest.
    Job(JobEvent),
}

/// An encoded frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stripe {
    /// Its record; `placement` is empty until the uploader fills it.
    pub record: StripeRecord,
    /// k data shards, then m parity shards; empty for a zero frame.
    pub shards: Vec<(Bytes, StripeProof)>,
}
