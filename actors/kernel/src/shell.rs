//! [`Shell`]: the one actix actor; every core of a production node runs inside one.
//!
//! What actix does by itself, and what the shell does instead:
//!
//! | actix 0.13 | the shell |
//! |---|---|
//! | handles messages until the mailbox is empty: a flood starves all timers | yields to the executor every [`EVENTS_PER_TURN`] events and then fires what is due |
//! | polls every spawned future at every wake, so every `run_later` timer | keeps its timers in a heap behind one sleep |
//! | loses actor and mailbox when a handler panics | catches the panic, discards the event and its effects, rebuilds the core after a pause; the mailbox stays |
//! | lets addresses exceed the mailbox' bound | counts places itself, see [`ActorMetrics::enter`] |
//!
//! Shells are made by [`crate::actix_host`]; how often a core may fail is decided in [`crate::supervision`].

use crate::{
    clock::Clock,
    core::{Core, Cx, CxState, Effect},
    draw::{Draws, Seed},
    host::Options,
    metrics::ActorMetrics,
    planted,
    port::{Port, Rejected},
    recorder::Recorder,
    supervision::{Intensity, Verdict},
    timers::Timers,
};
use actix::{
    Actor, ActorContext, ActorFuture, ActorFutureExt, ActorState, Addr, AsyncContext, Context, Handler, Message,
    dev::SendError, fut::wrap_future,
};
use pangea_protocols::time::{Time, UnixTime};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};
use tokio::time::{Sleep, sleep, sleep_until};

/// Events an actor handles before it lets timers and other actors run.
pub(crate) const EVENTS_PER_TURN: u32 = 64;

/// Told of an actor that failed too often: its name and the last panic's message.
pub type OnEscalation = Arc<dyn Fn(&'static str, &str) + Send + Sync>;

/// Told of an actor whose core panicked and will be rebuilt: its name. What the old core knew is gone.
pub type OnRestart = Arc<dyn Fn(&'static str) + Send + Sync>;

/// Runs `work`; a panic in it comes back as its message. The caller must discard what `work` left half done.
pub fn contain<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| panic_message(payload.as_ref()))
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("panic without a message").to_owned()
}

/// An event on its way to a shell.
pub(crate) struct Deliver<E>(E);

impl<E: Send + 'static> Message for Deliver<E> {
    type Result = ();
}

/// The port of the shell at `addr`.
pub(crate) fn port<C: Core>(addr: Addr<Shell<C>>, metrics: Arc<ActorMetrics>, places: usize) -> Port<C::In> {
    Port::new(move |event| {
        if !metrics.enter(places) {
            return Err(if metrics.is_stopped() { Rejected::Closed(event) } else { Rejected::Full(event) });
        }
        addr.try_send(Deliver(event)).map_err(|error| {
            metrics.turned_away();
            match error {
                SendError::Full(Deliver(event)) => Rejected::Full(event),
                SendError::Closed(Deliver(event)) => Rejected::Closed(event),
            }
        })
    })
}

/// What all shells of a host share.
pub(crate) struct Surroundings {
    pub(crate) clock: Clock,
    pub(crate) flight_dir: Option<PathBuf>,
    pub(crate) on_escalation: OnEscalation,
    pub(crate) on_restart: OnRestart,
}

/// Runs one core.
pub(crate) struct Shell<C: Core> {
    name: &'static str,
    /// The node's seed; every life of the core has one derived from it.
    seed: Seed,
    /// Cores built so far.
    lives: u64,
    around: Arc<Surroundings>,
    build: Box<dyn FnMut() -> C + Send>,
    outlet: Box<dyn FnMut(C::Out) + Send>,
    /// None between a panic and the restart.
    life: Option<Life<C>>,
    recorder: Recorder<C::In>,
    intensity: Intensity,
    metrics: Arc<ActorMetrics>,
    /// Events since the last yield.
    turn: u32,
}

/// All that ends with a panic.
struct Life<C: Core> {
    core: C,
    state: CxState<C>,
    timers: Timers<C::In>,
}

impl<C: Core> Life<C> {
    fn step(
        &mut self,
        now: (Time, UnixTime),
        outlet: &mut dyn FnMut(C::Out),
        work: impl FnOnce(&mut C, &mut Cx<'_, C>),
    ) {
        work(&mut self.core, &mut self.state.cx(now.0, now.1));
        let mut effects = self.state.take_effects();
        for effect in effects.drain(..) {
            match effect {
                Effect::Emit(out) => outlet(out),
                Effect::After { timer, at, event } => self.timers.set(timer, at, event),
                Effect::Cancel(timer) => self.timers.cancel(timer),
            }
        }
        self.state.recycle(effects);
    }
}

impl<C: Core> Shell<C> {
    pub(crate) fn new(
        name: &'static str,
        options: Options,
        seed: Seed,
        around: Arc<Surroundings>,
        metrics: Arc<ActorMetrics>,
        build: impl FnMut() -> C + Send + 'static,
        outlet: impl FnMut(C::Out) + Send + 'static,
    ) -> Self {
        Self {
            name,
            seed,
            lives: 0,
            around,
            build: Box::new(build),
            outlet: Box::new(outlet),
            life: None,
            recorder: Recorder::new(options.recorded_events),
            intensity: Intensity::new(options.restarts_max, options.restart_window),
            metrics,
            turn: 0,
        }
    }

    fn read_clock(&self) -> (Time, UnixTime) {
        let now = self.around.clock.now();
        (now, self.around.clock.unix(now))
    }

    /// Builds and starts a core. Its streams of randomness are new: repeating those of the last life would repeat
    /// nonces.
    fn revive(&mut self, ctx: &mut Context<Self>) {
        let seed = self.seed.actor(self.name, self.lives);
        self.lives += 1;
        let now = self.read_clock();
        self.recorder.begin(&seed, now.0, now.1);
        let (build, outlet) = (&mut self.build, &mut self.outlet);
        let revived = contain(|| {
            let mut life = Life { core: build(), state: CxState::new(Draws::new(seed)), timers: Timers::new() };
            life.step(now, outlet, C::start);
            life
        });
        match revived {
            Ok(life) => self.life = Some(life),
            Err(reason) => self.fail(&reason, ctx),
        }
    }

    fn deliver(&mut self, event: C::In, ctx: &mut Context<Self>) {
        let now = self.read_clock();
        let Some(life) = &mut self.life else { return };
        let span = tracing::trace_span!(target: "pangea::actor", "event", actor = self.name);
        let entered = span.enter();
        self.recorder.record(now.0, now.1, &event);
        let outlet = &mut self.outlet;
        let outcome = contain(|| life.step(now, outlet, |core, cx| core.on(cx, event)));
        self.metrics.handled(self.around.clock.now().since(now.0));
        drop(entered);
        if let Err(reason) = outcome {
            return self.fail(&reason, ctx);
        }
        self.turn += 1;
        if self.turn >= EVENTS_PER_TURN && !ctx.waiting() {
            self.turn = 0;
            ctx.wait(wrap_future(tokio::task::yield_now()));
        }
    }

    fn fail(&mut self, reason: &str, ctx: &mut Context<Self>) {
        self.bury();
        let (now, unix) = self.read_clock();
        if let Some(dir) = &self.around.flight_dir
            && let Err(error) = self.recorder.write(dir, self.name, reason, unix)
        {
            tracing::warn!(actor = self.name, %error, "the flight recorder could not be written");
        }
        match self.intensity.failed(now) {
            Verdict::Restart(pause) => {
                tracing::error!(actor = self.name, reason, ?pause, "an actor panicked and is restarted");
                self.metrics.restarted();
                if let Err(error) = contain(|| (self.around.on_restart)(self.name)) {
                    tracing::error!(actor = self.name, error, "the restart handler panicked");
                }
                ctx.wait(wrap_future(sleep(pause)).map(|(), shell: &mut Self, ctx| shell.revive(ctx)));
            }
            Verdict::Escalate => {
                tracing::error!(actor = self.name, reason, "an actor panicked too often and is stopped");
                self.metrics.stop();
                let told = contain(|| (self.around.on_escalation)(self.name, reason));
                if let Err(error) = told {
                    tracing::error!(actor = self.name, error, "the escalation handler panicked");
                }
                ctx.stop();
            }
        }
    }

    /// Drops the core and its timers; a core that panics in that, too, changes nothing.
    fn bury(&mut self) {
        let life = self.life.take();
        let _ = contain(|| drop(life));
    }

    /// Fires timers that are due, at most as many as a turn has events. Also called in the turn's end, while the
    /// context waits for the yield: that is what lets timers through a flood.
    fn fire_due(&mut self, ctx: &mut Context<Self>) {
        for _ in 0..EVENTS_PER_TURN {
            let Some(life) = self.life.as_mut().filter(|life| life.timers.next().is_some()) else { return };
            let Some((_, event)) = life.timers.pop(self.around.clock.now()) else { return };
            self.deliver(event, ctx);
        }
    }

    fn next_timer(&self) -> Option<Time> {
        self.life.as_ref().and_then(|life| life.timers.next())
    }
}

// Nothing in it is pinned in place; actix asks for it, and cores need not promise it.
impl<C: Core> Unpin for Shell<C> {}

impl<C: Core> Actor for Shell<C> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // actix also starts an actor in order to drop it, when its executor is dropped first.
        if ctx.state() != ActorState::Stopping {
            ctx.spawn(Wakeup { sleep: None });
            self.revive(ctx);
        }
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        self.metrics.stop();
        self.bury();
    }
}

impl<C: Core> Handler<Deliver<C::In>> for Shell<C> {
    type Result = ();

    fn handle(&mut self, Deliver(event): Deliver<C::In>, ctx: &mut Context<Self>) {
        if !planted!("mailbox-place-kept") {
            self.metrics.leave();
        }
        self.deliver(event, ctx);
    }
}

/// The one sleep of a shell. Never completes, which also keeps an actor alive that nobody can send to.
struct Wakeup {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<C: Core> ActorFuture<Shell<C>> for Wakeup {
    type Output = ();

    /// actix polls this after every batch of messages, so a timer that a message has set or cancelled is seen.
    fn poll(
        mut self: Pin<&mut Self>,
        shell: &mut Shell<C>,
        ctx: &mut Context<Shell<C>>,
        task: &mut task::Context<'_>,
    ) -> Poll<()> {
        loop {
            shell.fire_due(ctx);
            if ctx.waiting() {
                return Poll::Pending;
            }
            let Some(next) = shell.next_timer() else { return Poll::Pending };
            let deadline = shell.around.clock.instant(next);
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if sleep.deadline() != deadline {
                sleep.as_mut().reset(deadline);
            }
            task::ready!(sleep.as_mut().poll(task));
        }
    }
}
