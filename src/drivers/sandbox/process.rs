//! [`SandboxProcess`]: the sandbox's threads in a process of their own, jailed, started again when it dies. Not here: what
//! that process does (`worker`), what it may not do (`jail`).
//!
//! ```text
//! port ─▶ queue ─▶ supervisor ─▶ pipe ─▶ child's threads ─▶ pipe ─▶ reader ─▶ answers
//!                      └── starts it ──────────┘                      └── judges it, ends it, answers for it
//! ```
//!
//! The child is not trusted: a guest may have taken it over. An answer that is malformed, too long, not asked for or too
//! late ends the child. Whatever it owed is answered with a refusal and the reason of its end; its modules are gone, so
//! that tasks are told that theirs is not installed. The next work starts another child, at once after the first death,
//! later and later if deaths come in a row. Until then work of tasks is refused, since others can do it; that of plugins
//! waits, since it was done by none of them that the child died.
//!
//! The supervisor lives as long as the ports: a child is killed when the thread that started it ends.

use super::{
    Answer, Answers, Next,
    child::{Running, Shared, State},
    jail::{Jail, Layers},
    ledger::{Admission, Ledger, Patience, refuse},
    message::{Packed, WORK_BOUNDS, pack},
    queue::Queue,
};
use crate::config::EngineName;
use pangea_kernel::Port;
use pangea_sandbox::work::Work;
use std::{
    fmt, io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, mpsc::sync_channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// The hidden subcommand of the child.
pub const SUBCOMMAND: &str = "sandbox-worker";
/// The wait after the second of two deaths; it doubles with every further one …
const BACKOFF: Duration = Duration::from_millis(200);
/// … up to this …
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// … until a child has lived as long as this.
const LIFE_THAT_COUNTS: Duration = Duration::from_secs(60);

/// Whose guests run in the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenants {
    /// Those of anybody's computations. The child is there from the start.
    Tasks,
    /// Those that this node's user has installed. The child is started by the first of them.
    Plugins,
}

impl Tenants {
    /// What names of threads begin with.
    pub fn thread(self) -> &'static str {
        match self {
            Self::Tasks => "pangea-wasm",
            Self::Plugins => "pangea-plugin",
        }
    }
}

impl fmt::Display for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tasks => "tasks",
            Self::Plugins => "plugins",
        })
    }
}

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
    /// What runs the guests.
    pub engine: EngineName,
    /// Which layers of the jail to build.
    pub layers: Layers,
    /// Whose guests they are.
    pub tenants: Tenants,
}

impl Settings {
    /// Of a node's tasks: this executable, all layers. `memory_bytes` are for guests and up to `cache_bytes` of compiled modules.
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
            engine: EngineName::Wasmi,
            layers: Layers::All,
            tenants: Tenants::Tasks,
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
pub struct SandboxProcess {
    shared: Arc<Shared>,
    supervisor: JoinHandle<()>,
}

impl SandboxProcess {
    /// Starts the child, if it is there from the start, and waits until it is ready. What comes of work goes to `answers`.
    ///
    /// # Errors
    /// The child cannot be started or jailed, or says nothing within ten seconds.
    pub fn start(settings: Settings, answers: Answers) -> io::Result<(Self, Port<Work>)> {
        let patience = Patience { slice: settings.slice_max, prepare: settings.prepare_max };
        let (name, at_once) = (settings.tenants.thread().to_owned(), settings.tenants == Tenants::Tasks);
        let (queue, port) = Queue::new();
        let state = State { ledger: Ledger::new(settings.threads.max(1), patience), status: Status::default() };
        let state = Mutex::new(state);
        let shared = Arc::new(Shared { settings, answers, queue, state, changed: Condvar::new() });
        let (ready, started) = sync_channel(1);
        let supervisor = thread::Builder::new().name(name).spawn({
            let shared = Arc::clone(&shared);
            move || {
                let first = if at_once { Running::start(&shared).map(Some) } else { Ok(None) };
                let (child, said) = match first {
                    Ok(child) => (Some(child), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                let _ = ready.send(said);
                if let Some(child) = child {
                    Supervisor { shared, child, deaths_in_a_row: 0, not_before: None }.run();
                }
            }
        })?;
        match started.recv() {
            Ok(Ok(())) => Ok((Self { shared, supervisor }, port)),
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
    fn run(mut self) {
        while let Some(work) = self.shared.queue.pop() {
            // A clone shares the bytes.
            let sent = match pack(work.clone(), WORK_BOUNDS) {
                Ok(packed) => self.send(&work, &packed),
                Err((found, max)) => Err(format!("{found} bytes are too many to run: {max} are the most")),
            };
            let refused = sent.err().and_then(|why| refuse(&work, why));
            let next = refused.map_or(Next::Nothing, |done| (self.shared.answers)(Answer::Done(done)));
            if matches!(next, Next::Gone) {
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
            self.wait()?;
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

    /// Until another child may be started, or not.
    ///
    /// # Errors
    /// How long that would be, or that the node stops.
    fn wait(&self) -> Result<(), String> {
        let now = Instant::now();
        let Some((time, left)) = self.not_before.and_then(|time| Some((time, time.checked_duration_since(now)?)))
        else {
            return Ok(());
        };
        match self.shared.settings.tenants {
            Tenants::Plugins if self.shared.queue.wait_until(time) => Ok(()),
            Tenants::Plugins => Err("the node stops".to_owned()),
            Tenants::Tasks => {
                let last = self.shared.state().status.last_death.clone().unwrap_or_default();
                Err(format!("{last}; it is started again in {} ms", left.as_millis()))
            }
        }
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

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            child.end();
        }
    }
}
