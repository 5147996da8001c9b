//! Peer exchange: whom others know, and this node's own record.
//!
//! A record is believed about where its signer says it is, and nothing else. It is checked for its date before its
//! signature is (which costs about 50 µs), and its addresses are hearsay until this node has dialled them.

use super::PeerManager;
use crate::{
    api::Out,
    book::Peer,
    domain::{Scope, is_dialable, scope},
    standing::State,
};
use pangea_kernel::Cx;
use pangea_protocols::{
    Address, PeerId,
    net::{self, Class},
    wire::{
        Frame, Message,
        pex::{ADDRESSES_MAX, PeerRecord, Pex, RECORDS_MAX},
    },
};
use std::time::Duration;

/// Peers are asked this often (± 25%), and this many at a time.
const EVERY: Duration = Duration::from_secs(180);
/// By a node that has fewer connections than it wants, this often.
const EVERY_LACKING: Duration = Duration::from_secs(45);
const ASKED: usize = 3;
/// The first peers of a node are asked when they are connected, these many at most, for this many records each: a few from
/// each of several are worth more than many from each of a few, since nobody's choice of whom to name weighs much then.
const FIRST: usize = 8;
const FIRST_RECORDS: usize = 16;
/// An answer after this time is unasked for.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);
/// A clock may be this much ahead.
const FUTURE_S: u64 = 600;
/// Older records are not believed.
const OLDEST_S: u64 = 14 * 86_400;
/// This node signs its own record anew after this time.
const RENEW_S: u64 = 3600;
/// Peers not seen for this time are not passed on.
const STALE_S: u64 = 86_400;

impl PeerManager {
    /// Asks some peers for others, if it is time.
    pub(super) fn exchange(&mut self, cx: &mut Cx<'_, Self>) {
        let now = cx.now();
        if now < self.next_exchange {
            return;
        }
        let every = if self.book.connected_len() < self.config.target { EVERY_LACKING } else { EVERY };
        self.next_exchange = now + crate::backoff::jittered(every, cx.rng("pex"));
        let mut peers: Vec<PeerId> = self.book.connected().map(|peer| peer.record.peer).collect();
        cx.rng("pex").sample(&mut peers, ASKED);
        for peer in peers {
            self.ask(cx, peer, RECORDS_MAX);
        }
    }

    /// A peer has just been connected. Beyond the first few, one that this node has dialled is told where this node is and
    /// asked for nothing, and one that has dialled this node knows: who calls in order to be believed is not asked.
    pub(super) fn greet(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, inbound: bool) {
        if self.book.connected_len() <= FIRST {
            self.ask(cx, peer, FIRST_RECORDS);
        } else if !inbound && let Some(own) = self.own_record(cx.unix().0) {
            self.send(cx, peer, Pex::Ask { max: 0, own: Some(own) });
        }
    }

    /// Asks one peer for at most `max` records, and tells it where this node is.
    fn ask(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, max: usize) {
        let now = cx.now();
        let own = self.own_record(cx.unix().0);
        if let Some(found) = self.book.touch(peer) {
            found.asked = Some(now);
        }
        self.send(cx, peer, Pex::Ask { max: max as u8, own });
    }

    pub(super) fn on_pex(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, frame: Frame) {
        let now = cx.now();
        if peer == self.me {
            return;
        }
        if self.guests.contains(peer) {
            return self.on_guest(cx, peer, frame.message);
        }
        let Message::Pex(message) = frame.message else {
            return self.on_violation(cx, peer, "a frame of another protocol came as peer exchange");
        };
        // Only connected peers send frames: after a restart of this actor, this is how it learns of them again.
        self.on_connected(cx, peer, None, true);
        let Some(found) = self.book.touch(peer).filter(|found| found.session.is_some()) else { return };
        if !found.allowance.take(now) {
            return self.on_violation(cx, peer, "too many peer exchange frames");
        }
        match message {
            Pex::Ask { max, own } => self.on_ask(cx, peer, max, own),
            Pex::Peers { records } => self.on_answer(cx, peer, records),
        }
    }

    pub(super) fn on_ask(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, max: u8, own: Option<PeerRecord>) {
        if let Some(record) = own {
            if record.peer != peer {
                return self.on_violation(cx, peer, "introduced itself with the record of another peer");
            }
            let narrowest = self.known_by(peer);
            if !self.believe(cx, peer, narrowest, record) {
                return;
            }
        }
        if max == 0 {
            return;
        }
        let unix = cx.unix().0;
        let fresh = |found: &&Peer| {
            let record = &found.record;
            let seen = found.session.is_some() || unix.saturating_sub(record.last_seen_unix) <= STALE_S;
            let good = matches!(record.state, State::Vetting | State::Good) && self.config.allows(record.peer);
            record.peer != peer && record.was_seen() && seen && good
        };
        let mut records: Vec<&PeerRecord> =
            self.book.iter().filter(fresh).filter_map(|found| found.record.signed.as_ref()).collect();
        let count = usize::from(max).min(RECORDS_MAX);
        cx.rng("pex").sample(&mut records, count);
        let mut records: Vec<PeerRecord> = records.into_iter().cloned().collect();
        // Who asks learns where this node is, and may pass it on.
        if let Some(own) = self.own_record(unix) {
            records.truncate(count - 1);
            records.push(own);
        }
        self.send(cx, peer, Pex::Peers { records });
    }

    fn on_answer(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, records: Vec<PeerRecord>) {
        let now = cx.now();
        let asked = self.book.touch(peer).and_then(|found| found.asked.take());
        if asked.is_none_or(|since| now.since(since) > ANSWER_PATIENCE) {
            return self.on_violation(cx, peer, "sent peers that it was not asked for");
        }
        if records.len() > RECORDS_MAX {
            return self.on_violation(cx, peer, "sent more peers than the protocol allows");
        }
        let narrowest = self.known_by(peer);
        for record in records {
            if !self.believe(cx, peer, narrowest, record) {
                return;
            }
        }
        self.schedule_round(cx, Duration::from_secs(1));
    }

    /// A peer on this machine may tell of this machine, one in this network of this network, others of the world.
    fn known_by(&self, from: PeerId) -> Scope {
        self.book.get(from).and_then(Peer::address).map_or(Scope::Public, scope)
    }

    /// Takes in a record that `from` sent, as far as its addresses reach as far as `narrowest`. False if it was forged: the
    /// rest of the message is not looked at.
    fn believe(&mut self, cx: &mut Cx<'_, Self>, from: PeerId, narrowest: Scope, record: PeerRecord) -> bool {
        let (now, unix) = (cx.now(), cx.unix());
        let peer = record.peer;
        let age = unix.0.saturating_sub(record.issued_unix);
        let known = self.book.get(peer).and_then(|found| found.record.signed.as_ref());
        let newer = known.is_none_or(|known| known.issued_unix < record.issued_unix);
        let dated = age <= OLDEST_S && record.issued_unix <= unix.0.saturating_add(FUTURE_S);
        if peer == self.me || !newer || !dated || !self.config.allows(peer) {
            return true;
        }
        if record.addresses.len() > ADDRESSES_MAX || !record.verify() {
            self.on_violation(cx, from, "sent a peer record with a wrong signature");
            return false;
        }
        let Some(found) = self.book.enter(peer, now, unix, cx.rng("evict")) else { return true };
        let addresses: Vec<Address> =
            record.addresses.iter().filter(|address| scope(address) >= narrowest).cloned().collect();
        found.record.hear(addresses.iter().cloned());
        found.record.signed = Some(record);
        let known = found.record.state.is_served() && !addresses.is_empty();
        if known {
            cx.emit(Out::Net(net::Command::Learn { peer, addresses }));
        }
        true
    }

    /// This node's record: the widest addresses first, since only eight fit. `None` while it listens nowhere.
    fn own_record(&mut self, unix: u64) -> Option<PeerRecord> {
        let fresh = self.own.as_ref().is_some_and(|own| unix.saturating_sub(own.issued_unix) < RENEW_S);
        if !fresh {
            let mut addresses: Vec<Address> =
                self.listening.iter().filter(|address| is_dialable(address)).cloned().collect();
            addresses.sort_by_key(|address| std::cmp::Reverse(scope(address)));
            self.own = (!addresses.is_empty()).then(|| PeerRecord::sign(&self.key, addresses, unix));
        }
        self.own.clone()
    }

    fn send(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, message: Pex) {
        self.tag += 1;
        let frame = Frame::bare(Message::Pex(message));
        cx.emit(Out::Net(net::Command::Send { peer, tag: self.tag, class: Class::Control, frame }));
    }
}
