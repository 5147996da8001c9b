//! [`ShardDisk`]: production's shard disk on a virtual volume, and the time it takes.
//!
//! The code is the driver's own, without its threads: [`InlineDisk`]. As in the driver there is one writer, which makes
//! groups of changes durable, and reads do not wait for it. A group takes the time of a sync and of its bytes, and is
//! written at the end of that time. What disks do wrong, and what a crash leaves, stands in `fate.rs`.

mod fate;

use crate::{plan::DiskFault, timeline::Timeline, virtual_disk::VirtualVolume};
use pangea::drivers::disk::{InlineDisk, Options};
use pangea_kernel::{Draw, Port, Rejected, Seed};
use pangea_protocols::{
    ShardId,
    disk::{Command, Event},
    time::Time,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What a sync takes.
const SYNC: Duration = Duration::from_millis(2);
/// What a read takes.
const SEEK: Duration = Duration::from_micros(150);
/// 500 MB/s.
const NANOS_PER_BYTE: u64 = 2;
/// Until an answer is offered again to a full mailbox.
const MAILBOX_RETRY: Duration = Duration::from_millis(1);
/// Until a disk that could not be opened is tried again, as a service manager starts a node again that did not come up.
const OPEN_RETRY: Duration = Duration::from_secs(1);
/// A backup at every so many syncs, and how many are kept.
const BACKUPS: (u64, usize) = (8, 8);

/// A node's disk. Clones are the same disk; it outlives the processes that open it.
#[derive(Clone)]
pub(in crate::fleet) struct ShardDisk {
    timeline: Timeline,
    state: Arc<Mutex<State>>,
}

struct State {
    volume: VirtualVolume,
    options: Options,
    draw: Draw,
    faults: Vec<DiskFault>,
    /// Everything that was ever to be kept, to look for.
    known: BTreeSet<ShardId>,
    /// Counts openings and crashes: what was begun before is for nobody.
    epoch: u64,
    open: Option<Open>,
}

/// The disk, while a process has it open.
struct Open {
    disk: InlineDisk,
    /// What it said and was not yet passed on.
    said: Arc<Mutex<Vec<Event>>>,
    events: Port<Event>,
    /// Changes that wait for the writer.
    waiting: Vec<Command>,
    /// Changes that the writer has in its hands.
    writing: Vec<Command>,
    /// When it does something by itself.
    wakes: Option<Time>,
}

impl ShardDisk {
    /// An empty disk for a quota.
    pub(in crate::fleet) fn new(timeline: Timeline, seed: &Seed, quota: u64) -> Self {
        let volume = VirtualVolume::new(seed);
        volume.set_backups(BACKUPS.0, BACKUPS.1);
        let state = State {
            volume,
            options: Options::for_quota(quota),
            draw: seed.derive("luck").draw(),
            faults: Vec::new(),
            known: BTreeSet::new(),
            epoch: 0,
            open: None,
        };
        Self { timeline, state: Arc::new(Mutex::new(state)) }
    }

    /// Opens it: `events` hears what it holds, and answers to the commands of the port.
    pub(in crate::fleet) fn open(&self, events: Port<Event>) -> Port<Command> {
        let epoch = {
            let mut state = self.state();
            state.epoch += 1;
            state.epoch
        };
        self.try_open(epoch, events);
        let disk = self.clone();
        Port::new(move |command| disk.on_command(epoch, command))
    }

    fn try_open(&self, epoch: u64, events: Port<Event>) {
        let now = self.timeline.now();
        let state = &mut *self.state();
        if state.epoch != epoch {
            return;
        }
        let (port, said) = notebook();
        match InlineDisk::open(state.volume.mount(), state.options, port, now) {
            Ok(disk) => {
                state.open = Some(Open { disk, said, events, waiting: Vec::new(), writing: Vec::new(), wakes: None });
                self.after(SYNC, epoch, Self::pass_on);
            }
            Err(error) => {
                tracing::warn!(%error, "the disk cannot be opened");
                let disk = self.clone();
                self.timeline.after(OPEN_RETRY, move || disk.try_open(epoch, events));
            }
        }
    }

    fn on_command(&self, epoch: u64, command: Command) -> Result<(), Rejected<Command>> {
        let state = &mut *self.state();
        if state.epoch != epoch || self.timeline.is_closed() {
            return Err(Rejected::Closed(command));
        }
        let Some(open) = &mut state.open else { return Err(Rejected::Full(command)) };
        if let Command::Read { .. } | Command::Contains { .. } = command {
            let disk = self.clone();
            self.timeline.after(SEEK, move || {
                if disk.state().epoch == epoch {
                    disk.carry_out(epoch, vec![command]);
                }
            });
            return Ok(());
        }
        if open.waiting.len() >= state.options.jobs_max {
            return Err(Rejected::Full(command));
        }
        if let Command::Append { shard, .. } = &command {
            state.known.insert(*shard);
        }
        open.waiting.push(command);
        if open.writing.is_empty() {
            self.after(Duration::ZERO, epoch, Self::begin_group);
        }
        Ok(())
    }

    /// The writer takes what waits.
    fn begin_group(&self, epoch: u64) {
        let state = &mut *self.state();
        let sync = state.sync();
        let Some(open) = state.open.as_mut().filter(|open| open.writing.is_empty() && !open.waiting.is_empty()) else {
            return;
        };
        open.writing = std::mem::take(&mut open.waiting);
        let bytes: usize = open.writing.iter().map(body_bytes).sum();
        let took = sync + Duration::from_nanos(NANOS_PER_BYTE.saturating_mul(bytes as u64));
        self.after(took, epoch, Self::end_group);
    }

    /// It has made them durable.
    fn end_group(&self, epoch: u64) {
        let group = self.state().open.as_mut().map(|open| std::mem::take(&mut open.writing));
        self.carry_out(epoch, group.unwrap_or_default());
        self.begin_group(epoch);
    }

    fn carry_out(&self, epoch: u64, commands: Vec<Command>) {
        let now = self.timeline.now();
        if let Some(open) = self.state().open.as_mut() {
            open.disk.on_commands(commands, now);
            self.keep_up(open, epoch);
        }
        self.pass_on(epoch);
    }

    fn upkeep(&self, epoch: u64) {
        if let Some(open) = self.state().open.as_mut() {
            open.wakes = None;
            self.keep_up(open, epoch);
        }
        self.pass_on(epoch);
    }

    /// One step of what the disk does by itself, and the time for the next.
    fn keep_up(&self, open: &mut Open, epoch: u64) {
        let now = self.timeline.now();
        let Some(at) = open.disk.idle(now).map(|at| at.max(now + SYNC)) else { return };
        if open.wakes.is_none_or(|wakes| at < wakes) {
            open.wakes = Some(at);
            self.after(at.since(now), epoch, Self::upkeep);
        }
    }

    /// Offers what the disk said to whoever has it open, in order.
    fn pass_on(&self, epoch: u64) {
        loop {
            let (next, said, events) = {
                let state = self.state();
                let Some(open) = state.open.as_ref().filter(|_| state.epoch == epoch) else { return };
                let mut said = lock(&open.said);
                if said.is_empty() {
                    return;
                }
                (said.remove(0), Arc::clone(&open.said), open.events.clone())
            };
            if let Err(Rejected::Full(event)) = events.send(next) {
                lock(&said).insert(0, event);
                return self.after(MAILBOX_RETRY, epoch, Self::pass_on);
            }
        }
    }

    /// Later, if the same process then still has it open.
    fn after(&self, duration: Duration, epoch: u64, work: fn(&Self, u64)) {
        let disk = self.clone();
        self.timeline.after(duration, move || {
            if disk.state().epoch == epoch {
                work(&disk, epoch);
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn sync(&self) -> Duration {
        let slow = self.faults.iter().filter_map(|fault| match fault {
            DiskFault::Slow { sync_ms } => Some(Duration::from_millis(*sync_ms)),
            _ => None,
        });
        slow.max().unwrap_or(SYNC).max(SYNC)
    }
}

/// A port that writes down what it is sent.
fn notebook() -> (Port<Event>, Arc<Mutex<Vec<Event>>>) {
    let said = Arc::<Mutex<Vec<Event>>>::default();
    let notes = Arc::clone(&said);
    let port = Port::new(move |event| {
        lock(&notes).push(event);
        Ok(())
    });
    (port, said)
}

fn take(said: &Mutex<Vec<Event>>) -> Vec<Event> {
    std::mem::take(&mut lock(said))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn body_bytes(command: &Command) -> usize {
    match command {
        Command::Append { body, .. } => body.len(),
        _ => 0,
    }
}
