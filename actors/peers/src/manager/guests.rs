//! Guests: peers that there is no room for. They are told of others before they are hung up on: a newcomer all of whose
//! acquaintances are full would otherwise never find anybody, and two of them would found an island.

use super::PeerManager;
use pangea_kernel::Cx;
use pangea_protocols::{
    PeerId,
    time::Time,
    wire::{Message, pex::Pex},
};
use std::{collections::BTreeMap, time::Duration};

/// Guests at once; beyond it newcomers are hung up on at once.
pub(super) const GUESTS_MAX: usize = 32;
/// How long a guest may stay: time to ask and be answered, and for the DHT to learn of each other.
pub(super) const STAY: Duration = Duration::from_secs(3);

/// Who is here for a moment.
#[derive(Default)]
pub(super) struct Guests(BTreeMap<PeerId, Guest>);

struct Guest {
    since: Time,
    /// It has been told of others: once is enough.
    answered: bool,
}

impl Guests {
    /// False if there is no room even for that.
    pub(super) fn receive(&mut self, peer: PeerId, now: Time) -> bool {
        let room = self.0.len() < GUESTS_MAX || self.0.contains_key(&peer);
        if room {
            self.0.entry(peer).or_insert(Guest { since: now, answered: false });
        }
        room
    }

    pub(super) fn contains(&self, peer: PeerId) -> bool {
        self.0.contains_key(&peer)
    }

    pub(super) fn remove(&mut self, peer: PeerId) {
        self.0.remove(&peer);
    }

    /// When the next one must go.
    pub(super) fn next_leave(&self) -> Option<Time> {
        self.0.values().map(|guest| guest.since + STAY).min()
    }
}

impl PeerManager {
    /// A guest asks, or says something that nobody listens to.
    pub(super) fn on_guest(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, message: Message) {
        let Some(guest) = self.guests.0.get_mut(&peer) else { return };
        if let Message::Pex(Pex::Ask { max, own }) = message
            && !std::mem::replace(&mut guest.answered, true)
        {
            self.on_ask(cx, peer, max, own);
        }
    }

    /// Hangs up on those whose time is over.
    pub(super) fn see_off(&mut self, cx: &mut Cx<'_, Self>) {
        let now = cx.now();
        let leaving: Vec<PeerId> =
            self.guests.0.extract_if(.., |_, guest| now >= guest.since + STAY).map(|(peer, _)| peer).collect();
        leaving.into_iter().for_each(|peer| Self::hangup(cx, peer));
    }
}
