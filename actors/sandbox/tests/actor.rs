//! The actor: turns, queue, limits, cancellation, refusals. The cpu driver is a list of work that the test runs itself.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use bytes::Bytes;
use pangea_kernel::testbed::Testbed;
use pangea_protocols::{
    Hash,
    task::{Capabilities, Capability, Ending, Input, Limits, Refusal, TaskId, Trap, input_hash},
};
use pangea_sandbox::{
    Sandbox, Workshop,
    api::{In, Out, Run, Stop},
    engine::Wasmi,
    sandbox::Config,
    work::Work,
};
use std::{collections::VecDeque, time::Duration};
use world::{KERNELS, guest, guest_with, kernel_input};

/// One sandbox with one worker.
struct World {
    bed: Testbed<Sandbox>,
    workshop: Workshop<Wasmi>,
    work: VecDeque<Work>,
    outs: Vec<Out>,
}

impl World {
    fn new(config: Config) -> Self {
        let workshop = Workshop::new(world::engine(), 64 << 20);
        Self { bed: Testbed::new(Sandbox::new(config)), workshop, work: VecDeque::new(), outs: Vec::new() }
    }

    fn send(&mut self, event: In) {
        for out in self.bed.send(event) {
            match out {
                Out::Work(work) => self.work.push_back(work),
                // For those who had tasks in an earlier life.
                Out::Began => {}
                out => self.outs.push(out),
            }
        }
    }

    /// Runs one piece of work; whether there was one.
    fn step(&mut self) -> bool {
        let Some(work) = self.work.pop_front() else { return false };
        if let Some(done) = work.run(&self.workshop) {
            self.send(In::Worked(done));
        }
        true
    }

    fn finish(&mut self) -> Vec<Out> {
        while self.step() {}
        std::mem::take(&mut self.outs)
    }

    fn install(&mut self, bytes: Vec<u8>) -> Hash {
        let module = Hash::of(&bytes);
        self.send(In::Install { module, bytes: bytes.into() });
        let outs = self.finish();
        assert!(matches!(&outs[..], [Out::Installed { result: Ok(_), .. }]), "{outs:?}");
        module
    }

    fn run(&mut self, task: u64, module: Hash, input: &[u8]) {
        self.send(In::Run(Box::new(run(task, module, input))));
    }
}

fn run(task: u64, module: Hash, input: &[u8]) -> Run {
    let input = Input { bytes: Bytes::copy_from_slice(input), ..Input::default() };
    let limits = Limits { gas: 10_000_000, ..Limits::default() };
    let granted = Capabilities::NONE.with(Capability::Log);
    Run { task: TaskId(task), module, input, limits, granted, priority: 0, wall_max: None }
}

fn small() -> Config {
    Config { slices_max: 1, running_max: 2, waiting_max: 3, slice_gas: 20_000, ..Config::default() }
}

/// Tasks in the order in which they were answered.
fn order(outs: &[Out]) -> Vec<(char, u64)> {
    let name = |out: &Out| match out {
        Out::Started { task } => Some(('s', task.0)),
        Out::Done { task, .. } => Some(('d', task.0)),
        Out::Refused { task, .. } => Some(('r', task.0)),
        Out::Stopped { task, .. } => Some(('x', task.0)),
        _ => None,
    };
    outs.iter().filter_map(name).collect()
}

const ENDLESS: &str = "(loop (br 0)) (i64.const 0)";

#[test]
fn a_task_ends_with_outcome_receipt_and_usage() {
    let mut world = World::new(small());
    let module = world.install(KERNELS.to_vec());
    let input = kernel_input(0, 40);
    world.run(1, module, &input);
    let outs = world.finish();
    assert_eq!(order(&outs), [('s', 1), ('d', 1)]);
    let Some(Out::Done { outcome, receipt, usage, .. }) = outs.last() else { panic!() };
    let Ending::Output(output) = &outcome.ending else { panic!() };
    let given = Input { bytes: input.into(), ..Input::default() };
    assert_eq!((receipt.module, receipt.input), (module, input_hash(&given)));
    assert_eq!((receipt.output, receipt.gas), (Ok(Hash::of(output)), outcome.gas));
    assert!(usage.slices > outcome.gas / 25_000, "{usage:?}");
    assert_eq!(world.workshop.instances(), 0);
}

#[test]
fn tasks_take_turns_and_those_that_wait_go_by_priority() {
    let mut world = World::new(small());
    let module = world.install(KERNELS.to_vec());
    world.run(1, module, &kernel_input(2, 20_000));
    world.run(2, module, &kernel_input(2, 300));
    world.run(3, module, &kernel_input(2, 300));
    world.send(In::Run(Box::new(Run { priority: 9, ..run(4, module, &kernel_input(2, 300)) })));
    assert_eq!(world.bed.core.tasks(), (3, 1));
    let outs = world.finish();
    assert_eq!(order(&outs), [('s', 1), ('s', 4), ('d', 4), ('s', 2), ('d', 2), ('s', 3), ('d', 3), ('d', 1)]);
}

#[test]
fn a_queue_that_is_full_says_how_long_it_is() {
    let mut world = World::new(small());
    let module = world.install(guest(ENDLESS));
    for task in 0..6 {
        world.run(task, module, b"");
    }
    let refused: Vec<_> = world.outs.iter().filter(|out| matches!(out, Out::Refused { .. })).collect();
    let [Out::Refused { task: TaskId(4), refusal }, Out::Refused { task: TaskId(5), .. }] = &refused[..] else {
        panic!("{refused:?}")
    };
    assert_eq!(*refusal, Refusal::Busy { waiting: 3 });
    let outs = world.finish();
    let traps = |out: &&Out| matches!(out, Out::Done { receipt, .. } if receipt.output == Err(Trap::Gas));
    assert_eq!(outs.iter().filter(traps).count(), 4);
}

#[test]
fn a_cancelled_task_ends_within_a_slice_wherever_it_is() {
    let mut world = World::new(small());
    let module = world.install(guest(ENDLESS));
    for task in 1..4 {
        world.run(task, module, b"");
    }
    world.step();
    world.step();
    assert_eq!(world.bed.core.tasks(), (1, 2));
    // 1 is in a slice again, 2 is ready, 3 waits.
    for task in [3, 2, 1, 7] {
        world.send(In::Cancel { task: TaskId(task) });
    }
    assert_eq!(order(&world.outs), [('s', 1), ('s', 2), ('x', 3), ('x', 2)]);
    let pieces = world.work.len();
    assert!(pieces <= 2, "one slice and one drop: {pieces}");
    let outs = world.finish();
    assert_eq!(order(&outs)[4..], [('x', 1)]);
    assert_eq!((world.bed.core.tasks(), world.workshop.instances()), ((0, 0), 0));
}

#[test]
fn a_task_that_takes_too_long_by_the_clock_is_stopped() {
    let mut world = World::new(small());
    let module = world.install(guest(ENDLESS));
    let wall_max = Some(Duration::from_secs(3));
    world.send(In::Run(Box::new(Run { wall_max, ..run(1, module, b"") })));
    world.step();
    assert!(world.bed.advance(Duration::from_secs(4)).is_empty(), "it is in a slice");
    let outs = world.finish();
    assert!(matches!(outs.last(), Some(Out::Stopped { task: TaskId(1), why: Stop::Late })), "{outs:?}");
    assert_eq!(world.bed.next_timer(), None);
}

#[test]
fn what_cannot_be_run_is_refused_with_its_reason() {
    let mut world = World::new(small());
    let bad = Bytes::from_static(b"not wasm");
    world.send(In::Install { module: Hash::of(&bad), bytes: bad.clone() });
    world.send(In::Install { module: Hash([1; 32]), bytes: KERNELS.to_vec().into() });
    for out in world.finish() {
        assert!(matches!(&out, Out::Installed { result: Err(Refusal::Invalid { .. }), .. }), "{out:?}");
    }
    let imports = r#"(import "pangea" "send" (func (param i32 i32))) (;rest;)"#;
    let sends = world.install(guest_with(imports, "(i64.const 0)"));
    let cases = [
        (run(1, Hash::of(&bad), b""), "invalid module"),
        (run(2, Hash([9; 32]), b""), "not installed"),
        (run(3, sends, b""), "capabilities = [\"send\", \"log\"]"),
        (Run { limits: Limits { memory_bytes: 1 << 40, ..Limits::default() }, ..run(4, sends, b"") }, "memory_bytes"),
    ];
    for (run, words) in cases {
        world.send(In::Run(Box::new(run)));
        let outs = world.finish();
        let Some(Out::Refused { refusal, .. }) = outs.last() else { panic!("{outs:?}") };
        assert!(refusal.to_string().contains(words), "{refusal}");
    }
    let granted = Capabilities::NONE.with(Capability::Send);
    world.send(In::Run(Box::new(Run { granted, ..run(5, sends, b"") })));
    world.send(In::Run(Box::new(run(5, sends, b""))));
    let outs = world.finish();
    assert_eq!(order(&outs), [('s', 5), ('r', 5), ('d', 5)]);
}

#[test]
fn log_lines_come_while_a_task_runs() {
    let mut world = World::new(small());
    let imports = r#"(import "pangea" "log" (func $log (param i32 i32 i32))) (;rest;) (data (i32.const 0) "hello")"#;
    let talks = format!("(call $log (i32.const 2) (i32.const 0) (i32.const 5)) {ENDLESS}");
    let module = world.install(guest_with(imports, &talks));
    world.run(1, module, b"");
    world.step();
    let said = |out: &Out| matches!(out, Out::Line { line, .. } if line.text == "hello" && line.level == 2);
    assert!(said(world.outs.last().unwrap()), "{:?}", world.outs);
}

#[test]
fn a_core_that_begins_anew_leaves_no_instances_behind() {
    let mut world = World::new(small());
    let module = world.install(guest(ENDLESS));
    world.run(1, module, b"");
    world.step();
    assert_eq!(world.workshop.instances(), 1);
    // One slice is on its way when the core is rebuilt.
    let on_its_way = std::mem::take(&mut world.work);
    world.bed = Testbed::new(Sandbox::new(small()));
    world.send(In::Cancel { task: TaskId(77) });
    assert!(matches!(world.work.front(), Some(Work::DropAll)));
    let late: Vec<_> = on_its_way.into_iter().filter_map(|work| work.run(&world.workshop)).collect();
    while world.step() {}
    for done in late {
        world.send(In::Worked(done));
    }
    world.finish();
    assert_eq!(world.workshop.instances(), 0);
    world.run(2, module, b"");
    assert_eq!(order(&world.finish()), [('s', 2), ('d', 2)]);
}
