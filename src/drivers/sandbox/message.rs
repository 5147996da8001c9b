//! Work and answers as frames: their bytes (modules, inputs, outputs) travel as the body, all else as the head. Not here:
//! the frame itself.

use super::frame::{Bounds, Frame};
use bytes::Bytes;
use pangea_protocols::{
    codec::{self, Limit},
    task::{Ending, Limits, Outcome, Refusal},
};
use pangea_sandbox::work::{Done, State, Work};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Of work, on its way to the child. The head has the length of every chunk of an input.
pub const WORK_BOUNDS: Bounds = Bounds { head: 1 << 20, body: 256 << 20 };
/// Of an answer without bytes. A refusal may quote two names of an import, each of up to 100,000 bytes.
pub const PLAIN_BOUNDS: Bounds = Bounds { head: 256 << 10, body: 0 };
/// Most bytes of a head: what [`Limit::Local`] can hold, see [`limit`].
const HEAD_BYTES_MAX: usize = codec::LOCAL_BYTES_MAX / DECODED_PER_BYTE;
/// A number that is written as one byte counts as the eight that it is read into.
const DECODED_PER_BYTE: usize = 8;
/// What a message or a line counts for beside its bytes, see `take_output` of the sandbox's host.
const PIECE_BYTES: usize = 64;
/// Most bytes that the length of a message takes in a head.
const LENGTH_BYTES: usize = 5;

/// Of an answer about a slice of a task with these limits.
pub fn slice_bounds(limits: &Limits) -> Bounds {
    let (output, log) = (limits.output_bytes as usize, limits.log_bytes as usize);
    // A byte that is not UTF-8 is replaced by three, and a line takes fewer bytes than it counts for.
    let head = PLAIN_BOUNDS.head + 3 * log + LENGTH_BYTES * (output / PIECE_BYTES + 2);
    Bounds { head: head.min(HEAD_BYTES_MAX), body: output }
}

/// A head and the parts of a body.
#[derive(Debug)]
pub struct Packed {
    /// Encoded.
    pub head: Vec<u8>,
    /// As they are.
    pub body: Vec<Bytes>,
}

/// What a frame does not hold.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it sent what cannot be read: {0}")]
pub struct Malformed(String);

/// Something with bytes in it.
pub trait Carried: Serialize + DeserializeOwned {
    /// Takes the bytes out.
    fn unload(&mut self) -> Vec<Bytes>;
    /// Puts them back; `None` if they are not as many as there were.
    fn load(&mut self, parts: Vec<Bytes>) -> Option<()>;
}

#[derive(Serialize, Deserialize)]
struct Head<T> {
    message: T,
    lengths: Vec<u32>,
}

/// Makes a frame's parts of it.
///
/// # Errors
/// It is larger than `bounds`: in bytes, what there are and what there may be.
pub fn pack<T: Carried>(mut message: T, bounds: Bounds) -> Result<Packed, (usize, usize)> {
    let body = message.unload();
    let bytes: usize = body.iter().map(Bytes::len).sum();
    if bytes > bounds.body {
        return Err((bytes, bounds.body));
    }
    // Each fits, since the sum does.
    let lengths = body.iter().map(|part| part.len() as u32).collect();
    let head = codec::encode(&Head { message, lengths }, Limit::Local).map_err(|_| (usize::MAX, bounds.head))?;
    if head.len() > bounds.head { Err((head.len(), bounds.head)) } else { Ok(Packed { head, body }) }
}

/// Reads it back.
///
/// # Errors
/// [`Malformed`]: not an encoding of it, or the body is not as long as the head says.
pub fn unpack<T: Carried>(frame: Frame) -> Result<T, Malformed> {
    let decoded = codec::decode(&frame.head, limit(frame.head.len()));
    let Head::<T> { mut message, lengths } = decoded.map_err(|error| Malformed(error.to_string()))?;
    let malformed = || Malformed("its parts do not fit its body".to_owned());
    let mut body = frame.body;
    let mut parts = Vec::with_capacity(lengths.len());
    for length in lengths {
        let length = length as usize;
        parts.push(if length <= body.len() { body.split_to(length) } else { return Err(malformed()) });
    }
    message.load(parts).filter(|()| body.is_empty()).ok_or_else(malformed)?;
    Ok(message)
}

/// The smallest limit that a head of this length, read, can fit: a length that lies in it allocates no more.
pub fn limit(head: usize) -> Limit {
    let fits = |limit: &Limit| head.saturating_mul(DECODED_PER_BYTE) <= limit.bytes();
    [Limit::Message, Limit::Block].into_iter().find(fits).unwrap_or(Limit::Local)
}

impl Carried for Work {
    fn unload(&mut self) -> Vec<Bytes> {
        match self {
            Self::Prepare { bytes, .. } => vec![std::mem::take(bytes)],
            Self::Begin(begin) | Self::Open(begin) => {
                let input = std::mem::take(&mut begin.input.bytes);
                [input].into_iter().chain(begin.input.chunks.drain(..)).collect()
            }
            Self::Call(call) => {
                let input = std::mem::take(&mut call.input.bytes);
                [input].into_iter().chain(call.input.chunks.drain(..)).collect()
            }
            Self::Continue { .. } | Self::Drop { .. } | Self::DropAll => Vec::new(),
        }
    }

    fn load(&mut self, parts: Vec<Bytes>) -> Option<()> {
        let mut parts = parts.into_iter();
        match self {
            Self::Prepare { bytes, .. } => *bytes = parts.next()?,
            Self::Begin(begin) | Self::Open(begin) => {
                begin.input.bytes = parts.next()?;
                begin.input.chunks = parts.by_ref().collect();
            }
            Self::Call(call) => {
                call.input.bytes = parts.next()?;
                call.input.chunks = parts.by_ref().collect();
            }
            Self::Continue { .. } | Self::Drop { .. } | Self::DropAll => {}
        }
        parts.next().is_none().then_some(())
    }
}

impl Carried for Done {
    fn unload(&mut self) -> Vec<Bytes> {
        let Self::Sliced { state: State::Ended { outcome, .. }, .. } = self else { return Vec::new() };
        let Outcome { ending, sent, .. } = outcome;
        let output = match ending {
            Ending::Output(bytes) => Some(std::mem::take(bytes)),
            Ending::Trapped(_) => None,
        };
        output.into_iter().chain(sent.drain(..)).collect()
    }

    fn load(&mut self, parts: Vec<Bytes>) -> Option<()> {
        let mut parts = parts.into_iter();
        if let Self::Sliced { state: State::Ended { outcome, .. }, .. } = self {
            if let Ending::Output(bytes) = &mut outcome.ending {
                *bytes = parts.next()?;
            }
            outcome.sent = parts.by_ref().collect();
        }
        parts.next().is_none().then_some(())
    }
}

/// The answer that stands for one that is too long: only a mistake of this node makes one.
pub fn too_long(done: &Done) -> Done {
    let refusal = Refusal::Node { message: "its answer is longer than its limits allow".to_owned() };
    match done {
        Done::Prepared { module, .. } => Done::Prepared { module: *module, result: Err(refusal) },
        Done::Sliced { task, .. } => Done::Sliced { task: *task, lines: Vec::new(), state: State::Refused(refusal) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_protocols::{
        Hash,
        task::{Capabilities, Input, Receipt, TaskId, Trap},
    };
    use pangea_sandbox::{engine::host::Line, work::Begin};
    use proptest::prelude::*;

    const LARGE: Bounds = Bounds { head: 1 << 20, body: 1 << 20 };

    fn frame(packed: Packed) -> Frame {
        Frame { number: 1, head: packed.head, body: packed.body.concat().into() }
    }

    fn begin(chunks: Vec<Bytes>) -> Work {
        let input = Input { bytes: Bytes::from_static(b"input"), chunks, unix_ms: 1, seed: [2; 32] };
        let (limits, granted) = (Limits::default(), Capabilities::NONE);
        Work::Begin(Box::new(Begin { task: TaskId(1), module: Hash([1; 32]), limits, granted, input, gas: 9 }))
    }

    fn ended(ending: Ending, sent: Vec<Bytes>) -> Done {
        let hash = Hash([3; 32]);
        let output = Ok(hash);
        let receipt = Receipt { pass_version: 1, module: hash, input: hash, output, sent: hash, gas: 5 };
        let outcome = Outcome { ending, sent, gas: 5, memory_bytes: 7 };
        let lines = vec![Line { level: 1, text: "line".to_owned() }];
        Done::Sliced { task: TaskId(1), lines, state: State::Ended { outcome, receipt } }
    }

    fn parts() -> impl Strategy<Value = Vec<Bytes>> {
        let part = proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        proptest::collection::vec(part, 0..8)
    }

    proptest! {
        #[test]
        fn work_and_answers_come_back_as_they_were(parts in parts(), traps in any::<bool>()) {
            let work = begin(parts.clone());
            let back: Work = unpack(frame(pack(work.clone(), LARGE).unwrap())).unwrap();
            prop_assert_eq!(format!("{back:?}"), format!("{work:?}"));
            let ending = if traps { Ending::Trapped(Trap::Gas) } else { Ending::Output(Bytes::from_static(b"out")) };
            let done = ended(ending, parts);
            let back: Done = unpack(frame(pack(done.clone(), LARGE).unwrap())).unwrap();
            prop_assert_eq!(back, done);
        }

        #[test]
        fn damaged_frames_are_malformed_or_something_else_and_never_a_panic(
            at in 0usize..200, to in any::<u8>(), cut in 0usize..60,
        ) {
            let mut frame = frame(pack(ended(Ending::Output(Bytes::from_static(b"out")), vec![Bytes::from_static(b"x")]), LARGE).unwrap());
            let at = at % frame.head.len();
            frame.head[at] = to;
            let _ = unpack::<Done>(frame.clone());
            frame.body.truncate(cut);
            frame.head.truncate(frame.head.len().saturating_sub(cut));
            let _ = unpack::<Done>(frame);
        }
    }

    #[test]
    fn what_is_too_long_is_not_packed_and_a_body_must_be_as_long_as_its_head_says() {
        let small = Bounds { head: 1000, body: 8 };
        assert_eq!(pack(begin(vec![Bytes::from_static(b"four")]), small).unwrap_err(), (9, 8));
        assert!(pack(begin(vec![Bytes::new(); 2000]), small).is_err());
        let mut long = frame(pack(begin(vec![Bytes::from_static(b"abc")]), LARGE).unwrap());
        long.body = Bytes::from_static(b"inputabcd");
        assert!(unpack::<Work>(long.clone()).is_err());
        long.body = Bytes::from_static(b"inputab");
        assert!(unpack::<Work>(long).is_err());
    }
}
