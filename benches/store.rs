//! The shard disk: throughput, CPU and write amplification of puts, throughput of reads. Medians of five runs.
//!
//! `TMPDIR` says where the data goes; a RAM disk measures something else. Figures are per payload byte.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::result_large_err
)]

use bytes::Bytes;
use pangea::drivers::disk::{Disk, Options};
use pangea_kernel::{Port, Rejected};
use pangea_protocols::{
    Hash, PeerId, ShardId,
    disk::{Command, Event, Meta},
    merkle::StripeProof,
    wire::store::ShardKind,
};
use std::{
    sync::mpsc::{Receiver, TrySendError, sync_channel},
    time::Instant,
};

const RUNS: usize = 5;
const PAYLOAD_BYTES: usize = 512 << 20;
/// Bytes that are on their way to the disk at a time.
const WINDOW_BYTES: usize = 32 << 20;

#[derive(Clone, Copy)]
struct Run {
    put_mb_s: f64,
    put_cpu_s_gb: f64,
    amplification: f64,
    get_mb_s: f64,
    get_cpu_s_gb: f64,
}

fn main() {
    println!(
        "{:>9} {:>10} {:>12} {:>10} {:>10} {:>12}",
        "record", "put MB/s", "CPU-s/GB", "write amp", "get MB/s", "CPU-s/GB"
    );
    for size in [64 << 10, 1 << 20] {
        let mut runs: Vec<Run> = (0..RUNS).map(|_| run(size)).collect();
        let mut median = |of: fn(&Run) -> f64| {
            runs.sort_by(|a, b| of(a).total_cmp(&of(b)));
            of(&runs[RUNS / 2])
        };
        println!(
            "{:>9} {:>10.0} {:>12.3} {:>10.4} {:>10.0} {:>12.3}",
            format!("{} KiB", size >> 10),
            median(|run| run.put_mb_s),
            median(|run| run.put_cpu_s_gb),
            median(|run| run.amplification),
            median(|run| run.get_mb_s),
            median(|run| run.get_cpu_s_gb),
        );
    }
}

fn run(size: usize) -> Run {
    let home = tempfile::TempDir::new().unwrap();
    let (sender, events) = sync_channel(4096);
    let port = Port::new(move |event| {
        sender.try_send(event).map_err(|error| match error {
            TrySendError::Full(event) => Rejected::Full(event),
            TrySendError::Disconnected(event) => Rejected::Closed(event),
        })
    });
    let (disk, port) = Disk::open(home.path(), Options::default(), port).unwrap();
    assert!(matches!(events.recv().unwrap(), Event::Opened { .. }));
    let mut random = vec![0; size + 4096];
    blake3::Hasher::new().finalize_xof().fill(&mut random);
    let random = Bytes::from(random);
    let count = (PAYLOAD_BYTES / size) as u64;
    let gigabytes = PAYLOAD_BYTES as f64 / 1e9;

    let (clock, cpu, written) = (Instant::now(), cpu_seconds(), written_bytes());
    put_all(&port, &events, &random, size, count);
    let put = (clock.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let (clock, cpu) = (Instant::now(), cpu_seconds());
    get_all(&port, &events, count);
    let get = (clock.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    // Closing commits the index: its bytes count too.
    disk.close();
    let amplification = (written_bytes() - written) as f64 / PAYLOAD_BYTES as f64;
    Run {
        put_mb_s: gigabytes * 1000.0 / put.0,
        put_cpu_s_gb: put.1 / gigabytes,
        amplification,
        get_mb_s: gigabytes * 1000.0 / get.0,
        get_cpu_s_gb: get.1 / gigabytes,
    }
}

fn put_all(port: &Port<Command>, events: &Receiver<Event>, random: &Bytes, size: usize, count: u64) {
    let meta = Meta { owner: PeerId([1; 32]), kind: ShardKind::Data, expires_unix: 1, proof: StripeProof::block() };
    let window = (WINDOW_BYTES / size) as u64;
    let (mut sent, mut stored) = (0, 0);
    while stored < count {
        while sent < count && sent - stored < window {
            let body = random.slice((sent % 4096) as usize..).slice(..size);
            port.send(Command::Append { tag: sent, shard: shard(sent), meta: meta.clone(), body }).unwrap();
            sent += 1;
        }
        match events.recv().unwrap() {
            Event::Appended { tags, .. } => stored += tags.len() as u64,
            other => panic!("unexpected {other:?}"),
        }
    }
}

fn get_all(port: &Port<Command>, events: &Receiver<Event>, count: u64) {
    let (mut sent, mut read) = (0, 0);
    while read < count {
        while sent < count && sent - read < 16 {
            // 7919 is coprime to the counts: every shard once, in no order.
            port.send(Command::Read { tag: sent, shard: shard(sent * 7919 % count) }).unwrap();
            sent += 1;
        }
        assert!(matches!(events.recv().unwrap(), Event::Read { .. }));
        read += 1;
    }
}

fn shard(number: u64) -> ShardId {
    ShardId::block(Hash::of(&number.to_le_bytes()))
}

/// CPU time of all threads that live now, in seconds.
fn cpu_seconds() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let nanoseconds = threads.map(|thread| {
        let stat = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        stat.split(' ').next().unwrap().parse::<f64>().unwrap()
    });
    nanoseconds.sum::<f64>() / 1e9
}

/// Bytes that this process has caused to be written to the device.
fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    line.parse().unwrap()
}
