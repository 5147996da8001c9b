//! The node.

pub mod drivers;
pub mod store;
