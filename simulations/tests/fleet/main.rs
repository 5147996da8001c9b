//! Fleets: whole nodes with QUIC, Kademlia and actix shells on virtual sockets and a paused clock.
//!
//! Behaviour is tested here in ordinary processes, where a run need not repeat; that it repeats is tested in processes
//! of `pangea-sim`, whose clock and entropy are virtual.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod repeating;
mod stories;
