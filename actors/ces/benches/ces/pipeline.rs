//! The whole pipeline as the node runs it: one reader, two workers that take whole frames, an ordered commit, and a
//! bounded number of frames under way. Shard n of every stripe goes to file n, into memory or nowhere. Not here:
//! timing.

use bytes::Bytes;
use pangea_ces::{
    Place, Scratch,
    api::{Profile, Stripe},
    decode_frame,
    scratch::Pool,
    work::{EncodeFrame, Output, Work},
};
use pangea_protocols::{
    Hash, JobId,
    codec::{self, Limit},
    manifest::{FRAME_BYTES, StripeRecord},
    merkle::StripeProof,
    ticket::ReadKey,
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    hint::black_box,
    io::{Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        mpsc::{Receiver, sync_channel},
    },
};

/// Data and parity shards.
pub const CODE: (u8, u8) = (16, 4);
pub const WORKERS: usize = 2;
/// Frames between reader and commit.
const AHEAD: usize = 4;

pub fn key() -> ReadKey {
    ReadKey([7; 32])
}

pub const OBJECT: [u8; 16] = [9; 16];

pub fn profile(name: &str) -> Profile {
    match name {
        "fast" => Profile::Fast,
        "small" => Profile::Small,
        _ => Profile::Balanced,
    }
}

/// The corpus as one stream of frames.
pub struct Frames {
    files: std::vec::IntoIter<PathBuf>,
    file: Option<File>,
    pool: Pool,
}

impl Frames {
    pub fn open(directory: &Path, repeat: usize) -> Self {
        let files: Vec<PathBuf> = (0..repeat).flat_map(|_| corpus(directory)).collect();
        Self { files: files.into_iter(), file: None, pool: Pool::default() }
    }
}

impl Iterator for Frames {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut frame = self.pool.take(FRAME_BYTES);
        let mut len = 0;
        while len < FRAME_BYTES {
            let Some(file) = &mut self.file else {
                match self.files.next() {
                    Some(path) => self.file = Some(File::open(path).unwrap()),
                    None => break,
                }
                continue;
            };
            match file.read(&mut frame.bytes[len..FRAME_BYTES]).unwrap() {
                0 => self.file = None,
                read => len += read,
            }
        }
        (len > 0).then(|| frame.freeze(len))
    }
}

fn corpus(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory.join("corpus")).expect("benches/corpus.sh has made the corpus");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

pub fn corpus_bytes(directory: &Path) -> u64 {
    corpus(directory).iter().map(|path| path.metadata().unwrap().len()).sum()
}

/// Where shards go.
pub struct Shards {
    sink: Sink,
    at: u64,
    data: u64,
}

enum Sink {
    Disk {
        files: Vec<File>,
        records: Vec<(StripeRecord, Vec<StripeProof>, u64)>,
    },
    /// Shard n overwrites shard n of the stripe before.
    Memory(Vec<Vec<u8>>),
    Null,
}

impl Shards {
    /// `sink` is `disk`, `memory` or `null`.
    pub fn create(directory: &Path, sink: &str) -> Self {
        let total = CODE.0 + CODE.1;
        let sink = match sink {
            "disk" => {
                let path = directory.join("shards");
                fs::create_dir_all(&path).unwrap();
                let files = (0..total).map(|n| File::create(path.join(format!("{n:02}"))).unwrap()).collect();
                Sink::Disk { files, records: Vec::new() }
            }
            "memory" => Sink::Memory(vec![Vec::new(); usize::from(total)]),
            _ => Sink::Null,
        };
        Self { sink, at: 0, data: 0 }
    }

    pub fn write(&mut self, stripe: Stripe) {
        let len = u64::from(stripe.record.shard_len);
        match &mut self.sink {
            Sink::Disk { files, records } => {
                for (file, (bytes, _)) in files.iter().zip(&stripe.shards) {
                    file.write_all_at(bytes, self.at).unwrap();
                }
                let proofs = stripe.shards.into_iter().map(|(_, proof)| proof).collect();
                records.push((stripe.record, proofs, self.at));
            }
            Sink::Memory(places) => {
                for (place, (bytes, _)) in places.iter_mut().zip(&stripe.shards) {
                    place.clear();
                    place.extend_from_slice(bytes);
                }
                black_box(places);
            }
            Sink::Null => drop(stripe),
        }
        self.at += len;
        self.data += len * u64::from(CODE.0);
    }

    /// Bytes before parity.
    pub fn finish(self, directory: &Path) -> u64 {
        if let Sink::Disk { records, .. } = &self.sink {
            let records = codec::encode(records, Limit::Local).unwrap();
            fs::write(directory.join("records"), records).unwrap();
        }
        self.data
    }
}

pub fn encode(directory: &Path, arguments: &[String]) {
    let (profile, repeat) = (profile(&arguments[0]), arguments[1].parse().unwrap());
    let mut shards = Shards::create(directory, &arguments[2]);
    let (work, jobs) = sync_channel::<Work>(AHEAD);
    let (done, results) = sync_channel(AHEAD);
    let jobs = Mutex::new(jobs);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            let (jobs, done) = (&jobs, done.clone());
            scope.spawn(move || {
                let mut scratch = Scratch::new();
                while let Some(job) = next(jobs) {
                    done.send(job.run(&mut scratch)).unwrap();
                }
            });
        }
        drop(done);
        let mut frames = Frames::open(directory, repeat).enumerate();
        let (mut waiting, mut written, mut under_way, mut work) = (BTreeMap::new(), 0, 0, Some(work));
        loop {
            while under_way < AHEAD
                && let Some(sender) = &work
            {
                match frames.next() {
                    Some((index, raw)) => sender.send(frame_work(index as u64, raw, profile)).unwrap(),
                    None => {
                        work = None;
                        break;
                    }
                }
                under_way += 1;
            }
            let Ok(done) = results.recv() else { break };
            let Ok(Output::Stripe(stripe)) = done.result else { panic!("{:?}", done.result) };
            waiting.insert(done.index, stripe);
            while let Some(stripe) = waiting.remove(&written) {
                shards.write(stripe);
                written += 1;
                under_way -= 1;
            }
        }
    });
    println!("{}", shards.finish(directory));
}

fn frame_work(index: u64, raw: Bytes, profile: Profile) -> Work {
    let (k, m) = CODE;
    Work::EncodeFrame(EncodeFrame {
        job: JobId(1),
        key: key(),
        object: OBJECT,
        index,
        raw,
        k,
        m,
        profile,
        alone: false,
    })
}

fn next<T>(jobs: &Mutex<Receiver<T>>) -> Option<T> {
    jobs.lock().unwrap().recv().ok()
}

/// Reads all data shards but the first `lost`, and as many parity shards instead; verifies, decodes, and writes if the
/// sink is `disk`.
pub fn decode(directory: &Path, arguments: &[String]) {
    let lost: u16 = arguments[0].parse().unwrap();
    let records = fs::read(directory.join("records")).unwrap();
    let records: Vec<(StripeRecord, Vec<StripeProof>, u64)> = codec::decode(&records, Limit::Local).unwrap();
    let files: Vec<File> =
        (0..CODE.0 + CODE.1).map(|n| File::open(directory.join(format!("shards/{n:02}"))).unwrap()).collect();
    let out = (arguments[1] == "disk").then(|| File::create(directory.join("restored")).unwrap());
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let mut scratch = Scratch::new();
                let pool = Pool::default();
                loop {
                    let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some((record, proofs, at)) = records.get(index) else { break };
                    let stripe = read_stripe(&files, record, proofs, *at, lost, &pool);
                    let place = Place { key: &key(), object: &OBJECT, index: index as u64 };
                    let raw = decode_frame(&mut scratch, place, record, CODE, &stripe).unwrap();
                    match &out {
                        Some(out) => out.write_all_at(&raw, (index * FRAME_BYTES) as u64).unwrap(),
                        None => drop(black_box(raw)),
                    }
                }
            });
        }
    });
    println!("0");
}

fn read_stripe(
    files: &[File],
    record: &StripeRecord,
    proofs: &[StripeProof],
    at: u64,
    lost: u16,
    pool: &Pool,
) -> Vec<(u16, Bytes)> {
    let len = record.shard_len as usize;
    if len == 0 {
        return Vec::new();
    }
    let wanted = lost..u16::from(CODE.0) + lost;
    let mut buffer = pool.take(len * wanted.len());
    for (n, place) in wanted.clone().zip(buffer.bytes.chunks_exact_mut(len)) {
        files[usize::from(n)].read_exact_at(place, at).unwrap();
        proofs[usize::from(n)].verify(record.shard(n), Hash::of(place)).unwrap();
    }
    let stripe = buffer.freeze(len * wanted.len());
    wanted.enumerate().map(|(slot, n)| (n, stripe.slice(slot * len..(slot + 1) * len))).collect()
}

pub fn restored_equals_corpus(directory: &Path) -> bool {
    let mut restored = File::open(directory.join("restored")).unwrap();
    let mut part = vec![0; FRAME_BYTES];
    Frames::open(directory, 1).all(|frame| {
        let part = &mut part[..frame.len()];
        restored.read_exact(part).is_ok() && *part == frame[..]
    }) && restored.read(&mut part).unwrap() == 0
        && std::io::stdout().flush().is_ok()
}
