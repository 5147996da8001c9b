//! Skeleton.
pub mod api;
