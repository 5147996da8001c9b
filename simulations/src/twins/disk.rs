//! The shard disk in memory: an append is durable after the time of a sync.

use crate::timeline::Timeline;
use bytes::Bytes;
use pangea_kernel::{Port, Rejected};
use pangea_protocols::{
    PeerId, ShardId,
    disk::{Command, Event, Meta, SHARD_OVERHEAD_BYTES, Usage},
    wire::store::ShardKind,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Bytes that the file system claims to have.
const CAPACITY_BYTES: u64 = 1 << 40;

/// A shard with what each of its owners said of it.
struct Kept {
    claims: BTreeMap<PeerId, Meta>,
    body: Bytes,
}

/// What a disk holds. Clones are the same disk.
#[derive(Clone)]
pub struct Disk {
    timeline: Timeline,
    sync: Duration,
    shards: Arc<Mutex<BTreeMap<ShardId, Kept>>>,
}

impl Disk {
    /// An empty disk whose writes take `sync` to become durable; reads take no time.
    pub fn new(timeline: Timeline, sync: Duration) -> Self {
        Self { timeline, sync, shards: Arc::default() }
    }

    /// Opens it: `events` hears what it holds, and answers to the commands of the port.
    pub fn open(&self, events: Port<Event>) -> Port<Command> {
        let disk = self.clone();
        let opened = Event::Opened { usage: self.usage() };
        self.later(Duration::ZERO, events.clone(), opened);
        Port::new(move |command| {
            if disk.timeline.is_closed() {
                return Err(Rejected::Closed(command));
            }
            disk.on_command(&events, command);
            Ok(())
        })
    }

    /// Shards that are held now.
    pub fn len(&self) -> usize {
        self.shards().len()
    }

    /// True if nothing is held.
    pub fn is_empty(&self) -> bool {
        self.shards().is_empty()
    }

    fn on_command(&self, events: &Port<Event>, command: Command) {
        match command {
            Command::Append { tag, shard, meta, body } => {
                let disk = self.clone();
                let events = events.clone();
                self.timeline.after(self.sync, move || {
                    disk.keep(shard, meta, body);
                    let usage = disk.usage();
                    disk.later(Duration::ZERO, events, Event::Appended { tags: vec![tag], usage });
                });
            }
            Command::Read { tag, shard } => {
                let found = self.shards().get(&shard).and_then(|kept| {
                    Some(Event::Read { tag, meta: kept.claims.values().next()?.clone(), body: kept.body.clone() })
                });
                self.later(Duration::ZERO, events.clone(), found.unwrap_or(Event::Missing { tag }));
            }
            Command::Contains { tag, shards } => {
                let mut present = vec![0u8; shards.len().div_ceil(8)];
                let held = self.shards();
                for (at, _) in shards.iter().enumerate().filter(|(_, shard)| held.contains_key(shard)) {
                    present[at / 8] |= 1 << (at % 8);
                }
                drop(held);
                self.later(Duration::ZERO, events.clone(), Event::Contains { tag, present });
            }
            Command::Delete { tag, owner, shards } => {
                let wanted = |shard: &ShardId, _: &Meta| shards.contains(shard);
                let event = self.forget(tag, |shard, claim| claim.owner == owner && wanted(shard, claim));
                self.later(self.sync, events.clone(), event);
            }
            Command::Expire { tag, now_unix } => {
                let event = self.forget(tag, |_, claim| claim.expires_unix < now_unix);
                self.later(self.sync, events.clone(), event);
            }
        }
    }

    fn keep(&self, shard: ShardId, meta: Meta, body: Bytes) {
        let mut shards = self.shards();
        let kept = shards.entry(shard).or_insert_with(|| Kept { claims: BTreeMap::new(), body });
        kept.claims.insert(meta.owner, meta);
    }

    fn forget(&self, tag: u64, gone: impl Fn(&ShardId, &Meta) -> bool) -> Event {
        let (mut count, mut roots) = (0, Vec::new());
        self.shards().retain(|shard, kept| {
            let before = kept.claims.len();
            let root = kept.claims.values().any(|claim| claim.kind == ShardKind::Root);
            kept.claims.retain(|_, claim| !gone(shard, claim));
            count += u32::from(kept.claims.len() < before);
            if kept.claims.is_empty() && root {
                roots.push(*shard);
            }
            !kept.claims.is_empty()
        });
        Event::Deleted { tag, count, roots, usage: self.usage() }
    }

    fn usage(&self) -> Usage {
        let shards = self.shards();
        let bodies: u64 = shards.values().map(|kept| kept.body.len() as u64 + SHARD_OVERHEAD_BYTES).sum();
        Usage { shards: shards.len() as u64, disk_bytes: bodies, free_bytes: CAPACITY_BYTES - bodies }
    }

    /// A receiver that is full loses the event: in a simulation that is a finding of the test that set the bound.
    fn later(&self, duration: Duration, events: Port<Event>, event: Event) {
        self.timeline.after(duration, move || {
            let _ = events.send(event);
        });
    }

    fn shards(&self) -> MutexGuard<'_, BTreeMap<ShardId, Kept>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
