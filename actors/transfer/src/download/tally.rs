//! [`Tally`]: shards verified, healed and hedged, told to the control API at most ten times a second.

use super::{Cx, limits::TALLY_EVERY};
use crate::api::download::Out;
use pangea_protocols::{JobId, time::Time};

/// Counters of one job.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Shards that arrived and verified.
    pub shards: u64,
    /// Shards that were replaced by others.
    pub healed: u64,
    /// Requests sent beside late ones.
    pub hedged: u64,
    /// Of the shards, those of this node itself.
    pub own: u64,
    told: (u64, u64, u64),
    told_at: Option<Time>,
}

impl Tally {
    /// Tells it if something changed.
    pub fn emit(&mut self, cx: &mut Cx<'_>, job: JobId) {
        if self.is_news() {
            self.told = (self.shards, self.healed, self.hedged);
            self.told_at = Some(cx.now());
            let Self { shards, healed, hedged, own, .. } = *self;
            cx.emit(Out::Tally { job, shards, healed, hedged, own });
        }
    }

    /// Tells it if something changed and the last time is long enough ago.
    pub fn emit_if_due(&mut self, cx: &mut Cx<'_>, job: JobId) {
        if self.due().is_some_and(|at| at <= cx.now()) {
            self.emit(cx, job);
        }
    }

    /// When it is to be told next.
    pub fn due(&self) -> Option<Time> {
        self.is_news().then(|| self.told_at.map_or(Time(0), |at| at + TALLY_EVERY))
    }

    fn is_news(&self) -> bool {
        self.told != (self.shards, self.healed, self.hedged)
    }
}
