//! The bounds a coordinator works within. The defaults are for a node in production; tests make them smaller.

use std::time::Duration;

/// Every number that bounds a coordinator.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Jobs at once; more wait.
    pub running_max: usize,
    /// Jobs that wait; one more is refused.
    pub waiting_max: usize,
    /// Chunks of a job.
    pub chunks_max: u32,
    /// Hosts of a job, beside this node.
    pub hosts_max: usize,
    /// Inputs that are read and not yet sent, all of a job, in bytes. One is always allowed.
    pub window_bytes: usize,
    /// All outputs of a job, in bytes: they are held until its end.
    pub outputs_bytes_max: usize,
    /// Results of earlier jobs that are remembered, in bytes.
    pub cache_bytes_max: usize,
    /// A host that does not answer an offer in this time is left alone for a while.
    pub offer_timeout: Duration,
    /// A host with leases that says nothing for this long has lost them.
    pub silence_max: Duration,
    /// A lease that a host does not name among its own this long after it was sent has been lost on the way.
    pub assign_timeout: Duration,
    /// An output that has not come this long after its claim will not come.
    pub output_timeout: Duration,
    /// For how long workers keep a job that is not renewed.
    pub lease: Duration,
    /// A host or task that failed is tried again after this time, then twice as long, …, with up to half of it at random.
    pub backoff_min: Duration,
    /// Longest time of them.
    pub backoff_max: Duration,
    /// A chunk that this many hosts were lost with, or that this node failed at three times, fails the job.
    pub crashes_max: usize,
    /// So many results of a host that is new to the job are all confirmed, one at a time: of one in good standing, and of
    /// a newcomer.
    pub probation: (u32, u32),
    /// Below this score a host is a newcomer.
    pub newcomer_score: f64,
    /// A task is late after so many times the 90th percentile of those that are done.
    pub late_factor: u32,
    /// No task is late earlier than this.
    pub late_floor: Duration,
    /// How long to leave the peer manager alone after it was asked.
    pub ask_again: Duration,
    /// Progress is reported at most this often.
    pub progress_interval: Duration,
    /// How often times are looked at.
    pub tick: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            running_max: 4,
            waiting_max: 64,
            chunks_max: 65_536,
            hosts_max: 64,
            window_bytes: 64 << 20,
            outputs_bytes_max: 256 << 20,
            cache_bytes_max: 64 << 20,
            offer_timeout: Duration::from_secs(10),
            silence_max: Duration::from_secs(15),
            assign_timeout: Duration::from_secs(10),
            output_timeout: Duration::from_secs(30),
            lease: Duration::from_secs(30),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            crashes_max: 5,
            probation: (1, 3),
            newcomer_score: 0.4,
            late_factor: 2,
            late_floor: Duration::from_secs(1),
            ask_again: Duration::from_secs(5),
            progress_interval: Duration::from_millis(200),
            tick: Duration::from_millis(250),
        }
    }
}
