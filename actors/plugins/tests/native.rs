//! The crate `templates/native`, which stands outside of this workspace: its actor and its lab, as they are there.

#![allow(clippy::unwrap_used, clippy::expect_used)]

extern crate self as presence;

#[path = "../templates/native/src/lib.rs"]
mod actor;
#[path = "../templates/native/tests/lab.rs"]
mod lab;

pub use actor::Presence;
