//! `actor`: a plugin on simulated nodes. What is asked of it stands in its manifest, under `[test]`.

use super::CliError;
use pangea_simulations::lab::{
    self,
    site::{self, Setup, Tried},
};
use std::{ffi::OsString, path::PathBuf, process::ExitCode, sync::OnceLock};

/// Run a plugin on simulated nodes where everything goes wrong that can
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea-sim actor hello.toml
  pangea-sim actor hello.toml sweep --seeds 0..500
  pangea-sim actor hello.toml run --seed 7 --trace
  pangea-sim actor hello.toml shrink failures/hello-7.toml")]
pub(super) struct ActorArgs {
    /// Its manifest
    #[arg(value_name = "NAME.toml")]
    manifest: PathBuf,
    /// What to do: sweep, run, replay, shrink, explain [default: sweep]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

static SETUP: OnceLock<Setup> = OnceLock::new();

/// The plugin that this process was started with.
struct Given;

impl Tried for Given {
    fn setup() -> &'static Setup {
        SETUP.get().unwrap_or_else(|| unreachable!("read before the lab is made"))
    }
}

pub(super) fn actor(args: ActorArgs) -> Result<ExitCode, CliError> {
    let setup = site::read(&args.manifest).map_err(CliError::Usage)?;
    SETUP.get_or_init(|| setup);
    let program = format!("pangea-sim actor {}", args.manifest.display());
    let arguments = if args.arguments.is_empty() { vec![OsString::from("sweep")] } else { args.arguments };
    Ok(lab::main_of(&site::lab::<Given>(), &program, &arguments))
}
