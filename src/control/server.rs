//! The thread that listens on the control socket.
//!
//! capnp-rpc is single-threaded, so all connections live on one thread with a runtime of its own; it only translates,
//! the work is done by the node behind the [`NodeHandle`].
//!
//! Limits: [`CONNECTIONS_MAX`] clients (a further one is disconnected at once and counted in the log),
//! [`JOBS_PER_CONNECTION_MAX`](super::JOBS_PER_CONNECTION_MAX) jobs each, messages of at most [`MESSAGE_WORDS_MAX`].

use super::{CONNECTIONS_MAX, ControlError, STREAM_WINDOW_BYTES, jobs::Canceller, service::Service};
use crate::{drivers::jobs::JobsHandle, node::NodeHandle};
use capnp::message::ReaderOptions;
use capnp_rpc::{RpcSystem, rpc_twoparty_capnp::Side, twoparty};
use pangea_protocols::generated::control_capnp::control;
use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt, PermissionsExt},
            net::UnixListener as StdListener,
        },
    },
    path::{Path, PathBuf},
    thread::JoinHandle,
    time::Duration,
};
use tokio::{
    net::{UnixListener, UnixStream},
    runtime::Runtime,
    sync::oneshot,
    task::{JoinSet, LocalSet},
};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

/// Longest message from a client, in 8-byte words (8 MiB): a write is the largest, with 256 KiB.
pub const MESSAGE_WORDS_MAX: usize = 1 << 20;
/// Deepest nesting of a message.
const NESTING_MAX: i32 = 16;
/// Threads that read files for clients: modules and results of computations. They are there when they are needed.
const FILE_THREADS_MAX: usize = 2;
/// Pause when the process has no file descriptor left for a client.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A control API that is being served. Stops when closed or dropped.
#[derive(Debug)]
pub struct ControlServer {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    socket: PathBuf,
    retired: bool,
}

/// Serves the control API of `node` on a new Unix socket of mode 0600 that only this user (and root) may use. `socket`
/// comes from [`address::to_serve`](super::address::to_serve). A socket that a dead node left there is removed: **the
/// caller holds the lock of the home directory**, so no living node can own it.
///
/// # Errors
/// [`ControlError`] if the socket cannot be made; nothing runs then.
pub fn serve(socket: &Path, node: NodeHandle, jobs: JobsHandle) -> Result<ControlServer, ControlError> {
    let listener = bind(socket)?;
    let fail = |action| ControlError::io(action, socket);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime =
        runtime.enable_all().max_blocking_threads(FILE_THREADS_MAX).thread_name("pangea-control-file").build();
    let runtime = runtime.map_err(fail("start a runtime for"))?;
    let listener = {
        let _entered = runtime.enter();
        UnixListener::from_std(listener).map_err(fail("listen on"))?
    };
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("pangea-control".into())
        .spawn(move || run(&runtime, listener, &node, &jobs, stopped))
        .map_err(fail("start a thread for"))?;
    Ok(ControlServer { stop: Some(stop), thread: Some(thread), socket: socket.to_owned(), retired: false })
}

impl ControlServer {
    /// Disconnects all clients, waits for the thread and removes the socket. Jobs that are not detached are cancelled.
    pub fn close(self) {
        drop(self);
    }

    /// Removes the socket, so that nobody new connects; those who are connected stay until the server is dropped.
    /// After that the directory's lock may be given to the next node, whose socket has the same name.
    pub fn retire(&mut self) {
        if !std::mem::replace(&mut self.retired, true) {
            // It may be gone already, with the directory.
            let _ = fs::remove_file(&self.socket);
        }
    }

    /// Where clients connect.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        // Dropping the sender is the signal.
        self.stop.take();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the control thread panicked");
        }
        self.retire();
    }
}

fn bind(path: &Path) -> Result<StdListener, ControlError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            fs::remove_file(path).map_err(ControlError::io("remove the old socket", path))?;
        }
        Ok(_) => return Err(ControlError::InTheWay { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(ControlError::io("look at", path)(error)),
    }
    bind_private(path).map_err(ControlError::io("listen on", path))
}

fn bind_private(path: &Path) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let private = Mode::RUSR | Mode::WUSR;
    // On Linux the mode of the socket becomes the mode of its file, so that it is never open to others, not even before
    // the second chmod, which is for systems that ignore the first.
    let _ = fchmod(&socket, private);
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(private.as_raw_mode()))?;
    socket.listen(128)?;
    socket.set_nonblocking(true)?;
    Ok(StdListener::from(OwnedFd::from(socket)))
}

fn run(
    runtime: &Runtime,
    listener: UnixListener,
    node: &NodeHandle,
    jobs: &JobsHandle,
    stopped: oneshot::Receiver<()>,
) {
    LocalSet::new().block_on(runtime, async {
        let (canceller, cancelling) = Canceller::new(node.clone());
        tokio::task::spawn_local(cancelling);
        // Dropped with its connections at the end. Their jobs need no cancelling then: the node stops.
        let mut connections = JoinSet::new();
        tokio::select! {
            () = accept(&listener, &mut connections, || Service::new(node.clone(), jobs.clone(), canceller.clone())) => {}
            _ = stopped => {}
        }
    });
}

async fn accept(listener: &UnixListener, connections: &mut JoinSet<()>, service: impl Fn() -> Service) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(_) if connections.len() >= CONNECTIONS_MAX => {
                    tracing::warn!(max = CONNECTIONS_MAX, "control client refused: too many");
                }
                Ok((stream, _)) if is_allowed(&stream) => {
                    connections.spawn_local(converse(stream, service()));
                }
                Ok(_) => tracing::warn!("control client refused: it belongs to another user"),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a control client");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The file mode already says so; this also covers systems that ignore the modes of sockets.
fn is_allowed(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn converse(stream: UnixStream, service: Service) {
    let bootstrap: control::Client = capnp_rpc::new_client(service);
    let limits = ReaderOptions { traversal_limit_in_words: Some(MESSAGE_WORDS_MAX), nesting_limit: NESTING_MAX };
    let network = network(stream, Side::Server, limits);
    if let Err(error) = RpcSystem::new(network, Some(bootstrap.client)).await {
        tracing::debug!(%error, "control connection ended");
    }
}

/// One end of a connection.
pub(super) fn network(
    stream: UnixStream,
    side: Side,
    limits: ReaderOptions,
) -> Box<twoparty::VatNetwork<impl futures::AsyncRead + Unpin + 'static>> {
    let (read, write) = stream.into_split();
    let read = futures::io::BufReader::new(read.compat());
    let write = futures::io::BufWriter::new(write.compat_write());
    let mut network = twoparty::VatNetwork::new(read, write, side, limits);
    network.set_window_size(STREAM_WINDOW_BYTES);
    Box::new(network)
}
