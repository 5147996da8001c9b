//! The limits of the chunk store. What happens at each of them stands beside it.

use std::time::Duration;

/// Limits of the chunk store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes on disk that are never exceeded. Beyond: `Refused(Quota)`.
    pub quota_bytes: u64,
    /// Bytes of the quota that the disk may need for itself while it compacts; never promised.
    pub maintenance_bytes: u64,
    /// Bytes of the file system that stay free. Beyond: `Refused(DiskFull)`.
    pub free_bytes_min: u64,
    /// Longest lease; a longer one is cut.
    pub lease_max: Duration,
    /// How long an unused grant holds its room.
    pub grant_ttl: Duration,
    /// Grants in total. Beyond: `Refused(Busy)`.
    pub grants_max: usize,
    /// Grants of one peer. Beyond: `Refused(Busy)`.
    pub grants_per_peer_max: usize,
    /// Shards in one grant. Beyond: `Refused(Quota)`.
    pub grant_shards_max: u32,
    /// Bytes promised to one peer at a time. Beyond: `Refused(Quota)`.
    pub reserved_per_peer_bytes_max: u64,
    /// Shards on their way to the disk. Beyond: `NotStored(Busy)`.
    pub appends_max: usize,
    /// Their bytes. Beyond: `NotStored(Busy)`.
    pub append_bytes_max: usize,
    /// Reads at the disk at a time. Beyond: they wait.
    pub reads_max: usize,
    /// Reads of one peer at the disk at a time. Beyond: they wait.
    pub reads_per_peer_max: usize,
    /// Reads that wait, in total. Beyond: `Missing(Busy)`.
    pub waiting_max: usize,
    /// Reads of one peer that wait. Beyond: `Missing(Busy)`.
    pub waiting_per_peer_max: usize,
    /// `Want` and `Drop` questions at the disk, in total. Beyond: a `Drop` is `Refused(Busy)`, a `Want` is dropped.
    pub questions_max: usize,
    /// The same for one peer.
    pub questions_per_peer_max: usize,
    /// Peers that this node may refuse to store for. Beyond: the peer with the smallest id is forgotten.
    pub denied_max: usize,
    /// How often grants are looked at.
    pub tick: Duration,
    /// How often the disk is told to forget ended leases.
    pub expire_every: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            quota_bytes: 10 << 30,
            maintenance_bytes: 129 << 20,
            free_bytes_min: 1 << 30,
            lease_max: Duration::from_secs(365 * 24 * 3600),
            grant_ttl: Duration::from_secs(600),
            grants_max: 1024,
            grants_per_peer_max: 32,
            grant_shards_max: 4096,
            reserved_per_peer_bytes_max: 2 << 30,
            appends_max: 512,
            append_bytes_max: 64 << 20,
            reads_max: 64,
            reads_per_peer_max: 16,
            waiting_max: 4096,
            waiting_per_peer_max: 256,
            questions_max: 128,
            questions_per_peer_max: 8,
            denied_max: 65_536,
            tick: Duration::from_secs(10),
            expire_every: Duration::from_secs(300),
        }
    }
}
