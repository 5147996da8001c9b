//! [`InlineDisk`]: the shard disk without threads. Its caller says when a group is made durable and what time it is,
//! so a run on a virtual clock repeats to the byte. Simulations use it; a node uses [`super::Disk`].

use super::{
    OpenError, Options,
    opening::{Opened, Shared, open},
    queue::Weighed,
    reader::{Damage, serve},
    task::Task,
    volume::Volume,
    writer::{Job, Writer},
};
use pangea_kernel::{Port, Rejected, contain};
use pangea_protocols::{
    disk::{Command, Event, Failure, Usage},
    time::Time,
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// An open disk. Dropping it writes nothing down, as a crash does not; [`InlineDisk::close`] does.
pub struct InlineDisk {
    shared: Arc<Shared>,
    writer: Writer,
    options: Options,
    events: Port<Event>,
    /// Events that the port has not taken yet.
    outbox: Outbox,
    stopped: bool,
}

#[derive(Clone, Default)]
struct Outbox(Arc<Mutex<VecDeque<Event>>>);

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InlineDisk {
    /// Opens a volume, creating the store if needed, and brings it up to date. `Opened` is the first event.
    ///
    /// # Errors
    /// See [`OpenError`]. A damaged index is no error: it is put aside and rebuilt.
    pub fn open(volume: Arc<dyn Volume>, options: Options, events: Port<Event>, now: Time) -> Result<Self, OpenError> {
        let outbox = Outbox::default();
        let inbox = outbox.clone();
        let emit = Box::new(move |event| inbox.lock().push_back(event));
        let Opened { shared, writer, roots } = open(volume, options, emit, now)?;
        writer.announce(&roots);
        let disk = Self { shared, writer, options, events, outbox, stopped: false };
        disk.deliver();
        Ok(disk)
    }

    /// Takes everything that waits. Reads are answered from what is durable already; then all changes are made
    /// durable, in as few groups as the options allow, and answered.
    pub fn on_commands(&mut self, commands: Vec<Command>, now: Time) {
        let mut jobs = Vec::new();
        for command in commands {
            match Task::from(command) {
                Task::Job(job) => jobs.push(job),
                Task::Request(request) => match serve(&self.shared, request) {
                    Ok(event) => self.shared.emit(event),
                    Err(Damage { tag, shard, at }) => jobs.push(Job::Damaged { tag, shard, at }),
                },
            }
        }
        for group in self.groups(jobs) {
            if self.stopped {
                group.into_iter().filter_map(refusal).for_each(|event| self.shared.emit(event));
            } else {
                let writer = &mut self.writer;
                let work = contain(|| writer.on_jobs(group, now));
                self.stop_after(work);
            }
        }
        self.deliver();
    }

    /// Upkeep: one step of compaction, and a commit of the index if one is due. To be called after every
    /// [`InlineDisk::on_commands`], and again at the time that it returns.
    pub fn idle(&mut self, now: Time) -> Option<Time> {
        if !self.stopped {
            let writer = &mut self.writer;
            let work = contain(|| writer.step(now));
            self.stop_after(work);
        }
        self.deliver();
        if self.stopped { None } else { self.writer.wake_at() }
    }

    /// True after a panic, for example of the database on damaged pages: reads are still served, changes refused,
    /// and what was under way then is never answered. Opening the volume again recovers it.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// What the store occupies.
    pub fn usage(&self) -> Usage {
        self.writer.usage()
    }

    /// Writes the index down.
    pub fn close(mut self) {
        if !self.stopped {
            let writer = &mut self.writer;
            let work = contain(|| writer.close());
            self.stop_after(work);
        }
        self.deliver();
    }

    /// Cuts jobs into groups as the writer's queue does.
    fn groups(&self, jobs: Vec<Job>) -> Vec<Vec<Job>> {
        let mut groups: Vec<Vec<Job>> = Vec::new();
        let mut bytes = 0;
        for job in jobs {
            let size = job.bytes();
            match groups.last_mut() {
                Some(group) if group.len() < self.options.group_commands && bytes < self.options.group_bytes => {
                    group.push(job);
                }
                _ => {
                    groups.push(vec![job]);
                    bytes = 0;
                }
            }
            bytes += size;
        }
        groups
    }

    fn stop_after(&mut self, work: Result<(), String>) {
        if let Err(reason) = work {
            tracing::error!(reason, "the shard disk takes nothing more until it is opened again");
            self.stopped = true;
        }
    }

    /// Hands events over until the port is full; the rest waits for the next call.
    fn deliver(&self) {
        loop {
            let Some(event) = self.outbox.lock().pop_front() else { return };
            if let Err(Rejected::Full(back)) = self.events.send(event) {
                self.outbox.lock().push_front(back);
                return;
            }
        }
    }
}

/// The answer to a job that is not done.
fn refusal(job: Job) -> Option<Event> {
    let error = Failure::Io("the shard disk has stopped".to_owned());
    match job {
        Job::Append { tag, .. } => Some(Event::AppendFailed { tag, error }),
        Job::Delete { tag, .. } => Some(Event::DeleteFailed { tag, error }),
        Job::Damaged { tag, .. } => Some(Event::Corrupt { tag }),
        // Leases are looked at again at the next interval.
        Job::Expire { .. } => None,
    }
}
