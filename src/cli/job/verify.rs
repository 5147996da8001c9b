//! `job verify`: what a receipt proves, checked without a node and without the owner of the job. With module and input
//! at hand, some or all of its results are run again here.

use super::kept;
use crate::{
    cli::{CliError, format, output::Output},
    drivers::jobs::RECEIPT_MAGIC,
};
use pangea_protocols::{
    codec::{self, Limit},
    job::ErrorKind,
    receipt_job::JobReceipt,
};
use serde_json::json;
use std::path::PathBuf;

/// Check the receipt of a job, offline
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A receipt says which module was run, with which checks, who vouches for each result, and what was run again after
the results were signed for. Anyone can check the signatures and the draw of what was run again.

Examples:
  pangea job verify job.receipt
  pangea job verify job.receipt --module wordcount.wasm --output counts.txt
  pangea job verify job.receipt --json"
)]
pub(super) struct VerifyArgs {
    /// The receipt
    receipt: PathBuf,
    /// It must be of this module
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// It must be of this output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn broken(message: impl Into<String>) -> CliError {
    CliError::new(ErrorKind::Integrity, message)
}

pub(super) fn verify(args: &VerifyArgs, output: &Output) -> Result<(), CliError> {
    let path = args.receipt.display().to_string();
    let bytes = std::fs::read(&args.receipt).map_err(|error| CliError::io(&path, &error))?;
    let body = bytes.strip_prefix(RECEIPT_MAGIC);
    let body = body.ok_or_else(|| CliError::usage(format!("{path} is not the receipt of a job")))?;
    let receipt: JobReceipt =
        codec::decode(body, Limit::Local).map_err(|error| broken(format!("{path} is damaged: {error}")))?;
    let summary = receipt.verify().map_err(|error| broken(format!("{path}: {error}")))?;
    if let Some(module) = &args.module {
        let found = pangea_protocols::Hash::of(&crate::cli::task::read_module(module)?);
        if found != receipt.terms.module {
            return Err(broken(format!("{} is not the module of this receipt: {found}", module.display())));
        }
    }
    if let Some(file) = &args.output {
        let found = std::fs::read(file).map_err(|error| CliError::io(&file.display().to_string(), &error))?;
        check_output(&receipt, &found).map_err(|text| broken(format!("{}: {text}", file.display())))?;
    }
    let owner = receipt.terms.owner.to_string();
    if output.json {
        return output.value(&json!({
            "job": receipt.terms.name().to_string(), "owner": owner, "module": receipt.terms.module.to_string(),
            "verification": kept::verification(receipt.terms.verification), "results": summary.results,
            "confirmed": summary.confirmed, "executions": summary.executions,
            "hosts": receipt.batches.iter().map(|batch| batch.host).collect::<std::collections::BTreeSet<_>>().len(),
            "banned": receipt.banned.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "ended_unix": receipt.ended_unix,
        }));
    }
    output.line(&format!("the receipt is whole and signed by {owner}"))?;
    output.line(&format!(
        "{}: {} executions are signed for, {} results are confirmed by a second node or the owner",
        format::count(summary.results, "result"),
        summary.executions,
        summary.confirmed
    ))?;
    output.line(&format!("checks: {}; module {}", kept::verification(receipt.terms.verification), receipt.terms.module))
}

/// The output of a merge is one result; of other jobs, results follow each other: only their lengths are unknown here.
fn check_output(receipt: &JobReceipt, bytes: &[u8]) -> Result<(), String> {
    use pangea_protocols::{Hash, receipt_job::Stage};
    let of_stage = |stage| receipt.results.iter().filter(move |claim| claim.place.stage == stage);
    let results: Vec<Option<Hash>> = if receipt.terms.merge {
        of_stage(Stage::Merge).map(|claim| claim.receipt.output.ok()).collect()
    } else {
        of_stage(Stage::Execute).map(|claim| claim.receipt.output.ok()).collect()
    };
    match results[..] {
        [one] if one == Some(Hash::of(bytes)) => Ok(()),
        [_] => Err("is not the output of this receipt".to_owned()),
        _ => {
            Err(format!("cannot be compared: the job has {} outputs, one after the other; use --merge", results.len()))
        }
    }
}
