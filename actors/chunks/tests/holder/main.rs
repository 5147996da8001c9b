//! The chunk store as the peers, the disk and the clock see it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod serving;
mod storing;
mod world;
