//! [`Window`]: which stripes are wanted, under way, and delivered but not yet consumed; and how many at once.

use super::{
    limits::{RANGES_MAX, WINDOW_BYTES, WINDOW_STRIPES},
    stripe::Stripe,
};
use pangea_kernel::planted;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
};

/// The stripes of one job.
#[derive(Debug, Default)]
pub(super) struct Window {
    wanted: VecDeque<Range<u64>>,
    /// Under way.
    pub stripes: BTreeMap<u64, Stripe>,
    delivered: BTreeMap<u64, u64>,
    bytes: u64,
}

impl Window {
    /// Adds a range in the order of asking; false if too many separate ranges wait.
    pub fn want(&mut self, range: Range<u64>) -> bool {
        if range.is_empty() {
            return true;
        }
        if let Some(last) = self.wanted.back_mut().filter(|last| last.end == range.start) {
            last.end = range.end;
            return true;
        }
        if self.wanted.len() >= RANGES_MAX {
            return false;
        }
        self.wanted.push_back(range);
        true
    }

    /// The next stripe to begin that is not under way already.
    pub fn next(&mut self) -> Option<u64> {
        loop {
            let index = self.wanted.front()?.start;
            if !self.stripes.contains_key(&index) {
                return Some(index);
            }
            self.advance();
        }
    }

    /// True if stripe `index` waits in the range that is worked on.
    pub fn wants(&self, index: u64) -> bool {
        self.wanted.front().is_some_and(|range| range.contains(&index))
    }

    /// Leaves out the stripe that [`Self::next`] named.
    pub fn advance(&mut self) {
        if let Some(range) = self.wanted.front_mut() {
            range.start += 1;
            if range.is_empty() {
                self.wanted.pop_front();
            }
        }
    }

    /// True if a stripe of `bytes` may begin.
    pub fn has_room(&self, bytes: u64) -> bool {
        let stripes = self.stripes.len() + self.delivered.len();
        stripes == 0 || (stripes < WINDOW_STRIPES && self.bytes + bytes <= WINDOW_BYTES)
    }

    /// Begins the stripe that [`Self::next`] named.
    pub fn begin(&mut self, index: u64, stripe: Stripe) {
        self.advance();
        self.bytes += stripe.bytes();
        self.stripes.insert(index, stripe);
    }

    /// Takes a stripe that is complete; its bytes count until it is consumed.
    pub fn deliver(&mut self, index: u64) -> Option<Stripe> {
        let stripe = self.stripes.remove(&index)?;
        *self.delivered.entry(index).or_default() += stripe.bytes();
        Some(stripe)
    }

    /// A stripe without bytes goes straight through.
    pub fn deliver_zero(&mut self, index: u64) {
        self.advance();
        self.delivered.entry(index).or_default();
    }

    /// The receiver has no use for its bytes any more; false if it was never delivered.
    pub fn consume(&mut self, index: u64) -> bool {
        if planted!("window-never-freed") {
            return self.delivered.contains_key(&index);
        }
        let bytes = self.delivered.remove(&index);
        self.bytes -= bytes.unwrap_or(0);
        bytes.is_some()
    }

    /// Shard bytes under way or delivered and not consumed.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// True if nothing waits and nothing is under way.
    pub fn is_drained(&self) -> bool {
        self.wanted.is_empty() && self.stripes.is_empty()
    }
}
