//! Kills a real process that is writing shards, again and again, and looks for every shard it has acknowledged.
//!
//! The test binary runs itself as the child: the child's "test" is `child_writes_until_it_is_killed`, which does
//! nothing unless the directory is given in the environment.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::result_large_err)]

use pangea::drivers::disk::{Disk, Options};
use pangea_kernel::{Port, Rejected};
use pangea_protocols::{
    Hash, PeerId, ShardId,
    disk::{Command, Event, Meta},
    merkle::StripeProof,
    wire::store::ShardKind,
};
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command as Process, Stdio},
    sync::mpsc::{Receiver, TrySendError, sync_channel},
    time::Duration,
};

const DIR: &str = "PANGEA_TEST_CRASH_DIR";
const FIRST: &str = "PANGEA_TEST_CRASH_FIRST";
const ROUNDS: u64 = 20;
const OWNER: PeerId = PeerId([1; 32]);

fn open(dir: &Path) -> (Disk, Port<Command>, Receiver<Event>) {
    let (sender, events) = sync_channel(4096);
    let port = Port::new(move |event| {
        sender.try_send(event).map_err(|error| match error {
            TrySendError::Full(event) => Rejected::Full(event),
            TrySendError::Disconnected(event) => Rejected::Closed(event),
        })
    });
    // Small segments and frequent commits, so that a kill can hit a roll-over, a commit or a compaction.
    let options =
        Options { segment_bytes: 2 << 20, commit_bytes: 3 << 20, compact_bytes_min: 64 << 10, ..Options::default() };
    let (disk, port) = Disk::open(dir, options, port).unwrap();
    (disk, port, events)
}

fn shard(number: u64) -> ShardId {
    ShardId::block(Hash::of(&number.to_le_bytes()))
}

fn body(number: u64) -> Vec<u8> {
    let mut body = vec![0; 1000 + (number % 7) as usize * 9000];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut body);
    body
}

/// Appends for ever; deletes every third shard once it is durable. Says `+n` and `-n` when the disk has said so.
#[test]
fn child_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let (_disk, port, events) = open(Path::new(&dir));
    let meta = Meta { owner: OWNER, kind: ShardKind::Block, expires_unix: u64::MAX, proof: StripeProof::block() };
    let mut next = first;
    let mut say = std::io::stdout();
    let append = |number: u64| {
        let body = body(number).into();
        port.send(Command::Append { tag: number, shard: shard(number), meta: meta.clone(), body }).unwrap();
    };
    for _ in 0..32 {
        append(next);
        next += 1;
    }
    loop {
        match events.recv().unwrap() {
            Event::Appended { tags, .. } => {
                for tag in tags {
                    writeln!(say, "\n+{tag}").unwrap();
                    if tag % 3 == 0 {
                        // Announced before it is asked for: from here on it may be gone.
                        writeln!(say, "\n?{tag}").unwrap();
                        port.send(Command::Delete { tag, owner: OWNER, shards: vec![shard(tag)] }).unwrap();
                    }
                    append(next);
                    next += 1;
                }
            }
            Event::Deleted { tag, count: 1, .. } => writeln!(say, "\n-{tag}").unwrap(),
            Event::Opened { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
        say.flush().unwrap();
    }
}

#[test]
fn no_acknowledged_shard_is_lost_when_the_process_is_killed() {
    let home = tempfile::TempDir::new().unwrap();
    let (mut held, mut gone, mut next) = (BTreeSet::new(), BTreeSet::new(), 0u64);
    for round in 0..ROUNDS {
        let mut child = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_writes_until_it_is_killed", "--nocapture"])
            .env(DIR, home.path())
            .env(FIRST, next.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Killed after so many acknowledgements, in the middle of whatever it is doing then.
        let mut left = 20 + (round * 97) % 400;
        let mut killed = false;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let (kind, number) = line.split_at(usize::from(!line.is_empty()));
            let Ok(number) = number.parse::<u64>() else { continue };
            match kind {
                "+" => drop(held.insert(number)),
                "?" => drop(held.remove(&number)),
                "-" => drop(gone.insert(number)),
                _ => continue,
            }
            next = next.max(number + 1);
            left = left.saturating_sub(1);
            if left == 0 && !killed {
                child.kill().unwrap();
                killed = true;
            }
        }
        assert!(killed, "the child ended by itself");
        child.wait().unwrap();
        // What was under way when it was killed may be there or not: number on behind it.
        next += 1000;
        check(home.path(), &held, &gone);
    }
    assert!(held.len() > 1000 && gone.len() > 300, "{} {}", held.len(), gone.len());
}

fn check(dir: &Path, held: &BTreeSet<u64>, gone: &BTreeSet<u64>) {
    let (_disk, port, events) = open(dir);
    assert!(matches!(events.recv_timeout(Duration::from_secs(60)), Ok(Event::Opened { .. })));
    let ask = |number: u64| {
        port.send(Command::Read { tag: number, shard: shard(number) }).unwrap();
        loop {
            match events.recv_timeout(Duration::from_secs(60)).unwrap() {
                Event::Roots { .. } => {}
                answer => break answer,
            }
        }
    };
    for number in held {
        match ask(*number) {
            Event::Read { body: found, .. } => assert!(found == body(*number), "shard {number} is damaged"),
            other => panic!("shard {number} was acknowledged: {other:?}"),
        }
    }
    for number in gone {
        assert!(matches!(ask(*number), Event::Missing { .. }), "shard {number} was deleted");
    }
}
