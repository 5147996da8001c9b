//! [`Desk`]: what the thread of the driver does with what the coordinator emits and what clients ask, in order. Not here:
//! its queue (`driver`), and what is done with the files of one job (`job`).

use super::{
    ENDED_BYTES_MAX, ENDED_MAX, RECEIVING_MAX,
    driver::Task,
    handle::{self, Ask},
    input::Chunks,
    job::{Job, Live, Ready, begin, failed, load, prepare, set_chunks, size_of, unix, write_failed},
    meter::{Meter, Totals},
    notes::Notes,
    record::{Computation, Input, Record, Request, State},
};
use crate::drivers::deliver;
use bytes::Bytes;
use pangea_compute::api::{News, Progress, coordinator};
use pangea_kernel::{Port, contain};
use pangea_protocols::{
    Hash, JobId,
    job::{ErrorKind, JobError},
};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How often notes are flushed while nothing happens.
const FLUSH: Duration = Duration::from_millis(200);

/// The answer to what the coordinator wants; `None` if the job has no input.
fn input(live: &Live, job: JobId, index: u32) -> Option<coordinator::In> {
    use coordinator::In;
    if let Some(stored) = &live.stored {
        return Some(match stored.chunk(index) {
            Some((input, local)) => In::Stored { job, index, input: Box::new(input), local },
            None => In::InputFailed { job, reason: format!("the object has no chunk {index}") },
        });
    }
    Some(match live.chunks.as_ref()?.read(index) {
        Ok(bytes) => In::Input { job, index, bytes: bytes.into() },
        Err(reason) => In::InputFailed { job, reason },
    })
}

/// The state of the thread.
pub(super) struct Desk {
    dir: PathBuf,
    enabled: bool,
    coordinator: Port<coordinator::In>,
    jobs: BTreeMap<String, Job>,
    /// Jobs that the coordinator has.
    numbers: BTreeMap<JobId, String>,
    next: u64,
    meter: Meter,
}

impl Desk {
    /// With the jobs and the meter that are in `dir`.
    pub(super) fn open(dir: &Path, enabled: bool, coordinator: Port<coordinator::In>) -> io::Result<Self> {
        let (jobs, meter) = (load(dir)?, Meter::open(dir));
        Ok(Self { dir: dir.to_owned(), enabled, coordinator, jobs, numbers: BTreeMap::new(), next: 0, meter })
    }

    pub(super) fn meter_totals(&self) -> Totals {
        self.meter.totals()
    }

    pub(super) fn work(&mut self, queue: &Receiver<Task>, waiting: &AtomicUsize) {
        let mut dirty = false;
        loop {
            self.meter.write_if_due();
            let task = match queue.recv_timeout(FLUSH) {
                Ok(task) => task,
                Err(RecvTimeoutError::Timeout) => {
                    if std::mem::take(&mut dirty) {
                        self.flush();
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            dirty = true;
            let handled = match task {
                Task::Core(out) => {
                    waiting.fetch_sub(1, Ordering::Relaxed);
                    contain(|| self.on_core(out))
                }
                Task::Metered(metered) => contain(|| self.meter.add(metered)),
                Task::Ask(ask) => contain(|| self.on_ask(ask)),
                Task::Stop => {
                    self.meter.write();
                    return self.flush();
                }
            };
            if let Err(reason) = handled {
                tracing::error!(reason, "the jobs driver panicked");
            }
        }
    }

    fn flush(&mut self) {
        let live = self.jobs.values_mut().filter_map(|job| job.live.as_mut());
        live.filter_map(|live| live.notes.as_mut()).for_each(Notes::flush);
    }

    /// To the coordinator, however long its mailbox is full. False if it is gone.
    fn tell(&self, message: coordinator::In) -> bool {
        deliver(&self.coordinator, message)
    }

    fn on_core(&mut self, out: coordinator::Out) {
        use coordinator::Out;
        match out {
            Out::Began => self.begin_all(),
            Out::Want { job, index } => {
                let Some(message) = self.live(job).and_then(|live| input(live, job, index)) else { return };
                self.tell(message);
            }
            Out::Save { job, saved } => {
                let Some(journal) = self.live(job).and_then(|live| live.journal.as_mut()) else { return };
                if let Err(error) = journal.append(saved) {
                    tracing::warn!(%error, "a result was not written down: another run of the node would compute it again");
                }
            }
            Out::Trace { job, traces } => {
                if let Some(notes) = self.live(job).and_then(|live| live.notes.as_mut()) {
                    traces.into_iter().for_each(|trace| notes.trace(trace));
                }
            }
            Out::Log { job, place, host, lines } => {
                if let Some(notes) = self.live(job).and_then(|live| live.notes.as_mut()) {
                    notes.log(place, host, lines);
                }
            }
            Out::News { job, news } => self.on_news(job, news),
            // The rest is for others. What is over is removed when its end is told.
            Out::Candidates { .. }
            | Out::Read { .. }
            | Out::StopReading { .. }
            | Out::Send { .. }
            | Out::Report { .. }
            | Out::Forget { .. }
            | Out::Metered { .. } => {}
        }
    }

    fn live(&mut self, number: JobId) -> Option<&mut Live> {
        self.jobs.get_mut(self.numbers.get(&number)?)?.live.as_mut()
    }

    fn on_news(&mut self, number: JobId, news: News) {
        let Some(job) = self.numbers.get(&number).and_then(|name| self.jobs.get_mut(name)) else { return };
        match news {
            News::Queued { ahead } => job.change(|record| record.seen.ahead = Some(ahead)),
            News::Progress(progress) => job.change(|record| {
                record.seen.ahead = None;
                record.seen.progress = progress;
            }),
            News::Done { outputs, receipt, progress } => {
                let written = job.finish(&outputs, &receipt);
                job.change(|record| {
                    record.seen.progress = progress;
                    record.seen.output_bytes = outputs.iter().map(|output| output.len() as u64).sum();
                });
                match written {
                    Ok(()) => job.end(State::Done, None),
                    Err(error) => job.end(State::Failed, Some(error)),
                }
            }
            News::Failed(error) if error.kind == ErrorKind::Interrupted => job.end(State::Cancelled, Some(error)),
            News::Failed(error) => job.end(State::Failed, Some(error)),
        }
        if job.live.is_none() {
            self.numbers.remove(&number);
            self.forget_old();
        }
    }

    /// A new coordinator: every job that has not ended is its job.
    fn begin_all(&mut self) {
        self.numbers.clear();
        let mut open: Vec<(u64, String)> = self
            .jobs
            .iter()
            .filter(|(_, job)| !job.state().is_over())
            .map(|(name, job)| (job.view.borrow().seen.submitted_unix, name.clone()))
            .collect();
        open.sort();
        for (_, name) in open {
            let Some(job) = self.jobs.get_mut(&name) else { continue };
            let is_fed = job.live.as_ref().is_some_and(|live| live.feed.is_some());
            match job.state() {
                State::Receiving if is_fed => {}
                State::Receiving => {
                    let text = "the node stopped before the input was all there: submit the job again";
                    job.end(State::Failed, Some(failed(text)));
                }
                _ => self.submit(&name),
            }
        }
    }

    /// Gives a job to the coordinator, with what is already done of it.
    fn submit(&mut self, name: &str) {
        self.next += 1;
        let number = JobId(self.next);
        let Some(job) = self.jobs.get_mut(name) else { return };
        let prepared = prepare(job, number);
        let (spec, saved) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return job.end(State::Failed, Some(error)),
        };
        self.numbers.insert(number, name.to_owned());
        self.tell(coordinator::In::Submit { job: number, spec: Box::new(spec) });
        for saved in saved {
            self.tell(coordinator::In::Restored { job: number, saved });
        }
    }

    fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Run { request, reply } => _ = reply.send(self.on_run(*request)),
            Ask::Feed { name, bytes, reply } => _ = reply.send(self.on_feed(&name, bytes)),
            Ask::List(reply) => {
                let mut all: Vec<Record> = self.jobs.values().map(|job| job.view.borrow().clone()).collect();
                all.sort_by(|a, b| (b.seen.submitted_unix, &b.seen.name).cmp(&(a.seen.submitted_unix, &a.seen.name)));
                let _ = reply.send(Ok(all));
            }
            Ask::Watch { name, reply } => _ = reply.send(self.find(&name).map(|job| job.view.subscribe())),
            Ask::Cancel { name, reply } => _ = reply.send(self.on_cancel(&name)),
            Ask::Remove { name, reply } => _ = reply.send(self.on_remove(&name)),
            Ask::File { name, file, reply } => _ = reply.send(self.on_file(&name, file)),
            Ask::Meter(reply) => _ = reply.send(Ok(self.meter.rows())),
        }
    }

    /// The job that a user means.
    fn find(&mut self, query: &str) -> Result<&mut Job, JobError> {
        let known: Vec<String> = self.jobs.keys().filter(|name| name.starts_with(query)).cloned().collect();
        let name = match &known[..] {
            [name] if !query.is_empty() => name,
            [] | [_] => {
                return Err(JobError::new(
                    ErrorKind::NotFound,
                    format!("there is no job `{query}`: see `pangea job ls`"),
                ));
            }
            several => {
                let text = format!("`{query}` may mean {}: use more digits", several.join(", "));
                return Err(JobError::new(ErrorKind::Usage, text));
            }
        };
        self.jobs.get_mut(name).ok_or_else(|| failed("a job is gone"))
    }

    fn on_run(&mut self, request: Request) -> Result<Record, JobError> {
        if !self.enabled {
            let text = "this node does not compute: set `enabled = true` in [compute] of its settings";
            return Err(JobError::new(ErrorKind::Denied, text));
        }
        let receiving = self.jobs.values().filter(|job| job.state() == State::Receiving).count();
        if receiving >= RECEIVING_MAX {
            return Err(failed(format!("{receiving} jobs wait for their inputs already: try again later")));
        }
        let Request { module, module_name, input, terms } = request;
        // What is wrong with an input that is there is told before anything is made.
        let (input_name, input) = match input {
            Input::Path(path) => {
                let usage = |text| JobError::new(ErrorKind::Usage, text);
                let chunks = Chunks::open(&path, terms.cut, None).map_err(usage)?;
                let name = path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
                (name, Ready::Chunks(chunks))
            }
            Input::Stream(name) => (name, Ready::Fed),
            Input::Ticket(ticket) => (ticket.cid.to_string(), Ready::Fed),
            Input::Stored(stored) => (stored.cid().to_string(), Ready::Stored(stored)),
        };
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(failed)?;
        let name = data_encoding::HEXLOWER.encode(&nonce[..6]);
        let dir = self.dir.join(&name);
        let seen = Computation {
            name: name.clone(),
            module: Hash::of(&module),
            module_name,
            input_name,
            input_bytes: 0,
            terms,
            chunks: 0,
            state: State::Receiving,
            ahead: None,
            progress: Progress::default(),
            output_bytes: 0,
            error: None,
            submitted_unix: unix(),
            ended_unix: None,
            took: None,
        };
        let record = Record { seen, nonce, source: None };
        fs::create_dir(&dir).map_err(|error| write_failed(&dir, &error))?;
        let (view, _) = watch::channel(record);
        let mut job = Job { dir, view, live: Some(Live { since: Some(Instant::now()), ..Live::default() }) };
        let begun = begin(&mut job, &module, input);
        let is_fed = job.live.as_ref().is_some_and(|live| live.feed.is_some());
        let dir = job.dir.clone();
        self.jobs.insert(name.clone(), job);
        if let Err(error) = begun {
            self.jobs.remove(&name);
            let _ = fs::remove_dir_all(dir);
            return Err(error);
        }
        if !is_fed {
            self.submit(&name);
        }
        Ok(self.find(&name)?.view.borrow().clone())
    }

    fn on_feed(&mut self, name: &str, bytes: Option<Bytes>) -> Result<(), JobError> {
        let job = self.find(name)?;
        let path = job.dir.join("input");
        let Some(feed) = job.live.as_mut().and_then(|live| live.feed.as_mut()) else {
            return Err(JobError::new(ErrorKind::Failed, "the job takes no more input: it has ended, or begun"));
        };
        if let Some(bytes) = bytes {
            return feed.write_all(&bytes).map_err(|error| {
                let error = write_failed(&path, &error);
                job.end(State::Failed, Some(error.clone()));
                error
            });
        }
        let how = job.view.borrow().seen.terms.cut;
        let ready = Chunks::open(&path, how, None).map_err(|text| JobError::new(ErrorKind::Usage, text));
        let ready = ready.and_then(|chunks| set_chunks(job, chunks));
        if let Err(error) = ready {
            job.end(State::Failed, Some(error.clone()));
            return Err(error);
        }
        let name = job.view.borrow().seen.name.clone();
        self.submit(&name);
        Ok(())
    }

    fn on_cancel(&mut self, name: &str) -> Result<(), JobError> {
        let job = self.find(name)?;
        let number = job.live.as_ref().and_then(|live| live.number);
        match (job.state(), number) {
            (State::Running, Some(job)) => _ = self.tell(coordinator::In::Cancel { job }),
            (State::Receiving | State::Running, _) => {
                let error = JobError::new(ErrorKind::Interrupted, "the job was cancelled");
                job.end(State::Cancelled, Some(error));
            }
            _ => {}
        }
        Ok(())
    }

    fn on_remove(&mut self, name: &str) -> Result<(), JobError> {
        let job = self.find(name)?;
        if !job.state().is_over() {
            return Err(JobError::new(ErrorKind::Denied, "the job has not ended: cancel it first"));
        }
        let (name, dir) = (job.view.borrow().seen.name.clone(), job.dir.clone());
        fs::remove_dir_all(&dir).map_err(|error| failed(format!("cannot remove {}: {error}", dir.display())))?;
        self.jobs.remove(&name);
        Ok(())
    }

    fn on_file(&mut self, name: &str, file: handle::File) -> Result<PathBuf, JobError> {
        let job = self.find(name)?;
        if let Some(notes) = job.live.as_mut().and_then(|live| live.notes.as_mut()) {
            notes.flush();
        }
        let path = job.dir.join(file.name());
        let record = job.view.borrow().clone();
        if !path.exists()
            || matches!(file, handle::File::Output | handle::File::Receipt) && record.seen.state != State::Done
        {
            let because = match (&record.seen.error, record.seen.state.is_over()) {
                (Some(error), _) => format!(": {error}"),
                (None, true) => String::new(),
                (None, false) => " yet".to_owned(),
            };
            let text = format!("job {} has no {}{because}", record.seen.name, file.name());
            return Err(JobError::new(ErrorKind::NotFound, text));
        }
        Ok(path)
    }

    /// Removes the oldest of the jobs that have ended, while there are too many or they are too large.
    fn forget_old(&mut self) {
        let over = self.jobs.iter().filter(|(_, job)| job.state().is_over());
        let mut ended: Vec<(Option<u64>, String, u64)> =
            over.map(|(name, job)| (job.view.borrow().seen.ended_unix, name.clone(), size_of(&job.dir))).collect();
        ended.sort();
        let mut bytes: u64 = ended.iter().map(|(_, _, bytes)| bytes).sum();
        let mut count = ended.len();
        // The one that has just ended stays, however large it is.
        for (_, name, size) in ended {
            if count <= 1 || count <= ENDED_MAX && bytes <= ENDED_BYTES_MAX {
                return;
            }
            (count, bytes) = (count - 1, bytes - size);
            if let Some(job) = self.jobs.remove(&name)
                && let Err(error) = fs::remove_dir_all(&job.dir)
            {
                tracing::warn!(dir = %job.dir.display(), %error, "an old job could not be removed");
            }
        }
    }
}
