//! [`SandboxProcess`]: the sandbox's threads in a process of their own, jailed, started again when it dies. Not here: what
//! that process does (`worker`), what it may not do (`jail`).
//!
//! ```text
//! port ─▶ queue ─▶ supervisor ─▶ pipe ─▶ child's threads ─▶ pipe ─▶ reader ─▶ results
//!                      └── starts it ──────────┘                      └── judges it, ends it, answers for it
//! ```
//!
//! The child is not trusted: a guest may have taken it over. An answer that is malformed, too long, not asked for or too
//! late ends the child. Whatever it owed is answered with a refusal and the reason of its end; its modules are gone, so
//! that tasks are told that theirs is not installed. The next work starts another child, at once after the first death,
//! later and later if deaths come in a row; until then work is refused.
//!
//! The supervisor lives as long as the ports: a child is killed when the thread that started it ends.

use super::{
    QUEUE_MAX, deliver,
    frame::{self, FrameError},
    jail::{Jail, Layers},
    ledger::{Admission, Ledger, Patience, UNANSWERED, refuse},
    message::{Packed, WORK_BOUNDS, limit, pack, unpack},
    threads::port,
    worker::{HELLO_BOUNDS, Hello, PROTOCOL},
};
use pangea_kernel::Port;
use pangea_protocols::codec;
use pangea_sandbox::{
    api::In,
    work::{Done, Work},
};
use rustix::event::{PollFd, PollFlags, Timespec};
use std::{
    io::{self, BufReader, ErrorKind, Read},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// The hidden subcommand of the child.
pub const SUBCOMMAND: &str = "sandbox-worker";
/// How long a child may take until it is ready.
const START_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether an answer is overdue.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// The wait after the second of two deaths; it doubles with every further one …
const BACKOFF: Duration = Duration::from_millis(200);
/// … up to this …
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// … until a child has lived as long as this.
const LIFE_THAT_COUNTS: Duration = Duration::from_secs(60);
/// Bytes that a pipe holds, where the system lets it be set: a MiB takes a few turns and not sixteen.
const PIPE_BYTES: usize = 1 << 20;

/// How to start the child, and what to expect of it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The executable; [`Settings::new`] takes this process' own.
    pub program: PathBuf,
    /// Arguments before those that this module adds.
    pub arguments: Vec<String>,
    /// Threads that run guests.
    pub threads: usize,
    /// Bytes of compiled modules to keep.
    pub cache_bytes: u64,
    /// Bytes of guests and compiled modules in all.
    pub memory_bytes: u64,
    /// Longest time of a slice.
    pub slice_max: Duration,
    /// Longest time to pass and compile a module.
    pub prepare_max: Duration,
    /// Which layers of the jail to build.
    pub layers: Layers,
}

impl Settings {
    /// Of a node: this executable, all layers. `memory_bytes` are for guests and up to `cache_bytes` of compiled modules.
    ///
    /// # Errors
    /// The system does not say which executable this is.
    pub fn new(threads: usize, cache_bytes: u64, memory_bytes: u64) -> io::Result<Self> {
        Ok(Self {
            program: own_program()?,
            arguments: vec![SUBCOMMAND.to_owned()],
            threads: threads.max(1),
            cache_bytes,
            memory_bytes,
            slice_max: Duration::from_secs(30),
            prepare_max: Duration::from_secs(120),
            layers: Layers::All,
        })
    }
}

/// This executable: the image that runs, even if its file has been replaced since.
fn own_program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() }
}

/// How the child is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// How far the last child was jailed.
    pub jail: Jail,
    /// The process, while there is one.
    pub pid: Option<u32>,
    /// Children that have died.
    pub deaths: u64,
    /// Why the last of them did.
    pub last_death: Option<String>,
}

/// The supervisor of the child. It and the child end when every port is dropped; `join` waits for that.
#[derive(Debug)]
pub struct SandboxProcess {
    shared: Arc<Shared>,
    supervisor: JoinHandle<()>,
}

/// What supervisor and reader share.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    results: Port<In>,
    state: Mutex<State>,
    /// Told when the child has room again, or is gone.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    status: Status,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SandboxProcess {
    /// Starts the child and waits until it is ready. Its answers go to `results`.
    ///
    /// # Errors
    /// The child cannot be started or jailed, or says nothing within ten seconds.
    pub fn start(settings: Settings, results: Port<In>) -> io::Result<(Self, Port<Work>)> {
        let patience = Patience { slice: settings.slice_max, prepare: settings.prepare_max };
        let state = State { ledger: Ledger::new(settings.threads.max(1), patience), status: Status::default() };
        let shared = Arc::new(Shared { settings, results, state: Mutex::new(state), changed: Condvar::new() });
        let (sender, queue) = sync_channel(QUEUE_MAX);
        let (ready, started) = sync_channel(1);
        let thread = thread::Builder::new().name("pangea-wasm".to_owned());
        let supervisor = thread.spawn({
            let shared = Arc::clone(&shared);
            move || {
                let first = Running::start(&shared);
                let (child, said) = match first {
                    Ok(child) => (Some(child), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                let go_on = said.is_ok();
                let _ = ready.send(said);
                if go_on {
                    Supervisor { shared, child, deaths_in_a_row: 0, not_before: None }.run(&queue);
                }
            }
        })?;
        match started.recv() {
            Ok(Ok(())) => Ok((Self { shared, supervisor }, port(sender))),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("the supervisor of the sandbox process ended at once")),
        }
    }

    /// How the child is.
    pub fn status(&self) -> Status {
        self.shared.state().status.clone()
    }

    /// Waits until the child has ended.
    pub fn join(self) {
        if self.supervisor.join().is_err() {
            tracing::error!("the supervisor of the sandbox process panicked");
        }
    }
}

/// The thread that sends work.
struct Supervisor {
    shared: Arc<Shared>,
    child: Option<Running>,
    deaths_in_a_row: u32,
    not_before: Option<Instant>,
}

impl Supervisor {
    fn run(mut self, queue: &Receiver<Work>) {
        while let Ok(work) = queue.recv() {
            // A clone shares the bytes.
            let sent = match pack(work.clone(), WORK_BOUNDS) {
                Ok(packed) => self.send(&work, &packed),
                Err((found, max)) => Err(format!("{found} bytes are too many to run: {max} are the most")),
            };
            let refused = sent.err().and_then(|why| refuse(&work, why));
            if let Some(done) = refused
                && !deliver(&self.shared.results, done)
            {
                return;
            }
        }
    }

    /// To the child.
    ///
    /// # Errors
    /// There is none, or it has lost the task: why.
    fn send(&mut self, work: &Work, packed: &Packed) -> Result<(), String> {
        let shared = Arc::clone(&self.shared);
        loop {
            let child = self.child(work)?;
            let Some(admission) = child.admit(&shared, work) else { continue };
            return match admission {
                // A pipe that fails belongs to a child that is dead or will be: its reader answers.
                Admission::Send(number) => {
                    child.write(number, packed);
                    shared.state().ledger.sent();
                    Ok(())
                }
                Admission::Refuse(why) => Err(why),
            };
        }
    }

    /// The child that lives, or a new one.
    fn child(&mut self, work: &Work) -> Result<&mut Running, String> {
        if self.child.is_some() && self.shared.state().status.pid.is_none() {
            self.bury();
        }
        if self.child.is_none() {
            if matches!(work, Work::Drop { .. } | Work::DropAll) {
                return Err("there is nothing to drop".to_owned());
            }
            let last = || self.shared.state().status.last_death.clone().unwrap_or_default();
            if let Some(wait) = self.not_before.and_then(|time| time.checked_duration_since(Instant::now())) {
                return Err(format!("{}; it is started again in {} ms", last(), wait.as_millis()));
            }
            match Running::start(&self.shared) {
                Ok(child) => self.child = Some(child),
                Err(error) => {
                    self.back_off();
                    return Err(format!("the sandbox process cannot be started: {error}"));
                }
            }
        }
        self.child.as_mut().ok_or_else(|| "the sandbox process is gone".to_owned())
    }

    fn bury(&mut self) {
        let Some(child) = self.child.take() else { return };
        if child.since.elapsed() >= LIFE_THAT_COUNTS {
            self.deaths_in_a_row = 0;
        }
        child.end();
        self.back_off();
    }

    fn back_off(&mut self) {
        let doublings = self.deaths_in_a_row.checked_sub(1);
        let wait = doublings.map_or(Duration::ZERO, |n| BACKOFF.saturating_mul(1 << n.min(16)).min(BACKOFF_MAX));
        self.deaths_in_a_row = self.deaths_in_a_row.saturating_add(1);
        self.not_before = Some(Instant::now() + wait);
    }
}

/// One child, from its first frame to its end.
struct Running {
    process: Arc<Mutex<Child>>,
    input: ChildStdin,
    reader: JoinHandle<()>,
    since: Instant,
}

impl Running {
    fn start(shared: &Arc<Shared>) -> io::Result<Self> {
        let settings = &shared.settings;
        let mut command = Command::new(&settings.program);
        command.args(&settings.arguments).args(["--threads", &settings.threads.to_string()]);
        command.args(["--cache-bytes", &settings.cache_bytes.to_string()]);
        command.args(["--memory-bytes", &settings.memory_bytes.to_string(), "--layers", settings.layers.name()]);
        command.env_clear().current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("the sandbox process has no pipes"));
        };
        enlarge(&input, &output);
        let pid = child.id();
        let process = Arc::new(Mutex::new(child));
        let begun = hear_hello(output).and_then(|(jail, output)| {
            let mut state = shared.state();
            (state.status.pid, state.status.jail) = (Some(pid), jail);
            drop(state);
            let (shared, process) = (Arc::clone(shared), Arc::clone(&process));
            let thread = thread::Builder::new().name("pangea-wasm-out".to_owned());
            let reader = thread.spawn(move || listen(&shared, output, &process))?;
            Ok((reader, jail))
        });
        match begun {
            Ok((reader, jail)) => {
                if jail == Jail::WHOLE {
                    tracing::info!(pid, "the sandbox process is {jail}");
                } else {
                    tracing::warn!(pid, "the sandbox process is not jailed as on a new Linux: {jail}");
                }
                Ok(Self { process, input, reader, since: Instant::now() })
            }
            Err(error) => {
                kill(&process);
                Err(error)
            }
        }
    }

    /// Waits until the child has a thread for the work; `None` if the child is gone.
    fn admit(&self, shared: &Shared, work: &Work) -> Option<Admission> {
        let mut state = shared.state();
        while state.status.pid.is_some() && !state.ledger.has_room(work) {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.status.pid.is_some().then(|| state.ledger.admit(work, Instant::now()))
    }

    fn write(&mut self, number: u64, packed: &Packed) {
        if frame::write(&mut self.input, number, &packed.head, &packed.body).is_err() {
            kill(&self.process);
        }
    }

    fn end(self) {
        kill(&self.process);
        if self.reader.join().is_err() {
            tracing::error!("the reader of the sandbox process panicked");
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            child.end();
        }
    }
}

/// Ends a process, whatever it does, and says how it ended.
fn kill(process: &Mutex<Child>) -> Option<ExitStatus> {
    let mut process = process.lock().unwrap_or_else(PoisonError::into_inner);
    // Fails if it has ended already.
    let _ = process.kill();
    process.wait().ok()
}

#[cfg(target_os = "linux")]
fn enlarge(input: &ChildStdin, output: &ChildStdout) {
    // Slower if the user has too many pipes for it.
    let _ = rustix::pipe::fcntl_setpipe_size(input, PIPE_BYTES);
    let _ = rustix::pipe::fcntl_setpipe_size(output, PIPE_BYTES);
}

#[cfg(not(target_os = "linux"))]
fn enlarge(_: &ChildStdin, _: &ChildStdout) {}

type Output<F> = BufReader<Watched<F>>;

fn hear_hello(output: ChildStdout) -> io::Result<(Jail, ChildStdout)> {
    let until = Instant::now() + START_MAX;
    let mut watched = Watched { output, every: WATCH_EVERY, overdue: move || Instant::now() > until };
    let frame = frame::read(&mut watched, |number| (number == UNANSWERED).then_some(HELLO_BOUNDS));
    let frame = frame.map_err(|error| io::Error::other(format!("the sandbox process is none: {error}")))?;
    let Some(frame) = frame else { return Err(io::Error::other("the sandbox process ended before it was ready")) };
    let hello: Hello = codec::decode(&frame.head, limit(frame.head.len())).map_err(io::Error::other)?;
    match hello {
        Hello { protocol: PROTOCOL, jail } => jail.map(|jail| (jail, watched.output)).map_err(io::Error::other),
        Hello { protocol, .. } => {
            let message = format!("the sandbox process is of another version ({protocol}): start the node again");
            Err(io::Error::other(message))
        }
    }
}

/// The thread that reads answers until the child ends or must be ended.
fn listen(shared: &Arc<Shared>, output: ChildStdout, process: &Mutex<Child>) {
    let overdue = {
        let shared = Arc::clone(shared);
        move || shared.state().ledger.is_overdue(Instant::now())
    };
    let every = WATCH_EVERY.min(shared.settings.slice_max / 4);
    let mut output: Output<_> = BufReader::new(Watched { output, every, overdue });
    let why = loop {
        match answer(shared, &mut output) {
            Ok(Some(done)) => {
                shared.changed.notify_one();
                let since = Instant::now();
                if !deliver(&shared.results, done) {
                    break None;
                }
                shared.state().ledger.postpone(since.elapsed());
            }
            Ok(None) => break None,
            Err(why) => break Some(why),
        }
    };
    let status = kill(process);
    let why = why.unwrap_or_else(|| ended(status));
    tracing::warn!(why, "the sandbox process is gone");
    let owed = {
        let mut state = shared.state();
        state.status.pid = None;
        state.status.deaths += 1;
        state.status.last_death = Some(why.clone());
        state.ledger.lose(&why)
    };
    shared.changed.notify_one();
    for done in owed {
        if !deliver(&shared.results, done) {
            return;
        }
    }
}

/// The next answer; `None` at the end of the pipe.
///
/// # Errors
/// What is wrong with the child, so that it must be ended.
fn answer<F: Fn() -> bool>(shared: &Shared, output: &mut Output<F>) -> Result<Option<Done>, String> {
    let told = |what: &dyn std::fmt::Display| format!("the sandbox process was ended: {what}");
    let frame = match frame::read(output, |number| shared.state().ledger.bounds(number)) {
        Ok(Some(frame)) => frame,
        // It died while it wrote: how is more interesting than that.
        Ok(None) => return Ok(None),
        Err(FrameError::Io(error)) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(FrameError::Io(error)) if error.kind() == ErrorKind::TimedOut => {
            return Err(told(&"it did not answer in time"));
        }
        Err(error) => return Err(told(&error)),
    };
    let number = frame.number;
    let done: Done = unpack(frame).map_err(|error| told(&error))?;
    if !shared.state().ledger.answered(number, &done) {
        return Err(told(&"it answered another question than it was asked"));
    }
    Ok(Some(done))
}

fn ended(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.code(), status.signal())) {
        Some((_, Some(libc::SIGKILL))) => {
            "the sandbox process was killed (SIGKILL): by somebody, or because the machine is out of memory".to_owned()
        }
        Some((_, Some(libc::SIGABRT))) => {
            "the sandbox process gave up (SIGABRT): out of its memory, or of its stack".to_owned()
        }
        Some((_, Some(signal))) => format!("the sandbox process crashed (signal {signal})"),
        Some((Some(code), None)) => format!("the sandbox process ended (exit code {code})"),
        _ => "the sandbox process ended".to_owned(),
    }
}

/// A pipe whose every read ends when something is overdue, also if the child sends byte by byte.
struct Watched<F> {
    output: ChildStdout,
    every: Duration,
    overdue: F,
}

impl<F: Fn() -> bool> Read for Watched<F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            let tick =
                Timespec { tv_sec: self.every.as_secs().cast_signed(), tv_nsec: self.every.subsec_nanos().into() };
            let mut pipes = [PollFd::new(&self.output, PollFlags::IN)];
            match rustix::event::poll(&mut pipes, Some(&tick)) {
                Ok(1..) if !(self.overdue)() => return self.output.read(bytes),
                Ok(_) if (self.overdue)() => return Err(ErrorKind::TimedOut.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
