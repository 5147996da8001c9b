//! Computations over the control API.
//!
//! | module | what it holds |
//! |---|---|
//! | `server` | the calls of the schema's `Computations`, answered by asking the jobs driver |
//! | `client` | [`Computations`]: the same from another process |
//! | `codec` | records, terms and progress in the schema's structs |

mod client;
mod codec;
mod server;

pub use client::{Computations, Watching};
pub(super) use server::Service;

/// Most bytes of a module that travels in a message: a larger one is named by its path.
pub const MODULE_BYTES_MAX: usize = 4 << 20;
