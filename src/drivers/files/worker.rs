//! [`Worker`]: the thread that carries out commands, and its table of jobs.

use super::{
    fault::misuse,
    inbox::{Inbox, Next},
    sink::{FileSink, Finish, Target},
    source,
    stream::{Look, Streams},
    tree::TreeSink,
};
use bytes::Bytes;
use pangea_kernel::{Port, Rejected, contain};
use pangea_protocols::{
    JobId,
    files::{Command, Event, Layout, Sink, Source},
    job::{ErrorKind, JobError},
    manifest::Kind,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// What a worker is told at its start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) jobs_max: usize,
    pub(super) umask: rustix::fs::RawMode,
}

/// A worker.
pub(super) struct Worker {
    inbox: Arc<Inbox>,
    streams: Arc<Streams>,
    events: Port<Event>,
    jobs: BTreeMap<JobId, Job>,
    settings: Settings,
}

/// An open job.
enum Job {
    /// Reads a file or directory.
    Source(source::Source),
    /// Reads what a client feeds.
    Feed {
        at: u64,
        /// A read that waits for bytes.
        asked: Option<u32>,
    },
    /// Writes a file.
    File(FileSink),
    /// Writes a directory.
    Tree(Box<TreeSink>),
    /// Hands bytes to a client.
    Drain(Drain),
    /// Finished or failed: what still comes for it is ignored until `Close`.
    Over,
}

/// A stream sink.
struct Drain {
    at: u64,
    /// Stream offset at which the client began.
    start: u64,
    /// Writes that the client has not taken whole.
    waiting: VecDeque<(u64, u32)>,
    /// `Finish` has come.
    finishing: bool,
}

impl Worker {
    pub(super) fn new(inbox: Arc<Inbox>, streams: Arc<Streams>, events: Port<Event>, settings: Settings) -> Self {
        Self { inbox, streams, events, jobs: BTreeMap::new(), settings }
    }

    /// Works until nobody can send any more; dropping the jobs removes what is unfinished.
    pub(super) fn run(mut self) {
        loop {
            let next = self.inbox.next();
            let job = match &next {
                Next::Closed => return,
                Next::Wake(job) => *job,
                Next::Command(command) => super::job_of(command),
            };
            // A panic costs its job, not the thread, which other jobs are on.
            let result = contain(|| self.carry_out(next)).unwrap_or_else(|panic| Err(misuse(&panic)));
            if let Err(error) = result {
                self.fail(job, error);
            }
        }
    }

    fn carry_out(&mut self, next: Next) -> Result<(), JobError> {
        let command = match next {
            Next::Closed => return Ok(()),
            Next::Wake(job) => return self.on_wake(job),
            Next::Command(command) => command,
        };
        match command {
            Command::OpenSource { job, source } => self.on_open_source(job, source),
            Command::Read { job, offset, len } => self.on_read(job, offset, len),
            Command::OpenSink { job, sink, name, layout, start } => self.on_open_sink(job, sink, &name, layout, start),
            Command::Write { job, offset, bytes } => self.on_write(job, offset, bytes),
            Command::Finish { job } => self.on_finish(job),
            Command::Close { job } => {
                self.jobs.remove(&job);
                self.streams.close(job);
                Ok(())
            }
        }
    }

    fn on_open_source(&mut self, job: JobId, source: Source) -> Result<(), JobError> {
        self.check_room(job)?;
        match source {
            Source::Path(path) => {
                let source::Opened { source, name, kind, len, skipped } = source::open(&path)?;
                self.jobs.insert(job, Job::Source(source));
                self.tell(Event::SourceOpened { job, name, kind, len: Some(len), skipped });
            }
            Source::Stream { name } => {
                self.jobs.insert(job, Job::Feed { at: 0, asked: None });
                let kind = Kind::File { executable: false, modified_unix: now_unix() };
                self.tell(Event::SourceOpened { job, name, kind, len: None, skipped: 0 });
            }
        }
        Ok(())
    }

    fn on_read(&mut self, job: JobId, offset: u64, len: u32) -> Result<(), JobError> {
        match self.jobs.get_mut(&job) {
            Some(Job::Source(source)) => {
                let bytes = source.read(offset, len)?;
                self.tell(Event::Read { job, offset, bytes });
                Ok(())
            }
            Some(Job::Feed { at, asked }) => {
                if offset != *at || asked.is_some() || len > source::READ_BYTES_MAX {
                    return Err(misuse("a read out of order, or too long"));
                }
                *asked = Some(len);
                self.on_wake(job)
            }
            Some(Job::Over) => Ok(()),
            _ => Err(misuse("a read of a job that is not a source")),
        }
    }

    fn on_open_sink(&mut self, job: JobId, sink: Sink, name: &str, layout: Layout, start: u64) -> Result<(), JobError> {
        self.check_room(job)?;
        let umask = self.settings.umask;
        let (opened, path) = match (sink, layout) {
            (Sink::Stream, _) => {
                let drain = Drain { at: start, start, waiting: VecDeque::new(), finishing: false };
                (Job::Drain(drain), None)
            }
            (Sink::Path { path, overwrite }, Layout::File { executable, modified_unix }) => {
                let target = Target::new(&path, name, false, overwrite)?;
                let sink = FileSink::new(target, job, start, Finish { executable, modified_unix, umask })?;
                let path = sink.path().to_owned();
                (Job::File(sink), Some(path))
            }
            (Sink::Path { path, overwrite }, Layout::Directory(index)) => {
                let target = Target::new(&path, name, true, overwrite)?;
                let sink = TreeSink::new(target, job, index, start, umask)?;
                let path = sink.path().to_owned();
                (Job::Tree(Box::new(sink)), Some(path))
            }
        };
        self.jobs.insert(job, opened);
        self.tell(Event::SinkOpened { job, path });
        Ok(())
    }

    fn on_write(&mut self, job: JobId, offset: u64, bytes: Bytes) -> Result<(), JobError> {
        let len = u32::try_from(bytes.len()).map_err(|_| misuse("a write of more than 4 GiB"))?;
        match self.jobs.get_mut(&job) {
            Some(Job::File(sink)) => sink.write(offset, &bytes)?,
            Some(Job::Tree(sink)) => sink.write(offset, &bytes)?,
            Some(Job::Drain(drain)) => {
                if offset != drain.at || drain.finishing {
                    return Err(misuse("a write out of order"));
                }
                drain.at += u64::from(len);
                drain.waiting.push_back((offset, len));
                self.streams.give(job, bytes)?;
                return self.on_wake(job);
            }
            Some(Job::Over) => return Ok(()),
            _ => return Err(misuse("a write to a job that is not a sink")),
        }
        self.tell(Event::Written { job, offset, len });
        Ok(())
    }

    fn on_finish(&mut self, job: JobId) -> Result<(), JobError> {
        match self.jobs.get_mut(&job) {
            Some(Job::File(sink)) => sink.finish()?,
            Some(Job::Tree(sink)) => sink.finish()?,
            Some(Job::Drain(drain)) => {
                drain.finishing = true;
                self.streams.end(job)?;
                return self.on_wake(job);
            }
            Some(Job::Over) => return Ok(()),
            _ => return Err(misuse("the end of a job that is not a sink")),
        }
        self.jobs.insert(job, Job::Over);
        self.tell(Event::Finished { job });
        Ok(())
    }

    /// A client has fed, taken or given up.
    fn on_wake(&mut self, job: JobId) -> Result<(), JobError> {
        match self.jobs.get_mut(&job) {
            Some(Job::Feed { at, asked }) => {
                // A client that fails while nobody reads is heard at once all the same.
                let len = asked.unwrap_or(0);
                match self.streams.take(job, len as usize)? {
                    Look::Failed(error) => return Err(error),
                    Look::Ready(bytes) if asked.is_some() => {
                        let offset = *at;
                        (*at, *asked) = (offset + bytes.len() as u64, None);
                        self.tell(Event::Read { job, offset, bytes });
                    }
                    Look::Ready(_) | Look::Wait => {}
                }
            }
            Some(Job::Drain(drain)) => {
                let taken = match self.streams.taken(job)? {
                    Look::Failed(error) => return Err(error),
                    Look::Ready(taken) => drain.start + taken,
                    Look::Wait => drain.start,
                };
                let mut news = Vec::new();
                while let Some((offset, len)) = drain.waiting.front().copied() {
                    if offset + u64::from(len) > taken {
                        break;
                    }
                    drain.waiting.pop_front();
                    news.push(Event::Written { job, offset, len });
                }
                if drain.finishing && drain.waiting.is_empty() {
                    self.jobs.insert(job, Job::Over);
                    news.push(Event::Finished { job });
                }
                news.into_iter().for_each(|event| self.tell(event));
            }
            _ => {}
        }
        Ok(())
    }

    fn check_room(&self, job: JobId) -> Result<(), JobError> {
        if self.jobs.contains_key(&job) {
            return Err(misuse("a job was opened twice"));
        }
        if self.jobs.len() >= self.settings.jobs_max {
            return Err(JobError::new(ErrorKind::Failed, "too many jobs are open: wait for one to end"));
        }
        Ok(())
    }

    /// The job cannot go on: what is unfinished is removed now, its client and the CES actor hear why.
    fn fail(&mut self, job: JobId, error: JobError) {
        // A job that could not be opened is not entered: the table holds what needs a `Close`, and nothing else.
        if let Some(open) = self.jobs.get_mut(&job) {
            *open = Job::Over;
        }
        self.streams.fail(job, &error);
        self.tell(Event::Failed { job, error });
    }

    /// Sends an event. If the actor's mailbox is full, this thread waits: that is the back-pressure.
    fn tell(&self, event: Event) {
        let mut event = event;
        let mut pause = Duration::from_micros(100);
        loop {
            match self.events.send(event) {
                Ok(()) | Err(Rejected::Closed(_)) => return,
                Err(Rejected::Full(_)) if self.inbox.is_closed() => return,
                Err(Rejected::Full(back)) => event = back,
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

/// The driver is where the calendar may be read: what is piped in was modified now.
#[allow(clippy::disallowed_methods)]
fn now_unix() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(0)
}
