//! Reed–Solomon over GF(2^16) in the layout of reed-solomon-16.
//!
//! There are two ways: the FFT of reed-solomon-simd, whose bytes equal reed-solomon-16's if shards are multiples of 64
//! bytes, and a cached matrix that was learned from it. The matrix is faster for few parity shards, because it reads
//! them where they are and needs no buffer of its own, and for few losses, because an FFT decode costs about 0.6 ms
//! however little was lost. The FFT does the rest, and all on processors without the vector instructions. Nothing is to
//! be done when all data shards are there. Not here: which shards are good (they were verified against the stripe's
//! root).

use crate::{
    dot::{Kernel, Plan},
    fft::Fft,
    frame::FrameError,
    matrix::{self, Code},
};
use std::collections::BTreeMap;

/// Up to this many k × lost coefficients recovery by a matrix is faster than by FFT.
const RECOVERY_COEFFICIENTS_MAX: usize = 192;
/// Erasure patterns that are remembered; holders that are away are away for all stripes of an object, so few occur.
/// When it is full all are forgotten.
const PLANS_MAX: usize = 64;
/// Codes (k, m) whose generator matrix is remembered; when it is full all are forgotten.
const CODES_MAX: usize = 8;

/// Bytes of one shard of `ciphertext` bytes over `k` shards: the least multiple of 64 that holds them.
pub fn shard_bytes(ciphertext: usize, k: usize) -> usize {
    ciphertext.div_ceil(k.max(1)).div_ceil(64) * 64
}

/// What a worker keeps: matrices, and the buffers of the FFT.
#[derive(Default)]
pub struct Erasure {
    fft: Fft,
    codes: BTreeMap<(usize, usize), Code>,
    plans: BTreeMap<Pattern, Plan>,
}

/// Which data shards are lost, and which parity shards replace them. If none is lost: the code itself, which makes
/// the parity of the data.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Pattern {
    k: usize,
    m: usize,
    lost: Vec<usize>,
    parity: Vec<usize>,
}

impl Erasure {
    /// Fills the last `m` of the k + m shards of `shard_len` bytes in `stripe`.
    ///
    /// # Errors
    /// [`FrameError::Code`] if k, m or the lengths are out of range.
    pub fn parity(&mut self, k: usize, m: usize, shard_len: usize, stripe: &mut [u8]) -> Result<(), FrameError> {
        if k == 0 || !shard_len.is_multiple_of(64) || shard_len == 0 || stripe.len() != (k + m) * shard_len {
            return Err(FrameError::Code { k, m });
        }
        if m == 0 {
            return Ok(());
        }
        let (data, parity) = stripe.split_at_mut(k * shard_len);
        let mut targets: Vec<&mut [u8]> = parity.chunks_exact_mut(shard_len).collect();
        match Kernel::detect().filter(|kernel| m <= kernel.parity_shards_max()) {
            Some(kernel) => {
                let sources: Vec<&[u8]> = data.chunks_exact(shard_len).collect();
                let pattern = Pattern { k, m, lost: Vec::new(), parity: Vec::new() };
                self.plan(kernel, &pattern)?.run(&sources, &mut targets);
                Ok(())
            }
            None => self.fft.parity((k, m), shard_len, data, &mut targets),
        }
    }

    /// Fills `data` with the k data shards. `shards` has k + m places; those that are there are all `shard_len` long.
    ///
    /// # Errors
    /// [`FrameError::TooFew`] or [`FrameError::Code`].
    pub fn recover(
        &mut self,
        (k, m): (usize, usize),
        shard_len: usize,
        shards: &[Option<&[u8]>],
        data: &mut [u8],
    ) -> Result<(), FrameError> {
        let sound = shards.len() == k + m
            && shard_len.is_multiple_of(64)
            && shard_len > 0
            && data.len() == k * shard_len
            && shards.iter().flatten().all(|shard| shard.len() == shard_len);
        if !sound {
            return Err(FrameError::Code { k, m });
        }
        let (mut lost, mut parity) = (Vec::new(), Vec::new());
        for (index, (to, from)) in data.chunks_exact_mut(shard_len).zip(shards).enumerate() {
            match from {
                Some(shard) => to.copy_from_slice(shard),
                None => lost.push(index),
            }
        }
        parity.extend((0..m).filter(|row| shards[k + row].is_some()).take(lost.len()));
        if parity.len() < lost.len() {
            return Err(FrameError::TooFew { have: k - lost.len() + parity.len(), need: k });
        }
        if lost.is_empty() {
            return Ok(());
        }
        let pattern = Pattern { k, m, lost, parity };
        match Kernel::detect().filter(|_| k * pattern.lost.len() <= RECOVERY_COEFFICIENTS_MAX) {
            Some(kernel) => self.recover_by_matrix(kernel, &pattern, shard_len, shards, data),
            None => self.fft.recover((k, m), shard_len, shards, &pattern.parity, data),
        }
    }

    fn recover_by_matrix(
        &mut self,
        kernel: Kernel,
        pattern: &Pattern,
        shard_len: usize,
        shards: &[Option<&[u8]>],
        data: &mut [u8],
    ) -> Result<(), FrameError> {
        let present = shards[..pattern.k].iter().flatten().copied();
        let parity = pattern.parity.iter().filter_map(|row| shards[pattern.k + row]);
        let sources: Vec<&[u8]> = present.chain(parity).collect();
        let places = data.chunks_exact_mut(shard_len).enumerate();
        let mut targets: Vec<&mut [u8]> =
            places.filter(|(index, _)| pattern.lost.contains(index)).map(|(_, place)| place).collect();
        self.plan(kernel, pattern)?.run(&sources, &mut targets);
        Ok(())
    }

    /// The matrix of a pattern, from memory if it occurred before.
    fn plan(&mut self, kernel: Kernel, pattern: &Pattern) -> Result<&Plan, FrameError> {
        let bad = || FrameError::Code { k: pattern.k, m: pattern.m };
        if !self.plans.contains_key(pattern) {
            let code = self.code(pattern.k, pattern.m).ok_or_else(bad)?;
            let plan = if pattern.lost.is_empty() {
                Plan::new(kernel, code.blocks(), pattern.k)
            } else {
                let blocks = matrix::recovery(code, &pattern.lost, &pattern.parity).ok_or_else(bad)?;
                Plan::new(kernel, &blocks, pattern.k)
            };
            if self.plans.len() >= PLANS_MAX {
                self.plans.clear();
            }
            self.plans.insert(pattern.clone(), plan);
        }
        self.plans.get(pattern).ok_or_else(bad)
    }

    fn code(&mut self, k: usize, m: usize) -> Option<&Code> {
        if !self.codes.contains_key(&(k, m)) {
            if self.codes.len() >= CODES_MAX {
                self.codes.clear();
            }
            self.codes.insert((k, m), Code::new(k, m)?);
        }
        self.codes.get(&(k, m))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stripe(k: usize, m: usize, shard_len: usize) -> Vec<u8> {
        let mut stripe = vec![0; (k + m) * shard_len];
        let mut xof = blake3::Hasher::new().update(&[k as u8, m as u8]).finalize_xof();
        xof.fill(&mut stripe[..k * shard_len]);
        Erasure::default().parity(k, m, shard_len, &mut stripe).unwrap();
        stripe
    }

    #[test]
    fn parity_equals_reed_solomon_16_by_every_way() {
        for (k, m) in [(1, 1), (1, 3), (2, 1), (4, 2), (3, 7), (8, 2), (10, 4), (16, 4), (20, 10), (32, 17), (64, 32)] {
            for shard_len in [64, 128, 192, 1024, 4160] {
                let mut stripe = stripe(k, m, shard_len);
                let (data, parity) = stripe.split_at_mut(k * shard_len);
                let sources: Vec<&[u8]> = data.chunks_exact(shard_len).collect();
                let oracle = reed_solomon_16::encode(k, m, &sources).unwrap();
                let mut targets: Vec<&mut [u8]> = parity.chunks_exact_mut(shard_len).collect();
                let check = |targets: &mut Vec<&mut [u8]>, way: &str| {
                    assert!(oracle.iter().eq(targets.iter()), "({k}, {m}) × {shard_len} {way}");
                    targets.iter_mut().for_each(|target| target.fill(0xee));
                };
                check(&mut targets, "as chosen");
                Fft::default().parity((k, m), shard_len, data, &mut targets).unwrap();
                check(&mut targets, "by FFT");
                let pattern = Pattern { k, m, lost: Vec::new(), parity: Vec::new() };
                for kernel in Kernel::available() {
                    Erasure::default().plan(kernel, &pattern).unwrap().run(&sources, &mut targets);
                    check(&mut targets, "by matrix");
                }
            }
        }
    }

    #[test]
    fn an_encoder_that_made_another_code_before_makes_the_same_parity() {
        let mut used = Erasure::default();
        for (k, m, shard_len) in [(64, 32, 1024), (4, 2, 64), (16, 4, 4096), (4, 2, 64)] {
            let fresh = stripe(k, m, shard_len);
            let mut again = fresh.clone();
            again[k * shard_len..].fill(0xee);
            used.parity(k, m, shard_len, &mut again).unwrap();
            assert!(again == fresh);
        }
    }

    #[test]
    fn codes_out_of_range_are_errors() {
        let mut erasure = Erasure::default();
        assert!(erasure.parity(0, 2, 64, &mut [0; 128]).is_err());
        assert!(erasure.parity(2, 1, 63, &mut [0; 189]).is_err());
        assert!(erasure.parity(2, 1, 64, &mut [0; 128]).is_err());
        assert!(erasure.recover((2, 1), 64, &[None, None], &mut [0; 128]).is_err());
        let few = erasure.recover((2, 1), 64, &[None, None, Some(&[0; 64])], &mut [0; 128]);
        assert_eq!(few, Err(FrameError::TooFew { have: 1, need: 2 }));
    }

    #[test]
    fn remembered_patterns_and_codes_stay_few() {
        let mut erasure = Erasure::default();
        let stripe = stripe(20, 4, 64);
        for first in 0..20 {
            for second in 0..first {
                let mut shards: Vec<_> = stripe.chunks_exact(64).map(Some).collect();
                (shards[first], shards[second]) = (None, None);
                erasure.recover((20, 4), 64, &shards, &mut vec![0; 20 * 64]).unwrap();
                assert!(erasure.plans.len() <= PLANS_MAX && erasure.codes.len() <= CODES_MAX);
            }
        }
    }

    proptest! {
        #[test]
        fn any_m_losses_are_recovered_by_every_way(
            (k, m) in prop_oneof![Just((1, 1)), Just((4, 2)), Just((16, 4)), Just((5, 9)), Just((40, 12))],
            blocks in 1usize..40,
            order in any::<u64>(),
        ) {
            let shard_len = blocks * 64;
            let stripe = stripe(k, m, shard_len);
            let mut shards: Vec<Option<&[u8]>> = stripe.chunks_exact(shard_len).map(Some).collect();
            let mut places: Vec<usize> = (0..k + m).collect();
            places.sort_by_key(|place| blake3::hash(&[&order.to_le_bytes()[..], &place.to_le_bytes()].concat()).as_bytes()[..8].to_vec());
            for place in &places[..m] { shards[*place] = None; }
            let lost: Vec<usize> = (0..k).filter(|index| shards[*index].is_none()).collect();
            let parity: Vec<usize> = (0..m).filter(|row| shards[k + row].is_some()).take(lost.len()).collect();
            let pattern = Pattern { k, m, lost, parity };
            let present = |data: &mut Vec<u8>| for (to, from) in data.chunks_exact_mut(shard_len).zip(&shards) {
                if let Some(from) = from { to.copy_from_slice(from) }
            };
            let mut erasure = Erasure::default();
            let mut data = vec![0; k * shard_len];
            erasure.recover((k, m), shard_len, &shards, &mut data).unwrap();
            prop_assert!(data == stripe[..k * shard_len]);
            if pattern.lost.is_empty() { return Ok(()); }
            for kernel in Kernel::available() {
                let mut data = vec![0; k * shard_len];
                present(&mut data);
                Erasure::default().recover_by_matrix(kernel, &pattern, shard_len, &shards, &mut data).unwrap();
                prop_assert!(data == stripe[..k * shard_len], "{kernel:?}");
            }
            let mut data = vec![0; k * shard_len];
            present(&mut data);
            Fft::default().recover((k, m), shard_len, &shards, &pattern.parity, &mut data).unwrap();
            prop_assert!(data == stripe[..k * shard_len], "fft");
        }
    }
}
