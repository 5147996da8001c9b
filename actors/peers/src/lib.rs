//! Skeleton.
pub mod api;
pub mod record;
