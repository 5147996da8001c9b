//! `run` and `replay`: one run, with its traces and pictures.

use super::{CliError, Show, Verdict, parse_tier, plan_of, tier_name, write_file};
use crate::determinism;
use pangea_simulations::{
    plan::{Plan, TierName},
    record::{NodeId, Record},
    run::{self, Keep, Outcome},
    scenario::{self, explain::time},
    seeing::{self, Kind, trace},
};
use std::{collections::BTreeSet, fs::File, path::PathBuf};

/// Run a scenario with one seed
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea-sim run flash-crowd
  pangea-sim run split-brain --seed 7 --tier fleet
  pangea-sim run my-scenario.toml --animation run.html
  pangea-sim run cold-start --trace --node 3 --kind fault")]
pub(super) struct RunArgs {
    /// A scenario's name, or its file
    scenario: String,
    /// Root of all chance
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What runs the nodes: swarm, streams or fleet [default: the scenario's first]
    #[arg(long, value_parser = parse_tier)]
    tier: Option<TierName>,
    #[command(flatten)]
    see: SeeArgs,
}

/// Run a failure again, from the file that a sweep or a shrink has written
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea-sim replay failures/chaos-17.toml
  pangea-sim replay failures/chaos-17.toml --spacetime run.html")]
pub(super) struct ReplayArgs {
    /// A plan's file
    failure: PathBuf,
    #[command(flatten)]
    see: SeeArgs,
}

/// What to see of a run.
#[derive(Debug, clap::Args)]
pub(super) struct SeeArgs {
    /// Print what happens, a line per event
    #[arg(long)]
    trace: bool,
    /// With --trace: only these nodes
    #[arg(long = "node", value_name = "ID", requires = "trace")]
    nodes: Vec<NodeId>,
    /// With --trace: only these kinds of events
    #[arg(long = "kind", value_name = "KIND", requires = "trace", value_parser = parse_kind)]
    kinds: Vec<Kind>,
    /// With --trace: from this virtual second on
    #[arg(long, value_name = "SECONDS", requires = "trace")]
    from: Option<f64>,
    /// With --trace: up to this virtual second
    #[arg(long, value_name = "SECONDS", requires = "trace")]
    until: Option<f64>,
    /// Write a space-time diagram, a page for a browser
    #[arg(long, value_name = "FILE")]
    spacetime: Option<PathBuf>,
    /// Write an animation of the network, a page for a browser
    #[arg(long, value_name = "FILE")]
    animation: Option<PathBuf>,
    /// Write a trace for ui.perfetto.dev
    #[arg(long, value_name = "FILE")]
    perfetto: Option<PathBuf>,
    /// Write all records, one JSON object a line
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
    /// Write a line per event, with its hash: two runs that should be the same are compared by it
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Leave address space and environment as they are, to see that nothing depends on them
    #[arg(long, hide = true)]
    disturbed: bool,
}

fn parse_kind(text: &str) -> Result<Kind, String> {
    Kind::ALL
        .into_iter()
        .find(|kind| kind.name() == text)
        .ok_or_else(|| format!("there is no such kind; there are: {}", Kind::ALL.map(Kind::name).join(", ")))
}

impl SeeArgs {
    fn wants_records(&self) -> bool {
        self.trace || [&self.spacetime, &self.animation, &self.perfetto, &self.records].into_iter().any(Option::is_some)
    }

    fn options(&self, show: Show) -> trace::Options {
        let nanos = |seconds: f64| (seconds.max(0.0) * 1e9) as u64;
        trace::Options {
            nodes: (!self.nodes.is_empty()).then(|| self.nodes.iter().copied().collect()),
            kinds: (!self.kinds.is_empty()).then(|| self.kinds.iter().copied().collect::<BTreeSet<_>>()),
            from_ns: self.from.map(nanos),
            until_ns: self.until.map(nanos),
            colour: show.colours(),
        }
    }
}

pub(super) fn run(args: &RunArgs, show: Show) -> Verdict {
    let plan = plan_of(&args.scenario, args.seed, args.tier)?;
    carry_out(plan, &args.see, show, &format!("pangea-sim run {} --seed {}", args.scenario, args.seed))
}

pub(super) fn replay(args: &ReplayArgs, show: Show) -> Verdict {
    let plan = scenario::read_plan(&args.failure)?;
    carry_out(plan, &args.see, show, &format!("pangea-sim replay {}", args.failure.display()))
}

fn carry_out(plan: Plan, see: &SeeArgs, show: Show, command: &str) -> Verdict {
    if !see.disturbed {
        determinism::process::fix_addresses().map_err(CliError::Child)?;
    }
    let log = match &see.log {
        Some(path) => Some(File::create(path).map_err(|error| CliError::File { path: path.clone(), error })?),
        None => None,
    };
    let keep = Keep { records: see.wants_records(), log };
    let title = format!("{} · seed {} · {}", plan.scenario, plan.seed, tier_name(plan.tier));
    let began = determinism::real_nanos();
    let (outcome, records) = determinism::run(plan.seed, move || run::run(&plan, keep))
        .map_err(|error| CliError::Usage(error.to_string()))?;
    let (real, cpu) = ((determinism::real_nanos() - began) as f64 / 1e9, determinism::cpu_nanos() as f64 / 1e9);
    pictures(see, show, &records, &title)?;
    if show.json {
        show.as_json(&outcome)?;
    } else {
        show.result(summary(&outcome))?;
        let speed = outcome.virtual_ms as f64 / 1e3 / real.max(1e-3);
        show.say(format!("{real:.1} s of real time, {cpu:.1} s of CPU: {speed:.0} times as fast as the real thing"));
        if !outcome.is_good() {
            show.say(format!("again: {command}"));
        }
    }
    Ok(outcome.is_good())
}

fn pictures(see: &SeeArgs, show: Show, records: &[Record], title: &str) -> Result<(), CliError> {
    if see.trace {
        trace::write(records, &see.options(show), &mut std::io::stdout().lock())?;
    }
    if let Some(path) = &see.spacetime {
        write_file(path, seeing::spacetime::html(records, title))?;
    }
    if let Some(path) = &see.animation {
        write_file(path, seeing::animation::html(records, title))?;
    }
    if let Some(path) = &see.perfetto {
        write_file(path, seeing::perfetto::json(records, title))?;
    }
    if let Some(path) = &see.records {
        let lines: Result<Vec<String>, _> = records.iter().map(serde_json::to_string).collect();
        write_file(path, lines.map_err(std::io::Error::other)?.join("\n") + "\n")?;
    }
    Ok(())
}

/// What came of a run, for a person.
pub(super) fn summary(outcome: &Outcome) -> String {
    use std::fmt::Write;
    let mut text = format!(
        "{} seed {} on the {}: {} nodes, {} of virtual time, {} events, digest {}\n",
        outcome.scenario,
        outcome.seed,
        tier_name(outcome.tier),
        outcome.nodes,
        time(outcome.virtual_ms),
        outcome.events,
        outcome.digest
    );
    for kind in ["put", "get", "remove", "cancel", "compute", "install", "tell", "recall"] {
        let all: Vec<&run::Ended> = outcome.operations.iter().filter(|ended| ended.kind == kind).collect();
        if all.is_empty() {
            continue;
        }
        let count = |end: run::End| all.iter().filter(|ended| ended.end == end).count();
        let mut took: Vec<u64> =
            all.iter().filter(|ended| ended.end == run::End::Ok).map(|ended| ended.took_ms).collect();
        took.sort_unstable();
        let at = |share: usize| took.get((took.len() * share / 100).min(took.len().saturating_sub(1))).copied();
        let _ = writeln!(
            text,
            "  {kind:<7} {:>4} ok {:>4} failed {:>4} lost {:>4} cancelled {:>4} skipped   p50 {} p99 {}",
            count(run::End::Ok),
            count(run::End::Failed),
            count(run::End::Lost),
            count(run::End::Cancelled),
            count(run::End::Skipped),
            at(50).map_or_else(|| "-".to_owned(), time),
            at(99).map_or_else(|| "-".to_owned(), time),
        );
    }
    let goals: Vec<&str> = outcome.goals.keys().map(String::as_str).collect();
    let _ = writeln!(text, "  reached: {}", goals.join(", "));
    if outcome.violations.is_empty() {
        text.push_str("  all promises kept\n");
    }
    for violation in &outcome.violations {
        let _ = writeln!(
            text,
            "  BROKEN {} at {}: {}",
            violation.oracle,
            time(violation.at_ns / 1_000_000),
            violation.text
        );
    }
    text
}
