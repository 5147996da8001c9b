//! The bounds an uploader works within. The defaults are for a node in production; tests make them smaller.

use std::time::Duration;

/// Every number that bounds an upload.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Puts at once; one more is refused.
    pub jobs_max: usize,
    /// Candidates asked for.
    pub candidates: u16,
    /// Stripes at once that are not yet safe (fewer than k + happy receipts).
    pub window_stripes: usize,
    /// Bytes of shards of all stripes that are not yet retired. At least two stripes are always allowed.
    pub window_bytes: usize,
    /// Shards at once with one holder without a receipt.
    pub in_flight_shards: usize,
    /// Bytes at once with one holder without a receipt; one shard is always allowed.
    pub in_flight_bytes: usize,
    /// First reservation at a holder; each further one is twice as large, up to `portion_bytes_max`.
    pub portion_bytes_min: u64,
    /// Largest reservation.
    pub portion_bytes_max: u64,
    /// A holder that does not answer a reservation in this time is given up.
    pub reserve_timeout: Duration,
    /// A holder with shards in flight that sends no receipt in this time is given up.
    pub silence_max: Duration,
    /// No shard is hedged earlier than this.
    pub hedge_floor: Duration,
    /// A shard is hedged after this many times the median of recent receipts.
    pub hedge_factor: u32,
    /// A job that waits for peers and hears nothing useful in this time fails.
    pub stall_max: Duration,
    /// How often timeouts are looked at.
    pub tick: Duration,
    /// Progress is reported at most this often.
    pub progress_interval: Duration,
    /// How long to leave the peer manager alone after it had nobody new.
    pub ask_again: Duration,
    /// Moves of one shard before it is given up.
    pub moves_max: u8,
    /// How often a holder that was disconnected or busy is tried again while nobody else can take its place.
    pub comebacks_max: u8,
    /// Retired stripes remembered for `Drop` after a cancel; older ones end with their lease.
    pub undo_stripes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            jobs_max: 32,
            candidates: 40,
            window_stripes: 12,
            window_bytes: 24 << 20,
            in_flight_shards: 32,
            in_flight_bytes: 4 << 20,
            portion_bytes_min: 8 << 20,
            portion_bytes_max: 256 << 20,
            reserve_timeout: Duration::from_secs(5),
            silence_max: Duration::from_secs(15),
            hedge_floor: Duration::from_secs(2),
            hedge_factor: 4,
            stall_max: Duration::from_secs(60),
            tick: Duration::from_millis(500),
            progress_interval: Duration::from_millis(100),
            ask_again: Duration::from_secs(10),
            moves_max: 30,
            comebacks_max: 3,
            undo_stripes_max: 8192,
        }
    }
}
