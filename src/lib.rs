//! The Pangea node: wiring, drivers, config, command line and control API.
//!
//! | module | what it is |
//! |---|---|
//! | [`node`] | a running node: which message of which actor goes where, and the handle to ask it |
//! | [`drivers`] | the outside world behind messages: sockets, disk, files, threads |
//! | [`store`] | the node's database: known peers and the catalog |
//! | [`control`], [`cli`] | how programs and people ask a running node |
//! | [`demo`], [`bench`] | a network on this machine to look at, and how fast this machine is |
//! | [`home`], [`identity`], [`config`] | its directory, its key, its settings |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]
// The node crate is the outside world of the cores: clocks, threads and tasks belong here. Cores cannot allow them.
#![allow(clippy::disallowed_methods)]

pub mod bench;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod drivers;
pub mod home;
pub mod identity;
pub mod node;
pub mod store;
