//! Counters of the driver: what was moved, what was refused, what was dropped.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The live counters; every part of the driver holds the same ones.
        #[derive(Default)]
        pub(super) struct Counters { $($(#[$doc])* pub(super) $name: Count),* }

        /// The counters at one moment. Totals since the start, except `connections`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Metrics { $($(#[$doc])* pub $name: u64),* }

        impl Counters {
            pub(super) fn read(&self) -> Metrics {
                Metrics { $($name: self.$name.get()),* }
            }
        }
    };
}

counters! {
    /// Connections that are up now.
    connections,
    /// Connections that came up.
    connections_opened,
    /// Incoming connections refused by a limit.
    connections_refused,
    /// Incoming connections that had to prove their address first.
    connections_retried,
    /// Second connections to a peer that were closed.
    connections_merged,
    /// Frames acknowledged by a peer.
    frames_sent,
    /// Body bytes of those.
    bytes_sent,
    /// Frames that failed, for whatever reason.
    frames_failed,
    /// Frames not taken because a queue was full.
    frames_queue_full,
    /// Frames received.
    frames_received,
    /// Body bytes of those.
    bytes_received,
    /// Streams that were no frame.
    streams_garbage,
    /// Streams cut because they stood still.
    streams_stalled,
    /// Streams refused because memory or the receiver was full for too long.
    streams_busy,
    /// Streams given up by their sender.
    streams_reset,
    /// Datagrams not sent because the send buffer was full.
    datagrams_dropped,
    /// Events that may be lost and were, because the receiver was full.
    events_dropped,
    /// Provider records of others that were kept, also those that were known.
    provider_records,
    /// Provider records of others that were not kept.
    provider_records_refused,
    /// Own keys not announced because there were too many.
    provides_refused,
    /// Peers not inserted in the routing table because their prefix has its share.
    routing_refused,
}

/// One counter.
#[derive(Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(super) fn sub(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
