//! The peer manager: who is there, who is good, whom to dial and whom to give shards.
//!
//! | module | what it defines |
//! |---|---|
//! | [`api`] | what the actor receives and emits, on one screen |
//! | [`manager`] | [`PeerManager`]: the core; one file per concern below it |
//! | [`record`] | [`record::Record`]: what is remembered of a peer across restarts |
//! | [`standing`] | New → Vetting → Good → Suspect → Quarantined → Banned, and why |
//! | [`score`] | gates × quality |
//! | [`estimate`] | decaying counters, confidence bounds, quantiles, moving averages |
//! | [`backoff`] | when an unreachable peer is dialled again |
//! | [`domain`] | which peers fail together, and which addresses a peer may tell us of |
//! | [`book`] | the bounded peer database |
//! | [`config`] | limits, with their defaults |
//!
//! **Limits.** 10,000 known peers; 8 addresses and 8 transitions per peer; 8 dials under way, and 8 more to pinned peers; 32 records per exchange;
//! candidate lists of 256; save batches of 256 records, one per 30 s (a user's decision is saved at once).
//!
//! **Invariants.** A denied or banned peer is never dialled, never a candidate and never stored for. Trimming never
//! goes below the target, and never takes a pinned or busy peer. An address somebody told us of is unverified until
//! this node has dialled it. Every change of a peer's state has a reason that the user can read.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod api;
pub mod backoff;
pub mod book;
pub mod config;
pub mod domain;
pub mod estimate;
pub mod manager;
pub mod record;
pub mod score;
pub mod standing;

pub use config::Config;
pub use manager::PeerManager;
pub use record::Record;
