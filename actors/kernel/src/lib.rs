//! The kernel: how an actor of Pangea is written, and how it is run.
//!
//! | module | what it defines |
//! |---|---|
//! | [`core`] | [`Core`]: a synchronous state machine, `on(event)`; [`Cx`]: its only door to time, chance and effects |
//! | [`draw`] | [`Draw`]: randomness keyed by node, actor and purpose |
//! | [`port`] | [`Port`]: the only way to send to an actor; bounded, hands back what it cannot take |
//! | [`host`] | [`Host`]: where actors run; the wiring of a node is written against it |
//! | [`testbed`] | [`testbed::Testbed`]: drives one core on a virtual clock and collects its effects |
//!
//! **Invariant.** actix is named in this crate and nowhere else; a core cannot tell where it runs.

pub mod core;
pub mod draw;
pub mod host;
pub mod port;
pub mod testbed;

pub use crate::core::{Core, Cx, Effect, Event, TimerId};
pub use draw::{Draw, Seed};
pub use host::{Host, Options, Slot};
pub use port::{Port, Rejected};
