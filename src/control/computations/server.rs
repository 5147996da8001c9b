//! Each call of the schema's `Computations`, answered by asking the jobs driver.

use super::{
    MODULE_BYTES_MAX,
    codec::{file_of, read_terms, write, write_metered},
};
use crate::{
    control::{
        CHUNK_BYTES_MAX,
        decode::{self, DecodeError},
        jobs::exception,
        service::{bad, respond, respond_nothing},
    },
    drivers::jobs::{
        JobsHandle,
        record::{Input, Record, Request, Terms},
        stored::{self, Stored},
    },
    node::NodeHandle,
};
use bytes::Bytes;
use pangea_protocols::{
    generated::control_capnp::{self as schema, byte_sink, computation_watch, computations},
    job::{ErrorKind, JobError},
    ticket::Ticket,
};
use std::{cell::Cell, path::PathBuf, rc::Rc, time::Duration};
use tokio::{
    io::AsyncReadExt,
    sync::{Mutex, watch},
};

/// Largest module that is read from a path: what a job may have.
const MODULE_FILE_MAX: u64 = 64 << 20;

/// Answers the calls of one client.
pub(in crate::control) struct Service {
    pub(in crate::control) node: NodeHandle,
    pub(in crate::control) jobs: JobsHandle,
}

impl Service {
    async fn start(&self, params: computations::RunParams) -> Result<(Record, bool), JobError> {
        let (module, mut request, timeout) = read_run(&params).map_err(bad)?;
        request.module = match module {
            Module::Bytes(bytes) => bytes,
            Module::Path(path) => read_module(path).await?,
        };
        if let Input::Ticket(ticket) = &request.input
            && let Some(stored) = self.open(ticket, &request.terms, timeout).await?
        {
            request.input = Input::Stored(Box::new(stored));
        }
        let streams = matches!(request.input, Input::Stream(_) | Input::Ticket(_));
        Ok((self.jobs.run(request).await?, streams))
    }

    /// Reads the manifest of an object whose parts are to be read where they are needed. `None` if it has to be fetched.
    async fn open(&self, ticket: &Ticket, terms: &Terms, timeout: Duration) -> Result<Option<Stored>, JobError> {
        let Some(frames) = stored::frames(terms.cut, terms.split) else { return Ok(None) };
        let survey = self.node.survey(ticket.cid, ticket.hints.clone(), timeout).await?;
        let stored = Stored::new(ticket.clone(), survey, frames)?;
        if stored.is_none() {
            tracing::info!(cid = %ticket.cid, "a directory, or all in its root: this node fetches the input of the job");
        }
        Ok(stored)
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

fn read_run(params: &computations::RunParams) -> Result<(Module, Request, Duration), DecodeError> {
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
        source::Ticket(ticket) => Input::Ticket(Box::new(decode::parse(ticket?)?)),
    };
    let timeout = Duration::from_millis(params.get_timeout_ms());
    let terms = read_terms(params.get_terms()?)?;
    let module_name = from.get_name()?.to_str()?.to_owned();
    Ok((module, Request { module: Bytes::new(), module_name, input, terms }, timeout))
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
            write(started.reborrow().init_computation(), &record.seen);
            if streams {
                let feed = FeedServer { jobs: self.jobs.clone(), name: record.seen.name, ended: Cell::new(false) };
                started.set_feed(capnp_rpc::new_client(feed));
            }
            Ok(())
        })
    }

    async fn list(self: Rc<Self>, _: computations::ListParams, mut to: computations::ListResults) -> capnp::Result<()> {
        respond(to.get().init_answer(), self.jobs.list().await, |answer, all| {
            let mut list = answer.initn_ok(u32::try_from(all.len()).unwrap_or(u32::MAX));
            for (n, record) in (0..list.len()).zip(&all) {
                write(list.reborrow().get(n), &record.seen);
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
        respond(to.get().init_answer(), self.jobs.watch(name).await, |mut answer, mut view| {
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
        respond_nothing(to.get().init_answer(), self.jobs.cancel(name).await)
    }

    async fn remove(
        self: Rc<Self>,
        params: computations::RemoveParams,
        mut to: computations::RemoveResults,
    ) -> capnp::Result<()> {
        let name = params.get()?.get_name()?.to_str()?.to_owned();
        respond_nothing(to.get().init_answer(), self.jobs.remove(name).await)
    }

    async fn meter(
        self: Rc<Self>,
        _: computations::MeterParams,
        mut to: computations::MeterResults,
    ) -> capnp::Result<()> {
        respond(to.get().init_answer(), self.jobs.meter().await, |answer, all| {
            let mut list = answer.initn_ok(u32::try_from(all.len()).unwrap_or(u32::MAX));
            for (n, row) in (0..list.len()).zip(&all) {
                write_metered(list.reborrow().get(n), row);
            }
            Ok(())
        })
    }

    async fn read(
        self: Rc<Self>,
        params: computations::ReadParams,
        mut to: computations::ReadResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let name = params.get_name()?.to_str()?.to_owned();
        let (file, sink) = (file_of(params.get_file()?), params.get_sink()?);
        let result = match self.jobs.file(name, file).await {
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
        if !view.borrow().seen.state.is_over() && view.changed().await.is_err() {
            return Err(capnp::Error::failed("the node is stopping, or the computation was removed".into()));
        }
        let record = view.borrow_and_update().clone();
        write(to.get().init_computation(), &record.seen);
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
