//! The Pangea node: wiring, drivers, config, command line and control API.
//!
//! | module | what it is |
//! |---|---|
//! | [`drivers`] | everything that touches the outside world, each behind a message |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod drivers;
