//! A running node: [`Node::start`] brings drivers and actors up, [`Node::stop`] takes them down in the right order.
//!
//! Which message goes where stands in [`wiring`]; what can be asked of a node in [`handle`]; jobs live in [`hub`].

mod addresses;
pub mod extensions;
pub mod handle;
pub mod hub;
mod run;
pub mod wiring;

pub use handle::NodeHandle;
pub use run::{RunError, run};

use crate::{
    config::Config,
    drivers::{
        cpu::CpuPool,
        disk::{self, Disk},
        files::{FilesDriver, FilesHandle},
        jobs::{JobsDriver, JobsError, JobsHandle},
        network::{self, NetworkConfig, NetworkHandle},
        sandbox::{SandboxDriver, plugins},
    },
    home::{Home, HomeError, HomeLock},
    identity::{Identity, IdentityError, entropy},
    store::{StoreThread, StoreThreadError},
};
use extensions::{
    DeskIn, Native, NativeError,
    desk::{self, Desk},
    services::Storing,
};
use hub::{About, Hub, HubIn};
use pangea_ces::Ces;
use pangea_chunks::ChunkStore;
use pangea_compute::{Coordinator, Worker, worker};
use pangea_kernel::{
    Core, Port, Rejected, Seed,
    actix_host::{ActixHost, ActorThread, ActorThreadError, HostConfig},
};
use pangea_peers::{PeerManager, api as peers};
use pangea_plugins::{Plugins, extension};
use pangea_protocols::{Address, PeerId, net, task};
use pangea_sandbox::{Sandbox, pass, sandbox};
use pangea_transfer::{download::Downloader, upload::Uploader};
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, sync::mpsc, task::JoinHandle};
use wiring::{Actors, Cores, Drivers, Mailboxes};

/// Requests and actor messages that may wait for the hub.
const HUB_QUEUE_MAX: usize = 8192;
/// Places of it that only news may take without which a job or its user would wait for ever.
const HUB_QUEUE_RESERVED: usize = 1024;
/// Threads for sockets and the hub.
const NETWORK_THREADS: usize = 2;
/// Threads that look at folders for plugins; they are there when they are needed.
const BLOCKING_THREADS_MAX: usize = 2;
/// How long extensions may take to save what they know when the node stops.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its directory.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Its key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Its sockets.
    #[error(transparent)]
    Network(#[from] network::NetworkError),
    /// The shards it holds.
    #[error(transparent)]
    Disk(#[from] disk::OpenError),
    /// Its database.
    #[error(transparent)]
    Store(#[from] StoreThreadError),
    /// Its actors.
    #[error(transparent)]
    Actors(#[from] ActorThreadError),
    /// What its user has had computed.
    #[error(transparent)]
    Jobs(#[from] JobsError),
    /// An actor that was added to it.
    #[error(transparent)]
    Native(#[from] NativeError),
    /// Threads.
    #[error("cannot start a thread: {0}; are the process' limits on threads or open files too low?")]
    Thread(#[from] io::Error),
}

/// A running node. Dropping it without [`Node::stop`] ends it abruptly, which loses nothing that was acknowledged.
pub struct Node {
    handle: NodeHandle,
    hub: JoinHandle<()>,
    network: NetworkHandle,
    actors: ActorThread,
    disk: Disk,
    files: FilesHandle,
    cpu: CpuPool,
    sandbox: SandboxDriver,
    jobs: JobsDriver,
    jobs_handle: JobsHandle,
    plugins: SandboxDriver,
    store: StoreThread,
    runtime: Runtime,
    escalated: mpsc::Receiver<String>,
    addresses: Vec<Address>,
    peer: PeerId,
    _lock: HomeLock,
}

/// What is started before the actors can be wired to it.
struct Started {
    network: NetworkHandle,
    network_port: Port<net::Command>,
    disk: Disk,
    files: FilesHandle,
    cpu: CpuPool,
    sandbox: SandboxDriver,
    jobs: JobsDriver,
    jobs_handle: JobsHandle,
    plugins: SandboxDriver,
}

/// A node that is not started yet: actors of your own can be added to it.
pub struct Builder {
    home: Home,
    config: Config,
    natives: Vec<Result<Native<ActixHost>, NativeError>>,
}

impl Builder {
    /// Adds an actor: a core over the types of [`pangea_plugins::extension`]. Its messages are routed, it is watched,
    /// restarted and counted as every other. `name` is what it is called in metrics, on the wire (`/pangea/x/NAME/1`) and by
    /// `pangea actor ask`; `build` makes its core, and makes it again after a panic.
    #[must_use]
    pub fn actor<C>(mut self, name: &'static str, build: impl FnMut() -> C + Send + 'static) -> Self
    where
        C: Core<In = extension::In, Out = extension::Out>,
    {
        self.natives.push(Native::new(name, build));
        self
    }

    /// Starts the node.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub fn start(self) -> Result<Node, StartError> {
        let natives = self.natives.into_iter().collect::<Result<_, _>>()?;
        Node::start_with(&self.home, &self.config, natives)
    }

    /// Runs the node in the foreground as `pangea node` does: with its control API, until a signal or `pangea stop`.
    ///
    /// # Errors
    /// It could not start, or an actor failed too often.
    pub fn run(self) -> Result<(), RunError> {
        let home = self.home.clone();
        run::run_built(&home, false, || self.start())
    }
}

impl Node {
    /// A node in `home`, which `init` has prepared; not started yet.
    ///
    /// With guests in a process of their own, which is the default, the program that calls this is started again for them:
    /// its `main` begins with [`crate::cli::sandbox_worker`]. Without that, guests run in threads of it.
    pub fn builder(home: Home, config: Config) -> Builder {
        Builder { home, config, natives: Vec::new() }
    }

    /// Starts a node in `home`, which `init` has prepared.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub fn start(home: &Home, config: &Config) -> Result<Self, StartError> {
        Self::start_with(home, config, Vec::new())
    }

    fn start_with(home: &Home, config: &Config, natives: Vec<Native<ActixHost>>) -> Result<Self, StartError> {
        let started = Instant::now();
        home.create()?;
        let lock = home.lock()?;
        let identity = Identity::load(home)?;
        let store = StoreThread::start(&home.store_file())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(NETWORK_THREADS)
            .thread_name("pangea-net")
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .enable_all()
            .build()?;
        let (hub_port, inbox) = hub_port();
        let (tell, escalated) = mpsc::channel(1);
        let hub = hub_port.clone();
        let (desk_port, extensions, inboxes) = desk::queues();
        let desk = desk_port.clone();
        let hosting = HostConfig::new(Seed::new(entropy()?))
            .record_to(home.flights_dir())
            .on_restart(move |actor| {
                let _ = hub.send(HubIn::Restarted { actor });
                let _ = desk.send(DeskIn::Restarted { actor });
            })
            .on_escalation(move |actor, reason| {
                let _ = tell.try_send(format!("the actor `{actor}` failed too often: {reason}"));
            });
        let registry = hosting.registry();
        let starter = Starter {
            home: home.clone(),
            config: config.clone(),
            identity: identity.clone(),
            runtime: runtime.handle().clone(),
            hub: hub_port,
            desk: desk_port,
            natives,
        };
        let (actors, wired) = ActorThread::start(hosting, move |host| starter.wire(host))?;
        let (ports, drivers) = wired?;
        let Started { network, network_port, disk, files, cpu, sandbox, jobs, jobs_handle, plugins } = drivers;
        Self::greet(&ports, &store, config);
        let metered = jobs_handle.clone();
        let about = About {
            peer: identity.peer(),
            home: home.dir().to_owned(),
            started,
            metrics: Arc::new(move || registry.render() + &metered.metrics()),
        };
        let (requests_to, requests) = mpsc::channel(HUB_QUEUE_MAX);
        let handle = NodeHandle::new(requests_to).with_extensions(extensions);
        let storing = Storing { profile: config.put.profile, lease: config.put.lease.0 };
        let (to_extensions, to_network) = (ports.extensions.clone(), network_port.clone());
        let desk = Desk::new(identity.peer(), to_extensions, to_network, handle.clone(), store.clone(), storing);
        runtime.spawn(desk.run(inboxes));
        let hub = runtime.spawn(Hub::run(about, ports, network_port, files.clone(), store.clone(), requests, inbox));
        let addresses = addresses::of(network.listening_on());
        let peer = identity.peer();
        Ok(Self {
            handle,
            hub,
            network,
            actors,
            disk,
            files,
            cpu,
            sandbox,
            jobs,
            jobs_handle,
            plugins,
            store,
            runtime,
            escalated,
            addresses,
            peer,
            _lock: lock,
        })
    }

    /// Tells the peer manager what is remembered, and whom to stay connected to.
    fn greet(ports: &Actors, store: &StoreThread, config: &Config) {
        let records = store.call_blocking(|store| store.load_peers()).unwrap_or_else(|error| {
            tracing::warn!(%error, "known peers could not be read");
            Vec::new()
        });
        let _ = ports.peers.send(peers::In::Restored { records });
        let bootstrap = config.network.bootstrap.iter().map(|known| (known.peer, vec![known.address.clone()]));
        let _ = ports.peers.send(peers::In::Bootstrap { peers: bootstrap.collect() });
    }

    /// Asks this node.
    pub fn handle(&self) -> &NodeHandle {
        &self.handle
    }

    /// Asks for computations.
    pub fn jobs(&self) -> &JobsHandle {
        &self.jobs_handle
    }

    /// Who this is.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Waits until the node is asked to stop (`Ok`), or an actor has failed too often, or the hub or the network driver at
    /// all (`Err` with the reason).
    pub fn wait(&mut self) -> Result<(), String> {
        let (hub, escalated, network) = (&mut self.hub, &mut self.escalated, &self.network);
        self.runtime.block_on(async {
            tokio::select! {
                ended = hub => ended.map_err(|panic| format!("the hub failed: {panic}")),
                Some(reason) = escalated.recv() => Err(reason),
                reason = network.failed() => Err(format!("the network driver failed: {reason}")),
            }
        })
    }

    /// Stops everything: peers are told, the disk is synced, threads are joined.
    pub fn stop(self) {
        let Self { handle, network, actors, disk, files, cpu, plugins, sandbox, jobs, store, runtime, .. } = self;
        runtime.block_on(async {
            if tokio::time::timeout(DRAIN_WITHIN, handle.drain_extensions()).await.is_err() {
                tracing::warn!("not every plugin has saved what it knows in time");
            }
            let _ = handle.shutdown().await;
            network.shutdown().await;
        });
        if let Err(error) = actors.stop() {
            tracing::error!(%error, "actors did not stop well");
        }
        files.shutdown();
        cpu.join();
        sandbox.join();
        jobs.stop();
        plugins.join();
        disk.close();
        store.close();
        runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    }
}

/// What the actors' thread needs to bring the node up.
struct Starter {
    home: Home,
    config: Config,
    identity: Identity,
    runtime: tokio::runtime::Handle,
    hub: Port<HubIn>,
    desk: Port<DeskIn>,
    natives: Vec<Native<ActixHost>>,
}

impl Starter {
    /// Mailboxes first, so that drivers have somewhere to report to; then drivers; then the actors themselves.
    fn wire(mut self, host: &ActixHost) -> Result<(Actors, Started), StartError> {
        let mailboxes = Mailboxes::with_natives(host, std::mem::take(&mut self.natives))?;
        let actors = mailboxes.actors();
        let (files_in, ces) = (actors.ces.clone(), actors.ces.clone());
        let (disk, disk_port) = Disk::open(
            &self.home.shards_dir(),
            disk::Options::for_quota(self.config.storage.quota.0),
            actors.chunks.map(pangea_chunks::api::In::Disk),
        )?;
        let (files_port, files) = FilesDriver::start(files_in.map(pangea_ces::api::In::Files), Default::default())?;
        let (cpu, cpu_port) = CpuPool::start(cpu_threads(), ces)?;
        let compute = &self.config.compute;
        let (sandbox, sandbox_port) = SandboxDriver::start(compute, actors.sandbox.clone())?;
        let coordinator = actors.coordinator.clone();
        let (jobs, jobs_handle, jobs_port) = JobsDriver::start(&self.home.jobs_dir(), compute.enabled, coordinator)?;
        let called = actors.extensions.plugins.map(pangea_plugins::api::In::Guest);
        let (plugins, plugins_port) = plugins::start(compute, called)?;
        let (network, network_port) = self.start_network(mailboxes.network_events(self.hub.clone()))?;
        let drivers = Drivers {
            network: network_port.clone(),
            disk: disk_port,
            files: files_port,
            cpu: cpu_port,
            sandbox: sandbox_port,
            jobs: jobs_port,
            meter: jobs.meter(),
            hub: self.hub.clone(),
            guests: plugins_port,
            desk: self.desk.clone(),
        };
        mailboxes.start(host, self.identity.peer(), drivers, Recipe { identity: self.identity, config: self.config });
        let started = Started { network, network_port, disk, files, cpu, sandbox, jobs, jobs_handle, plugins };
        Ok((actors, started))
    }

    /// The network lives on the network threads; this thread waits for its start.
    fn start_network(&self, events: Port<net::Event>) -> Result<(NetworkHandle, Port<net::Command>), StartError> {
        let config = NetworkConfig {
            listen: self.config.network.listen.iter().map(|listen| listen.0).collect(),
            mdns: self.config.network.mdns,
            external: self.config.network.external.clone(),
            ..NetworkConfig::default()
        };
        let (done, started) = std::sync::mpsc::sync_channel(1);
        let secret = self.identity.signing_key().to_bytes();
        self.runtime.spawn(async move {
            let _ = done.send(network::start(secret, config, events).await);
        });
        let stopped = || StartError::Thread(io::Error::other("the network threads stopped"));
        Ok(started.recv().map_err(|_| stopped())??)
    }
}

/// How the cores of this node are made.
#[derive(Clone)]
struct Recipe {
    identity: Identity,
    config: Config,
}

impl Cores for Recipe {
    fn ces(&self) -> Ces {
        Ces::new()
    }

    fn chunks(&self) -> ChunkStore {
        let storage = &self.config.storage;
        let config = pangea_chunks::Config {
            quota_bytes: storage.quota.0,
            maintenance_bytes: disk::Options::for_quota(storage.quota.0).maintenance_bytes(),
            lease_max: storage.lease_max.0,
            ..pangea_chunks::Config::default()
        };
        ChunkStore::new(self.identity.signing_key().clone(), config)
    }

    fn peers(&self) -> PeerManager {
        let network = &self.config.network;
        let config = pangea_peers::Config {
            target: network.peers_target as usize,
            max: network.peers_max as usize,
            bootstrap: network.bootstrap.iter().map(|known| (known.peer, vec![known.address.clone()])).collect(),
            allow: network.allow.iter().map(|peer| peer.0).collect(),
            deny: network.deny.iter().map(|peer| peer.0).collect(),
            ..pangea_peers::Config::default()
        };
        PeerManager::new(self.identity.signing_key().clone(), config)
    }

    fn uploads(&self) -> Uploader {
        Uploader::new(self.identity.peer(), self.identity.signing_key().clone(), Default::default())
    }

    fn downloads(&self) -> Downloader {
        Downloader::new(self.identity.peer())
    }

    fn coordinator(&self) -> Coordinator {
        let key = self.identity.signing_key().clone();
        Coordinator::new(self.identity.peer(), key, pass::VERSION, Default::default())
    }

    fn worker(&self) -> Worker {
        let compute = &self.config.compute;
        let defaults = worker::Limits::default();
        let limits = worker::Limits {
            enabled: compute.enabled,
            slots: u16::try_from(compute.threads).unwrap_or(u16::MAX),
            task: task::Limits { memory_bytes: compute.task_bytes(), ..defaults.task },
            ..defaults
        };
        Worker::new(self.identity.peer(), self.identity.signing_key().clone(), limits)
    }

    fn sandbox(&self) -> Sandbox {
        // The worker has no more tasks there than it has slots: none waits for an instance.
        let slices_max = self.config.compute.threads as usize;
        Sandbox::new(sandbox::Config { slices_max, running_max: 2 * slices_max, ..sandbox::Config::default() })
    }

    fn plugins(&self) -> Plugins {
        Plugins::new(self.identity.peer())
    }
}

fn cpu_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn hub_port() -> (Port<HubIn>, mpsc::Receiver<HubIn>) {
    let (sender, receiver) = mpsc::channel(HUB_QUEUE_MAX);
    let port = Port::new(move |message: HubIn| {
        if message.may_be_lost() && sender.capacity() <= HUB_QUEUE_RESERVED {
            return Err(Rejected::Full(message));
        }
        sender.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(message) => Rejected::Full(message),
            mpsc::error::TrySendError::Closed(message) => Rejected::Closed(message),
        })
    });
    (port, receiver)
}
