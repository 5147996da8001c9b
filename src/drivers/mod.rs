//! Everything that touches the outside world. A driver receives commands and answers with events; it decides nothing.

pub mod disk;
