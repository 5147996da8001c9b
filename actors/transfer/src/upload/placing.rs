//! Where a shard goes, where it goes when that fails, and when a second copy is sent.
//!
//! A shard without a place is **parked**. It goes to a holder below the cap; if there is none it waits as long as
//! another holder may turn up; then to one below the relaxed cap; and if there is none it is given up.

use super::{
    Env, Place,
    group::{Copy, Group, GroupId},
    job::Job,
};
use crate::{api::upload::Out, placement};
use pangea_kernel::planted;

/// Copies of one shard under way at once: the first and one hedge.
const COPIES_MAX: usize = 2;
/// Hedges under way at once: this many, or one in [`OPEN_PER_HEDGE`] open shards. A slow uplink makes everything late,
/// and sending everything twice would make it later.
const HEDGES_MIN: usize = 4;
/// See [`HEDGES_MIN`].
const OPEN_PER_HEDGE: usize = 8;

impl Job {
    /// Takes a new group and gives each shard to its seat.
    pub fn add_group(&mut self, id: GroupId, group: Group, turn: u64, env: &mut Env<'_, '_>) {
        let taken: Vec<bool> =
            self.seats.iter().map(|seat| seat.is_some_and(|index| self.holders[index].usable())).collect();
        let placed = placement::assign(turn, group.slots.len(), &taken, group.cap);
        if self.groups.is_empty() {
            // Until now nobody was waited for.
            self.advanced = env.cx.now();
        }
        self.groups.insert(id, group);
        for (slot, seat) in placed.into_iter().enumerate() {
            match seat.and_then(|seat| self.seats[seat]) {
                Some(holder) => self.queue_copy((id, slot), holder, env),
                None => {
                    self.parked.insert((id, slot));
                }
            }
        }
    }

    fn queue_copy(&mut self, place: Place, holder: usize, env: &Env<'_, '_>) {
        if let Some(slot) = self.groups.get_mut(&place.0).and_then(|group| group.slots.get_mut(place.1)) {
            slot.copies.push(Copy { holder, placed: env.cx.now(), sent: None });
            self.holders[holder].queue.push_back(place);
        }
    }

    /// Finds places for parked shards.
    pub fn place_parked(&mut self, env: &mut Env<'_, '_>) {
        for place in std::mem::take(&mut self.parked) {
            let Some(group) = self.groups.get(&place.0) else { continue };
            let (cap, cap_relaxed) = (group.cap, group.cap_relaxed);
            let calm = self.pick_holder(place, cap, |holder| !holder.paused);
            let holder = match calm.or_else(|| self.pick_holder(place, cap, |_| true)) {
                None if self.may_find_holders(env) => {
                    self.parked.insert(place);
                    continue;
                }
                None => self.pick_holder(place, cap_relaxed, |_| true),
                found => found,
            };
            match holder {
                Some(holder) => self.queue_copy(place, holder, env),
                None => self.give_up(place),
            }
        }
    }

    fn give_up(&mut self, (id, slot): Place) {
        if let Some(slot) = self.groups.get_mut(&id).and_then(|group| group.slots.get_mut(slot)) {
            slot.given_up = true;
        }
    }

    /// Takes a copy back from its holder: out of its queue, or off the wire if it is still there.
    pub fn withdraw_copy(&mut self, (id, index): Place, holder: usize, env: &mut Env<'_, '_>) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        // Copies of a block have one name, and its holder may have another of them.
        let unique = group.record.is_some();
        let Some(slot) = group.slots.get_mut(index) else { return };
        let Some(at) = slot.copies.iter().position(|copy| copy.holder == holder) else { return };
        let copy = slot.copies.remove(at);
        let state = &mut self.holders[holder];
        match copy.sent {
            Some((tag, _)) => {
                state.arrive(slot.len);
                env.routes.arrive(tag, state.peer, slot.id, self.put.job, id);
                if unique && self.orphans.len() < env.limits.undo_stripes_max {
                    self.orphans.insert((holder, slot.id));
                }
                env.cx.emit(Out::CancelSend { peer: state.peer, tag });
            }
            None => state.queue.retain(|queued| *queued != (id, index)),
        }
    }

    /// This node's own send queue was full: the copy goes back to the head of its holder's queue.
    pub fn requeue_copy(&mut self, place: Place, holder: usize, env: &mut Env<'_, '_>) {
        let Some(slot) = self.groups.get_mut(&place.0).and_then(|group| group.slots.get_mut(place.1)) else { return };
        let Some(copy) = slot.copies.iter_mut().find(|copy| copy.holder == holder) else { return };
        if let Some((tag, _)) = copy.sent.take() {
            let state = &mut self.holders[holder];
            state.arrive(slot.len);
            env.routes.arrive(tag, state.peer, slot.id, self.put.job, place.0);
            state.queue.push_front(place);
        }
    }

    /// A copy will not arrive at its holder: the shard moves, unless another copy is under way.
    pub fn move_copy(&mut self, place: Place, holder: usize, env: &mut Env<'_, '_>) {
        self.withdraw_copy(place, holder, env);
        let Some(slot) = self.groups.get_mut(&place.0).and_then(|group| group.slots.get_mut(place.1)) else { return };
        if !slot.open() || !slot.copies.is_empty() {
            return;
        }
        self.tally.progress.healed += 1;
        slot.moves = slot.moves.saturating_add(1);
        if slot.moves > env.limits.moves_max {
            slot.given_up = true;
        } else if !planted!("moved-shard-forgotten") {
            self.parked.insert(place);
        }
    }

    /// Sends a second copy of shards that are late to a holder that is not.
    pub fn hedge(&mut self, env: &mut Env<'_, '_>) {
        let now = env.cx.now();
        let open = self.groups.values().flat_map(|group| &group.slots).filter(|slot| slot.open());
        let (open, hedged) =
            open.fold((0, 0), |(open, hedged), slot| (open + 1, hedged + usize::from(slot.copies.len() > 1)));
        let budget = (open / OPEN_PER_HEDGE).max(HEDGES_MIN).saturating_sub(hedged);
        // As long as nobody has answered, nobody is late.
        if self.tally.progress.shards == 0 && self.blocks == 0 {
            return;
        }
        let late = self.tally.late_after(env.limits.hedge_floor, env.limits.hedge_factor);
        let mut places = Vec::new();
        for (id, group) in &self.groups {
            for (index, slot) in group.slots.iter().enumerate() {
                let due = slot.copies.iter().all(|copy| now.since(copy.placed) > late);
                if slot.open() && due && (1..COPIES_MAX).contains(&slot.copies.len()) {
                    places.push((*id, index));
                }
            }
        }
        for place in places.into_iter().take(budget) {
            let Some(group) = self.groups.get(&place.0) else { continue };
            let (cap, cap_relaxed) = (group.cap, group.cap_relaxed);
            let quick = |holder: &super::holder::Holder| holder.strikes == 0 && !holder.paused;
            let found = self.pick_holder(place, cap, quick).or_else(|| self.pick_holder(place, cap_relaxed, quick));
            if let Some(holder) = found {
                self.tally.progress.hedged += 1;
                self.queue_copy(place, holder, env);
            }
        }
    }
}
