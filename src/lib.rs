//! The Pangea node: wiring, drivers, config, command line and control API.
//!
//! | module | what it is |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`control`] | the control API: a Unix socket for programs on the same machine |
//! | [`node`] | a running node: which message of which actor goes where, and the handle to ask it |
//! | [`home`], [`identity`], [`config`] | its directory, its key, its settings |

pub mod cli;
pub mod config;
pub mod control;
pub mod home;
pub mod identity;
pub mod node;
