//! `pangea bench`: how fast this machine compresses, encrypts, codes and syncs, so that a user knows what to expect.
//!
//! One thread, work in memory but for the disk row. Not a benchmark of Pangea against others: those are in `benches/`.

use crate::drivers::disk::{Disk, Options};
use anyhow::Context;
use pangea_ces::{Place, Scratch, api::Profile, decode_frame, encode_frame};
use pangea_kernel::Port;
use pangea_protocols::{
    Hash, PeerId, ShardId,
    disk::{Command, Event, Meta},
    manifest::FRAME_BYTES,
    merkle::StripeProof,
    ticket::ReadKey,
    wire::store::ShardKind,
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use std::{
    fmt::Write as _,
    sync::mpsc,
    time::{Duration, Instant},
};

/// Bytes of a record in the disk row.
const RECORD_BYTES: usize = 64 << 10;
/// Appends that are under way at once in the disk row.
const RECORDS_IN_FLIGHT: usize = 64;

/// One measurement.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Row {
    /// What was done.
    pub what: &'static str,
    /// Bytes it was done to.
    pub bytes: u64,
    /// Time it took.
    pub seconds: f64,
    /// Bytes per second, in 10⁶.
    pub mb_per_s: f64,
}

/// All measurements.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Report {
    /// In the order of a file's way.
    pub rows: Vec<Row>,
}

/// Measures with `size` bytes per row, at least one frame.
///
/// # Errors
/// A codec or the disk failed.
pub fn run(size: u64) -> anyhow::Result<Report> {
    let frames = usize::try_from(size.div_ceil(FRAME_BYTES as u64)).context("size")?.max(1);
    let frame = mixed_frame();
    let mut rows = Vec::new();
    for (what, profile) in [
        ("encode, fast (lz4)", Profile::Fast),
        ("encode, balanced (brotli 3)", Profile::Balanced),
        ("encode, small (brotli 5)", Profile::Small),
    ] {
        rows.push(measure(what, frames, |scratch, index| encode(scratch, &frame, index, profile).map(drop))?);
    }
    let mut scratch = Scratch::new();
    let stripe = encode(&mut scratch, &frame, 0, Profile::Balanced)?;
    let shards: Vec<_> = (0u16..).zip(stripe.shards.iter().map(|(bytes, _)| bytes.clone())).collect();
    let key = key();
    for (what, given) in [("decode, healthy", &shards[..16]), ("decode, 4 of 20 shards lost", &shards[4..])] {
        rows.push(measure(what, frames, |scratch, _| {
            let place = Place { key: &key, object: &OBJECT, index: 0 };
            decode_frame(scratch, place, &stripe.record, (16, 4), given).map(drop).map_err(Into::into)
        })?);
    }
    rows.push(disk(frames)?);
    Ok(Report { rows })
}

const OBJECT: [u8; 16] = [7; 16];

fn key() -> ReadKey {
    ReadKey([9; 32])
}

fn encode(
    scratch: &mut Scratch,
    frame: &[u8],
    index: u64,
    profile: Profile,
) -> anyhow::Result<pangea_ces::api::Stripe> {
    let key = key();
    Ok(encode_frame(scratch, Place { key: &key, object: &OBJECT, index }, frame, (16, 4), profile)?)
}

/// Half text-like, half noise: what a mixed folder looks like to a compressor.
fn mixed_frame() -> Vec<u8> {
    let mut chance = ChaCha8Rng::seed_from_u64(1);
    let mut frame = vec![0; FRAME_BYTES];
    chance.fill_bytes(&mut frame);
    for byte in &mut frame[..FRAME_BYTES / 2] {
        *byte = b"etaoin shrdlu\n.,"[usize::from(*byte & 15)];
    }
    frame
}

fn measure(
    what: &'static str,
    frames: usize,
    mut work: impl FnMut(&mut Scratch, u64) -> anyhow::Result<()>,
) -> anyhow::Result<Row> {
    let mut scratch = Scratch::new();
    work(&mut scratch, 0)?;
    let started = Instant::now();
    for index in 0..frames as u64 {
        work(&mut scratch, index)?;
    }
    Ok(row(what, (frames * FRAME_BYTES) as u64, started.elapsed()))
}

fn row(what: &'static str, bytes: u64, took: Duration) -> Row {
    let seconds = took.as_secs_f64().max(1e-9);
    Row { what, bytes, seconds, mb_per_s: bytes as f64 / 1e6 / seconds }
}

/// Shards into a real store in the temporary directory, each durable before it counts.
fn disk(frames: usize) -> anyhow::Result<Row> {
    let dir = std::env::temp_dir().join(format!("pangea-bench-{}", std::process::id()));
    let (sender, events) = mpsc::channel();
    let port = Port::new(move |event| {
        let _ = sender.send(event);
        Ok(())
    });
    let (disk, commands) = Disk::open(&dir, Options::default(), port)?;
    let records = (frames * FRAME_BYTES / RECORD_BYTES) as u64;
    let started = Instant::now();
    let (mut sent, mut durable) = (0u64, 0u64);
    while durable < records {
        while sent < records && sent - durable < RECORDS_IN_FLIGHT as u64 {
            if commands.send(append(sent)).is_err() {
                break;
            }
            sent += 1;
        }
        match events.recv().context("the disk stopped")? {
            Event::Appended { tags, .. } => durable += tags.len() as u64,
            Event::AppendFailed { error, .. } => return Err(error).context("the disk"),
            _ => {}
        }
    }
    let took = started.elapsed();
    disk.close();
    std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    Ok(row("shards to disk, synced", records * RECORD_BYTES as u64, took))
}

fn append(tag: u64) -> Command {
    let body = vec![tag as u8; RECORD_BYTES].into();
    let shard = ShardId::block(Hash::of(&tag.to_le_bytes()));
    let meta =
        Meta { owner: PeerId([0; 32]), kind: ShardKind::Data, expires_unix: u64::MAX, proof: StripeProof::block() };
    Command::Append { tag, shard, meta, body }
}

impl Report {
    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let _ = writeln!(text, "{:<32} {:>8.0} MB/s", row.what, row.mb_per_s);
        }
        text
    }
}
