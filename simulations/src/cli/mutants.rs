//! `mutants`: does the simulator find the bugs that are planted for it? Only in a build with the feature
//! `planted-bugs`; the bugs are listed in `pangea_simulations::mutants`.

use super::{CliError, Show, Verdict, plan_of, smaller::Scratch, tier_name, write_file};
use pangea_simulations::{
    child::{End, Program, in_parallel},
    mutants::{self, MUTANTS, Mutant},
    plan::Plan,
    shrink::{self, Try},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

/// A run with a planted bug may never end.
const PATIENCE: Duration = Duration::from_secs(240);
/// Around the table in a document.
const MARKS: (&str, &str) = ("<!-- mutants -->", "<!-- /mutants -->");
/// Its head.
const HEAD: &str = "| planted bug | in | what is wrong | found by | in scenario | seeds | shrunk to |\n\
                    |---|---|---|---|---|---|---|\n";

/// Hunt the planted bugs: each must be found by a scenario within its number of seeds
///
/// Every run is a process of its own with one bug in it. Without a bug all the same runs must pass. What is found is
/// shrunk to nodes and events that fail with the bug and pass without it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea-sim mutants
  pangea-sim mutants receipt-before-sync settled-one-short
  pangea-sim mutants --update docs/simulation.md")]
pub(super) struct MutantsArgs {
    /// Which bugs [default: all]
    names: Vec<String>,
    /// Runs at once [default: the number of processors]
    #[arg(long)]
    jobs: Option<usize>,
    /// Do not shrink what is found
    #[arg(long)]
    whole: bool,
    /// Put the rows into the table of this document
    #[arg(long, value_name = "FILE")]
    update: Option<PathBuf>,
}

/// Where and how a bug was found.
struct Found {
    oracle: String,
    scenario: &'static str,
    seeds: u64,
    /// Nodes and events.
    small: Option<(usize, usize)>,
}

pub(super) fn mutants(args: &MutantsArgs, show: Show) -> Verdict {
    if let Some(unknown) = args.names.iter().find(|name| mutants::find(name).is_none()) {
        return Err(CliError::Usage(format!("no planted bug is called `{unknown}`")));
    }
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let hunt = Hunt { program: Program::this().map_err(CliError::Child)?, jobs, scratch: Scratch::new()?, show };
    let chosen = |mutant: &&Mutant| args.names.is_empty() || args.names.iter().any(|name| name == mutant.name);
    let mut rows = BTreeMap::new();
    let mut tried = BTreeSet::new();
    let mut good = true;
    for mutant in MUTANTS.iter().filter(chosen) {
        let found = hunt.find(mutant, !args.whole, &mut tried)?;
        good &= found.is_some();
        show.say(row(mutant, found.as_ref()).trim_end());
        rows.insert(mutant.name, row(mutant, found.as_ref()));
    }
    let table: String = MUTANTS.iter().filter_map(|mutant| rows.get(mutant.name)).cloned().collect();
    show.result(format!("{HEAD}{table}"))?;
    if let Some(path) = &args.update {
        update(path, &rows)?;
    }
    let passes = hunt.control(&tried)?;
    show.result(format!("{} runs without a bug: {}\n", tried.len(), if passes { "all good" } else { "BROKEN" }))?;
    Ok(good && passes)
}

fn row(mutant: &Mutant, found: Option<&Found>) -> String {
    let Mutant { name, place, what, .. } = mutant;
    match found {
        None => format!("| `{name}` | {place} | {what} | **not found** | | > {} | |\n", mutant.seeds),
        Some(Found { oracle, scenario, seeds, small }) => {
            let small = small.map_or_else(String::new, |(nodes, events)| format!("{nodes} nodes, {events} events"));
            format!("| `{name}` | {place} | {what} | {oracle} | {scenario} | {seeds} | {small} |\n")
        }
    }
}

/// Puts rows into the table of a document; rows of other bugs stay.
fn update(path: &Path, rows: &BTreeMap<&str, String>) -> Result<(), CliError> {
    let text = std::fs::read_to_string(path).map_err(|error| CliError::File { path: path.to_owned(), error })?;
    let parts = text.split_once(MARKS.0).and_then(|(before, rest)| Some((before, rest.split_once(MARKS.1)?)));
    let Some((before, (old, after))) = parts else {
        return Err(CliError::Usage(format!("{} has no {} … {}", path.display(), MARKS.0, MARKS.1)));
    };
    let kept = |name: &str| {
        old.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).map(|line| format!("{line}\n"))
    };
    let table = MUTANTS.iter().filter_map(|mutant| rows.get(mutant.name).cloned().or_else(|| kept(mutant.name)));
    let table: String = table.collect();
    write_file(path, format!("{before}{}\n{HEAD}{table}{}{after}", MARKS.0, MARKS.1))
}

struct Hunt {
    program: Program,
    jobs: usize,
    scratch: Scratch,
    show: Show,
}

impl Hunt {
    /// Tries seeds until the bug is found; `tried` collects what was run.
    fn find(
        &self,
        mutant: &'static Mutant,
        shrinks: bool,
        tried: &mut BTreeSet<(&'static str, u64)>,
    ) -> Result<Option<Found>, CliError> {
        let program = self.program.clone().planting(mutant.name, PATIENCE);
        for scenario in mutant.scenarios.iter().copied() {
            let seeds: Vec<u64> = (0..mutant.seeds).collect();
            let (mut found, mut trouble) = (None, None);
            in_parallel(
                &seeds,
                self.jobs,
                |_, seed| program.run(&arguments(scenario, *seed)),
                |at, end| {
                    tried.insert((scenario, seeds[at]));
                    match end {
                        Ok(end) => found = end.broken().into_iter().next().map(|oracle| (seeds[at], oracle)),
                        Err(error) => trouble = Some(error),
                    }
                    found.is_none() && trouble.is_none()
                },
            );
            if let Some(error) = trouble {
                return Err(CliError::Child(error));
            }
            if let Some((seed, oracle)) = found {
                let small = if shrinks { Some(self.shrink(&program, scenario, seed, &oracle)?) } else { None };
                return Ok(Some(Found { oracle, scenario, seeds: seed + 1, small }));
            }
        }
        Ok(None)
    }

    fn shrink(&self, program: &Program, scenario: &str, seed: u64, oracle: &str) -> Result<(usize, usize), CliError> {
        let (name, tier) = mutants::scenario_and_tier(scenario);
        let plan = plan_of(name, seed, tier)?;
        let control = &self.program;
        let mut trial = Trial { program, control, jobs: self.jobs, oracle, scratch: self.scratch.path(), runs: 0 };
        let (nodes, events, ..) = shrink::size(&shrink::shrink(plan, &mut trial));
        Ok((nodes, events))
    }

    /// Without a bug all is well.
    fn control(&self, tried: &BTreeSet<(&'static str, u64)>) -> Result<bool, CliError> {
        let runs: Vec<_> = tried.iter().copied().collect();
        let mut good = true;
        let mut trouble = None;
        in_parallel(
            &runs,
            self.jobs,
            |_, (scenario, seed)| self.program.run(&arguments(scenario, *seed)),
            |at, end| {
                match end {
                    Ok(end) if end.broken().is_empty() => {}
                    Ok(end) => {
                        good = false;
                        let why = why(&end);
                        self.show.say(format!("without a bug: {} seed {} BROKEN {why}", runs[at].0, runs[at].1));
                    }
                    Err(error) => trouble = Some(error),
                }
                trouble.is_none()
            },
        );
        trouble.map_or(Ok(good), |error| Err(CliError::Child(error)))
    }
}

fn arguments(scenario: &str, seed: u64) -> Vec<OsString> {
    let (name, tier) = mutants::scenario_and_tier(scenario);
    let seed = seed.to_string();
    let tier = tier.map(|tier| ["--tier", tier_name(tier)]);
    let words = ["run", name, "--seed", &seed, "--json"].into_iter().chain(tier.into_iter().flatten());
    words.map(OsString::from).collect()
}

fn why(end: &End) -> String {
    match end {
        End::Outcome(outcome) => {
            outcome.violations.first().map(|broken| format!("{}: {}", broken.oracle, broken.text)).unwrap_or_default()
        }
        End::Crashed(said) => said.clone(),
    }
}

/// Fails with the bug, passes without it: a network that is too small for what is asked of it shows nothing.
struct Trial<'a> {
    program: &'a Program,
    control: &'a Program,
    jobs: usize,
    oracle: &'a str,
    scratch: &'a Path,
    runs: usize,
}

impl Try for Trial<'_> {
    fn first_failing(&mut self, plans: &[Plan]) -> Option<usize> {
        let (mut found, mut runs) = (None, 0);
        let each = |at: usize, plan: &Plan| {
            let file = self.scratch.join(format!("{at}.toml"));
            let fails =
                self.program.run_plan(plan, &file).is_ok_and(|end| end.broken().iter().any(|o| o == self.oracle));
            fails && self.control.run_plan(plan, &file).is_ok_and(|end| end.broken().is_empty())
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

    fn on_smaller(&mut self, _: &Plan) {}
}

/// Plants a bug for the rest of this process.
pub(super) fn plant(name: &str) -> Result<(), CliError> {
    if mutants::find(name).is_none() {
        return Err(CliError::Usage(format!("no planted bug is called `{name}`")));
    }
    pangea_kernel::planted::plant(name);
    Ok(())
}
