//! The shard disk in memory: one writer with group commit, readers beside it, and what disks do wrong.
//!
//! | file | what it does |
//! |---|---|
//! | `store` | what is held: shards, their owners, whether their bytes are intact |
//! | `log` | what it occupies: segments with live and dead bytes, as the driver counts them |
//! | `fate` | faults, and what is left after a crash |
//!
//! An append is answered after its group's sync and not before; until then a crash may lose it. What the driver does
//! with threads and files costs time here: a sync, and time per byte.

mod fate;
mod log;
mod store;

use crate::{plan::DiskFault, tier::Holdings, timeline::Timeline};
use bytes::Bytes;
use pangea::drivers::disk::Options;
use pangea_kernel::{Draw, Port, Rejected, Seed};
use pangea_protocols::{
    PeerId, ShardId,
    disk::{Command, Event, Failure, Meta},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use store::Store;

/// Roots in one event.
const ROOTS_MAX: usize = 256;
/// What a read takes beside its bytes.
const SEEK: Duration = Duration::from_micros(150);
/// 500 MB/s.
const NANOS_PER_BYTE: u64 = 2;
/// Until an answer is offered again to a full mailbox.
const MAILBOX_RETRY: Duration = Duration::from_millis(1);
/// Quota of a disk that was not told its own.
const QUOTA_BYTES: u64 = 10 << 30;

/// A node's disk. Clones are the same disk; it outlives the processes that open it.
#[derive(Clone)]
pub struct Disk {
    timeline: Timeline,
    sync: Duration,
    state: Arc<Mutex<State>>,
}

struct State {
    options: Options,
    store: Store,
    /// Jobs that wait for the writer, and their bytes.
    jobs: VecDeque<Job>,
    job_bytes: usize,
    /// The group that is being written.
    writing: Option<Vec<Job>>,
    requests: usize,
    /// Counts openings and crashes: what was begun before is for nobody.
    epoch: u64,
    faults: Vec<DiskFault>,
    draw: Draw,
}

/// What the writer does.
#[derive(Clone)]
enum Job {
    Append {
        tag: u64,
        shard: ShardId,
        meta: Meta,
        body: Bytes,
    },
    Delete {
        tag: u64,
        owner: PeerId,
        shards: Vec<ShardId>,
    },
    Expire {
        tag: u64,
        now_unix: u64,
    },
    /// A reader has found these bytes damaged.
    Damaged {
        tag: u64,
        shard: ShardId,
    },
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Append { body, .. } => body.len(),
            Self::Delete { shards, .. } => shards.len() * size_of::<ShardId>(),
            Self::Expire { .. } | Self::Damaged { .. } => 0,
        }
    }

    fn failed(&self, error: &Failure) -> Option<Event> {
        match self {
            Self::Append { tag, .. } => Some(Event::AppendFailed { tag: *tag, error: error.clone() }),
            Self::Delete { tag, .. } | Self::Expire { tag, .. } => {
                Some(Event::DeleteFailed { tag: *tag, error: error.clone() })
            }
            Self::Damaged { tag, .. } => Some(Event::Corrupt { tag: *tag }),
        }
    }
}

impl Disk {
    /// An empty disk whose syncs take this long.
    pub fn new(timeline: Timeline, sync: Duration) -> Self {
        let options = Options::for_quota(QUOTA_BYTES);
        let state = State {
            store: Store::new(options.segment_bytes),
            options,
            jobs: VecDeque::new(),
            job_bytes: 0,
            writing: None,
            requests: 0,
            epoch: 0,
            faults: Vec::new(),
            draw: Seed::new([0; 32]).draw(),
        };
        Self { timeline, sync, state: Arc::new(Mutex::new(state)) }
    }

    /// With luck of its own, for what faults and crashes do.
    pub fn seeded(self, seed: Seed) -> Self {
        self.state().draw = seed.draw();
        self
    }

    /// Segments are as large as the driver makes them for a quota.
    pub fn set_quota(&self, quota_bytes: u64) {
        let mut state = self.state();
        state.options = Options::for_quota(quota_bytes);
        let segment_bytes = state.options.segment_bytes;
        state.store.log.set_segment_bytes(segment_bytes);
    }

    /// Opens it: `events` hears what it holds, and answers to the commands of the port.
    pub fn open(&self, events: Port<Event>) -> Port<Command> {
        let disk = self.clone();
        let mut state = self.state();
        state.epoch += 1;
        state.requests = 0;
        let epoch = state.epoch;
        self.answer(&events, SEEK, Event::Opened { usage: state.usage() });
        for shards in state.store.roots().chunks(ROOTS_MAX) {
            self.answer(&events, SEEK, Event::Roots { shards: shards.to_vec() });
        }
        drop(state);
        Port::new(move |command| {
            if disk.timeline.is_closed() {
                return Err(Rejected::Closed(command));
            }
            disk.on_command(&events, epoch, command)
        })
    }

    /// Shards that are held now.
    pub fn len(&self) -> usize {
        self.state().store.len()
    }

    /// Bytes of the bodies that are held.
    pub fn body_bytes(&self) -> u64 {
        self.state().store.body_bytes()
    }

    /// True if nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What would be found after a restart.
    pub fn holdings(&self) -> Holdings {
        let state = self.state();
        Holdings { shards: state.store.intact(), usage: state.usage() }
    }

    #[allow(clippy::result_large_err)]
    fn on_command(&self, events: &Port<Event>, epoch: u64, command: Command) -> Result<(), Rejected<Command>> {
        let mut state = self.state();
        if state.epoch != epoch {
            return Err(Rejected::Closed(command));
        }
        let job = match command {
            Command::Append { tag, shard, meta, body } => Job::Append { tag, shard, meta, body },
            Command::Delete { tag, owner, shards } => Job::Delete { tag, owner, shards },
            Command::Expire { tag, now_unix } => Job::Expire { tag, now_unix },
            command if state.requests >= state.options.requests_max => return Err(Rejected::Full(command)),
            Command::Read { tag, shard } => {
                self.read(&mut state, events, tag, shard);
                return Ok(());
            }
            Command::Contains { tag, shards } => {
                let present = state.store.contains(&shards);
                self.answer(events, SEEK, Event::Contains { tag, present });
                return Ok(());
            }
        };
        let fits = state.job_bytes + job.bytes() <= state.options.job_bytes_max;
        if state.jobs.len() >= state.options.jobs_max || !fits {
            return Err(Rejected::Full(match job {
                Job::Append { tag, shard, meta, body } => Command::Append { tag, shard, meta, body },
                Job::Delete { tag, owner, shards } => Command::Delete { tag, owner, shards },
                Job::Expire { tag, now_unix } => Command::Expire { tag, now_unix },
                Job::Damaged { tag, shard } => Command::Read { tag, shard },
            }));
        }
        state.job_bytes += job.bytes();
        state.jobs.push_back(job);
        self.write_next(&mut state, events);
        Ok(())
    }

    fn read(&self, state: &mut State, events: &Port<Event>, tag: u64, shard: ShardId) {
        state.requests += 1;
        let bytes = state.store.body_len(shard);
        let took = SEEK + Duration::from_nanos(NANOS_PER_BYTE * bytes as u64);
        let (disk, events, epoch) = (self.clone(), events.clone(), state.epoch);
        self.timeline.after(took, move || {
            let mut state = disk.state();
            if state.epoch != epoch {
                return;
            }
            state.requests -= 1;
            let event = if state.fails() {
                Event::ReadFailed { tag, error: Failure::Io("a modelled fault".to_owned()) }
            } else {
                match state.store.read(shard) {
                    Some(Some((meta, body))) => Event::Read { tag, meta, body },
                    None => Event::Missing { tag },
                    Some(None) => {
                        state.jobs.push_back(Job::Damaged { tag, shard });
                        return disk.write_next(&mut state, &events);
                    }
                }
            };
            drop(state);
            disk.offer(&events, event);
        });
    }

    /// Writes all that waits, up to a limit, as one group.
    fn write_next(&self, state: &mut State, events: &Port<Event>) {
        if state.writing.is_some() || state.jobs.is_empty() {
            return;
        }
        let (mut group, mut bytes) = (Vec::new(), 0);
        while group.len() < state.options.group_commands && bytes < state.options.group_bytes {
            let Some(job) = state.jobs.pop_front() else { break };
            bytes += job.bytes();
            group.push(job);
        }
        state.job_bytes -= bytes;
        // To forget what has ended is nothing to write if nothing has.
        let idle = group.iter().all(|job| matches!(job, Job::Expire { now_unix, .. } if !state.store.ends(*now_unix)));
        let took = Duration::from_nanos(NANOS_PER_BYTE * bytes as u64) + state.sync_time(self.sync);
        let (disk, events, epoch) = (self.clone(), events.clone(), state.epoch);
        state.writing = Some(group);
        self.timeline.after(if idle { SEEK } else { took }, move || disk.written(&events, epoch));
    }

    fn written(&self, events: &Port<Event>, epoch: u64) {
        let mut state = self.state();
        if state.epoch != epoch {
            return;
        }
        let group = state.writing.take().unwrap_or_default();
        let news = state.finish(&group, self.timeline.now());
        self.write_next(&mut state, events);
        drop(state);
        for event in news {
            self.offer(events, event);
        }
    }

    fn answer(&self, events: &Port<Event>, after: Duration, event: Event) {
        let (disk, events) = (self.clone(), events.clone());
        self.timeline.after(after, move || disk.offer(&events, event));
    }

    /// An answer must not be lost: one that finds no room is offered again.
    fn offer(&self, events: &Port<Event>, event: Event) {
        if let Err(Rejected::Full(event)) = events.send(event) {
            self.answer(events, MAILBOX_RETRY, event);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
