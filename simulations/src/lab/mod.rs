//! [`Lab`]: chaos for an actor of your own. Twenty nodes of it on a virtual clock, lines that lose, delay and cut,
//! machines that crash and stand still, five hundred seeds, and a failure as small as it can be made.
//!
//! | file | its job |
//! |---|---|
//! | `member.rs` | [`Member`]: what to write beside the actor, and [`Route`]: where goes what it emits |
//! | `builder.rs` | [`Lab`]: who is there, what users ask, what must be true |
//! | `view.rs` | [`View`]: what oracles see |
//! | `case.rs` | [`Case`]: a run before it is run, as a file |
//! | `network.rs`, `wishes.rs`, `faults.rs` | carry a case out; with `queue.rs`, `place.rs` and `disk.rs` |
//! | `oracle.rs`, `trail.rs` | watch it |
//! | `sweep.rs` | many seeds; `smaller.rs`: shrinking; `check.rs`: both of them in a test |
//! | `site/` | nodes with extensions: plugins in a real sandbox, or native ones |
//! | `program.rs`, `show.rs` | [`main`]: the same as a command line |
//!
//! A lab is in one process and needs no tricks: a [`Core`] has no clock and no chance but [`Cx`]. What depends on
//! something else all the same, such as the order of a `HashMap`, is found: [`Lab::check`] runs a seed twice and compares.
//!
//! What is not simulated: how long the handling of an event takes, mailboxes that are full, address translation, and
//! damage inside of what is saved. Messages are values: how they are written as bytes is not tested here.
//!
//! Where to start: `pangea-sim new --actor NAME` writes a whole example; `docs/simulation.md` walks through it.

mod builder;
mod case;
mod check;
mod disk;
mod faults;
mod member;
mod network;
mod oracle;
mod outcome;
mod place;
mod program;
mod queue;
mod quiet;
mod show;
#[cfg(feature = "plugins")]
pub mod site;
mod smaller;
mod sweep;
mod trail;
mod view;
mod wishes;

pub use crate::{ensure, record::NodeId};
pub use builder::Lab;
pub use case::{Ask, Asks, Case, CaseError, Node};
pub use member::{Member, Route};
pub use outcome::{Broken, Outcome};
pub use pangea_kernel::{Core, Cx, Draw, TimerId};
pub use pangea_protocols::time::{Time, UnixTime};
pub use program::{main, main_of};
pub use sweep::Tally;
pub use view::{Note, Verdict, View};
