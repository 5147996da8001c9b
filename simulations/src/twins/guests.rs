//! The process that calls plugins: the call itself is real, the time it takes is modelled by its gas, and the process can
//! end.
//!
//! A sandbox is made when the first plugin comes: nodes without any, which are most, need none.

use crate::timeline::Timeline;
use pangea_kernel::{Port, Rejected};
use pangea_protocols::{
    guest::{Command, Event},
    task::Refusal,
};
use pangea_sandbox::{Guests as Sandbox, engine::Wasmi};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What every command costs …
const BASE: Duration = Duration::from_micros(200);
/// … and so much gas is used in a second.
const GAS_PER_S: f64 = 200e6;
/// Compiled modules that are kept.
const CACHE_BYTES: u64 = 64 << 20;
/// Until a result is offered again to a full mailbox, as the driver does.
const MAILBOX_RETRY: Duration = Duration::from_millis(1);
/// Why it ended.
const KILLED: &str = "the sandbox process was killed";

/// What calls the plugins of one node, in all its lives. Clones are the same.
#[derive(Clone)]
pub struct Guests {
    timeline: Timeline,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    sandbox: Option<Sandbox>,
    /// Where results go in this life of the node.
    results: Option<Port<Event>>,
    /// What is being done, and what is heard of it if the process ends.
    at_it: BTreeMap<u64, Event>,
    next: u64,
}

impl Guests {
    /// Without plugins.
    pub fn new(timeline: Timeline) -> Self {
        Self { timeline, state: Arc::default() }
    }

    /// The driver's port in one life of the node; `results` hears what comes of calls.
    pub fn open(&self, results: Port<Event>) -> Port<Command> {
        let next = self.state().next;
        *self.state() = State { results: Some(results.clone()), next, ..State::default() };
        let guests = self.clone();
        Port::new(move |command: Command| guests.on(&results, command))
    }

    fn on(&self, results: &Port<Event>, command: Command) -> Result<(), Rejected<Command>> {
        if self.timeline.is_closed() {
            return Err(Rejected::Closed(command));
        }
        let mut state = self.state();
        if state.sandbox.is_none() {
            if matches!(command, Command::CloseAll | Command::Close { .. }) {
                return Ok(());
            }
            // Without a sandbox no call has an end, as on a machine whose threads cannot be started.
            let Ok(engine) = Wasmi::new() else { return Err(Rejected::Closed(command)) };
            state.sandbox = Some(Sandbox::new(engine, CACHE_BYTES));
        }
        let killed = killed(&command);
        let event = state.sandbox.as_ref().and_then(|sandbox| sandbox.finish(command));
        if let (Some(event), Some(killed)) = (event, killed) {
            let gas = match &event {
                Event::Ended { result: Ok(outcome), .. } => outcome.gas,
                _ => 0,
            };
            let number = state.next;
            state.next += 1;
            state.at_it.insert(number, killed);
            let (guests, results) = (self.clone(), results.clone());
            self.timeline.after(BASE + Duration::from_secs_f64(gas as f64 / GAS_PER_S), move || {
                if guests.state().at_it.remove(&number).is_some() {
                    offer(&guests.timeline, results, event);
                }
            });
        }
        Ok(())
    }

    /// The process ends, and another takes its place.
    pub fn end(&self) {
        let mut state = self.state();
        let Some(results) = state.results.clone().filter(|_| state.sandbox.take().is_some()) else { return };
        let failed = std::mem::take(&mut state.at_it).into_values();
        drop(state);
        for event in failed.chain([Event::Lost { reason: KILLED.to_owned() }]) {
            offer(&self.timeline, results.clone(), event);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn killed(command: &Command) -> Option<Event> {
    let refusal = Refusal::Node { message: KILLED.to_owned() };
    match command {
        Command::Prepare { module, .. } => Some(Event::Prepared { module: *module, result: Err(refusal) }),
        Command::Call { instance, .. } => {
            Some(Event::Ended { instance: *instance, lines: Vec::new(), result: Err(refusal) })
        }
        Command::Close { .. } | Command::CloseAll => None,
    }
}

fn offer(timeline: &Timeline, results: Port<Event>, event: Event) {
    if let Err(Rejected::Full(event)) = results.send(event) {
        let again = timeline.clone();
        timeline.after(MAILBOX_RETRY, move || offer(&again, results, event));
    }
}
