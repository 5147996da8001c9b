//! The jobs driver: what a user wants computed, from submission to result, in files.
//!
//! ```text
//! <home>/jobs/<name>/job.json     what was asked for, and how it stands
//!                   /module.wasm
//!                   /input        if it came as a stream
//!                   /stored       if it lies in a stored object: its ticket, and where its parts are; for the owner only
//!                   /journal      what the coordinator has committed: with it, another run of the node goes on
//!                   /trace /log   what happened where, and what tasks logged
//!                   /output /receipt
//! <home>/jobs/meter               what was computed for whom
//! ```
//! | module | what it defines |
//! |---|---|
//! | [`record`] | [`record::Record`]: a job as its user sees it |
//! | [`handle`] | [`JobsHandle`]: what can be asked |
//! | [`meter`] | what was computed for whom |
//! | `driver`, `desk` | the thread with its queue, and what it does |
//! | `job` | one job with its files |
//! | `input` | an input file that must not change, in chunks |
//! | [`stored`] | an input that lies in a stored object, which is not read here |
//! | `journal` | committed results |
//! | `notes` | trace and log |
//!
//! The coordinator (`pangea_compute`) decides; this reads inputs and writes down. A node that starts submits every job
//! that has not ended again. Ended jobs are kept until they are removed, at most [`ENDED_MAX`] and [`ENDED_BYTES_MAX`].

mod desk;
mod driver;
pub mod handle;
mod input;
mod job;
mod journal;
pub mod meter;
mod notes;
pub mod record;
pub mod stored;

pub use driver::JobsDriver;
pub use handle::JobsHandle;
pub use input::{CHUNKS_MAX, Chunks};
pub use job::RECEIPT_MAGIC;
pub use notes::stage;

/// Jobs that are kept after their end; the oldest is removed.
pub const ENDED_MAX: usize = 256;
/// Bytes of them, in all their files.
pub const ENDED_BYTES_MAX: u64 = 4 << 30;
/// Inputs that may be on their way from clients at once.
pub const RECEIVING_MAX: usize = 16;

/// A directory of jobs that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// The file system said no.
    #[error("cannot use {path}: {error}", path = path.display())]
    Io { path: std::path::PathBuf, error: std::io::Error },
    /// The thread.
    #[error("cannot start the thread of jobs: {0}")]
    Thread(#[from] std::io::Error),
}
