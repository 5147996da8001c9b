//! [`Record`]: what is remembered of a peer across restarts. What ends with a connection is in [`crate::book`].
//!
//! The node store writes it with a version byte in front: a field more means a version more there.

use crate::{
    domain::is_dialable,
    estimate::{Beta, Decaying, Goodput, Presence, Rtt},
    standing::{State, Transition},
};
use pangea_protocols::{Address, PeerId, wire::pex::PeerRecord};
use serde::{Deserialize, Serialize};
use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, LazyLock},
};

/// Most addresses that are kept of a peer.
pub const ADDRESSES_MAX: usize = 8;

/// The reason that most records have, once for all of them.
static NEVER_CONNECTED: LazyLock<Arc<str>> = LazyLock::new(|| "never connected".into());

/// A peer, as long as this node remembers it. Clones share what they say until one of them is changed: a record that is
/// saved is not copied for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Record(Arc<Facts>);

/// What a [`Record`] says. All dates are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Who.
    pub peer: PeerId,
    /// When this node first heard of it.
    pub first_seen_unix: u64,
    /// When it was last connected; 0 if never.
    pub last_seen_unix: u64,
    /// Added by the user: never evicted, never trimmed.
    pub kept: bool,
    /// Where it may be reached, at most [`ADDRESSES_MAX`].
    pub addresses: Vec<Place>,
    /// Its latest record in its own words, to be passed on.
    pub signed: Option<PeerRecord>,
    /// Round-trip times.
    pub rtt: Option<Rtt>,
    /// Received from it.
    pub down: Goodput,
    /// Sent to it.
    pub up: Goodput,
    /// Requests it answered, and those it left unanswered.
    pub requests: Beta,
    /// Shards and receipts that verified, and those that did not.
    pub validity: Beta,
    /// Shards it signed for and had, and those it had lost.
    pub audits: Beta,
    /// Verified shards and receipts since it is known.
    pub verified: u64,
    /// When it was there.
    pub presence: Presence,
    /// Dials that failed since the last that did not.
    pub dial_failures: u32,
    /// Not dialled before; 0 if at any time.
    pub next_dial_unix: u64,
    /// Verified bytes received from it.
    pub bytes_in: u64,
    /// Bytes it signed for.
    pub bytes_out: u64,
    /// Times it refused a request.
    pub refusals: u64,
    /// Rules it broke, lately.
    pub violations: Decaying,
    /// Times it gave provably bad data.
    pub quarantines: u32,
    /// Its state, and why.
    pub state: State,
    /// Why it is in that state.
    pub reason: Arc<str>,
    /// When the state is reconsidered; `None` if only the user can change it, or if evidence does.
    pub until_unix: Option<u64>,
    /// Banned by the user, not by its conduct.
    pub banned_by_user: bool,
    /// The latest changes of state, oldest first.
    pub history: Vec<Transition>,
}

/// An address, and whether it ever worked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Where.
    pub address: Address,
    /// When a dial to it last succeeded; 0 if never: somebody's word.
    pub reached_unix: u64,
}

impl Deref for Record {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.0
    }
}

impl DerefMut for Record {
    /// Copies what is shared with a clone.
    fn deref_mut(&mut self) -> &mut Facts {
        Arc::make_mut(&mut self.0)
    }
}

impl Record {
    /// A peer that was just heard of.
    pub fn new(peer: PeerId, now_unix: u64) -> Self {
        Self(Arc::new(Facts {
            peer,
            first_seen_unix: now_unix,
            last_seen_unix: 0,
            kept: false,
            addresses: Vec::new(),
            signed: None,
            rtt: None,
            down: Goodput::default(),
            up: Goodput::default(),
            requests: Beta::default(),
            validity: Beta::default(),
            audits: Beta::default(),
            verified: 0,
            presence: Presence::default(),
            dial_failures: 0,
            next_dial_unix: 0,
            bytes_in: 0,
            bytes_out: 0,
            refusals: 0,
            violations: Decaying::default(),
            quarantines: 0,
            state: State::New,
            reason: Arc::clone(&NEVER_CONNECTED),
            until_unix: None,
            banned_by_user: false,
            history: Vec::new(),
        }))
    }

    /// Adds addresses that somebody named. Those that worked stay; the oldest word gives way. True if one is new.
    pub fn hear(&mut self, addresses: impl IntoIterator<Item = Address>) -> bool {
        let mut news = false;
        for address in addresses.into_iter().filter(is_dialable).take(ADDRESSES_MAX) {
            if self.addresses.iter().all(|place| place.address != address) {
                news |= self.push(Place { address, reached_unix: 0 });
            }
        }
        news
    }

    /// A dial to `address` succeeded.
    pub fn reach(&mut self, address: &Address, now_unix: u64) {
        if let Some(place) = self.addresses.iter_mut().find(|place| place.address == *address) {
            place.reached_unix = now_unix;
        } else if is_dialable(address) {
            self.push(Place { address: address.clone(), reached_unix: now_unix });
        }
        self.addresses.sort_by_key(|place| std::cmp::Reverse(place.reached_unix));
    }

    /// Makes room if need be: the address that worked longest ago, or never, goes first, but a mere word does not
    /// displace one that worked in the last week.
    fn push(&mut self, place: Place) -> bool {
        if self.addresses.len() >= ADDRESSES_MAX {
            let fresh = self.last_seen_unix.saturating_sub(7 * 86_400).max(1);
            let oldest = self.addresses.iter().enumerate().min_by_key(|(_, old)| old.reached_unix).map(|(at, _)| at);
            match oldest {
                Some(at) if place.reached_unix > 0 || self.addresses[at].reached_unix < fresh => {
                    self.addresses.remove(at);
                }
                _ => return false,
            }
        }
        // Most peers have one or two: no room for more is taken in advance.
        self.addresses.reserve_exact(1);
        self.addresses.push(place);
        true
    }

    /// Has this node ever dialled it with success?
    pub fn was_reached(&self) -> bool {
        self.addresses.iter().any(|place| place.reached_unix > 0)
    }

    /// Of whom more is kept if there is room for some only: first those that the user has decided about, then those seen
    /// last, then those heard of last.
    pub fn worth(&self) -> (bool, u64, u64) {
        (self.kept || self.banned_by_user, self.last_seen_unix, self.first_seen_unix)
    }

    /// Was it ever connected?
    pub fn was_seen(&self) -> bool {
        self.last_seen_unix > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: usize) -> Address {
        format!("/ip4/203.0.113.{n}/udp/4001/quic-v1").parse().unwrap()
    }

    #[test]
    fn hearsay_never_displaces_an_address_that_works() {
        let mut record = Record::new(PeerId([1; 32]), 1000);
        record.last_seen_unix = 2000;
        record.reach(&at(1), 2000);
        for n in 2..40 {
            record.hear([at(n)]);
            assert!(record.addresses.len() <= ADDRESSES_MAX);
        }
        assert_eq!(record.addresses[0], Place { address: at(1), reached_unix: 2000 });
        assert!(record.addresses.iter().any(|place| place.address == at(39)), "the latest word is kept");
    }
}
