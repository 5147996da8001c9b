//! [`Tier`]: what a run needs of whatever runs the nodes. The swarm and the fleet are the two; a run cannot tell them
//! apart, so every scenario that needs nothing special runs on both.

use crate::{
    links::Links,
    plan::{DiskFate, DiskFault, Node},
    record::NodeId,
    tap::Taps,
    twins::jobs::Jobs,
};
use bytes::Bytes;
use pangea::node::wiring::Actors;
use pangea_ces::api as ces;
use pangea_protocols::{
    Address, Cid, JobId, PeerId, ShardId,
    disk::Usage,
    encoded::Profile,
    files::{Sink, Source},
    ticket::ReadKey,
    time::Time,
};
use pangea_transfer::api::{Redundancy, download, upload};
use std::{collections::BTreeSet, path::PathBuf, time::Duration};

/// A network of nodes on a virtual clock. Everything that nodes do is shown to the observer the tier was made with.
pub trait Tier {
    /// What sits between its nodes and their drivers; with it, who watches.
    fn taps(&self) -> Taps;

    /// The lines between its nodes.
    fn links(&self) -> Links;

    /// Now.
    fn now(&self) -> Time;

    /// Lets everything happen up to and including `until`.
    fn run_until(&mut self, until: Time);

    /// Starts the process of a node, for the first time or again, with the disk and the peers that it had. `key` is its
    /// identity's secret.
    fn start(&mut self, node: &Node, key: [u8; 32]);

    /// Ends it without a word.
    fn crash(&mut self, node: NodeId, disk: DiskFate);

    /// It stands still, or goes on.
    fn pause(&mut self, node: NodeId, paused: bool);

    /// Its calendar is off by this much from now on, and drifts.
    fn skew(&mut self, node: NodeId, by_s: i64, drift_ppm: i64);

    /// The router in front of it gives it another port. Nothing happens where ports are not modelled.
    fn rebind(&mut self, node: NodeId);

    /// The process that runs its plugins ends.
    fn end_guests(&mut self, node: NodeId);

    /// A fault of its disk begins (`on`) or is over. Those of a moment only begin.
    fn disk(&mut self, node: NodeId, fault: DiskFault, on: bool);

    /// How to speak to its actors; `None` if it does not run.
    fn actors(&self, node: NodeId) -> Option<Actors>;

    /// What its user has computed; `None` if there is no such node.
    fn jobs(&self, node: NodeId) -> Option<Jobs>;

    /// Makes a file that the node's user can store.
    fn write(&mut self, node: NodeId, path: PathBuf, bytes: Bytes);

    /// A file that the node's user got.
    fn read(&self, node: NodeId, path: &std::path::Path) -> Option<Bytes>;

    /// What is on its disk and would be found there after a restart.
    fn holdings(&self, node: NodeId) -> Holdings;

    /// Its address, for a ticket.
    fn address(&self, node: NodeId) -> Address;
}

/// What a disk holds for others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Shards and blocks whose bytes are intact.
    pub shards: BTreeSet<ShardId>,
    /// As the disk counts.
    pub usage: Usage,
}

/// Something to ask of a node's actors.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Store the file or directory at `path`.
    Put { path: PathBuf, redundancy: Redundancy, profile: Profile, lease: Duration },
    /// Read an object to `path`.
    Get {
        cid: Cid,
        key: ReadKey,
        only: ces::Selection,
        path: PathBuf,
        hints: Vec<(PeerId, Address)>,
        timeout: Duration,
    },
    /// Have an object forgotten.
    Remove { cid: Cid, hints: Vec<(PeerId, Address)> },
    /// Give a put up: it ends by itself.
    Cancel,
    /// Everybody that may know of a job lets go of it.
    Release,
}

/// Asks as the hub does in production. False if a mailbox was full.
pub fn ask(actors: &Actors, job: JobId, ask: Ask) -> bool {
    match ask {
        Ask::Put { path, redundancy, profile, lease } => {
            let put = upload::In::Put { job, source: Source::Path(path), redundancy, profile, lease };
            actors.uploads.send(put).is_ok()
        }
        Ask::Get { cid, key, only, path, hints, timeout } => {
            let sink = Sink::Path { path, overwrite: true };
            actors.ces.send(ces::In::Decode { job, key: ces::Key::Read(key), only, sink }).is_ok()
                && actors.downloads.send(download::In::Open { job, cid, hints, timeout }).is_ok()
        }
        Ask::Remove { cid, hints } => actors.downloads.send(download::In::Remove { job, cid, hints }).is_ok(),
        Ask::Cancel => actors.uploads.send(upload::In::Cancel { job }).is_ok(),
        Ask::Release => {
            let uploads = actors.uploads.send(upload::In::Cancel { job }).is_ok();
            let ces = actors.ces.send(ces::In::Cancel { job }).is_ok();
            actors.downloads.send(download::In::Close { job }).is_ok() && uploads && ces
        }
    }
}
