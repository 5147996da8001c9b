//! Pangea's actors on a virtual clock: one thread, one event heap, one seed.
//!
//! | module | what it defines |
//! |---|---|
//! | [`world`] | [`World`]: nodes, time and the heap; runs until a time, or until nothing is left to do |
//! | [`virtual_host`] | [`VirtualHost`]: the [`pangea_kernel::Host`] of one node, for the wiring that production uses |
//! | [`timeline`] | [`Timeline`]: the heap as drivers see it: what time it is, do this later |
//! | [`link`] | [`Link`]: a driver's twin, a one-way stream between two nodes with latency drawn from its own key |
//! | [`plan`] | [`plan::Plan`]: all of a run that is decided beforehand: nodes, operations, faults |
//! | [`links`] | the lines between nodes, with their faults |
//! | [`tier`] | what a run needs of whatever runs the nodes |
//! | [`tap`], [`observer`], [`record`] | how a run is watched, and how nodes are made to misbehave |
//! | [`mutants`](mod@mutants) | bugs that are planted to see that they are found |
//! | [`twins`] | the node's drivers on this clock: network, disk, files |
//! | [`virtual_disk`] | a disk that loses power, for the real shard disk |
//! | [`lab`] | [`lab::Lab`]: the same for an actor of your own, which need not be Pangea's |
//!
//! What makes a run repeat: events happen by time, then by the order in which they were asked for; every draw is a
//! function of seed, node, actor and purpose ([`pangea_kernel::draw`]); the date counts from
//! [`pangea_kernel::testbed::EPOCH`]. [`World::digest`] is a hash over every event of the run: same seed, same digest.
//!
//! What is not simulated: the cost of handling an event (none), actix, and restarts. A core that panics ends the run
//! with a panic that names node, actor and time: in a simulation that is a finding, not a state to recover from.
//!
//! Where to start: `tests/two_nodes.rs` wires two actors once and runs them on this host and on the production one;
//! `tests/whole_node` runs whole nodes with production's wiring.

mod actor;
pub mod bisect;
#[cfg(feature = "node")]
pub mod child;
#[cfg(feature = "node")]
pub mod chronicle;
#[cfg(feature = "node")]
pub mod digest;
#[cfg(feature = "node")]
pub mod fleet;
pub mod lab;
pub mod life;
pub mod link;
pub mod links;
#[cfg(feature = "node")]
pub mod mutants;
#[cfg(feature = "node")]
pub mod observer;
#[cfg(feature = "node")]
pub mod oracles;
pub mod parallel;
pub mod plan;
pub mod record;
#[cfg(feature = "node")]
pub mod run;
pub mod scenario;
pub mod seeing;
pub mod shrink;
#[cfg(feature = "node")]
pub mod swarm;
#[cfg(feature = "node")]
pub mod tap;
#[cfg(feature = "node")]
pub mod tier;
pub mod timeline;
#[cfg(feature = "node")]
pub mod twins;
#[cfg(feature = "node")]
pub mod virtual_disk;
pub mod virtual_host;
pub mod world;

pub use actor::Failure;
pub use life::Life;
pub use link::Link;
pub use timeline::Timeline;
pub use virtual_host::VirtualHost;
pub use world::World;
