//! What surrounds the core in its tests: a files driver in memory, an uploader that takes, a downloader that gives.

use bytes::Bytes;
use pangea_ces::{
    Ces, Scratch,
    api::{EncodedEnd, In, Key, Out, Profile, Selection, Stripe},
};
use pangea_kernel::testbed::Testbed;
use pangea_protocols::{
    JobId, PeerId,
    codec::{self, Limit},
    files::{Command, Event, Layout, Sink, Source},
    job::{JobError, JobEvent, Outcome},
    manifest::{self, Content, DirectoryIndex, Entry, EntryKind, FRAME_BYTES, Kind, RootBody},
};
use std::{collections::VecDeque, ops::Range, path::PathBuf};

pub const JOB: JobId = JobId(7);
pub const FRAME: u64 = FRAME_BYTES as u64;

pub fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A source as the files driver would describe it.
#[derive(Clone)]
pub struct Given {
    pub name: &'static str,
    pub kind: Kind,
    pub len: Option<u64>,
    pub bytes: Vec<u8>,
}

impl Given {
    pub fn file(bytes: Vec<u8>) -> Self {
        let kind = Kind::File { executable: true, modified_unix: 99 };
        Self { name: "report.txt", kind, len: Some(bytes.len() as u64), bytes }
    }

    pub fn stream(bytes: Vec<u8>) -> Self {
        Self { name: "", len: None, ..Self::file(bytes) }
    }

    pub fn directory(files: &[(&str, Vec<u8>)], empty: &[&str]) -> Self {
        let path = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
        let mut bytes = Vec::new();
        let mut sorted = files.to_vec();
        sorted.sort_by_key(|(at, _)| path(at));
        let mut entries: Vec<Entry> =
            empty.iter().map(|at| Entry { path: path(at), kind: EntryKind::Directory }).collect();
        for (at, content) in sorted {
            let (offset, len) = (bytes.len() as u64, content.len() as u64);
            let kind = EntryKind::File { offset, len, executable: false, modified_unix: 5 };
            entries.push(Entry { path: path(at), kind });
            bytes.extend(content);
        }
        entries.sort_by(|one, two| one.path.cmp(&two.path));
        let index = codec::encode(&DirectoryIndex { entries }, Limit::Local).unwrap();
        let kind = Kind::Directory { index_len: index.len() as u64 };
        bytes.extend(index);
        Self { name: "photos", kind, len: Some(bytes.len() as u64), bytes }
    }
}

pub fn encode_request() -> In {
    In::Encode { job: JOB, source: Source::Path(PathBuf::from("/x")), k: 4, m: 2, profile: Profile::Fast }
}

/// What the uploader and the files driver saw of an encode job.
#[derive(Default)]
pub struct Encoded {
    pub stripes: Vec<Stripe>,
    pub end: Option<EncodedEnd>,
    pub failed: Option<JobError>,
    /// Most frames that were between source and uploader.
    pub ahead_max: u64,
    /// Most frames beyond what the uploader had granted.
    pub beyond_credit: u64,
    pub closed: bool,
}

/// Encodes `given`; the uploader grants `window` stripes at first and one more for each it got. Work is answered in
/// reverse order, as far as there is more than one.
pub fn encode(given: &Given, window: u32) -> Encoded {
    let mut bed = Testbed::with_seed(Ces::new(), 3);
    let mut scratch = Scratch::new();
    let mut seen = Encoded::default();
    let (mut granted, mut read) = (u64::from(window), 0u64);
    let mut outs: VecDeque<Out> = bed.send(encode_request()).into();
    outs.extend(bed.send(In::Credit { job: JOB, stripes: window }));
    let mut work = Vec::new();
    loop {
        let Some(out) = outs.pop_front() else {
            let Some(next) = work.pop() else { break };
            let next: pangea_ces::work::Work = next;
            outs.extend(bed.send(In::Worked(next.run(&mut scratch))));
            continue;
        };
        match out {
            Out::Files(Command::OpenSource { job, .. }) => {
                let event = Event::SourceOpened {
                    job,
                    name: given.name.to_owned(),
                    kind: given.kind.clone(),
                    len: given.len,
                    skipped: 2,
                };
                outs.extend(bed.send(In::Files(event)));
            }
            Out::Files(Command::Read { job, offset, len }) => {
                read = read.max(offset / FRAME + 1);
                seen.ahead_max = seen.ahead_max.max(read - seen.stripes.len() as u64);
                seen.beyond_credit = seen.beyond_credit.max(read.saturating_sub(granted));
                let from = (offset as usize).min(given.bytes.len());
                let to = (from + len as usize).min(given.bytes.len());
                let bytes = Bytes::copy_from_slice(&given.bytes[from..to]);
                outs.extend(bed.send(In::Files(Event::Read { job, offset, bytes })));
            }
            Out::Files(Command::Close { .. }) => seen.closed = true,
            Out::Work(next) => work.push(next),
            Out::Encoded { index, stripe, .. } => {
                assert_eq!(index, seen.stripes.len() as u64, "stripes leave in order");
                seen.stripes.push(stripe);
                granted += 1;
                outs.extend(bed.send(In::Credit { job: JOB, stripes: 1 }));
            }
            Out::EncodedAll { end, .. } => seen.end = Some(end),
            Out::Job(JobEvent::Failed { error, .. }) => seen.failed = Some(error),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(bed.core.jobs(), 0);
    seen
}

/// The manifest that the uploader would seal.
pub fn root(encoded: &Encoded) -> RootBody {
    let end = encoded.end.clone().unwrap();
    let content = match end.inline {
        Some((codec, ciphertext)) => Content::Inline { codec, raw_len: end.raw_len as u32, ciphertext },
        None if end.stripes == 0 => Content::Empty,
        None => Content::Stripes(
            encoded
                .stripes
                .iter()
                .map(|stripe| {
                    let mut record = stripe.record.clone();
                    record.placement = vec![manifest::NO_HOLDER; stripe.shards.len()];
                    record
                })
                .collect(),
        ),
    };
    RootBody {
        version: manifest::VERSION,
        erasure: manifest::Erasure::ReedSolomon16,
        k: 4,
        m: 2,
        object: end.object,
        raw_len: end.raw_len,
        content,
        holders: Vec::new(),
        private: end.private,
        owner: PeerId([1; 32]),
        sealed_unix: 1,
    }
}

/// What the sink, the downloader and the user saw of a decode job.
#[derive(Default)]
pub struct Decoded {
    pub name: String,
    pub layout: Option<Layout>,
    pub start: u64,
    pub bytes: Vec<u8>,
    pub needed: Vec<Range<u64>>,
    pub consumed: Vec<u64>,
    pub index: Option<DirectoryIndex>,
    pub events: Vec<JobEvent>,
    pub stopped: bool,
    /// Most writes that were not acknowledged.
    pub writes_max: usize,
    /// Most stripes asked for and not consumed.
    pub ahead_max: u64,
}

impl Decoded {
    pub fn failed(&self) -> Option<&JobError> {
        match self.events.last() {
            Some(JobEvent::Failed { error, .. }) => Some(error),
            _ => None,
        }
    }

    pub fn got(&self) -> Option<u64> {
        match self.events.last() {
            Some(JobEvent::Done { outcome: Outcome::Got { bytes, .. }, .. }) => Some(*bytes),
            _ => None,
        }
    }
}

/// How a decode job is driven.
#[derive(Clone)]
pub struct Drive {
    pub only: Selection,
    pub key: Option<Key>,
    pub root_first: bool,
    /// Shards of each stripe that are handed over.
    pub shards: Range<usize>,
}

impl Drive {
    pub fn new(only: Selection) -> Self {
        Self { only, key: None, root_first: false, shards: 0..4 }
    }
}

/// Decodes with a downloader that answers the newest request first and a sink that acknowledges only when nothing
/// else is left to do.
pub fn decode(encoded: &Encoded, drive: Drive) -> Decoded {
    decode_root(encoded, root(encoded), drive)
}

pub fn decode_root(encoded: &Encoded, root: RootBody, drive: Drive) -> Decoded {
    let mut bed = Testbed::new(Ces::new());
    let mut scratch = Scratch::new();
    let mut seen = Decoded::default();
    let key = drive.key.unwrap_or_else(|| Key::Read(encoded.end.clone().unwrap().key));
    let sink = Sink::Path { path: PathBuf::from("/out"), overwrite: false };
    let mut first = [In::Decode { job: JOB, key, only: drive.only, sink }, In::Root { job: JOB, root }];
    if drive.root_first {
        first.reverse();
    }
    let [one, two] = first;
    let mut outs: VecDeque<Out> = bed.send(one).into();
    assert!(outs.is_empty(), "one of the two is not enough");
    outs.extend(bed.send(two));
    let (mut wanted, mut writes, mut asked) = (Vec::new(), VecDeque::new(), 0u64);
    loop {
        let Some(out) = outs.pop_front() else {
            if let Some(index) = wanted.pop() {
                let stripe: &Stripe = &encoded.stripes[index as usize];
                let shards = stripe.shards.iter().map(|(bytes, _)| bytes.clone()).enumerate();
                let shards = shards.filter(|(n, _)| drive.shards.contains(n)).map(|(n, bytes)| (n as u16, bytes));
                let event = In::Stripe { job: JOB, index, record: stripe.record.clone(), shards: shards.collect() };
                outs.extend(bed.send(event));
            } else if let Some((offset, len)) = writes.pop_front() {
                outs.extend(bed.send(In::Files(Event::Written { job: JOB, offset, len })));
            } else {
                break;
            }
            continue;
        };
        match out {
            Out::Need { stripes, .. } => {
                asked += stripes.end - stripes.start;
                wanted.extend(stripes.clone());
                seen.needed.push(stripes);
                seen.ahead_max = seen.ahead_max.max(asked - seen.consumed.len() as u64);
            }
            Out::Consumed { index, .. } => seen.consumed.push(index),
            Out::Work(work) => outs.extend(bed.send(In::Worked(work.run(&mut scratch)))),
            Out::Files(Command::OpenSink { job, name, layout, start, .. }) => {
                (seen.name, seen.layout, seen.start) = (name, Some(layout), start);
                outs.extend(bed.send(In::Files(Event::SinkOpened { job, path: Some(PathBuf::from("/out")) })));
            }
            Out::Files(Command::Write { offset, bytes, .. }) => {
                assert_eq!(offset, seen.start + seen.bytes.len() as u64, "writes ascend without gaps");
                seen.bytes.extend_from_slice(&bytes);
                writes.push_back((offset, bytes.len() as u32));
                seen.writes_max = seen.writes_max.max(writes.len());
            }
            Out::Files(Command::Finish { job }) => {
                assert!(writes.is_empty(), "all writes are taken before the end");
                outs.extend(bed.send(In::Files(Event::Finished { job })));
            }
            Out::Files(_) => {}
            Out::Stop { .. } => seen.stopped = true,
            Out::Index { index, .. } => seen.index = Some(index),
            Out::Job(event) => seen.events.push(event),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(bed.core.jobs(), 0, "{:?}", seen.events);
    seen
}

pub fn path(text: &str) -> Vec<String> {
    text.split('/').map(str::to_owned).collect()
}
