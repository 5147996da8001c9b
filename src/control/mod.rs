//! The control API: how programs on the same machine ask a running node, over a Unix socket.
//!
//! | file | what it is |
//! |---|---|
//! | [`address`] | where the socket of a home directory is |
//! | [`server`] | the thread that listens, and its limits |
//! | `service` | each call of the schema, answered by asking the [`NodeHandle`](crate::node::NodeHandle) |
//! | `jobs` | a running job as a capability, and the byte streams of puts and gets |
//! | [`client`] | what the command line uses |
//! | `encode`, `decode` | between the schema's structs and the node's types |
//! | [`plugins`] | the same for plugins, both ways |
//! | [`view`] | the node's answers as a client sees them |
//!
//! The schema is `protocols/schema/control.capnp`; its header states the transport, the errors and the limits.
//!
//! **Invariant**: nothing here decides anything about peers, shards or files. It translates, bounds and cancels.

pub mod address;
pub mod client;
pub mod computations;
mod decode;
mod encode;
mod jobs;
pub mod plugins;
pub mod server;
mod service;
pub mod view;

pub use client::Client;
pub use server::{ControlServer, serve};

use pangea_protocols::job::ErrorKind;
use std::{io, path::PathBuf};

/// Most bytes in one write of a stream.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Most clients at once; more are disconnected at once.
pub const CONNECTIONS_MAX: usize = 64;
/// Most jobs that one connection may keep running; more are refused.
pub const JOBS_PER_CONNECTION_MAX: usize = 64;
/// Catalog entries in a page.
pub const LIST_PAGE: usize = 256;
/// Directory entries in a page.
pub const INDEX_PAGE: usize = 1024;
/// Bytes of a stream that may be on their way to the reader.
const STREAM_WINDOW_BYTES: usize = 1 << 20;

/// Why the control API cannot be served or reached.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("no node runs in {}: start one with `pangea node`", .home.display())]
    NoNode { home: PathBuf },
    /// The socket belongs to someone else.
    #[error("permission denied for {}: the node there belongs to another user", .path.display())]
    Denied { path: PathBuf },
    /// Unix sockets have short names.
    #[error(
        "{} is too long for the name of a socket ({} bytes, at most {}), and XDG_RUNTIME_DIR is not set: set it, or choose a shorter --home",
        .path.display(), .path.as_os_str().len(), address::SOCKET_PATH_BYTES_MAX
    )]
    PathTooLong { path: PathBuf },
    /// Something that is not a socket stands where the socket should be.
    #[error("{} is in the way of the control socket and is not a socket: move it away", .path.display())]
    InTheWay { path: PathBuf },
    /// The file system or the network said no.
    #[error("cannot {action} {}: {error}", .path.display())]
    Io { action: &'static str, path: PathBuf, error: io::Error },
}

impl ControlError {
    /// The kind, for the exit code.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoNode { .. } => ErrorKind::Unreachable,
            Self::Denied { .. } => ErrorKind::Denied,
            Self::PathTooLong { .. } => ErrorKind::Usage,
            Self::InTheWay { .. } | Self::Io { .. } => ErrorKind::Failed,
        }
    }

    fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            _ => Self::Io { action, path, error },
        }
    }
}
