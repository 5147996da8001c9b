//! `get`, `cat`: objects come back.

use super::{
    CliError, format,
    progress::Kind,
    session::Session,
    target::{self, ByteRange},
};
use crate::node::handle::Get;
use bytes::Bytes;
use pangea_ces::api::Selection;
use pangea_protocols::{
    files::Sink,
    job::{ErrorKind, Outcome},
    ticket::Ticket,
};
use serde_json::json;
use std::{
    io::{self, Write},
    path::{Component, Path, PathBuf},
};
use tokio::sync::mpsc;

/// Read an object into a file or directory
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Every byte is verified before it is written; the file appears under its name when it is complete.

Examples:
  pangea get report.pdf
  pangea get report.pdf copies/latest.pdf --force
  pangea get photos ~/restored --path 2024/summer
  pangea get disk.img part.img --range 1MiB..2MiB"
)]
pub(crate) struct GetArgs {
    /// A ticket, or the name or CID of an object of this node; - reads it from standard input, where other users of
    /// this machine cannot see it
    #[arg(value_name = "TICKET|NAME")]
    object: String,
    /// Where to: a new file or directory, or an existing directory to put it in; - is standard output
    dest: Option<PathBuf>,
    /// Replace what is there
    #[arg(long, short)]
    force: bool,
    /// Only these bytes of a file
    #[arg(long, value_name = "A..B", conflicts_with = "path")]
    range: Option<ByteRange>,
    /// Only this entry of a directory: a file, or a directory with all below it
    #[arg(long, value_name = "ENTRY")]
    path: Option<String>,
}

/// Write an object's bytes to standard output
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Every byte is verified before it is written. When it fails midway, what was written is right but incomplete, and
the exit code tells.

Examples:
  pangea cat notes.txt
  pangea cat photos/2024/a.jpg > a.jpg
  pangea cat disk.img --range 0..512 | xxd"
)]
pub(crate) struct CatArgs {
    /// A ticket, or the name or CID of an object of this node; with /ENTRY, a file of a directory; - reads it from
    /// standard input
    #[arg(value_name = "TICKET|NAME[/ENTRY]")]
    object: String,
    /// Only these bytes
    #[arg(long, value_name = "A..B")]
    range: Option<ByteRange>,
}

pub(crate) async fn get(session: &Session<'_>, args: GetArgs) -> Result<(), CliError> {
    let (object, mut entry) = target::split_entry(&target::given(&args.object)?)?;
    if let Some(path) = &args.path {
        entry = target::entry_path(path)?;
    }
    let only = target::selection(args.range, entry.clone())?;
    let (ticket, stored) = object.resolve(session).await?;
    if args.dest.as_deref() == Some(Path::new("-")) {
        return stream(session, ticket, only).await;
    }
    let name = match (entry.pop(), &stored) {
        (Some(last), _) => Some(last),
        (None, Some(stored)) => Some(stored.name.clone()),
        (None, None) => None,
    };
    let path = destination(session, args.dest, name, &ticket).await?;
    if path.symlink_metadata().is_ok() && !args.force {
        let message = format!("{} exists already", path.display());
        let denied = CliError::new(ErrorKind::Denied, message);
        return Err(denied.help("replace it with --force, or name another destination"));
    }
    let sink = Sink::Path { path, overwrite: args.force };
    let job = session.client.get(&Get { ticket, only, sink, timeout: session.timeout }, false).await?;
    let (outcome, _) = session.follow(&job, Kind::Get).await?;
    let Outcome::Got { path: Some(path), bytes, progress } = outcome else {
        return Err(CliError::failed("the node did not tell where it wrote"));
    };
    if session.output.json {
        return session.output.value(&json!({
            "path": path.display().to_string(), "bytes": bytes, "shards": progress.shards,
            "healed": progress.healed, "hedged": progress.hedged,
        }));
    }
    session.output.say(&format!("{} verified", format::size(bytes)));
    session.output.line(&path.display().to_string())
}

/// The absolute path to write to. Without a name to go by, the object is asked for its own.
async fn destination(
    session: &Session<'_>,
    dest: Option<PathBuf>,
    name: Option<String>,
    ticket: &Ticket,
) -> Result<PathBuf, CliError> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(|error| CliError::io("the destination", &error));
    let dir = match dest {
        Some(dest) if !dest.is_dir() => return absolute(&dest),
        Some(dest) => dest,
        None => PathBuf::from("."),
    };
    let name = match name {
        Some(name) => name,
        None => session.open(ticket.clone()).await?.0.name,
    };
    absolute(&dir.join(safe_name(&name)?))
}

/// A name from elsewhere that may be joined to a directory: one ordinary component.
fn safe_name(name: &str) -> Result<&str, CliError> {
    let mut components = Path::new(name).components();
    let one = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
    if one && !name.contains(['/', '\0']) {
        return Ok(name);
    }
    let message = match name {
        "" => "the object has no name".to_owned(),
        name => format!("the object's name `{}` cannot be used here", format::printable(name)),
    };
    Err(CliError::usage(message).help("name the destination: pangea get TICKET DEST"))
}

pub(crate) async fn cat(session: &Session<'_>, args: CatArgs) -> Result<(), CliError> {
    let (object, entry) = target::split_entry(&target::given(&args.object)?)?;
    let only = target::selection(args.range, entry)?;
    let (ticket, _) = object.resolve(session).await?;
    stream(session, ticket, only).await
}

/// How writing to standard output ended.
pub(crate) enum Written {
    All,
    /// The reader has seen enough, as `head` does.
    Enough,
}

async fn stream(session: &Session<'_>, ticket: Ticket, only: Selection) -> Result<(), CliError> {
    let (sender, receiver) = mpsc::channel(crate::control::client::STREAM_QUEUE_MAX);
    let get = Get { ticket, only, sink: Sink::Stream, timeout: session.timeout };
    let job = session.client.get_stream(&get, sender).await?;
    // Standard output may block: it has a thread of its own, and the queue holds the node back.
    let writing = tokio::task::spawn_blocking(move || write_out(receiver, io::stdout().lock()));
    let followed = session.follow(&job, Kind::Silent).await;
    drop(job);
    let written = writing.await.map_err(|error| CliError::failed(error.to_string()))?;
    match (written, followed) {
        (Ok(Written::Enough), _) => Ok(()),
        (Err(error), _) => Err(CliError::io("cannot write to standard output", &error)),
        (Ok(Written::All), followed) => followed.map(|_| ()),
    }
}

pub(crate) fn write_out(mut receiver: mpsc::Receiver<Bytes>, mut out: impl Write) -> io::Result<Written> {
    let mut write = || -> io::Result<()> {
        while let Some(bytes) = receiver.blocking_recv() {
            out.write_all(&bytes)?;
        }
        out.flush()
    };
    match write() {
        Ok(()) => Ok(Written::All),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Written::Enough),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_ordinary_component_is_a_safe_name() {
        assert_eq!(safe_name("a b.txt").unwrap(), "a b.txt");
        for bad in ["", ".", "..", "/", "/etc", "a/b", "a/", "../x", "a\0"] {
            assert!(safe_name(bad).is_err(), "{bad:?}");
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_no_error() {
        let (sender, receiver) = mpsc::channel(4);
        sender.try_send(Bytes::from_static(b"x")).unwrap();
        drop(sender);
        assert!(matches!(write_out(receiver, Closed), Ok(Written::Enough)));
    }

    #[test]
    fn bytes_are_written_in_order_to_the_end() {
        let (sender, receiver) = mpsc::channel(4);
        for part in ["ab", "", "c"] {
            sender.try_send(Bytes::from_static(part.as_bytes())).unwrap();
        }
        drop(sender);
        let mut out = Vec::new();
        assert!(matches!(write_out(receiver, &mut out), Ok(Written::All)));
        assert_eq!(out, b"abc");
    }
}
