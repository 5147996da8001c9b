//! Everything that touches the outside world, each behind the messages of `pangea_protocols`: a driver receives commands
//! and answers with events; it decides nothing. Each has a twin in simulations.

pub mod cpu;
pub mod disk;
pub mod files;
pub mod guests;
pub mod jobs;
pub mod network;
pub mod sandbox;
