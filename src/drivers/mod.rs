//! Everything that touches the outside world, each behind the messages of `pangea_protocols`: a driver receives commands
//! and answers with events; it decides nothing. Each has a twin in simulations.

pub mod cpu;
pub mod disk;
pub mod files;
pub mod jobs;
pub mod network;
pub mod sandbox;

use pangea_kernel::{Port, Rejected};
use std::{thread, time::Duration};

/// How long a thread waits before it offers a message to a full mailbox again.
const MAILBOX_RETRY: Duration = Duration::from_millis(1);

/// Gives a message to an actor from a thread that may wait, however long the mailbox is full. False if the actor is gone.
fn deliver<M>(to: &Port<M>, mut message: M) -> bool {
    while let Err(rejected) = to.send(message) {
        match rejected {
            Rejected::Full(back) => message = back,
            Rejected::Closed(_) => return false,
        }
        thread::sleep(MAILBOX_RETRY);
    }
    true
}
