//! [`Figures`]: what a run has seen, so that one that sees nothing fails.

/// What a run has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub rounds: u64,
    pub acknowledged_bytes: u64,
    pub deleted: u64,
    pub reads: u64,
    pub failed: u64,
    pub corrupt: u64,
    pub indexes_rebuilt: u64,
    pub stopped: u64,
}

impl Figures {
    pub fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.acknowledged_bytes += other.acknowledged_bytes;
        self.deleted += other.deleted;
        self.reads += other.reads;
        self.failed += other.failed;
        self.corrupt += other.corrupt;
        self.indexes_rebuilt += other.indexes_rebuilt;
        self.stopped += other.stopped;
    }
}
