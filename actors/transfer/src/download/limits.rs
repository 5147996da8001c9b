//! Every bound of the downloader, with its reason. Nothing here is state.

use std::time::Duration;

/// Jobs at once; one more fails at once with a message. Ids carry the job's slot in their low bits ([`super::ids`]).
pub(super) const JOBS_MAX: usize = 64;
/// Peers that one job keeps account of: 255 holders, 128 connected peers, 64 hints, 64 providers.
pub(super) const SOURCES_MAX: usize = 512;
/// Connected peers that nobody has named: no more are added once the table is this long.
pub(super) const STRANGERS_MAX: usize = 128;
/// Most hints of a ticket, and most providers from the DHT, that are tried.
pub(super) const NAMED_MAX: usize = 64;
/// Connected peers that are remembered to be asked when a job begins.
pub(super) const CONNECTED_MAX: usize = 1024;
/// Root blocks that are remembered of objects of which parts are read.
pub(super) const ROOTS_MAX: usize = 8;
/// Most stripes of an object that is surveyed: 960 GiB, and 16 MiB of placement with 16 data shards.
pub(super) const SURVEY_STRIPES_MAX: u64 = 15 << 16;
/// Separate ranges of stripes that wait; neighbours are merged.
pub(super) const RANGES_MAX: usize = 1024;

/// Most shard bytes of one job, under way or delivered and not yet consumed. One stripe is always allowed.
pub(super) const WINDOW_BYTES: u64 = 24 << 20;
/// Most stripes of one job, under way or delivered and not yet consumed (small and zero stripes weigh little).
pub(super) const WINDOW_STRIPES: usize = 64;
/// How many stripes before the end of a leaf block the next one is fetched: more than a window.
pub(super) const LEAF_AHEAD: u64 = WINDOW_STRIPES as u64 + 32;
/// Tree blocks kept per job; a leaf of 512 records with 20 shards each takes about 70 KiB.
pub(super) const CACHE_BLOCKS: usize = 16;
/// Bytes that a block request is counted with: its size is not known before it arrives.
pub(super) const BLOCK_BYTES: u32 = 64 << 10;

/// Most items asked of one holder and not answered.
pub(super) const HOLDER_ITEMS_MAX: usize = 64;
/// Most bytes asked of one holder and not answered; one item is always allowed.
pub(super) const HOLDER_BYTES_MAX: u64 = 8 << 20;

/// A stripe shard is never late before this.
pub(super) const HEDGE_MIN: Duration = Duration::from_millis(150);
/// A request is always late after this, however slow its holder has been.
pub(super) const HEDGE_MAX: Duration = Duration::from_secs(2);
/// A block has one source at a time; a second one is asked after this.
pub(super) const BLOCK_HEDGE: Duration = Duration::from_millis(300);
/// How often a late request is looked at again when nobody could be quicker.
pub(super) const HEDGE_AGAIN: Duration = Duration::from_millis(100);
/// A request without an answer for this long is given up and its holder left alone for a while.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);
/// A `Want` without an answer for this long is forgotten.
pub(super) const WANT_TIMEOUT: Duration = Duration::from_secs(3);
/// A `Drop` without an answer for this long makes its holder unreachable.
pub(super) const DROP_TIMEOUT: Duration = Duration::from_secs(10);

/// First pause before a holder that is down or busy is tried again; doubles each time.
pub(super) const BACKOFF: Duration = Duration::from_millis(500);
/// First pause after `Busy`; doubles each time up to [`BUSY_MAX`].
pub(super) const BUSY: Duration = Duration::from_millis(50);
/// Longest pause after `Busy`.
pub(super) const BUSY_MAX: Duration = Duration::from_secs(2);
/// How often a holder that is down is tried again before only its own return revives it.
pub(super) const RETRIES_MAX: u8 = 3;

/// Most peers that are asked by `Want` for one stripe or block.
pub(super) const WANT_PEERS_MAX: usize = 64;
/// Most `Want`s without an answer in one job.
pub(super) const WANTS_MAX: usize = 256;
/// Most `Want`s, and most `Drop`s, of one job that one peer has not answered; holders refuse more than a few.
pub(super) const QUESTIONS_PER_PEER_MAX: usize = 4;
/// Most holders remembered for one shard.
pub(super) const SHARD_HOLDERS_MAX: usize = 8;

/// Before this nobody is told that an object does not exist: connections of a fresh node are still coming up.
pub(super) const SETTLE: Duration = Duration::from_secs(2);
/// How often the DHT must have been asked before nobody is believed to have an object: its holders may be telling it now.
pub(super) const QUERIES_MIN: u8 = 2;
/// How often the DHT is asked for providers in one job.
pub(super) const QUERIES_MAX: u8 = 3;
/// A removal has no timeout of its own in the interface.
pub(super) const REMOVE_TIMEOUT: Duration = Duration::from_secs(30);
/// Most `Drop`s without an answer in one removal.
pub(super) const DROPS_MAX: usize = 32;

/// At most ten tallies per second.
pub(super) const TALLY_EVERY: Duration = Duration::from_millis(100);
/// Most frames whose fate at the transport is tracked so that they can be cancelled; more are left to finish.
pub(super) const UNSENT_MAX: usize = 4096;

/// A decode costs below a millisecond of CPU, but per stripe: parity is worth it when it comes this much earlier.
pub(super) const PARITY_PENALTY_S: f64 = 0.030;
/// A holder without a connection has to be dialled first.
pub(super) const DIAL_PENALTY_S: f64 = 0.150;
/// Assumed until something is known.
pub(super) const LATENCY_S: f64 = 0.040;
/// Assumed until something is known, bytes per second.
pub(super) const RATE: f64 = 50e6;
/// The same for this node's own shards, which come from its disk without a network.
pub(super) const OWN_LATENCY_S: f64 = 0.001;
/// See [`OWN_LATENCY_S`].
pub(super) const OWN_RATE: f64 = 1e9;
