//! `job verify`: what a receipt proves, checked without a node and without the owner of the job. With module and input
//! at hand, some or all of its results are run again (`rerun`).

use super::{kept, rerun};
use crate::{
    cli::{CliError, format, output::Output, task},
    drivers::jobs::RECEIPT_MAGIC,
};
use bytes::Bytes;
use pangea_protocols::{
    Hash,
    codec::{self, Limit},
    job::ErrorKind,
    receipt_job::{JobReceipt, Stage},
};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Check the receipt of a job, offline
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A receipt says which module was run, with which checks, who vouches for each result, and what was run again after
the results were signed for. Anyone can check the signatures and the draw of what was run again. With module and input,
results are run again here, in the sandbox of this process, and compared with what was signed for: 16 chunks drawn at
random unless told otherwise. A split is always among them, a merge if all chunks are.

Examples:
  pangea job verify job.receipt
  pangea job verify job.receipt --module wordcount.wasm --output counts.txt
  pangea job verify job.receipt --module wordcount.wasm --input book.txt
  pangea job verify job.receipt --module grep.wasm --input logs.txt --map lines:4MiB --sample 100
  pangea job verify job.receipt --module grep.wasm --input logs.txt --map lines:4MiB --all --json"
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
    #[command(flatten)]
    rerun: rerun::RerunArgs,
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
    let module = args.module.as_deref().map(|path| read_module(path, &receipt)).transpose()?.unwrap_or_default();
    if let Some(file) = &args.output {
        let found = std::fs::read(file).map_err(|error| CliError::io(&file.display().to_string(), &error))?;
        check_output(&receipt, &found).map_err(|text| broken(format!("{}: {text}", file.display())))?;
    }
    let rerun = rerun::rerun(&args.rerun, &receipt, &module, output)?;
    let verdict = rerun.as_ref().map_or(Ok(()), |rerun| rerun.verdict(receipt.terms.owner));
    let owner = receipt.terms.owner.to_string();
    if output.json {
        output.value(&json!({
            "job": receipt.terms.name().to_string(), "owner": owner, "module": receipt.terms.module.to_string(),
            "verification": kept::verification(receipt.terms.verification), "results": summary.results,
            "confirmed": summary.confirmed, "executions": summary.executions,
            "hosts": receipt.batches.iter().map(|batch| batch.host).collect::<std::collections::BTreeSet<_>>().len(),
            "banned": receipt.banned.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "ended_unix": receipt.ended_unix, "rerun": rerun.map(|rerun| rerun.value()),
        }))?;
        return verdict;
    }
    output.line(&format!("the receipt is whole and signed by {owner}"))?;
    output.line(&format!(
        "{}: {} executions are signed for, {} results are confirmed by a second node or the owner",
        format::count(summary.results, "result"),
        summary.executions,
        summary.confirmed
    ))?;
    output.line(&format!(
        "checks: {}; module {}",
        kept::verification(receipt.terms.verification),
        receipt.terms.module
    ))?;
    verdict?;
    rerun.map_or(Ok(()), |rerun| output.line(&rerun.summary()))
}

fn read_module(path: &Path, receipt: &JobReceipt) -> Result<Bytes, CliError> {
    let module = task::read_module(path)?;
    match Hash::of(&module) {
        found if found == receipt.terms.module => Ok(module),
        found => Err(broken(format!("{} is not the module of this receipt: {found}", path.display()))),
    }
}

/// The output of a merge is one result; of other jobs, results follow each other: only their lengths are unknown here.
fn check_output(receipt: &JobReceipt, bytes: &[u8]) -> Result<(), String> {
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
