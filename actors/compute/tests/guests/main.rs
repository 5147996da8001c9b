//! The modules of `guests/built` in the real sandbox, called as a coordinator calls them, and compared with what this
//! processor computes of the same input on its own.
//!
//! | file | tests |
//! |---|---|
//! | `sandbox` | runs a module: one call, or a whole job |
//! | `tour` | what a module may import, in every language |
//! | `words`, `grep`, `mandelbrot` | the examples |
//! | `sums` | `SUMS` names what is there |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod grep;
mod mandelbrot;
mod sandbox;
mod sums;
mod tour;
mod words;
