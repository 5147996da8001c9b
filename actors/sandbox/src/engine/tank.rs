//! Gas between slices. The module counts down a global; what it does not hold is here.
//!
//! Invariant: limit = used + global + reserve. A guest is out of gas when global + reserve is negative, so when that
//! happens depends on what it used alone, and not on how its gas was handed out.

use pangea_protocols::task::Trap;

/// Most gas of a call: far from where a global would overflow.
pub const GAS_MAX: u64 = 1 << 60;

/// The gas that the guest's global does not hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tank {
    limit: u64,
    reserve: u64,
}

impl Tank {
    /// A full one; the global holds nothing.
    pub fn new(limit: u64) -> Self {
        let limit = limit.min(GAS_MAX);
        Self { limit, reserve: limit }
    }

    /// Pours gas for a slice into the global: `slice`, or more if it is needed to get above zero, or what is left.
    /// Returns the new global.
    pub fn pour(&mut self, global: i64, slice: u64) -> i64 {
        let debt = 0i64.saturating_sub(global).max(0).cast_unsigned();
        let gas = slice.max(debt).min(self.reserve);
        self.reserve -= gas;
        global + gas.cast_signed()
    }

    /// Whether there is any left for a guest whose global is `global`.
    pub fn is_empty(&self, global: i64) -> bool {
        global + self.reserve.cast_signed() < 0
    }

    /// Takes gas for what the host does. Returns the new global, which may be negative: then the guest's next block
    /// asks for more.
    ///
    /// # Errors
    /// There is not enough.
    pub fn pay(&self, global: i64, gas: u64) -> Result<i64, Trap> {
        let global = global.saturating_sub(gas.min(GAS_MAX).cast_signed());
        if self.is_empty(global) { Err(Trap::Gas) } else { Ok(global) }
    }

    /// Gas used, at most the limit.
    pub fn used(&self, global: i64) -> u64 {
        let left = (global + self.reserve.cast_signed()).max(0).cast_unsigned();
        self.limit - left.min(self.limit)
    }
}
