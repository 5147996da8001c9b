//! Traces, pictures and tables of runs that are written down here or made up by `plausible`.
//!
//! `text` has golden text; `pages` looks at the pages' source; `browser` opens them in a headless Chromium.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod browser;
mod pages;
mod perfetto;
mod plausible;
mod small;
mod text;
