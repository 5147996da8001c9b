//! Instances that stay from one call to the next. What is asked of them is [`work`] for the sandbox's threads, in slices, so
//! that no call holds up another one; [`Calls`] makes answers of what comes of it. Not here: threads and queues.

use crate::{
    engine::{Engine, Wasmi, host},
    work::{Begin, Call, Done, State, Work, Workshop},
};
use pangea_protocols::{
    guest::{Command, Event, Line},
    task::TaskId,
};
use std::collections::BTreeMap;

/// Gas of a slice: some milliseconds.
const SLICE_GAS: u64 = 5_000_000;

/// What a command begins with.
pub fn work(command: Command) -> Work {
    match command {
        Command::Prepare { module, bytes } => Work::Prepare { module, bytes },
        Command::Call { instance, open: Some(open), input } => {
            let (module, limits, granted) = (open.module, open.limits, open.granted);
            Work::Open(Box::new(Begin { task: instance, module, limits, granted, input, gas: SLICE_GAS }))
        }
        Command::Call { instance, open: None, input } => {
            Work::Call(Box::new(Call { task: instance, input, gas: SLICE_GAS }))
        }
        Command::Close { instance } => Work::Drop { task: instance },
        Command::CloseAll => Work::DropAll,
    }
}

/// What comes of work.
#[derive(Debug)]
pub enum Progress {
    /// The command is done.
    Done(Event),
    /// There is more to do, after the others.
    More(Work),
}

/// What calls that have not ended have logged so far: as much as each of them may.
#[derive(Debug, Default)]
pub struct Calls(BTreeMap<TaskId, Vec<Line>>);

impl Calls {
    /// A piece of work has been done.
    pub fn on_done(&mut self, done: Done) -> Progress {
        let (instance, new, state) = match done {
            Done::Prepared { module, result } => return Progress::Done(Event::Prepared { module, result }),
            Done::Sliced { task, lines, state } => (task, lines, state),
        };
        let mut lines = self.0.remove(&instance).unwrap_or_default();
        lines.extend(new.into_iter().map(|host::Line { level, text }| Line { level, text }));
        let result = match state {
            State::Running => {
                if !lines.is_empty() {
                    self.0.insert(instance, lines);
                }
                return Progress::More(Work::Continue { task: instance, gas: SLICE_GAS });
            }
            State::Ended { outcome, .. } => Ok(outcome),
            State::Refused(refusal) => Err(refusal),
        };
        Progress::Done(Event::Ended { instance, lines, result })
    }
}

/// A workshop of such instances that does what it is told at once.
pub struct Guests<E: Engine = Wasmi>(Workshop<E>);

impl<E: Engine> Guests<E> {
    /// Without any, in a workshop that keeps up to `cache_bytes` of compiled modules.
    pub fn new(engine: E, cache_bytes: u64) -> Self {
        Self(Workshop::new(engine, cache_bytes))
    }

    /// Instances that are not in a call.
    pub fn instances(&self) -> usize {
        self.0.instances()
    }

    /// Does what a command says on the calling thread, to its end. Never panics, whatever the module.
    pub fn finish(&self, command: Command) -> Option<Event> {
        let (mut calls, mut next) = (Calls::default(), work(command));
        loop {
            match calls.on_done(next.run(&self.0)?) {
                Progress::Done(event) => return Some(event),
                Progress::More(more) => next = more,
            }
        }
    }
}
