//! A running node: see [`handle`] for what can be asked of it.

pub mod handle;

pub use handle::NodeHandle;
