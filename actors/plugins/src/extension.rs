//! What an extension of a node hears and wants, on one screen. A native one is a `Core` over [`In`] and [`Out`]; a plugin in
//! WebAssembly gets and gives the same as CBOR (see [`crate::envelope`]).
//!
//! A native extension has `Cx` for time, chance and timers: `cx.after(duration, In::Timer { id })`.

use bytes::Bytes;
use pangea_protocols::PeerId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an extension hears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum In {
    /// The first event of every life: who this node is, the settings, the last snapshot, who is connected.
    Started { me: PeerId, config: BTreeMap<String, String>, snapshot: Option<Bytes>, peers: Vec<PeerId> },
    /// The same extension of another node says this.
    Message { peer: PeerId, bytes: Bytes },
    /// A user of this node asks: to be answered with [`Out::Answer`] or [`Out::Refuse`].
    Ask { request: u64, bytes: Bytes },
    /// A peer is there. A native extension is told again when an actor of the node was started anew.
    Connected { peer: PeerId },
    /// It is gone.
    Disconnected { peer: PeerId },
    /// A timer is due.
    Timer { id: u64 },
    /// The node will stop, or replace this extension: the last chance for a snapshot, for now.
    Drain,
    /// The last snapshot is durable, or could not be written. A plugin in WebAssembly does not hear it: its call has ended
    /// when this is known, and it is started anew if it failed.
    Saved { error: Option<String> },
    /// Answers [`Out::Store`] and [`Out::StoreFile`]. Who has the ticket can read the object.
    Stored { request: u64, ticket: String },
    /// Answers [`Out::Fetch`].
    Fetched { request: u64, bytes: Bytes },
    /// Answers [`Out::Remove`].
    Removed { request: u64 },
    /// Answers [`Out::List`].
    Listed { request: u64, files: Vec<File> },
    /// Answers any of the four with why it failed.
    Failed { request: u64, reason: String },
}

/// A file of the granted folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Below the folder, with `/` between names.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// When it was changed, milliseconds since 1970.
    pub modified_ms: u64,
}

/// What an extension wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Out {
    /// Say this to the same extension of `peer`. It may be lost.
    Send { peer: PeerId, bytes: Bytes },
    /// Answer a user.
    Answer { request: u64, bytes: Bytes },
    /// Answer a user with why not.
    Refuse { request: u64, reason: String },
    /// Keep this for the next life; it replaces the last one.
    Snapshot { bytes: Bytes },
    /// Store an object in the network, under a name in this node's catalog.
    Store { request: u64, name: String, bytes: Bytes },
    /// Store a file of the granted folder.
    StoreFile { request: u64, path: String },
    /// Read an object of at most [`FETCH_BYTES_MAX`] bytes.
    Fetch { request: u64, ticket: String },
    /// Have an object of this node's catalog forgotten.
    Remove { request: u64, ticket: String },
    /// List the granted folder: at most [`FILES_MAX`] files.
    List { request: u64 },
    /// A line for whoever debugs it; levels as in [`Line`](pangea_protocols::guest::Line).
    Log { level: u8, text: String },
}

/// Most bytes of [`In::Fetched`].
pub const FETCH_BYTES_MAX: usize = 1 << 20;
/// Most files of [`In::Listed`]; beyond it the folder is not listed at all.
pub const FILES_MAX: usize = 1024;

impl Out {
    /// The number under which the node will answer, if it will.
    pub fn request(&self) -> Option<u64> {
        match self {
            Self::Store { request, .. }
            | Self::StoreFile { request, .. }
            | Self::Fetch { request, .. }
            | Self::Remove { request, .. }
            | Self::List { request } => Some(*request),
            _ => None,
        }
    }
}

impl In {
    /// The number that the node's answer answers.
    pub fn answered(&mut self) -> Option<&mut u64> {
        match self {
            Self::Stored { request, .. }
            | Self::Fetched { request, .. }
            | Self::Removed { request }
            | Self::Listed { request, .. }
            | Self::Failed { request, .. } => Some(request),
            _ => None,
        }
    }
}
