//! [`Job`]: one job with its files. Not here: who asks for what (`desk`).

use super::{
    input::Chunks,
    journal::Journal,
    notes::Notes,
    record::{Record, State},
    stored::Stored,
};
use bytes::Bytes;
use pangea_compute::api::{Saved, Spec};
use pangea_protocols::{
    Hash, JobId,
    codec::{self, Limit},
    job::{ErrorKind, JobError},
    receipt_job::JobReceipt,
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;

/// What a receipt file starts with.
pub const RECEIPT_MAGIC: &[u8] = b"pangea job receipt 1\n";

/// A job, running or ended.
pub(super) struct Job {
    pub(super) dir: PathBuf,
    pub(super) view: watch::Sender<Record>,
    /// While it is received or runs.
    pub(super) live: Option<Live>,
}

/// What a job that has not ended needs.
#[derive(Default)]
pub(super) struct Live {
    pub(super) number: Option<JobId>,
    pub(super) feed: Option<File>,
    pub(super) chunks: Option<Chunks>,
    pub(super) stored: Option<Box<Stored>>,
    pub(super) journal: Option<Journal>,
    pub(super) notes: Option<Notes>,
    pub(super) since: Option<Instant>,
}

/// Every job that can be read.
pub(super) fn load(dir: &Path) -> io::Result<BTreeMap<String, Job>> {
    let mut jobs = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // The meter is not a job.
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let dir = entry.path();
        let record = fs::read(dir.join("job.json")).map_err(|error| error.to_string());
        let record = record.and_then(|json| serde_json::from_slice::<Record>(&json).map_err(|error| error.to_string()));
        match record {
            Ok(record) => {
                let live = (!record.seen.state.is_over()).then(Live::default);
                let (view, _) = watch::channel(record.clone());
                jobs.insert(record.seen.name, Job { dir, view, live });
            }
            Err(error) => tracing::warn!(dir = %dir.display(), error, "a job cannot be read and is left alone"),
        }
    }
    Ok(jobs)
}

/// Seconds since 1970.
pub(super) fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// An error of no other kind.
pub(super) fn failed(error: impl ToString) -> JobError {
    JobError::new(ErrorKind::Failed, error.to_string())
}

/// A file that cannot be written.
pub(super) fn write_failed(path: &Path, error: &io::Error) -> JobError {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let (kind, advice) = if full { (ErrorKind::Quota, ": free some space") } else { (ErrorKind::Failed, "") };
    JobError::new(kind, format!("cannot write {}: {error}{advice}", path.display()))
}

/// Writes a whole file, or leaves the old one. With `durable` it survives a loss of power: what a user is told is done.
pub(super) fn write_whole(
    path: &Path,
    durable: bool,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), JobError> {
    let part = path.with_extension("part");
    let written = File::create(&part).and_then(|mut file| {
        write(&mut file)?;
        if durable {
            file.sync_data()?;
        }
        fs::rename(&part, path)
    });
    written.map_err(|error| write_failed(path, &error))
}

impl Job {
    pub(super) fn change(&self, change: impl FnOnce(&mut Record)) {
        self.view.send_modify(change);
    }

    fn save(&self) -> Result<(), JobError> {
        self.write(&self.view.borrow().clone(), false)
    }

    fn write(&self, record: &Record, durable: bool) -> Result<(), JobError> {
        let json = serde_json::to_vec_pretty(record).map_err(failed)?;
        write_whole(&self.dir.join("job.json"), durable, |file| file.write_all(&json))?;
        if durable {
            // The last thing that is written of a job: its names are made durable together.
            let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
            synced.map_err(|error| write_failed(&self.dir, &error))?;
        }
        Ok(())
    }

    pub(super) fn state(&self) -> State {
        self.view.borrow().seen.state
    }

    /// It is over: what only a running job needs is removed.
    pub(super) fn end(&mut self, state: State, error: Option<JobError>) {
        let since = self.live.take().and_then(|mut live| {
            live.notes.iter_mut().for_each(Notes::flush);
            live.since
        });
        let mut record = self.view.borrow().clone();
        (record.seen.state, record.seen.error, record.seen.ahead) = (state, error, None);
        (record.seen.ended_unix, record.seen.took) = (Some(unix()), since.map(|since| since.elapsed()));
        if let Err(error) = self.write(&record, true) {
            tracing::warn!(%error, "the end of a job was not written down");
        }
        // Told once it is so.
        self.view.send_replace(record);
        for leftover in ["journal", "input", "stored"] {
            let _ = fs::remove_file(self.dir.join(leftover));
        }
    }

    pub(super) fn finish(&mut self, outputs: &[Bytes], receipt: &JobReceipt) -> Result<(), JobError> {
        let receipt = codec::encode(receipt, Limit::Local).map_err(failed)?;
        write_whole(&self.dir.join("receipt"), true, |file| {
            file.write_all(RECEIPT_MAGIC)?;
            file.write_all(&receipt)
        })?;
        write_whole(&self.dir.join("output"), true, |file| outputs.iter().try_for_each(|output| file.write_all(output)))
    }
}

/// Bytes of all files of a job.
pub(super) fn size_of(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// What of an input is there when its job begins.
pub(super) enum Ready {
    /// All of it.
    Chunks(Chunks),
    /// Its description.
    Stored(Box<Stored>),
    /// Nothing yet.
    Fed,
}

/// Writes down what was asked for.
pub(super) fn begin(job: &mut Job, module: &[u8], input: Ready) -> Result<(), JobError> {
    write_whole(&job.dir.join("module.wasm"), false, |file| file.write_all(module))?;
    match input {
        Ready::Chunks(chunks) => set_chunks(job, chunks),
        Ready::Stored(stored) => {
            let path = job.dir.join("stored");
            stored.save(&path).map_err(|error| write_failed(&path, &error))?;
            job.change(|record| {
                record.seen.state = State::Running;
                record.seen.chunks = stored.chunks();
                record.seen.input_bytes = stored.len();
            });
            job.live.get_or_insert_default().stored = Some(stored);
            job.save()
        }
        Ready::Fed => {
            let path = job.dir.join("input");
            let feed = File::create(&path).map_err(|error| write_failed(&path, &error))?;
            job.live.get_or_insert_default().feed = Some(feed);
            job.save()
        }
    }
}

/// The input is there, and cut.
pub(super) fn set_chunks(job: &mut Job, chunks: Chunks) -> Result<(), JobError> {
    job.change(|record| {
        record.seen.state = State::Running;
        record.seen.chunks = chunks.count();
        record.seen.input_bytes = chunks.source().len;
        record.source = Some(chunks.source().clone());
    });
    let live = job.live.get_or_insert_default();
    (live.feed, live.chunks) = (None, Some(chunks));
    job.save()
}

/// Everything that the coordinator needs for a job.
pub(super) fn prepare(job: &mut Job, number: JobId) -> Result<(Spec, Vec<Saved>), JobError> {
    let record = job.view.borrow().clone();
    let read = |path: &Path| fs::read(path).map_err(|error| failed(format!("cannot read {}: {error}", path.display())));
    let module = read(&job.dir.join("module.wasm"))?;
    if Hash::of(&module) != record.seen.module {
        return Err(JobError::new(ErrorKind::Integrity, "the module that was kept with the job is damaged"));
    }
    let live = job.live.get_or_insert_default();
    match &record.source {
        Some(source) if live.chunks.is_none() => {
            live.chunks = Some(Chunks::open(&source.path, record.seen.terms.cut, Some(source)).map_err(failed)?);
        }
        // It lies in an object.
        None if live.stored.is_none() => {
            let path = job.dir.join("stored");
            let said = |error| failed(format!("cannot read {}: {error}", path.display()));
            live.stored = Some(Box::new(Stored::load(&path).map_err(said)?));
        }
        Some(_) | None => {}
    }
    let mut saved = Vec::new();
    let path = job.dir.join("journal");
    live.journal = Some(Journal::open(&path, |entry| saved.push(entry)).map_err(|error| write_failed(&path, &error))?);
    live.notes = Some(Notes::open(&job.dir).map_err(|error| write_failed(&job.dir, &error))?);
    live.number = Some(number);
    let terms = record.seen.terms;
    let spec = Spec {
        nonce: record.nonce,
        module: module.into(),
        chunks: record.seen.chunks,
        limits: terms.limits,
        verification: terms.verification,
        split: terms.split,
        merge: terms.merge,
        priority: terms.priority,
        timeout: terms.timeout,
        depth: terms.depth,
        passed_on: None,
    };
    Ok((spec, saved))
}
