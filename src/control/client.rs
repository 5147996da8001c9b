//! [`Client`]: asks a running node from another process.
//!
//! capnp-rpc is single-threaded: a client lives on a [`tokio::task::LocalSet`]. Methods mirror those of
//! [`NodeHandle`](crate::node::NodeHandle); whatever fails, the connection included, is a [`JobError`] with a kind.

use super::{
    CHUNK_BYTES_MAX, ControlError, address,
    computations::Computations,
    decode::{self, DecodeError, NewsPage},
    encode, plugins,
    server::network,
    view::{PeerView, StatusView},
};
use crate::{
    drivers::jobs::handle::File,
    node::handle::{Get, News, Put},
};
use bytes::Bytes;
use capnp::message::ReaderOptions;
use capnp_rpc::{Disconnector, RpcSystem, rpc_twoparty_capnp::Side};
use futures::{
    FutureExt,
    future::{LocalBoxFuture, Shared},
};
use pangea_ces::api::Selection;
use pangea_plugins::api::{Package, View};
use pangea_protocols::{
    Address, Cid, JobId, PeerId,
    files::{Sink, Source},
    generated::control_capnp::{answer, byte_sink, control, job},
    guest::Line,
    job::{ErrorKind, JobError, Stored},
    manifest::{DirectoryIndex, Entry},
    ticket::Ticket,
    wire::extension::Name,
};
use std::{io, path::Path, rc::Rc, time::Duration};
use tokio::{net::UnixStream, sync::mpsc};

/// Longest message from a node, in 8-byte words (64 MiB): the list of peers is the largest.
const MESSAGE_WORDS_MAX: usize = 8 << 20;
const NESTING_MAX: i32 = 16;
/// Most entries of a directory that a client keeps.
pub const INDEX_ENTRIES_MAX: usize = 1 << 22;
/// Writes of a get that may wait for their reader.
pub const STREAM_QUEUE_MAX: usize = 4;

/// A connection to a node.
pub struct Client {
    control: control::Client,
    closed: Shared<LocalBoxFuture<'static, ()>>,
    disconnector: Disconnector<Side>,
}

/// A job of the node. It is cancelled when this is dropped, unless it was started with `detach`.
pub struct RemoteJob {
    job: job::Client,
}

/// Where the bytes of a put from a stream go. Dropping it without [`Feed::end`] cancels the put.
pub struct Feed {
    sink: byte_sink::Client,
}

pub(super) fn lost(error: capnp::Error) -> JobError {
    match error.kind {
        capnp::ErrorKind::Disconnected => {
            let message = "the node closed the connection: it is stopping, or too many clients are connected";
            JobError::new(ErrorKind::Unreachable, message)
        }
        _ => JobError::new(ErrorKind::Failed, error.extra),
    }
}

pub(super) fn strange(error: DecodeError) -> JobError {
    let advice = "are the node and this program the same version?";
    JobError::new(ErrorKind::Failed, format!("the node's answer cannot be understood ({error}): {advice}"))
}

/// The value of an answer, or the failure it tells.
pub(super) fn open<'a, T: capnp::traits::Owned>(
    answer: capnp::Result<answer::Reader<'a, T>>,
) -> Result<T::Reader<'a>, JobError> {
    match answer.map_err(lost)?.which().map_err(|error| strange(error.into()))? {
        answer::Ok(value) => value.map_err(|error| strange(error.into())),
        answer::Failed(failure) => {
            Err(failure.map_err(DecodeError::from).and_then(decode::failure).unwrap_or_else(strange))
        }
    }
}

/// Sends a request, and opens the answer to it.
macro_rules! ask {
    ($request:expr, |$value:ident| $read:expr) => {{
        let response = $request.send().promise.await.map_err(lost)?;
        let $value = open(response.get().map_err(lost)?.get_answer())?;
        $read
    }};
}

impl Client {
    /// Connects to the node that runs in `home`. Must be called on a `LocalSet`.
    ///
    /// # Errors
    /// [`ControlError::NoNode`] if none does, [`ControlError::Denied`] if it belongs to another user.
    pub async fn connect(home: &Path) -> Result<Self, ControlError> {
        let socket = address::to_connect(home)?;
        let stream = UnixStream::connect(&socket).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
                ControlError::NoNode { home: home.to_owned() }
            }
            _ => ControlError::io("connect to", socket)(error),
        })?;
        let limits = ReaderOptions { traversal_limit_in_words: Some(MESSAGE_WORDS_MAX), nesting_limit: NESTING_MAX };
        let mut system = RpcSystem::new(network(stream, Side::Client, limits), None);
        let control = system.bootstrap(Side::Server);
        let disconnector = system.get_disconnector();
        let running = tokio::task::spawn_local(system);
        // A broken connection shows as the failure of the calls on it.
        let closed = async move { drop(running.await) }.boxed_local().shared();
        Ok(Self { control, closed, disconnector })
    }

    /// Waits until the node has closed the connection, as it does when it stops.
    pub async fn closed(&self) {
        self.closed.clone().await;
    }

    /// Breaks the connection: the node cancels what this client has started, unless it was detached.
    pub async fn disconnect(self) {
        // Fails only when the connection is broken already.
        let _ = self.disconnector.await;
    }

    /// What the node is and does.
    ///
    /// # Errors
    /// Every method fails with a [`JobError`]: the node's own, or `Unreachable` when the connection is gone.
    pub async fn status(&self) -> Result<StatusView, JobError> {
        ask!(self.control.status_request(), |status| decode::status(status).map_err(strange))
    }

    /// Known peers, connected ones first.
    pub async fn peers(&self) -> Result<Vec<PeerView>, JobError> {
        ask!(self.control.peers_request(), |peers| peers.iter().map(decode::peer).collect::<Result<_, _>>())
            .map_err(strange)
    }

    /// Dials a peer and remembers it.
    pub async fn add_peer(&self, peer: PeerId, addresses: &[Address]) -> Result<(), JobError> {
        let mut request = self.control.add_peer_request();
        request.get().set_peer(peer.to_string());
        let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        encode::texts(request.get().init_addresses(count), addresses);
        ask!(request, |_nothing| Ok(()))
    }

    /// Has no more to do with a peer.
    pub async fn ban(&self, peer: PeerId, reason: &str) -> Result<(), JobError> {
        let mut request = self.control.ban_request();
        request.get().set_peer(peer.to_string());
        request.get().set_reason(reason);
        ask!(request, |_nothing| Ok(()))
    }

    /// Takes a ban back.
    pub async fn unban(&self, peer: PeerId) -> Result<(), JobError> {
        let mut request = self.control.unban_request();
        request.get().set_peer(peer.to_string());
        ask!(request, |_nothing| Ok(()))
    }

    /// Starts a put. There is a [`Feed`] if and only if the source is a stream.
    pub async fn put(&self, put: &Put, detach: bool) -> Result<(RemoteJob, Option<Feed>), JobError> {
        let mut request = self.control.put_request();
        match &put.source {
            Source::Path(path) => request.get().init_source().set_path(encode::path_bytes(path)),
            Source::Stream { name } => request.get().init_source().set_stream(name),
        }
        encode::put_options(request.get().init_options(), put, detach);
        ask!(request, |started| {
            let job = RemoteJob { job: started.get_job().map_err(lost)? };
            let feed = match &put.source {
                Source::Stream { .. } => Some(Feed { sink: started.get_feed().map_err(lost)? }),
                Source::Path(_) => None,
            };
            Ok((job, feed))
        })
    }

    /// Starts a get to a path.
    pub async fn get(&self, get: &Get, detach: bool) -> Result<RemoteJob, JobError> {
        self.start_get(get, None, detach).await
    }

    /// Starts a get whose verified bytes are sent to `to`, in order; the sender is dropped at their end. A receiver that
    /// is dropped early cancels the job. The sink of `get` is ignored.
    pub async fn get_stream(&self, get: &Get, to: mpsc::Sender<Bytes>) -> Result<RemoteJob, JobError> {
        self.start_get(get, Some(to), false).await
    }

    async fn start_get(&self, get: &Get, to: Option<mpsc::Sender<Bytes>>, detach: bool) -> Result<RemoteJob, JobError> {
        let mut request = self.control.get_request();
        request.get().set_ticket(get.ticket.to_string());
        encode::selection(request.get().init_selection(), &get.only);
        let mut sink = request.get().init_sink();
        match (&get.sink, to) {
            (_, Some(to)) => sink.set_stream(capnp_rpc::new_client(Receiving { to })),
            (Sink::Path { path, overwrite }, None) => {
                sink.set_path(encode::path_bytes(path));
                sink.set_overwrite(*overwrite);
            }
            (Sink::Stream, None) => return Err(JobError::new(ErrorKind::Usage, "a stream needs a receiver")),
        }
        encode::get_options(request.get().init_options(), get, detach);
        ask!(request, |job| Ok(RemoteJob { job }))
    }

    /// Opens an object without reading it: the news are `Opened`, for a directory its index, and `Done`.
    pub async fn info(&self, ticket: Ticket, timeout: Duration) -> Result<RemoteJob, JobError> {
        let mut request = self.control.info_request();
        request.get().set_ticket(ticket.to_string());
        let get = Get { ticket, only: Selection::Info, sink: Sink::Stream, timeout };
        encode::get_options(request.get().init_options(), &get, false);
        ask!(request, |job| Ok(RemoteJob { job }))
    }

    /// Asks the holders of a catalog entry to forget it, then forgets it here.
    pub async fn remove(&self, cid: Cid, forget: bool) -> Result<RemoteJob, JobError> {
        let mut request = self.control.remove_request();
        request.get().set_cid(cid.to_string());
        request.get().set_forget(forget);
        ask!(request, |job| Ok(RemoteJob { job }))
    }

    /// Cancels any job of the node.
    pub async fn cancel(&self, job: JobId) -> Result<(), JobError> {
        let mut request = self.control.cancel_request();
        request.get().set_job(job.0);
        ask!(request, |_nothing| Ok(()))
    }

    /// The catalog, newest first.
    pub async fn list(&self) -> Result<Vec<Stored>, JobError> {
        let listing = ask!(self.control.list_request(), |listing| listing);
        let mut objects = Vec::new();
        loop {
            let len = objects.len();
            ask!(listing.next_request(), |page| for stored in page.iter() {
                objects.push(decode::stored(stored).map_err(strange)?);
            });
            if objects.len() == len {
                return Ok(objects);
            }
        }
    }

    /// One catalog entry by CID, a unique beginning of a CID, or name.
    pub async fn find(&self, name: &str) -> Result<Stored, JobError> {
        let mut request = self.control.find_request();
        request.get().set_name(name);
        ask!(request, |stored| decode::stored(stored).map_err(strange))
    }

    /// A ticket for a catalog entry.
    pub async fn ticket(&self, cid: Cid) -> Result<Ticket, JobError> {
        let mut request = self.control.ticket_request();
        request.get().set_cid(cid.to_string());
        ask!(request, |ticket| decode::parse(ticket).map_err(strange))
    }

    /// Metrics in the Prometheus text format.
    pub async fn metrics(&self) -> Result<String, JobError> {
        ask!(self.control.metrics_request(), |text| Ok(text.to_str().map_err(|e| strange(e.into()))?.to_owned()))
    }

    /// Jobs of WebAssembly.
    pub async fn computations(&self) -> Result<Computations, JobError> {
        ask!(self.control.computations_request(), |computations| Ok(Computations::new(computations)))
    }

    /// Reads a file of a computation; what comes of it goes to `to`, in order. Ends after the last byte was taken.
    pub async fn read_computation(&self, name: &str, file: File, to: mpsc::Sender<Bytes>) -> Result<(), JobError> {
        let computations = self.computations().await?;
        computations.read_to(name, file, capnp_rpc::new_client(Receiving { to })).await
    }

    /// Runs a plugin, or replaces the one of that name; returns it, and the version that it replaced.
    pub async fn install_plugin(&self, package: &Package) -> Result<(View, Option<String>), JobError> {
        let mut request = self.control.install_plugin_request();
        request.get().set_manifest(package.manifest.as_str());
        request.get().set_module(&package.module);
        ask!(request, |installed| {
            let view = installed.get_plugin().map_err(lost).and_then(|view| plugins::decode(view).map_err(strange))?;
            let replaced = installed.get_replaced().map_err(lost)?.to_str().map_err(|e| strange(e.into()))?;
            Ok((view, Some(replaced.to_owned()).filter(|replaced| !replaced.is_empty())))
        })
    }

    /// Stops a plugin, and forgets it and what it kept.
    pub async fn remove_plugin(&self, name: &Name) -> Result<(), JobError> {
        let mut request = self.control.remove_plugin_request();
        request.get().set_name(name.as_str());
        ask!(request, |_nothing| Ok(()))
    }

    /// All plugins, by name.
    pub async fn plugins(&self) -> Result<Vec<View>, JobError> {
        ask!(self.control.plugins_request(), |views| views.iter().map(plugins::decode).collect::<Result<_, _>>())
            .map_err(strange)
    }

    /// Asks a plugin, or an actor that was added to the node.
    pub async fn ask_plugin(&self, name: &Name, bytes: &[u8]) -> Result<Bytes, JobError> {
        let mut request = self.control.ask_plugin_request();
        request.get().set_name(name.as_str());
        request.get().set_bytes(bytes);
        ask!(request, |answer| Ok(Bytes::copy_from_slice(answer)))
    }

    /// What it has logged lately, oldest first.
    pub async fn plugin_log(&self, name: &Name) -> Result<Vec<Line>, JobError> {
        let mut request = self.control.plugin_log_request();
        request.get().set_name(name.as_str());
        ask!(request, |lines| lines.iter().map(plugins::decode_line).collect::<Result<_, _>>()).map_err(strange)
    }

    /// Asks the node to stop; see [`Client::closed`].
    pub async fn shutdown(&self) -> Result<(), JobError> {
        ask!(self.control.shutdown_request(), |_nothing| Ok(()))
    }
}

impl RemoteJob {
    /// Waits for the next news; `None` after `Done` or `Failed`.
    pub async fn next(&self) -> Result<Option<News>, JobError> {
        let mut index: Vec<Entry> = Vec::new();
        loop {
            let response = self.job.next_request().send().promise.await.map_err(lost)?;
            let news = response.get().and_then(|response| response.get_news()).map_err(lost)?;
            match decode::news(news).map_err(strange)? {
                NewsPage::Event(event) => return Ok(Some(News::Event(event))),
                NewsPage::Ended => return Ok(None),
                NewsPage::Index { entries, last } => {
                    if index.len() + entries.len() > INDEX_ENTRIES_MAX {
                        let message = format!("the directory has more than {INDEX_ENTRIES_MAX} entries");
                        return Err(JobError::new(ErrorKind::Failed, message));
                    }
                    index.extend(entries);
                    if last {
                        return Ok(Some(News::Index(DirectoryIndex { entries: index })));
                    }
                }
            }
        }
    }

    /// Asks the job to end; its last news is then `Failed(Interrupted)`.
    pub async fn cancel(&self) -> Result<(), JobError> {
        self.job.cancel_request().send().promise.await.map_err(lost)?;
        Ok(())
    }
}

impl Feed {
    pub(super) fn new(sink: byte_sink::Client) -> Self {
        Self { sink }
    }

    /// Sends bytes; returns when more can be taken. When it fails, the job's last news tells why.
    pub async fn write(&self, bytes: &[u8]) -> Result<(), JobError> {
        for chunk in bytes.chunks(CHUNK_BYTES_MAX) {
            let mut request = self.sink.write_request();
            request.get().set_bytes(chunk);
            request.send().await.map_err(lost)?;
        }
        Ok(())
    }

    /// The stream is complete.
    pub async fn end(self) -> Result<(), JobError> {
        self.sink.end_request().send().promise.await.map_err(lost)?;
        Ok(())
    }
}

/// The client's end of a get to a stream.
struct Receiving {
    to: mpsc::Sender<Bytes>,
}

impl byte_sink::Server for Receiving {
    async fn write(self: Rc<Self>, params: byte_sink::WriteParams) -> capnp::Result<()> {
        let bytes = Bytes::copy_from_slice(params.get()?.get_bytes()?);
        self.to.send(bytes).await.map_err(|_| capnp::Error::failed("nobody reads any more".into()))
    }

    async fn end(self: Rc<Self>, _: byte_sink::EndParams, _: byte_sink::EndResults) -> capnp::Result<()> {
        Ok(())
    }
}
