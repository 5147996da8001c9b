//! What a holder's answer to a shard means.
//!
//! The receipt's signature, holder, owner and lease have been checked by [`super::Uploader`]; here it is counted.

use super::{Env, Place, group::Slot, holder::Loss, job::Job};
use crate::api::{Report, upload::Out};
use pangea_kernel::planted;
use pangea_protocols::{PeerId, net::SendError, wire::store::Refusal};
use std::time::Duration;

impl Job {
    /// `peer` has signed for these shards.
    pub fn on_receipt(&mut self, peer: PeerId, hits: &[Place], env: &mut Env<'_, '_>) {
        let Some(holder) = self.holder_of(peer) else { return };
        let (mut bytes, mut took) = (0, Duration::ZERO);
        for place in hits {
            if let Some((len, time)) = self.count_receipt(*place, holder, env) {
                bytes += len as u64;
                took = took.max(time);
            }
        }
        if bytes > 0 {
            self.tally.stored_bytes += bytes;
            self.advanced = env.cx.now();
            env.cx.emit(Out::Report { peer, report: Report::Stored { bytes, took } });
        }
    }

    /// Counts one shard: its length and how long it took, or `None` if it was not waited for.
    fn count_receipt(&mut self, place: Place, holder: usize, env: &mut Env<'_, '_>) -> Option<(usize, Duration)> {
        let now = env.cx.now();
        let group = self.groups.get_mut(&place.0)?;
        let slot: &mut Slot = group.slots.get_mut(place.1)?;
        let copy = *slot.copies.iter().find(|copy| copy.holder == holder)?;
        let (tag, sent) = copy.sent?;
        slot.copies.retain(|copy| copy.holder != holder);
        slot.stored_by = Some(holder);
        slot.body = bytes::Bytes::new();
        let (id, len) = (slot.id, slot.len);
        let losers = if planted!("hedge-not-withdrawn") { Vec::new() } else { slot.copies.clone() };
        self.orphans.remove(&(holder, id));
        group.stored += 1;
        if let Some(record) = &group.record {
            self.tally.progress.shards += 1;
            let raw = u64::from(record.raw_len);
            self.tally.progress.done_bytes += if group.stored == group.readable_at { raw } else { 0 };
            self.tally.progress.full_bytes += if group.stored == group.slots.len() { raw } else { 0 };
        }
        for loser in losers {
            if loser.placed < copy.placed {
                self.holders[loser.holder].strikes = self.holders[loser.holder].strikes.saturating_add(1);
            }
            self.withdraw_copy(place, loser.holder, env);
        }
        let state = &mut self.holders[holder];
        env.routes.arrive(tag, state.peer, id, self.put.job, place.0);
        state.arrive(len);
        state.heard = now;
        state.strikes = 0;
        state.barren = 0;
        state.adapt_window(now.since(sent), env.limits.hedge_floor, env.limits);
        if state.listed.is_none() {
            // Fewer than 255 holders are ever asked.
            state.listed = u8::try_from(self.listed.len()).ok();
            self.listed.push(holder);
        }
        self.tally.took(now.since(copy.placed));
        Some((len, now.since(sent)))
    }

    /// `peer` did not store a shard.
    pub fn on_not_stored(&mut self, peer: PeerId, grant: u64, place: Place, reason: Refusal, env: &mut Env<'_, '_>) {
        let Some(holder) = self.holder_of(peer) else { return };
        let state = &mut self.holders[holder];
        match reason {
            Refusal::NoGrant => {
                // It has lost or ended the grant: ask for another, and risk fewer shards on it.
                state.grants.retain(|held| held.id != grant);
                state.halve_window();
            }
            Refusal::Busy => {
                state.halve_window();
                state.paused = true;
                state.strikes = state.strikes.saturating_add(1);
                env.cx.emit(Out::Report { peer, report: Report::Refused });
            }
            Refusal::BadProof => {
                env.cx.emit(Out::Report { peer, report: Report::Refused });
                if let Some(slot) = self.groups.get_mut(&place.0).and_then(|group| group.slots.get_mut(place.1)) {
                    slot.tried.insert(holder);
                }
            }
            Refusal::Quota | Refusal::DiskFull | Refusal::Denied | Refusal::Io => {
                return self.lose(holder, Loss::Refused(reason), env);
            }
        }
        self.move_copy(place, holder, env);
    }

    /// The network could not deliver a shard.
    pub fn on_shard_send_failed(&mut self, peer: PeerId, place: Place, error: SendError, env: &mut Env<'_, '_>) {
        let Some(holder) = self.holder_of(peer) else { return };
        match error {
            SendError::Unreachable | SendError::ConnectionLost => self.lose(holder, Loss::Disconnected, env),
            SendError::NotPangea => self.lose(holder, Loss::Refused(Refusal::Denied), env),
            SendError::QueueFull => {
                self.holders[holder].halve_window();
                self.holders[holder].paused = true;
                self.requeue_copy(place, holder, env);
            }
            SendError::Refused | SendError::Cancelled => {
                self.holders[holder].halve_window();
                self.holders[holder].paused = true;
                self.move_copy(place, holder, env);
            }
        }
    }
}
