//! One process per run: global counters of libraries survive a run and would change the next one. What runs many runs
//! this program again for each, and reads its outcome.

// It runs processes: real time and threads are what that takes.
#![allow(clippy::disallowed_methods)]

pub use crate::parallel::in_parallel;

use crate::{plan::Plan, run::Outcome};
use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Lines of a crashed child's last words that are shown.
const LAST_WORDS: usize = 12;

/// What came of a child.
#[derive(Clone, Debug)]
pub enum End {
    /// It ran to its end.
    Outcome(Box<Outcome>),
    /// It did not: a panic of the simulator, a signal, no memory.
    Crashed(String),
}

impl End {
    /// Names of the promises that were broken; a crash counts as one.
    pub fn broken(&self) -> Vec<String> {
        match self {
            Self::Outcome(outcome) => outcome.violations.iter().map(|violation| violation.oracle.clone()).collect(),
            Self::Crashed(_) => vec!["crash".to_owned()],
        }
    }

    /// The outcome, if it came to one.
    pub fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Outcome(outcome) => Some(outcome),
            Self::Crashed(_) => None,
        }
    }
}

/// How children are run.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    environment: Vec<(OsString, OsString)>,
    /// Put behind the arguments of every run.
    more: Vec<OsString>,
    /// A run that takes longer is ended, and counts as crashed.
    patience: Option<Duration>,
}

impl Program {
    /// This program.
    ///
    /// # Errors
    /// The system does not tell where it is.
    pub fn this() -> io::Result<Self> {
        Ok(Self::at(std::env::current_exe()?))
    }

    /// Another one, built otherwise.
    pub fn at(path: PathBuf) -> Self {
        Self { path, environment: Vec::new(), more: Vec::new(), patience: None }
    }

    /// With one variable more in its environment.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// With a planted bug, if it is built for that; what such a bug makes endless is ended after `patience`.
    pub fn planting(mut self, name: &str, patience: Duration) -> Self {
        self.more = vec!["--plant".into(), name.into()];
        self.patience = Some(patience);
        self
    }

    /// Runs `arguments` to an end.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn run(&self, arguments: &[OsString]) -> io::Result<End> {
        let mut command = Command::new(&self.path);
        command.args(arguments).args(&self.more).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let Some(patience) = self.patience else { return Ok(end_of(&command.output()?)) };
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
        let began = Instant::now();
        let status = loop {
            match child.try_wait()? {
                Some(status) => break status,
                None if began.elapsed() >= patience => {
                    child.kill()?;
                    break child.wait()?;
                }
                None => thread::sleep(Duration::from_millis(20)),
            }
        };
        let read = |end: thread::JoinHandle<Vec<u8>>| end.join().unwrap_or_default();
        Ok(end_of(&Output { status, stdout: read(stdout), stderr: read(stderr) }))
    }

    /// Runs a plan to an end; `scratch` is where it is written for the child.
    ///
    /// # Errors
    /// The plan cannot be written, or the child not be started.
    pub fn run_plan(&self, plan: &Plan, scratch: &Path) -> io::Result<End> {
        let text = toml::to_string(plan).map_err(io::Error::other)?;
        std::fs::write(scratch, text)?;
        self.run(&["replay".into(), scratch.into(), "--json".into()])
    }
}

/// Reads to the end, beside everything else.
fn drain(pipe: Option<impl io::Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What a killed child leaves unsaid is not missed.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        bytes
    })
}

fn end_of(output: &Output) -> End {
    match serde_json::from_slice(&output.stdout) {
        Ok(outcome) => End::Outcome(Box::new(outcome)),
        Err(_) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let lines: Vec<&str> = said.lines().collect();
            let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n");
            End::Crashed(format!("{}: {last}", output.status))
        }
    }
}
