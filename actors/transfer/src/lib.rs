//! Transfer: how an object gets from one node to many, and back.
//!
//! | module | what it is |
//! |---|---|
//! | [`api`] | the whole interface of both actors |
//! | [`placement`] | pure functions: which peers hold an object, and which of them holds which shard |
//! | [`upload`] | the uploader: reserve, send, count receipts, heal, seal |
//! | [`download`] | the downloader: find, open, fetch, verify |
//!
//! **Invariants.** Nothing here sees plaintext: frames arrive encrypted and leave encrypted. The read key passes
//! through to the catalog and goes nowhere else. A transfer counts only what it has proof of: a holder's signature on
//! the way out, a Merkle proof on the way in.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod api;
pub mod download;
pub mod placement;
pub mod upload;
