//! `shrink` and `bisect`: from a failure to its cause.

use super::{CliError, Show, Verdict, parse_tier, tier_name, write_file};
use pangea_simulations::{
    bisect,
    child::{Program, in_parallel},
    plan::{Plan, TierName},
    scenario,
    shrink::{self, Try},
};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Make a failure small: fewer nodes, fewer operations and faults, less time, the same broken promise
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea-sim shrink failures/chaos-swarm-17.toml
  pangea-sim shrink failures/chaos-swarm-17.toml --output simulations/corpus/lost-receipt.toml")]
pub(super) struct ShrinkArgs {
    /// A plan's file
    failure: PathBuf,
    /// Where the small one is written [default: beside it, as NAME.small.toml]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Runs at once [default: the number of processors]
    #[arg(long)]
    jobs: Option<usize>,
    /// The program to run instead of this one, built otherwise
    #[arg(long, hide = true)]
    program: Option<PathBuf>,
}

/// Find the first event in which two runs of the same plan differ
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea-sim bisect chaos --seed 7
  pangea-sim bisect failures/chaos-swarm-17.toml
  pangea-sim bisect cold-start --tier fleet --other target/debug/pangea-sim")]
pub(super) struct BisectArgs {
    /// A scenario's name or file, or a plan's file
    what: String,
    /// Root of all chance, for a scenario
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What runs the nodes: swarm, streams or fleet [default: the scenario's first]
    #[arg(long, value_parser = parse_tier)]
    tier: Option<TierName>,
    /// Another build of this program to compare with [default: this one, with other addresses]
    #[arg(long, value_name = "FILE")]
    other: Option<PathBuf>,
}

/// Tries plans in processes of their own.
struct Trial<'a> {
    program: &'a Program,
    oracle: String,
    jobs: usize,
    scratch: &'a Path,
    runs: usize,
    show: Show,
}

impl Try for Trial<'_> {
    fn first_failing(&mut self, plans: &[Plan]) -> Option<usize> {
        let (mut found, mut runs) = (None, 0);
        let (program, scratch, oracle) = (self.program, self.scratch, &self.oracle);
        let each = |at: usize, plan: &Plan| {
            let end = program.run_plan(plan, &scratch.join(format!("{at}.toml")));
            end.is_ok_and(|end| end.broken().contains(oracle))
        };
        in_parallel(plans, self.jobs, each, |at, fails| {
            runs += 1;
            found = fails.then_some(at);
            !fails
        });
        self.runs += runs;
        found
    }

    fn runs(&self) -> usize {
        self.runs
    }

    fn on_smaller(&mut self, plan: &Plan) {
        let (nodes, events, end_ms, _) = shrink::size(plan);
        self.show.say(format!("{nodes} nodes, {events} events, {} s ({} runs)", end_ms / 1000, self.runs));
    }
}

pub(super) fn shrink(args: &ShrinkArgs, show: Show) -> Verdict {
    let plan = scenario::read_plan(&args.failure)?;
    let program = match &args.program {
        Some(path) => Program::at(path.clone()),
        None => Program::this().map_err(CliError::Child)?,
    };
    let scratch = Scratch::new()?;
    let end = program.run_plan(&plan, &scratch.0.join("whole.toml")).map_err(CliError::Child)?;
    let Some(oracle) = end.broken().into_iter().next() else {
        return Err(CliError::Usage(format!(
            "{} keeps all promises: there is nothing to shrink",
            args.failure.display()
        )));
    };
    show.say(format!("broken: {oracle}"));
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let before = shrink::size(&plan);
    let mut trial = Trial { program: &program, oracle: oracle.clone(), jobs, scratch: &scratch.0, runs: 0, show };
    let small = shrink::shrink(plan, &mut trial);
    let runs = trial.runs;
    let end = program.run_plan(&small, &scratch.0.join("small.toml")).map_err(CliError::Child)?;
    let why = end
        .outcome()
        .and_then(|outcome| outcome.violations.iter().find(|violation| violation.oracle == oracle))
        .map_or_else(String::new, |violation| violation.text.clone());
    let output = args.output.clone().unwrap_or_else(|| args.failure.with_extension("small.toml"));
    let head = format!("# {oracle}: {}\n\n", why.replace('\n', " "));
    let text = toml::to_string(&small).map_err(std::io::Error::other)?;
    write_file(&output, head + &text)?;
    let after = shrink::size(&small);
    if show.json {
        show.as_json(&serde_json::json!({
            "oracle": oracle, "nodes": after.0, "events": after.1, "runs": runs,
            "nodes_before": before.0, "events_before": before.1, "file": output,
        }))?;
    } else {
        show.result(format!(
            "{} nodes and {} events, from {} and {}, after {runs} runs: {}\n  {oracle}: {why}\n",
            after.0,
            after.1,
            before.0,
            before.1,
            output.display()
        ))?;
        show.say(format!("again: pangea-sim replay {}", output.display()));
    }
    Ok(true)
}

pub(super) fn bisect(args: &BisectArgs, show: Show) -> Verdict {
    let scratch = Scratch::new()?;
    let plan = match scenario::read_plan(Path::new(&args.what)) {
        Ok(plan) => plan,
        Err(_) => super::plan_of(&args.what, args.seed, args.tier)?,
    };
    let this = Program::this().map_err(CliError::Child)?;
    let (other, disturbed) = match &args.other {
        Some(path) => (Program::at(path.clone()), false),
        None => (this.clone(), true),
    };
    let file = scratch.0.join("plan.toml");
    write_file(&file, toml::to_string(&plan).map_err(std::io::Error::other)?)?;
    let logs = [scratch.0.join("first.log"), scratch.0.join("second.log")];
    for (program, log, disturbed) in [(&this, &logs[0], false), (&other, &logs[1], disturbed)] {
        let mut arguments: Vec<OsString> =
            vec!["replay".into(), file.clone().into(), "--json".into(), "--log".into(), log.into()];
        arguments.extend(disturbed.then(|| OsString::from("--disturbed")));
        program.run(&arguments).map_err(CliError::Child)?;
    }
    let difference =
        bisect::compare(&logs[0], &logs[1]).map_err(|error| CliError::File { path: logs[0].clone(), error })?;
    if show.json {
        show.as_json(&difference)?;
        return Ok(difference.is_none());
    }
    let Some(difference) = difference else {
        show.result(format!(
            "{} seed {} on the {}: the same, event for event\n",
            plan.scenario,
            plan.seed,
            tier_name(plan.tier)
        ))?;
        return Ok(true);
    };
    show.result(format!("they part at event {}:\n", difference.event))?;
    for line in &difference.before {
        show.result(format!("    {line}\n"))?;
    }
    let end = || "(ends)".to_owned();
    show.result(format!(
        "  - {}\n  + {}\n",
        difference.first.clone().unwrap_or_else(end),
        difference.second.clone().unwrap_or_else(end)
    ))?;
    Ok(false)
}

/// A directory that is gone when this is dropped.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    #[cfg(feature = "planted-bugs")]
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn new() -> Result<Self, CliError> {
        let path = std::env::temp_dir().join(format!("pangea-sim-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| CliError::File { path: path.clone(), error })?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
