//! [`Computations`]: asks the jobs driver of a node from another process.

use super::{
    MODULE_BYTES_MAX,
    codec::{read, read_metered, write_terms},
};
use crate::{
    control::{
        client::{Feed, lost, open, strange},
        decode::DecodeError,
        encode,
    },
    drivers::jobs::{
        handle::File,
        meter::Row,
        record::{Computation, Input, Request},
    },
};
use pangea_protocols::{
    generated::control_capnp::{self as schema, byte_sink, computation_watch, computations},
    job::{ErrorKind, JobError},
};
use std::time::Duration;

/// What a client may ask; see [`crate::drivers::jobs::JobsHandle`].
pub struct Computations {
    client: computations::Client,
}

/// A computation that is watched from afar.
pub struct Watching(computation_watch::Client);

impl Computations {
    pub(in crate::control) fn new(client: computations::Client) -> Self {
        Self { client }
    }

    /// Begins a computation. The module is sent if it is small, else read by the node from `path`; a stream is to be fed,
    /// and so is a stored object that is not read in parts. To open one may take so long without anything moving.
    ///
    /// # Errors
    /// Every method fails with a [`JobError`].
    pub async fn run(
        &self,
        request: &Request,
        path: Option<&std::path::Path>,
        timeout: Duration,
    ) -> Result<(Computation, Option<Feed>), JobError> {
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
            Input::Ticket(ticket) => call.get().init_input().set_ticket(ticket.to_string().as_str()),
            Input::Stored(_) => {
                let text = "what a node has read of an object stays there: name it by its ticket";
                return Err(JobError::new(ErrorKind::Usage, text));
            }
        }
        call.get().set_timeout_ms(encode::millis(timeout));
        write_terms(call.get().init_terms(), &request.terms);
        let response = call.send().promise.await.map_err(lost)?;
        let started = open(response.get().map_err(lost)?.get_answer())?;
        let view = started.get_computation().map_err(DecodeError::from).and_then(read).map_err(strange)?;
        let feed = started.has_feed().then(|| started.get_feed()).transpose().map_err(lost)?;
        Ok((view, feed.map(Feed::new)))
    }

    /// All that are kept, the newest first.
    pub async fn list(&self) -> Result<Vec<Computation>, JobError> {
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

    /// What was computed for whom, by peer, the latest first.
    pub async fn meter(&self) -> Result<Vec<Row>, JobError> {
        let response = self.client.meter_request().send().promise.await.map_err(lost)?;
        let list = open(response.get().map_err(lost)?.get_answer())?;
        list.iter().map(read_metered).collect::<Result<_, _>>().map_err(strange)
    }

    /// Writes one of its files to `sink`.
    pub(in crate::control) async fn read_to(
        &self,
        name: &str,
        file: File,
        sink: byte_sink::Client,
    ) -> Result<(), JobError> {
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
    pub async fn next(&self) -> Result<Computation, JobError> {
        let response = self.0.next_request().send().promise.await.map_err(lost)?;
        let view = response.get().and_then(|response| response.get_computation()).map_err(lost)?;
        read(view).map_err(strange)
    }
}
