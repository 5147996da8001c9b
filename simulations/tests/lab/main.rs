//! The lab, with actors that are right and actors that are wrong.
//!
//! | file | what it tests |
//! |---|---|
//! | `template` | the actor that `pangea-sim new --actor` writes: right, and with a mistake that many have made |
//! | `network` | what lines, disks, calendars and crashes do to an actor |
//! | `findings` | what breaks a promise, and how it is told |

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod findings;
mod network;
mod template;
