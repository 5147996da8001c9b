//! Tests of the whole disk on real files. [`Rig`] opens one, sends commands and waits for their answers.

// A port hands back what it cannot take, whole.
#![allow(clippy::result_large_err)]

mod behaviour;
mod faults;
mod faulty_volume;
mod inline;
mod model;
mod space;

use super::{DirVolume, Disk, OpenError, Options};
use bytes::Bytes;
use faulty_volume::{Fault, FaultyVolume};
use pangea_kernel::{Port, Rejected};
use pangea_protocols::{
    Hash, PeerId, ShardId,
    disk::{Command, Event, Failure, Meta, Usage},
    merkle::StripeProof,
    wire::store::ShardKind,
};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, TrySendError, sync_channel},
    },
    time::Duration,
};
use tempfile::TempDir;

pub const ALICE: PeerId = PeerId([1; 32]);
pub const BOB: PeerId = PeerId([2; 32]);

/// An open disk in a directory of its own.
pub struct Rig {
    pub home: TempDir,
    pub options: Options,
    pub fault: Arc<Mutex<Fault>>,
    /// The last usage seen.
    pub usage: Usage,
    /// Roots announced on open.
    pub roots: Vec<ShardId>,
    disk: Option<Disk>,
    port: Port<Command>,
    events: Receiver<Event>,
    next_tag: u64,
}

pub fn small() -> Options {
    Options { segment_bytes: 64 << 10, compact_bytes_min: 16 << 10, ..Options::default() }
}

impl Rig {
    pub fn new(options: Options) -> Self {
        Self::at(TempDir::new().unwrap(), options)
    }

    pub fn at(home: TempDir, options: Options) -> Self {
        let fault = Arc::default();
        let (disk, port, events) = open(home.path(), options, &fault).unwrap();
        let mut rig = Self {
            home,
            options,
            fault,
            usage: Usage::default(),
            roots: Vec::new(),
            disk: Some(disk),
            port,
            events,
            next_tag: 0,
        };
        rig.opened();
        rig
    }

    pub fn close(&mut self) {
        self.disk = None;
    }

    pub fn reopen(&mut self) {
        self.disk = None;
        let (disk, port, events) = open(self.home.path(), self.options, &self.fault).unwrap();
        (self.disk, self.port, self.events) = (Some(disk), port, events);
        self.opened();
    }

    fn opened(&mut self) {
        let Event::Opened { usage } = self.event() else { panic!("Opened comes first") };
        self.usage = usage;
        self.roots.clear();
        // A command that is answered by the writer comes after all roots.
        let tag = self.send(|tag| Command::Expire { tag, now_unix: 0 });
        loop {
            match self.event() {
                Event::Roots { shards } => self.roots.extend(shards),
                Event::Deleted { tag: answered, .. } if answered == tag => return,
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    pub fn try_send(&mut self, command: impl FnOnce(u64) -> Command) -> Result<u64, Rejected<Command>> {
        self.next_tag += 1;
        self.port.send(command(self.next_tag)).map(|()| self.next_tag)
    }

    pub fn send(&mut self, command: impl FnOnce(u64) -> Command) -> u64 {
        self.try_send(command).unwrap()
    }

    pub fn event(&self) -> Event {
        self.events.recv_timeout(Duration::from_secs(60)).expect("the disk answers")
    }

    pub fn append(&mut self, shard: ShardId, meta: Meta, body: impl Into<Bytes>) -> Result<(), Failure> {
        let body = body.into();
        let tag = self.send(|tag| Command::Append { tag, shard, meta, body });
        match self.event() {
            Event::Appended { tags, usage } => {
                assert_eq!(tags, [tag]);
                self.usage = usage;
                Ok(())
            }
            Event::AppendFailed { tag: failed, error } => {
                assert_eq!(failed, tag);
                Err(error)
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    pub fn read(&mut self, shard: ShardId) -> Event {
        self.send(|tag| Command::Read { tag, shard });
        self.event()
    }

    pub fn body(&mut self, shard: ShardId) -> Option<(Meta, Bytes)> {
        match self.read(shard) {
            Event::Read { meta, body, .. } => Some((meta, body)),
            Event::Missing { .. } => None,
            other => panic!("unexpected {other:?}"),
        }
    }

    pub fn delete(&mut self, owner: PeerId, shards: Vec<ShardId>) -> (u32, Vec<ShardId>) {
        self.send(|tag| Command::Delete { tag, owner, shards });
        self.deleted()
    }

    pub fn expire(&mut self, now_unix: u64) -> (u32, Vec<ShardId>) {
        self.send(|tag| Command::Expire { tag, now_unix });
        self.deleted()
    }

    fn deleted(&mut self) -> (u32, Vec<ShardId>) {
        match self.event() {
            Event::Deleted { count, roots, usage, .. } => {
                self.usage = usage;
                (count, roots)
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    pub fn segments(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.home.path().join("segments")).unwrap();
        let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        paths.sort();
        paths
    }
}

pub fn open(
    dir: &Path,
    options: Options,
    fault: &Arc<Mutex<Fault>>,
) -> Result<(Disk, Port<Command>, Receiver<Event>), OpenError> {
    let (sender, events) = sync_channel(1024);
    let port = Port::new(move |event| {
        sender.try_send(event).map_err(|error| match error {
            TrySendError::Full(event) => Rejected::Full(event),
            TrySendError::Disconnected(event) => Rejected::Closed(event),
        })
    });
    let dir = DirVolume::open(dir).map_err(|error| OpenError::Io { path: dir.to_owned(), error })?;
    let volume = FaultyVolume { dir, fault: Arc::clone(fault) };
    let (disk, port) = Disk::open_volume(Arc::new(volume), options, port)?;
    Ok((disk, port, events))
}

pub fn shard(number: u64) -> ShardId {
    ShardId { stripe: Hash::of(&number.to_le_bytes()), index: (number % 20) as u16 }
}

pub fn meta(owner: PeerId) -> Meta {
    Meta { owner, kind: ShardKind::Data, expires_unix: 1000, proof: StripeProof::block() }
}

/// Bytes that differ for every seed.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
