//! Computations over the control API: the calls of the schema's `Computations` on the node's side, and [`Computations`]
//! on the client's.

use super::{
    CHUNK_BYTES_MAX,
    client::{Feed, lost, open, strange},
    decode::{self, DecodeError},
    encode::{self, NONE},
    jobs::exception,
    service::{bad, respond, respond_nothing},
    view::ComputationView,
};
use crate::drivers::jobs::{
    JobsHandle,
    handle::File,
    record::{Input, Record, Request, State, Terms},
};
use bytes::Bytes;
use pangea_compute::{api::Progress, split::Cut};
use pangea_protocols::{
    Hash,
    generated::control_capnp::{
        self as schema, byte_sink, computation, computation_progress, computation_watch, computations, terms,
    },
    job::{ErrorKind, JobError},
    receipt_job::{Stage, Verification},
    task::Limits,
};
use std::{cell::Cell, path::PathBuf, rc::Rc, time::Duration};
use tokio::{
    io::AsyncReadExt,
    sync::{Mutex, watch},
};

/// Most bytes of a module that travels in a message: a larger one is named by its path.
pub const MODULE_BYTES_MAX: usize = 4 << 20;
/// Largest module that is read from a path: what a job may have.
const MODULE_FILE_MAX: u64 = 64 << 20;
/// Stands for "unknown" in 32 bits.
const NONE_32: u32 = u32::MAX;

/// Answers the calls of one client.
pub(super) struct Service(pub(super) JobsHandle);

impl Service {
    async fn start(&self, params: computations::RunParams) -> Result<(Record, bool), JobError> {
        let (module, request) = read_run(&params).map_err(bad)?;
        let module = match module {
            Module::Bytes(bytes) => bytes,
            Module::Path(path) => read_module(path).await?,
        };
        let streams = matches!(request.input, Input::Stream(_));
        Ok((self.0.run(Request { module, ..request }).await?, streams))
    }
}

enum Module {
    Bytes(Bytes),
    Path(PathBuf),
}

async fn read_module(path: PathBuf) -> Result<Bytes, JobError> {
    let said = |error: std::io::Error| {
        let kind = if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Failed };
        JobError::new(kind, format!("cannot read {}: {error}", path.display()))
    };
    let len = tokio::fs::metadata(&path).await.map_err(said)?.len();
    if len > MODULE_FILE_MAX {
        let text = format!("{} has {len} bytes: a module has at most {MODULE_FILE_MAX}", path.display());
        return Err(JobError::new(ErrorKind::Usage, text));
    }
    Ok(tokio::fs::read(&path).await.map_err(said)?.into())
}

fn read_run(params: &computations::RunParams) -> Result<(Module, Request), DecodeError> {
    use schema::{module, source};
    let params = params.get()?;
    let from = params.get_module()?;
    let module = match from.which()? {
        module::Path(path) => Module::Path(decode::path(path?)?),
        module::Bytes(bytes) => match bytes? {
            bytes if bytes.len() <= MODULE_BYTES_MAX => Module::Bytes(Bytes::copy_from_slice(bytes)),
            _ => return Err(DecodeError::Field("a module of more than 4 MiB is named by its path")),
        },
    };
    let input = match params.get_input()?.which()? {
        source::Path(path) => Input::Path(decode::path(path?)?),
        source::Stream(name) => Input::Stream(name?.to_str()?.to_owned()),
    };
    let terms = read_terms(params.get_terms()?)?;
    let module_name = from.get_name()?.to_str()?.to_owned();
    Ok((module, Request { module: Bytes::new(), module_name, input, terms }))
}

impl computations::Server for Service {
    async fn run(
        self: Rc<Self>,
        params: computations::RunParams,
        mut to: computations::RunResults,
    ) -> capnp::Result<()> {
        let result = self.start(params).await;
        respond(to.get().init_answer(), result, |answer, (record, streams)| {
            let mut started = answer.init_ok();
            write(started.reborrow().init_computation(), &record);
            if streams {
                let feed = FeedServer { jobs: self.0.clone(), name: record.name, ended: Cell::new(false) };
                started.set_feed(capnp_rpc::new_client(feed));
            }
            Ok(())
        })
    }

    async fn list(self: Rc<Self>, _: computations::ListParams, mut to: computations::ListResults) -> capnp::Result<()> {
        respond(to.get().init_answer(), self.0.list().await, |answer, all| {
            let mut list = answer.initn_ok(u32::try_from(all.len()).unwrap_or(u32::MAX));
            for (n, record) in (0..list.len()).zip(&all) {
                write(list.reborrow().get(n), record);
            }
            Ok(())
        })
    }

    async fn watch(
        self: Rc<Self>,
        params: computations::WatchParams,
        mut to: computations::WatchResults,
    ) -> capnp::Result<()> {
        let name = params.get()?.get_name()?.to_str()?.to_owned();
        respond(to.get().init_answer(), self.0.watch(name).await, |mut answer, mut view| {
            view.mark_changed();
            answer.set_ok(capnp_rpc::new_client::<computation_watch::Client, _>(Watch(Mutex::new(view))))
        })
    }

    async fn cancel(
        self: Rc<Self>,
        params: computations::CancelParams,
        mut to: computations::CancelResults,
    ) -> capnp::Result<()> {
        let name = params.get()?.get_name()?.to_str()?.to_owned();
        respond_nothing(to.get().init_answer(), self.0.cancel(name).await)
    }

    async fn remove(
        self: Rc<Self>,
        params: computations::RemoveParams,
        mut to: computations::RemoveResults,
    ) -> capnp::Result<()> {
        let name = params.get()?.get_name()?.to_str()?.to_owned();
        respond_nothing(to.get().init_answer(), self.0.remove(name).await)
    }

    async fn read(
        self: Rc<Self>,
        params: computations::ReadParams,
        mut to: computations::ReadResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let name = params.get_name()?.to_str()?.to_owned();
        let (file, sink) = (file_of(params.get_file()?), params.get_sink()?);
        let result = match self.0.file(name, file).await {
            Ok(path) => stream(path, &sink).await,
            Err(error) => Err(error),
        };
        respond_nothing(to.get().init_answer(), result)
    }
}

/// Writes a whole file to a client's sink.
async fn stream(path: PathBuf, sink: &byte_sink::Client) -> Result<(), JobError> {
    let said =
        |error: std::io::Error| JobError::new(ErrorKind::Failed, format!("cannot read {}: {error}", path.display()));
    let gone = |error: capnp::Error| {
        JobError::new(ErrorKind::Interrupted, format!("the reader of the stream gave up: {}", error.extra))
    };
    let mut file = tokio::fs::File::open(&path).await.map_err(said)?;
    let mut chunk = vec![0; CHUNK_BYTES_MAX];
    loop {
        let read = file.read(&mut chunk).await.map_err(said)?;
        if read == 0 {
            break;
        }
        let mut request = sink.write_request();
        request.get().set_bytes(&chunk[..read]);
        request.send().await.map_err(gone)?;
    }
    sink.end_request().send().promise.await.map_err(gone)?;
    Ok(())
}

/// A computation that is watched.
struct Watch(Mutex<watch::Receiver<Record>>);

impl computation_watch::Server for Watch {
    async fn next(
        self: Rc<Self>,
        _: computation_watch::NextParams,
        mut to: computation_watch::NextResults,
    ) -> capnp::Result<()> {
        let mut view = self.0.lock().await;
        if !view.borrow().state.is_over() && view.changed().await.is_err() {
            return Err(capnp::Error::failed("the node is stopping, or the computation was removed".into()));
        }
        let record = view.borrow_and_update().clone();
        write(to.get().init_computation(), &record);
        Ok(())
    }
}

/// Takes an input from its client.
struct FeedServer {
    jobs: JobsHandle,
    name: String,
    ended: Cell<bool>,
}

impl Drop for FeedServer {
    fn drop(&mut self) {
        if !self.ended.get() {
            self.jobs.abandon(self.name.clone());
        }
    }
}

impl byte_sink::Server for FeedServer {
    async fn write(self: Rc<Self>, params: byte_sink::WriteParams) -> capnp::Result<()> {
        let bytes = params.get()?.get_bytes()?;
        if bytes.len() > CHUNK_BYTES_MAX {
            return Err(capnp::Error::failed(format!("a write has at most {CHUNK_BYTES_MAX} bytes")));
        }
        self.jobs.feed(self.name.clone(), Some(Bytes::copy_from_slice(bytes))).await.map_err(exception)
    }

    async fn end(self: Rc<Self>, _: byte_sink::EndParams, _: byte_sink::EndResults) -> capnp::Result<()> {
        if self.ended.replace(true) {
            return Ok(());
        }
        self.jobs.feed(self.name.clone(), None).await.map_err(exception)
    }
}

/// What a client may ask; see [`JobsHandle`].
pub struct Computations {
    client: computations::Client,
}

/// A computation that is watched from afar.
pub struct Watching(computation_watch::Client);

impl Computations {
    pub(super) fn new(client: computations::Client) -> Self {
        Self { client }
    }

    /// Begins a computation. The module is sent if it is small, else read by the node from `path`; a stream is to be fed.
    ///
    /// # Errors
    /// Every method fails with a [`JobError`].
    pub async fn run(
        &self,
        request: &Request,
        path: Option<&std::path::Path>,
    ) -> Result<(ComputationView, Option<Feed>), JobError> {
        let mut call = self.client.run_request();
        let mut module = call.get().init_module();
        module.set_name(request.module_name.as_str());
        match path.filter(|_| request.module.len() > MODULE_BYTES_MAX) {
            Some(path) => module.set_path(encode::path_bytes(path)),
            None => module.set_bytes(&request.module),
        }
        match &request.input {
            Input::Path(path) => call.get().init_input().set_path(encode::path_bytes(path)),
            Input::Stream(name) => call.get().init_input().set_stream(name.as_str()),
        }
        write_terms(call.get().init_terms(), &request.terms);
        let response = call.send().promise.await.map_err(lost)?;
        let started = open(response.get().map_err(lost)?.get_answer())?;
        let view = started.get_computation().map_err(DecodeError::from).and_then(read).map_err(strange)?;
        let feed = started.has_feed().then(|| started.get_feed()).transpose().map_err(lost)?;
        Ok((view, feed.map(Feed::new)))
    }

    /// All that are kept, the newest first.
    pub async fn list(&self) -> Result<Vec<ComputationView>, JobError> {
        let response = self.client.list_request().send().promise.await.map_err(lost)?;
        let list = open(response.get().map_err(lost)?.get_answer())?;
        list.iter().map(read).collect::<Result<_, _>>().map_err(strange)
    }

    /// One by its name or a unique beginning of it, as it changes.
    pub async fn watch(&self, name: &str) -> Result<Watching, JobError> {
        let mut call = self.client.watch_request();
        call.get().set_name(name);
        let response = call.send().promise.await.map_err(lost)?;
        Ok(Watching(open(response.get().map_err(lost)?.get_answer())?))
    }

    /// Ends one.
    pub async fn cancel(&self, name: &str) -> Result<(), JobError> {
        let mut call = self.client.cancel_request();
        call.get().set_name(name);
        let response = call.send().promise.await.map_err(lost)?;
        open(response.get().map_err(lost)?.get_answer()).map(|_| ())
    }

    /// Forgets one that has ended.
    pub async fn remove(&self, name: &str) -> Result<(), JobError> {
        let mut call = self.client.remove_request();
        call.get().set_name(name);
        let response = call.send().promise.await.map_err(lost)?;
        open(response.get().map_err(lost)?.get_answer()).map(|_| ())
    }

    /// Writes one of its files to `sink`.
    pub(super) async fn read_to(&self, name: &str, file: File, sink: byte_sink::Client) -> Result<(), JobError> {
        let mut call = self.client.read_request();
        call.get().set_name(name);
        call.get().set_file(match file {
            File::Output => schema::ComputationFile::Output,
            File::Receipt => schema::ComputationFile::Receipt,
            File::Log => schema::ComputationFile::Log,
            File::Trace => schema::ComputationFile::Trace,
        });
        call.get().set_sink(sink);
        let response = call.send().promise.await.map_err(lost)?;
        open(response.get().map_err(lost)?.get_answer()).map(|_| ())
    }
}

impl Watching {
    /// How it stands: at once the first time and after its end, else when something has changed.
    ///
    /// # Errors
    /// The node is gone, or the computation was removed.
    pub async fn next(&self) -> Result<ComputationView, JobError> {
        let response = self.0.next_request().send().promise.await.map_err(lost)?;
        let view = response.get().and_then(|response| response.get_computation()).map_err(lost)?;
        read(view).map_err(strange)
    }
}

fn file_of(file: schema::ComputationFile) -> File {
    match file {
        schema::ComputationFile::Output => File::Output,
        schema::ComputationFile::Receipt => File::Receipt,
        schema::ComputationFile::Log => File::Log,
        schema::ComputationFile::Trace => File::Trace,
    }
}

fn write(mut to: computation::Builder<'_>, from: &Record) {
    to.set_name(from.name.as_str());
    to.set_module(from.module.to_string().as_str());
    to.set_module_name(from.module_name.as_str());
    to.set_input_name(from.input_name.as_str());
    to.set_input_bytes(from.source.as_ref().map_or(0, |source| source.len));
    to.set_chunks(from.chunks);
    write_terms(to.reborrow().init_terms(), &from.terms);
    to.set_state(match from.state {
        State::Receiving => schema::ComputationState::Receiving,
        State::Running => schema::ComputationState::Running,
        State::Done => schema::ComputationState::Done,
        State::Failed => schema::ComputationState::Failed,
        State::Cancelled => schema::ComputationState::Cancelled,
    });
    to.set_ahead(from.ahead.unwrap_or(NONE_32));
    write_progress(to.reborrow().init_progress(), &from.progress);
    to.set_output_bytes(from.output_bytes);
    if let Some(error) = &from.error {
        encode::failure(to.reborrow().init_failure(), error);
    }
    to.set_submitted_unix(from.submitted_unix);
    to.set_ended_unix(from.ended_unix.unwrap_or(NONE));
    to.set_took_ms(from.took.map_or(NONE, encode::millis));
}

fn read(from: computation::Reader<'_>) -> Result<ComputationView, DecodeError> {
    let known = |value: u64| (value != NONE).then_some(value);
    Ok(ComputationView {
        name: from.get_name()?.to_str()?.to_owned(),
        module: decode::parse::<Hash>(from.get_module()?)?,
        module_name: from.get_module_name()?.to_str()?.to_owned(),
        input_name: from.get_input_name()?.to_str()?.to_owned(),
        input_bytes: from.get_input_bytes(),
        chunks: from.get_chunks(),
        terms: read_terms(from.get_terms()?)?,
        state: match from.get_state()? {
            schema::ComputationState::Receiving => State::Receiving,
            schema::ComputationState::Running => State::Running,
            schema::ComputationState::Done => State::Done,
            schema::ComputationState::Failed => State::Failed,
            schema::ComputationState::Cancelled => State::Cancelled,
        },
        ahead: Some(from.get_ahead()).filter(|ahead| *ahead != NONE_32),
        progress: read_progress(from.get_progress()?)?,
        output_bytes: from.get_output_bytes(),
        error: from.has_failure().then(|| decode::failure(from.get_failure()?)).transpose()?,
        submitted_unix: from.get_submitted_unix(),
        ended_unix: known(from.get_ended_unix()),
        took: known(from.get_took_ms()).map(Duration::from_millis),
    })
}

fn write_progress(mut to: computation_progress::Builder<'_>, from: &Progress) {
    to.set_stage(from.stage.map_or("", stage_name));
    to.set_done(from.done);
    to.set_total(from.total);
    to.set_running(from.running);
    to.set_hosts(from.hosts);
    to.set_executions(from.executions);
    to.set_audited(from.audited);
    to.set_retried(from.retried);
    to.set_restored(from.restored);
    to.set_speculated(from.speculated);
    to.set_banned(from.banned);
    to.set_busy_hosts(from.busy_hosts);
    to.set_busy_waiting(from.busy_waiting);
    to.set_eta_ms(from.eta.map_or(NONE, encode::millis));
}

fn stage_name(stage: Stage) -> &'static str {
    crate::drivers::jobs::stage(stage)
}

fn read_progress(from: computation_progress::Reader<'_>) -> Result<Progress, DecodeError> {
    let stage = from.get_stage()?.to_str()?;
    Ok(Progress {
        stage: [Stage::Split, Stage::Execute, Stage::Merge].into_iter().find(|known| stage_name(*known) == stage),
        done: from.get_done(),
        total: from.get_total(),
        running: from.get_running(),
        hosts: from.get_hosts(),
        executions: from.get_executions(),
        audited: from.get_audited(),
        retried: from.get_retried(),
        restored: from.get_restored(),
        speculated: from.get_speculated(),
        banned: from.get_banned(),
        busy_hosts: from.get_busy_hosts(),
        busy_waiting: from.get_busy_waiting(),
        eta: Some(from.get_eta_ms()).filter(|ms| *ms != NONE).map(Duration::from_millis),
    })
}

fn write_terms(mut to: terms::Builder<'_>, from: &Terms) {
    let mut cut = to.reborrow().init_cut();
    match from.cut {
        Cut::Whole => cut.set_whole(()),
        Cut::Bytes(size) => cut.set_bytes(size),
        Cut::Lines(size) => cut.set_lines(size),
        Cut::Records { record, chunk } => {
            let mut records = cut.init_records();
            records.set_record(record);
            records.set_chunk(chunk);
        }
    }
    to.set_split(from.split);
    to.set_merge(from.merge);
    let mut verification = to.reborrow().init_verification();
    match from.verification {
        Verification::None => verification.set_none(()),
        Verification::Audit { per_mille } => verification.set_audit(per_mille),
        Verification::Quorum { hosts } => verification.set_quorum(hosts),
    }
    to.set_priority(from.priority);
    to.set_timeout_ms(from.timeout.map_or(NONE, encode::millis));
    to.set_gas(from.limits.gas);
    to.set_memory_bytes(from.limits.memory_bytes);
    to.set_table_elements(from.limits.table_elements);
    to.set_stack_slots(from.limits.stack_slots);
    to.set_output_bytes(from.limits.output_bytes);
    to.set_log_bytes(from.limits.log_bytes);
    to.set_depth(from.depth);
}

fn read_terms(from: terms::Reader<'_>) -> Result<Terms, DecodeError> {
    use schema::terms::{cut, verification};
    Ok(Terms {
        cut: match from.get_cut().which()? {
            cut::Whole(()) => Cut::Whole,
            cut::Bytes(size) => Cut::Bytes(size),
            cut::Lines(size) => Cut::Lines(size),
            cut::Records(records) => Cut::Records { record: records.get_record(), chunk: records.get_chunk() },
        },
        split: from.get_split(),
        merge: from.get_merge(),
        verification: match from.get_verification().which()? {
            verification::Audit(per_mille) => Verification::Audit { per_mille },
            verification::Quorum(hosts) => Verification::Quorum { hosts },
            verification::None(()) => Verification::None,
        },
        priority: from.get_priority(),
        depth: from.get_depth(),
        timeout: Some(from.get_timeout_ms()).filter(|ms| *ms != NONE).map(Duration::from_millis),
        limits: Limits {
            gas: from.get_gas(),
            memory_bytes: from.get_memory_bytes(),
            table_elements: from.get_table_elements(),
            stack_slots: from.get_stack_slots(),
            output_bytes: from.get_output_bytes(),
            log_bytes: from.get_log_bytes(),
        },
    })
}
