//! [`NodeStore`]: what a node remembers across restarts beside its shards: peers, and the catalog of what its user
//! has stored. One redb file, `node.redb`, readable by its owner only: the catalog holds read keys.
//!
//! | module | what it defines |
//! |---|---|
//! | [`catalog`] | stored objects, in the order in which they were stored; search by id, prefix or name |
//! | [`peers`] | peer records, a bounded number |
//! | [`plugins`] | plugins, and what extensions keep |
//! | [`open`] | opening, and what happens to a file that is damaged |
//! | [`thread`] | the thread that works on it, and how the node asks it |
//!
//! **Invariants.** What [`NodeStore::remember`] returned `Ok` for survives a power cut. A damaged file is moved aside,
//! never overwritten and never ignored: the start that finds it fails and says what to do; later starts say that the
//! file is there. Everything here blocks: the node calls it from a thread of its own.

pub mod catalog;
pub mod open;
pub mod peers;
pub mod plugins;
pub mod thread;

pub use catalog::{Catalog, Unreadable};
pub use thread::{StoreThread, StoreThreadError};

use pangea_protocols::{Cid, codec::CodecError};
use std::path::{Path, PathBuf};

/// Why the node store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is damaged and has been moved aside.
    #[error(
        "the node store {file} is damaged ({reason}). It has been moved to {aside}; keep that file: the read keys of \
         stored objects are in it. Start again to go on with an empty catalog: objects stay with their holders, and \
         tickets written down elsewhere still open them. If a backup of {file} exists, stop the node and put it back"
    )]
    Corrupt { file: PathBuf, aside: PathBuf, reason: String },
    /// The file is damaged and could not even be moved.
    #[error("the node store {file} is damaged ({reason}) and could not be moved aside: {source}. Move it by hand")]
    Stuck { file: PathBuf, reason: String, source: std::io::Error },
    /// Another process has it open.
    #[error("the node store {file} is in use by another process: stop the other node, or use another --home")]
    InUse { file: PathBuf },
    /// A newer Pangea wrote it.
    #[error("the node store {file} was written by a newer Pangea ({what}): install that version again")]
    Newer { file: PathBuf, what: String },
    /// The file system said no.
    #[error("the node store {file}: {source}")]
    Io { file: PathBuf, source: std::io::Error },
    /// The database said no while the node runs.
    #[error("the node store {file}: {reason}. Check the disk that holds it")]
    Database { file: PathBuf, reason: String },
    /// A value cannot be written.
    #[error("cannot write to the node store: {0}")]
    Codec(#[from] CodecError),
    /// No such entry.
    #[error("nothing in the catalog is called `{0}`")]
    NotFound(String),
    /// Several.
    #[error("`{query}` may mean any of these; use more of its id:\n{}", listed(candidates))]
    Ambiguous { query: String, candidates: Vec<(Cid, String)> },
    /// The entry is there and cannot be read.
    #[error("the catalog entry of {cid} cannot be read ({reason}); its ticket, if written down elsewhere, still works")]
    Unreadable { cid: Cid, reason: String },
}

/// Most candidates that an error lists.
const LISTED_MAX: usize = 20;

fn listed(candidates: &[(Cid, String)]) -> String {
    let mut lines: Vec<String> =
        candidates.iter().take(LISTED_MAX).map(|(cid, name)| format!("  {cid}  {}", name.escape_debug())).collect();
    if candidates.len() > LISTED_MAX {
        lines.push(format!("  and {} more", candidates.len() - LISTED_MAX));
    }
    lines.join("\n")
}

/// The node store.
#[derive(Debug)]
pub struct NodeStore {
    db: redb::Database,
    file: PathBuf,
    aside: Vec<PathBuf>,
}

impl NodeStore {
    /// Opens the store at `file`, or makes an empty one, readable by its owner only.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the file is damaged: it has then been moved aside, and the next call succeeds.
    pub fn open(file: impl AsRef<Path>) -> Result<Self, StoreError> {
        open::open(file.as_ref())
    }

    /// Damaged stores that were moved aside at this or an earlier start and are still there: worth a word to the user.
    pub fn set_aside(&self) -> &[PathBuf] {
        &self.aside
    }

    fn fault(&self, error: impl Into<redb::Error>) -> StoreError {
        StoreError::Database { file: self.file.clone(), reason: error.into().to_string() }
    }
}
