//! How a plugin begins, fails, is replaced and ends.

use super::{Context, FAILURES_MAX, FAILURES_WITHIN, Fate, Next, Plugin, Previous, Step, Version, prepare};
use crate::{
    api::{In, Out, Package, Refusal, Reply},
    extension::In as Event,
    manifest::Manifest,
    plugins::Shared,
};
use pangea_kernel::{
    planted,
    supervision::{Intensity, Verdict},
};
use pangea_protocols::{
    Hash,
    guest::{Command, Line},
    task::{self, Capabilities},
};
use std::time::Duration;

impl Plugin {
    /// Replaces it, if it can be.
    pub fn install(
        &mut self,
        cx: &mut Context<'_>,
        shared: &mut Shared,
        request: u64,
        (manifest, package): (Manifest, Package),
    ) -> Result<(), Refusal> {
        if self.next.is_some() || self.previous.is_some() || self.installer.is_some() {
            return Err(Refusal::Twice);
        }
        let old = &self.version.manifest;
        // What it will save before it is replaced, and what it has saved already.
        let will = (old.snapshot_bytes > 0).then_some(old.schema);
        let has = self.snapshot.as_ref().map(|snapshot| snapshot.schema);
        if let Some(found) = will.into_iter().chain(has).find(|schema| !manifest.understands(*schema))
            && !planted!("schema-unchecked")
        {
            let (old, new) = (old.version.clone(), manifest.version.clone());
            return Err(Refusal::Schema { old, new, found });
        }
        let version = Version::new(manifest, package, shared);
        prepare(cx, &version);
        self.next = Some(Next { request, version, compiled: false, drained: false });
        Ok(())
    }

    /// A module is compiled, perhaps this one's.
    pub fn on_prepared(
        &mut self,
        cx: &mut Context<'_>,
        shared: &mut Shared,
        module: Hash,
        result: &Result<Capabilities, task::Refusal>,
    ) -> Fate {
        if let Some(next) = self.next.as_mut().filter(|next| !next.compiled && next.version.module == module) {
            match check_imports(&next.version.manifest, result) {
                Ok(()) => next.compiled = true,
                Err(reason) => {
                    let reply = Reply::Refused(Refusal::Module(reason));
                    cx.emit(Out::Reply { request: next.request, reply });
                    self.next = None;
                }
            }
        }
        if matches!(self.step, Step::Preparing) && self.version.module == module {
            match check_imports(&self.version.manifest, result) {
                Ok(()) => self.open(cx, shared),
                // Not a word about the module: it may be compiled another time.
                Err(reason) if matches!(result, Err(task::Refusal::Node { .. })) => {
                    return self.fail(cx, shared, reason);
                }
                Err(reason) => {
                    if let Some(request) = self.installer.take() {
                        cx.emit(Out::Reply { request, reply: Reply::Refused(Refusal::Module(reason)) });
                        return Fate::Goes;
                    }
                    self.disable(cx, reason);
                }
            }
        }
        self.advance(cx, shared);
        Fate::Stays
    }

    /// A version has handled `started`: the one before it, if any, is over.
    pub(super) fn on_started(&mut self, cx: &mut Context<'_>) {
        let (request, replaced) = match self.previous.take() {
            Some(previous) => {
                let Previous { version, step, request, .. } = previous;
                if matches!(step, Step::Ready) {
                    cx.emit(Out::Guest(Command::Close { instance: version.instance }));
                }
                for timer in version.timers.into_values() {
                    cx.cancel(timer);
                }
                self.refuse_delivered(cx, "it was replaced by another version");
                self.intensity = Intensity::new(FAILURES_MAX, FAILURES_WITHIN);
                (Some(request), Some(version.manifest.version))
            }
            None => (self.installer.take(), None),
        };
        if let Some(request) = request {
            cx.emit(Out::Reply { request, reply: Reply::Installed { view: self.view(), replaced } });
        }
    }

    /// The next version starts; the old one stands still.
    pub(super) fn replace(&mut self, cx: &mut Context<'_>, shared: &mut Shared) {
        let Some(Next { request, version, .. }) = self.next.take() else { return };
        let step = match std::mem::replace(&mut self.step, Step::Preparing) {
            Step::Resting => Step::Ready,
            step => step,
        };
        let version = std::mem::replace(&mut self.version, version);
        // What is only for the old one waits for it, in case it goes on.
        let missed = self.mailbox.take_own();
        self.previous = Some(Previous { version, step, missed, request });
        self.mailbox.resize(self.version.manifest.mailbox);
        self.open(cx, shared);
    }

    /// It failed although its instance is whole.
    pub(super) fn fail_open(&mut self, cx: &mut Context<'_>, shared: &mut Shared, reason: String) -> Fate {
        cx.emit(Out::Guest(Command::Close { instance: self.version.instance }));
        self.fail(cx, shared, reason)
    }

    /// It failed, and its instance is gone.
    pub(super) fn fail(&mut self, cx: &mut Context<'_>, shared: &mut Shared, reason: String) -> Fate {
        self.log(Line { level: 0, text: format!("failed: {reason}") });
        self.last_failure = Some(reason.clone());
        self.lost = None;
        if let Some(previous) = self.previous.take() {
            self.roll_back(cx, shared, previous, reason);
            return Fate::Stays;
        }
        self.version.begin_anew(cx, shared);
        if let Some(request) = self.installer.take() {
            cx.emit(Out::Reply { request, reply: Reply::Refused(Refusal::NotStarted(reason)) });
            return Fate::Goes;
        }
        self.refuse_delivered(cx, &reason);
        match self.intensity.failed(cx.now()) {
            Verdict::Restart(pause) => {
                self.counters.restarts += 1;
                self.step = Step::Pausing;
                cx.after(pause, In::Rested { instance: self.version.instance });
                self.advance(cx, shared);
            }
            Verdict::Escalate => {
                self.disable(cx, reason);
                self.advance(cx, shared);
            }
        }
        Fate::Stays
    }

    /// All instances are gone, and those of the calls that may be to blame have failed.
    pub fn on_lost(&mut self, cx: &mut Context<'_>, shared: &mut Shared, reason: &str) {
        if let Some(previous) = self.previous.as_mut().filter(|previous| matches!(previous.step, Step::Ready)) {
            previous.version.begin_anew(cx, shared);
            previous.step = Step::Pausing;
        }
        match self.step {
            // What its last call wants is done first.
            Step::Saving(_) => self.lost = Some(reason.to_owned()),
            Step::Calling(_) | Step::Ready | Step::Resting => self.start_anew(cx, shared, reason),
            Step::Preparing | Step::Pausing | Step::Disabled(_) => {}
        }
    }

    /// Its instance is gone, and it has done nothing wrong. There is no pause: where instances are is made anew after one.
    pub(super) fn start_anew(&mut self, cx: &mut Context<'_>, shared: &mut Shared, reason: &str) {
        self.log(Line { level: 1, text: format!("started anew: {reason}") });
        self.version.begin_anew(cx, shared);
        self.refuse_delivered(cx, reason);
        self.counters.restarts += 1;
        self.step = Step::Pausing;
        if !shared.draining {
            self.open(cx, shared);
        }
    }

    pub(super) fn disable(&mut self, cx: &mut Context<'_>, reason: String) {
        let name = self.version.manifest.name.clone();
        tracing::warn!(plugin = %name, reason, "a plugin is disabled");
        self.last_failure = Some(reason.clone());
        self.refuse_all(cx, |name| Refusal::Disabled { name, reason: reason.clone() });
        while self.mailbox.pop().is_some() {}
        self.step = Step::Disabled(reason);
    }

    pub(super) fn roll_back(&mut self, cx: &mut Context<'_>, shared: &mut Shared, previous: Previous, reason: String) {
        let Previous { version, step, missed, request } = previous;
        let mut failed = std::mem::replace(&mut self.version, version);
        if planted!("rollback-keeps-new") {
            std::mem::swap(&mut self.version, &mut failed);
        }
        failed.begin_anew(cx, shared);
        self.mailbox.resize(self.version.manifest.mailbox);
        let since = self.mailbox.take_own();
        let since =
            since.into_iter().filter(|event| matches!(event, Event::Connected { .. } | Event::Disconnected { .. }));
        for event in missed.into_iter().chain(since) {
            self.mailbox.push(event);
        }
        let (old, new) = (self.version.manifest.version.clone(), failed.manifest.version);
        let reply = Reply::Refused(Refusal::RolledBack { old, new, reason });
        cx.emit(Out::Reply { request, reply });
        self.step = step;
        if matches!(self.step, Step::Pausing) {
            // Its own pause may have ended meanwhile.
            cx.after(Duration::ZERO, In::Rested { instance: self.version.instance });
        }
        self.advance(cx, shared);
    }

    /// It is removed.
    pub fn close(mut self, cx: &mut Context<'_>, shared: &mut Shared) {
        cx.emit(Out::Guest(Command::Close { instance: self.version.instance }));
        self.version.begin_anew(cx, shared);
        let waiting = [self.next.take().map(|next| next.request), self.installer.take()];
        let replaced = self.previous.take().map(|mut previous| {
            cx.emit(Out::Guest(Command::Close { instance: previous.version.instance }));
            previous.version.begin_anew(cx, shared);
            previous.request
        });
        let name = self.version.manifest.name.clone();
        for request in waiting.into_iter().flatten().chain(replaced) {
            cx.emit(Out::Reply { request, reply: Reply::Refused(Refusal::Ended(name.clone())) });
        }
        self.refuse_all(cx, Refusal::Ended);
    }

    pub(super) fn refuse_all(
        &mut self,
        cx: &mut Context<'_>,
        why: impl Fn(pangea_protocols::wire::extension::Name) -> Refusal,
    ) {
        let name = self.version.manifest.name.clone();
        let all: Vec<u64> = self.asks.keys().copied().collect();
        for request in all {
            self.reply(cx, request, Reply::Refused(why(name.clone())));
        }
    }

    /// Who has been heard by an instance that is gone gets no answer.
    pub(super) fn refuse_delivered(&mut self, cx: &mut Context<'_>, reason: &str) {
        let name = self.version.manifest.name.clone();
        let delivered: Vec<u64> =
            self.asks.iter().filter(|(_, asked)| asked.delivered).map(|(request, _)| *request).collect();
        for request in delivered {
            let refusal = Refusal::Failed { name: name.clone(), reason: reason.to_owned() };
            self.reply(cx, request, Reply::Refused(refusal));
        }
    }
}

fn check_imports(manifest: &Manifest, result: &Result<Capabilities, task::Refusal>) -> Result<(), String> {
    let imports = result.as_ref().map_err(ToString::to_string)?;
    let names = |all: Vec<&str>| all.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let missing: Vec<&str> =
        imports.iter().filter(|import| !manifest.imports.has(*import)).map(task::Capability::name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let given = manifest.capabilities().into_iter().filter(|name| *name != "protocol");
    let needed = given.chain(missing.iter().copied()).collect();
    let missing = missing.join(", ");
    Err(format!(
        "the module imports {missing}, which its manifest does not grant; to grant it, write: capabilities = [{}]",
        names(needed)
    ))
}
