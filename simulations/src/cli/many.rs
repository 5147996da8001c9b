//! `sweep` and `ci`: many runs, each in a process of its own.

// CI is told how long it may take in real time.
#![allow(clippy::disallowed_methods)]

use super::{CliError, Show, Verdict, parse_seeds, parse_tier, plan_of, tier_name, write_file};
use crate::determinism::allocator;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pangea_simulations::{
    child::{End, Program, in_parallel},
    plan::TierName,
    scenario::{self, Scenario, explain::time, library::LIBRARY},
};
use std::{
    collections::BTreeSet,
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

/// A sweep of at least so many seeds must reach every goal of its scenario.
const SEEDS_FOR_GOALS: u64 = 10;

/// Run a scenario with many seeds, and keep what fails
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea-sim sweep chaos --seeds 0..100
  pangea-sim sweep all --seeds 0..5 --jobs 4
  pangea-sim sweep split-brain --seeds 0..50 --tier fleet --json")]
pub(super) struct SweepArgs {
    /// A scenario's name, its file, or `all`
    scenario: String,
    /// Which seeds; the end is not included
    #[arg(long, default_value = "0..20", value_parser = parse_seeds)]
    seeds: std::ops::Range<u64>,
    /// What runs the nodes: swarm, streams or fleet [default: the scenario's first]
    #[arg(long, value_parser = parse_tier)]
    tier: Option<TierName>,
    /// Runs at once [default: the number of processors]
    #[arg(long)]
    jobs: Option<usize>,
    /// Where failing plans are written
    #[arg(long, value_name = "DIR", default_value = "failures")]
    keep: PathBuf,
    /// Stop after so many failures
    #[arg(long, default_value_t = 10)]
    failures: usize,
    /// The program to run instead of this one, built otherwise
    #[arg(long, hide = true)]
    program: Option<PathBuf>,
}

/// Virtual milliseconds above which a scenario is for the night: CI runs it only if it is named.
const LONG_MS: f64 = 86_400_000.0;

/// One run of a sweep.
#[derive(Clone)]
struct Item {
    scenario: String,
    seed: u64,
    tier: TierName,
}

impl Item {
    fn arguments(&self) -> Vec<OsString> {
        let words = ["run", &self.scenario, "--seed", &self.seed.to_string(), "--tier", tier_name(self.tier), "--json"];
        words.into_iter().map(OsString::from).collect()
    }
}

/// What a sweep has seen.
#[derive(Default)]
struct Tally {
    runs: u64,
    failed: Vec<PathBuf>,
    virtual_ms: u64,
    goals: BTreeSet<String>,
}

pub(super) fn sweep(args: &SweepArgs, show: Show) -> Verdict {
    let program = match &args.program {
        Some(path) => Program::at(path.clone()),
        None => Program::this().map_err(CliError::Child)?,
    };
    let jobs = args.jobs.unwrap_or_else(processors);
    let mut good = true;
    for (name, scenario) in scenarios(&args.scenario)? {
        let tier = args.tier.filter(|tier| scenario.tiers.contains(tier)).or_else(|| scenario.tiers.first().copied());
        let Some(tier) = tier else { continue };
        let item = |seed| Item { scenario: name.clone(), seed, tier };
        let items: Vec<Item> = args.seeds.clone().map(item).collect();
        let tally = run_all(&items, &program, jobs, args.failures, &args.keep, show)?;
        let missed: Vec<&String> = scenario.sometimes.iter().filter(|goal| !tally.goals.contains(*goal)).collect();
        let count = args.seeds.end - args.seeds.start;
        let lacking = count >= SEEDS_FOR_GOALS && tally.failed.is_empty() && !missed.is_empty();
        good &= tally.failed.is_empty() && !lacking;
        report(&name, tier, &tally, &missed, show)?;
    }
    Ok(good)
}

fn scenarios(name: &str) -> Result<Vec<(String, Scenario)>, CliError> {
    let names = if name == "all" { LIBRARY.iter().map(|(name, _)| *name).collect() } else { vec![name] };
    names.into_iter().map(|name| Ok((name.to_owned(), scenario::find(name)?))).collect()
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn run_all(
    items: &[Item],
    program: &Program,
    jobs: usize,
    failures_max: usize,
    keep: &Path,
    show: Show,
) -> Result<Tally, CliError> {
    let bar = progress(items.len(), show);
    let mut tally = Tally::default();
    let mut trouble = None;
    in_parallel(
        items,
        jobs,
        |_, item| program.run(&item.arguments()),
        |at, end| {
            let noted = match end {
                Ok(end) => note(&items[at], &end, keep, &mut tally, show, &bar),
                Err(error) => Err(CliError::Child(error)),
            };
            bar.inc(1);
            match noted {
                Ok(()) => tally.failed.len() < failures_max,
                Err(error) => {
                    trouble = Some(error);
                    false
                }
            }
        },
    );
    bar.finish_and_clear();
    trouble.map_or(Ok(tally), Err)
}

fn note(item: &Item, end: &End, keep: &Path, tally: &mut Tally, show: Show, bar: &ProgressBar) -> Result<(), CliError> {
    tally.runs += 1;
    if let Some(outcome) = end.outcome() {
        tally.virtual_ms += outcome.virtual_ms;
        tally.goals.extend(outcome.goals.keys().cloned());
        if show.json {
            bar.suspend(|| show.as_json(outcome))?;
        }
    }
    if end.broken().is_empty() {
        return Ok(());
    }
    let plan = plan_of(&item.scenario, item.seed, Some(item.tier))?;
    let path = keep.join(format!("{}-{}-{}.toml", plan.scenario, tier_name(item.tier), item.seed));
    let why = match end {
        End::Outcome(outcome) => {
            outcome.violations.first().map(|violation| format!("{}: {}", violation.oracle, violation.text))
        }
        End::Crashed(said) => Some(said.clone()),
    }
    .unwrap_or_default();
    let head = why.lines().map(|line| format!("# {line}\n")).collect::<String>();
    let text = toml::to_string(&plan).map_err(std::io::Error::other)?;
    write_file(&path, format!("{head}\n{text}"))?;
    bar.suspend(|| {
        show.say(format!("{} seed {} BROKEN {why}", item.scenario, item.seed));
        show.say(format!("  again:   pangea-sim replay {}", path.display()));
        show.say(format!("  smaller: pangea-sim shrink {}", path.display()));
    });
    tally.failed.push(path);
    Ok(())
}

fn progress(count: usize, show: Show) -> ProgressBar {
    let target = if show.quiet || show.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(count as u64), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {elapsed}, {eta} to go") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

fn report(name: &str, tier: TierName, tally: &Tally, missed: &[&String], show: Show) -> Result<(), CliError> {
    if show.json {
        return Ok(());
    }
    let missed: Vec<&str> = missed.iter().map(|goal| goal.as_str()).collect();
    let lacking = if missed.is_empty() { String::new() } else { format!(", never reached: {}", missed.join(", ")) };
    show.result(format!(
        "{name} on the {}: {} runs, {} of virtual time, {} failed{lacking}\n",
        tier_name(tier),
        tally.runs,
        time(tally.virtual_ms),
        tally.failed.len()
    ))
}

/// Everything that a change must pass: all scenarios twice, what has failed before, and new seeds
///
/// Every scenario runs twice with one seed, in processes with other addresses and another allocator,
/// and must do the same, event for event. Every plan of the corpus must keep its promises. Then new seeds are tried for
/// as long as --budget says.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea-sim ci
  pangea-sim ci --budget 300 --corpus my/corpus
  pangea-sim ci my-scenario.toml --budget 60")]
pub(super) struct CiArgs {
    /// Scenarios, by name or file [default: all that come with the program and last no longer than a day]
    scenarios: Vec<String>,
    /// Only on this tier: swarm, streams or fleet [default: on each that a scenario is made for]
    #[arg(long, value_parser = parse_tier)]
    tier: Option<TierName>,
    /// Plans that failed once
    #[arg(long, value_name = "DIR", default_value = "simulations/corpus")]
    corpus: PathBuf,
    /// Seconds for new seeds
    #[arg(long, default_value_t = 60)]
    budget: u64,
    /// The first of the new seeds [default: the day]
    #[arg(long)]
    first: Option<u64>,
    /// Runs at once [default: the number of processors]
    #[arg(long)]
    jobs: Option<usize>,
    /// Where failing plans are written
    #[arg(long, value_name = "DIR", default_value = "failures")]
    keep: PathBuf,
}

pub(super) fn ci(args: &CiArgs, show: Show) -> Verdict {
    let began = std::time::Instant::now();
    let program = Program::this().map_err(CliError::Child)?;
    let jobs = args.jobs.unwrap_or_else(processors);
    let mut items = Vec::new();
    let names: Vec<String> = match args.scenarios.is_empty() {
        true => LIBRARY.iter().map(|(name, _)| (*name).to_owned()).collect(),
        false => args.scenarios.clone(),
    };
    for name in names {
        let scenario = scenario::find(&name)?;
        if args.scenarios.is_empty() && scenario.end.high > LONG_MS {
            continue;
        }
        let tiers = scenario.tiers;
        let wanted = |tier: &TierName| args.tier.is_none_or(|only| only == *tier);
        items.extend(tiers.into_iter().filter(wanted).map(|tier| Item { scenario: name.clone(), seed: 1, tier }));
    }
    let twice = twice(&items, &program, jobs, show)?;
    let old = corpus(&args.corpus, &program, jobs, show)?;
    let first = args.first.unwrap_or_else(day);
    let new = new_seeds(&items, first, &program, jobs, args, show)?;
    let hours = (twice.1 + old.1 + new.1) as f64 / 3.6e6;
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    show.result(format!(
        "simulated {hours:.1} hours in {minutes:.1} minutes: {:.1} hours a minute\n",
        hours / minutes.max(1e-3)
    ))?;
    Ok(twice.0 && old.0 && new.0)
}

/// Days since 1970: everybody tries other seeds than yesterday, and the same as everybody else.
fn day() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs() / 86_400) * 1_000_000
}

/// What of a part of CI was good, and how many virtual milliseconds it ran.
type Part = (bool, u64);

fn twice(items: &[Item], program: &Program, jobs: usize, show: Show) -> Result<Part, CliError> {
    let other = program.clone().with(allocator::OTHER, "1").with(
        "GLIBC_TUNABLES",
        "glibc.malloc.mmap_threshold=65536:glibc.malloc.top_pad=1048576:glibc.malloc.perturb=170",
    );
    let bar = progress(items.len(), show);
    let (mut good, mut virtual_ms, mut trouble) = (true, 0, None);
    let both = |item: &Item| {
        let mut disturbed = item.arguments();
        disturbed.push("--disturbed".into());
        Ok::<_, std::io::Error>((program.run(&item.arguments())?, other.run(&disturbed)?))
    };
    in_parallel(
        items,
        jobs,
        |_, item| both(item),
        |at, ends| {
            bar.inc(1);
            let (first, second) = match ends {
                Ok(ends) => ends,
                Err(error) => {
                    trouble = Some(CliError::Child(error));
                    return false;
                }
            };
            let digest = |end: &End| end.outcome().map(|outcome| outcome.digest.clone());
            let (item, tier) = (&items[at], tier_name(items[at].tier));
            virtual_ms += first.outcome().map_or(0, |outcome| outcome.virtual_ms) * 2;
            let line = match (first.broken().first(), digest(&first) == digest(&second)) {
                (None, true) => format!("{:<22} {tier:<7} ok  {}", item.scenario, digest(&first).unwrap_or_default()),
                (None, false) => format!(
                    "{:<22} {tier:<7} DIFFERS between two processes: pangea-sim bisect {} --seed {} --tier {tier}",
                    item.scenario, item.scenario, item.seed
                ),
                (Some(oracle), _) => format!(
                    "{:<22} {tier:<7} BROKEN {oracle}: pangea-sim run {} --seed {} --tier {tier}",
                    item.scenario, item.scenario, item.seed
                ),
            };
            good &= first.broken().is_empty() && digest(&first) == digest(&second);
            bar.suspend(|| show.result(line + "\n")).is_ok()
        },
    );
    bar.finish_and_clear();
    trouble.map_or(Ok((good, virtual_ms)), Err)
}

fn corpus(dir: &Path, program: &Program, jobs: usize, show: Show) -> Result<Part, CliError> {
    let mut plans: Vec<PathBuf> = std::fs::read_dir(dir)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    plans.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    plans.sort();
    let (mut good, mut virtual_ms) = (true, 0);
    let replay = |path: &PathBuf| program.run(&["replay".into(), path.into(), "--json".into()]);
    in_parallel(
        &plans,
        jobs,
        |_, path| replay(path),
        |at, end| {
            let broken = end.as_ref().map_or_else(|_| vec!["crash".to_owned()], End::broken);
            virtual_ms += end.ok().and_then(|end| end.outcome().map(|outcome| outcome.virtual_ms)).unwrap_or(0);
            if let Some(oracle) = broken.first() {
                good = false;
                show.say(format!("BROKEN again, {oracle}: pangea-sim replay {}", plans[at].display()));
            }
            true
        },
    );
    show.result(format!("corpus: {} plans that failed once{}\n", plans.len(), if good { ", all good" } else { "" }))?;
    Ok((good, virtual_ms))
}

fn new_seeds(
    items: &[Item],
    first: u64,
    program: &Program,
    jobs: usize,
    args: &CiArgs,
    show: Show,
) -> Result<Part, CliError> {
    let began = std::time::Instant::now();
    let (mut round, mut virtual_ms, mut runs, mut good) = (0, 0, 0, true);
    // Round by round over all scenarios, each on all of its tiers, until the time is over.
    while began.elapsed() < Duration::from_secs(args.budget) && good {
        let seed = first + round;
        let batch: Vec<Item> = items.iter().map(|item| Item { seed, ..item.clone() }).collect();
        for part in batch.chunks(jobs.max(1) * 2) {
            if began.elapsed() >= Duration::from_secs(args.budget) {
                break;
            }
            let tally = run_all(part, program, jobs, usize::MAX, &args.keep, Show { quiet: true, ..show })?;
            (virtual_ms, runs) = (virtual_ms + tally.virtual_ms, runs + tally.runs);
            for path in &tally.failed {
                good = false;
                show.result(format!("BROKEN: pangea-sim replay {}\n", path.display()))?;
            }
        }
        round += 1;
    }
    if round > 0 {
        let seeds = if round == 1 { format!("seed {first}") } else { format!("seeds {first}..{}", first + round) };
        show.result(format!("new seeds: {runs} runs with {seeds}{}\n", if good { ", all good" } else { "" }))?;
    }
    Ok((good, virtual_ms))
}
