//! The task that all nodes run, its reference, and the jobs that users want.

use bytes::Bytes;
use pangea_compute::{api::Spec, envelope};
use pangea_kernel::Draw;
use pangea_protocols::{
    Cid, Hash, JobId,
    receipt_job::{Place, Stage, Verification},
    stored::{FrameKey, StoredInput},
    task::{Ending, Input, Limits, Outcome, Receipt, input_hash, list_hash},
};

/// The determinism pass of all nodes.
pub const PASS: u32 = 1;

/// The module that stands for it.
pub fn module() -> Bytes {
    Bytes::from_static(b"a module")
}

/// Chunk `index` of a job.
pub fn chunk(job: JobId, index: u32) -> Bytes {
    format!("job {} chunk {index}", job.0).into()
}

/// The same, where it lies in a stored object. Its first frame tells which one it is.
pub fn stored(job: JobId, index: u32) -> StoredInput {
    StoredInput {
        cid: Cid(Hash::of(b"an object")),
        hints: Vec::new(),
        first: job.0 << 20 | u64::from(index),
        len: chunk(job, index).len() as u32,
        keys: vec![FrameKey([1; 32])],
        head: Vec::new(),
    }
}

/// What claims call it.
pub fn stored_hash(job: JobId, index: u32, total: u32) -> Hash {
    let mut input = stored(job, index);
    input.head = envelope::head(Place { stage: Stage::Execute, index }, total, input.len.into()).to_vec();
    input.hash()
}

/// What whoever reads it gets.
pub fn read(input: &StoredInput) -> Bytes {
    chunk(JobId(input.first >> 20), (input.first & 0xf_ffff) as u32)
}

/// Pieces that a split makes.
const PIECES: usize = 12;

/// What the module returns for an input.
fn output(input: &[u8]) -> Bytes {
    let hash = Hash::of(input).0;
    if input.get(2..7) == Some(b"split") {
        let pieces: Vec<Bytes> = (0..PIECES).map(|at| Bytes::copy_from_slice(&hash[at..at + 4])).collect();
        return envelope::list(pieces.iter());
    }
    Bytes::copy_from_slice(&hash)
}

/// A run of the module. A liar says what all liars say.
pub fn run(input: &Input, lies: bool) -> (Outcome, Receipt) {
    let mut bytes = output(&input.bytes);
    if lies {
        bytes = Bytes::copy_from_slice(&Hash::of(&[b"lie ", &bytes[..]].concat()).0);
    }
    let receipt = Receipt {
        pass_version: PASS,
        module: Hash::of(&module()),
        input: input_hash(input),
        output: Ok(Hash::of(&bytes)),
        sent: list_hash([]),
        gas: 1000,
    };
    (Outcome { ending: Ending::Output(bytes), sent: vec![], gas: 1000, memory_bytes: 65_536 }, receipt)
}

/// What must come of a job.
pub fn reference(job: JobId, spec: &Spec) -> Vec<Bytes> {
    let chunks: Vec<Bytes> = (0..spec.chunks).map(|index| chunk(job, index)).collect();
    let place = |stage, index: usize| Place { stage, index: index as u32 };
    let chunks = if spec.split {
        let call = envelope::call(place(Stage::Split, 0), 1, &chunks.concat());
        envelope::read_list(&output(&call), PIECES).unwrap()
    } else {
        chunks
    };
    let total = chunks.len() as u32;
    let execute = |(index, chunk): (usize, &Bytes)| output(&envelope::call(place(Stage::Execute, index), total, chunk));
    let outputs: Vec<Bytes> = chunks.iter().enumerate().map(execute).collect();
    if !spec.merge {
        return outputs;
    }
    vec![output(&envelope::call(place(Stage::Merge, 0), 1, &envelope::list(outputs.iter())))]
}

/// A job of so many chunks.
pub fn spec(draw: &mut Draw, chunks: u32, verification: Verification) -> Spec {
    Spec {
        nonce: draw.bytes(),
        module: module(),
        chunks,
        limits: Limits::default(),
        verification,
        split: false,
        merge: false,
        priority: draw.below(3) as u8,
        timeout: None,
        depth: 0,
        passed_on: None,
    }
}
