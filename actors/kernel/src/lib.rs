//! The kernel: how an actor of Pangea is written, and how it is run.
//!
//! | module | what it defines |
//! |---|---|
//! | [`core`] | [`Core`]: a synchronous state machine, `on(event)`; [`Cx`]: its only door to time, chance and effects |
//! | [`draw`] | [`Draw`]: randomness keyed by node, actor and purpose |
//! | [`port`] | [`Port`]: the only way to send to an actor; bounded, hands back what it cannot take |
//! | [`host`] | [`Host`]: where actors run; the wiring of a node is written against it |
//! | [`actix_host`] | [`ActixHost`]: the production host; [`ActorThread`]: the thread it runs on |
//! | [`clock`] | [`Clock`]: the one place that reads time |
//! | [`metrics`] | [`Registry`]: every actor's mailbox, handle times, restarts and rejections |
//! | [`recorder`] | flight recorder: the last events of a core that panicked, in a file, and their replay |
//! | [`supervision`] | what becomes of an actor whose core panicked, on every host |
//! | `shell` | the actix actor around a core: fairness, timers, panics; with `timers` |
//! | [`testbed`] | [`testbed::Testbed`]: drives one core on a virtual clock and collects its effects |
//! | [`planted`](mod@planted) | bugs that only a build for testing the simulator can switch on |
//!
//! **Invariant.** actix is named in this crate and nowhere else; a core cannot tell where it runs.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod actix_host;
pub mod clock;
pub mod core;
pub mod draw;
pub mod host;
pub mod metrics;
pub mod planted;
pub mod port;
pub mod recorder;
mod shell;
pub mod supervision;
pub mod testbed;
mod timers;

pub use crate::core::{Core, Cx, Effect, Event, TimerId};
pub use actix_host::{ActixHost, ActorThread, HostConfig};
pub use clock::{Calendar, Clock};
pub use draw::{Draw, Seed};
pub use host::{Host, Options, Slot};
pub use metrics::Registry;
pub use port::{Port, Rejected};
pub use shell::contain;
