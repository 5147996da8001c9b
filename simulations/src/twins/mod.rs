//! Twins of the node's drivers: they take the same commands and give the same events, on the virtual clock.
//!
//! | module | twin of |
//! |---|---|
//! | [`network`] | connections, frames and provider records, with latency and dead nodes |
//! | [`disk`] | the shard disk, with a sync that takes time |
//! | [`files`] | users' files, in memory |
//!
//! Not here: loss, partitions, torn writes and full disks.

pub mod disk;
pub mod files;
pub mod network;
