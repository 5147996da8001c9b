//! What it costs to run guests in a jailed process: to start it, to ask it, to send it bytes.
//!
//! `cargo bench --bench sandbox_process`. Bars: from its start to its first frame at most twice as long jailed as unjailed
//! (best of 30), and an answer to a tiny piece of work at most 100 µs later than from a thread of this process (median of
//! 2,000); the same for a message of 64 bytes to a plugin and back. The figures are compared within one run; on a machine
//! with other work, look at the best as well.
//!
//! Not here: what a guest costs (`cargo bench -p pangea-sandbox`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr
)]

#[path = "measure/mod.rs"]
mod measure;

use bytes::Bytes;
use measure::{Bars, machine, number, quantile};
use pangea::drivers::sandbox::{
    Answers, SandboxProcess, SandboxThreads, Settings, jail::Layers, plugins, process::Tenants, to_actor,
};
use pangea_kernel::{Port, Rejected};
use pangea_protocols::{
    Hash,
    guest::{Command, Event, Open},
    task::{Capabilities, Input, Limits, TaskId},
};
use pangea_sandbox::{
    api::In,
    work::{Begin, Done, State, Work},
};
use std::{
    sync::mpsc::{Receiver, TrySendError, sync_channel},
    time::Instant,
};

const CACHE_BYTES: u64 = 64 << 20;
const MEMORY_BYTES: u64 = 512 << 20;
const SPAWN_RATIO_MAX: f64 = 2.0;
const EXTRA_MICROS_MAX: f64 = 100.0;

/// Returns what it is given, from where it is put.
const ECHO: &str = r#"(module (memory (export "memory") 1)
    (func (export "alloc") (param $len i32) (result i32)
        (drop (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get $len) (i32.const 16))))) (i32.const 1024))
    (func (export "handle") (param i32 i32) (result i64)
        (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1)))))"#;

fn main() {
    println!("{}\n", machine());
    let mut bars = Bars::default();
    spawn(&mut bars);
    round_trips(&mut bars);
    plugin_calls(&mut bars);
    std::process::exit(bars.exit_code());
}

fn settings(layers: Layers) -> Settings {
    let program = env!("CARGO_BIN_EXE_pangea").into();
    Settings { program, layers, ..Settings::new(2, CACHE_BYTES, MEMORY_BYTES).unwrap() }
}

/// Takes answers, and gives them out.
fn results() -> (Answers, Receiver<In>) {
    let (port, answers) = channel();
    (to_actor(port), answers)
}

fn channel<M: Send + 'static>() -> (Port<M>, Receiver<M>) {
    let (sender, answers) = sync_channel(64);
    let port = Port::new(move |message| {
        sender.try_send(message).map_err(|error| match error {
            TrySendError::Full(message) => Rejected::Full(message),
            TrySendError::Disconnected(message) => Rejected::Closed(message),
        })
    });
    (port, answers)
}

/// Start of a process to its first frame, jailed and not, in turns.
fn spawn(bars: &mut Bars) {
    let count = number("PANGEA_BENCH_SPAWNS", 30);
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..count {
        for (layers, took) in [Layers::None, Layers::All].into_iter().zip(&mut took) {
            let (since, (port, _answers)) = (Instant::now(), results());
            let (process, work) = SandboxProcess::start(settings(layers), port).unwrap();
            took.push(since.elapsed().as_secs_f64() * 1e3);
            drop(work);
            process.join();
        }
    }
    let of = |took: &Vec<f64>, part| quantile(took.iter().copied(), part);
    println!("start to ready, {count} starts     best ms    p50 ms    p90 ms");
    for (name, took) in ["unjailed", "jailed"].iter().zip(&took) {
        println!("{name:<28} {:>10.2}{:>10.2}{:>10.2}", of(took, 0.0), of(took, 0.5), of(took, 0.9));
    }
    let ratio = of(&took[1], 0.0) / of(&took[0], 0.0);
    bars.at_most("a jailed start to an unjailed one, best", ratio, SPAWN_RATIO_MAX, "×");
}

/// One side: a port to ask, and its answers.
struct Side {
    name: &'static str,
    work: Port<Work>,
    answers: Receiver<In>,
    module: Hash,
}

impl Side {
    fn new(name: &'static str, work: Port<Work>, answers: Receiver<In>) -> Self {
        let bytes: Bytes = wat::parse_str(ECHO).unwrap().into();
        let side = Self { name, work, answers, module: Hash::of(&bytes) };
        let prepared = side.ask(Work::Prepare { module: side.module, bytes });
        assert!(matches!(prepared, Done::Prepared { result: Ok(_), .. }), "{prepared:?}");
        side
    }

    fn ask(&self, work: Work) -> Done {
        self.work.send(work).unwrap();
        let In::Worked(done) = self.answers.recv().unwrap() else { panic!() };
        done
    }

    /// Microseconds of the least work that there is: a module that is known already.
    fn tiny(&self, empty: &Bytes) -> f64 {
        let since = Instant::now();
        let done = self.ask(Work::Prepare { module: self.module, bytes: empty.clone() });
        let took = since.elapsed().as_secs_f64() * 1e6;
        assert!(matches!(done, Done::Prepared { result: Ok(_), .. }));
        took
    }

    /// Milliseconds of a task that returns its input.
    fn echo(&self, input: &Bytes) -> f64 {
        let limits = Limits { memory_bytes: 256 << 20, output_bytes: 64 << 20, ..Limits::default() };
        let (task, module, granted) = (TaskId(1), self.module, Capabilities::NONE);
        let input = Input { bytes: input.clone(), ..Input::default() };
        let since = Instant::now();
        let done = self.ask(Work::Begin(Box::new(Begin { task, module, limits, granted, input, gas: 1 << 30 })));
        let took = since.elapsed().as_secs_f64() * 1e3;
        assert!(matches!(done, Done::Sliced { state: State::Ended { .. }, .. }), "{done:?}");
        took
    }
}

fn round_trips(bars: &mut Bars) {
    let (port, answers) = results();
    let (threads, work) = SandboxThreads::start("pangea-wasm", 2, CACHE_BYTES, &port).unwrap();
    let here = Side::new("threads", work, answers);
    let (port, answers) = results();
    let (process, work) = SandboxProcess::start(settings(Layers::All), port).unwrap();
    let there = Side::new("process", work, answers);
    let sides = [here, there];
    let (count, empty) = (number("PANGEA_BENCH_TRIPS", 2000), Bytes::new());
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..count {
        for (side, took) in sides.iter().zip(&mut took) {
            took.push(side.tiny(&empty));
        }
    }
    println!("\na tiny piece of work, {count} times     best µs    p50 µs    p90 µs");
    let of = |took: &Vec<f64>, part| quantile(took.iter().copied(), part);
    for (side, took) in sides.iter().zip(&took) {
        println!("{:<33} {:>10.1}{:>10.1}{:>10.1}", side.name, of(took, 0.0), of(took, 0.5), of(took, 0.9));
    }
    let extra = of(&took[1], 0.5) - of(&took[0], 0.5);
    bars.at_most("what the process adds to an answer, median", extra, EXTRA_MICROS_MAX, "µs");

    println!("\na task that returns its input, best of 10       ms    MiB/s, there and back");
    for mib in [1u32, 16, 48] {
        let input: Bytes = vec![7; (mib as usize) << 20].into();
        for side in &sides {
            let best = quantile((0..10).map(|_| side.echo(&input)), 0.0);
            println!("{mib:>4} MiB, {:<30} {best:>10.2}{:>10.0}", side.name, f64::from(2 * mib) / best * 1e3);
        }
    }
    drop(sides);
    threads.join();
    process.join();
}

/// A message of 64 bytes to a plugin and back, from where the plugins actor asks to where it hears.
fn plugin_calls(bars: &mut Bars) {
    // It keeps its memory from call to call, so it puts its input where the last one was.
    let text =
        ECHO.replace("(drop (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get $len) (i32.const 16)))))", "");
    let bytes: Bytes = wat::parse_str(text).unwrap().into();
    let module = Hash::of(&bytes);
    let (events, heard) = channel();
    let (threads, work) = SandboxThreads::start("pangea-plugin", 2, CACHE_BYTES, &plugins::answers(events)).unwrap();
    let here = (plugins::commands(work), heard);
    let (events, heard) = channel();
    let there = Settings { tenants: Tenants::Plugins, ..settings(Layers::All) };
    let (process, work) = SandboxProcess::start(there, plugins::answers(events)).unwrap();
    let sides = [here, (plugins::commands(work), heard)];
    let ask = |(commands, heard): &(Port<Command>, Receiver<Event>), command| {
        commands.send(command).unwrap();
        heard.recv().unwrap()
    };
    let call = |open| {
        let input = Input { bytes: vec![7; 64].into(), ..Input::default() };
        Command::Call { instance: TaskId(1), open, input }
    };
    for side in &sides {
        ask(side, Command::Prepare { module, bytes: bytes.clone() });
        let limits = Limits { memory_bytes: 256 << 20, ..Limits::default() };
        ask(side, call(Some(Open { module, limits, granted: Capabilities::NONE })));
    }
    let count = number("PANGEA_BENCH_TRIPS", 2000);
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..count {
        for (side, took) in sides.iter().zip(&mut took) {
            let since = Instant::now();
            let event = ask(side, call(None));
            took.push(since.elapsed().as_secs_f64() * 1e6);
            assert!(matches!(event, Event::Ended { result: Ok(_), .. }), "{event:?}");
        }
    }
    println!("\na message of 64 B to a plugin and back, {count} times   best µs    p50 µs    p90 µs");
    let of = |took: &Vec<f64>, part| quantile(took.iter().copied(), part);
    for (name, took) in ["threads", "process"].iter().zip(&took) {
        println!("{name:<50} {:>10.1}{:>10.1}{:>10.1}", of(took, 0.0), of(took, 0.5), of(took, 0.9));
    }
    let extra = of(&took[1], 0.5) - of(&took[0], 0.5);
    bars.at_most("what the process adds to a call of a plugin, median", extra, EXTRA_MICROS_MAX, "µs");
    drop(sides);
    threads.join();
    process.join();
}
