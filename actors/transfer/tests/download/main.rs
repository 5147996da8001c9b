//! The downloader among holders of all kinds, on a virtual clock.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod faults;
mod object;
mod opening;
mod parts;
mod properties;
mod removing;
mod window;
mod world;
