//! The modules of `guests/built` in the real sandbox, called as a coordinator calls them, and compared with what this
//! processor computes of the same input on its own.
//!
//! | file | tests |
//! |---|---|
//! | `sandbox` | runs a module: one call, or a whole job |
//! | `sdk` | the envelope of the crate, the header of C |
//! | `tour` | what a module may import, in every language |
//! | `lines`, `words`, `grep`, `mandelbrot`, `matrix`, `k_means` | the examples |
//! | `sums` | `SUMS` names what is there |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod grep;
mod k_means;
mod lines;
mod mandelbrot;
mod matrix;
mod sandbox;
mod sdk;
mod sums;
mod tour;
mod words;
