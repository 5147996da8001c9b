//! What actors tell each other of peers: who may hold shards, and how a peer behaved.

use crate::id::{Address, PeerId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A peer that may hold shards, as the peer manager sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Who.
    pub peer: PeerId,
    /// Peers with equal domains (one /24, one owner) fail together. Loopback peers count as one each.
    pub domain: u64,
    /// 0 to 1, better is higher.
    pub score: f64,
    /// Smoothed round-trip time, if known.
    pub rtt: Option<Duration>,
    /// Bytes per second received from it lately, 0 if unknown.
    pub goodput: f64,
    /// Where others may reach it, if known.
    pub address: Option<Address>,
}

/// What an actor learned of a peer. To the peer manager.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Report {
    /// A verified shard arrived after `took`.
    Delivered { bytes: u64, took: Duration },
    /// It signed for a shard after `took`.
    Stored { bytes: u64, took: Duration },
    /// A shard, receipt or result did not verify: provable misconduct.
    BadProof,
    /// It signed for a shard and says it has none.
    Lost,
    /// No answer in time.
    TimedOut,
    /// It refused (quota, busy, denied).
    Refused,
    /// It broke a rule of a protocol.
    Violation,
}
