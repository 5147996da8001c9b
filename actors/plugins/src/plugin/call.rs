//! A plugin's calls, one after the other: what it may do is checked when a call has ended, kept, and then done.

use super::{BURST, Call, Context, Fate, Kind, PENDING_MAX, Plugin, Saving, Step, TIMER_MIN, prepare};
use crate::{
    api::{In, Out, Refusal, Reply, Snapshot},
    envelope::{self, Action},
    extension::{self, In as Event, Out as Want},
    plugins::Shared,
};
use pangea_kernel::planted;
use pangea_protocols::{
    guest::{Command, Line, Open},
    task::{self, Ending, Input, Outcome},
    time::Time,
    wire::extension::PAYLOAD_BYTES_MAX,
};
use std::time::Duration;

impl Plugin {
    /// Makes an instance, with `started` as its first event.
    pub(super) fn open(&mut self, cx: &mut Context<'_>, shared: &mut Shared) {
        self.mailbox.take_own();
        let manifest = &self.version.manifest;
        let snapshot = self.snapshot.as_ref().map(|snapshot| snapshot.bytes.clone());
        let peers = if manifest.protocol { shared.connected.iter().copied().collect() } else { Vec::new() };
        let event = Event::Started { me: shared.me, config: manifest.config.clone(), snapshot, peers };
        let open = Open { module: self.version.module, limits: manifest.limits, granted: manifest.imports };
        self.call(cx, shared, Kind::Start, &event, Some(open));
    }

    pub(super) fn call(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        kind: Kind,
        event: &Event,
        open: Option<Open>,
    ) {
        let (bytes, chunks) = envelope::write(event);
        let input = Input { bytes, chunks, unix_ms: shared.unix_ms(cx), seed: cx.rng("guests").bytes() };
        self.step = Step::Calling(Call { kind, since: cx.now() });
        cx.emit(Out::Guest(Command::Call { instance: self.version.instance, open, input }));
    }

    /// A call has ended.
    pub fn on_ended(
        &mut self,
        cx: &mut Context<'_>,
        shared: &mut Shared,
        lines: Vec<Line>,
        result: Result<Outcome, task::Refusal>,
    ) -> Fate {
        lines.into_iter().for_each(|line| self.log(line));
        let Step::Calling(call) = self.step else { return Fate::Stays };
        self.counters.busy += cx.now().since(call.since);
        self.counters.handled += 1;
        let outcome = match result {
            Ok(outcome) => outcome,
            // The compiled module was forgotten since others are used more.
            Err(task::Refusal::NotInstalled { .. }) if call.kind == Kind::Start => {
                self.step = Step::Preparing;
                prepare(cx, &self.version);
                return Fate::Stays;
            }
            Err(refusal) => return self.fail(cx, shared, refusal.to_string()),
        };
        self.counters.gas += outcome.gas;
        self.counters.memory_bytes = outcome.memory_bytes;
        self.charge(cx.now(), outcome.gas);
        let output = match outcome.ending {
            Ending::Output(bytes) => bytes,
            Ending::Trapped(trap) => return self.fail(cx, shared, format!("it {trap}")),
        };
        let mut actions = Vec::new();
        for bytes in &outcome.sent {
            let read =
                envelope::read(bytes).ok_or_else(|| "it sent what is no action (see docs/plugins.md)".to_owned());
            match read.and_then(|action| self.check(&action).map(|()| action)) {
                Ok(action) => actions.push(action),
                Err(reason) => return self.fail_open(cx, shared, reason),
            }
        }
        if let Err(reason) = self.check_pending(&actions) {
            return self.fail_open(cx, shared, reason);
        }
        if let Kind::Ask(request) = call.kind
            && !output.is_empty()
        {
            actions.push(Want::Answer { request, bytes: output }.into());
        }
        self.save_or_commit(cx, shared, call, actions)
    }

    /// Gas is earned at the rate of the manifest.
    pub(super) fn charge(&mut self, now: Time, gas: u64) {
        let secs = gas as f64 / self.version.manifest.gas_per_s as f64;
        self.earned = self.earned.max(now) + Duration::from_secs_f64(secs);
    }

    /// May it do that?
    pub(super) fn check(&self, action: &Action) -> Result<(), String> {
        let manifest = &self.version.manifest;
        let needs = |granted: bool, line: &str| {
            if granted {
                Ok(())
            } else {
                Err(format!("it did what its manifest does not grant; to grant it, write: {line}"))
            }
        };
        let fits = |what: &str, found: usize, max: usize| {
            if found <= max { Ok(()) } else { Err(format!("{what} of {found} bytes; {max} is the most")) }
        };
        match action {
            Action::Out(Want::Send { bytes, .. }) | Action::Tell { bytes } => {
                needs(manifest.protocol, "protocol = true")?;
                fits("a message", bytes.len(), PAYLOAD_BYTES_MAX)
            }
            Action::Out(Want::Snapshot { bytes }) => {
                needs(manifest.snapshot_bytes > 0, "[snapshot] with schema = 1 and bytes = …")?;
                fits("a snapshot", bytes.len(), manifest.snapshot_bytes)
            }
            Action::Out(Want::Store { name, .. }) => {
                needs(manifest.store, "\"store\" in capabilities")?;
                fits("a name", name.len(), 255)
            }
            Action::Out(Want::Fetch { ticket: text, .. } | Want::Remove { ticket: text, .. }) => {
                needs(manifest.store, "\"store\" in capabilities")?;
                fits("a ticket", text.len(), 4096)
            }
            Action::Out(Want::StoreFile { path, .. }) => {
                needs(manifest.store, "\"store\" in capabilities")?;
                needs(manifest.folder.is_some(), "\"folder\" in capabilities, and folder = \"PATH\"")?;
                fits("a path", path.len(), 4096)
            }
            Action::Out(Want::List { .. }) => {
                needs(manifest.folder.is_some(), "\"folder\" in capabilities, and folder = \"PATH\"")
            }
            Action::Out(Want::Answer { .. } | Want::Refuse { .. } | Want::Log { .. })
            | Action::Timer { .. }
            | Action::Cancel { .. } => Ok(()),
        }
    }

    /// Timers and questions to the node are bounded.
    pub(super) fn check_pending(&self, actions: &[Action]) -> Result<(), String> {
        let new =
            |action: &&Action| matches!(action, Action::Timer { id, .. } if !self.version.timers.contains_key(id));
        if self.version.timers.len() + actions.iter().filter(new).count() > PENDING_MAX {
            return Err(format!("it has set more than {PENDING_MAX} timers"));
        }
        let asks = |action: &&Action| matches!(action, Action::Out(out) if out.request().is_some());
        if self.version.requests.len() + actions.iter().filter(asks).count() > PENDING_MAX {
            return Err(format!("it asks the node for more than {PENDING_MAX} things at a time"));
        }
        Ok(())
    }

    pub(super) fn save_or_commit(
        &mut self,
        cx: &mut Context<'_>,
        shared: &mut Shared,
        call: Call,
        actions: Vec<Action>,
    ) -> Fate {
        let schema = self.version.manifest.schema;
        let snapshot = actions.iter().rev().find_map(|action| match action {
            Action::Out(Want::Snapshot { bytes }) => Some(Snapshot { schema, bytes: bytes.clone() }),
            _ => None,
        });
        // A version that has started is kept together with what it keeps: neither is ever there without the other.
        let is_new = call.kind == Kind::Start && (self.previous.is_some() || self.installer.is_some());
        if snapshot.is_none() && !is_new {
            return self.commit(cx, shared, call, actions);
        }
        if planted!("snapshot-not-saved") && !is_new {
            self.snapshot = snapshot;
            return self.commit(cx, shared, call, actions);
        }
        let (name, number) = (self.version.manifest.name.clone(), shared.number());
        let package = is_new.then(|| self.version.package.clone());
        cx.emit(Out::Save { name, number, package, snapshot: snapshot.clone() });
        self.step = Step::Saving(Box::new(Saving { call, actions, snapshot, number }));
        Fate::Stays
    }

    /// What is to be kept is durable, or not.
    pub fn on_saved(&mut self, cx: &mut Context<'_>, shared: &mut Shared, number: u64, error: Option<String>) -> Fate {
        if !matches!(&self.step, Step::Saving(saving) if saving.number == number) {
            return Fate::Stays;
        }
        let Step::Saving(saving) = std::mem::replace(&mut self.step, Step::Ready) else { return Fate::Stays };
        if let Some(error) = error {
            return self.fail_open(cx, shared, format!("it could not be saved: {error}"));
        }
        let Saving { call, actions, snapshot, .. } = *saving;
        if snapshot.is_some() {
            self.snapshot = snapshot;
        }
        self.commit(cx, shared, call, actions)
    }

    /// The call has ended well: what it wants is done.
    pub(super) fn commit(
        &mut self,
        cx: &mut Context<'_>,
        shared: &mut Shared,
        call: Call,
        actions: Vec<Action>,
    ) -> Fate {
        self.step = Step::Ready;
        actions.into_iter().for_each(|action| self.carry_out(cx, shared, action));
        match call.kind {
            Kind::Start => self.on_started(cx),
            Kind::Drain => self.drained = true,
            Kind::Event | Kind::Ask(_) => {}
        }
        if let Some(next) = self.next.as_mut().filter(|_| call.kind == Kind::Drain) {
            next.drained = true;
        }
        match self.lost.take() {
            Some(reason) => self.start_anew(cx, shared, &reason),
            None => self.advance(cx, shared),
        }
        Fate::Stays
    }

    pub(super) fn carry_out(&mut self, cx: &mut Context<'_>, shared: &mut Shared, action: Action) {
        match action {
            Action::Timer { id, after } => {
                let instance = self.version.instance;
                let timer = cx.after(after.max(TIMER_MIN), In::Timer { instance, id });
                if let Some(old) = self.version.timers.insert(id, timer) {
                    cx.cancel(old);
                }
            }
            Action::Cancel { id } => {
                if let Some(timer) = self.version.timers.remove(&id) {
                    cx.cancel(timer);
                }
            }
            Action::Tell { bytes } => {
                for peer in shared.connected.iter().copied() {
                    let (name, out) = (self.version.manifest.name.clone(), Want::Send { peer, bytes: bytes.clone() });
                    cx.emit(Out::From { name, folder: None, out });
                }
            }
            Action::Out(Want::Answer { request, bytes }) => self.reply(cx, request, Reply::Answer(bytes)),
            Action::Out(Want::Refuse { request, reason }) => {
                self.reply(cx, request, Reply::Refused(Refusal::Plugin(reason)));
            }
            Action::Out(Want::Snapshot { .. }) => {}
            Action::Out(mut out) => {
                if let Some(own) = out.request() {
                    let number = shared.number();
                    self.version.requests.insert(number, own);
                    renumber(&mut out, number);
                }
                let (name, folder) = (self.version.manifest.name.clone(), self.version.manifest.folder.clone());
                cx.emit(Out::From { name, folder, out });
            }
        }
    }

    pub(super) fn reply(&mut self, cx: &mut Context<'_>, request: u64, reply: Reply) {
        if let Some(asked) = self.asks.remove(&request) {
            cx.cancel(asked.late);
            cx.emit(Out::Reply { request, reply });
        }
    }

    /// Goes on with what is next, if nothing is under way.
    pub fn advance(&mut self, cx: &mut Context<'_>, shared: &mut Shared) {
        let idle = matches!(self.step, Step::Ready);
        let keeps = self.version.manifest.snapshot_bytes > 0;
        if shared.draining {
            if idle && keeps && !self.drained {
                self.call(cx, shared, Kind::Drain, &Event::Drain, None);
            }
            return;
        }
        if let Some(next) = self.next.as_ref().filter(|next| next.compiled) {
            let without = matches!(self.step, Step::Pausing | Step::Disabled(_));
            if idle && keeps && !next.drained {
                self.call(cx, shared, Kind::Drain, &Event::Drain, None);
            } else if idle || without || matches!(self.step, Step::Resting) {
                self.replace(cx, shared);
            }
            return;
        }
        if !idle {
            return;
        }
        let early = self.earned.since(cx.now()).saturating_sub(BURST);
        if early > Duration::ZERO {
            self.step = Step::Resting;
            cx.after(early, In::Rested { instance: self.version.instance });
        } else if let Some(event) = self.mailbox.pop() {
            let kind = match &event {
                Event::Ask { request, .. } => {
                    if let Some(asked) = self.asks.get_mut(request) {
                        asked.delivered = true;
                    }
                    Kind::Ask(*request)
                }
                _ => Kind::Event,
            };
            self.call(cx, shared, kind, &event, None);
        }
    }
}

fn renumber(out: &mut extension::Out, number: u64) {
    match out {
        Want::Store { request, .. }
        | Want::StoreFile { request, .. }
        | Want::Fetch { request, .. }
        | Want::Remove { request, .. }
        | Want::List { request } => *request = number,
        _ => {}
    }
}
