//! How many shards, how many of them parity, and how many of a stripe one holder may have.
//!
//! With c shards of a stripe at each holder, the loss of any floor(m / c) holders leaves at least k shards. The put
//! of a user who did not choose must survive the loss of any one holder, so c ≤ m always, or it is refused.

use crate::api::Redundancy;
use pangea_protocols::{
    job::{ErrorKind, JobError},
    manifest::SHARDS_MAX,
};

/// Shards per stripe when the user does not choose.
pub const AUTO_SHARDS: usize = 20;
/// Least parity when the user does not choose.
const AUTO_PARITY_MIN: usize = 4;
/// Copies of a manifest block: never fewer while there are holders for them.
const COPIES_MIN: usize = 3;
/// Never more.
const COPIES_MAX: usize = 8;

/// The code of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// Data shards.
    pub k: usize,
    /// Parity shards.
    pub m: usize,
    /// Shards of one stripe that one holder gets while all is well.
    pub cap: usize,
}

impl Code {
    /// Chooses for `peers` holders.
    ///
    /// A fixed code is taken as it is if `m` is 0 (the user wants none to be lost) or there is only one peer (there is
    /// nothing to choose). Otherwise it must survive the loss of one holder.
    ///
    /// # Errors
    /// `Unreachable` without peers, or with one peer and no fixed code; `Usage` for a code that is impossible, or that
    /// the loss of one holder would break.
    pub fn choose(redundancy: Redundancy, peers: usize) -> Result<Self, JobError> {
        if peers == 0 {
            return Err(JobError::new(ErrorKind::Unreachable, NO_PEERS));
        }
        match redundancy {
            Redundancy::Auto if peers == 1 => Err(JobError::new(ErrorKind::Unreachable, ONE_PEER)),
            Redundancy::Auto => {
                // Also when one is lost while the put runs, the others must be able to take its shards and still bear
                // the loss of one of them. Two peers cannot: one alone never bears a loss.
                let cap = AUTO_SHARDS.div_ceil(peers);
                let m = AUTO_SHARDS.div_ceil((peers - 1).max(2)).max(AUTO_PARITY_MIN);
                Ok(Self { k: AUTO_SHARDS - m, m, cap })
            }
            Redundancy::Fixed { k, m } => Self::fixed(usize::from(k), usize::from(m), peers),
        }
    }

    /// Holders worth asking for: more than one per shard would be idle.
    ///
    /// # Errors
    /// `Usage` for a fixed code that no number of peers makes possible.
    pub fn holders_wanted(redundancy: Redundancy) -> Result<usize, JobError> {
        match redundancy {
            Redundancy::Auto => Ok(AUTO_SHARDS),
            Redundancy::Fixed { k, m } => {
                let shards = usize::from(k) + usize::from(m);
                if k == 0 || shards > SHARDS_MAX {
                    let text = format!("--data must be at least 1 and --data plus --parity at most {SHARDS_MAX}");
                    return Err(JobError::new(ErrorKind::Usage, text));
                }
                Ok(shards)
            }
        }
    }

    fn fixed(k: usize, m: usize, peers: usize) -> Result<Self, JobError> {
        let shards = k + m;
        let cap = shards.div_ceil(peers.min(shards));
        if cap > m && m > 0 && peers > 1 {
            let text = format!(
                "{k} data and {m} parity shards on {peers} peers put {cap} shards of a stripe on one peer, so losing \
                 one would lose data: connect {} peers, or use at least --parity {}",
                shards.div_ceil(m),
                k.div_ceil(peers - 1)
            );
            return Err(JobError::new(ErrorKind::Usage, text));
        }
        Ok(Self { k, m, cap })
    }

    /// Shards per stripe.
    pub fn shards(&self) -> usize {
        self.k + self.m
    }

    /// Receipts beyond k that make a stripe safe enough to go on without the rest.
    pub fn happy(&self) -> usize {
        self.m.div_ceil(2)
    }

    /// True if the code promises to survive the loss of any one holder.
    pub fn survives_one(&self) -> bool {
        self.cap <= self.m
    }

    /// Shards of one stripe that one holder may have when there are not enough holders for `cap`: as many as may be
    /// lost.
    pub fn cap_relaxed(&self) -> usize {
        if self.survives_one() { self.m } else { self.shards() }
    }

    /// Copies of a manifest block.
    pub fn copies(&self, holders: usize) -> usize {
        (self.m + 1).clamp(COPIES_MIN, COPIES_MAX).min(holders)
    }

    /// Copies without which the put is not done: two if a holder may be lost, and never all of three or more, so that
    /// the loss of one holder while it runs does not end it.
    pub fn copies_needed(&self, copies: usize) -> usize {
        let all_but_one = copies.saturating_sub(1).max(2);
        self.happy().max(if self.m > 0 { 2 } else { 1 }).min(all_but_one).min(copies).max(1)
    }

    /// Bytes of the shards of the largest stripe: a full frame that does not compress, and a 16-byte tag.
    pub fn stripe_bytes_max(&self) -> usize {
        (pangea_protocols::manifest::FRAME_BYTES + 16).div_ceil(self.k).next_multiple_of(64) * self.shards()
    }
}

const NO_PEERS: &str = "no peers that accept shards: connect to some (`pangea peers add`, or wait for discovery) and \
                        check with `pangea peers` that they offer space";
const ONE_PEER: &str = "only one peer accepts shards, so nothing would survive its loss: connect more peers, or say \
                        with --data and --parity that one holder is enough";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_survives_the_loss_of_any_holder_for_every_number_of_peers() {
        for peers in 2..=60 {
            let code = Code::choose(Redundancy::Auto, peers).unwrap();
            assert_eq!(code.shards(), 20);
            assert!(code.m >= 4 && code.cap <= code.m && code.cap * peers >= 20, "{peers}: {code:?}");
            // The loss of one during the put is made good by the rest.
            assert!(peers == 2 || code.cap_relaxed() * (peers - 1) >= 20, "{peers}: {code:?}");
        }
        assert_eq!(Code::choose(Redundancy::Auto, 2).unwrap(), Code { k: 10, m: 10, cap: 10 });
        assert_eq!(Code::choose(Redundancy::Auto, 3).unwrap(), Code { k: 10, m: 10, cap: 7 });
        assert_eq!(Code::choose(Redundancy::Auto, 5).unwrap(), Code { k: 15, m: 5, cap: 4 });
        assert_eq!(Code::choose(Redundancy::Auto, 20).unwrap(), Code { k: 16, m: 4, cap: 1 });
    }

    #[test]
    fn too_few_peers_are_refused_with_what_to_do() {
        let none = Code::choose(Redundancy::Auto, 0).unwrap_err();
        assert_eq!(none.kind, ErrorKind::Unreachable);
        let one = Code::choose(Redundancy::Auto, 1).unwrap_err();
        assert!(one.message.contains("--data and --parity"));
        assert_eq!(Code::choose(Redundancy::Fixed { k: 4, m: 2 }, 1).unwrap().cap, 6);
    }

    #[test]
    fn a_fixed_code_that_one_loss_would_break_is_refused_unless_it_has_no_parity() {
        let refused = Code::choose(Redundancy::Fixed { k: 16, m: 4 }, 4).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Usage);
        assert!(refused.message.contains("connect 5 peers") && refused.message.contains("--parity 6"), "{refused}");
        assert!(Code::choose(Redundancy::Fixed { k: 16, m: 4 }, 5).is_ok());
        assert!(Code::choose(Redundancy::Fixed { k: 16, m: 6 }, 4).is_ok());
        assert_eq!(Code::choose(Redundancy::Fixed { k: 4, m: 0 }, 3).unwrap(), Code { k: 4, m: 0, cap: 2 });
        assert!(Code::holders_wanted(Redundancy::Fixed { k: 0, m: 4 }).is_err());
        assert!(Code::holders_wanted(Redundancy::Fixed { k: 200, m: 56 }).is_err());
    }

    #[test]
    fn the_advice_of_the_refusal_is_sound_for_every_code() {
        for peers in 2usize..12 {
            for (k, m) in (1u8..30).flat_map(|k| (1u8..12).map(move |m| (k, m))) {
                if Code::choose(Redundancy::Fixed { k, m }, peers).is_err() {
                    let enough = (usize::from(k) + usize::from(m)).div_ceil(usize::from(m));
                    assert!(Code::choose(Redundancy::Fixed { k, m }, enough).is_ok(), "{k}+{m} on {enough}");
                    let parity = u8::try_from(usize::from(k).div_ceil(peers - 1)).unwrap();
                    assert!(Code::choose(Redundancy::Fixed { k, m: parity }, peers).is_ok(), "{k}+{parity} on {peers}");
                }
            }
        }
    }
}
