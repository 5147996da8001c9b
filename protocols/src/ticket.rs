//! `pangea:<cid>?at=<peer>@<address>#k=<read key>`: all that is needed to read an object.
//!
//! The part after `#` is the read key. It is never sent to a peer, never logged and not part of the CID. The `at`
//! hints let a reader start without the DHT; there are at most [`HINTS_MAX`].

use crate::id::{Address, Cid, IdError, PeerId};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Most hints in a ticket.
pub const HINTS_MAX: usize = 8;
/// Longest ticket that is read.
pub const BYTES_MAX: usize = 4096;

/// The key that opens an object. Its `Debug` form shows nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct ReadKey(pub [u8; 32]);

impl fmt::Debug for ReadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadKey(…)")
    }
}

/// What a user hands to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The object.
    pub cid: Cid,
    /// Peers that hold its root block, with an address each.
    pub hints: Vec<(PeerId, Address)>,
    /// The key that opens it.
    pub key: ReadKey,
}

/// Why a text is not a ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Wrong scheme.
    #[error("not a ticket: tickets start with `pangea:`")]
    Scheme,
    /// Longer than any ticket.
    #[error("not a ticket: longer than {BYTES_MAX} bytes")]
    TooLong,
    /// No key, or cut short.
    #[error("the ticket has no complete key after `#k=`: was it cut short when it was copied?")]
    Key,
    /// The key does not match its check digits.
    #[error("the ticket's key has a typing error: copy the ticket again")]
    Checksum,
    /// A bad hint.
    #[error("the ticket has a bad `at=` hint: `{0}`")]
    Hint(String),
    /// A bad id.
    #[error("the ticket is damaged: {0}")]
    Id(#[from] IdError),
}

/// Four check bytes follow the key, so that a mistyped key is told from a lost object.
fn checksum(key: &[u8; 32]) -> [u8; 4] {
    let derived = blake3::derive_key("pangea 2026 ticket checksum", key);
    [derived[0], derived[1], derived[2], derived[3]]
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pangea:{}", self.cid)?;
        for (n, (peer, address)) in self.hints.iter().take(HINTS_MAX).enumerate() {
            write!(f, "{}at={peer}@{address}", if n == 0 { '?' } else { '&' })?;
        }
        let mut secret = [0; 36];
        secret[..32].copy_from_slice(&self.key.0);
        secret[32..].copy_from_slice(&checksum(&self.key.0));
        write!(f, "#k={}", data_encoding::BASE64URL_NOPAD.encode(&secret))?;
        secret.zeroize();
        Ok(())
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        if text.len() > BYTES_MAX {
            return Err(TicketError::TooLong);
        }
        let rest = text.strip_prefix("pangea:").ok_or(TicketError::Scheme)?;
        let (public, secret) = rest.split_once("#k=").ok_or(TicketError::Key)?;
        let (cid, query) = public.split_once('?').unwrap_or((public, ""));
        let hints = query.split('&').filter(|part| !part.is_empty()).take(HINTS_MAX).map(read_hint);
        Ok(Self { cid: cid.parse()?, hints: hints.collect::<Result<_, _>>()?, key: read_key(secret)? })
    }
}

fn read_key(text: &str) -> Result<ReadKey, TicketError> {
    let mut secret = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| TicketError::Key)?;
    let (key, check) = secret.split_first_chunk::<32>().ok_or(TicketError::Key)?;
    let key = ReadKey(*key);
    let result = match check.len() {
        4 if check == checksum(&key.0) => Ok(key),
        4 => Err(TicketError::Checksum),
        _ => Err(TicketError::Key),
    };
    secret.zeroize();
    result
}

fn read_hint(part: &str) -> Result<(PeerId, Address), TicketError> {
    let bad = || TicketError::Hint(part.chars().take(80).collect());
    let (peer, address) = part.strip_prefix("at=").and_then(|hint| hint.split_once('@')).ok_or_else(bad)?;
    Ok((peer.parse()?, address.parse()?))
}
