//! Skeleton.
pub mod api;
pub mod work;
