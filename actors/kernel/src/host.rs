//! [`Host`]: where actors run. A node's wiring is written against it once; production gives it actix shells, the
//! simulator gives it a virtual clock.

use crate::{core::Core, port::Port};

/// How one actor is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Messages its mailbox holds before [`Port::send`] hands them back.
    pub mailbox: usize,
    /// Restarts within `restart_window` that are tolerated before the failure is escalated to the node.
    pub restarts_max: u32,
    /// Window for `restarts_max`.
    pub restart_window: std::time::Duration,
    /// Events that the flight recorder keeps.
    pub recorded_events: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mailbox: 4096,
            restarts_max: 5,
            restart_window: std::time::Duration::from_secs(60),
            recorded_events: 128,
        }
    }
}

/// A place where actors run.
pub trait Host {
    /// A mailbox whose actor has not been started.
    type Slot<C: Core>: Slot<C>;

    /// Makes the mailbox of an actor, so that others can be wired to it before it runs.
    fn slot<C: Core>(&self, name: &'static str, options: Options) -> Self::Slot<C>;

    /// Starts the actor. `build` makes the core, at the start and after every panic; `outlet` carries its emitted
    /// messages to their receivers and must not block.
    fn start<C: Core>(
        &self,
        slot: Self::Slot<C>,
        build: impl FnMut() -> C + Send + 'static,
        outlet: impl FnMut(C::Out) + Send + 'static,
    );
}

/// The mailbox of an actor that is not yet started.
pub trait Slot<C: Core> {
    /// Sends into it; messages wait until the actor runs.
    fn port(&self) -> Port<C::In>;

    /// Sends into it as long as fewer than `waiting` messages wait. For senders that must not fill the mailbox up:
    /// what strangers send leaves room for what the node's own actors say to each other.
    fn port_up_to(&self, waiting: usize) -> Port<C::In>;
}
