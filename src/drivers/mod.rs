//! Drivers: everything that touches the outside world, behind messages. Each has a simulated twin.

pub mod network;
