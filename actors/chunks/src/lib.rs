//! The chunk store: keeps the shards of others, within a quota, and proves it with receipts.
//!
//! **Job.** Reserve room, verify what arrives, have the disk make it durable, sign for it; serve it, whole or by
//! range, to whoever asks; forget it when its owner says so or its lease ends.
//!
//! | module | what it does |
//! |---|---|
//! | [`api`] | the whole interface on one screen |
//! | [`config`] | the limits |
//! | [`store`] | [`ChunkStore`], the core: which event goes where |
//! | [`grants`] | room: who was promised how much, and what is left of the quota |
//! | [`intake`] | shards on their way to the disk, and the receipts for them |
//! | [`serving`] | reads: fair between peers, bounded |
//! | [`chores`] | questions that only the disk can answer: have, drop, expire |
//!
//! **Invariants.** Bytes on disk and bytes promised together never exceed the quota, overhead included. A receipt is
//! signed only for shards that the disk has called durable. Every request is answered, or its peer is gone, or it
//! broke the protocol; nothing that a peer sends makes a table grow past its limit.
//!
//! Deliberately absent: files (that is `drivers/disk`), the choice of peers (that is the peer manager), uploading and
//! downloading (that is `transfer`).

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod api;
pub mod config;

mod chores;
mod grants;
mod intake;
mod serving;
mod store;

pub use config::Config;
pub use store::ChunkStore;
