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
//!                 ⇅                                       ⇅
//!               worker    ⇄  sandbox  ⇄  sandbox workers  network
//!
//!   plugins, native actors ⇄ network, guests' threads, desk (node store, objects, control API)
//! ```
//!
//! It is written against [`Host`], so production and simulation run the same circuit. Nothing here waits: a message
//! that its receiver cannot take is counted, and the job it belongs to fails (see [`Routes::overloaded`]).
//! Not here: what an actor does (`actors/*`) and how a driver does it (`src/drivers/*`).

use super::{
    extensions::{self, DeskIn, Extensions, Mounted, Native, NativeError},
    hub::HubIn,
};
use pangea_ces::{Ces, api as ces};
use pangea_chunks::{ChunkStore, api as chunks};
use pangea_compute::{
    Coordinator, Worker,
    api::{News, coordinator, worker},
    worker::is_passed_on,
};
use pangea_kernel::{Host, Options, Port, Rejected, Slot, planted};
use pangea_peers::{PeerManager, api as peers};
use pangea_plugins::{Plugins, api as plugins, extension};
use pangea_protocols::{
    JobId, PeerId, disk, files, guest,
    job::{ErrorKind, JobError, JobEvent},
    net::{self, Class},
    peers::Report,
    task::Refusal,
    wire::{Frame, Message, extension::Name, fetch::Fetch, have::Have, store::Store},
};
use pangea_sandbox::{
    Sandbox, api as sandbox,
    work::{Done, State, Work as SandboxWork},
};
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

impl Routes {
    fn on_ces(&self, out: ces::Out) {
        match out {
            ces::Out::Files(command) => self.files(command),
            ces::Out::Work(work) => {
                let job = work.job();
                self.of_job(job, self.drivers.cpu.send(work));
            }
            ces::Out::Encoded { job, index, stripe } => {
                let ces::Stripe { record, shards } = stripe;
                self.of_job(job, self.actors.uploads.send(upload::In::Encoded { job, index, record, shards }));
            }
            ces::Out::EncodedAll { job, end } => {
                self.of_job(job, self.actors.uploads.send(upload::In::EncodedAll { job, end }));
            }
            ces::Out::Need { job, stripes } => {
                self.of_job(job, self.actors.downloads.send(download::In::Need { job, stripes }));
            }
            ces::Out::Consumed { job, index } => {
                self.of_job(job, self.actors.downloads.send(download::In::Consumed { job, index }));
            }
            ces::Out::Stop { job } => {
                self.of_job(job, self.actors.downloads.send(download::In::Close { job }));
            }
            ces::Out::Index { job, index } => {
                self.hub(HubIn::Index { job, index });
            }
            ces::Out::Job(event) => {
                let job = event.job();
                match event {
                    JobEvent::Failed { .. } => {
                        self.of_job(job, self.actors.uploads.send(upload::In::SourceFailed { job }));
                        self.of_job(job, self.actors.downloads.send(download::In::Close { job }));
                    }
                    JobEvent::Done { .. } if !planted!("close-not-passed") => {
                        self.of_job(job, self.actors.downloads.send(download::In::Close { job }));
                    }
                    _ => {}
                }
                self.hub(HubIn::Job(event));
            }
        }
    }

    fn on_uploads(&self, out: upload::Out) {
        match out {
            upload::Out::Candidates { request, count, bytes, exclude } => {
                let request = request << 1 | FOR_UPLOADS;
                self.peers(peers::In::Candidates { request, count, bytes, exclude });
            }
            upload::Out::Encode { job, source, k, m, profile } => {
                self.of_job(job, self.actors.ces.send(ces::In::Encode { job, source, k, m, profile }));
            }
            upload::Out::Credit { job, stripes } => {
                self.of_job(job, self.actors.ces.send(ces::In::Credit { job, stripes }));
            }
            upload::Out::CancelEncode { job } => {
                self.of_job(job, self.actors.ces.send(ces::In::Cancel { job }));
            }
            upload::Out::Send { peer, tag, class, frame } => {
                self.send_tagged(peer, tag << TAG_BITS | TO_UPLOADS, class, frame);
            }
            upload::Out::CancelSend { peer, tag } => {
                self.network(net::Command::CancelSend { peer, tag: tag << TAG_BITS | TO_UPLOADS });
            }
            upload::Out::Report { peer, report } => {
                self.peers(peers::In::Report { peer, report });
            }
            upload::Out::Job(event) => self.hub(HubIn::Job(event)),
        }
    }

    fn on_downloads(&self, out: download::Out) {
        match out {
            download::Out::Root { job, root } => {
                self.of_job(job, self.actors.ces.send(ces::In::Root { job, root }));
            }
            download::Out::Stripe { job, index, record, shards } => {
                self.of_job(job, self.actors.ces.send(ces::In::Stripe { job, index, record, shards }));
            }
            download::Out::CancelDecode { job } => {
                self.of_job(job, self.actors.ces.send(ces::In::Cancel { job }));
            }
            download::Out::Rank { job, peers } => self.peers(peers::In::Rank { request: job.0, peers }),
            download::Out::Net(net::Command::Send { peer, tag, class, frame }) => {
                self.send_tagged(peer, tag << TAG_BITS | TO_DOWNLOADS, class, frame);
            }
            download::Out::Net(net::Command::CancelSend { peer, tag }) => {
                self.network(net::Command::CancelSend { peer, tag: tag << TAG_BITS | TO_DOWNLOADS });
            }
            download::Out::Net(command) => self.network(command),
            download::Out::Report { peer, report } => {
                self.peers(peers::In::Report { peer, report });
            }
            download::Out::Tally { job, shards, healed, hedged } => {
                self.hub(HubIn::Tally { job, shards, healed, hedged });
            }
            download::Out::Job(event) => self.hub(HubIn::Job(event)),
        }
    }

    fn on_coordinator(&self, out: coordinator::Out) {
        use coordinator::Out;
        match out {
            Out::Want { job, .. } | Out::Save { job, .. } | Out::Forget { job } | Out::News { job, .. }
                if is_passed_on(job) =>
            {
                self.on_passed_on(job, out);
            }
            Out::Trace { job, .. } | Out::Log { job, .. } if is_passed_on(job) => {}
            Out::Send { peer, tag, class, frame } => {
                self.send_tagged(peer, tag << TAG_BITS | TO_COORDINATOR, class, frame);
            }
            Out::Candidates { request, count, exclude } => {
                let request = request << 1 | FOR_COORDINATOR;
                self.peers(peers::In::Candidates { request, count, bytes: 0, exclude });
            }
            Out::Report { peer, report } => self.peers(peers::In::Report { peer, report }),
            Out::Trace { .. } | Out::Log { .. } | Out::News { news: News::Progress(_) | News::Queued { .. }, .. } => {
                counted("jobs", self.drivers.jobs.send(out));
            }
            Out::Began => {
                counted("worker", self.actors.worker.send(worker::In::CoordinatorBegan));
                counted("jobs", self.drivers.jobs.send(out));
            }
            Out::Want { job, .. } | Out::Save { job, .. } | Out::Forget { job } | Out::News { job, .. } => {
                if self.drivers.jobs.send(out).is_err() {
                    let reason = "the node is overloaded: run fewer jobs at once".to_owned();
                    counted("coordinator", self.actors.coordinator.send(coordinator::In::InputFailed { job, reason }));
                }
            }
        }
    }

    /// A job of this node's worker: nothing of it is kept in files.
    fn on_passed_on(&self, job: JobId, out: coordinator::Out) {
        use coordinator::Out;
        let message = match out {
            Out::Want { index, .. } => worker::In::Want { job, index },
            Out::News { news: News::Done { outputs, receipt, .. }, .. } => {
                let receipts = receipt.results.iter().map(|claim| claim.receipt);
                worker::In::Returned { job, results: Some(outputs.into_iter().zip(receipts).collect()) }
            }
            Out::News { news: News::Failed(_), .. } => worker::In::Returned { job, results: None },
            _ => return,
        };
        counted("worker", self.actors.worker.send(message));
    }

    fn on_worker(&self, out: worker::Out) {
        match out {
            worker::Out::PassOn { job, spec } => {
                if self.actors.coordinator.send(coordinator::In::Submit { job, spec }).is_err() {
                    counted("worker", self.actors.worker.send(worker::In::Returned { job, results: None }));
                }
            }
            worker::Out::Input { job, index, bytes } => {
                counted("coordinator", self.actors.coordinator.send(coordinator::In::Input { job, index, bytes }));
            }
            worker::Out::TakeBack { job } => {
                counted("coordinator", self.actors.coordinator.send(coordinator::In::Cancel { job }));
            }
            worker::Out::Send { peer, class, frame, .. } => self.send(peer, class, frame),
            worker::Out::Install { module, bytes } => self.sandbox(sandbox::In::Install { module, bytes }),
            worker::Out::Run(run) => self.sandbox(sandbox::In::Run(run)),
            worker::Out::Cancel { task } => self.sandbox(sandbox::In::Cancel { task }),
            worker::Out::Report { peer, report } => self.peers(peers::In::Report { peer, report }),
        }
    }

    fn on_sandbox(&self, out: sandbox::Out) {
        use sandbox::Out;
        let message = match out {
            Out::Work(work) => return self.work(work),
            Out::Began => worker::In::Began,
            Out::Installed { module, result } => worker::In::Installed { module, result },
            Out::Done { task, outcome, receipt, .. } => worker::In::Done { task, outcome, receipt },
            Out::Refused { task, refusal } => worker::In::Refused { task, refusal },
            Out::Stopped { task, why: sandbox::Stop::Late } => worker::In::Late { task },
            Out::Line { task, line } => worker::In::Line { task, line },
            Out::Started { .. } | Out::Stopped { why: sandbox::Stop::Cancelled, .. } => return,
        };
        counted("worker", self.actors.worker.send(message));
    }

    fn on_chunks(&self, out: chunks::Out) {
        match out {
            chunks::Out::Disk(command) => self.disk(command),
            chunks::Out::Send { peer, class, frame } => self.send(peer, class, frame),
            chunks::Out::Provide { cid } => self.network(net::Command::Provide { cid }),
            chunks::Out::Unprovide { cid } => self.network(net::Command::Unprovide { cid }),
            chunks::Out::Violation { peer, what } => {
                tracing::warn!(peer = %peer, what, "protocol violation");
                self.peers(peers::In::Report { peer, report: Report::Violation });
            }
            chunks::Out::Status { request, status } => self.hub(HubIn::Chunks { request, status }),
        }
    }

    fn on_peers(&self, out: peers::Out) {
        match out {
            peers::Out::Net(net::Command::Send { peer, class, frame, .. }) => self.send(peer, class, frame),
            peers::Out::Net(command) => self.network(command),
            peers::Out::Candidates { request, candidates } => {
                let (of, request) = (request & 1, request >> 1);
                if of == FOR_COORDINATOR {
                    let found = coordinator::In::Candidates { request, candidates };
                    counted("coordinator", self.actors.coordinator.send(found));
                } else {
                    counted("uploads", self.actors.uploads.send(upload::In::Candidates { request, candidates }));
                }
            }
            peers::Out::Ranked { request, candidates } => {
                let ranked = download::In::Ranked { job: JobId(request), candidates };
                counted("downloads", self.actors.downloads.send(ranked));
            }
            peers::Out::Allow { .. } if planted!("allow-not-passed") => {}
            peers::Out::Allow { peer, allowed } => {
                counted("chunks", self.actors.chunks.send(chunks::In::Allow { peer, allowed }));
                counted("worker", self.actors.worker.send(worker::In::Allow { peer, allowed }));
            }
            peers::Out::Save { records } => self.hub(HubIn::SavePeers { records }),
            peers::Out::Listed { request, peers } => self.hub(HubIn::Peers { request, peers }),
            peers::Out::Connected { count } => self.hub(HubIn::Connected { count }),
        }
    }

    fn on_plugins(&self, out: plugins::Out) {
        match out {
            plugins::Out::Guest(command) => counted("guests", self.drivers.guests.send(command)),
            plugins::Out::From { name, out: extension::Out::Send { peer, bytes }, .. } => {
                self.send(peer, Class::Control, extensions::frame(name, bytes));
            }
            out => {
                let Err(rejected) = self.drivers.desk.send(DeskIn::Plugins(out)) else { return };
                // A plugin waits for these: it hears that nothing came of them.
                let overloaded = || "the node is overloaded".to_owned();
                let event = match rejected.into_inner() {
                    DeskIn::Plugins(plugins::Out::Save { name, number, .. }) => {
                        plugins::In::Saved { name, number, error: Some(overloaded()) }
                    }
                    DeskIn::Plugins(plugins::Out::From { name, out, .. }) => {
                        let Some(request) = out.request() else { return };
                        plugins::In::To { name, event: extension::In::Failed { request, reason: overloaded() } }
                    }
                    _ => return,
                };
                counted("plugins", self.actors.extensions.plugins.send(event));
            }
        }
    }

    fn on_native(&self, name: &Name, out: extension::Out) {
        match out {
            extension::Out::Send { peer, bytes } => {
                self.send(peer, Class::Control, extensions::frame(name.clone(), bytes));
            }
            out => counted("desk", self.drivers.desk.send(DeskIn::Native { name: name.clone(), out })),
        }
    }

    /// A frame whose fate nobody waits for: an answer to a peer, which asks again if it is lost.
    fn send(&self, peer: PeerId, class: Class, frame: Frame) {
        self.network(net::Command::Send { peer, tag: TO_NOBODY, class, frame });
    }

    /// A frame whose sender hears how it went, also if the network's queue is full.
    fn send_tagged(&self, peer: PeerId, tag: u64, class: Class, frame: Frame) {
        if peer == self.me {
            self.to_myself(tag, frame);
        } else if self.drivers.network.send(net::Command::Send { peer, tag, class, frame }).is_err() {
            let error = net::SendError::QueueFull;
            counted("sender", self.actors.on_sent(net::Event::SendFailed { peer, tag, error }));
        }
    }

    fn network(&self, command: net::Command) {
        match command {
            net::Command::Send { peer, tag, frame, .. } if peer == self.me => self.to_myself(tag, frame),
            net::Command::Dial { peer, .. } if peer == self.me => {
                counted("downloads", self.actors.downloads.send(download::In::Connected { peer }));
            }
            command => counted("network", self.drivers.network.send(command)),
        }
    }

    /// A node may hold shards of what it reads: such frames take the same way as a peer's, without a socket.
    fn to_myself(&self, tag: u64, frame: Frame) {
        let peer = self.me;
        if self.actors.on_frame(net::Event::Received { peer, frame }).is_err() {
            let error = net::SendError::QueueFull;
            counted("self", self.actors.on_sent(net::Event::SendFailed { peer, tag, error }));
        } else {
            counted("self", self.actors.on_sent(net::Event::Sent { peer, tag }));
        }
    }

    fn disk(&self, command: disk::Command) {
        // A full disk queue: the chunk store hears of it as a failed append or read, and tells the peer "busy".
        let Err(rejected) = self.drivers.disk.send(command) else { return };
        let busy = || disk::Failure::Io("the disk queue is full".to_owned());
        let event = match rejected.into_inner() {
            disk::Command::Append { tag, .. } => disk::Event::AppendFailed { tag, error: busy() },
            disk::Command::Read { tag, .. } => disk::Event::ReadFailed { tag, error: busy() },
            disk::Command::Contains { tag, shards } => {
                disk::Event::Contains { tag, present: vec![0; shards.len().div_ceil(8)] }
            }
            disk::Command::Delete { tag, .. } => disk::Event::DeleteFailed { tag, error: busy() },
            // Leases are looked at again at the next interval.
            disk::Command::Expire { .. } => return,
        };
        counted("chunks", self.actors.chunks.send(chunks::In::Disk(event)));
    }

    fn files(&self, command: files::Command) {
        let job = match &command {
            files::Command::OpenSource { job, .. }
            | files::Command::Read { job, .. }
            | files::Command::OpenSink { job, .. }
            | files::Command::Write { job, .. }
            | files::Command::Finish { job }
            | files::Command::Close { job } => *job,
        };
        self.of_job(job, self.drivers.files.send(command));
    }

    fn peers(&self, message: peers::In) {
        counted("peers", self.actors.peers.send(message));
    }

    /// What the sandbox cannot take is refused in its name, so that no task waits for ever.
    fn sandbox(&self, message: sandbox::In) {
        let Err(rejected) = self.actors.sandbox.send(message) else { return };
        let refusal = Refusal::Busy { waiting: 0 };
        let answer = match rejected.into_inner() {
            sandbox::In::Run(run) => worker::In::Refused { task: run.task, refusal },
            sandbox::In::Install { module, .. } => worker::In::Installed { module, result: Err(refusal) },
            _ => return,
        };
        counted("worker", self.actors.worker.send(answer));
    }

    /// The same for what the workers of the sandbox cannot take.
    fn work(&self, work: SandboxWork) {
        let Err(rejected) = self.drivers.sandbox.send(work) else { return };
        let refusal = Refusal::Node { message: "the queue of the sandbox is full".to_owned() };
        let work = rejected.into_inner();
        let done = match (work.task(), work) {
            (Some(task), SandboxWork::Begin(_) | SandboxWork::Continue { .. }) => {
                Done::Sliced { task, lines: Vec::new(), state: State::Refused(refusal) }
            }
            (_, SandboxWork::Prepare { module, .. }) => Done::Prepared { module, result: Err(refusal) },
            _ => return,
        };
        counted("sandbox", self.actors.sandbox.send(sandbox::In::Worked(done)));
    }

    fn hub(&self, message: HubIn) {
        counted("hub", self.drivers.hub.send(message));
    }

    /// Delivers a message of a job. If its receiver cannot take it, the job could hang: it fails instead.
    fn of_job<M>(&self, job: JobId, sent: Result<(), Rejected<M>>) {
        if sent.is_err() {
            self.overloaded(job);
        }
    }

    /// A mailbox was full in the middle of a job: everyone is told to let go of it, and the user hears why.
    fn overloaded(&self, job: JobId) {
        counted("ces", self.actors.ces.send(ces::In::Cancel { job }));
        counted("uploads", self.actors.uploads.send(upload::In::SourceFailed { job }));
        counted("downloads", self.actors.downloads.send(download::In::Close { job }));
        let error = JobError::new(ErrorKind::Failed, "the node is overloaded: run fewer jobs at once");
        self.hub(HubIn::Job(JobEvent::Failed { job, error }));
    }
}

/// Counts and logs what a full mailbox refused; the sender can do nothing about it.
fn counted<M>(receiver: &'static str, sent: Result<(), Rejected<M>>) {
    if let Err(Rejected::Full(_)) = sent {
        tracing::warn!(receiver, "mailbox full: message dropped");
    }
}

impl Actors {
    fn on_network(&self, hub: &Port<HubIn>, event: net::Event) -> Result<(), Rejected<net::Event>> {
        use net::Event as E;
        match &event {
            E::Sent { .. } | E::SendFailed { .. } => return self.on_sent(event),
            E::Providers { .. } if planted!("providers-not-passed") => return Ok(()),
            E::Providers { query, providers, done } => {
                let (query, providers, done) = (*query, providers.clone(), *done);
                return hand_back(self.downloads.send(download::In::Providers { query, providers, done }), event);
            }
            E::Connected { peer, .. } => {
                self.extensions.on_presence(*peer, true);
                counted("downloads", self.downloads.send(download::In::Connected { peer: *peer }));
            }
            E::Disconnected { peer, .. } => {
                self.extensions.on_presence(*peer, false);
                if !planted!("disconnected-not-passed") {
                    counted("uploads", self.uploads.send(upload::In::Disconnected { peer: *peer }));
                }
                counted("downloads", self.downloads.send(download::In::Disconnected { peer: *peer }));
                counted("chunks", self.chunks.send(chunks::In::Disconnected { peer: *peer }));
                counted("coordinator", self.coordinator.send(coordinator::In::Disconnected { peer: *peer }));
                counted("worker", self.worker.send(worker::In::Disconnected { peer: *peer }));
            }
            E::DialFailed { peer, .. } => {
                counted("downloads", self.downloads.send(download::In::DialFailed { peer: *peer }));
            }
            E::Listening { address } => counted("hub", hub.send(HubIn::Listening { address: address.clone() })),
            E::NotListening { address } => counted("hub", hub.send(HubIn::NotListening { address: address.clone() })),
            E::Received { .. } | E::Garbage { .. } | E::Discovered { .. } | E::Rtt { .. } => {}
        }
        hand_back(self.peers.send(peers::In::Net(event.clone())), event)
    }

    /// The fate of a frame goes to the actor that sent it.
    fn on_sent(&self, event: net::Event) -> Result<(), Rejected<net::Event>> {
        let (peer, tag, failed) = match &event {
            net::Event::Sent { peer, tag } => (*peer, *tag, None),
            net::Event::SendFailed { peer, tag, error } => (*peer, *tag, Some(*error)),
            _ => return Ok(()),
        };
        let (sender, tag) = (tag & ((1 << TAG_BITS) - 1), tag >> TAG_BITS);
        match (sender, failed) {
            (TO_UPLOADS, None) => hand_back(self.uploads.send(upload::In::Sent { peer, tag }), event),
            (TO_UPLOADS, Some(_)) if planted!("send-failed-swallowed") => Ok(()),
            (TO_UPLOADS, Some(error)) => {
                hand_back(self.uploads.send(upload::In::SendFailed { peer, tag, error }), event)
            }
            (TO_DOWNLOADS, None) => hand_back(self.downloads.send(download::In::Sent { peer, tag }), event),
            (TO_DOWNLOADS, Some(error)) => {
                hand_back(self.downloads.send(download::In::SendFailed { peer, tag, error }), event)
            }
            (TO_COORDINATOR, Some(error)) => {
                hand_back(self.coordinator.send(coordinator::In::SendFailed { peer, tag, error }), event)
            }
            _ => Ok(()),
        }
    }

    /// Frames go to whoever plays that side of the protocol.
    fn on_frame(&self, event: net::Event) -> Result<(), Rejected<net::Event>> {
        let net::Event::Received { peer, frame } = event else { return Ok(()) };
        match &frame.message {
            Message::Store(Store::Reserve { .. } | Store::Put { .. } | Store::Release { .. } | Store::Drop { .. })
            | Message::Fetch(Fetch::Get { .. } | Fetch::Cancel { .. })
            | Message::Have(Have::Want { .. }) => self.frame_to_chunks(peer, frame),
            Message::Store(Store::Reserved { .. } | Store::Stored { .. } | Store::NotStored { .. }) => {
                self.frame_to_uploads(peer, frame)
            }
            // A refusal answers the uploader's `Reserve` or the downloader's `Drop`: each knows its own numbers.
            Message::Store(Store::Refused { .. }) => {
                counted("downloads", self.downloads.send(download::In::Received { peer, frame: frame.clone() }));
                self.frame_to_uploads(peer, frame)
            }
            Message::Store(Store::Dropped { .. })
            | Message::Fetch(Fetch::Found { .. } | Fetch::Missing { .. })
            | Message::Have(Have::Have { .. }) => {
                deliver(&self.downloads, download::In::Received { peer, frame }, |m| {
                    let download::In::Received { peer, frame } = m else { return None };
                    Some((peer, frame))
                })
            }
            Message::Pex(_) => deliver(&self.peers, peers::In::Pex { peer, frame }, |m| {
                let peers::In::Pex { peer, frame } = m else { return None };
                Some((peer, frame))
            }),
            Message::Compute(message) if message.is_for_worker() => {
                deliver(&self.worker, worker::In::Received { peer, frame }, |m| {
                    let worker::In::Received { peer, frame } = m else { return None };
                    Some((peer, frame))
                })
            }
            Message::Compute(_) => deliver(&self.coordinator, coordinator::In::Received { peer, frame }, |m| {
                let coordinator::In::Received { peer, frame } = m else { return None };
                Some((peer, frame))
            }),
            Message::Extension(_) => {
                self.extensions.on_frame(peer, frame);
                Ok(())
            }
        }
    }

    fn frame_to_chunks(&self, peer: PeerId, frame: Frame) -> Result<(), Rejected<net::Event>> {
        deliver(&self.chunks, chunks::In::Received { peer, frame }, |m| {
            let chunks::In::Received { peer, frame } = m else { return None };
            Some((peer, frame))
        })
    }

    fn frame_to_uploads(&self, peer: PeerId, frame: Frame) -> Result<(), Rejected<net::Event>> {
        deliver(&self.uploads, upload::In::Received { peer, frame }, |m| {
            let upload::In::Received { peer, frame } = m else { return None };
            Some((peer, frame))
        })
    }
}

/// Sends a message that carries a frame; `frame_of` takes the frame out of it again if it is not taken.
fn deliver<M>(
    port: &Port<M>,
    message: M,
    frame_of: impl FnOnce(M) -> Option<(PeerId, Frame)>,
) -> Result<(), Rejected<net::Event>> {
    let Err(rejected) = port.send(message) else { return Ok(()) };
    let full = matches!(rejected, Rejected::Full(_));
    // A port hands back what it was given, so there is a frame.
    let Some((peer, frame)) = frame_of(rejected.into_inner()) else { return Ok(()) };
    let event = net::Event::Received { peer, frame };
    Err(if full { Rejected::Full(event) } else { Rejected::Closed(event) })
}

fn hand_back<M>(sent: Result<(), Rejected<M>>, event: net::Event) -> Result<(), Rejected<net::Event>> {
    sent.map_err(|rejected| rewrap(&rejected, event))
}

fn rewrap<M>(rejected: &Rejected<M>, event: net::Event) -> Rejected<net::Event> {
    match rejected {
        Rejected::Full(_) => Rejected::Full(event),
        Rejected::Closed(_) => Rejected::Closed(event),
    }
}
