//! `put`, `rm`, `share`: what this node's owner has stored.

use super::{CliError, format, progress::Kind, session::Session};
use crate::{
    config::{self, Layers},
    control::client::Feed,
    node::handle::Put,
};
use bytes::Bytes;
use pangea_ces::api::Profile;
use pangea_protocols::{
    files::Source,
    job::{Outcome, Stored},
    manifest::SHARDS_MAX,
    ticket::Ticket,
};
use pangea_transfer::api::Redundancy;
use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};
use serde_json::{Value, json};
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::mpsc;

/// Bytes that are read from a stream at a time.
const READ_BYTES: usize = 256 << 10;

/// Store a file, a directory or standard input on other peers, and print its ticket
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Whoever has the ticket can read the object. Progress shows what is safe: readable from the network, and full.

Examples:
  pangea put report.pdf
  pangea put photos --data 10 --parity 10   # survives the loss of half of its holders
  pangea put - --name backup.tar < backup.tar
  pangea put report.pdf --json"
)]
pub(crate) struct PutArgs {
    /// File or directory; - reads standard input
    #[arg(value_name = "PATH|-")]
    path: PathBuf,
    /// Store it under this name
    #[arg(long)]
    name: Option<String>,
    /// Compress fast (LZ4)
    #[arg(long, group = "profile")]
    fast: bool,
    /// Compress well at a good speed [default, unless the settings name another profile]
    #[arg(long, group = "profile")]
    balanced: bool,
    /// Compress hard
    #[arg(long, group = "profile")]
    small: bool,
    /// Data shards per stripe: as many are needed to read it [default: chosen from the peers there are]
    #[arg(long, value_name = "K", requires = "parity", value_parser = clap::value_parser!(u8).range(1..=254))]
    data: Option<u8>,
    /// Parity shards per stripe: as many may be lost
    #[arg(long, value_name = "M", requires = "data", value_parser = parity)]
    parity: Option<u8>,
    /// Holders keep it this long [default: that of the settings, 90d unless changed]
    #[arg(long, value_name = "TIME", value_parser = format::parse_span)]
    lease: Option<Duration>,
}

/// Ask the holders of an object to forget it, and remove it from the catalog
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea rm report.pdf
  pangea rm bafkr4ia --yes
  pangea rm report.pdf --forget   # even if holders cannot be reached: they keep it until its lease ends")]
pub(crate) struct RmArgs {
    /// Name, CID, or the beginning of a CID
    #[arg(value_name = "NAME|CID")]
    object: String,
    /// Remove it from the catalog even if its holders cannot be reached
    #[arg(long)]
    forget: bool,
}

/// Print the ticket of an object, and as a QR code on a terminal
#[derive(Debug, clap::Args)]
#[command(after_help = "A ticket contains the key: whoever has it can read the object.

Examples:
  pangea share report.pdf
  pangea share report.pdf --no-qr")]
pub(crate) struct ShareArgs {
    /// Name, CID, or the beginning of a CID
    #[arg(value_name = "NAME|CID")]
    object: String,
    /// No QR code
    #[arg(long)]
    no_qr: bool,
}

fn parity(text: &str) -> Result<u8, String> {
    text.parse().map_err(|_| "a number from 0 to 254 is needed".into())
}

impl PutArgs {
    fn profile(&self, settings: &config::Put) -> Profile {
        match (self.fast, self.balanced, self.small) {
            (true, ..) => Profile::Fast,
            (_, true, _) => Profile::Balanced,
            (.., true) => Profile::Small,
            _ => settings.profile,
        }
    }

    fn redundancy(&self) -> Result<Redundancy, CliError> {
        match (self.data, self.parity) {
            (Some(k), Some(m)) if usize::from(k) + usize::from(m) > SHARDS_MAX => {
                Err(CliError::usage(format!("{k} + {m} shards are more than {SHARDS_MAX}")))
            }
            (Some(k), Some(m)) => Ok(Redundancy::Fixed { k, m }),
            _ => Ok(Redundancy::Auto),
        }
    }

    /// What the node reads itself, or a name and a stream that this process feeds: standard input, and a file that is
    /// to have another name.
    fn source(&self) -> Result<(Source, Option<Input>), CliError> {
        if self.path == Path::new("-") {
            let name = self.name.clone().unwrap_or_default();
            return Ok((Source::Stream { name }, Some(read_in_thread(io::stdin())?)));
        }
        let fail = |error: io::Error| CliError::io(&format!("cannot read {}", self.path.display()), &error);
        let Some(name) = &self.name else {
            return Ok((Source::Path(std::fs::canonicalize(&self.path).map_err(fail)?), None));
        };
        if self.path.is_dir() {
            return Err(CliError::usage("a directory cannot be stored under another name").help("rename it first"));
        }
        let file = std::fs::File::open(&self.path).map_err(fail)?;
        Ok((Source::Stream { name: name.clone() }, Some(read_in_thread(file)?)))
    }
}

/// What the settings say of puts.
pub(crate) fn settings(session: &Session<'_>) -> Result<config::Put, CliError> {
    Ok(Layers::from_file(session.home.config_file())?.environment(std::env::vars())?.config()?.put)
}

pub(crate) async fn put(session: &Session<'_>, args: PutArgs) -> Result<(), CliError> {
    let redundancy = args.redundancy()?;
    let (source, input) = args.source()?;
    let settings = settings(session)?;
    let bytes = length(&args.path);
    let lease = args.lease.unwrap_or(settings.lease.0);
    let put = Put { source, redundancy, profile: args.profile(&settings), lease };
    let (job, feed) = session.client.put(&put, false).await?;
    let following = session.follow_bytes(&job, Kind::Put, bytes);
    let (outcome, _) = match (input, feed) {
        (Some(input), Some(feed)) => feed_while(following, input, feed, &job).await?,
        _ => following.await?,
    };
    let Outcome::Put(stored) = outcome else { return Err(CliError::failed("the node answered something else")) };
    let ticket = session.client.ticket(stored.cid).await?;
    tell_put(session, &stored, &ticket)
}

/// Bytes of a regular file: the network learns them at its end, who waits for it wants to know them before.
fn length(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len())
}

/// Feeds `input` while `following` shows progress. When the input breaks, the job is cancelled: half a stream must not
/// be stored as if it were whole.
async fn feed_while<T>(
    following: impl Future<Output = Result<T, CliError>>,
    input: Input,
    feed: Feed,
    job: &crate::control::client::RemoteJob,
) -> Result<T, CliError> {
    tokio::pin!(following);
    let fed = tokio::select! {
        result = &mut following => return result,
        fed = feed_all(input, feed) => fed,
    };
    let Err(broken) = fed else { return following.await };
    job.cancel().await.ok();
    let ended = following.await;
    match broken {
        // The node broke the stream: its own reason is the better one.
        None => ended,
        Some(error) => Err(error),
    }
}

/// `Err(None)` means that the node takes no more.
pub(crate) async fn feed_all(mut input: Input, feed: Feed) -> Result<(), Option<CliError>> {
    while let Some(bytes) = input.recv().await {
        let bytes = bytes.map_err(|error| Some(CliError::io("cannot read the input", &error)))?;
        feed.write(&bytes).await.map_err(|_| None)?;
    }
    feed.end().await.map_err(|_| None)
}

/// What is read, in order; after an error there is nothing more.
pub(crate) type Input = mpsc::Receiver<io::Result<Bytes>>;

/// Standard input cannot be read without blocking: a thread of its own does it, which ends with the process if nothing
/// comes any more.
pub(crate) fn read_in_thread(mut input: impl Read + Send + 'static) -> Result<Input, CliError> {
    let (sender, receiver) = mpsc::channel(2);
    let read = move || {
        loop {
            let mut buffer = vec![0; READ_BYTES];
            let read = match input.read(&mut buffer) {
                Ok(0) => return,
                Ok(len) => {
                    buffer.truncate(len);
                    Ok(Bytes::from(buffer))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let last = read.is_err();
            if sender.blocking_send(read).is_err() || last {
                return;
            }
        }
    };
    let started = std::thread::Builder::new().name("pangea-input".into()).spawn(read);
    started.map(|_| receiver).map_err(|error| CliError::io("cannot read the input", &error))
}

fn tell_put(session: &Session<'_>, stored: &Stored, ticket: &Ticket) -> Result<(), CliError> {
    let output = session.output;
    if output.json {
        let mut value = stored_json(stored);
        value["ticket"] = ticket.to_string().into();
        return output.value(&value);
    }
    let holders = format::count(stored.holders.len() as u64, "holder");
    output.say(&format!(
        "stored {} ({}) as {} with {holders}; {}",
        format::printable(&shown_name(stored)),
        format::size(stored.raw_bytes),
        format::size(stored.stored_bytes),
        redundancy_text(stored),
    ));
    if stored.missing_shards > 0 {
        output.warn(&format!("warning: {} found no holder", format::count(stored.missing_shards, "shard")));
    }
    if stored.skipped > 0 {
        let skipped = format::count(stored.skipped, "symbolic link or special file");
        output.warn(&format!("warning: left out {skipped}"));
    }
    output.line(&ticket.to_string())
}

pub(crate) fn redundancy_text(stored: &Stored) -> String {
    match (stored.k, stored.m) {
        _ if stored.stripes == 0 => "small enough that holders keep it whole".into(),
        (k, m) => format!("any {k} of {} shards restore it", u16::from(k) + u16::from(m)),
    }
}

pub(crate) fn shown_name(stored: &Stored) -> String {
    if stored.name.is_empty() { stored.cid.to_string() } else { stored.name.clone() }
}

/// A catalog entry without its key: tickets are printed only where they are asked for.
pub(crate) fn stored_json(stored: &Stored) -> Value {
    json!({
        "cid": stored.cid.to_string(), "name": stored.name, "directory": stored.directory,
        "raw_bytes": stored.raw_bytes, "stored_bytes": stored.stored_bytes, "stripes": stored.stripes,
        "data_shards": stored.k, "parity_shards": stored.m, "missing_shards": stored.missing_shards,
        "holders": stored.holders.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "sealed_unix": stored.sealed_unix, "skipped": stored.skipped,
    })
}

pub(crate) async fn remove(session: &Session<'_>, args: RmArgs) -> Result<(), CliError> {
    let stored = session.find(&args.object).await?;
    let name = format::printable(&shown_name(&stored));
    let question =
        format!("remove {name} ({}) from its holders? it cannot be read again", format::size(stored.raw_bytes));
    session.output.confirm(&question)?;
    let job = session.client.remove(stored.cid, args.forget).await?;
    let (outcome, _) = session.follow(&job, Kind::Silent).await?;
    let Outcome::Removed { shards, unreachable } = outcome else {
        return Err(CliError::failed("the node answered something else"));
    };
    if session.output.json {
        let unreachable: Vec<_> = unreachable.iter().map(ToString::to_string).collect();
        return session.output.value(&json!({
            "cid": stored.cid.to_string(), "name": stored.name, "shards": shards, "unreachable": unreachable,
        }));
    }
    session.output.say(&format!("removed {name}: {} forgotten", format::count(shards, "shard")));
    if !unreachable.is_empty() {
        let peers = format::count(unreachable.len() as u64, "holder");
        session.output.warn(&format!("{peers} could not be reached and will forget it when its lease ends"));
    }
    Ok(())
}

pub(crate) async fn share(session: &Session<'_>, args: ShareArgs) -> Result<(), CliError> {
    let stored = session.find(&args.object).await?;
    let ticket = session.answer(session.client.ticket(stored.cid)).await?;
    if session.output.json {
        return session.output.value(&json!({ "cid": stored.cid.to_string(), "ticket": ticket.to_string() }));
    }
    let width = session.output.width().filter(|_| !args.no_qr && !session.output.quiet);
    if let Some(width) = width {
        let picture = qr_that_fits(&ticket, width);
        session.output.say(picture.as_deref().unwrap_or("(the terminal is too narrow for the QR code)"));
    }
    session.output.line(&ticket.to_string())
}

/// Address hints make a ticket faster to open and its picture larger: on a narrow terminal the picture has fewer.
fn qr_that_fits(ticket: &Ticket, width: usize) -> Option<String> {
    [ticket.hints.len(), 1, 0].into_iter().find_map(|hints| {
        let hints = ticket.hints.iter().take(hints).cloned().collect();
        let fewer = Ticket { cid: ticket.cid, hints, key: ticket.key.clone() };
        qr(&fewer.to_string()).filter(|picture| picture.lines().all(|line| line.chars().count() <= width))
    })
}

/// A QR code of half blocks, light on dark: most phones read it from dark and from light terminals.
fn qr(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).quiet_zone(true).build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_protocols::{Cid, Hash, ticket::ReadKey};

    fn stored() -> Stored {
        Stored {
            cid: Cid(Hash::of(b"x")),
            key: ReadKey([0xAB; 32]),
            name: "x".into(),
            directory: false,
            raw_bytes: 1,
            stored_bytes: 2,
            stripes: 1,
            k: 12,
            m: 8,
            holders: vec![],
            missing_shards: 0,
            sealed_unix: 0,
            skipped: 0,
        }
    }

    #[test]
    fn the_json_of_a_catalog_entry_has_no_key() {
        let text = stored_json(&stored()).to_string();
        assert!(!text.contains("key") && !text.contains("171") && !text.to_lowercase().contains("abab"));
    }

    #[test]
    fn the_qr_code_of_a_ticket_with_hints_fits_a_terminal() {
        let hint = (pangea_protocols::PeerId([1; 32]), "/ip4/192.0.2.1/udp/4001/quic-v1".parse().unwrap());
        let ticket = Ticket { cid: stored().cid, hints: vec![hint; 3], key: stored().key.clone() };
        let size = |width| {
            qr_that_fits(&ticket, width).map(|picture| {
                (picture.lines().map(|line| line.chars().count()).max().unwrap(), picture.lines().count())
            })
        };
        let ((full, _), (narrow, lines)) = (size(100).unwrap(), size(66).unwrap());
        assert!(full <= 80 && narrow <= 66 && narrow < full && lines <= 34, "{full} {narrow} {lines}");
        assert_eq!(size(20), None);
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        put: PutArgs,
    }

    #[test]
    fn a_profile_flag_wins_over_the_settings() {
        use clap::Parser;
        let settings = config::Put { profile: Profile::Small, ..config::Put::default() };
        let profile = |flags: &[&str]| Line::parse_from(["put", "x"].iter().chain(flags)).put.profile(&settings);
        assert_eq!(profile(&[]), Profile::Small);
        assert_eq!(profile(&["--balanced"]), Profile::Balanced);
        assert_eq!(profile(&["--fast"]), Profile::Fast);
    }

    #[test]
    fn more_shards_than_a_stripe_can_have_are_refused() {
        use clap::Parser;
        let redundancy = |m| Line::parse_from(["put", "x", "--data", "200", "--parity", m]).put.redundancy();
        assert_eq!(redundancy("100").unwrap_err().exit_code(), 2);
        assert_eq!(redundancy("55").unwrap(), Redundancy::Fixed { k: 200, m: 55 });
    }

    #[test]
    fn an_input_is_read_to_its_end_and_its_error_is_last() {
        let mut whole = read_in_thread(&b"abc"[..]).unwrap();
        assert_eq!(whole.blocking_recv().unwrap().unwrap(), "abc");
        assert!(whole.blocking_recv().is_none());
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::Other.into())
            }
        }
        let mut broken = read_in_thread(Broken).unwrap();
        assert!(broken.blocking_recv().unwrap().is_err());
        assert!(broken.blocking_recv().is_none());
    }

    #[test]
    fn what_restores_an_object_is_said_in_words() {
        assert_eq!(redundancy_text(&stored()), "any 12 of 20 shards restore it");
        assert!(redundancy_text(&Stored { stripes: 0, ..stored() }).contains("whole"));
    }
}
