//! Reservations, sending, and what happens when a holder is lost.
//!
//! A lost holder's seat goes, in this order, to a spare candidate, to one the peer manager is asked for, or to the same
//! holder again if it was only disconnected or busy. Until somebody sits there its shards are placed with the others.

use super::{
    Env, Place,
    group::GroupId,
    holder::{Asking, Grant, Holder, Loss, Standing},
    job::{Job, Phase, Supply},
};
use crate::{
    api::{Report, upload::Out},
    placement,
};
use pangea_protocols::{
    PeerId,
    manifest::HOLDERS_MAX,
    net::{Class, SendError},
    wire::{
        Frame, Message,
        store::{Refusal, ShardKind, Store},
    },
};
use std::time::Duration;

/// Reservations in a row that led to no receipt.
const BARREN_MAX: u8 = 4;
/// Hedges lost in a row after which a holder is replaced, if it can be.
const STRIKES_MAX: u8 = 3;
/// First pause before a lost holder is tried again; doubles each time.
const COMEBACK_DELAY: Duration = Duration::from_secs(1);

impl Job {
    /// The index of `peer` among the holders.
    pub fn holder_of(&self, peer: PeerId) -> Option<usize> {
        self.holders.iter().position(|holder| holder.peer == peer)
    }

    /// Asks the peer manager for candidates that are not yet known here.
    pub fn ask_candidates(&mut self, env: &mut Env<'_, '_>) {
        let request = env.routes.ask_candidates(self.put.job);
        let exclude = self.holders.iter().map(|holder| holder.peer).chain(self.spares.iter().copied()).collect();
        let (count, bytes) = (env.limits.candidates, env.limits.portion_bytes_min);
        self.supply = Supply::Asked(request, env.cx.now());
        env.cx.emit(Out::Candidates { request, count, bytes, exclude });
    }

    /// Invites spare candidates to all empty seats.
    pub fn fill_seats(&mut self, env: &mut Env<'_, '_>) {
        for seat in 0..self.seats.len() {
            // One index of the manifest's list stands for "no holder".
            if self.seats[seat].is_some() || self.holders.len() >= HOLDERS_MAX - 1 {
                continue;
            }
            let Some(peer) = self.spares.pop_front() else { return };
            let holder = self.holders.len();
            self.holders.push(Holder::new(peer, seat, env.cx.now(), env.limits));
            self.seats[seat] = Some(holder);
            self.reserve(holder, env);
        }
    }

    /// Looks for somebody for the empty seats, while there are shards to come or shards without a place.
    pub fn seek_holders(&mut self, env: &mut Env<'_, '_>) {
        let wanted = self.end.is_none() || !self.parked.is_empty();
        if !wanted || self.seats.iter().all(Option::is_some) {
            return;
        }
        self.fill_seats(env);
        let Some(seat) = self.seats.iter().position(Option::is_none) else { return };
        match self.supply {
            Supply::Open if self.holders.len() >= HOLDERS_MAX - 1 => self.bring_back(seat, env),
            Supply::Open if self.spares.is_empty() => self.ask_candidates(env),
            Supply::Open => {}
            Supply::Asked(request, at) => {
                // An answer may be lost when the peer manager restarts.
                if env.cx.now().since(at) >= env.limits.ask_again {
                    env.routes.forget_request(request);
                    self.supply = Supply::Dry(env.cx.now());
                }
            }
            Supply::Dry(at) => {
                if env.cx.now().since(at) >= env.limits.ask_again {
                    self.ask_candidates(env);
                }
                self.bring_back(seat, env);
            }
        }
    }

    fn bring_back(&mut self, seat: usize, env: &mut Env<'_, '_>) {
        let now = env.cx.now();
        let rested = |holder: &Holder| match holder.standing {
            Standing::Lost(_, at) => now.since(at) >= COMEBACK_DELAY * (1 << holder.comebacks.min(16)),
            _ => false,
        };
        let found = (0..self.holders.len()).find(|h| self.may_come_back(*h, env) && rested(&self.holders[*h]));
        if let Some(index) = found {
            let holder = &mut self.holders[index];
            holder.comebacks += 1;
            holder.standing = Standing::Invited;
            holder.seat = Some(seat);
            holder.strikes = 0;
            self.seats[seat] = Some(index);
            self.reserve(index, env);
        }
    }

    fn may_come_back(&self, holder: usize, env: &Env<'_, '_>) -> bool {
        let holder = &self.holders[holder];
        matches!(holder.standing, Standing::Lost(loss, _) if loss.passes())
            && holder.comebacks < env.limits.comebacks_max
    }

    /// True while another holder may still turn up for an empty seat.
    pub fn may_find_holders(&self, env: &Env<'_, '_>) -> bool {
        let vacant = self.seats.iter().any(Option::is_none);
        let asked = !matches!(self.supply, Supply::Dry(_));
        let room = self.holders.len() < HOLDERS_MAX - 1;
        vacant
            && (room && (asked || !self.spares.is_empty())
                || (0..self.holders.len()).any(|h| self.may_come_back(h, env)))
    }

    fn reserve(&mut self, index: usize, env: &mut Env<'_, '_>) {
        let holder = &mut self.holders[index];
        if holder.asking.is_some() {
            return;
        }
        let (bytes, shards) = holder.next_portion(env.limits);
        let waiting = holder.queue.front().and_then(|place| self.groups.get(&place.0)?.slots.get(place.1));
        let bytes = bytes.max(waiting.map_or(0, |slot| slot.len as u64));
        let request = env.routes.ask_reserve(self.put.job, index, holder.peer);
        holder.asking = Some(Asking { request, since: env.cx.now(), bytes, shards });
        holder.barren += 1;
        let message = Store::Reserve { request, bytes, shards, lease_secs: self.put.lease.as_secs() };
        let (peer, frame) = (holder.peer, Frame::bare(Message::Store(message)));
        env.cx.emit(Out::Send { peer, tag: request, class: Class::Control, frame });
    }

    /// The holder has room.
    pub fn on_reserved(&mut self, index: usize, grant: u64, expires_unix: u64, env: &mut Env<'_, '_>) {
        let holder = &mut self.holders[index];
        let Some(asked) = holder.asking.take() else { return };
        if holder.barren > BARREN_MAX {
            env.tell(holder.peer, Store::Release { grant });
            return self.lose(index, Loss::TimedOut, env);
        }
        let grant = Grant { id: grant, bytes_left: asked.bytes, shards_left: asked.shards, expires_unix };
        holder.grants.push_back(grant);
        holder.standing = Standing::Ready;
        self.advanced = env.cx.now();
    }

    /// The holder has no room, or not as much as was asked for.
    pub fn on_refused(&mut self, index: usize, reason: Refusal, env: &mut Env<'_, '_>) {
        let holder = &mut self.holders[index];
        let Some(asked) = holder.asking.take() else { return };
        let full = matches!(reason, Refusal::Quota | Refusal::DiskFull);
        if full && holder.shrink_portion(asked.bytes, env.limits) {
            return self.reserve(index, env);
        }
        self.lose(index, Loss::Refused(reason), env);
    }

    /// A reservation could not be sent.
    pub fn on_reserve_send_failed(&mut self, index: usize, error: SendError, env: &mut Env<'_, '_>) {
        let loss = match error {
            SendError::NotPangea => Loss::Refused(Refusal::Denied),
            SendError::QueueFull | SendError::Refused => Loss::Refused(Refusal::Busy),
            SendError::Unreachable | SendError::ConnectionLost | SendError::Cancelled => Loss::Disconnected,
        };
        self.lose(index, loss, env);
    }

    /// The last connection to `peer` is gone.
    pub fn on_disconnected(&mut self, peer: PeerId, env: &mut Env<'_, '_>) {
        if let Some(holder) = self.holder_of(peer) {
            self.lose(holder, Loss::Disconnected, env);
        }
    }

    /// `peer` has sent something provably wrong.
    pub fn on_misconduct(&mut self, peer: PeerId, env: &mut Env<'_, '_>) {
        self.spares.retain(|spare| *spare != peer);
        if let Some(holder) = self.holder_of(peer) {
            self.lose(holder, Loss::Misconduct, env);
            self.holders[holder].standing = Standing::Lost(Loss::Misconduct, env.cx.now());
        }
    }

    /// A holder gets no more shards; those on their way to it are placed anew. Its receipts stay valid: they are
    /// signed, and whether it keeps its word is for audits.
    pub fn lose(&mut self, index: usize, loss: Loss, env: &mut Env<'_, '_>) {
        let now = env.cx.now();
        let holder = &mut self.holders[index];
        let peer = holder.peer;
        if matches!(holder.standing, Standing::Lost(..)) {
            return;
        }
        tracing::debug!(?peer, ?loss, "holder lost");
        holder.standing = Standing::Lost(loss, now);
        if let Some(seat) = holder.seat.take() {
            self.seats[seat] = None;
        }
        if let Some(asked) = holder.asking.take() {
            env.routes.forget_request(asked.request);
        }
        // A holder keeps the grants of a peer that is disconnected, so they are of use if it comes back.
        let grants = if loss == Loss::Disconnected { Default::default() } else { std::mem::take(&mut holder.grants) };
        for grant in grants {
            env.tell(peer, Store::Release { grant: grant.id });
        }
        match loss {
            Loss::Refused(_) => env.cx.emit(Out::Report { peer, report: Report::Refused }),
            Loss::TimedOut | Loss::Slow => env.cx.emit(Out::Report { peer, report: Report::TimedOut }),
            // Misconduct was reported once for all jobs; a disconnect is known to the peer manager.
            Loss::Misconduct | Loss::Disconnected => {}
        }
        for place in self.places_at(index) {
            self.move_copy(place, index, env);
        }
    }

    fn places_at(&self, holder: usize) -> Vec<Place> {
        let mut places = Vec::new();
        for (id, group) in &self.groups {
            for (slot, state) in group.slots.iter().enumerate() {
                if state.copies.iter().any(|copy| copy.holder == holder) {
                    places.push((*id, slot));
                }
            }
        }
        places
    }

    /// Gives up holders that do not answer, and slow ones that can be replaced.
    pub fn check_holders(&mut self, env: &mut Env<'_, '_>) {
        let now = env.cx.now();
        for index in 0..self.holders.len() {
            let holder = &mut self.holders[index];
            holder.paused = false;
            let mute = holder.asking.is_some_and(|asked| now.since(asked.since) >= env.limits.reserve_timeout);
            let silent = holder.in_flight > 0 && now.since(holder.heard) >= env.limits.silence_max;
            if mute || silent {
                self.lose(index, Loss::TimedOut, env);
            } else if holder.strikes >= STRIKES_MAX && self.can_spare(index) {
                self.lose(index, Loss::Slow, env);
            }
        }
    }

    /// True if somebody waits to take its seat, or the others can take all shards of a stripe so that the loss of one of
    /// them is survived. They take its share anyway, by hedges, only later.
    fn can_spare(&self, index: usize) -> bool {
        let others =
            self.holders.iter().enumerate().filter(|(other, holder)| *other != index && holder.usable()).count();
        !self.spares.is_empty() || others * self.code.cap_relaxed() >= self.code.shards()
    }

    /// Sends what may be sent.
    pub fn pump_all(&mut self, env: &mut Env<'_, '_>) {
        for index in 0..self.holders.len() {
            if self.holders[index].standing == Standing::Ready && !self.holders[index].queue.is_empty() {
                self.pump(index, env);
            }
        }
    }

    fn pump(&mut self, index: usize, env: &mut Env<'_, '_>) {
        let mut starved = false;
        let mut spent = Vec::new();
        while let Some(place) = self.holders[index].queue.front().copied() {
            let holder = &mut self.holders[index];
            let Some(slot) = self.groups.get(&place.0).and_then(|group| group.slots.get(place.1)) else {
                holder.queue.pop_front();
                continue;
            };
            let bytes = slot.body.len();
            if holder.paused || !holder.has_window(bytes, env.limits) {
                break;
            }
            let Some(grant) = holder.take_room(bytes, env.cx.unix(), &mut spent) else {
                starved = true;
                break;
            };
            holder.queue.pop_front();
            holder.depart(bytes, env.cx.now());
            self.send_shard(place, index, grant, env);
        }
        for grant in spent {
            env.tell(self.holders[index].peer, Store::Release { grant });
        }
        let low = self.end.is_none() && matches!(self.phase, Phase::Streaming) && self.holders[index].runs_low();
        if starved || low {
            self.reserve(index, env);
        }
    }

    fn send_shard(&mut self, place: Place, index: usize, grant: u64, env: &mut Env<'_, '_>) {
        let peer = self.holders[index].peer;
        let Some(group) = self.groups.get_mut(&place.0) else { return };
        let (kind, own) = (group.kind, group.own);
        let Some(slot) = group.slots.get_mut(place.1) else { return };
        let tag = env.routes.depart(peer, slot.id, self.put.job, place.0, place.1);
        if let Some(copy) = slot.copies.iter_mut().find(|copy| copy.holder == index) {
            copy.sent = Some((tag, env.cx.now()));
        }
        if own && kind != ShardKind::Data && self.block_undo.len() < env.limits.undo_stripes_max {
            self.block_undo.push_back((index, slot.id));
        }
        let message = Store::Put { grant, shard: slot.id, proof: slot.proof.clone(), kind };
        let frame = Frame { message: Message::Store(message), body: slot.body.clone() };
        env.cx.emit(Out::Send { peer, tag, class: Class::Bulk, frame });
    }

    /// The loads of all seats for one more shard of a group; `None` for seats that may not take it.
    pub fn seat_loads(&self, (id, slot): Place, allowed: impl Fn(&Holder) -> bool) -> Vec<Option<usize>> {
        let Some(group) = self.groups.get(&id) else { return Vec::new() };
        let loads = group.loads();
        let Some(slot) = group.slots.get(slot) else { return Vec::new() };
        let load = |seat: &Option<usize>| {
            let index = (*seat)?;
            let here = slot.tried.contains(&index) || slot.copies.iter().any(|copy| copy.holder == index);
            let open = self.holders[index].usable() && allowed(&self.holders[index]) && !here;
            open.then(|| loads.get(&index).copied().unwrap_or(0))
        };
        self.seats.iter().map(load).collect()
    }

    /// The holder with the fewest shards of the group, below `cap`.
    pub fn pick_holder(&self, place: Place, cap: usize, allowed: impl Fn(&Holder) -> bool) -> Option<usize> {
        let (GroupId::Stripe(number) | GroupId::Block(number)) = place.0;
        let seats = self.seats.len().max(1);
        let turn = usize::try_from(number % seats as u64).unwrap_or(0);
        let seat = placement::pick(&self.seat_loads(place, allowed), cap, (turn + place.1) % seats)?;
        self.seats[seat]
    }
}
