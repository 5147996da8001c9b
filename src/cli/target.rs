//! What names an object on the command line: a ticket, a CID or a name; with `/entry`, a part of a directory; ranges.

use super::{CliError, format, session::Session};
use pangea_ces::api::Selection;
use pangea_protocols::{
    job::Stored,
    ticket::{self, Ticket},
};
use std::{io::BufRead, str::FromStr};

/// `TICKET`, `NAME` or `CID`, as it was typed. The text may hold a read key, so it has no `Debug` that shows it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// All that is needed to read an object.
    Ticket(Ticket),
    /// For the node to look up in its catalog.
    Name(String),
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ticket(ticket) => write!(f, "Ticket({})", ticket.cid),
            Self::Name(name) => write!(f, "Name({name:?})"),
        }
    }
}

impl FromStr for Target {
    type Err = CliError;

    fn from_str(text: &str) -> Result<Self, CliError> {
        match text.trim() {
            "" => Err(CliError::usage("an empty name")),
            // With a key or an authority it is somebody's link, and a mistyped one of ours is nobody's name.
            text if text.starts_with("pangea:") || text.contains("#k=") || text.contains("://") => {
                Ok(Self::Ticket(text.parse()?))
            }
            text => Ok(Self::Name(text.to_owned())),
        }
    }
}

impl Target {
    /// The ticket, and the catalog entry if it came from there.
    pub(crate) async fn resolve(self, session: &Session<'_>) -> Result<(Ticket, Option<Stored>), CliError> {
        match self {
            Self::Ticket(ticket) => Ok((ticket, None)),
            Self::Name(name) => {
                let stored = session.find(&name).await?;
                Ok((session.client.ticket(stored.cid).await?, Some(stored)))
            }
        }
    }
}

/// What names the object: `text`, or, if that is `-` or begins with `-/`, the first line of standard input in its place.
/// Arguments can be read by every user of a machine while a command runs; what is piped in cannot.
pub(crate) fn given(text: &str) -> Result<String, CliError> {
    given_from(text, std::io::stdin().lock())
}

fn given_from(text: &str, input: impl BufRead) -> Result<String, CliError> {
    let Some(entry) = text.strip_prefix('-').filter(|entry| entry.is_empty() || entry.starts_with('/')) else {
        return Ok(text.to_owned());
    };
    let mut line = String::new();
    let limit = ticket::BYTES_MAX as u64 + 1;
    input.take(limit).read_line(&mut line).map_err(|error| CliError::io("cannot read standard input", &error))?;
    match line.trim() {
        "" => Err(CliError::usage("standard input has no ticket").help("echo TICKET | pangea get -")),
        object => Ok(format!("{object}{entry}")),
    }
}

/// Splits `TARGET/entry/below` into the target and the components of the entry. A `/` inside a ticket's hints belongs
/// to the ticket: the entry comes after its key.
pub(crate) fn split_entry(text: &str) -> Result<(Target, Vec<String>), CliError> {
    let key = text.find("#k=");
    let whole = text.starts_with("pangea:") || text.contains("://");
    let from = key.unwrap_or(if whole { text.len() } else { 0 });
    let (target, entry) = match text[from..].find('/') {
        Some(slash) => (&text[..from + slash], &text[from + slash + 1..]),
        None => (text, ""),
    };
    Ok((target.parse()?, if entry.is_empty() { Vec::new() } else { entry_path(entry)? }))
}

/// The components of an entry's path, without a slash at the end.
pub(crate) fn entry_path(text: &str) -> Result<Vec<String>, CliError> {
    let parts: Vec<String> = text.trim_end_matches('/').split('/').map(str::to_owned).collect();
    if parts.iter().any(|part| matches!(part.as_str(), "" | "." | "..")) {
        let message = format!("`{text}` is not the path of an entry");
        return Err(CliError::usage(message).help("list the entries with `pangea ls TICKET`"));
    }
    Ok(parts)
}

/// `A..B`: bytes A up to, and without, B. `A..` reads to the end, `..B` from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteRange {
    start: u64,
    end: Option<u64>,
}

impl FromStr for ByteRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (start, end) = text.split_once("..").ok_or("a range is written A..B, A.. or ..B, in bytes")?;
        let start = if start.is_empty() { 0 } else { format::parse_size(start)? };
        let end = if end.is_empty() { None } else { Some(format::parse_size(end)?) };
        if end.is_some_and(|end| end < start) {
            return Err("the range ends before it starts".into());
        }
        Ok(Self { start, end })
    }
}

/// Which part of the object is wanted.
pub(crate) fn selection(range: Option<ByteRange>, entry: Vec<String>) -> Result<Selection, CliError> {
    match (range, entry.is_empty()) {
        (Some(_), false) => Err(CliError::usage("a range of an entry cannot be read")
            .help("read the whole entry, or a range of a file that is an object of its own")),
        (Some(ByteRange { start, end }), true) => {
            Ok(Selection::Range { offset: start, len: end.map(|end| end - start) })
        }
        (None, false) => Ok(Selection::Entry(entry)),
        (None, true) => Ok(Selection::All),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_protocols::{Cid, Hash, PeerId, ticket::ReadKey};

    fn ticket() -> Ticket {
        let hint = (PeerId([1; 32]), "/ip4/192.0.2.1/udp/4001/quic-v1".parse().unwrap());
        Ticket { cid: Cid(Hash::of(b"x")), hints: vec![hint], key: ReadKey([7; 32]) }
    }

    #[test]
    fn an_entry_comes_after_a_name_or_after_the_key_of_a_ticket() {
        let name = Target::Name("photos".into());
        assert_eq!(split_entry("photos").unwrap(), (name.clone(), vec![]));
        assert_eq!(split_entry("photos/2024/a.jpg").unwrap(), (name.clone(), vec!["2024".into(), "a.jpg".into()]));
        assert_eq!(split_entry("photos/2024/").unwrap(), (name, vec!["2024".into()]));
        let text = ticket().to_string();
        assert_eq!(split_entry(&text).unwrap(), (Target::Ticket(ticket()), vec![]));
        assert_eq!(
            split_entry(&format!("{text}/a/b")).unwrap(),
            (Target::Ticket(ticket()), vec!["a".into(), "b".into()])
        );
    }

    #[test]
    fn a_dash_stands_for_the_first_line_of_standard_input() {
        let text = ticket().to_string();
        let from = |typed: &str, input: String| given_from(typed, input.as_bytes());
        assert_eq!(from("-", format!(" {text} \nmore")).unwrap(), text);
        assert_eq!(from("-/a/b", format!("{text}\n")).unwrap(), format!("{text}/a/b"));
        for typed in ["notes", "-notes", "pangea:-"] {
            assert_eq!(from(typed, text.clone()).unwrap(), typed);
        }
        assert_eq!(from("-", "\n".into()).unwrap_err().exit_code(), 2);
        let endless = from("-", "x".repeat(1 << 20)).unwrap();
        assert!(endless.len() <= ticket::BYTES_MAX + 1);
    }

    #[test]
    fn entries_cannot_climb_and_broken_tickets_are_named() {
        for bad in [
            "photos/../x",
            "photos//x",
            "photos/./x",
            "/x",
            "pangea:x",
            "pangea:bafkr4i#k=short",
            "ipfs://bafkr4i",
            "pangae:b#k=x/y",
        ] {
            assert_eq!(split_entry(bad).unwrap_err().exit_code(), 2, "{bad}");
        }
    }

    #[test]
    fn the_key_of_a_ticket_is_not_in_its_debug_form() {
        let text = ticket().to_string();
        let key = text.split_once("#k=").unwrap().1;
        assert!(!format!("{:?}", Target::Ticket(ticket())).contains(key));
    }

    #[test]
    fn ranges_are_half_open() {
        let select = |text: &str| selection(Some(text.parse().unwrap()), vec![]).unwrap();
        assert_eq!(select("10..15"), Selection::Range { offset: 10, len: Some(5) });
        assert_eq!(select("1KiB.."), Selection::Range { offset: 1024, len: None });
        assert_eq!(select("..5"), Selection::Range { offset: 0, len: Some(5) });
        assert!(selection(Some("0..1".parse().unwrap()), vec!["a".into()]).is_err());
    }
}
