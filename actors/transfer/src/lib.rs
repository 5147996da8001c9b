//! Skeleton.
pub mod api;
pub mod download;
