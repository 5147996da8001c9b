//! `job`: WebAssembly on this node and its peers, with results that were checked.
//!
//! | module | commands |
//! |---|---|
//! | `run` | `run`, and following a job to its end |
//! | `kept` | `ls`, `show`, `logs`, `cancel`, `result`, `receipt`, `rm` |
//! | `meter` | `meter`: what was computed for whom |
//! | `verify` | `verify`: needs no node; `rerun`: the part of it that runs tasks |
//! | `timeline` | the picture of `show --timeline` |

mod kept;
mod meter;
mod rerun;
mod run;
mod timeline;
mod verify;

use super::{CliError, Global, output::Output, session};
use clap::Subcommand;

/// Compute with WebAssembly on this node and its peers
#[derive(Debug, clap::Args)]
pub(crate) struct JobArgs {
    #[command(subcommand)]
    action: JobAction,
}

#[derive(Debug, Subcommand)]
enum JobAction {
    Run(run::RunArgs),
    Ls(kept::LsArgs),
    Show(kept::ShowArgs),
    Logs(kept::LogsArgs),
    Cancel(kept::CancelArgs),
    Result(kept::ResultArgs),
    Receipt(kept::ReceiptArgs),
    Verify(verify::VerifyArgs),
    Meter(meter::MeterArgs),
    Rm(kept::RmArgs),
}

/// Runs the command.
pub(crate) fn job(global: &Global, args: JobArgs, output: &Output) -> Result<(), CliError> {
    match args.action {
        JobAction::Run(args) => session::run(global, output, async |session| run::run(session, args).await),
        JobAction::Ls(_) => session::run(global, output, async |session| kept::ls(session).await),
        JobAction::Show(args) => session::run(global, output, async |session| kept::show(session, args).await),
        JobAction::Logs(args) => session::run(global, output, async |session| kept::logs(session, args).await),
        JobAction::Cancel(args) => session::run(global, output, async |session| kept::cancel(session, args).await),
        JobAction::Result(args) => session::run(global, output, async |session| kept::result(session, args).await),
        JobAction::Receipt(args) => session::run(global, output, async |session| kept::receipt(session, args).await),
        JobAction::Verify(args) => verify::verify(&args, output),
        JobAction::Meter(args) => session::run(global, output, async |session| meter::meter(session, args).await),
        JobAction::Rm(args) => session::run(global, output, async |session| kept::remove(session, args).await),
    }
}
