//! Score = gates × quality.
//!
//! A gate cannot be bought off by quality: a fast peer that gave one provably bad shard scores 0. Quality is
//! 0.35 × audits + 0.25 × uptime + 0.25 × goodput rank + 0.15 × (1 − latency rank), each 0 to 1. Ranks are among the
//! peers that are connected, so that no unit and no threshold has to be tuned; what is unknown ranks in the middle.

use crate::{
    estimate::wilson_lower,
    record::Record,
    standing::{AUDIT_HALF_LIFE_S, State},
};

/// Audits that a newcomer is given on credit: its bound starts at 0.6 instead of 0, and grows with proofs.
const AUDIT_CREDIT: f64 = 4.0;

/// What ranks are taken among.
#[derive(Clone, Debug, Default)]
pub struct Field {
    goodput: Vec<f64>,
    rtt_us: Vec<f64>,
}

impl Field {
    /// Of the records of the peers that are connected.
    pub fn of<'a>(records: impl Iterator<Item = &'a Record>) -> Self {
        let mut field = Self::default();
        for record in records {
            field.goodput.extend(Some(record.down.fast.max(record.up.fast)).filter(|rate| *rate > 0.0));
            field.rtt_us.extend(record.rtt.map(|rtt| rtt.p50_us));
        }
        field.goodput.sort_by(f64::total_cmp);
        field.rtt_us.sort_by(f64::total_cmp);
        field
    }
}

/// 0 to 1; `online_s` is the length of the present session.
pub fn score(record: &Record, field: &Field, online_s: f64, now_unix: u64) -> f64 {
    gate(record.state) * quality(record, field, online_s, now_unix)
}

/// 1: placed on and read from. A quarter: read from if there is no other. 0: neither.
pub fn gate(state: State) -> f64 {
    match state {
        State::New | State::Vetting | State::Good => 1.0,
        State::Suspect => 0.25,
        State::Quarantined | State::Banned => 0.0,
    }
}

fn quality(record: &Record, field: &Field, online_s: f64, now_unix: u64) -> f64 {
    let (kept, lost) = record.audits.at(now_unix, AUDIT_HALF_LIFE_S);
    let audits = wilson_lower(kept + AUDIT_CREDIT, lost);
    let uptime = record.presence.share(online_s, now_unix);
    let goodput = rank(&field.goodput, Some(record.down.fast.max(record.up.fast)).filter(|rate| *rate > 0.0));
    let latency = rank(&field.rtt_us, record.rtt.map(|rtt| rtt.p50_us));
    0.35 * audits + 0.25 * uptime + 0.25 * goodput + 0.15 * (1.0 - latency)
}

/// The share of `sorted` below `value`, equals counting half.
fn rank(sorted: &[f64], value: Option<f64>) -> f64 {
    let Some(value) = value.filter(|_| !sorted.is_empty()) else { return 0.5 };
    let below = sorted.partition_point(|other| *other < value);
    let not_above = sorted.partition_point(|other| *other <= value);
    (below + not_above) as f64 / (2 * sorted.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{estimate::Rtt, standing::seen};
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn no_quality_opens_a_closed_gate() {
        let mut record = seen(1, NOW);
        (0..1000).for_each(|_| record.audits.count(true, NOW, AUDIT_HALF_LIFE_S));
        record.down.add(1e9);
        let field = Field::of([&record].into_iter());
        for (state, open) in [(State::Good, true), (State::Quarantined, false), (State::Banned, false)] {
            record.state = state;
            assert_eq!(score(&record, &field, 1e6, NOW) > 0.0, open, "{state:?}");
        }
    }

    #[test]
    fn faster_nearer_and_longer_there_is_better() {
        let mut records: Vec<_> = (0..4).map(|n| seen(n, NOW)).collect();
        records[1].down.add(5e6);
        records[2].down.add(1e6);
        records[1].rtt = Some(Rtt::new(5_000.0));
        records[2].rtt = Some(Rtt::new(90_000.0));
        records[3].presence.offline(86_400.0, NOW);
        let field = Field::of(records.iter());
        let scores: Vec<f64> = records.iter().map(|record| score(record, &field, 0.0, NOW)).collect();
        assert!(scores[1] > scores[0] && scores[0] > scores[2] && scores[0] > scores[3], "{scores:?}");
    }

    proptest! {
        #[test]
        fn a_score_is_between_zero_and_one(kept in 0..50u32, lost in 0..50u32, rate in 0.0..1e12f64, online in 0.0..1e9f64) {
            let mut record = seen(1, NOW);
            (0..kept).for_each(|_| record.audits.count(true, NOW, AUDIT_HALF_LIFE_S));
            (0..lost).for_each(|_| record.audits.count(false, NOW, AUDIT_HALF_LIFE_S));
            record.down.add(rate);
            let score = score(&record, &Field::of([&record].into_iter()), online, NOW);
            prop_assert!((0.0..=1.0).contains(&score));
        }
    }
}
