//! A peer's state, and the rules that change it.
//!
//! ```text
//! New ─► Vetting ─► Good ◄─► Suspect        evidence moves a peer along this line, both ways
//!            ▲        │         │
//!            │        ▼         ▼
//!            └── Quarantined ─► Banned      a bad proof leads here; time (or the user) leads out
//! ```
//!
//! Every change is logged with its reason and kept in the record: a peer whose score drops can be told why.

use crate::{estimate::wilson_lower, record::Record};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What this node thinks of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// Never connected.
    New,
    /// Connected; too little evidence.
    Vetting,
    /// Has proven itself.
    Good,
    /// Loses shards, does not answer, or breaks rules: read from, never placed on.
    Suspect,
    /// Gave provably bad data: neither.
    Quarantined,
    /// Refused.
    Banned,
}

impl State {
    /// Its name, as the user sees it.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Vetting => "vetting",
            Self::Good => "good",
            Self::Suspect => "suspect",
            Self::Quarantined => "quarantined",
            Self::Banned => "banned",
        }
    }

    /// May a peer in this state be given shards?
    pub fn may_hold(self) -> bool {
        matches!(self, Self::New | Self::Vetting | Self::Good)
    }

    /// Does this node store for a peer in this state?
    pub fn is_served(self) -> bool {
        !matches!(self, Self::Quarantined | Self::Banned)
    }
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// Seconds since 1970.
    pub at_unix: u64,
    /// Before.
    pub from: State,
    /// After.
    pub to: State,
    /// Why.
    pub reason: Arc<str>,
}

/// Most transitions that are kept of a peer.
pub const HISTORY_MAX: usize = 8;
/// Longest reason, in characters.
pub const REASON_CHARS_MAX: usize = 200;
/// Below this lower confidence bound on "still has what it signed for", a peer gets no new shards.
pub const AUDIT_BOUND_MIN: f64 = 0.96;
/// Verified shards and receipts that make a peer good.
pub const EVIDENCE: u64 = 20;
/// Lost shards are forgotten with this half-life: a peer that lost a disk has a second chance after some weeks.
pub const AUDIT_HALF_LIFE_S: u64 = 14 * 86_400;
/// Unanswered requests are forgotten with this half-life.
pub const REQUEST_HALF_LIFE_S: u64 = 3600;
/// Broken rules are forgotten with this half-life.
pub const VIOLATION_HALF_LIFE_S: u64 = 3600;
/// Broken rules that make a peer suspect, and those that quarantine it.
pub const VIOLATIONS: (f64, f64) = (4.0, 16.0);
/// First quarantine; doubles with every further one.
pub const QUARANTINE_S: u64 = 86_400;
/// A third bad proof bans for this long.
pub const BAN_S: u64 = 30 * 86_400;

/// True if what a peer has lost bars it from new shards. Peers without a loss pass, whatever little is known of them.
pub fn fails_audits(record: &Record, now_unix: u64) -> bool {
    let (kept, lost) = record.audits.at(now_unix, AUDIT_HALF_LIFE_S);
    lost >= 0.5 && wilson_lower(kept, lost) < AUDIT_BOUND_MIN
}

/// Changes the state; the reason is logged and kept. True if the state is another one now.
pub fn set(record: &mut Record, to: State, reason: &str, until_unix: Option<u64>, now_unix: u64) -> bool {
    let reason: String = reason.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect();
    let reason: Arc<str> = reason.into();
    let from = std::mem::replace(&mut record.state, to);
    record.until_unix = until_unix;
    record.reason = Arc::clone(&reason);
    if from == to {
        return false;
    }
    if to > State::Good {
        tracing::warn!(peer = %record.peer, from = from.name(), to = to.name(), %reason, "peer state changed");
    } else {
        tracing::info!(peer = %record.peer, from = from.name(), to = to.name(), %reason, "peer state changed");
    }
    if record.history.len() >= HISTORY_MAX {
        record.history.remove(0);
    }
    record.history.reserve_exact(1);
    record.history.push(Transition { at_unix: now_unix, from, to, reason });
    true
}

/// Provable misconduct: quarantined for a day, then two; banned the third time.
pub fn quarantine(record: &mut Record, reason: &str, now_unix: u64) -> bool {
    if record.state == State::Banned {
        return false;
    }
    record.quarantines = record.quarantines.saturating_add(1);
    if record.quarantines >= 3 {
        let reason = format!("{reason}, for the {} time", ordinal(record.quarantines));
        return set(record, State::Banned, &reason, Some(now_unix + BAN_S), now_unix);
    }
    let length = QUARANTINE_S << (record.quarantines - 1);
    set(record, State::Quarantined, reason, Some(now_unix + length), now_unix)
}

/// Reconsiders the state in the light of the evidence. True if it changed.
pub fn assess(record: &mut Record, now_unix: u64) -> bool {
    let over = record.until_unix.is_some_and(|until| until <= now_unix);
    match record.state {
        State::Banned | State::Quarantined if !over => return false,
        State::Banned | State::Quarantined => {
            let reason = format!("{} has ended", record.state.name());
            return set(record, seen_state(record), &reason, None, now_unix);
        }
        _ => {}
    }
    let (to, reason) = verdict(record, now_unix);
    if to == State::Quarantined {
        // A rude peer is not a lying one: an hour, and it does not count towards a ban.
        return set(record, to, &reason, Some(now_unix + 3600), now_unix);
    }
    to != record.state && set(record, to, &reason, None, now_unix)
}

/// The state of a peer of whom nothing bad is held any longer.
pub fn seen_state(record: &Record) -> State {
    if record.was_seen() { State::Vetting } else { State::New }
}

fn verdict(record: &Record, now_unix: u64) -> (State, String) {
    let violations = record.violations.at(now_unix, VIOLATION_HALF_LIFE_S);
    let (answered, unanswered) = record.requests.at(now_unix, REQUEST_HALF_LIFE_S);
    // Leaving a state asks for more than staying out of it did, or a peer at the edge would flap.
    let suspect = record.state == State::Suspect;
    let (rude, silent) = if suspect { (VIOLATIONS.0 / 2.0, 0.7) } else { (VIOLATIONS.0, 0.5) };
    if violations >= VIOLATIONS.1 {
        return (State::Quarantined, format!("broke {violations:.0} rules of its protocols within hours"));
    }
    if fails_audits(record, now_unix) {
        let (_, lost) = record.audits.at(now_unix, AUDIT_HALF_LIFE_S);
        return (State::Suspect, format!("lost {lost:.0} of the shards it signed for"));
    }
    if violations >= rude {
        return (State::Suspect, format!("broke {violations:.0} rules of its protocols within hours"));
    }
    if answered + unanswered >= 10.0 && answered < silent * (answered + unanswered) {
        return (State::Suspect, format!("left {unanswered:.0} of {:.0} requests unanswered", answered + unanswered));
    }
    match (record.verified >= EVIDENCE, record.was_seen()) {
        (true, _) => (State::Good, format!("{} shards and receipts verified", record.verified)),
        (false, true) => (State::Vetting, format!("connected; {} of {EVIDENCE} proofs", record.verified)),
        (false, false) => (State::New, "never connected".to_owned()),
    }
}

fn ordinal(n: u32) -> String {
    match n {
        3 => "third".to_owned(),
        _ => format!("{n}th"),
    }
}

/// A record in a state that the user decided.
pub fn ban_by_user(record: &mut Record, reason: &str, now_unix: u64) {
    record.banned_by_user = true;
    set(record, State::Banned, reason, None, now_unix);
}

/// The user has changed their mind.
pub fn unban(record: &mut Record, now_unix: u64) {
    record.banned_by_user = false;
    let state = seen_state(record);
    set(record, state, "unbanned by the user", None, now_unix);
}

/// An empty record for tests of the rules.
#[cfg(test)]
pub(crate) fn seen(peer: u8, now_unix: u64) -> Record {
    let mut record = Record::new(pangea_protocols::PeerId([peer; 32]), now_unix);
    record.last_seen_unix = now_unix;
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn after(change: impl Fn(&mut Record)) -> State {
        let mut record = seen(1, NOW);
        change(&mut record);
        assess(&mut record, NOW);
        record.state
    }

    fn audits(record: &mut Record, kept: u32, lost: u32) {
        (0..kept).for_each(|_| record.audits.count(true, NOW, AUDIT_HALF_LIFE_S));
        (0..lost).for_each(|_| record.audits.count(false, NOW, AUDIT_HALF_LIFE_S));
    }

    #[test]
    fn evidence_decides_the_state() {
        type Change = fn(&mut Record);
        let table: [(&str, State, Change); 9] = [
            ("nothing but a connection", State::Vetting, |_| {}),
            ("never connected", State::New, |r| r.last_seen_unix = 0),
            ("twenty proofs", State::Good, |r| r.verified = 20),
            ("one loss of ten", State::Suspect, |r| audits(r, 9, 1)),
            ("one loss of a thousand", State::Vetting, |r| audits(r, 999, 1)),
            ("three rude frames", State::Vetting, |r| r.violations.add(3.0, NOW, VIOLATION_HALF_LIFE_S)),
            ("four rude frames", State::Suspect, |r| r.violations.add(4.0, NOW, VIOLATION_HALF_LIFE_S)),
            ("a flood of them", State::Quarantined, |r| r.violations.add(16.0, NOW, VIOLATION_HALF_LIFE_S)),
            ("silence", State::Suspect, |r| {
                (0..10).for_each(|_| r.requests.count(false, NOW, REQUEST_HALF_LIFE_S));
            }),
        ];
        for (what, expected, change) in table {
            assert_eq!(after(change), expected, "{what}");
        }
    }

    #[test]
    fn the_third_bad_proof_bans_and_every_step_keeps_its_reason() {
        let mut record = seen(1, NOW);
        let mut now = NOW;
        for expected in [State::Quarantined, State::Quarantined, State::Banned] {
            assert!(quarantine(&mut record, "a shard did not verify", now));
            assert_eq!(record.state, expected);
            now = record.until_unix.unwrap();
            assert!(!assess(&mut record, now - 1), "not a second early");
            assert!(assess(&mut record, now));
            assert_eq!(record.state, State::Vetting);
        }
        assert_eq!(now, NOW + QUARANTINE_S + 2 * QUARANTINE_S + BAN_S);
        assert_eq!(record.history.len(), 6);
        assert!(record.history.iter().all(|step| !step.reason.is_empty()));
    }

    #[test]
    fn a_ban_by_the_user_never_expires_and_conduct_cannot_soften_it() {
        let mut record = seen(1, NOW);
        ban_by_user(&mut record, "spam\u{7}", NOW);
        assert!(!quarantine(&mut record, "bad", NOW));
        assert!(!assess(&mut record, u64::MAX));
        assert_eq!((record.state, &*record.reason), (State::Banned, "spam"));
        unban(&mut record, NOW);
        assert_eq!(record.state, State::Vetting);
    }

    #[test]
    fn a_peer_that_lost_a_shard_has_a_second_chance() {
        let mut record = seen(1, NOW);
        audits(&mut record, 9, 1);
        assess(&mut record, NOW);
        assert_eq!(record.state, State::Suspect);
        assert!(assess(&mut record, NOW + AUDIT_HALF_LIFE_S + 86_400));
        assert_eq!(record.state, State::Vetting);
    }
}
