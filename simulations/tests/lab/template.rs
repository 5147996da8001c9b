//! The actor that `pangea-sim new --actor` writes.

#[path = "../../templates/actor/src/main.rs"]
#[allow(dead_code, clippy::cast_possible_truncation, reason = "it is a program, and reads as one")]
mod actor;
