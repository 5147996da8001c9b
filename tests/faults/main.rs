//! What a user sees when things go wrong: real `pangea` processes on loopback, and the faults that a network, a disk or
//! a person brings. Every test states the exit code, the message and what must still be there afterwards.
//!
//! | file | faults |
//! |---|---|
//! | `storing` | none, then as many dead holders as there is parity, then one more |
//! | `tickets` | tickets that are cut short, mistyped, foreign, of nothing, or with another object's key |
//! | `starting` | settings, homes, locks and ports that a node cannot start with; `pangea stop` |
//! | `quotas` | holders that are full, and a full disk where the result should go |
//! | `hostile` | peers that send garbage, and peers that promise and then stay silent |
//! | `crashes` | `kill -9` of holders, uploaders, readers |
//! | `jobs` | `kill -9` in the middle of a computation, modules and inputs that are no good, second thoughts |
//! | `receipts` | receipts of others: inputs that are not theirs, claims that were forged |
//! | `targets` | results that are in the way, and Ctrl-C |
//! | `swarm`, `told` | nodes and commands under test; not tests themselves |
//!
//! Waits poll a condition and end with it; only a failing test runs into [`swarm::PATIENCE`].

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, clippy::result_large_err)]
// A failed test prints the logs of its nodes.
#![allow(clippy::print_stdout)]

mod crashes;
mod hostile;
mod jobs;
mod quotas;
mod receipts;
mod starting;
mod storing;
mod swarm;
mod targets;
mod tickets;
mod told;

/// A raw QUIC peer and network drivers inside this process.
#[path = "../network_testbed/mod.rs"]
mod network_testbed;
