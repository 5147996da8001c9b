//! [`main`]: a lab as a program: `run`, `sweep`, `replay`, `shrink`. The commands, options and exit codes are those of
//! `pangea-sim`: 0 all is well, 1 a promise was broken, 2 the arguments make no sense.

use super::{
    Case, Lab, Member, Outcome,
    show::{PROGRAM, Show, Trouble, summary, this_program, write_file},
    sweep::processors,
};
use crate::{
    scenario::explain::time,
    seeing::{animation, spacetime, trace},
};
use clap::{Parser, Subcommand};
use std::{
    ffi::OsString,
    io::{self, Write},
    ops::Range,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

/// Runs an actor on a network where everything goes wrong that can, in virtual time, replayable.
#[derive(Debug, Parser)]
#[command(arg_required_else_help = true, max_term_width = 100)]
#[command(
    after_help = "Begin with `sweep`. Exit codes: 0 all is well, 1 a promise was broken, 2 the arguments make no sense."
)]
struct Cli {
    /// Print results as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one seed
    Run {
        /// Root of all chance
        #[arg(long, default_value_t = 0)]
        seed: u64,
        #[command(flatten)]
        see: See,
    },
    /// Run many seeds, and keep what fails
    Sweep {
        /// Which seeds; the end is not included [default: those of the lab]
        #[arg(long, value_parser = parse_seeds)]
        seeds: Option<Range<u64>>,
        /// Where failing cases are written
        #[arg(long, value_name = "DIR", default_value = "failures")]
        keep: PathBuf,
        /// Stop after so many failures
        #[arg(long, default_value_t = 5)]
        failures: usize,
    },
    /// Run a failure again, from the file that a sweep or a shrink has written
    Replay {
        /// A case's file
        failure: PathBuf,
        #[command(flatten)]
        see: See,
    },
    /// Make a failure small: fewer nodes, fewer asks and faults, less time, the same broken promise
    Shrink {
        /// A case's file
        failure: PathBuf,
        /// Where the small one is written [default: beside it, as NAME.small.toml]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show what a case does, as a timeline; nothing is run
    Explain {
        /// A case's file
        failure: PathBuf,
    },
}

/// What to see of a run.
#[derive(Debug, clap::Args)]
struct See {
    /// Print what happens, a line per event
    #[arg(long)]
    trace: bool,
    /// Write a space-time diagram, a page for a browser
    #[arg(long, value_name = "FILE")]
    spacetime: Option<PathBuf>,
    /// Write an animation of the network, a page for a browser
    #[arg(long, value_name = "FILE")]
    animation: Option<PathBuf>,
}

/// The `main` of a program that runs this lab.
pub fn main<C: Member>(lab: &Lab<C>) -> ExitCode {
    run(lab, Cli::try_parse())
}

/// The same as a command of another program: `program` is how a person starts it, `arguments` are what follows.
pub fn main_of<C: Member>(lab: &Lab<C>, program: &str, arguments: &[OsString]) -> ExitCode {
    PROGRAM.get_or_init(|| program.to_owned());
    run(lab, Cli::try_parse_from([OsString::from(program)].iter().chain(arguments)))
}

fn run<C: Member>(lab: &Lab<C>, cli: Result<Cli, clap::Error>) -> ExitCode {
    let cli = match cli {
        Ok(cli) => cli,
        // Prints help to standard output with exit code 0, mistakes to standard error with 2.
        Err(error) => error.exit(),
    };
    let show = Show { json: cli.json };
    let verdict = match cli.command {
        Command::Run { seed, see } => Case::draw(lab, seed)
            .map_err(Trouble::Case)
            .and_then(|case| carry_out(lab, &case, &see, show, &format!("run --seed {seed}"))),
        Command::Sweep { seeds, keep, failures } => sweep(lab, seeds, &keep, failures, show),
        Command::Replay { failure, see } => Case::read(&failure)
            .map_err(Trouble::Case)
            .and_then(|case| carry_out(lab, &case, &see, show, &format!("replay {}", failure.display()))),
        Command::Shrink { failure, output } => shrink(lab, &failure, output, show),
        Command::Explain { failure } => explain(&failure, show),
    };
    match verdict {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(2)
        }
    }
}

fn carry_out<C: Member>(lab: &Lab<C>, case: &Case, see: &See, show: Show, command: &str) -> Result<bool, Trouble> {
    let wanted = see.trace || see.spacetime.is_some() || see.animation.is_some();
    let outcome = lab.replay(case, wanted)?;
    let title = format!("{} · seed {}", outcome.lab, outcome.seed);
    if see.trace {
        let options = trace::Options { colour: show.colours(), ..trace::Options::default() };
        trace::write(&outcome.records, &options, &mut io::stdout().lock())?;
    }
    if let Some(path) = &see.spacetime {
        write_file(path, &spacetime::html(&outcome.records, &title))?;
    }
    if let Some(path) = &see.animation {
        write_file(path, &animation::html(&outcome.records, &title))?;
    }
    if show.json {
        show.as_json(&outcome)?;
    } else {
        show.result(&summary(&outcome))?;
        if outcome.broken.is_some() {
            show.say(&format!("again: {} {command}", this_program()));
        }
    }
    Ok(outcome.broken.is_none())
}

fn sweep<C: Member>(
    lab: &Lab<C>,
    seeds: Option<Range<u64>>,
    keep: &Path,
    failures_max: usize,
    show: Show,
) -> Result<bool, Trouble> {
    let seeds = seeds.unwrap_or_else(|| lab.seeds.clone());
    let first = seeds.start;
    let (mut trouble, began) = (None, now());
    let tell = |outcome: &Outcome| -> Result<(), Trouble> {
        if show.json {
            show.as_json(outcome)?;
        }
        let Some(broken) = &outcome.broken else { return Ok(()) };
        let path = keep.join(format!("{}-{}.toml", lab.name, outcome.seed));
        Case::draw(lab, outcome.seed)?.write(&path, &broken.to_string())?;
        show.say(&format!("seed {} BROKEN {broken}", outcome.seed));
        show.say(&format!("  again:   {} replay {}", this_program(), path.display()));
        show.say(&format!("  smaller: {} shrink {}", this_program(), path.display()));
        Ok(())
    };
    let tally = lab.sweep_telling(seeds, failures_max, |outcome| {
        if let Err(error) = tell(outcome) {
            trouble.get_or_insert(error);
        }
    })?;
    if let Some(error) = trouble {
        return Err(error);
    }
    let difference = if tally.broken.is_empty() { lab.difference(first)? } else { None };
    if let Some(difference) = &difference {
        show.say(difference);
    }
    if !show.json {
        let seconds = began.elapsed().as_secs_f64().max(1e-3);
        let missed = if tally.missed.is_empty() {
            String::new()
        } else {
            format!(", never reached: {}", tally.missed.join(", "))
        };
        show.result(&format!(
            "{}: {} runs, {} of virtual time, {} failed{missed}\n",
            lab.name,
            tally.runs,
            time(tally.virtual_ms),
            tally.broken.len()
        ))?;
        show.say(&format!(
            "{seconds:.1} s of real time on {} threads: {:.2} million events/s, {:.0} times as fast as the real thing",
            processors(),
            tally.events as f64 / seconds / 1e6,
            tally.virtual_ms as f64 / 1e3 / seconds
        ));
    }
    Ok(tally.is_good() && difference.is_none())
}

#[allow(clippy::disallowed_methods, reason = "how long a person has waited; no run sees it")]
fn now() -> Instant {
    Instant::now()
}

fn shrink<C: Member>(lab: &Lab<C>, failure: &Path, output: Option<PathBuf>, show: Show) -> Result<bool, Trouble> {
    let case = Case::read(failure)?;
    let small = lab.shrink(&case)?.ok_or_else(|| Trouble::Sound(failure.to_owned()))?;
    let output = output.unwrap_or_else(|| failure.with_extension("small.toml"));
    small.case.write(&output, &small.broken.to_string())?;
    if show.json {
        show.as_json(
            &serde_json::json!({ "file": output, "runs": small.runs, "broken": small.broken, "case": small.case }),
        )?;
    } else {
        show.result(&format!(
            "BROKEN {}\n{}\n{}{}\n",
            small.broken,
            small.sizes(&case),
            small.case.explain(),
            output.display()
        ))?;
        show.say(&format!("again: {} replay {}", this_program(), output.display()));
    }
    Ok(true)
}

fn explain(failure: &Path, show: Show) -> Result<bool, Trouble> {
    let case = Case::read(failure)?;
    if show.json {
        show.as_json(&case)?
    } else {
        show.result(&case.explain())?
    }
    Ok(true)
}

/// `3`, `0..100` (the end excluded).
fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("`{text}` is neither a seed nor a range such as 0..100");
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let seeds = match text.split_once("..") {
        Some((from, to)) => number(from)?..number(to)?,
        None => number(text)?..number(text)?.saturating_add(1),
    };
    if seeds.is_empty() { Err("the range of seeds is empty".to_owned()) } else { Ok(seeds) }
}
