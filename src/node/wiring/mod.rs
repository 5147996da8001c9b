//! The wiring: which message of which actor goes where. This page is the architecture of a node.
//!
//! ```text
//!                 ┌────────── hub (jobs, control API) ──────────┐
//!                 ▼                  ▼                          ▼
//!   files ⇄  CES  ⇄  uploader     downloader  ⇄  CES         peers  ⇄ node store
//!             ⇅         ⇅              ⇅                        ⇅
//!            cpu        └──── network ─┴──── chunk store ───────┘
//!                                               ⇅
//!                                             disk
//!
//!   jobs  ⇄  coordinator  ⇄  peers, network             worker: of this node and of others
//!            coordinator, worker  ⇄  CES, downloader: inputs that lie in stored objects
//!                 ⇅                                       ⇅
//!               worker    ⇄  sandbox  ⇄  sandbox workers  network        meter ◄─ coordinator, worker
//!
//!   plugins, native actors ⇄ network, guests' threads, desk (node store, objects, control API)
//! ```
//!
//! It is written against [`Host`], so production and simulation run the same circuit. Nothing here waits: a message
//! that its receiver cannot take is counted, and the job it belongs to fails (see [`Routes::overloaded`]).
//! Not here: what an actor does (`actors/*`) and how a driver does it (`src/drivers/*`).
//!
//! | file | what it holds |
//! |---|---|
//! | this one | mailboxes, drivers, and how they are joined |
//! | `routes` | where each thing goes that an actor emits |
//! | `delivery` | how it gets there, and what happens when there is no room |
//! | `reads` | objects that computations read, rather than users |
//! | `arrivals` | where each thing goes that comes from the network |

mod arrivals;
mod delivery;
mod reads;
mod routes;

use crate::{
    drivers::jobs::meter::Metered,
    node::{
        extensions::{DeskIn, Extensions, Mounted, Native, NativeError},
        hub::HubIn,
    },
};
use pangea_ces::{Ces, api as ces};
use pangea_chunks::{ChunkStore, api as chunks};
use pangea_compute::{
    Coordinator, Worker,
    api::{coordinator, worker},
};
use pangea_kernel::{Host, Options, Port, Slot};
use pangea_peers::{PeerManager, api as peers};
use pangea_plugins::Plugins;
use pangea_protocols::{PeerId, disk, files, guest, net};
use pangea_sandbox::{Sandbox, api as sandbox};
use pangea_transfer::{
    api::{download, upload},
    download::Downloader,
    upload::Uploader,
};

/// Name of the CES actor.
pub const CES: &str = "ces";
/// Name of the chunk store.
pub const CHUNKS: &str = "chunks";
/// Name of the peer manager.
pub const PEERS: &str = "peers";
/// Name of the uploader.
pub const UPLOADS: &str = "uploads";
/// Name of the downloader.
pub const DOWNLOADS: &str = "downloads";
/// Name of the coordinator of computations.
pub const COORDINATOR: &str = "coordinator";
/// Name of the worker for computations.
pub const WORKER: &str = "worker";
/// Name of the sandbox.
pub const SANDBOX: &str = "sandbox";
/// Name of the plugins actor.
pub const PLUGINS: &str = "plugins";
/// Names that no actor which is added to a node may have.
const OURS: [&str; 9] = [CES, CHUNKS, PEERS, UPLOADS, DOWNLOADS, COORDINATOR, WORKER, SANDBOX, PLUGINS];

/// Frames of peers that may wait in one mailbox, each with up to 1 MiB. Beyond it peers wait, by flow control. The rest
/// of the mailbox is for what this node's actors say to each other, which no flood of frames can crowd out.
const FRAMES_WAITING_MAX: usize = 256;

/// The mailboxes of all actors, before they run.
pub struct Mailboxes<H: Host> {
    ces: H::Slot<Ces>,
    chunks: H::Slot<ChunkStore>,
    peers: H::Slot<PeerManager>,
    uploads: H::Slot<Uploader>,
    downloads: H::Slot<Downloader>,
    coordinator: H::Slot<Coordinator>,
    worker: H::Slot<Worker>,
    sandbox: H::Slot<Sandbox>,
    plugins: H::Slot<Plugins>,
    natives: Vec<Mounted<H>>,
}

/// How to send to each actor.
#[derive(Clone)]
pub struct Actors {
    /// Compress, encrypt, shard.
    pub ces: Port<ces::In>,
    /// The shards of others.
    pub chunks: Port<chunks::In>,
    /// Who is there.
    pub peers: Port<peers::In>,
    /// Puts.
    pub uploads: Port<upload::In>,
    /// Gets and removals.
    pub downloads: Port<download::In>,
    /// Computations of this node's user.
    pub coordinator: Port<coordinator::In>,
    /// Computations for others, and for this node.
    pub worker: Port<worker::In>,
    /// Runs WebAssembly.
    pub sandbox: Port<sandbox::In>,
    /// Plugins, and actors that were added to the node.
    pub extensions: Extensions,
}

/// How to send to each driver, and to the hub.
#[derive(Clone)]
pub struct Drivers {
    /// Sockets.
    pub network: Port<net::Command>,
    /// Shards on disk.
    pub disk: Port<disk::Command>,
    /// What users store and get.
    pub files: Port<files::Command>,
    /// Worker threads.
    pub cpu: Port<pangea_ces::work::Work>,
    /// Where WebAssembly runs.
    pub sandbox: Port<pangea_sandbox::work::Work>,
    /// Inputs and results of computations; takes what the coordinator emits for them.
    pub jobs: Port<coordinator::Out>,
    /// What was computed for whom.
    pub meter: Port<Metered>,
    /// Jobs and answers for the control API.
    pub hub: Port<HubIn>,
    /// Threads that call plugins.
    pub guests: Port<guest::Command>,
    /// What extensions ask of the node, and answers for those who ask them.
    pub desk: Port<DeskIn>,
}

/// Makes the cores; called again after a panic.
pub trait Cores: Clone + Send + 'static {
    /// A fresh CES actor.
    fn ces(&self) -> Ces;
    /// A fresh chunk store.
    fn chunks(&self) -> ChunkStore;
    /// A fresh peer manager.
    fn peers(&self) -> PeerManager;
    /// A fresh uploader.
    fn uploads(&self) -> Uploader;
    /// A fresh downloader.
    fn downloads(&self) -> Downloader;
    /// A fresh coordinator.
    fn coordinator(&self) -> Coordinator;
    /// A fresh worker.
    fn worker(&self) -> Worker;
    /// A fresh sandbox.
    fn sandbox(&self) -> Sandbox;
    /// A fresh plugins actor.
    fn plugins(&self) -> Plugins;
}

impl<H: Host + 'static> Mailboxes<H> {
    /// One mailbox per actor.
    pub fn new(host: &H) -> Self {
        // Events of these carry shards and frames, which the flight recorder keeps alive: few are recorded.
        let roomy = Options { mailbox: 16_384, recorded_events: 16, ..Options::default() };
        Self {
            ces: host.slot(CES, roomy),
            chunks: host.slot(CHUNKS, roomy),
            peers: host.slot(PEERS, Options::default()),
            uploads: host.slot(UPLOADS, roomy),
            downloads: host.slot(DOWNLOADS, roomy),
            coordinator: host.slot(COORDINATOR, roomy),
            worker: host.slot(WORKER, roomy),
            sandbox: host.slot(SANDBOX, Options { recorded_events: 16, ..Options::default() }),
            plugins: host.slot(PLUGINS, roomy),
            natives: Vec::new(),
        }
    }

    /// The same, and those of actors that are added to the node.
    ///
    /// # Errors
    /// One of them has the name of another actor.
    pub fn with_natives(host: &H, natives: Vec<Native<H>>) -> Result<Self, NativeError> {
        let natives = Native::mount(natives, host, &OURS)?;
        Ok(Self { natives, ..Self::new(host) })
    }

    /// How to send to them.
    pub fn actors(&self) -> Actors {
        self.actors_up_to(usize::MAX)
    }

    fn actors_up_to(&self, waiting: usize) -> Actors {
        Actors {
            ces: self.ces.port_up_to(waiting),
            chunks: self.chunks.port_up_to(waiting),
            peers: self.peers.port_up_to(waiting),
            uploads: self.uploads.port_up_to(waiting),
            downloads: self.downloads.port_up_to(waiting),
            coordinator: self.coordinator.port_up_to(waiting),
            worker: self.worker.port_up_to(waiting),
            sandbox: self.sandbox.port_up_to(waiting),
            extensions: Extensions::new(
                self.plugins.port(),
                self.plugins.port_up_to(FRAMES_WAITING_MAX),
                &self.natives,
            ),
        }
    }

    /// Where the network driver's events go. Hands an event back if its receiver is full, which slows the peer down.
    pub fn network_events(&self, hub: Port<HubIn>) -> Port<net::Event> {
        let (actors, for_frames) = (self.actors(), self.actors_up_to(FRAMES_WAITING_MAX));
        Port::new(move |event| match event {
            net::Event::Received { .. } => for_frames.on_frame(event),
            event => actors.on_network(&hub, event),
        })
    }

    /// Starts every actor, wired to the others and to the drivers.
    ///
    /// `me` is this node: what it sends to itself stays inside.
    pub fn start(self, host: &H, me: PeerId, drivers: Drivers, cores: impl Cores) {
        let routes = Routes { me, actors: self.actors(), drivers };
        let (r, c) = (routes.clone(), cores.clone());
        host.start(self.ces, move || c.ces(), move |out| r.on_ces(out));
        let (r, c) = (routes.clone(), cores.clone());
        host.start(self.chunks, move || c.chunks(), move |out| r.on_chunks(out));
        let (r, c) = (routes.clone(), cores.clone());
        host.start(self.peers, move || c.peers(), move |out| r.on_peers(out));
        let (r, c) = (routes.clone(), cores.clone());
        host.start(self.uploads, move || c.uploads(), move |out| r.on_uploads(out));
        let (r, c) = (routes.clone(), cores.clone());
        host.start(self.downloads, move || c.downloads(), move |out| r.on_downloads(out));
        let (r, c) = (routes.clone(), cores.clone());
        host.start(self.coordinator, move || c.coordinator(), move |out| r.on_coordinator(out));
        let (r, c) = (routes.clone(), cores.clone());
        host.start(self.worker, move || c.worker(), move |out| r.on_worker(out));
        let (r, c) = (routes.clone(), cores.clone());
        host.start(self.sandbox, move || c.sandbox(), move |out| r.on_sandbox(out));
        let r = routes.clone();
        host.start(self.plugins, move || cores.plugins(), move |out| r.on_plugins(out));
        for native in self.natives {
            let r = routes.clone();
            native.start(host, move |name, out| r.on_native(name, out));
        }
    }
}

/// Where the frames that an actor sends report back to: the low bits of a network tag.
const TO_NOBODY: u64 = 0;
const TO_UPLOADS: u64 = 1;
const TO_DOWNLOADS: u64 = 2;
const TO_COORDINATOR: u64 = 3;
const TAG_BITS: u32 = 2;
/// Whose request for candidates it is: the low bit of its number.
const FOR_UPLOADS: u64 = 0;
const FOR_COORDINATOR: u64 = 1;

/// All routes. Cloned into every outlet.
#[derive(Clone)]
struct Routes {
    me: PeerId,
    actors: Actors,
    drivers: Drivers,
}
