//! [`Sandbox`]: the actor's core, a table of tasks that take turns. Not here: what a slice does (`work`).
//!
//! ```text
//! Run ─▶ waiting ─▶ running: ready ⇄ in a slice ─▶ Done
//!           │                  └──── Cancel, Late ──────▶ Stopped, at the end of the slice
//!           └─────── Cancel ────────────────────────────▶ Stopped
//! ```

use crate::{
    api::{In, Out, Run, Stop, Usage},
    engine::host::Line,
    work::{Begin, Done, State, Work},
};
use pangea_kernel::{Core, Cx, TimerId};
use pangea_protocols::{
    task::{Limits, Refusal, TaskId},
    time::Time,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
};

/// The limits of the actor.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Slices at once: as many as there are workers.
    pub slices_max: usize,
    /// Tasks that have an instance, each with up to its memory limit.
    pub running_max: usize,
    /// Tasks that wait; beyond it they are refused.
    pub waiting_max: usize,
    /// Gas of a slice: some milliseconds.
    pub slice_gas: u64,
    /// The most that a task may ask for.
    pub limits_max: Limits,
}

impl Default for Config {
    fn default() -> Self {
        let limits_max = Limits {
            gas: 1 << 44,
            memory_bytes: 1 << 30,
            table_elements: 1 << 20,
            stack_slots: crate::engine::STACK_SLOTS_MAX,
            output_bytes: 64 << 20,
            log_bytes: 1 << 20,
        };
        Self { slices_max: 2, running_max: 8, waiting_max: 1024, slice_gas: 5_000_000, limits_max }
    }
}

/// The sandbox actor.
pub struct Sandbox {
    config: Config,
    /// Tasks without an instance, the next first.
    waiting: BTreeMap<(Reverse<u8>, u64), Box<Run>>,
    /// Tasks with an instance, or about to have one.
    running: BTreeMap<TaskId, Running>,
    /// Running tasks that are not in a slice: whose turn is next.
    ready: VecDeque<TaskId>,
    /// Tasks in a slice.
    slices: usize,
    arrived: u64,
}

struct Running {
    since: Time,
    late: Option<TimerId>,
    slices: u64,
    stop: Option<Stop>,
}

impl Sandbox {
    /// Without tasks.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            waiting: BTreeMap::new(),
            running: BTreeMap::new(),
            ready: VecDeque::new(),
            slices: 0,
            arrived: 0,
        }
    }

    /// Tasks that wait, and tasks that run.
    pub fn tasks(&self) -> (usize, usize) {
        (self.waiting.len(), self.running.len())
    }

    fn on_run(&mut self, cx: &mut Cx<'_, Self>, run: Box<Run>) {
        let task = run.task;
        if let Some(refusal) = self.refuses(&run) {
            cx.emit(Out::Refused { task, refusal });
            return;
        }
        self.arrived += 1;
        self.waiting.insert((Reverse(run.priority), self.arrived), run);
        self.fill(cx);
    }

    fn refuses(&self, run: &Run) -> Option<Refusal> {
        if self.running.contains_key(&run.task) || self.waiting.values().any(|waiting| waiting.task == run.task) {
            return Some(Refusal::Twice);
        }
        if let Some((what, found, max)) = run.limits.exceeds(&self.config.limits_max) {
            return Some(Refusal::OverLimit { what: what.to_owned(), found, max });
        }
        let full = self.waiting.len() >= self.config.waiting_max;
        full.then_some(Refusal::Busy { waiting: self.waiting.len() as u64 })
    }

    /// Gives free workers a slice: to tasks that wait, while there is room for their instances, then to those that run,
    /// in turns.
    fn fill(&mut self, cx: &mut Cx<'_, Self>) {
        while self.slices < self.config.slices_max {
            let room = self.running.len() < self.config.running_max;
            if let Some((_, run)) = room.then(|| self.waiting.pop_first()).flatten() {
                self.begin(cx, *run);
            } else if let Some(task) = self.ready.pop_front() {
                cx.emit(Out::Work(Work::Continue { task, gas: self.config.slice_gas }));
            } else {
                return;
            }
            self.slices += 1;
        }
    }

    fn begin(&mut self, cx: &mut Cx<'_, Self>, run: Run) {
        let Run { task, module, input, limits, granted, wall_max, .. } = run;
        let late = wall_max.map(|wall| cx.after(wall, In::Late { task }));
        self.running.insert(task, Running { since: cx.now(), late, slices: 0, stop: None });
        cx.emit(Out::Started { task });
        let gas = self.config.slice_gas;
        cx.emit(Out::Work(Work::Begin(Box::new(Begin { task, module, limits, granted, input, gas }))));
    }

    fn on_stop(&mut self, cx: &mut Cx<'_, Self>, task: TaskId, why: Stop) {
        let waits = self.waiting.iter().find(|(_, run)| run.task == task).map(|(place, _)| *place);
        if let Some(place) = waits {
            self.waiting.remove(&place);
            cx.emit(Out::Stopped { task, why });
            return;
        }
        let Some(running) = self.running.get_mut(&task) else { return };
        if let Some(turn) = self.ready.iter().position(|ready| *ready == task) {
            self.ready.remove(turn);
            self.stop(cx, task, why);
            self.fill(cx);
        } else {
            // It is in a slice, whose end is awaited.
            running.stop.get_or_insert(why);
        }
    }

    fn stop(&mut self, cx: &mut Cx<'_, Self>, task: TaskId, why: Stop) {
        self.forget(cx, task);
        cx.emit(Out::Work(Work::Drop { task }));
        cx.emit(Out::Stopped { task, why });
    }

    fn forget(&mut self, cx: &mut Cx<'_, Self>, task: TaskId) -> Option<Running> {
        let running = self.running.remove(&task)?;
        if let Some(late) = running.late {
            cx.cancel(late);
        }
        Some(running)
    }

    fn on_sliced(&mut self, cx: &mut Cx<'_, Self>, task: TaskId, lines: Vec<Line>, state: State) {
        let Some(running) = self.running.get_mut(&task) else {
            // Of a life before a panic: this core did not ask for it.
            if state == State::Running {
                cx.emit(Out::Work(Work::Drop { task }));
            }
            return;
        };
        running.slices += 1;
        let stop = running.stop;
        self.slices -= 1;
        for line in lines {
            cx.emit(Out::Line { task, line });
        }
        match (state, stop) {
            (State::Running, Some(why)) => self.stop(cx, task, why),
            (State::Running, None) => self.ready.push_back(task),
            (State::Ended { outcome, receipt }, _) => {
                if let Some(running) = self.forget(cx, task) {
                    let usage = Usage { wall: cx.now().since(running.since), slices: running.slices };
                    cx.emit(Out::Done { task, outcome, receipt, usage });
                }
            }
            (State::Refused(refusal), _) => {
                self.forget(cx, task);
                cx.emit(Out::Refused { task, refusal });
            }
        }
        self.fill(cx);
    }
}

impl Core for Sandbox {
    type In = In;
    type Out = Out;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        cx.emit(Out::Work(Work::DropAll));
        cx.emit(Out::Began);
    }

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: In) {
        match event {
            In::Install { module, bytes } => cx.emit(Out::Work(Work::Prepare { module, bytes })),
            In::Run(run) => self.on_run(cx, run),
            In::Cancel { task } => self.on_stop(cx, task, Stop::Cancelled),
            In::Late { task } => self.on_stop(cx, task, Stop::Late),
            In::Worked(Done::Prepared { module, result }) => cx.emit(Out::Installed { module, result }),
            In::Worked(Done::Sliced { task, lines, state }) => self.on_sliced(cx, task, lines, state),
        }
    }
}
