//! `ls`, `info`: what there is, and how well it is kept.

use super::{
    CliError, format,
    session::{Opened, Session},
    store,
    table::Table,
    target::{self, Target},
};
use crate::control::view::PeerView;
use pangea_protocols::{
    PeerId,
    job::Stored,
    manifest::{DirectoryIndex, Entry, EntryKind},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

/// List the objects of this node, or the entries of a directory
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea ls
  pangea ls photos
  pangea ls photos/2024 --json")]
pub(crate) struct LsArgs {
    /// A ticket, or the name or CID of a directory of this node; with /ENTRY, what is below it; - reads it from
    /// standard input
    #[arg(value_name = "TICKET|NAME[/ENTRY]")]
    object: Option<String>,
}

/// Tell how an object is stored and whether its holders can be reached
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea info report.pdf
  pangea info report.pdf --json")]
pub(crate) struct InfoArgs {
    /// A ticket, or the name or CID of an object of this node; - reads it from standard input
    #[arg(value_name = "TICKET|NAME")]
    object: String,
}

/// Seconds since 1970, for ages.
#[allow(clippy::disallowed_methods, reason = "ages are shown to a person; no core sees this clock")]
pub(crate) fn now_unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub(crate) async fn ls(session: &Session<'_>, args: LsArgs) -> Result<(), CliError> {
    match args.object {
        Some(object) => ls_directory(session, &object).await,
        None => ls_catalog(session).await,
    }
}

async fn ls_catalog(session: &Session<'_>) -> Result<(), CliError> {
    let objects = session.answer(session.client.list()).await?;
    if session.output.json {
        return session.output.text(&lines(objects.iter().map(store::stored_json)));
    }
    if objects.is_empty() {
        session.output.say("nothing is stored yet: try `pangea put FILE`");
        return Ok(());
    }
    let now = now_unix();
    let mut table = Table::new(&["NAME", "SIZE", "STORED", "CODE", "HOLDERS", "AGE", "CID"], 0, &[1, 2, 4]);
    for stored in &objects {
        let slash = if stored.directory { "/" } else { "" };
        let cid = stored.cid.to_string();
        table.row(vec![
            format!("{}{slash}", format::printable(&store::shown_name(stored))),
            format::size(stored.raw_bytes),
            format::size(stored.stored_bytes),
            if stored.stripes == 0 { "whole".into() } else { format!("{}+{}", stored.k, stored.m) },
            stored.holders.len().to_string(),
            format::age(stored.sealed_unix, now),
            format!("{}…", &cid[..16.min(cid.len())]),
        ]);
    }
    table.print(session.output)
}

fn lines(values: impl Iterator<Item = Value>) -> String {
    values.map(|value| format!("{value}\n")).collect()
}

async fn ls_directory(session: &Session<'_>, object: &str) -> Result<(), CliError> {
    let (object, below) = target::split_entry(&target::given(object)?)?;
    let (ticket, _) = object.resolve(session).await?;
    let (opened, index) = session.open(ticket).await?;
    let Some(index) = index else {
        let message = format!("{} is not a directory", format::printable(&opened.name));
        return Err(CliError::usage(message).help("see what it is with `pangea info`"));
    };
    let entries = entries_below(&index, &below);
    if entries.is_empty() && !below.is_empty() {
        let message = format!("there is no entry {}", format::printable(&below.join("/")));
        return Err(CliError::new(pangea_protocols::job::ErrorKind::NotFound, message));
    }
    if session.output.json {
        return session.output.text(&lines(entries.into_iter().map(entry_json)));
    }
    let now = now_unix();
    let mut table = Table::new(&["SIZE", "MODIFIED", "PATH"], 2, &[0]);
    for entry in entries {
        let path = format::printable(&entry.path.join("/"));
        table.row(match entry.kind {
            EntryKind::Directory => vec!["-".into(), String::new(), format!("{path}/")],
            EntryKind::File { len, executable, modified_unix, .. } => {
                let star = if executable { "*" } else { "" };
                let age = format::age(u64::try_from(modified_unix).unwrap_or(0), now);
                vec![format::size(len), age, format!("{path}{star}")]
            }
        });
    }
    table.print(session.output)
}

fn entries_below<'a>(index: &'a DirectoryIndex, below: &[String]) -> Vec<&'a Entry> {
    index.entries.iter().filter(|entry| entry.path.starts_with(below)).collect()
}

fn entry_json(entry: &Entry) -> Value {
    match entry.kind {
        EntryKind::Directory => json!({ "path": entry.path.join("/"), "directory": true }),
        EntryKind::File { len, executable, modified_unix, .. } => json!({
            "path": entry.path.join("/"), "directory": false, "bytes": len, "executable": executable,
            "modified_unix": modified_unix,
        }),
    }
}

pub(crate) async fn info(session: &Session<'_>, args: InfoArgs) -> Result<(), CliError> {
    let object: Target = target::given(&args.object)?.parse()?;
    let (ticket, stored) = object.resolve(session).await?;
    let peers = session.answer(session.client.peers()).await?;
    match stored {
        Some(stored) => info_stored(session, &stored, &peers),
        None => {
            let cid = ticket.cid.to_string();
            let hints: Vec<PeerId> = ticket.hints.iter().map(|(peer, _)| *peer).collect();
            let (opened, index) = session.open(ticket).await?;
            info_opened(session, &cid, &opened, index.as_ref(), &holders(&hints, &peers))
        }
    }
}

/// A holder, and what is known of it now.
struct Holder<'a> {
    peer: PeerId,
    view: Option<&'a PeerView>,
}

fn holders<'a>(peers: &[PeerId], views: &'a [PeerView]) -> Vec<Holder<'a>> {
    let views: BTreeMap<PeerId, &PeerView> = views.iter().map(|view| (view.peer, view)).collect();
    peers.iter().map(|&peer| Holder { peer, view: views.get(&peer).copied() }).collect()
}

impl Holder<'_> {
    fn reachable(&self) -> bool {
        self.view.is_some_and(|view| view.connected)
    }

    fn line(&self, now: u64) -> String {
        let state = match self.view {
            Some(view) if view.connected => {
                let rtt = view.rtt.map_or(String::new(), |rtt| format!(", {}", format::latency(rtt)));
                format!("connected{rtt}")
            }
            Some(view) => format!("not connected, seen {}", format::age(view.last_seen_unix, now)),
            None => "unknown here".into(),
        };
        format!("  {}  {state}", self.peer)
    }

    fn json(&self) -> Value {
        json!({ "peer": self.peer.to_string(), "connected": self.reachable() })
    }
}

fn info_stored(session: &Session<'_>, stored: &Stored, peers: &[PeerView]) -> Result<(), CliError> {
    let holders = holders(&stored.holders, peers);
    let reachable = holders.iter().filter(|holder| holder.reachable()).count();
    if session.output.json {
        let mut value = store::stored_json(stored);
        value["holders"] = holders.iter().map(Holder::json).collect();
        return session.output.value(&value);
    }
    let now = now_unix();
    let mut text = facts(&[
        ("name", format::printable(&store::shown_name(stored))),
        ("cid", stored.cid.to_string()),
        ("kind", if stored.directory { "directory" } else { "file" }.into()),
        ("size", format!("{}, {} stored", format::size(stored.raw_bytes), format::size(stored.stored_bytes))),
        (
            "code",
            match stored.stripes {
                0 => store::redundancy_text(stored),
                stripes => format!("{}, {}", store::redundancy_text(stored), format::count(stripes, "stripe")),
            },
        ),
        ("missing", format::count(stored.missing_shards, "shard")),
        ("sealed", format::age(stored.sealed_unix, now)),
        ("holders", format!("{reachable} of {} connected now", holders.len())),
    ]);
    holders.iter().for_each(|holder| text += &format!("{}\n", holder.line(now)));
    session.output.text(&text)
}

fn info_opened(
    session: &Session<'_>,
    cid: &str,
    opened: &Opened,
    index: Option<&DirectoryIndex>,
    hints: &[Holder<'_>],
) -> Result<(), CliError> {
    let entries = index.map(|index| index.entries.len() as u64);
    if session.output.json {
        return session.output.value(&json!({
            "cid": cid, "name": opened.name, "directory": opened.directory, "raw_bytes": opened.raw_len,
            "data_shards": opened.k, "parity_shards": opened.m, "entries": entries,
            "hints": hints.iter().map(Holder::json).collect::<Vec<_>>(),
        }));
    }
    let kind = match entries {
        Some(entries) => {
            format!("directory, {}", if entries == 1 { "1 entry".into() } else { format!("{entries} entries") })
        }
        None => "file".into(),
    };
    let mut text = facts(&[
        ("name", format::printable(&opened.name)),
        ("cid", cid.to_owned()),
        ("kind", kind),
        ("size", format::size(opened.raw_len)),
        ("code", format!("any {} of {} shards restore it", opened.k, u16::from(opened.k) + u16::from(opened.m))),
        ("hints", format::count(hints.len() as u64, "peer")),
    ]);
    let now = now_unix();
    hints.iter().for_each(|hint| text += &format!("{}\n", hint.line(now)));
    session.output.text(&text)
}

/// `key: value` lines that line up.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(key, _)| key.len()).max().unwrap_or(0) + 2;
    facts.iter().map(|(key, value)| format!("{key:<width$}{value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> Entry {
        Entry { path: path.split('/').map(str::to_owned).collect(), kind: EntryKind::Directory }
    }

    #[test]
    fn entries_are_below_a_path_by_components_and_not_by_letters() {
        let index = DirectoryIndex { entries: vec![entry("a"), entry("a/b"), entry("ab/c")] };
        let below = |path: &[&str]| {
            let path: Vec<String> = path.iter().map(|&part| part.to_owned()).collect();
            entries_below(&index, &path).into_iter().map(|entry| entry.path.join("/")).collect::<Vec<_>>()
        };
        assert_eq!(below(&[]).len(), 3);
        assert_eq!(below(&["a"]), ["a", "a/b"]);
        assert!(below(&["c"]).is_empty());
    }

    #[test]
    fn a_holder_that_is_not_known_is_not_reachable() {
        let peer = PeerId([1; 32]);
        let known = holders(&[peer], &[]);
        assert!(!known[0].reachable() && known[0].line(0).contains("unknown here"));
    }

    #[test]
    fn facts_line_up() {
        assert_eq!(facts(&[("a", "1".into()), ("long", "2".into())]), "a     1\nlong  2\n");
    }
}
