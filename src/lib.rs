//! node
pub mod drivers;
