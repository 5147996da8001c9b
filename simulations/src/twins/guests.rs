//! The threads that call plugins: the call itself is real, the time it takes is modelled by its gas.
//!
//! A sandbox is made when the first plugin comes: nodes without any, which are most, need none.

use crate::timeline::Timeline;
use pangea_kernel::{Port, Rejected};
use pangea_protocols::guest::{Command, Event};
use pangea_sandbox::{Guests, engine::Wasmi};
use std::{
    sync::{Arc, Mutex, PoisonError},
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

/// The driver's port on a node's timeline; `results` hears what comes of calls.
pub fn open(timeline: Timeline, results: Port<Event>) -> Port<Command> {
    let guests: Arc<Mutex<Option<Guests>>> = Arc::default();
    Port::new(move |command: Command| {
        if timeline.is_closed() {
            return Err(Rejected::Closed(command));
        }
        let mut guests = guests.lock().unwrap_or_else(PoisonError::into_inner);
        if guests.is_none() {
            if matches!(command, Command::CloseAll | Command::Close { .. }) {
                return Ok(());
            }
            // Without a sandbox no call has an end, as on a machine whose threads cannot be started.
            let Ok(engine) = Wasmi::new() else { return Err(Rejected::Closed(command)) };
            *guests = Some(Guests::new(engine, CACHE_BYTES));
        }
        if let Some(event) = guests.as_ref().and_then(|guests| guests.finish(command)) {
            let gas = match &event {
                Event::Ended { result: Ok(outcome), .. } => outcome.gas,
                _ => 0,
            };
            let (again, results) = (timeline.clone(), results.clone());
            timeline
                .after(BASE + Duration::from_secs_f64(gas as f64 / GAS_PER_S), move || offer(&again, results, event));
        }
        Ok(())
    })
}

fn offer(timeline: &Timeline, results: Port<Event>, event: Event) {
    if let Err(Rejected::Full(event)) = results.send(event) {
        let again = timeline.clone();
        timeline.after(MAILBOX_RETRY, move || offer(&again, results, event));
    }
}
