//! Small statistics: counters that forget, a confidence bound, quantiles and moving averages.
//!
//! Only additions, multiplications, divisions and square roots are used: IEEE 754 defines them exactly, so two
//! machines that replay the same events get the same bits.

use serde::{Deserialize, Serialize};

/// A sum whose weight halves every half-life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decaying {
    value: f64,
    at_unix: u64,
}

impl Decaying {
    /// The value at `now_unix`. Between whole half-lives it falls linearly.
    pub fn at(&self, now_unix: u64, half_life_s: u64) -> f64 {
        let age = now_unix.saturating_sub(self.at_unix);
        let halvings = age / half_life_s.max(1);
        if halvings > 60 {
            return 0.0;
        }
        let rest = (age % half_life_s.max(1)) as f64 / half_life_s.max(1) as f64;
        self.value / (1u64 << halvings) as f64 * (1.0 - rest / 2.0)
    }

    /// Adds `amount` at `now_unix`.
    pub fn add(&mut self, amount: f64, now_unix: u64, half_life_s: u64) {
        self.value = self.at(now_unix, half_life_s) + amount;
        self.at_unix = self.at_unix.max(now_unix);
    }
}

/// Successes and failures of one kind (the parameters of a Beta distribution, without a prior).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Beta {
    good: Decaying,
    bad: Decaying,
}

/// 95% one-sided.
const Z: f64 = 1.645;

impl Beta {
    /// Counts one event.
    pub fn count(&mut self, success: bool, now_unix: u64, half_life_s: u64) {
        let side = if success { &mut self.good } else { &mut self.bad };
        side.add(1.0, now_unix, half_life_s);
    }

    /// Successes and failures, as they weigh now.
    pub fn at(&self, now_unix: u64, half_life_s: u64) -> (f64, f64) {
        (self.good.at(now_unix, half_life_s), self.bad.at(now_unix, half_life_s))
    }
}

/// Lower end of the 95% one-sided Wilson score interval for a share of successes; 0 without events.
/// E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
pub fn wilson_lower(good: f64, bad: f64) -> f64 {
    let n = good + bad;
    if n <= 0.0 {
        return 0.0;
    }
    let (p, zz) = (good / n, Z * Z);
    let spread = Z * (p * (1.0 - p) / n + zz / (4.0 * n * n)).sqrt();
    ((p + zz / (2.0 * n) - spread) / (1.0 + zz / n)).clamp(0.0, 1.0)
}

/// A running median and 95th percentile of durations, in microseconds: each sample moves the estimate by a share of
/// itself, up with weight q and down with weight 1 − q ("frugal streaming", Ma, Muthukrishnan and Sandler 2013).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rtt {
    /// About half of the samples are below, in microseconds.
    pub p50_us: f64,
    /// About 95% of the samples are below, in microseconds.
    pub p95_us: f64,
}

const RTT_STEP: f64 = 0.1;

impl Rtt {
    /// From the first sample.
    pub fn new(sample_us: f64) -> Self {
        let sample = sample_us.max(1.0);
        Self { p50_us: sample, p95_us: sample }
    }

    /// Takes another sample.
    pub fn add(&mut self, sample_us: f64) {
        let step = |estimate: f64, quantile: f64| {
            if sample_us > estimate {
                (estimate * (1.0 + RTT_STEP * quantile)).min(sample_us)
            } else {
                (estimate / (1.0 + RTT_STEP * (1.0 - quantile))).max(sample_us.max(1.0))
            }
        };
        (self.p50_us, self.p95_us) = (step(self.p50_us, 0.5), step(self.p95_us, 0.95));
    }
}

/// Goodput in bytes per second, as two exponentially weighted moving averages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Goodput {
    /// Follows the last few transfers; 0 if there were none.
    pub fast: f64,
    /// Follows the last hundred.
    pub slow: f64,
}

const FAST: f64 = 0.3;
const SLOW: f64 = 0.03;

impl Goodput {
    /// Takes a sample.
    pub fn add(&mut self, bytes_per_s: f64) {
        if !bytes_per_s.is_finite() || bytes_per_s <= 0.0 {
            return;
        }
        let mix = |old: f64, share: f64| if old == 0.0 { bytes_per_s } else { old + share * (bytes_per_s - old) };
        (self.fast, self.slow) = (mix(self.fast, FAST), mix(self.slow, SLOW));
    }
}

/// How long a peer was there, of the time this node knows about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Presence {
    online_s: Decaying,
    offline_s: Decaying,
}

const PRESENCE_HALF_LIFE_S: u64 = 30 * 86_400;
/// A newcomer starts as if it had been there for half of this time.
const PRESENCE_PRIOR_S: f64 = 2.0 * 3600.0;

impl Presence {
    /// It was there for `seconds`.
    pub fn online(&mut self, seconds: f64, now_unix: u64) {
        self.online_s.add(seconds, now_unix, PRESENCE_HALF_LIFE_S);
    }

    /// It could not be reached for `seconds`.
    pub fn offline(&mut self, seconds: f64, now_unix: u64) {
        self.offline_s.add(seconds, now_unix, PRESENCE_HALF_LIFE_S);
    }

    /// The share of time it was there, 0 to 1; `current_s` is the length of a session that is still open.
    pub fn share(&self, current_s: f64, now_unix: u64) -> f64 {
        let online = self.online_s.at(now_unix, PRESENCE_HALF_LIFE_S) + current_s;
        let offline = self.offline_s.at(now_unix, PRESENCE_HALF_LIFE_S);
        (online + PRESENCE_PRIOR_S / 2.0) / (online + offline + PRESENCE_PRIOR_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_counter_halves_every_half_life_and_ends_at_zero() {
        let mut counter = Decaying::default();
        counter.add(8.0, 1000, 100);
        let seen: Vec<f64> = [1000, 1050, 1100, 1200, 1300].iter().map(|at| counter.at(*at, 100)).collect();
        assert_eq!(seen, [8.0, 6.0, 4.0, 2.0, 1.0]);
        assert_eq!(counter.at(u64::MAX, 100), 0.0);
    }

    #[test]
    fn the_confidence_bound_equals_the_published_formula() {
        for (good, bad, expected) in [(0.0, 0.0, 0.0), (4.0, 0.0, 0.5965), (200.0, 1.0, 0.9784), (100.0, 1.0, 0.9577)] {
            let bound = wilson_lower(good, bad);
            assert!((bound - expected).abs() < 0.001, "{good}/{bad}: {bound}");
        }
    }

    #[test]
    fn quantiles_settle_where_the_samples_are() {
        let mut rtt = Rtt::new(90_000.0);
        for n in 0..4000u32 {
            rtt.add(f64::from(10_000 + n * 7919 % 1000 * 20));
        }
        assert!((14_000.0..26_000.0).contains(&rtt.p50_us), "{rtt:?}");
        assert!((25_000.0..31_000.0).contains(&rtt.p95_us), "{rtt:?}");
    }

    proptest! {
        #[test]
        fn the_bound_is_below_the_share_and_grows_with_evidence(good in 1.0..1e6f64, bad in 0.0..1e6f64) {
            let bound = wilson_lower(good, bad);
            prop_assert!(bound <= good / (good + bad) + 1e-9);
            prop_assert!(wilson_lower(good * 2.0, bad * 2.0) >= bound - 1e-9);
        }
    }
}
