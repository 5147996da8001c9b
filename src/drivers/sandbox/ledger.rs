//! [`Ledger`]: what the child has been asked and has not answered, and whose instances it holds. Not here: the child.
//!
//! The child has no queue: it is asked no more at once than it has threads, so the age of a question is how long a thread
//! has been at it. A task whose instance died with a child is refused at its next slice, with the reason of that death.

use super::{
    frame::Bounds,
    message::{PLAIN_BOUNDS, slice_bounds},
};
use pangea_protocols::{
    Hash,
    task::{Ending, Refusal, TaskId},
};
use pangea_sandbox::work::{Done, State, Work};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Instances that one child may hold. The actor stays far below it.
const HELD_MAX: usize = 4096;

/// The number of work that has no answer.
pub const UNANSWERED: u64 = 0;

/// How long the child may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a slice.
    pub slice: Duration,
    /// To pass and compile a module.
    pub prepare: Duration,
}

/// Which answer is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Module(Hash),
    Task(TaskId),
}

#[derive(Debug)]
struct Asked {
    about: About,
    bounds: Bounds,
    until: Instant,
}

/// An instance in the child.
#[derive(Clone, Copy, Debug)]
struct Held {
    bounds: Bounds,
    /// It is called again after a call that has ended well.
    stays: bool,
}

/// What becomes of a piece of work.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// To the child, under this number.
    Send(u64),
    /// It is refused without asking the child, and why.
    Refuse(String),
}

/// See the module.
#[derive(Debug)]
pub struct Ledger {
    threads: usize,
    patience: Patience,
    asked: BTreeMap<u64, Asked>,
    /// Tasks with an instance in the child or on its way there, and what an answer about them may have.
    held: BTreeMap<TaskId, Held>,
    next: u64,
    /// Until when what is being sent must be in the pipe.
    sending: Option<Instant>,
    /// Why the last child ended.
    lost: String,
}

/// The answer to `work` that there is none, if it has one at all.
pub fn refuse(work: &Work, message: String) -> Option<Done> {
    let about = match work {
        Work::Prepare { module, .. } => About::Module(*module),
        Work::Begin(begin) | Work::Open(begin) => About::Task(begin.task),
        Work::Call(call) => About::Task(call.task),
        Work::Continue { task, .. } => About::Task(*task),
        Work::Drop { .. } | Work::DropAll => return None,
    };
    Some(refused(about, message))
}

fn refused(about: About, message: String) -> Done {
    let refusal = Refusal::Node { message };
    match about {
        About::Module(module) => Done::Prepared { module, result: Err(refusal) },
        About::Task(task) => Done::Sliced { task, lines: Vec::new(), state: State::Refused(refusal) },
    }
}

/// Is the instance still there after a slice that ended like this?
pub fn is_there(state: &State, stays: bool) -> bool {
    match state {
        State::Running => true,
        State::Ended { outcome, .. } => stays && matches!(outcome.ending, Ending::Output(_)),
        State::Refused(_) => false,
    }
}

impl Ledger {
    /// An empty one for a child of so many threads.
    pub fn new(threads: usize, patience: Patience) -> Self {
        let (asked, held) = (BTreeMap::new(), BTreeMap::new());
        Self { threads, patience, asked, held, next: UNANSWERED, sending: None, lost: String::new() }
    }

    /// Has the child a thread for this work?
    pub fn has_room(&self, work: &Work) -> bool {
        self.asked.len() < self.threads || matches!(work, Work::Drop { .. } | Work::DropAll)
    }

    /// Writes down what is to be sent.
    pub fn admit(&mut self, work: &Work, now: Instant) -> Admission {
        self.sending = Some(now + self.patience.slice);
        let (about, bounds, patience) = match work {
            Work::Prepare { module, .. } => (About::Module(*module), PLAIN_BOUNDS, self.patience.prepare),
            Work::Begin(begin) | Work::Open(begin) => {
                if self.held.len() >= HELD_MAX {
                    return Admission::Refuse(format!("the sandbox process holds {HELD_MAX} instances already"));
                }
                let bounds = slice_bounds(&begin.limits);
                self.held.insert(begin.task, Held { bounds, stays: matches!(work, Work::Open(_)) });
                (About::Task(begin.task), bounds, self.patience.slice)
            }
            Work::Continue { .. } | Work::Call(_) => {
                let held = work.task().and_then(|task| Some((task, self.held.get(&task)?)));
                let Some((task, held)) = held else { return Admission::Refuse(self.lost.clone()) };
                (About::Task(task), held.bounds, self.patience.slice)
            }
            Work::Drop { task } => {
                self.held.remove(task);
                return Admission::Send(UNANSWERED);
            }
            Work::DropAll => {
                self.held.clear();
                return Admission::Send(UNANSWERED);
            }
        };
        self.next += 1;
        self.asked.insert(self.next, Asked { about, bounds, until: now + patience });
        Admission::Send(self.next)
    }

    /// What the answer to a question may have; `None` if it was not asked.
    pub fn bounds(&self, number: u64) -> Option<Bounds> {
        self.asked.get(&number).map(|asked| asked.bounds)
    }

    /// Crosses out a question. False if `done` is no answer to it: then it is still owed.
    pub fn answered(&mut self, number: u64, done: &Done) -> bool {
        let about = match done {
            Done::Prepared { module, .. } => About::Module(*module),
            Done::Sliced { task, .. } => About::Task(*task),
        };
        if self.asked.get(&number).is_none_or(|asked| asked.about != about) {
            return false;
        }
        self.asked.remove(&number);
        if let Done::Sliced { task, state, .. } = done
            && !self.held.get(task).is_some_and(|held| is_there(state, held.stays))
        {
            self.held.remove(task);
        }
        true
    }

    /// What was admitted is in the pipe.
    pub fn sent(&mut self) {
        self.sending = None;
    }

    /// Answers were not looked at for so long: not the child's fault.
    pub fn postpone(&mut self, by: Duration) {
        self.asked.values_mut().for_each(|asked| asked.until += by);
    }

    /// Has a question waited for longer than it may, or does the child not read?
    pub fn is_overdue(&self, now: Instant) -> bool {
        let waits = self.asked.values().map(|asked| asked.until);
        waits.chain(self.sending).any(|until| now > until)
    }

    /// The child is gone: the answers to all that it was asked.
    pub fn lose(&mut self, why: &str) -> Vec<Done> {
        why.clone_into(&mut self.lost);
        self.held.clear();
        self.sending = None;
        std::mem::take(&mut self.asked).into_values().map(|asked| refused(asked.about, why.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use pangea_protocols::task::{Capabilities, Input, Limits};
    use pangea_sandbox::work::Begin;

    const MODULE: Hash = Hash([7; 32]);

    fn ledger() -> Ledger {
        let second = Duration::from_secs(1);
        Ledger::new(2, Patience { slice: second, prepare: 10 * second })
    }

    fn begin(task: u64) -> Work {
        let (limits, granted, input) = (Limits::default(), Capabilities::NONE, Input::default());
        Work::Begin(Box::new(Begin { task: TaskId(task), module: MODULE, limits, granted, input, gas: 1 }))
    }

    fn ran(task: u64, state: State) -> Done {
        Done::Sliced { task: TaskId(task), lines: Vec::new(), state }
    }

    fn gone(task: u64, why: &str) -> Done {
        ran(task, State::Refused(Refusal::Node { message: why.to_owned() }))
    }

    #[test]
    fn questions_have_numbers_that_only_their_answers_cross_out() {
        let (mut ledger, now) = (ledger(), Instant::now());
        let prepare = Work::Prepare { module: MODULE, bytes: Bytes::new() };
        assert_eq!(ledger.admit(&prepare, now), Admission::Send(1));
        assert_eq!(ledger.admit(&begin(5), now), Admission::Send(2));
        assert!(!ledger.has_room(&begin(6)) && ledger.has_room(&Work::DropAll), "two threads are at work");
        assert_eq!((ledger.bounds(1), ledger.bounds(UNANSWERED), ledger.bounds(3)), (Some(PLAIN_BOUNDS), None, None));
        assert_eq!(ledger.bounds(2), Some(slice_bounds(&Limits::default())));
        assert!(ledger.answered(2, &ran(5, State::Running)));
        assert!(ledger.has_room(&begin(6)));
        assert!(!ledger.answered(2, &ran(5, State::Running)), "answered twice");
        assert!(!ledger.answered(1, &ran(5, State::Running)), "another question");
        let module = Done::Prepared { module: MODULE, result: Err(Refusal::Node { message: "lied".to_owned() }) };
        assert_eq!(ledger.lose("lied"), [module], "a lie is no answer");
    }

    #[test]
    fn what_a_dead_child_owed_is_answered_and_its_instances_are_missed_at_their_next_slice() {
        let (mut ledger, now) = (ledger(), Instant::now());
        let next = |task| Work::Continue { task: TaskId(task), gas: 1 };
        ledger.admit(&begin(1), now);
        assert!(ledger.answered(1, &ran(1, State::Running)));
        ledger.admit(&begin(2), now);
        ledger.admit(&Work::Prepare { module: MODULE, bytes: Bytes::new() }, now);
        let module = Done::Prepared { module: MODULE, result: Err(Refusal::Node { message: "died".to_owned() }) };
        assert_eq!(ledger.lose("died"), [gone(2, "died"), module]);
        assert_eq!(ledger.admit(&next(1), now), Admission::Refuse("died".to_owned()));
        assert_eq!(ledger.admit(&begin(3), now), Admission::Send(4));
        assert!(ledger.answered(4, &ran(3, State::Running)));
        assert_eq!(ledger.admit(&next(3), now), Admission::Send(5));
        assert!(ledger.answered(5, &gone(3, "of its own")));
        assert_eq!(ledger.admit(&next(3), now), Admission::Refuse("died".to_owned()), "it has ended");
        assert_eq!(ledger.lose("again"), []);
    }

    #[test]
    fn a_slice_is_overdue_sooner_than_a_compilation() {
        let (mut ledger, now) = (ledger(), Instant::now());
        ledger.admit(&Work::Prepare { module: MODULE, bytes: Bytes::new() }, now);
        ledger.sent();
        assert!(!ledger.is_overdue(now + Duration::from_secs(9)) && ledger.is_overdue(now + Duration::from_secs(11)));
        ledger.sent();
        ledger.admit(&begin(1), now);
        assert!(!ledger.is_overdue(now) && ledger.is_overdue(now + Duration::from_secs(2)));
        ledger.sent();
        ledger.postpone(Duration::from_secs(2));
        assert!(!ledger.is_overdue(now + Duration::from_secs(2)), "nobody looked");
        ledger.lose("died");
        ledger.admit(&Work::DropAll, now);
        assert!(ledger.is_overdue(now + Duration::from_secs(2)), "it does not read");
        ledger.sent();
        assert!(!ledger.is_overdue(now + Duration::from_secs(99)));
    }

    #[test]
    fn instances_are_bounded() {
        let (mut ledger, now) = (ledger(), Instant::now());
        for task in 0..HELD_MAX as u64 {
            assert_eq!(ledger.admit(&begin(task), now), Admission::Send(task + 1));
        }
        assert!(matches!(ledger.admit(&begin(9999), now), Admission::Refuse(_)));
        assert_eq!(ledger.admit(&Work::Drop { task: TaskId(3) }, now), Admission::Send(UNANSWERED));
        assert!(matches!(ledger.admit(&begin(9999), now), Admission::Send(_)));
    }
}
