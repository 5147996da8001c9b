//! Tests of the uploader: [`table`] checks single reactions, [`world`] is a network of faked holders on a virtual
//! clock, [`stories`] and [`property`] run whole puts in it.

mod property;
mod stories;
mod table;
mod world;
