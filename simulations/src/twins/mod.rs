//! Twins of the node's drivers: they take the same commands and give the same events, on the virtual clock.
//!
//! | module | twin of |
//! |---|---|
//! | [`network`] | connections, frames, provider records; lines, cuts and address translation are [`crate::links`]' |
//! | [`disk`] | the shard disk: group commit, what it occupies, what a crash leaves, what disks do wrong |
//! | [`files`] | users' files and directories, in memory |
//! | [`cpu`] | the workers: real work, modelled time |
//! | [`compute`] | how the cores of computations are made |
//! | [`sandbox`] | the workers of the sandbox: likewise |
//! | [`jobs`] | inputs of computations and what is committed of them, in memory |
//! | [`guests`] | the threads that call plugins, likewise |

pub mod compute;
pub mod cpu;
pub mod desk;
pub mod disk;
pub mod files;
pub mod guests;
pub mod jobs;
pub mod network;
pub mod sandbox;
