//! The driver's two ends as the actor has them: work goes in, answers are waited for. Not here: any test.

use bytes::Bytes;
use pangea::drivers::sandbox::{SandboxProcess, Settings, to_actor};
use pangea_kernel::{Port, Rejected};
use pangea_protocols::{
    Hash,
    task::{Capabilities, Capability, Input, Limits, Outcome, Receipt, Refusal, TaskId},
};
use pangea_sandbox::{
    Workshop,
    api::In,
    engine::Wasmi,
    work::{Begin, Done, State, Work},
};
use std::{
    sync::mpsc::{Receiver, sync_channel},
    time::Duration,
};

/// How long an answer may take on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// Settings for the executable of this build.
pub fn settings(threads: usize) -> Settings {
    let program = env!("CARGO_BIN_EXE_pangea").into();
    Settings { program, ..Settings::new(threads, 64 << 20, 256 << 20).unwrap() }
}

/// Ends a process as the system does when memory is short.
pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// Something that runs work: the process, or this thread.
pub trait Runs {
    /// The answer to one piece of work.
    fn run(&self, work: Work) -> Done;
}

/// The process.
pub struct Driver {
    pub process: SandboxProcess,
    pub work: Port<Work>,
    answers: Receiver<Done>,
}

impl Driver {
    pub fn start(settings: Settings) -> std::io::Result<Self> {
        let (sender, answers) = sync_channel(64);
        let results = Port::new(move |message| {
            let In::Worked(done) = message else { panic!("{message:?}") };
            sender.try_send(done).map_err(|error| {
                Rejected::Closed(In::Worked(match error {
                    std::sync::mpsc::TrySendError::Full(done) | std::sync::mpsc::TrySendError::Disconnected(done) => {
                        done
                    }
                }))
            })
        });
        let (process, work) = SandboxProcess::start(settings, to_actor(results))?;
        Ok(Self { process, work, answers })
    }

    pub fn send(&self, work: Work) {
        self.work.send(work).unwrap();
    }

    pub fn answer(&self) -> Done {
        self.answers.recv_timeout(PATIENCE).expect("an answer")
    }

    pub fn pid(&self) -> u32 {
        self.process.status().pid.unwrap()
    }

    pub fn end(self) {
        drop(self.work);
        self.process.join();
    }
}

impl Runs for Driver {
    fn run(&self, work: Work) -> Done {
        self.send(work);
        self.answer()
    }
}

impl Runs for Workshop<Wasmi> {
    fn run(&self, work: Work) -> Done {
        work.run(self).unwrap()
    }
}

/// A guest whose `handle` has this body.
pub fn guest(more: &str, handle: &str) -> Bytes {
    let text = format!(
        r#"(module (import "pangea" "send" (func $send (param i32 i32)))
            (import "pangea" "log" (func $log (param i32 i32 i32)))
            {more} (memory (export "memory") 1)
            (func (export "alloc") (param i32) (result i32) (i32.const 1024))
            (func (export "handle") (param $ptr i32) (param $len i32) (result i64) {handle}))"#
    );
    wat::parse_str(text).unwrap().into()
}

/// Returns what it is given.
pub fn echo() -> Bytes {
    guest(
        "",
        "(i64.or (i64.shl (i64.extend_i32_u (local.get $ptr)) (i64.const 32)) (i64.extend_i32_u (local.get $len)))",
    )
}

/// Never ends.
pub fn endless() -> Bytes {
    guest("", "(loop (br 0)) (i64.const 0)")
}

pub fn prepare(bytes: &Bytes) -> Work {
    Work::Prepare { module: Hash::of(bytes), bytes: bytes.clone() }
}

pub fn begin(task: u64, module: &Bytes, input: Input) -> Work {
    let limits = Limits { gas: 1 << 40, ..Limits::default() };
    let granted: Capabilities = Capability::ALL.into_iter().collect();
    Work::Begin(Box::new(Begin { task: TaskId(task), module: Hash::of(module), limits, granted, input, gas: 100_000 }))
}

pub fn with(bytes: &'static [u8]) -> Input {
    Input { bytes: Bytes::from_static(bytes), ..Input::default() }
}

/// Installs a module.
pub fn install(on: &impl Runs, module: &Bytes) -> Capabilities {
    let done = on.run(prepare(module));
    let Done::Prepared { result: Ok(imports), .. } = done else { panic!("{done:?}") };
    imports
}

/// Runs a task to its end: what came of it, and its lines.
pub fn finish(on: &impl Runs, begin: Work) -> Result<(Outcome, Receipt, Vec<String>), Refusal> {
    let task = begin.task().unwrap();
    let (mut work, mut said) = (begin, Vec::new());
    loop {
        let done = on.run(work);
        let Done::Sliced { task: about, lines, state } = done else { panic!("{done:?}") };
        assert_eq!(about, task);
        said.extend(lines.into_iter().map(|line| format!("{} {}", line.level, line.text)));
        match state {
            State::Running => work = Work::Continue { task, gas: 100_000 },
            State::Ended { outcome, receipt } => return Ok((outcome, receipt, said)),
            State::Refused(refusal) => return Err(refusal),
        }
    }
}

/// The reason of a refusal by the node.
pub fn reason(done: &Done) -> &str {
    match done {
        Done::Sliced { state: State::Refused(Refusal::Node { message }), .. }
        | Done::Prepared { result: Err(Refusal::Node { message }), .. } => message,
        other => panic!("{other:?}"),
    }
}
