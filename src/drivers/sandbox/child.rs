//! One child of [`SandboxProcess`](super::SandboxProcess): how it is started, asked, heard, judged and ended. Not here: when
//! another one is started (`process`).

use super::{
    Answer, Answers, Next,
    frame::{self, FrameError},
    jail::Jail,
    ledger::{Admission, Ledger, UNANSWERED},
    message::{Packed, limit, unpack},
    process::{Settings, Status},
    queue::Queue,
    worker::{HELLO_BOUNDS, Hello, PROTOCOL},
};
use pangea_protocols::codec;
use pangea_sandbox::work::{Done, Work};
use rustix::event::{PollFd, PollFlags, Timespec};
use std::{
    io::{self, BufReader, ErrorKind, Read},
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long a child may take until it is ready.
const START_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether an answer is overdue.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Bytes that a pipe holds, where the system lets it be set: a MiB takes a few turns and not sixteen.
const PIPE_BYTES: usize = 1 << 20;

/// What supervisor and reader share.
pub struct Shared {
    /// How every child is started.
    pub settings: Settings,
    /// Where answers go.
    pub answers: Answers,
    /// Work that waits.
    pub queue: Arc<Queue>,
    /// What changes.
    pub state: Mutex<State>,
    /// Told when the child has room again, or is gone.
    pub changed: Condvar,
}

/// See [`Shared`].
#[derive(Debug)]
pub struct State {
    /// What the child owes.
    pub ledger: Ledger,
    /// How the child is; it lives while there is a process id.
    pub status: Status,
}

impl Shared {
    /// The state, locked.
    pub fn state(&self) -> MutexGuard<'_, State> {
        // Whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One child, from its first frame to its end.
pub struct Running {
    process: Arc<Mutex<Child>>,
    input: ChildStdin,
    reader: JoinHandle<()>,
    /// When it was ready.
    pub since: Instant,
}

impl Running {
    /// Starts one and waits until it is ready. By the thread that outlives it: it is killed when that ends.
    ///
    /// # Errors
    /// It cannot be started or jailed, or does not say so in time.
    pub fn start(shared: &Arc<Shared>) -> io::Result<Self> {
        let settings = &shared.settings;
        let mut command = Command::new(&settings.program);
        command.args(&settings.arguments).args(["--threads", &settings.threads.to_string()]);
        command.args(["--cache-bytes", &settings.cache_bytes.to_string()]);
        command.args(["--memory-bytes", &settings.memory_bytes.to_string()]);
        command.args(["--engine", settings.engine.name(), "--layers", settings.layers.name()]);
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
            let thread = thread::Builder::new().name(format!("{}-out", shared.settings.tenants.thread()));
            let reader = thread.spawn(move || listen(&shared, output, &process))?;
            Ok((reader, jail))
        });
        match begun {
            Ok((reader, jail)) => {
                let tenants = settings.tenants;
                if jail == Jail::WHOLE {
                    tracing::info!(pid, "the sandbox process of {tenants} is {jail}");
                } else {
                    tracing::warn!(pid, "the sandbox process of {tenants} is not jailed as on a new Linux: {jail}");
                }
                Ok(Self { process, input, reader, since: Instant::now() })
            }
            Err(error) => {
                kill(&process);
                shared.state().status.pid = None;
                Err(error)
            }
        }
    }

    /// Waits until the child has a thread for the work; `None` if the child is gone.
    pub fn admit(&self, shared: &Shared, work: &Work) -> Option<Admission> {
        let mut state = shared.state();
        while state.status.pid.is_some() && !state.ledger.has_room(work) {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.status.pid.is_some().then(|| state.ledger.admit(work, Instant::now()))
    }

    /// Sends work. If that fails it is ended, and its reader answers for it.
    pub fn write(&mut self, number: u64, packed: &Packed) {
        if frame::write(&mut self.input, number, &packed.head, &packed.body).is_err() {
            kill(&self.process);
        }
    }

    /// Ends it and waits until all that it owed is answered.
    pub fn end(self) {
        kill(&self.process);
        if self.reader.join().is_err() {
            tracing::error!("the reader of the sandbox process panicked");
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
                match (shared.answers)(Answer::Done(done)) {
                    Next::Nothing => {}
                    Next::Rest(work) => shared.queue.push_rest(work),
                    Next::Gone => break None,
                }
                shared.state().ledger.postpone(since.elapsed());
            }
            Ok(None) => break None,
            Err(why) => break Some(why),
        }
    };
    let status = kill(process);
    let why = why.unwrap_or_else(|| ended(status));
    tracing::warn!(why, "the sandbox process of {} is gone", shared.settings.tenants);
    let owed = {
        let mut state = shared.state();
        state.status.pid = None;
        state.status.deaths += 1;
        state.status.last_death = Some(why.clone());
        state.ledger.lose(&why)
    };
    shared.changed.notify_one();
    for answer in owed.into_iter().map(Answer::Done).chain([Answer::Lost(why)]) {
        if matches!((shared.answers)(answer), Next::Gone) {
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
