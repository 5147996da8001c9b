//! [`ActixHost`]: the production [`Host`], every actor an actix actor on the thread that makes it.
//!
//! It starts nothing of its own: actors run on the `LocalSet` or arbiter that [`Host::start`] is called on, also under
//! a paused runtime without I/O. [`ActorThread`] is the thread that a node runs its actors on. Drivers run elsewhere.

use crate::{
    clock::{Calendar, Clock},
    core::Core,
    draw::Seed,
    host::{Host, Options, Slot},
    metrics::{ActorMetrics, Registry},
    port::Port,
    shell::{self, OnEscalation, OnRestart, Shell, Surroundings},
};
use actix::{Addr, AsyncContext, Context, System};
use std::{io, path::PathBuf, sync::Arc, sync::mpsc, thread};

/// What a host is made from.
#[derive(Clone)]
pub struct HostConfig {
    seed: Seed,
    calendar: Calendar,
    flight_dir: Option<PathBuf>,
    on_escalation: OnEscalation,
    on_restart: OnRestart,
    registry: Registry,
}

impl HostConfig {
    /// `seed` is the node's: 32 bytes of entropy in production. Nothing is recorded, escalations are only logged.
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            calendar: Calendar::System,
            flight_dir: None,
            on_escalation: Arc::new(|_, _| ()),
            on_restart: Arc::new(|_| ()),
            registry: Registry::default(),
        }
    }

    /// Writes the last events of a core that panics to this directory, see [`crate::recorder`].
    pub fn record_to(mut self, dir: impl Into<PathBuf>) -> Self {
        self.flight_dir = Some(dir.into());
        self
    }

    /// Calls `tell(actor, reason)`, on the actors' thread, when an actor failed too often and was stopped.
    pub fn on_escalation(mut self, tell: impl Fn(&'static str, &str) + Send + Sync + 'static) -> Self {
        self.on_escalation = Arc::new(tell);
        self
    }

    /// Calls `tell(actor)`, on the actors' thread, when a core panicked and will be rebuilt: whoever waits for something
    /// that the old core knew waits in vain.
    pub fn on_restart(mut self, tell: impl Fn(&'static str) + Send + Sync + 'static) -> Self {
        self.on_restart = Arc::new(tell);
        self
    }

    /// Takes calendar time from elsewhere than the machine's clock.
    pub fn calendar(mut self, calendar: Calendar) -> Self {
        self.calendar = calendar;
        self
    }

    /// The numbers of all actors of the host.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }
}

/// Runs actors on the current thread.
pub struct ActixHost {
    seed: Seed,
    registry: Registry,
    around: Arc<Surroundings>,
}

impl ActixHost {
    /// To be called inside the runtime whose clock the actors shall follow.
    pub fn new(config: HostConfig) -> Self {
        let HostConfig { seed, calendar, flight_dir, on_escalation, on_restart, registry } = config;
        let around = Surroundings { clock: Clock::new(calendar), flight_dir, on_escalation, on_restart };
        Self { seed, registry, around: Arc::new(around) }
    }

    /// The clock that all actors of this host see.
    pub fn clock(&self) -> Clock {
        self.around.clock.clone()
    }

    /// The numbers of all actors.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }
}

/// An actix mailbox without its actor.
pub struct ActixSlot<C: Core> {
    name: &'static str,
    options: Options,
    context: Context<Shell<C>>,
    metrics: Arc<ActorMetrics>,
    address: Addr<Shell<C>>,
}

impl<C: Core> Slot<C> for ActixSlot<C> {
    fn port_up_to(&self, waiting: usize) -> Port<C::In> {
        shell::port(self.address.clone(), Arc::clone(&self.metrics), waiting.min(self.options.mailbox))
    }

    fn port(&self) -> Port<C::In> {
        self.port_up_to(self.options.mailbox)
    }
}

impl Host for ActixHost {
    type Slot<C: Core> = ActixSlot<C>;

    /// # Panics
    /// If the name is taken: two actors of one name would draw the same randomness.
    fn slot<C: Core>(&self, name: &'static str, options: Options) -> ActixSlot<C> {
        let Some(metrics) = self.registry.register(name) else { panic!("the wiring has two actors named {name}") };
        let mut context = Context::new();
        // The metrics' count is the bound; actix' own, one higher, is never reached and costs no lock.
        context.set_mailbox_capacity(options.mailbox.saturating_add(1));
        let address = context.address();
        ActixSlot { name, options, context, metrics, address }
    }

    /// # Panics
    /// Outside of a `LocalSet`.
    fn start<C: Core>(
        &self,
        slot: ActixSlot<C>,
        build: impl FnMut() -> C + Send + 'static,
        outlet: impl FnMut(C::Out) + Send + 'static,
    ) {
        let ActixSlot { name, options, context, metrics, address: _ } = slot;
        context.run(Shell::new(name, options, self.seed.clone(), Arc::clone(&self.around), metrics, build, outlet));
    }
}

/// Why the actors' thread could not be started or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ActorThreadError {
    /// No thread or no runtime could be made.
    #[error("cannot start the actors' thread: {0}; are the process' limits on threads or open files too low?")]
    Start(#[from] io::Error),
    /// It panicked: in the wiring or in the executor itself, as actors' panics are contained.
    #[error("the actors' thread panicked")]
    Panicked,
}

/// The thread `pangea-actors`. Dropping it stops all actors and waits for the thread's end.
pub struct ActorThread {
    system: System,
    thread: Option<thread::JoinHandle<()>>,
}

impl ActorThread {
    /// Starts the thread and calls `wire` on it, which makes and starts actors and hands out what others need of
    /// them. `wire` runs inside a tokio runtime with timers and I/O.
    ///
    /// # Errors
    /// The system refuses a thread or its runtime, or `wire` panics.
    pub fn start<T: Send + 'static>(
        config: HostConfig,
        wire: impl FnOnce(&ActixHost) -> T + Send + 'static,
    ) -> Result<(Self, T), ActorThreadError> {
        let (wired, started) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("pangea-actors".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(wired.send(Err(error))),
            };
            let runner = System::with_tokio_rt(|| runtime);
            let out = runner.block_on(async { wire(&ActixHost::new(config)) });
            if wired.send(Ok((System::current(), out))).is_ok()
                && let Err(error) = runner.run()
            {
                tracing::error!(%error, "the actors' executor failed");
            }
        })?;
        match started.recv() {
            Ok(Ok((system, out))) => Ok((Self { system, thread: Some(thread) }, out)),
            Ok(Err(error)) => Err(error.into()),
            Err(mpsc::RecvError) => Err(ActorThreadError::Panicked),
        }
    }

    /// Stops all actors where they stand, messages in mailboxes are lost, and waits for the thread's end.
    ///
    /// # Errors
    /// The thread had panicked.
    pub fn stop(mut self) -> Result<(), ActorThreadError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), ActorThreadError> {
        self.system.stop();
        self.thread.take().map_or(Ok(()), |thread| thread.join().map_err(|_| ActorThreadError::Panicked))
    }
}

impl Drop for ActorThread {
    fn drop(&mut self) {
        // The last holder may be an actor's outlet: a thread cannot wait for itself.
        self.thread.take_if(|thread| thread.thread().id() == thread::current().id());
        let _ = self.end();
    }
}
