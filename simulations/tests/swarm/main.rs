//! Whole nodes on the virtual clock, wired by the page that wires them in production: files are stored, nodes die, stand
//! still and are cut off, files come back. Start here: `stories`; what goes wrong is in
//! `faults`, what makes a run repeat in `repeating`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod faults;
mod net;
mod repeating;
mod stories;
