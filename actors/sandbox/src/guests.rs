//! [`Guests`]: instances that stay from one call to the next, in a workshop of their own. Not here: threads, and who is
//! called when: a driver gives [`Piece`]s of work to whichever thread is free, and queues what is left of one at the end.

use crate::{
    engine::{Engine, Wasmi, host},
    work::{Begin, Call, Done, State, Work, Workshop},
};
use pangea_protocols::{
    guest::{Command, Event, Line},
    task::{Refusal, TaskId},
};

/// Gas of a slice: some milliseconds.
const SLICE_GAS: u64 = 5_000_000;

/// The workshop of guests that stay.
pub struct Guests<E: Engine = Wasmi>(Workshop<E>);

/// A piece of work of some milliseconds, or a compilation.
#[derive(Debug)]
pub enum Piece {
    /// A command, from its beginning.
    New(Command),
    /// The next slice of a call, with what was logged before.
    Next { instance: TaskId, lines: Vec<Line> },
}

/// What a piece came to.
#[derive(Debug)]
pub enum Progress {
    /// The command is done, and was answered if it is one that is.
    Done(Option<Event>),
    /// There is more to do.
    More(Piece),
}

impl<E: Engine> Guests<E> {
    /// Without any, in a workshop that keeps up to `cache_bytes` of compiled modules.
    pub fn new(engine: E, cache_bytes: u64) -> Self {
        Self(Workshop::new(engine, cache_bytes))
    }

    /// Instances that are not in a call.
    pub fn instances(&self) -> usize {
        self.0.instances()
    }

    /// Runs on the calling thread. Never panics, whatever the module.
    pub fn run(&self, piece: Piece) -> Progress {
        let (work, before) = match piece {
            Piece::New(Command::Prepare { module, bytes }) => (Work::Prepare { module, bytes }, Vec::new()),
            Piece::New(Command::Call { instance, open, input }) => {
                let (task, gas) = (instance, SLICE_GAS);
                let work = match open {
                    Some(open) => {
                        let (module, limits, granted) = (open.module, open.limits, open.granted);
                        Work::Open(Box::new(Begin { task, module, limits, granted, input, gas }))
                    }
                    None => Work::Call(Box::new(Call { task, input, gas })),
                };
                (work, Vec::new())
            }
            Piece::New(Command::Close { instance }) => (Work::Drop { task: instance }, Vec::new()),
            Piece::New(Command::CloseAll) => (Work::DropAll, Vec::new()),
            Piece::Next { instance, lines } => (Work::Continue { task: instance, gas: SLICE_GAS }, lines),
        };
        match work.run(&self.0) {
            None => Progress::Done(None),
            Some(Done::Prepared { module, result }) => Progress::Done(Some(Event::Prepared { module, result })),
            Some(Done::Sliced { task, lines, state }) => sliced(task, before, lines, state),
        }
    }

    /// Runs a command to its end.
    pub fn finish(&self, command: Command) -> Option<Event> {
        let mut piece = Piece::New(command);
        loop {
            match self.run(piece) {
                Progress::Done(event) => return event,
                Progress::More(more) => piece = more,
            }
        }
    }
}

fn sliced(instance: TaskId, mut lines: Vec<Line>, new: Vec<host::Line>, state: State) -> Progress {
    lines.extend(new.into_iter().map(|host::Line { level, text }| Line { level, text }));
    let result: Result<_, Refusal> = match state {
        State::Running => return Progress::More(Piece::Next { instance, lines }),
        State::Ended { outcome, .. } => Ok(outcome),
        State::Refused(refusal) => Err(refusal),
    };
    Progress::Done(Some(Event::Ended { instance, lines, result }))
}
