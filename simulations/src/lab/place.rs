//! [`Place`]: one node of a lab: its actor, if it runs, its disk and its calendar.

use super::{Member, disk::Disk, queue::Entry};
use crate::record::NodeId;
use pangea_kernel::{Seed, TimerId, core::CxState, draw::Draws, testbed::EPOCH};
use pangea_protocols::time::{Time, UnixTime};
use std::collections::BTreeSet;

/// The name under which the actor draws: the same as if it were an actor of that name on any other host.
const ACTOR: &str = "lab";

/// A node.
pub(super) struct Place<C: Member> {
    pub(super) id: NodeId,
    pub(super) region: String,
    peers: Vec<NodeId>,
    seed: Seed,
    /// Starts so far.
    pub(super) life: u32,
    /// None while it is down.
    pub(super) core: Option<C>,
    pub(super) state: CxState<C>,
    /// Timers that are not to fire any more.
    pub(super) cancelled: BTreeSet<TimerId>,
    pub(super) disk: Disk<C::Saved>,
    /// It stands still: what happens to it waits here.
    pub(super) paused: Option<Vec<Entry<C>>>,
    /// By how much its calendar is off, by how much it drifts, and since when.
    pub(super) skew: Option<(i64, i64, Time)>,
}

impl<C: Member> Place<C> {
    pub(super) fn new(id: NodeId, region: String, peers: Vec<NodeId>, seed: Seed) -> Self {
        let state = CxState::new(Draws::new(seed.actor(ACTOR, 0)));
        Self {
            id,
            region,
            peers,
            seed,
            life: 0,
            core: None,
            state,
            cancelled: BTreeSet::new(),
            disk: Disk::new(),
            paused: None,
            skew: None,
        }
    }

    /// Makes the actor; its start is the caller's.
    pub(super) fn make(&mut self) -> C {
        self.state = CxState::new(Draws::new(self.seed.actor(ACTOR, u64::from(self.life))));
        self.life += 1;
        C::new(self.id, &self.peers, self.disk.found())
    }

    /// The process is gone, with its timers and with what waited for it.
    pub(super) fn end(&mut self) {
        self.core = None;
        self.cancelled.clear();
        if let Some(waiting) = &mut self.paused {
            waiting.clear();
        }
    }

    /// The date, as the node sees it.
    pub(super) fn unix(&self, now: Time) -> UnixTime {
        let truth = EPOCH + now.since(Time(0));
        let Some((by_s, drift_ppm, since)) = self.skew else { return truth };
        let drift_s =
            i64::try_from(now.since(since).as_secs()).unwrap_or(i64::MAX).saturating_mul(drift_ppm) / 1_000_000;
        UnixTime(truth.0.saturating_add_signed(by_s.saturating_add(drift_s)))
    }
}
