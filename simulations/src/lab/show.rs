//! What a lab's program prints: results on standard output, talk on standard error.

use super::{CaseError, Outcome};
use crate::{scenario::explain::time, seeing::trace};
use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Case(#[from] CaseError),
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{} keeps all promises: there is nothing to shrink", .0.display())]
    Sound(PathBuf),
    #[error("cannot print the result: {0}")]
    Output(#[from] io::Error),
}

/// What came of a run, for a person.
pub(super) fn summary(outcome: &Outcome) -> String {
    let head = format!(
        "{} seed {}: {} nodes, {} of virtual time, {} events, digest {}\n",
        outcome.lab,
        outcome.seed,
        outcome.nodes,
        time(outcome.virtual_ms),
        outcome.events,
        outcome.digest
    );
    let goals: Vec<&str> = outcome.goals.keys().map(String::as_str).collect();
    let goals = if goals.is_empty() { String::new() } else { format!("  reached: {}\n", goals.join(", ")) };
    let end =
        outcome.broken.as_ref().map_or_else(|| "all promises kept".to_owned(), |broken| format!("BROKEN {broken}"));
    format!("{head}{goals}  {end}\n")
}

/// What [`this_program`] says, if that is not how this program was started.
pub(super) static PROGRAM: OnceLock<String> = OnceLock::new();

/// How to start this program again.
pub(super) fn this_program() -> String {
    if let Some(program) = PROGRAM.get() {
        return program.clone();
    }
    let by_cargo = std::env::var_os("CARGO").is_some();
    let release = if cfg!(debug_assertions) { "" } else { " --release" };
    if by_cargo {
        return format!("cargo run{release} --");
    }
    std::env::args().next().unwrap_or_default()
}

/// How things are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Show {
    pub(super) json: bool,
}

impl Show {
    pub(super) fn result(self, text: &str) -> Result<(), Trouble> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    pub(super) fn as_json(self, value: &impl serde::Serialize) -> Result<(), Trouble> {
        self.result(&format!("{}\n", serde_json::to_string(value).map_err(io::Error::other)?))
    }

    pub(super) fn say(self, text: &str) {
        let _ = writeln!(io::stderr(), "{text}");
    }

    pub(super) fn colours(self) -> bool {
        !self.json && trace::colour(io::stdout().is_terminal(), std::env::var_os("NO_COLOR").as_deref())
    }
}

pub(super) fn write_file(path: &Path, text: &str) -> Result<(), Trouble> {
    std::fs::write(path, text).map_err(|error| Trouble::File { path: path.to_owned(), error })
}
