//! `list`, `explain`, `new`: what there is, what it does, and how to begin.

use super::{CliError, Show, Verdict, parse_tier, plan_of, tier_name, write_file};
use pangea_simulations::{
    plan::TierName,
    scenario::{self, explain, library::LIBRARY},
};
use std::path::PathBuf;

/// List the scenarios that come with the program
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea-sim list
  pangea-sim list --json")]
pub(super) struct ListArgs {}

/// Show what a scenario does with a seed, as a timeline; nothing is run
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea-sim explain regional-outage
  pangea-sim explain chaos --seed 17
  pangea-sim explain failures/chaos-swarm-17.toml")]
pub(super) struct ExplainArgs {
    /// A scenario's name or file, or a plan's file
    what: String,
    /// Root of all chance
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What runs the nodes: swarm, streams or fleet [default: the scenario's first]
    #[arg(long, value_parser = parse_tier)]
    tier: Option<TierName>,
}

/// Write a scenario to begin with, or a crate with an actor of your own and its lab
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea-sim new my-network
  pangea-sim new my-network --output scenarios/my-network.toml
  pangea-sim new --actor my-actor")]
pub(super) struct NewArgs {
    /// Its name
    name: String,
    /// A crate instead of a scenario
    #[arg(long)]
    actor: bool,
    /// Its file, or the crate's directory [default: NAME.toml, or NAME]
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
}

pub(super) fn list(show: Show) -> Verdict {
    for (name, _) in LIBRARY {
        let scenario = scenario::find(name)?;
        let tiers: Vec<&str> = scenario.tiers.iter().map(|tier| tier_name(*tier)).collect();
        let story = scenario.story.split_whitespace().collect::<Vec<_>>().join(" ");
        if show.json {
            show.as_json(&serde_json::json!({ "name": name, "tiers": tiers, "story": story }))?;
        } else {
            show.result(format!("{name:<22} {:<13} {story}\n", tiers.join(", ")))?;
        }
    }
    Ok(true)
}

pub(super) fn explain(args: &ExplainArgs, show: Show) -> Verdict {
    let file = std::path::Path::new(&args.what);
    // A failure holds a plan, a scenario file does not: one of the two readings succeeds.
    let plan = match plan_of(&args.what, args.seed, args.tier) {
        Ok(plan) => plan,
        Err(error) => scenario::read_plan(file).map_err(|_| error)?,
    };
    if show.json {
        show.as_json(&plan)?;
    } else {
        show.result(explain::explain(&plan))?;
    }
    Ok(true)
}

pub(super) fn new(args: &NewArgs, show: Show) -> Verdict {
    if args.actor {
        return super::actor::new(&args.name, args.output.as_deref(), show);
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if args.name.is_empty() || !args.name.chars().all(plain) {
        return Err(CliError::Usage("a scenario's name consists of letters, digits, `-` and `_`".to_owned()));
    }
    let path = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}.toml", args.name)));
    if path.exists() {
        return Err(CliError::Usage(format!("{} is there already; choose another --output", path.display())));
    }
    write_file(&path, include_str!("template.toml").replace("NAME", &args.name))?;
    show.result(format!("{}\n", path.display()))?;
    show.say(format!("look at it: pangea-sim explain {}", path.display()));
    show.say(format!("run it:     pangea-sim run {}", path.display()));
    show.say(format!("hunt:       pangea-sim sweep {} --seeds 0..50", path.display()));
    Ok(true)
}
