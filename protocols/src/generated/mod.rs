//! Code generated from `protocols/schema/*.capnp`: never edited by hand, see `protocols/schema/generate.sh`.
//!
//! `tests/schema_drift.rs` fails when the schema changes and this does not.

/// The control API: see `protocols/schema/control.capnp`.
#[rustfmt::skip]
#[allow(clippy::all, clippy::pedantic, clippy::restriction, missing_docs, unused_qualifications)]
pub mod control_capnp;
