//! The bounds a worker works within. The defaults are for a node in production; tests make them smaller.

use pangea_protocols::task;
use std::time::Duration;

/// Every number that bounds a worker.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Compute at all; otherwise everybody is refused.
    pub enabled: bool,
    /// Tasks at once in the sandbox, and those that a coordinator may have here. At least 1.
    pub slots: u16,
    /// Jobs of others at once; one more is refused. This node's own are always taken.
    pub jobs_max: usize,
    /// What one task may ask for.
    pub task: task::Limits,
    /// Largest module, in bytes.
    pub module_bytes_max: u64,
    /// Modules that are remembered as installed.
    pub modules_max: usize,
    /// Longest time of one task in the sandbox.
    pub wall_max: Option<Duration>,
    /// Claims are signed for together if they come within this time.
    pub batch_wait: Duration,
    /// At most one signature for a job in this time, unless a batch is full: whoever checks them has many workers.
    pub sign_every: Duration,
    /// How often a coordinator hears of its leases.
    pub alive_every: Duration,
    /// Stored inputs that are read at once.
    pub reads_max: usize,
    /// Bytes of them, all together; one is always allowed.
    pub reading_bytes_max: usize,
    /// A part of a module that has not come after this time is asked for again.
    pub part_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            enabled: true,
            slots: 2,
            jobs_max: 8,
            task: task::Limits { gas: u64::MAX, memory_bytes: 1 << 30, ..task::Limits::default() },
            module_bytes_max: 64 << 20,
            modules_max: 32,
            wall_max: Some(Duration::from_secs(3600)),
            batch_wait: Duration::from_millis(250),
            sign_every: Duration::from_millis(3),
            alive_every: Duration::from_secs(5),
            reads_max: 8,
            reading_bytes_max: 64 << 20,
            part_timeout: Duration::from_secs(10),
        }
    }
}
