//! Compute: jobs of verified MapReduce over a group of nodes.
//!
//! A **job** is a module and an input that is cut into chunks. Its stages are `split? ─► execute per chunk ─► merge?`, all
//! three calls of the same module ([`envelope`]); without a merge the outputs are the result, in the order of chunks. A
//! task is pure, so that it may run anywhere, twice, and again.
//!
//! | module | what it is |
//! |---|---|
//! | [`api`] | the whole interface of both actors |
//! | [`coordinator`] | of the node whose user asks: leases, retries, audits, results, receipt |
//! | [`worker`] | of every node: slots, modules, commitments. The coordinator's own node is a worker like others |
//! | [`envelope`] | what a module is called with |
//! | [`split`] | built-in ways to cut an input: bytes, lines, records |
//! | [`parts`] | bytes that come in several frames |
//! | [`reading`] | inputs that lie in stored objects, which workers read themselves |
//!
//! ```text
//! user ─Submit─► coordinator ═Offer══► worker ─Install─► sandbox
//!   files ⇄ Want / Input     ═Assign═►        ─Run─────►
//!                                             ⇄ Read / Reading: of a stored object
//!                            ◄═Commit═        ◄─Done────
//!                            ◄═Output═
//! ```
//!
//! # Verification
//!
//! A host signs for its results before it can know which of them are looked at. A result that is drawn, or is one of the
//! first of a host without standing, is run again by a host that has been proven, or by this node. Where two differ this
//! node runs the task itself: its own result is the truth. A host that signed for another is banned from the job and
//! reported, and whatever only it vouched for is run again. So a host with `b` wrong results among those that are drawn
//! with probability `s` is caught with P = 1 − (1 − s)^b, and a job of a few chunks a host is better checked by a quorum.
//! A trap is never believed of one host. Split and merge are always run twice.
//!
//! # Invariants
//!
//! - A result that was accepted is one that as many hosts have signed for as the job asks, or this node itself.
//! - No honest host is banned: a ban follows from a run on this node, or from a signature that contradicts itself.
//! - Every job ends: this node alone can finish it, and its crashes, retries and time are bounded.
//! - What a peer sends is bounded before it is kept, and counts only under a lease.
//! - Deliberately absent: a clock and a seed of its own for a task, and any other message that an audit could be told by.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod api;
pub mod coordinator;
pub mod envelope;
pub mod parts;
pub mod reading;
pub mod split;
pub mod worker;

pub use coordinator::Coordinator;
pub use worker::Worker;
