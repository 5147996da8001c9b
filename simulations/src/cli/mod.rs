//! The command line: `pangea-sim run`, `sweep`, `replay`, `shrink`, ….
//!
//! | file | commands |
//! |---|---|
//! | `single.rs` | `run`, `replay`: one run, with its traces and pictures |
//! | `many.rs` | `sweep`, `ci` |
//! | `smaller.rs` | `shrink`, `bisect` |
//! | `tell.rs` | `list`, `explain`, `new` |
//! | `actor.rs` | `new --actor` |
//! | `plugin.rs` | `actor` |
//! | `mutants.rs` | `mutants`, in builds with planted bugs |
//!
//! Results go to standard output, talk and progress to standard error. Exit codes: 0 all is well, 1 a promise was broken
//! or two runs differ, 2 the arguments make no sense.

mod actor;
mod many;
#[cfg(feature = "planted-bugs")]
mod mutants;
mod plugin;
mod single;
mod smaller;
mod tell;

use clap::{Parser, Subcommand};
use pangea_simulations::{
    plan::{Plan, TierName},
    scenario::{self, ScenarioError},
};
use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Simulates whole networks of Pangea nodes in virtual time: every fault, every seed, replayable.
#[derive(Debug, Parser)]
#[command(name = "pangea-sim", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Begin with `pangea-sim list`, then `pangea-sim run flash-crowd`.
Exit codes: 0 all is well, 1 a promise was broken or two runs differ, 2 the arguments make no sense.")]
pub struct Cli {
    /// Print results as JSON
    #[arg(long, global = true, display_order = 900)]
    json: bool,
    /// Say nothing but results and errors
    #[arg(long, short, global = true, display_order = 901)]
    quiet: bool,
    /// Plant a bug, see `mutants`
    #[cfg(feature = "planted-bugs")]
    #[arg(long, global = true, hide = true, value_name = "NAME")]
    plant: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(single::RunArgs),
    Replay(single::ReplayArgs),
    Sweep(many::SweepArgs),
    Ci(many::CiArgs),
    Shrink(smaller::ShrinkArgs),
    Bisect(smaller::BisectArgs),
    List(tell::ListArgs),
    Explain(tell::ExplainArgs),
    New(tell::NewArgs),
    Actor(plugin::ActorArgs),
    #[cfg(feature = "planted-bugs")]
    Mutants(mutants::MutantsArgs),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("cannot run this program again: {0}")]
    Child(io::Error),
    #[error("{0}")]
    Usage(String),
    #[error("cannot print the result: {0}")]
    Output(#[from] io::Error),
}

/// All is well, or not.
type Verdict = Result<bool, CliError>;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Prints help and version to standard output with exit code 0, mistakes to standard error with 2.
        Err(error) => error.exit(),
    };
    let show = Show { json: cli.json, quiet: cli.quiet };
    #[cfg(feature = "planted-bugs")]
    if let Some(Err(error)) = cli.plant.as_deref().map(mutants::plant) {
        let _ = writeln!(io::stderr(), "error: {error}");
        return ExitCode::from(2);
    }
    let verdict = match cli.command {
        Command::Actor(args) => match plugin::actor(args) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Run(args) => single::run(&args, show),
        Command::Replay(args) => single::replay(&args, show),
        Command::Sweep(args) => many::sweep(&args, show),
        Command::Ci(args) => many::ci(&args, show),
        Command::Shrink(args) => smaller::shrink(&args, show),
        Command::Bisect(args) => smaller::bisect(&args, show),
        Command::List(_) => tell::list(show),
        Command::Explain(args) => tell::explain(&args, show),
        Command::New(args) => tell::new(&args, show),
        #[cfg(feature = "planted-bugs")]
        Command::Mutants(args) => mutants::mutants(&args, show),
    };
    match verdict {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(2)
        }
    }
}

/// How things are shown.
#[derive(Clone, Copy, Debug)]
struct Show {
    json: bool,
    quiet: bool,
}

impl Show {
    /// A result.
    fn result(self, text: impl std::fmt::Display) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        write!(out, "{text}")?;
        Ok(out.flush()?)
    }

    /// A result as one line of JSON.
    fn as_json(self, value: &impl serde::Serialize) -> Result<(), CliError> {
        self.result(format!("{}\n", serde_json::to_string(value).map_err(io::Error::other)?))
    }

    /// Talk.
    fn say(self, text: impl std::fmt::Display) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Colours: on a terminal that wants them.
    fn colours(self) -> bool {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        !self.json && !refused && io::stdout().is_terminal()
    }
}

fn write_file(path: &Path, text: impl AsRef<[u8]>) -> Result<(), CliError> {
    let error = |error| CliError::File { path: path.to_owned(), error };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(error)?;
    }
    std::fs::write(path, text).map_err(error)
}

/// What names a run: a scenario and a seed, or a plan's file.
fn plan_of(name: &str, seed: u64, tier: Option<TierName>) -> Result<Plan, CliError> {
    Ok(scenario::draw(&scenario::find(name)?, seed, tier)?)
}

fn parse_tier(text: &str) -> Result<TierName, String> {
    match text {
        "swarm" => Ok(TierName::Swarm),
        "streams" => Ok(TierName::Streams),
        "fleet" => Ok(TierName::Fleet),
        _ => Err("there are three tiers: swarm, streams and fleet".to_owned()),
    }
}

fn tier_name(tier: TierName) -> &'static str {
    match tier {
        TierName::Swarm => "swarm",
        TierName::Streams => "streams",
        TierName::Fleet => "fleet",
    }
}

/// `3`, `0..100` (the end excluded).
fn parse_seeds(text: &str) -> Result<std::ops::Range<u64>, String> {
    let wrong = || format!("`{text}` is neither a seed nor a range such as 0..100");
    match text.split_once("..") {
        Some((from, to)) => {
            let range = from.parse().map_err(|_| wrong())?..to.parse().map_err(|_| wrong())?;
            if range.is_empty() { Err("the range of seeds is empty".to_owned()) } else { Ok(range) }
        }
        None => text.parse().map(|seed: u64| seed..seed + 1).map_err(|_| wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples_and_they_parse() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<&str> = help.lines().map(str::trim).filter(|line| line.starts_with("pangea-sim ")).collect();
            assert!(!lines.is_empty(), "`{}` has no example", command.get_name());
            for line in lines {
                let example = line.split("  #").next().unwrap_or(line).trim();
                let parsed = Cli::try_parse_from(example.split_whitespace());
                assert!(parsed.is_ok(), "example `{example}`: {}", parsed.unwrap_err());
            }
        }
    }
}
