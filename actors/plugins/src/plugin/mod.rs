//! [`Plugin`]: one plugin. Not here: the table of them (`plugins`), what waits (`mailbox`).
//!
//! | file | its job |
//! |---|---|
//! | `mod.rs` | what it is made of, and what it hears |
//! | `call.rs` | its calls, one after the other |
//! | `life.rs` | how it begins, fails, is replaced and ends |
//!
//! What a call wants leaves when the call has ended well and, if it asked for a snapshot, that is durable. So a plugin may
//! answer and save in one call, and what it has answered is never forgotten.

mod call;
mod life;

use crate::{
    api::{In, Out, Package, Refusal, Reply, Snapshot, State, View},
    envelope::Action,
    extension::In as Event,
    mailbox::Mailbox,
    manifest::Manifest,
    plugins::{ANSWER_WITHIN, Plugins, Shared},
};
use pangea_kernel::{Cx, TimerId, supervision::Intensity};
use pangea_protocols::{
    Hash,
    guest::{Command, Line},
    task::TaskId,
    time::Time,
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Failures within [`FAILURES_WITHIN`] that are repaired by a new start.
const FAILURES_MAX: u32 = 5;
const FAILURES_WITHIN: Duration = Duration::from_secs(600);
/// Most timers, and most questions to the node, of one plugin.
const PENDING_MAX: usize = 64;
/// The soonest that a timer is due.
const TIMER_MIN: Duration = Duration::from_millis(10);
/// Gas of so long may be used at once.
const BURST: Duration = Duration::from_secs(1);
/// Lines that are kept.
const LINES_MAX: usize = 256;

type Context<'a> = Cx<'a, Plugins>;

/// How far a plugin is.
#[derive(Debug)]
enum Step {
    /// Its module is being compiled.
    Preparing,
    /// In a call.
    Calling(Call),
    /// The call has ended, and what it wants to be kept is being written.
    Saving(Box<Saving>),
    /// Between two calls.
    Ready,
    /// The same, but it has used its gas of this time.
    Resting,
    /// Failed; the next start is after a pause.
    Pausing,
    /// Failed for good.
    Disabled(String),
}

#[derive(Clone, Copy, Debug)]
struct Call {
    kind: Kind,
    since: Time,
}

#[derive(Debug)]
struct Saving {
    call: Call,
    actions: Vec<Action>,
    snapshot: Option<Snapshot>,
    number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Start,
    Event,
    Ask(u64),
    Drain,
}

/// A version, and all that ends with an instance of it.
struct Version {
    manifest: Manifest,
    package: Package,
    module: Hash,
    /// The instance, or the number of the next one.
    instance: TaskId,
    timers: BTreeMap<u64, TimerId>,
    /// Questions to the node: our number, and the plugin's.
    requests: BTreeMap<u64, u64>,
}

impl Version {
    fn new(manifest: Manifest, package: Package, shared: &mut Shared) -> Self {
        let module = Hash::of(&package.module);
        let instance = TaskId(shared.number());
        Self { manifest, package, module, instance, timers: BTreeMap::new(), requests: BTreeMap::new() }
    }

    /// Nothing of the last instance is awaited any more.
    fn begin_anew(&mut self, cx: &mut Context<'_>, shared: &mut Shared) {
        self.requests.clear();
        for timer in std::mem::take(&mut self.timers).into_values() {
            cx.cancel(timer);
        }
        self.instance = TaskId(shared.number());
    }
}

/// A version that is to replace the running one.
struct Next {
    request: u64,
    version: Version,
    compiled: bool,
    drained: bool,
}

/// The version that was replaced, until the new one has started.
struct Previous {
    version: Version,
    /// Where it was: `Ready`, or without an instance.
    step: Step,
    /// What came for it meanwhile.
    missed: Vec<Event>,
    request: u64,
}

struct Asked {
    late: TimerId,
    delivered: bool,
}

#[derive(Default)]
struct Counters {
    handled: u64,
    restarts: u64,
    gas: u64,
    busy: Duration,
    memory_bytes: u64,
}

/// One plugin.
pub struct Plugin {
    version: Version,
    step: Step,
    mailbox: Mailbox,
    asks: BTreeMap<u64, Asked>,
    snapshot: Option<Snapshot>,
    next: Option<Next>,
    previous: Option<Previous>,
    /// Who waits for its first start.
    installer: Option<u64>,
    intensity: Intensity,
    /// When all gas that it has used so far would be earned.
    earned: Time,
    drained: bool,
    /// Its instance is gone since it began to save, and why.
    lost: Option<String>,
    counters: Counters,
    lines: VecDeque<Line>,
    last_failure: Option<String>,
}

/// What becomes of the table's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Stays,
    /// It never started: it goes.
    Goes,
}

impl Plugin {
    /// A plugin that is compiled next; `installer` hears when it has started.
    pub fn new(
        cx: &mut Context<'_>,
        shared: &mut Shared,
        (manifest, package): (Manifest, Package),
        snapshot: Option<Snapshot>,
        installer: Option<u64>,
    ) -> Self {
        let mailbox = Mailbox::new(manifest.mailbox);
        let strange = snapshot.as_ref().map(|snapshot| snapshot.schema).filter(|schema| !manifest.understands(*schema));
        let version = Version::new(manifest, package, shared);
        let step = match strange {
            None => {
                prepare(cx, &version);
                Step::Preparing
            }
            Some(schema) => Step::Disabled(format!("it does not understand what it kept (snapshot schema {schema})")),
        };
        Self {
            version,
            step,
            mailbox,
            asks: BTreeMap::new(),
            snapshot,
            next: None,
            previous: None,
            installer,
            intensity: Intensity::new(FAILURES_MAX, FAILURES_WITHIN),
            earned: cx.now(),
            drained: false,
            lost: None,
            counters: Counters::default(),
            lines: VecDeque::new(),
            last_failure: None,
        }
    }

    /// Is this instance its own, or the one that it replaces?
    pub fn has_instance(&self, instance: TaskId) -> bool {
        self.version.instance == instance
            || self.previous.as_ref().is_some_and(|previous| previous.version.instance == instance)
    }

    /// Has it been asked this, without an answer so far?
    pub fn has_ask(&self, request: u64) -> bool {
        self.asks.contains_key(&request)
    }

    /// Is nothing left to be saved, as far as it can be?
    pub fn is_drained(&self) -> bool {
        match self.step {
            Step::Calling(_) | Step::Saving(_) => false,
            Step::Ready | Step::Resting => self.drained || self.version.manifest.snapshot_bytes == 0,
            Step::Preparing | Step::Pausing | Step::Disabled(_) => true,
        }
    }

    /// Adds an event to what waits.
    pub fn on_event(&mut self, cx: &mut Context<'_>, shared: &mut Shared, event: Event) {
        let hears = match event {
            Event::Message { .. } | Event::Connected { .. } | Event::Disconnected { .. } => {
                self.version.manifest.protocol
            }
            _ => true,
        };
        if hears && !matches!(self.step, Step::Disabled(_)) {
            self.mailbox.push(event);
            self.advance(cx, shared);
        }
    }

    /// The node answers a question, under our number.
    pub fn on_answer(&mut self, cx: &mut Context<'_>, shared: &mut Shared, mut event: Event) {
        let Some(number) = event.answered() else { return };
        if let Some(own) = self.version.requests.remove(number) {
            *number = own;
            self.on_event(cx, shared, event);
        } else if let Some(previous) = &mut self.previous
            && let Some(own) = previous.version.requests.remove(number)
        {
            *number = own;
            previous.missed.push(event);
        }
    }

    /// A timer of an instance is due.
    pub fn on_timer(&mut self, cx: &mut Context<'_>, shared: &mut Shared, instance: TaskId, id: u64) {
        if self.version.instance == instance {
            if self.version.timers.remove(&id).is_some() {
                self.on_event(cx, shared, Event::Timer { id });
            }
        } else if let Some(previous) = &mut self.previous
            && previous.version.timers.remove(&id).is_some()
        {
            previous.missed.push(Event::Timer { id });
        }
    }

    /// A user asks.
    pub fn on_ask(
        &mut self,
        cx: &mut Context<'_>,
        shared: &mut Shared,
        request: u64,
        bytes: bytes::Bytes,
    ) -> Result<(), Refusal> {
        let manifest = &self.version.manifest;
        let name = manifest.name.clone();
        if let Step::Disabled(reason) = &self.step {
            return Err(Refusal::Disabled { name, reason: reason.clone() });
        }
        if !manifest.answers(&bytes) {
            return Err(Refusal::NoCommand { name, commands: manifest.commands.keys().cloned().collect() });
        }
        let pending = self.asks.len() < manifest.mailbox + PENDING_MAX;
        if !pending || !self.mailbox.push(Event::Ask { request, bytes }) {
            return Err(Refusal::Busy { name, waiting: self.mailbox.len() });
        }
        let late = cx.after(ANSWER_WITHIN, In::Late { request });
        self.asks.insert(request, Asked { late, delivered: false });
        self.advance(cx, shared);
        Ok(())
    }

    /// It has not answered in time.
    pub fn on_late(&mut self, cx: &mut Context<'_>, request: u64) {
        let (name, secs) = (self.version.manifest.name.clone(), ANSWER_WITHIN.as_secs());
        self.reply(cx, request, Reply::Refused(Refusal::Late { name, secs }));
    }

    /// A pause is over.
    pub fn on_rested(&mut self, cx: &mut Context<'_>, shared: &mut Shared, instance: TaskId) {
        if self.version.instance != instance {
            return;
        }
        match self.step {
            Step::Pausing => self.open(cx, shared),
            Step::Resting => {
                self.step = Step::Ready;
                self.advance(cx, shared);
            }
            _ => {}
        }
    }

    fn log(&mut self, line: Line) {
        let name = &self.version.manifest.name;
        tracing::debug!(target: "pangea::plugin", plugin = %name, level = line.level, "{}", line.text);
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Why it failed the last time.
    pub fn last_failure(&self) -> Option<&str> {
        self.last_failure.as_deref()
    }

    /// What it logged lately.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.iter().cloned().collect()
    }

    /// How it looks from outside.
    pub fn view(&self) -> View {
        let manifest = &self.version.manifest;
        let state = match &self.step {
            Step::Preparing => State::Starting,
            Step::Calling(call) if call.kind == Kind::Start => State::Starting,
            Step::Saving(saving) if saving.call.kind == Kind::Start => State::Starting,
            Step::Calling(_) | Step::Saving(_) | Step::Ready | Step::Resting => State::Running,
            Step::Pausing => State::Pausing,
            Step::Disabled(reason) => State::Disabled(reason.clone()),
        };
        View {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            about: manifest.about.clone(),
            commands: manifest.commands.clone().into_iter().collect(),
            capabilities: manifest.capabilities().into_iter().map(str::to_owned).collect(),
            state,
            waiting: self.mailbox.len() as u64,
            handled: self.counters.handled,
            dropped: self.mailbox.dropped(),
            restarts: self.counters.restarts,
            gas: self.counters.gas,
            busy: self.counters.busy,
            memory_bytes: self.counters.memory_bytes,
            snapshot_bytes: self.snapshot.as_ref().map_or(0, |snapshot| snapshot.bytes.len() as u64),
            last_failure: self.last_failure.clone(),
        }
    }
}

fn prepare(cx: &mut Context<'_>, version: &Version) {
    let (module, bytes) = (version.module, version.package.module.clone());
    cx.emit(Out::Guest(Command::Prepare { module, bytes }));
}
