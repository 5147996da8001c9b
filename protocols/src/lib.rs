//! Every message and every wire frame of Pangea, and nothing else.
//!
//! | module | what it defines |
//! |---|---|
//! | [`id`] | [`PeerId`], [`Hash`], [`Cid`], [`ShardId`], [`JobId`]: how things are named |
//! | [`time`] | [`time::Time`] (monotonic) and [`time::UnixTime`] (calendar) |
//! | [`codec`] | the one place that touches bincode; every decode has a byte limit |
//! | [`cbor`] | what guests are spoken to in |
//! | [`wire`] | what travels between two nodes: frames, and one module per protocol |
//! | [`merkle`] | proofs: a shard belongs to a stripe, a range belongs to a shard |
//! | [`receipt`] | what a holder signs when a shard is durable |
//! | [`receipt_job`] | what hosts sign for when they compute, and the receipt of a whole job |
//! | [`manifest`] | how an object is described: stripes, tree, signature |
//! | [`stored`] | the input of a task that lies in a stored object, and keys of single frames |
//! | [`ticket`] | `pangea:<cid>#k=<key>`, what a user hands to another |
//! | [`job`] | what the user hears of a put, a get, a remove |
//! | [`task`] | what a sandboxed task is given, what it may use, how it ended |
//! | [`guest`] | the messages of the driver that runs guests which stay |
//! | [`peers`], [`encoded`] | what actors tell each other of peers, and of a stream being encoded |
//! | [`net`], [`disk`], [`files`] | the messages of the drivers |
//! | [`generated`] | the control API, generated from `schema/control.capnp` |
//!
//! Nothing here does I/O, keeps state or reads a clock. Actors depend on this crate and never on each other.

pub mod cbor;
pub mod codec;
pub mod disk;
pub mod encoded;
pub mod files;
pub mod generated;
pub mod guest;
pub mod id;
pub mod job;
pub mod manifest;
pub mod merkle;
pub mod net;
pub mod peers;
pub mod receipt;
pub mod receipt_job;
pub mod stored;
pub mod task;
pub mod ticket;
pub mod time;
pub mod wire;

pub use id::{Address, Cid, Hash, JobId, PeerId, ShardId};
