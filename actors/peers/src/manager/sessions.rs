//! Connections that come, go or do not come about.

use super::{PeerManager, guests};
use crate::{
    api::Out,
    backoff,
    book::Session,
    domain::{Scope, capped_prefix, scope},
    estimate::Rtt,
    standing::State,
};
use pangea_kernel::{Cx, planted};
use pangea_protocols::{
    Address, PeerId,
    net::{self, Source},
};
use std::time::Duration;

/// A session shorter than this counts as a failed dial: two nodes must not connect and trim each other for ever.
const SHORT: Duration = Duration::from_secs(30);
/// Why most connections are refused.
const FULL: &str = "too many connections";
/// A peer that the local network announces is dialled within this time, however often it failed before.
const ANNOUNCED: Duration = Duration::from_secs(5);

impl PeerManager {
    pub(super) fn on_connected(
        &mut self,
        cx: &mut Cx<'_, Self>,
        peer: PeerId,
        address: Option<Address>,
        inbound: bool,
    ) {
        let (now, unix) = (cx.now(), cx.unix());
        if peer == self.me || self.book.get(peer).is_some_and(|found| found.session.is_some()) {
            return;
        }
        if let Err(why) = self.admit(peer, address.as_ref(), inbound) {
            tracing::debug!(%peer, why, "connection refused");
            if why == FULL && self.guests.receive(peer, now) {
                return self.schedule_round(cx, guests::STAY);
            }
            if !self.config.allows(peer) {
                cx.emit(Out::Allow { peer, allowed: false });
            }
            self.book.set_dialling(peer, None);
            if let Some(found) = self.book.touch(peer) {
                found.next_dial = now + backoff::jittered(backoff::FIRST, cx.rng("backoff"));
            }
            return Self::hangup(cx, peer);
        }
        let Some(found) = self.book.enter(peer, now, unix, cx.rng("evict")) else {
            return Self::hangup(cx, peer);
        };
        found.record.last_seen_unix = unix.0.max(1);
        if !inbound {
            found.record.next_dial_unix = 0;
            if let Some(address) = &address {
                found.record.reach(address, unix.0);
            }
        }
        self.book.set_dialling(peer, None);
        self.book.set_session(peer, Some(Session { address, inbound, since: now }));
        self.reassess(cx, peer);
        // A node that has the peers it wants asks in its regular rounds only.
        if self.book.connected_len() <= self.config.target {
            self.greet(cx, peer, inbound);
        }
        self.tell_count(cx);
        if self.wanted() > 0 {
            self.schedule_round(cx, Duration::ZERO);
        }
    }

    /// May this connection stay?
    fn admit(&self, peer: PeerId, address: Option<&Address>, inbound: bool) -> Result<(), &'static str> {
        if !self.config.allows(peer) {
            return Err("refused by the configuration");
        }
        let found = self.book.get(peer);
        if found.is_some_and(|found| found.record.state == State::Banned) {
            return Err("banned");
        }
        if found.is_some_and(|found| found.is_pinned()) || !inbound {
            return Ok(());
        }
        if self.book.connected_len() >= self.config.hard_max() {
            return Err(FULL);
        }
        let others = address.and_then(capped_prefix).and_then(|prefix| self.book.prefixes().get(&prefix));
        if others.is_some_and(|count| *count >= self.config.per_prefix_max) {
            return Err("too many connections from one network");
        }
        Ok(())
    }

    /// A peer that has `dismissed` this node is left alone as if it could not be dialled, however long it was connected:
    /// a popular one, such as the bootstrap node of a large network, would be besieged by those whom it let go.
    pub(super) fn on_disconnected(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, dismissed: bool) {
        let (now, unix) = (cx.now(), cx.unix().0);
        self.guests.remove(peer);
        if planted!("dead-session-kept") {
            return;
        }
        let Some(session) = self.book.set_session(peer, None) else { return };
        let length = now.since(session.since);
        let Some(found) = self.book.change(peer) else { return };
        let pinned = found.is_pinned();
        found.record.presence.online(length.as_secs_f64(), unix);
        found.record.last_seen_unix = unix.max(1);
        found.asked = None;
        // A session proves that dialling works only if it lasts, and one that the peer began proves nothing.
        if length >= SHORT && !session.inbound {
            found.record.dial_failures = 0;
        }
        let wait = if dismissed || length < SHORT {
            found.record.dial_failures = found.record.dial_failures.saturating_add(1);
            backoff::jittered(backoff::step(found.record.dial_failures, pinned && !dismissed), cx.rng("backoff"))
        } else {
            backoff::reconnect(pinned, cx.rng("backoff"))
        };
        // A trimmed peer has been given a later time already.
        found.next_dial = found.next_dial.max(now + wait);
        found.next_dial_isolated = now + wait.min(backoff::reconnect(pinned, cx.rng("backoff")));
        self.tell_count(cx);
        self.schedule_round(cx, Duration::ZERO);
    }

    pub(super) fn on_dial_failed(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, reason: &str) {
        let (now, unix) = (cx.now(), cx.unix().0);
        let Some(found) = self.book.get(peer).filter(|found| found.session.is_none()) else { return };
        tracing::debug!(%peer, reason, failures = found.record.dial_failures + 1, "dial failed");
        self.book.set_dialling(peer, None);
        let Some(found) = self.book.change(peer) else { return };
        // Only the time since the last failed dial is known to be time that it was away: this node may have been off.
        if found.record.was_seen() && found.record.dial_failures > 0 {
            let step = backoff::step(found.record.dial_failures, found.is_pinned());
            found.record.presence.offline(step.as_secs_f64(), unix);
        }
        found.record.dial_failures = found.record.dial_failures.saturating_add(1);
        let wait = backoff::jittered(backoff::step(found.record.dial_failures, found.is_pinned()), cx.rng("backoff"));
        found.next_dial = now + wait;
        found.record.next_dial_unix = unix.saturating_add(wait.as_secs());
        found.next_dial_isolated = now + wait.min(backoff::jittered(backoff::LONGEST_ISOLATED, cx.rng("backoff")));
        self.schedule_round(cx, Duration::ZERO);
    }

    pub(super) fn on_discovered(
        &mut self,
        cx: &mut Cx<'_, Self>,
        peer: PeerId,
        addresses: Vec<Address>,
        source: Source,
    ) {
        let (now, unix) = (cx.now(), cx.unix());
        if peer == self.me || !self.config.allows(peer) {
            return;
        }
        let Some(found) = self.book.enter(peer, now, unix, cx.rng("evict")) else { return };
        // The routing table is anybody's word, and a stranger's word about itself is no better: neither may make this
        // node knock at the doors of its own network.
        let narrowest = match source {
            Source::Dht => Scope::Public,
            Source::Identify => found.session.as_ref().and_then(|s| s.address.as_ref()).map_or(Scope::Loopback, scope),
            Source::Mdns => Scope::Loopback,
        };
        let news = found.record.hear(addresses.into_iter().filter(|address| scope(address) >= narrowest));
        if found.session.is_none() && (news || source == Source::Mdns) {
            let soon = now + backoff::jittered(ANNOUNCED, cx.rng("backoff"));
            let patience = backoff::jittered(backoff::LONGEST_ISOLATED, cx.rng("backoff"));
            // Announcements repeat: a peer that just failed is not dialled again at every one of them.
            let recently = found.record.dial_failures > 0 && found.next_dial_isolated > now;
            found.next_dial = found.next_dial.min(if recently { now + patience } else { soon });
            self.schedule_round(cx, ANNOUNCED);
        }
    }

    pub(super) fn on_rtt(&mut self, peer: PeerId, rtt: Duration) {
        let Some(found) = self.book.change(peer) else { return };
        let sample = rtt.as_secs_f64() * 1e6;
        match &mut found.record.rtt {
            Some(rtt) => rtt.add(sample),
            none => *none = Some(Rtt::new(sample)),
        }
    }

    pub(super) fn on_listening(&mut self, address: Address, listening: bool) {
        let changed = if listening { self.listening.insert(address) } else { self.listening.remove(&address) };
        if changed {
            self.own = None;
        }
    }

    /// Ends a session from this side; `Disconnected` follows from the network.
    pub(super) fn drop_session(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId) {
        if self.book.get(peer).is_some_and(|found| found.session.is_some() || found.dialling.is_some()) {
            cx.emit(Out::Net(net::Command::Hangup { peer }));
        }
    }
}
