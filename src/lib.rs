//! The Pangea node: wiring, drivers, config, command line and control API.
//!
//! | module | what it is |
//! |---|---|
//! | [`node`] | a running node: which message of which actor goes where, and the handle to ask it |
//! | [`drivers`] | the outside world behind messages: sockets, disk, files, threads |
//! | [`store`] | the node's database: known peers and the catalog |
//! | [`control`], [`cli`] | how programs and people ask a running node |
//! | [`home`], [`identity`], [`config`] | its directory, its key, its settings |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod cli;
pub mod config;
pub mod control;
pub mod drivers;
pub mod home;
pub mod identity;
pub mod node;
pub mod store;
