//! `actor`: plugins, from the first line to a running node.
//!
//! | file | commands |
//! |---|---|
//! | `make.rs` | `new`, `build`, `test`: they need no running node |
//! | `package.rs` | a manifest and its module, read and checked |
//! | `running.rs` | `install`, `ls`, `logs`, `rm`, `ask`, `dev` |

mod make;
mod package;
mod running;

use super::{CliError, Global, output::Output, session};
use clap::Subcommand;
use pangea_protocols::wire::extension::Name;
use std::path::PathBuf;

/// Write, test and run plugins: actors of your own in WebAssembly
#[derive(Debug, clap::Args)]
pub(crate) struct ActorArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    New(NewArgs),
    Build(BuildArgs),
    Test(TestArgs),
    Dev(DevArgs),
    Install(InstallArgs),
    Ls(LsArgs),
    Logs(LogsArgs),
    Ask(AskArgs),
    Rm(RmArgs),
}

/// Write a plugin that works, to be changed
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea actor new hello
  pangea actor new hello --lang c --output plugins/hello
  pangea actor new hello --lang rust --output plugins/hello")]
struct NewArgs {
    /// What it is called: a to z, 0 to 9 and -
    name: Name,
    /// In which language: wat needs nothing but Pangea, c needs clang, rust needs cargo
    #[arg(long, default_value = "wat", value_parser = make::LANGUAGES)]
    lang: String,
    /// Where the files go
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    output: PathBuf,
}

/// Make the module, and check that a node would run it
#[derive(Debug, clap::Args)]
#[command(after_help = "Runs the command that stands in the manifest under `build`, if there is one.

Examples:
  pangea actor build hello.toml
  pangea actor build hello.toml --json")]
struct BuildArgs {
    /// Its manifest
    #[arg(value_name = "NAME.toml")]
    manifest: PathBuf,
}

/// Run a plugin on twenty simulated nodes where everything goes wrong that can
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Asks what stands in the manifest under [test] `asks`, at random times, and in the end compares what
the nodes answer to each of `agree`. What follows the manifest is for the simulator: sweep, run, replay, shrink.

Examples:
  pangea actor test hello.toml
  pangea actor test hello.toml sweep --seeds 0..500
  pangea actor test hello.toml run --seed 7 --trace"
)]
struct TestArgs {
    /// Its manifest
    #[arg(value_name = "NAME.toml")]
    manifest: PathBuf,
    /// For the simulator [default: sweep]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<std::ffi::OsString>,
}

/// Install a plugin again whenever one of its files is saved, and show what it logs
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea actor dev hello.toml")]
struct DevArgs {
    /// Its manifest
    #[arg(value_name = "NAME.toml")]
    manifest: PathBuf,
    #[command(flatten)]
    settings: package::Settings,
}

/// Run a plugin in the node, or replace the one of that name while it runs
#[derive(Debug, clap::Args)]
#[command(after_help = "A ticket is that of a stored directory with the manifest and its module.

Examples:
  pangea actor install hello.toml
  pangea actor install backup.toml --folder photos --set keep=5")]
struct InstallArgs {
    /// Its manifest, or a ticket
    #[arg(value_name = "NAME.toml|TICKET")]
    from: String,
    #[command(flatten)]
    settings: package::Settings,
}

/// List the plugins of the node
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea actor ls
  pangea actor ls hello
  pangea actor ls --json")]
struct LsArgs {
    /// Only this one, with all that there is to know of it
    name: Option<Name>,
}

/// Show what a plugin has logged lately
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea actor logs hello
  pangea actor logs hello --follow")]
struct LogsArgs {
    /// Which plugin
    name: Name,
    /// Go on with what comes
    #[arg(long, short)]
    follow: bool,
}

/// Ask a plugin, or an actor that was added to the node, and print its answer
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea actor ask hello show
  pangea actor ask kv put colour dark blue
  pangea actor ask notes - < letter.txt")]
struct AskArgs {
    /// Whom
    name: Name,
    /// What; words are joined with spaces, and `-` is standard input
    #[arg(required = true, value_name = "BYTES")]
    words: Vec<String>,
}

/// Stop a plugin, and forget it with all that it kept
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea actor rm hello
  pangea actor rm hello --yes")]
struct RmArgs {
    /// Which plugin
    name: Name,
}

/// Runs the command.
pub(crate) fn actor(args: ActorArgs, global: &Global, output: &Output) -> Result<(), CliError> {
    match args.action {
        Action::New(args) => make::new(&args, output),
        Action::Build(args) => make::build(&args, output),
        Action::Test(args) => Err(make::test(&args)),
        Action::Dev(args) => session::run(global, output, async |session| running::dev(session, args).await),
        Action::Install(args) => session::run(global, output, async |session| running::install(session, args).await),
        Action::Ls(args) => session::run(global, output, async |session| running::ls(session, args).await),
        Action::Logs(args) => session::run(global, output, async |session| running::logs(session, args).await),
        Action::Ask(args) => session::run(global, output, async |session| running::ask(session, args).await),
        Action::Rm(args) => session::run(global, output, async |session| running::rm(session, args).await),
    }
}
