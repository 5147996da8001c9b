//! `job run`: submits a job, feeds it if its input is not a file, follows it, and tells what came of it.

use super::kept;
use crate::{
    cli::{
        CliError, format,
        progress::{Drawing, bar},
        session::Session,
        store, task,
    },
    control::computations::Watching,
    drivers::jobs::{
        handle::File,
        record::{self, Computation, State},
        stage,
    },
    node::handle::{Get, Put},
};
use bytes::Bytes;
use pangea_ces::api::Selection;
use pangea_compute::{api::Progress, split::Cut};
use pangea_protocols::{
    files::{Sink, Source},
    job::{ErrorKind, Outcome},
    manifest::FRAME_BYTES,
    receipt_job::Verification,
    stored::FRAMES_MAX,
    task::Limits,
    ticket::Ticket,
};
use pangea_transfer::api::Redundancy;
use serde_json::Value;
use std::{path::PathBuf, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// How many gas a task gets: some minutes on most machines.
const GAS: u64 = 100_000_000_000;
/// A chunk of lines, unless it is said how large.
pub(super) const LINES_BYTES: u64 = 1 << 20;
/// Pieces in which an input is read that the module splits.
const PIECE_BYTES: u64 = 4 << 20;

/// Run a module over an input on this node and its peers, with checked results
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The input is cut into chunks, the module is called for each of them on some node, and the outputs are joined in
order, or by the module with --merge. Results are checked by running some of them again elsewhere.
A ticket's object is fetched by this node, decrypted and sent on in chunks, unless it is a file that is cut into stripes:
then each node reads and decrypts the stripes that it computes on itself, its own disk first, with keys of just these. The
read key stays here.
Ctrl-C cancels the job. With --detach it goes on by itself, and in the next life of the node.

Examples:
  pangea job run wordcount.wasm book.txt --merge
  pangea job run grep.wasm logs.txt --map lines:4MiB --output found.txt --timeout 10m
  pangea job run train.wasm points.bin --map records:64:1MiB --quorum 3 --detach
  pangea job run wordcount.wasm 'pangea:bafk…#k=…' --map stripes:4 --merge
  pangea job run render.wasm scene.txt --map module --merge --output picture.ppm
  … | pangea job run wordcount.wasm - --merge --json"
)]
pub(crate) struct RunArgs {
    /// WebAssembly of the ABI pangea:1; a file that ends in .wat is its text format
    module: PathBuf,
    /// What to compute on: a file, a ticket, or - for standard input
    input: String,
    /// How the input becomes chunks: lines[:SIZE], bytes:SIZE, records:SIZE[:CHUNK], stripes[:COUNT] (MiB by MiB: those of a
    /// ticket are read by the nodes that need them), whole, or module (its own split)
    #[arg(long, value_name = "HOW", default_value = "lines", value_parser = parse_map)]
    map: Map,
    /// The module joins the outputs
    #[arg(long)]
    merge: bool,
    /// Write the output here; - is standard output [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Store the output on peers and print its ticket
    #[arg(long, conflicts_with = "output")]
    put: bool,
    /// Run so many percent of the results again elsewhere, to check them
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0, value_parser = parse_percent, group = "check")]
    audit: f64,
    /// Have so many nodes agree on every result
    #[arg(long, value_name = "NODES", group = "check", value_parser = clap::value_parser!(u8).range(2..=16))]
    quorum: Option<u8>,
    /// Believe every result: for nodes of one's own
    #[arg(long, group = "check")]
    trust: bool,
    /// Higher goes first, 0 to 255
    #[arg(long, default_value_t = 8)]
    priority: u8,
    /// Nodes that have more tasks than they can run may pass them on, those again, and so on, so many times: for a node that
    /// knows few of the others
    #[arg(long, value_name = "DEPTH", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=4))]
    delegate: u8,
    /// Give up after this time
    #[arg(long, value_name = "TIME", value_parser = format::parse_span)]
    deadline: Option<Duration>,
    /// Most gas of one task: about one per instruction
    #[arg(long, default_value_t = GAS)]
    gas: u64,
    /// Most memory of one task
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = format::parse_size)]
    memory: u64,
    /// Print the job's name and leave it to the node
    #[arg(long, short, conflicts_with_all = ["output", "put"])]
    detach: bool,
}

/// See [`RunArgs::map`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) cut: Cut,
    pub(super) split: bool,
}

pub(super) fn parse_map(text: &str) -> Result<Map, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let size =
        |text: &str| format::parse_size(text).and_then(|size| (size > 0).then_some(size).ok_or("not 0".to_owned()));
    let cut = match parts[..] {
        ["whole"] => Cut::Whole,
        ["stripes"] => Cut::Bytes(FRAME_BYTES as u64),
        ["stripes", count] => match count.parse::<u64>() {
            Ok(count) if (1..=FRAMES_MAX as u64).contains(&count) => Cut::Bytes(count * FRAME_BYTES as u64),
            _ => return Err(format!("a task takes 1 to {FRAMES_MAX} stripes")),
        },
        ["lines"] => Cut::Lines(LINES_BYTES),
        ["lines", bytes] => Cut::Lines(size(bytes)?),
        ["bytes", bytes] => Cut::Bytes(size(bytes)?),
        ["records", record] => Cut::Records { record: size(record)?, chunk: LINES_BYTES },
        ["records", record, chunk] => Cut::Records { record: size(record)?, chunk: size(chunk)? },
        ["module"] => return Ok(Map { cut: Cut::Bytes(PIECE_BYTES), split: true }),
        _ => {
            return Err("there are lines[:SIZE], bytes:SIZE, records:SIZE[:CHUNK], stripes[:COUNT], whole and module"
                .to_owned());
        }
    };
    Ok(Map { cut, split: false })
}

fn parse_percent(text: &str) -> Result<f64, String> {
    let percent = text.trim_end_matches('%').parse::<f64>().map_err(|error| error.to_string())?;
    (0.0..=100.0).contains(&percent).then_some(percent).ok_or_else(|| "0 to 100".to_owned())
}

/// Where the input comes from.
enum From {
    File(PathBuf),
    Stdin,
    Ticket(Box<Ticket>),
}

impl RunArgs {
    fn from(&self) -> Result<From, CliError> {
        Ok(match self.input.as_str() {
            "-" => From::Stdin,
            text if text.starts_with("pangea:") => From::Ticket(Box::new(text.parse()?)),
            path => {
                let path = std::path::absolute(path).map_err(|error| CliError::io(path, &error))?;
                std::fs::metadata(&path).map_err(|error| CliError::io(&path.display().to_string(), &error))?;
                From::File(path)
            }
        })
    }

    fn terms(&self) -> record::Terms {
        let verification = match (self.quorum, self.trust) {
            (Some(hosts), _) => Verification::Quorum { hosts },
            (None, true) => Verification::None,
            (None, false) => Verification::Audit { per_mille: (self.audit * 10.0).round() as u16 },
        };
        let limits = Limits { gas: self.gas, memory_bytes: self.memory, ..Limits::default() };
        let (Map { cut, split }, merge) = (self.map, self.merge);
        let (priority, timeout, depth) = (self.priority, self.deadline, self.delegate);
        record::Terms { cut, split, merge, limits, verification, priority, timeout, depth }
    }
}

pub(crate) async fn run(session: &Session<'_>, args: RunArgs) -> Result<(), CliError> {
    let (from, module) = (args.from()?, task::read_module(&args.module)?);
    // What any node would refuse is told here, with the reason, before anything is made.
    task::check_for_job(&module)?;
    let input = match &from {
        From::File(path) => record::Input::Path(path.clone()),
        From::Stdin => record::Input::Stream("standard input".to_owned()),
        From::Ticket(ticket) => record::Input::Ticket(ticket.clone()),
    };
    let name = args.module.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
    let request = record::Request { module, module_name: name, input, terms: args.terms() };
    let path = std::path::absolute(&args.module).map_err(|error| CliError::io("the module", &error))?;
    let computations = session.answer(session.client.computations()).await?;
    let (started, feed) = computations.run(&request, Some(&path), session.timeout).await?;
    if let Some(feed) = feed {
        let fed = match from {
            From::Ticket(ticket) => feed_object(session, *ticket, feed).await,
            _ => store::feed_all(store::read_in_thread(std::io::stdin())?, feed).await.map_err(|error| match error {
                Some(error) => error,
                None => CliError::failed("the node took no more of the input"),
            }),
        };
        if let Err(error) = fed {
            // The node's own reason is the better one, if it has one.
            let watching = computations.watch(&started.name).await?;
            computations.cancel(&started.name).await.ok();
            let view = watching.next().await?;
            return Err(view.error.filter(|found| found.kind != ErrorKind::Interrupted).map_or(error, Into::into));
        }
    }
    if args.detach {
        return tell_started(session, &started);
    }
    let watching = computations.watch(&started.name).await?;
    let view = follow(session, &watching, &started.name).await?;
    tell_done(session, &args, &view).await
}

/// From the network through this process into the job: the node keeps it only as long as the job runs.
async fn feed_object(
    session: &Session<'_>,
    ticket: Ticket,
    feed: crate::control::client::Feed,
) -> Result<(), CliError> {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(crate::control::client::STREAM_QUEUE_MAX);
    let get = Get { ticket, only: Selection::All, sink: Sink::Stream, timeout: session.timeout };
    let job = session.client.get_stream(&get, sender).await?;
    let feeding = async {
        while let Some(bytes) = receiver.recv().await {
            feed.write(&bytes).await?;
        }
        Ok::<_, CliError>(feed)
    };
    let (followed, fed) = tokio::join!(session.follow(&job, crate::cli::progress::Kind::Get), feeding);
    followed?;
    Ok(fed?.end().await?)
}

fn tell_started(session: &Session<'_>, view: &Computation) -> Result<(), CliError> {
    if session.output.json {
        return session.output.value(&kept::value(view));
    }
    session.output.say(&format!("the node goes on with it: see `pangea job show {}`", view.name));
    session.output.line(&view.name)
}

/// Waits for the end, showing progress. Ctrl-C cancels the job, and a second one leaves at once.
pub(super) async fn follow(session: &Session<'_>, watching: &Watching, name: &str) -> Result<Computation, CliError> {
    let mut drawing = Drawing::new(session.output, false, "waiting for its turn");
    let interrupts = signal(SignalKind::interrupt());
    let mut interrupts = interrupts.map_err(|error| CliError::io("cannot listen for Ctrl-C", &error))?;
    let mut cancelled = false;
    let next = watching.next();
    tokio::pin!(next);
    loop {
        let view = tokio::select! {
            view = &mut next => view?,
            _ = interrupts.recv() => {
                if std::mem::replace(&mut cancelled, true) {
                    std::process::exit(i32::from(ErrorKind::Interrupted.exit_code()));
                }
                session.output.say("cancelling; press Ctrl-C again to leave at once");
                session.client.computations().await?.cancel(name).await?;
                continue;
            }
        };
        next.set(watching.next());
        drawing.show(percent(&view.progress), |elapsed| line(&view, elapsed), |_| Some(progress_json(&view)));
        if view.state.is_over() {
            drawing.finish();
            return match (view.state, &view.error) {
                (State::Done, _) => Ok(view),
                (_, Some(error)) => Err(failed(&view, error.clone().into())),
                (_, None) => Err(CliError::failed("the job ended without a result")),
            };
        }
    }
}

fn failed(view: &Computation, error: CliError) -> CliError {
    match error.kind {
        ErrorKind::Failed => error.help(format!("see what its tasks logged with `pangea job logs {}`", view.name)),
        _ => error,
    }
}

fn percent(progress: &Progress) -> Option<u64> {
    (progress.total > 0).then(|| u64::from(progress.done) * 100 / u64::from(progress.total))
}

/// One line: bar, chunks, who works, what went wrong, time to go.
fn line(view: &Computation, _elapsed: Duration) -> String {
    let progress = &view.progress;
    if let Some(ahead) = view.ahead {
        return format!("waiting: {} before it", format::count(u64::from(ahead), "job"));
    }
    let Some(at) = progress.stage else { return "reading the input".to_owned() };
    let (done, total) = (u64::from(progress.done), u64::from(progress.total));
    let mut parts = vec![
        format!("{} {:>3}%  {done} of {total} tasks", bar(done, done, total), percent(progress).unwrap_or(0)),
        format!("{} on {}", stage(at), format::count(u64::from(progress.hosts), "node")),
    ];
    if let Some(eta) = progress.eta.filter(|eta| eta.as_secs() > 0) {
        parts.push(format!("{} left", format::span(eta)));
    }
    if progress.busy_hosts > 0 {
        let busy = format::count(u64::from(progress.busy_hosts), "full node");
        parts.push(format!("{busy} ({} waiting)", progress.busy_waiting));
    }
    for (number, what) in [
        (progress.audited, "audited"),
        (progress.retried, "retried"),
        (progress.speculated, "doubled"),
        (u64::from(progress.banned), "banned"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    parts.join("  ")
}

fn progress_json(view: &Computation) -> Value {
    let mut value = kept::progress_value(&view.progress);
    value["event"] = "progress".into();
    value["ahead"] = view.ahead.into();
    value
}

async fn tell_done(session: &Session<'_>, args: &RunArgs, view: &Computation) -> Result<(), CliError> {
    let output = session.output;
    if args.put {
        let ticket = put(session, view).await?;
        if output.json {
            let mut value = kept::value(view);
            value["ticket"] = ticket.to_string().into();
            return output.value(&value);
        }
        output.say(&summary(view));
        return output.line(&ticket.to_string());
    }
    let to_stdout = args.output.as_deref().is_none_or(|path| path.as_os_str() == "-");
    if output.json && args.output.is_none() {
        return output.value(&kept::value(view));
    }
    kept::save(session, &view.name, File::Output, args.output.as_deref()).await?;
    if output.json && !to_stdout {
        return output.value(&kept::value(view));
    }
    output.say(&summary(view));
    Ok(())
}

fn summary(view: &Computation) -> String {
    let progress = &view.progress;
    let took = view.took.map_or(String::new(), |took| format!(" in {}", format::latency(took)));
    let banned = match progress.banned {
        0 => String::new(),
        banned => format!("; {} gave wrong results and was banned", format::count(u64::from(banned), "node")),
    };
    let read = kept::read_in_place(progress).map_or(String::new(), |read| format!("; {read}"));
    format!(
        "{} of output from {}{took}: {} results, {} of them run again to check{banned}{read}; the receipt is at `pangea job \
         receipt {}`",
        format::size(view.output_bytes),
        format::count(u64::from(progress.total), "task"),
        progress.executions,
        progress.audited,
        view.name,
    )
}

/// Stores the output as an object.
async fn put(session: &Session<'_>, view: &Computation) -> Result<Ticket, CliError> {
    let settings = store::settings(session)?;
    let source = Source::Stream { name: format!("{}.out", view.name) };
    let (profile, lease) = (settings.profile, settings.lease.0);
    let put = Put { source, redundancy: Redundancy::Auto, profile, lease };
    let (job, feed) = session.client.put(&put, false).await?;
    let feed = feed.ok_or_else(|| CliError::failed("the node takes no stream"))?;
    let (sender, mut receiver) = mpsc::channel::<Bytes>(crate::control::client::STREAM_QUEUE_MAX);
    let feeding = async {
        while let Some(bytes) = receiver.recv().await {
            feed.write(&bytes).await?;
        }
        Ok::<_, CliError>(feed)
    };
    let (read, fed) = tokio::join!(session.client.read_computation(&view.name, File::Output, sender), feeding);
    read?;
    fed?.end().await?;
    let (outcome, _) = session.follow(&job, crate::cli::progress::Kind::Put).await?;
    let Outcome::Put(stored) = outcome else { return Err(CliError::failed("the node answered something else")) };
    Ok(session.client.ticket(stored.cid).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_as_people_write_them() {
        for (text, cut, split) in [
            ("lines", Cut::Lines(1 << 20), false),
            ("lines:64KiB", Cut::Lines(64 << 10), false),
            ("bytes:4MiB", Cut::Bytes(4 << 20), false),
            ("records:100", Cut::Records { record: 100, chunk: 1 << 20 }, false),
            ("records:100:1000", Cut::Records { record: 100, chunk: 1000 }, false),
            ("stripes", Cut::Bytes(FRAME_BYTES as u64), false),
            ("stripes:15", Cut::Bytes(15 * FRAME_BYTES as u64), false),
            ("whole", Cut::Whole, false),
            ("module", Cut::Bytes(4 << 20), true),
        ] {
            assert_eq!(parse_map(text), Ok(Map { cut, split }), "{text}");
        }
        for bad in ["", "bytes", "lines:0", "lines:x", "records", "words", "stripes:0", "stripes:16", "stripes:x"] {
            assert!(parse_map(bad).is_err(), "{bad}");
        }
        assert_eq!((parse_percent("12.5"), parse_percent("10%")), (Ok(12.5), Ok(10.0)));
        assert!(parse_percent("101").is_err() && parse_percent("NaN").is_err());
    }
}
