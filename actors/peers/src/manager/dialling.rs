//! The regular round: time is up for some, others are dialled, too many are trimmed.

use super::PeerManager;
use crate::{
    api::Out,
    backoff,
    book::Peer,
    domain::capped_prefix,
    score::{Field, score},
    standing::State,
};
use pangea_kernel::Cx;
use pangea_protocols::{Address, PeerId, net, time::Time};
use std::{collections::BTreeMap, time::Duration};

/// Dials under way at the same time; as many again for pinned peers.
pub const DIALS_MAX: usize = 8;
/// A dial without an answer is forgotten after this time.
const DIAL_PATIENCE: Duration = Duration::from_secs(60);
/// A round comes at least this often, and at most [`SHORTEST`] often.
const LONGEST: Duration = Duration::from_secs(15);
const SHORTEST: Duration = Duration::from_millis(250);
/// All known peers are looked at this often at most: there may be thousands.
const SHORTEST_EXPIRY: Duration = Duration::from_secs(10);
/// A connection younger than this is not trimmed: it has had no chance to be useful.
const GRACE: Duration = Duration::from_secs(20);
/// Without any connection, this many peers beside the pinned ones are dialled more often than their backoff says.
const ISOLATED_MAX: usize = 16;

impl PeerManager {
    pub(super) fn on_maintain(&mut self, cx: &mut Cx<'_, Self>) {
        self.cancel_round(cx);
        self.expire(cx);
        self.see_off(cx);
        self.trim(cx);
        self.dial(cx);
        self.exchange(cx);
        // What the steps above asked for is done now.
        self.cancel_round(cx);
        let next = self.next_round(cx.now());
        let spread = 0.9 + cx.rng("round").unit() / 5.0;
        self.schedule_round(cx, next.mul_f64(spread).max(SHORTEST));
    }

    /// Ends quarantines, bans and dials whose time is up, and lets old evidence fade.
    fn expire(&mut self, cx: &mut Cx<'_, Self>) {
        let (now, unix) = (cx.now(), cx.unix().0);
        if now < self.next_expiry {
            return;
        }
        self.next_expiry = now + SHORTEST_EXPIRY;
        let patience = |peer: &Peer| peer.dialling.is_some_and(|since| now.since(since) >= DIAL_PATIENCE);
        let overdue = |peer: &Peer| {
            let record = &peer.record;
            record.state == State::Suspect || record.until_unix.is_some_and(|until| until <= unix)
        };
        let due: Vec<PeerId> =
            self.book.iter().filter(|peer| patience(peer) || overdue(peer)).map(|peer| peer.record.peer).collect();
        for peer in due {
            if self.book.get(peer).is_some_and(patience) {
                self.on_dial_failed(cx, peer, "no answer from the network driver");
            }
            self.reassess(cx, peer);
        }
    }

    fn dial(&mut self, cx: &mut Cx<'_, Self>) {
        let now = cx.now();
        if !self.wants_peers() {
            return;
        }
        let (mut wanted, mut under_way) = (self.wanted(), self.book.dialling_len());
        let mut prefixes = self.book.prefixes().clone();
        for prefix in self.book.dialling().filter_map(|peer| peer.address().and_then(capped_prefix)) {
            *prefixes.entry(prefix).or_default() += 1;
        }
        for peer in self.due(cx) {
            let Some(found) = self.book.get(peer) else { continue };
            let pinned = found.is_pinned();
            let fits = pinned && self.book.connected_len() < self.config.hard_max() || wanted > 0;
            if !fits {
                continue;
            }
            let Some(addresses) = dialable(found, &prefixes, self.config.per_prefix_max) else { continue };
            // Pinned peers come first and have slots of their own: strangers that do not answer cannot hold them up.
            if under_way >= if pinned { 2 * DIALS_MAX } else { DIALS_MAX } {
                break;
            }
            if let Some(prefix) = addresses.first().and_then(capped_prefix) {
                *prefixes.entry(prefix).or_default() += 1;
            }
            under_way += 1;
            wanted = wanted.saturating_sub(1);
            self.book.set_dialling(peer, Some(now));
            cx.emit(Out::Net(net::Command::Dial { peer, addresses }));
        }
    }

    /// How many more this node would dial.
    pub(super) fn wanted(&self) -> usize {
        self.config.target.saturating_sub(self.book.connected_len() + self.book.dialling_len())
    }

    /// False if nobody has to be looked for among all that are known.
    fn wants_peers(&self) -> bool {
        self.wanted() > 0 || self.book.pinned().any(|peer| self.may_dial(peer))
    }

    /// Who may be dialled now: the pinned, then the good, then the others; among equals chance decides.
    fn due(&self, cx: &mut Cx<'_, Self>) -> Vec<PeerId> {
        let (now, isolated) = (cx.now(), self.book.connected_len() == 0);
        let in_time = |peer: &&Peer| peer.next_dial <= now || isolated && peer.next_dial_isolated <= now;
        let mut due: Vec<&Peer> = self.book.iter().filter(in_time).filter(|peer| self.may_dial(peer)).collect();
        cx.rng("dial").shuffle(&mut due);
        let class = |state: State| match state {
            State::Good => 0,
            State::Vetting => 1,
            State::New => 2,
            State::Suspect | State::Quarantined | State::Banned => 3,
        };
        due.sort_by_cached_key(|peer| (!peer.is_pinned(), peer.record.dial_failures, class(peer.record.state)));
        let mut impatient = 0;
        due.retain(|peer| {
            let early = isolated && peer.next_dial_isolated <= now && (peer.is_pinned() || impatient < ISOLATED_MAX);
            impatient += usize::from(early && !peer.is_pinned());
            early || peer.next_dial <= now
        });
        due.iter().map(|peer| peer.record.peer).collect()
    }

    fn may_dial(&self, peer: &Peer) -> bool {
        peer.session.is_none()
            && peer.dialling.is_none()
            && peer.record.state.is_served()
            && self.config.allows(peer.record.peer)
            && (peer.is_pinned() || !peer.record.addresses.is_empty())
    }

    /// Hangs up on the least valuable if more than `max` are connected.
    fn trim(&mut self, cx: &mut Cx<'_, Self>) {
        let (now, unix) = (cx.now(), cx.unix().0);
        let connected = self.book.connected_len();
        if connected <= self.config.max.max(self.config.target) {
            return;
        }
        let field = Field::of(self.book.connected().map(|peer| &peer.record));
        let spare = |peer: &&Peer| {
            let young = peer.session.as_ref().is_some_and(|session| now.since(session.since) < GRACE);
            !peer.is_pinned() && peer.busy_until <= now && !young
        };
        let value = |peer: &Peer| score(&peer.record, &field, peer.online_s(now), unix);
        let mut rows: Vec<(f64, PeerId)> =
            self.book.connected().filter(spare).map(|peer| (value(peer), peer.record.peer)).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (value, peer) in rows.into_iter().take(connected - self.config.trimmed()) {
            tracing::debug!(%peer, value, connected, "trimmed");
            if let Some(found) = self.book.touch(peer) {
                found.next_dial = now + backoff::jittered(backoff::FIRST, cx.rng("backoff"));
            }
            Self::hangup(cx, peer);
            // The session ends here, not when the network says so: or the next round would trim others as well.
            self.end_trimmed(cx, peer);
        }
        self.tell_count(cx);
    }

    fn end_trimmed(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId) {
        let Some(session) = self.book.set_session(peer, None) else { return };
        let (length, unix) = (cx.now().since(session.since).as_secs_f64(), cx.unix().0);
        if let Some(found) = self.book.change(peer) {
            found.record.presence.online(length, unix);
            found.record.last_seen_unix = unix.max(1);
            found.next_dial_isolated = cx.now() + backoff::reconnect(false, cx.rng("backoff"));
            found.asked = None;
        }
    }

    /// Time to the next round: until a guest must go, or somebody may be dialled, if anybody is wanted.
    fn next_round(&self, now: Time) -> Duration {
        let leave = self.guests.next_leave().map_or(LONGEST, |at| at.since(now));
        self.next_dials(now).min(leave)
    }

    fn next_dials(&self, now: Time) -> Duration {
        if !self.wants_peers() {
            return LONGEST;
        }
        let short = self.wanted() > 0;
        let isolated = self.book.connected_len() == 0;
        let wanted = |peer: &&Peer| (short || peer.is_pinned()) && self.may_dial(peer);
        let due = |peer: &Peer| if isolated { peer.next_dial.min(peer.next_dial_isolated) } else { peer.next_dial };
        // What is due already waits for a slot or a cap: it has to wait for the next regular round or event.
        let next = self.book.iter().filter(wanted).map(due).filter(|at| *at > now).min();
        next.map_or(LONGEST, |at| at.since(now)).clamp(SHORTEST, LONGEST)
    }
}

/// The addresses of a peer that the cap on prefixes admits; `None` if it has some but none is admitted.
fn dialable(peer: &Peer, prefixes: &BTreeMap<u64, usize>, cap: usize) -> Option<Vec<Address>> {
    let open = |address: &Address| {
        peer.is_pinned()
            || capped_prefix(address).is_none_or(|prefix| prefixes.get(&prefix).copied().unwrap_or(0) < cap)
    };
    let places = peer.record.addresses.iter().map(|place| place.address.clone());
    let addresses: Vec<Address> = places.filter(open).collect();
    (!addresses.is_empty() || peer.record.addresses.is_empty()).then_some(addresses)
}
