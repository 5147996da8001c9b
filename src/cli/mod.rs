//! The command line: `pangea put`, `pangea get`, ….
//!
//! | file | commands |
//! |---|---|
//! | `local` | `init`, `node`, `id`, `config`, `demo`, `bench`, `sim`: they need no running node |
//! | `node` | `status`, `stop`, and the arguments of the commands in `local` |
//! | `store` | `put`, `rm`, `share` |
//! | `fetch` | `get`, `cat` |
//! | `catalog` | `ls`, `info` |
//! | `peers` | `peers` |
//! | `task` | `task`: needs no running node |
//! | `job` | `job` |
//! | `sandbox` | the process that a node starts for its guests; not for people |
//! | `actor` | `actor`: plugins |
//! | `top` | `top` |
//! | `session` | the connection to the node, jobs and Ctrl-C |
//! | `target` | what names an object: a ticket, a CID or a name; ranges |
//! | `output`, `format`, `table`, [`progress`] | how things are shown |
//! | `error` | errors and exit codes |
//!
//! Results go to standard output, talk and progress to standard error. What a command says with `--json` is one JSON
//! object, or one per line for lists.
//!
//! Names and messages come from other people's machines: everything is made printable before it reaches a terminal.

mod actor;
mod catalog;
pub mod error;
mod fetch;
pub(crate) mod format;
mod job;
mod local;
mod node;
mod output;
mod peers;
pub mod progress;
mod sandbox;
mod session;
mod store;
mod table;
mod target;
mod task;
mod top;

use clap::{CommandFactory, Parser, Subcommand};
use error::CliError;
use output::{ColorChoice, Output};
use std::{path::PathBuf, process::ExitCode, time::Duration};

/// Encrypted storage for a group of machines, without a server.
#[derive(Debug, Parser)]
#[command(name = "pangea", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Start a node with `pangea init` and `pangea node`, then `pangea put FILE` in another terminal.
Exit codes: `pangea exit-codes`.")]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// The node's directory [default: the XDG directories]
    #[arg(long, global = true, env = "PANGEA_HOME", value_name = "DIR", display_order = 900)]
    home: Option<PathBuf>,
    /// Print results as JSON: one object, or one a line for lists
    #[arg(long, global = true, display_order = 901)]
    json: bool,
    /// With --json: progress as JSON lines on standard error
    #[arg(long, global = true, display_order = 902)]
    progress: bool,
    /// Say nothing but results and errors
    #[arg(long, short, global = true, display_order = 903)]
    quiet: bool,
    /// Do not ask before something is removed
    #[arg(long, short, global = true, display_order = 904)]
    yes: bool,
    /// Give up when the network does not move for this long, such as 30s or 5m
    #[arg(long, global = true, value_name = "TIME", default_value = "60s", value_parser = format::parse_span)]
    #[arg(display_order = 905)]
    timeout: Duration,
    /// Colours: also off when NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", display_order = 906)]
    color: ColorChoice,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(node::InitArgs),
    Node(node::NodeArgs),
    Put(store::PutArgs),
    Get(fetch::GetArgs),
    Cat(fetch::CatArgs),
    Ls(catalog::LsArgs),
    Info(catalog::InfoArgs),
    Rm(store::RmArgs),
    Share(store::ShareArgs),
    Peers(peers::PeersArgs),
    Task(task::TaskArgs),
    Job(job::JobArgs),
    Actor(actor::ActorArgs),
    Top(top::TopArgs),
    Id(node::IdArgs),
    Status(node::StatusArgs),
    Stop(node::StopArgs),
    Config(node::ConfigArgs),
    Demo(node::DemoArgs),
    Bench(node::BenchArgs),
    Sim(node::SimArgs),
    Completions(node::CompletionsArgs),
    ExitCodes(node::ExitCodesArgs),
    #[command(hide = true)]
    SandboxWorker(sandbox::SandboxWorkerArgs),
}

/// For programs that run a node of their own ([`crate::node::Node::builder`]): a node starts its own program again as the
/// process of its guests. Call this first in `main`, and end with the code if there is one.
pub fn sandbox_worker() -> Option<ExitCode> {
    crate::drivers::sandbox::has_subcommand();
    (std::env::args_os().nth(1)? == "sandbox-worker").then(main)
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Prints help and version to standard output with exit code 0, mistakes to standard error with 2.
        Err(error) => error.exit(),
    };
    if let Command::SandboxWorker(args) = &cli.command {
        return sandbox::worker(args);
    }
    let output = Output::new(&cli.global);
    crate::drivers::sandbox::has_subcommand();
    match dispatch(cli, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(cli: Cli, output: &Output) -> Result<(), CliError> {
    let Cli { global, command } = cli;
    match command {
        Command::Put(args) => session::run(&global, output, async |session| store::put(session, args).await),
        Command::Rm(args) => session::run(&global, output, async |session| store::remove(session, args).await),
        Command::Share(args) => session::run(&global, output, async |session| store::share(session, args).await),
        Command::Get(args) => session::run(&global, output, async |session| fetch::get(session, args).await),
        Command::Cat(args) => session::run(&global, output, async |session| fetch::cat(session, args).await),
        Command::Ls(args) => session::run(&global, output, async |session| catalog::ls(session, args).await),
        Command::Info(args) => session::run(&global, output, async |session| catalog::info(session, args).await),
        Command::Peers(args) => session::run(&global, output, async |session| peers::peers(session, args).await),
        Command::Status(args) => {
            let patience = args.wait.map_or(Duration::ZERO, |_| global.timeout);
            session::run_after(patience, &global, output, async |session| node::status(session, args).await)
        }
        Command::Stop(_) => session::run(&global, output, async |session| node::stop(session).await),
        Command::Task(args) => task::task(&args, output),
        Command::Job(args) => job::job(&global, args, output),
        Command::Actor(args) => actor::actor(args, &global, output),
        Command::Top(args) => session::run(&global, output, async |session| top::top(session, args).await),
        Command::Completions(args) => node::completions(&args, &mut Cli::command(), output),
        Command::ExitCodes(_) => output.text(error::EXIT_CODES),
        Command::Init(_) => local::init(&global, output),
        Command::Node(args) => local::node(&global, &args, output),
        Command::Id(_) => local::id(&global, output),
        Command::Config(args) => local::config(&global, &args, output),
        Command::Demo(args) => local::demo(&args, output),
        Command::Bench(args) => local::bench(&args, output),
        Command::Sim(args) => Err(local::sim(&args)),
        // `main` has seen to it.
        Command::SandboxWorker(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Every line of a help text that starts with `pangea ` is an example.
    fn examples(command: &clap::Command) -> Vec<String> {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines = help.lines().map(|line| line.trim().trim_start_matches("… | "));
        let lines = lines.filter(|line| line.starts_with("pangea "));
        lines.map(|line| line.split("  #").next().unwrap_or(line).trim().to_owned()).collect()
    }

    fn check(command: &clap::Command) {
        let has_children = command.get_subcommands().next().is_some();
        let found = examples(command);
        assert!(!found.is_empty() || has_children, "`{}` has no example", command.get_name());
        for example in found {
            let words = example.split(" | ").next().unwrap().split(" > ").next().unwrap().split(" < ").next().unwrap();
            let parsed = Cli::try_parse_from(words.split_whitespace().map(|word| word.trim_matches(['\'', '"'])));
            assert!(parsed.is_ok(), "example `{example}`: {}", parsed.unwrap_err());
        }
        command.get_subcommands().for_each(check);
    }

    #[test]
    fn every_command_has_examples_and_they_parse() {
        Cli::command().get_subcommands().for_each(check);
    }

    #[test]
    fn mistakes_are_found_before_anything_happens() {
        for line in [
            "pangea put",
            "pangea put x --data 4",
            "pangea put x --parity 4",
            "pangea put x --data 0 --parity 4",
            "pangea put x --fast --small",
            "pangea put x --lease soon",
            "pangea get t --range 5",
            "pangea get t --range 9..5",
            "pangea get t --range 0..5 --path a",
            "pangea peers add 12D3KooW",
            "pangea status --timeout never",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
