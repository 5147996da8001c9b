//! Reports of other actors, the user's decisions, and what follows from a change of state.

use super::PeerManager;
use crate::{
    api::{Out, Report},
    standing::{self, AUDIT_HALF_LIFE_S, REQUEST_HALF_LIFE_S, State, VIOLATION_HALF_LIFE_S},
};
use pangea_kernel::{Cx, planted};
use pangea_protocols::PeerId;
use std::time::Duration;

/// After a transfer, a peer counts as busy for this time.
pub(super) const BUSY: Duration = Duration::from_secs(30);
/// After a refusal, a peer is offered last for this time.
const REFUSED: Duration = Duration::from_secs(60);
/// Shorter transfers measure the round trip, not the link.
const GOODPUT_BYTES_MIN: u64 = 16 << 10;

impl PeerManager {
    pub(super) fn on_report(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, report: Report) {
        let (now, unix) = (cx.now(), cx.unix());
        if peer == self.me {
            return;
        }
        if report == Report::Violation {
            return self.on_violation(cx, peer, "broke a rule of a protocol");
        }
        let Some(found) = self.book.enter(peer, now, unix, cx.rng("evict")) else { return };
        let (record, unix) = (&mut found.record, unix.0);
        let goodput = |bytes: u64, took: Duration| bytes as f64 / took.as_secs_f64().max(1e-6);
        match report {
            Report::Delivered { bytes, took } => {
                record.bytes_in = record.bytes_in.saturating_add(bytes);
                record.verified = record.verified.saturating_add(1);
                record.requests.count(true, unix, REQUEST_HALF_LIFE_S);
                record.validity.count(true, unix, AUDIT_HALF_LIFE_S);
                record.audits.count(true, unix, AUDIT_HALF_LIFE_S);
                if bytes >= GOODPUT_BYTES_MIN {
                    record.down.add(goodput(bytes, took));
                }
                found.busy_until = now + BUSY;
            }
            Report::Stored { bytes, took } => {
                record.bytes_out = record.bytes_out.saturating_add(bytes);
                record.verified = record.verified.saturating_add(1);
                record.requests.count(true, unix, REQUEST_HALF_LIFE_S);
                if bytes >= GOODPUT_BYTES_MIN {
                    record.up.add(goodput(bytes, took));
                }
                found.busy_until = now + BUSY;
            }
            Report::BadProof => {
                record.validity.count(false, unix, AUDIT_HALF_LIFE_S);
                if standing::quarantine(record, "a shard, receipt or result from it did not verify", unix) {
                    return self.follow(cx, peer);
                }
            }
            Report::Lost => record.audits.count(false, unix, AUDIT_HALF_LIFE_S),
            Report::TimedOut if planted!("timeout-quarantines") => {
                if standing::quarantine(record, "a request to it was not answered", unix) {
                    return self.follow(cx, peer);
                }
            }
            Report::TimedOut => record.requests.count(false, unix, REQUEST_HALF_LIFE_S),
            // To refuse is honest: it costs nothing but the place in the queue.
            Report::Refused => {
                record.refusals = record.refusals.saturating_add(1);
                found.refused_until = now + REFUSED;
            }
            Report::Violation => {}
        }
        self.reassess(cx, peer);
    }

    pub(super) fn on_violation(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, what: &str) {
        let (now, unix) = (cx.now(), cx.unix());
        if peer == self.me {
            return;
        }
        tracing::debug!(%peer, what, "violation");
        let Some(found) = self.book.enter(peer, now, unix, cx.rng("evict")) else { return };
        found.record.violations.add(1.0, unix.0, VIOLATION_HALF_LIFE_S);
        self.reassess(cx, peer);
    }

    pub(super) fn on_ban(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, reason: &str) {
        let (now, unix) = (cx.now(), cx.unix());
        if peer == self.me {
            return;
        }
        let Some(found) = self.book.enter(peer, now, unix, cx.rng("evict")) else {
            tracing::error!(%peer, "the peer database is full of pinned and banned peers: unban some");
            return;
        };
        standing::ban_by_user(&mut found.record, reason, unix.0);
        self.follow(cx, peer);
    }

    pub(super) fn on_unban(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId) {
        let (now, unix) = (cx.now(), cx.unix().0);
        let Some(found) = self.book.change(peer).filter(|found| found.record.state == State::Banned) else { return };
        standing::unban(&mut found.record, unix);
        (found.next_dial, found.next_dial_isolated) = (now, now);
        self.follow(cx, peer);
        self.schedule_round(cx, Duration::ZERO);
    }

    /// Reconsiders a peer's state and does what follows.
    pub(super) fn reassess(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId) {
        let unix = cx.unix().0;
        let Some(found) = self.book.touch(peer) else { return };
        let before = found.record.state.is_served();
        if standing::assess(&mut found.record, unix) {
            let after = found.record.state.is_served();
            self.book.change(peer);
            if before != after {
                self.follow(cx, peer);
            }
        }
    }

    /// What a state of consequence brings with it: the chunk store is told, a banned peer is hung up on, and the record
    /// is saved at once, so that a crash pardons nobody.
    fn follow(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId) {
        let Some(state) = self.book.get(peer).map(|found| found.record.state) else { return };
        cx.emit(Out::Allow { peer, allowed: state.is_served() && self.config.allows(peer) });
        if state == State::Banned {
            self.drop_session(cx, peer);
        }
        self.save_now(cx, peer);
    }
}
