//! The sandbox process as real processes: what it gives, what it may not do, and what its death costs.
//!
//! | file | what it tests |
//! |---|---|
//! | `equal` | the same outcome and receipt as in this process |
//! | `escapes` | every way out of the jail is closed |
//! | `deaths` | a child that dies, hangs, floods or lies costs itself and what it was asked |
//! | `plugins` | plugins in a process of their own, and what its death costs |
//! | `driver` | the driver's two ends, as the actor has them |

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod deaths;
mod driver;
mod equal;
mod escapes;
mod plugins;
