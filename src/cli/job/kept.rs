//! Commands on jobs that the node keeps: `ls`, `show`, `logs`, `cancel`, `result`, `receipt`, `rm`.

use super::timeline;
use crate::{
    cli::{
        CliError, catalog,
        fetch::{Written, write_out},
        format,
        session::Session,
        table::Table,
    },
    drivers::jobs::{
        handle::{Event, File, LogLine},
        record::{Computation, State},
        stage,
    },
};
use bytes::Bytes;
use pangea_compute::api::Progress;
use pangea_protocols::receipt_job::Verification;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{
    io,
    path::{Path, PathBuf},
};
use tokio::sync::mpsc;

/// List the jobs of this node, the newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea job ls
  pangea job ls --json")]
pub(super) struct LsArgs {}

/// Tell how a job stands, or draw where its tasks ran
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea job show 3f9a
  pangea job show 3f9a --timeline job.html
  pangea job show 3f9a --json")]
pub(super) struct ShowArgs {
    /// Its name, or a unique beginning of it
    job: String,
    /// Write a picture of when each task ran where, was retried and was audited: one HTML file that needs nothing else
    #[arg(long, value_name = "FILE")]
    timeline: Option<PathBuf>,
}

/// Print what the tasks of a job logged
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Of a task that ran several times there are several logs. Nobody vouches for them: a node that lies about what it
logged is not found out.

Examples:
  pangea job logs 3f9a
  pangea job logs 3f9a --json"
)]
pub(super) struct LogsArgs {
    /// Its name, or a unique beginning of it
    job: String,
}

/// End a job
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea job cancel 3f9a")]
pub(super) struct CancelArgs {
    /// Its name, or a unique beginning of it
    job: String,
}

/// Print the output of a job that is done
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea job result 3f9a
  pangea job result 3f9a --output counts.txt")]
pub(super) struct ResultArgs {
    /// Its name, or a unique beginning of it
    job: String,
    /// Write it here [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Write the receipt of a job that is done, which anyone can check with `job verify`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea job receipt 3f9a --output job.receipt
  pangea job receipt 3f9a > job.receipt")]
pub(super) struct ReceiptArgs {
    /// Its name, or a unique beginning of it
    job: String,
    /// Write it here [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Forget a job that has ended, with its output
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea job rm 3f9a")]
pub(super) struct RmArgs {
    /// Its name, or a unique beginning of it
    job: String,
}

/// A job as JSON.
pub(super) fn value(view: &Computation) -> Value {
    let terms = &view.terms;
    json!({
        "job": view.name, "state": view.state.name(), "module": view.module.to_string(), "module_name": view.module_name,
        "input": view.input_name, "input_bytes": view.input_bytes, "chunks": view.chunks,
        "map": terms.cut.to_string(), "split": terms.split, "merge": terms.merge,
        "verification": verification(terms.verification), "priority": terms.priority,
        "gas": terms.limits.gas, "memory_bytes": terms.limits.memory_bytes,
        "ahead": view.ahead, "progress": progress_value(&view.progress), "output_bytes": view.output_bytes,
        "error": view.error.as_ref().map(ToString::to_string),
        "submitted_unix": view.submitted_unix, "ended_unix": view.ended_unix,
        "took_ms": view.took.map(|took| took.as_millis() as u64),
    })
}

/// How far a job is, as JSON.
pub(super) fn progress_value(progress: &Progress) -> Value {
    json!({
        "stage": progress.stage.map(stage), "done": progress.done, "total": progress.total, "running": progress.running,
        "hosts": progress.hosts, "executions": progress.executions, "audited": progress.audited,
        "retried": progress.retried, "restored": progress.restored, "speculated": progress.speculated,
        "banned": progress.banned, "read_bytes": progress.read_bytes, "own_bytes": progress.own_bytes,
        "busy_hosts": progress.busy_hosts, "busy_waiting": progress.busy_waiting,
        "eta_ms": progress.eta.map(|eta| eta.as_millis() as u64),
    })
}

/// What nodes have read of a stored object themselves, in words.
pub(super) fn read_in_place(progress: &Progress) -> Option<String> {
    let (read, own) = (format::size(progress.read_bytes), format::size(progress.own_bytes));
    (progress.read_bytes > 0)
        .then(|| format!("{read} of input read by the nodes themselves, {own} from their own disks"))
}

/// How results are checked, in words.
pub(super) fn verification(how: Verification) -> String {
    match how {
        Verification::None => "none".to_owned(),
        Verification::Audit { per_mille } => format!("audit({}%)", f64::from(per_mille) / 10.0),
        Verification::Quorum { hosts } => format!("quorum({hosts})"),
    }
}

async fn view_of(session: &Session<'_>, name: &str) -> Result<Computation, CliError> {
    let computations = session.answer(session.client.computations()).await?;
    let watching = session.answer(computations.watch(name)).await?;
    session.answer(watching.next()).await
}

pub(super) async fn ls(session: &Session<'_>) -> Result<(), CliError> {
    let computations = session.answer(session.client.computations()).await?;
    let all = session.answer(computations.list()).await?;
    if session.output.json {
        return session.output.text(&all.iter().map(|view| format!("{}\n", value(view))).collect::<String>());
    }
    if all.is_empty() {
        session.output.say("nothing was computed yet: try `pangea job run MODULE INPUT`");
        return Ok(());
    }
    let now = catalog::now_unix();
    let mut table = Table::new(&["JOB", "STATE", "TASKS", "MODULE", "INPUT", "OUTPUT", "AGE"], 4, &[2, 5]);
    for view in &all {
        let progress = &view.progress;
        let state = match view.ahead {
            Some(ahead) if !view.state.is_over() => format!("waiting ({ahead})"),
            _ => view.state.name().to_owned(),
        };
        table.row(vec![
            view.name.clone(),
            state,
            format!("{}/{}", progress.done, progress.total.max(view.chunks)),
            format::printable(&view.module_name),
            format::printable(&view.input_name),
            if view.state == State::Done { format::size(view.output_bytes) } else { String::new() },
            format::age(view.submitted_unix, now),
        ]);
    }
    table.print(session.output)
}

pub(super) async fn show(session: &Session<'_>, args: ShowArgs) -> Result<(), CliError> {
    let view = view_of(session, &args.job).await?;
    if let Some(path) = &args.timeline {
        let events: Vec<Event> = lines(&read(session, &view.name, File::Trace).await?);
        let page = timeline::page(&view, &events);
        std::fs::write(path, page).map_err(|error| CliError::io(&path.display().to_string(), &error))?;
        return session.output.line(&path.display().to_string());
    }
    if session.output.json {
        return session.output.value(&value(&view));
    }
    session.output.text(&description(&view))
}

fn description(view: &Computation) -> String {
    let (terms, progress) = (&view.terms, &view.progress);
    let steps = match (terms.split, terms.merge) {
        (true, true) => "split, execute, merge",
        (true, false) => "split, execute",
        (false, true) => "execute, merge",
        (false, false) => "execute",
    };
    let mut rows = vec![
        ("job", view.name.clone()),
        ("state", view.state.name().to_owned()),
        ("module", format!("{}  {}", format::printable(&view.module_name), view.module)),
        ("input", format!("{} ({})", format::printable(&view.input_name), format::size(view.input_bytes))),
        ("steps", format!("{steps}; {} cut as {}", format::count(u64::from(view.chunks), "chunk"), terms.cut)),
        ("checks", verification(terms.verification)),
        ("tasks", format!("{} of {} done, {} at nodes", progress.done, progress.total, progress.running)),
        (
            "results",
            format!(
                "{} came, {} were run again to check, {} tasks were retried, {} doubled, {} nodes banned",
                progress.executions, progress.audited, progress.retried, progress.speculated, progress.banned
            ),
        ),
    ];
    if let Some(read) = read_in_place(progress) {
        rows.push(("in place", read));
    }
    if progress.restored > 0 {
        rows.push(("restored", format!("{} tasks were done in an earlier life of the node", progress.restored)));
    }
    if let Some(ahead) = view.ahead {
        rows.push(("waits", format!("{} before it", format::count(u64::from(ahead), "job"))));
    }
    if let Some(took) = view.took {
        rows.push(("took", format::latency(took)));
    }
    if view.state == State::Done {
        rows.push(("output", format::size(view.output_bytes)));
    }
    if let Some(error) = &view.error {
        rows.push(("error", format::printable(&error.message)));
    }
    rows.iter().map(|(name, text)| format!("{name:<9} {text}\n")).collect()
}

pub(super) async fn logs(session: &Session<'_>, args: LogsArgs) -> Result<(), CliError> {
    let view = view_of(session, &args.job).await?;
    let bytes = read(session, &view.name, File::Log).await?;
    if session.output.json {
        return session.output.text(&String::from_utf8_lossy(&bytes));
    }
    let shown = |line: &LogLine| {
        let level = ["error", "warning", "info"].get(usize::from(line.level)).unwrap_or(&"debug");
        let host = &line.host[line.host.len().saturating_sub(6)..];
        format!("{} {} on {host}: {level}: {}\n", line.stage, line.index, format::printable(&line.text))
    };
    let text: String = lines::<LogLine>(&bytes).iter().map(shown).collect();
    if text.is_empty() {
        session.output.say("its tasks logged nothing");
    }
    session.output.text(&text)
}

pub(super) async fn cancel(session: &Session<'_>, args: CancelArgs) -> Result<(), CliError> {
    let view = view_of(session, &args.job).await?;
    let computations = session.answer(session.client.computations()).await?;
    session.answer(computations.cancel(&view.name)).await?;
    done(session, &view.name, "cancelled", "cancelled")
}

pub(super) async fn remove(session: &Session<'_>, args: RmArgs) -> Result<(), CliError> {
    let view = view_of(session, &args.job).await?;
    session.output.confirm(&format!("forget job {} and its output?", view.name))?;
    let computations = session.answer(session.client.computations()).await?;
    session.answer(computations.remove(&view.name)).await?;
    done(session, &view.name, "removed", "forgotten")
}

fn done(session: &Session<'_>, name: &str, key: &str, word: &str) -> Result<(), CliError> {
    if session.output.json {
        return session.output.value(&json!({ key: name }));
    }
    session.output.say(&format!("job {name} is {word}"));
    Ok(())
}

pub(super) async fn result(session: &Session<'_>, args: ResultArgs) -> Result<(), CliError> {
    let view = view_of(session, &args.job).await?;
    save(session, &view.name, File::Output, args.output.as_deref()).await
}

pub(super) async fn receipt(session: &Session<'_>, args: ReceiptArgs) -> Result<(), CliError> {
    let view = view_of(session, &args.job).await?;
    save(session, &view.name, File::Receipt, args.output.as_deref()).await
}

/// Writes a file of a job to `path`, or to standard output. A file has it whole, or is as it was; what is no file, such as
/// `/dev/null` or a pipe, is written to as it comes.
pub(super) async fn save(session: &Session<'_>, name: &str, file: File, path: Option<&Path>) -> Result<(), CliError> {
    let (sender, receiver) = mpsc::channel::<Bytes>(crate::control::client::STREAM_QUEUE_MAX);
    let reading = session.client.read_computation(name, file, sender);
    let path = path.filter(|path| path.as_os_str() != "-");
    let is_special = path.is_some_and(|path| path.metadata().is_ok_and(|metadata| !metadata.is_file()));
    let part = path.map(|path| {
        if is_special {
            return path.to_owned();
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        PathBuf::from(part)
    });
    let to = part.clone();
    let writing = tokio::task::spawn_blocking(move || match to {
        None => write_out(receiver, io::stdout().lock()),
        Some(part) if is_special => write_out(receiver, std::fs::File::options().write(true).open(part)?),
        Some(part) => write_out(receiver, std::fs::File::create(part)?),
    });
    let read = reading.await;
    let written = writing.await.map_err(|error| CliError::failed(error.to_string()))?;
    let what = path.map_or("standard output".to_owned(), |path| path.display().to_string());
    let done = match written {
        Ok(Written::Enough) => return Ok(()),
        Err(error) => Err(CliError::io(&format!("cannot write to {what}"), &error)),
        Ok(Written::All) => read.map_err(CliError::from),
    };
    let (Some(path), Some(part)) = (path.filter(|_| !is_special), part) else { return done };
    if done.is_err() {
        // What is there is not the whole.
        let _ = std::fs::remove_file(&part);
        return done;
    }
    std::fs::rename(&part, path).map_err(|error| CliError::io(&what, &error))
}

/// A file of a job that is small enough to be held.
async fn read(session: &Session<'_>, name: &str, file: File) -> Result<Vec<u8>, CliError> {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(crate::control::client::STREAM_QUEUE_MAX);
    let gather = async {
        let mut bytes = Vec::new();
        while let Some(part) = receiver.recv().await {
            bytes.extend_from_slice(&part);
        }
        bytes
    };
    let (read, bytes) = tokio::join!(session.client.read_computation(name, file, sender), gather);
    read?;
    Ok(bytes)
}

/// Lines of JSON; the last may be cut short while a job runs.
fn lines<T: DeserializeOwned>(bytes: &[u8]) -> Vec<T> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}
