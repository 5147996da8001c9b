//! [`Outcome`]: what came of a run.

use crate::record::Record;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// What came of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Of which lab.
    pub lab: String,
    /// With which seed.
    pub seed: u64,
    /// Nodes.
    pub nodes: usize,
    /// Over everything that happened.
    pub digest: String,
    /// How much that was.
    pub events: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// The promise that was broken; the run ended there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<Broken>,
    /// Goals, and after how many virtual milliseconds each was reached.
    pub goals: BTreeMap<String, u64>,
    /// For traces and pictures, if they were asked for.
    #[serde(skip)]
    pub records: Vec<Record>,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// When, in virtual nanoseconds.
    pub at_ns: u64,
    /// Which promise: an oracle's name, or `panic`, `standstill`, `flood`.
    pub oracle: String,
    /// What happened.
    pub text: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` at {:.3}s: {}", self.oracle, self.at_ns as f64 / 1e9, self.text)
    }
}
