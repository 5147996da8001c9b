//! Seeing a run: text, pictures and exports, each a pure function of the run's [`Record`](crate::record::Record)s.
//!
//! | module | what it makes |
//! |---|---|
//! | [`trace`] | text, one line per event; a lane per node if there are few |
//! | [`summary`] | a table that a person reads in ten seconds |
//! | [`spacetime`] | a page: time runs down, a lane per node, an arrow per frame |
//! | [`animation`] | a page: the network as it lives, with a timeline to scrub |
//! | [`perfetto`] | trace-event JSON for ui.perfetto.dev |
//! | [`kind`] | [`Kind`]: the groups of events that filters name |
//!
//! Underneath: `story` reads the records once into nodes, frames, operations, faults and marks; `frames` pairs what was
//! sent with what arrived; `bounds` decides what a picture leaves out when there is too much; `picture` is what a page knows; `page` makes a file that
//! needs nothing but itself. Styles and scripts are in `web/`, one file per job.
//!
//! **Invariant: a picture says what it leaves out.** Every bound that bites ends up as a sentence in the picture.
//!
//! **Invariant: text from records is data.** It enters a page as JSON in which no `<` is left, and the scripts only ever
//! put it into text nodes and canvases.
//!
//! Not here: the run, and the command line that writes these to files.

pub mod animation;
mod bounds;
mod frames;
pub mod kind;
mod page;
pub mod perfetto;
mod picture;
pub mod spacetime;
mod story;
pub mod summary;
pub mod trace;
mod units;

pub use kind::Kind;
