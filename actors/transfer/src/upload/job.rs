//! One put, from the question for candidates to the verdict.
//!
//! The phases are in the header of [`super`]. This file has the state, the way into each phase, timers and the end;
//! `holders`, `placing`, `receipts` and `sealing` add the rest of `Job`.

use super::{
    Env, Place, Put,
    code::Code,
    group::{Group, GroupId},
    holder::{Holder, Loss, Standing},
    ledger::Ledger,
    limits::Limits,
    tally::Tally,
};
use crate::{
    api::{
        Candidate,
        upload::{Out, Timer},
    },
    placement,
};
use bytes::Bytes;
use pangea_kernel::{TimerId, planted};
use pangea_protocols::{
    Address, Cid, PeerId, ShardId,
    encoded::EncodedEnd,
    job::{ErrorKind, JobError, JobEvent, Stored},
    manifest::{Codec, Content, RECORDS_MAX, StripeRecord},
    merkle::StripeProof,
    time::Time,
    wire::store::{DROP_SHARDS_MAX, Refusal, Store},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How a job ended.
#[derive(Debug)]
pub enum Verdict {
    /// The object is durable.
    Stored(Box<Stored>),
    /// It is not.
    Failed(JobError),
}

/// How far a job is.
#[derive(Debug)]
pub enum Phase {
    /// The peer manager was asked for candidates.
    Finding,
    /// Holders were asked for room.
    Reserving,
    /// Stripes come and go.
    Streaming,
    /// All stripes are retired; blocks of the tree are under way.
    Sealing(Content),
    /// The root block is under way.
    Rooting(Cid, u64),
}

/// Where further holders may come from.
#[derive(Clone, Copy, Debug)]
pub enum Supply {
    /// The peer manager may be asked.
    Open,
    /// It was, with this request at this time.
    Asked(u64, Time),
    /// It had nobody new at this time.
    Dry(Time),
}

/// State of one put.
pub struct Job {
    /// What was asked for.
    pub put: Put,
    /// How far it is.
    pub phase: Phase,
    /// Valid from `Streaming` on.
    pub code: Code,
    /// The ring of holders; an empty seat waits for a replacement.
    pub seats: Vec<Option<usize>>,
    /// All that were ever asked, lost ones too: indices stay valid.
    pub holders: Vec<Holder>,
    /// Candidates in the order in which they would be asked.
    pub spares: VecDeque<PeerId>,
    /// Where candidates can be reached, for the manifest.
    pub places: BTreeMap<PeerId, Address>,
    /// Where more would come from.
    pub supply: Supply,
    /// Stripes and blocks that are not retired.
    pub groups: BTreeMap<GroupId, Group>,
    /// Shards that wait for a holder.
    pub parked: BTreeSet<Place>,
    /// Stripes that CES may still send.
    pub credit: usize,
    /// Stripes that it has sent.
    pub encoded: u64,
    /// Their plaintext bytes.
    pub encoded_bytes: u64,
    /// The end of the source.
    pub end: Option<EncodedEnd>,
    /// Retired stripes.
    pub ledger: Ledger,
    /// Blocks made.
    pub blocks: u64,
    /// Blocks to drop if the job fails: holder and name. As many as stripes are remembered.
    pub block_undo: VecDeque<(usize, ShardId)>,
    /// Shards of stripes that were sent to a holder and then placed elsewhere: it may have stored them all the same.
    /// At most as many as `undo_stripes_max`; beyond that they end with their lease.
    pub orphans: BTreeSet<(usize, ShardId)>,
    /// Holders with a receipt, as the manifest names them.
    pub listed: Vec<usize>,
    /// Holders of the root block.
    pub root_holders: Vec<usize>,
    /// What the user hears.
    pub tally: Tally,
    /// Last time a peer did something useful.
    pub advanced: Time,
    /// Set when the job is over.
    pub verdict: Option<Verdict>,
    tick: Option<TimerId>,
    stall: Option<TimerId>,
}

impl Job {
    /// A job that has done nothing yet.
    pub fn new(put: Put, now: Time, limits: &Limits) -> Self {
        Self {
            put,
            phase: Phase::Finding,
            code: Code { k: 1, m: 0, cap: 1 },
            seats: Vec::new(),
            holders: Vec::new(),
            spares: VecDeque::new(),
            places: BTreeMap::new(),
            supply: Supply::Open,
            groups: BTreeMap::new(),
            parked: BTreeSet::new(),
            credit: 0,
            encoded: 0,
            encoded_bytes: 0,
            end: None,
            ledger: Ledger::new(limits.undo_stripes_max),
            blocks: 0,
            block_undo: VecDeque::new(),
            orphans: BTreeSet::new(),
            listed: Vec::new(),
            root_holders: Vec::new(),
            tally: Tally::default(),
            advanced: now,
            verdict: None,
            tick: None,
            stall: None,
        }
    }

    /// Asks for candidates.
    pub fn begin(&mut self, env: &mut Env<'_, '_>) {
        self.ask_candidates(env);
        self.stall = Some(env.cx.after(env.limits.stall_max, Timer::Stalled { job: self.put.job }.into()));
    }

    /// Ends the job. The first failure is the one that is reported.
    pub fn fail(&mut self, kind: ErrorKind, message: impl Into<String>) {
        self.verdict.get_or_insert_with(|| Verdict::Failed(JobError::new(kind, message)));
    }

    /// The peer manager has answered.
    pub fn on_candidates(&mut self, candidates: Vec<Candidate>, env: &mut Env<'_, '_>) {
        self.advanced = env.cx.now();
        let mut known: BTreeSet<PeerId> = self.holders.iter().map(|holder| holder.peer).chain([env.me]).collect();
        known.extend(&self.spares);
        let limit = usize::from(env.limits.candidates);
        let new: Vec<Candidate> = candidates.into_iter().filter(|c| known.insert(c.peer)).take(limit).collect();
        self.supply = if new.is_empty() { Supply::Dry(env.cx.now()) } else { Supply::Open };
        self.places.extend(new.iter().filter_map(|candidate| Some((candidate.peer, candidate.address.clone()?))));
        let order = placement::rank(&new, env.cx.rng("placement"));
        self.spares.extend(order.into_iter().filter_map(|index| new.get(index)).map(|candidate| candidate.peer));
        if matches!(self.phase, Phase::Finding) {
            self.reserve_first(env);
        }
    }

    fn reserve_first(&mut self, env: &mut Env<'_, '_>) {
        let redundancy = self.put.redundancy;
        let wanted = Code::holders_wanted(redundancy).unwrap_or(1);
        let seats = wanted.min(self.spares.len());
        // What cannot work with all of them is refused before anybody is asked for room.
        if let Err(error) = Code::choose(redundancy, seats) {
            self.verdict = Some(Verdict::Failed(error));
            return;
        }
        self.seats = vec![None; seats];
        self.phase = Phase::Reserving;
        self.fill_seats(env);
    }

    /// All holders have answered, or were given up: now it is known how many there are.
    fn choose_code(&mut self, env: &mut Env<'_, '_>) {
        let ready: Vec<usize> =
            (0..self.holders.len()).filter(|h| self.holders[*h].standing == Standing::Ready).collect();
        let code = match Code::choose(self.put.redundancy, ready.len()) {
            Ok(code) => code,
            Err(error) => {
                let (kind, text) = self.explain_refusals(ready.len(), &error);
                return self.fail(kind, text);
            }
        };
        for (seat, holder) in ready.iter().enumerate() {
            self.holders[*holder].seat = Some(seat);
        }
        self.seats = ready.into_iter().map(Some).collect();
        self.code = code;
        self.phase = Phase::Streaming;
        let placed = placement::assign(0, code.shards(), &vec![true; self.seats.len()], code.cap);
        let peer = |seat: usize| self.seats[seat].map(|holder| self.holders[holder].peer);
        let holders = placed.into_iter().flatten().filter_map(peer).collect();
        // n ≤ 255 was checked by `Code::choose`.
        let (k, m) = (u8::try_from(code.k).unwrap_or(u8::MAX), u8::try_from(code.m).unwrap_or(u8::MAX));
        let job = self.put.job;
        env.cx.emit(Out::Job(JobEvent::Placed { job, k, m, holders }));
        env.cx.emit(Out::Encode { job, source: self.put.source.clone(), k, m, profile: self.put.profile });
    }

    /// Why there are too few holders. The code was possible with all who were asked, so the user made no mistake.
    fn explain_refusals(&self, ready: usize, error: &JobError) -> (ErrorKind, String) {
        let asked = self.holders.len();
        (self.blame(), format!("{ready} of {asked} peers granted room{}: {error}", self.describe_losses()))
    }

    /// How many holders were lost, and of those, how many because they are full and because they do not want to.
    fn losses(&self) -> (usize, usize, usize) {
        let lost = |of: &dyn Fn(Loss) -> bool| {
            let lost = |holder: &&Holder| matches!(holder.standing, Standing::Lost(loss, _) if of(loss));
            self.holders.iter().filter(lost).count()
        };
        let full = lost(&|loss| matches!(loss, Loss::Refused(Refusal::Quota | Refusal::DiskFull)));
        (lost(&|_| true), full, lost(&|loss| loss == Loss::Refused(Refusal::Denied)))
    }

    /// What most of the lost holders were lost to: it decides what the user can do.
    pub fn blame(&self) -> ErrorKind {
        match self.losses() {
            (lost, full, _) if 2 * full > lost => ErrorKind::Quota,
            (lost, _, denied) if 2 * denied > lost => ErrorKind::Denied,
            _ => ErrorKind::Unreachable,
        }
    }

    fn describe_losses(&self) -> String {
        match self.losses() {
            (0, ..) => String::new(),
            (lost, full, denied) => format!(
                " ({full} are full, {denied} do not store for this node, {} did not answer or were busy)",
                lost - full - denied
            ),
        }
    }

    /// Does all that can be done now. Called after every event; cheap when there is nothing to do.
    pub fn drive(&mut self, env: &mut Env<'_, '_>) {
        match self.phase {
            Phase::Finding => {}
            Phase::Reserving => {
                self.fill_seats(env);
                if !self.holders.iter().any(|holder| holder.standing == Standing::Invited) {
                    self.choose_code(env);
                }
            }
            _ => {}
        }
        if self.verdict.is_none() && !matches!(self.phase, Phase::Finding | Phase::Reserving) {
            self.seek_holders(env);
            self.place_parked(env);
            self.retire(env);
            self.advance_phase(env);
            self.give_credit(env);
            self.pump_all(env);
        }
        if self.verdict.is_none() {
            self.report_progress(env);
            self.arm_tick(env);
        }
    }

    /// A stripe from CES.
    pub fn on_encoded(
        &mut self,
        index: u64,
        record: StripeRecord,
        shards: Vec<(Bytes, StripeProof)>,
        env: &mut Env<'_, '_>,
    ) {
        let expected = if record.codec == Codec::Zero { 0 } else { self.code.shards() };
        let in_time = matches!(self.phase, Phase::Streaming) && self.end.is_none() && self.credit > 0;
        if !in_time || index != self.encoded || shards.len() != expected {
            let text = format!("stripe {index} of the encoder does not fit: {} stripes came before", self.encoded);
            return self.fail(ErrorKind::Failed, text);
        }
        self.credit -= 1;
        self.encoded += 1;
        self.encoded_bytes += u64::from(record.raw_len);
        if shards.is_empty() {
            self.tally.progress.done_bytes += u64::from(record.raw_len);
            self.tally.progress.full_bytes += u64::from(record.raw_len);
            self.file(index, StripeRecord { placement: Vec::new(), ..record });
        } else {
            self.add_group(GroupId::Stripe(index), Group::stripe(record, shards, &self.code), index, env);
        }
    }

    /// The source has ended.
    pub fn on_encoded_all(&mut self, end: EncodedEnd) {
        let bytes = if end.inline.is_some() { end.raw_len } else { self.encoded_bytes };
        if end.stripes != self.encoded || end.raw_len != bytes || self.end.is_some() {
            let text = format!(
                "the encoder ended after {} stripes of {} bytes, but {} of {} came",
                end.stripes, end.raw_len, self.encoded, self.encoded_bytes
            );
            return self.fail(ErrorKind::Failed, text);
        }
        self.tally.progress.total_bytes = Some(end.raw_len);
        self.credit = 0;
        self.end = Some(end);
    }

    /// Lets CES go on as far as the window allows: few stripes that are not yet safe, few bytes in all.
    fn give_credit(&mut self, env: &mut Env<'_, '_>) {
        if self.end.is_some() || !matches!(self.phase, Phase::Streaming) {
            return;
        }
        let stripes = self.groups.values().filter(|group| group.record.is_some());
        let (open, unsafe_yet) =
            stripes.fold((0, 0), |(open, not), group| (open + 1, not + usize::from(group.stored < group.needed)));
        let window = (env.limits.window_bytes / self.code.stripe_bytes_max()).max(2);
        let room = window.saturating_sub(open).min(env.limits.window_stripes.saturating_sub(unsafe_yet));
        // Zero frames need no window; a straggler before them must not let their records pile up.
        let room = if self.ledger.unfiled() >= 2 * RECORDS_MAX { 0 } else { room };
        if let Some(more) = room.checked_sub(self.credit).filter(|more| *more > 0) {
            self.credit += more;
            env.cx.emit(Out::Credit { job: self.put.job, stripes: u32::try_from(more).unwrap_or(u32::MAX) });
        }
    }

    fn report_progress(&mut self, env: &mut Env<'_, '_>) {
        if matches!(self.phase, Phase::Finding | Phase::Reserving) {
            return;
        }
        if let Some(progress) = self.tally.due(env.cx.now(), env.limits.progress_interval) {
            env.cx.emit(Out::Job(JobEvent::Progress { job: self.put.job, progress }));
        }
    }

    fn arm_tick(&mut self, env: &mut Env<'_, '_>) {
        let asking = self.holders.iter().any(|holder| holder.asking.is_some());
        let vacant = self.seats.iter().any(Option::is_none);
        let idle = self.groups.is_empty() && !asking && !vacant && !self.tally.unreported();
        if self.tick.is_none() && !idle {
            self.tick = Some(env.cx.after(env.limits.tick, Timer::Hedge { job: self.put.job }.into()));
        }
    }

    /// Looks at everything that can be late.
    pub fn on_tick(&mut self, env: &mut Env<'_, '_>) {
        self.tick = None;
        self.check_holders(env);
        self.hedge(env);
    }

    /// Nothing useful for too long while peers are waited for (not CES, not the user's pipe): give up.
    pub fn on_stall_timer(&mut self, env: &mut Env<'_, '_>) {
        let waiting = matches!(self.phase, Phase::Finding | Phase::Reserving) || !self.groups.is_empty();
        let idle = env.cx.now().since(self.advanced);
        if waiting && idle >= env.limits.stall_max {
            let text = format!("no peer has done anything for {} seconds; {}", idle.as_secs(), self.how_far());
            return self.fail(self.blame(), text);
        }
        let rest = if waiting { env.limits.stall_max.saturating_sub(idle) } else { env.limits.stall_max };
        self.stall = Some(env.cx.after(rest, Timer::Stalled { job: self.put.job }.into()));
    }

    /// For error messages.
    pub fn how_far(&self) -> String {
        let usable = self.holders.iter().filter(|holder| holder.usable()).count();
        let progress = &self.tally.progress;
        let total = progress.total_bytes.map_or_else(String::new, |total| format!(" of {total}"));
        format!(
            "{}{total} bytes were readable when it stopped, and {usable} of {} peers remain{}: connect more peers and \
             put it again",
            progress.done_bytes,
            self.holders.len(),
            self.describe_losses()
        )
    }

    /// The job is over: gives back what it holds of others. If it `failed`, what it stored is dropped.
    pub fn close(&mut self, failed: bool, env: &mut Env<'_, '_>) {
        for timer in [self.tick.take(), self.stall.take()].into_iter().flatten() {
            env.cx.cancel(timer);
        }
        if failed && matches!(self.phase, Phase::Streaming) {
            env.cx.emit(Out::CancelEncode { job: self.put.job });
        }
        for copy in self.groups.values().flat_map(|group| &group.slots).flat_map(|slot| &slot.copies) {
            if let Some((tag, _)) = copy.sent {
                env.cx.emit(Out::CancelSend { peer: self.holders[copy.holder].peer, tag });
            }
        }
        for holder in &mut self.holders {
            let gone = matches!(holder.standing, Standing::Lost(Loss::Disconnected, _));
            for grant in std::mem::take(&mut holder.grants) {
                if !gone {
                    env.tell(holder.peer, Store::Release { grant: grant.id });
                }
            }
        }
        // After the releases: a shard that was under way is refused, or on the holder's disk before this is asked.
        self.drop_shards(failed, env);
        env.routes.forget_job(self.put.job);
    }

    /// Asks holders to forget what nobody will ask them for: copies that were withdrawn, and if the job `failed`, all
    /// shards that are remembered, those in flight too.
    fn drop_shards(&self, failed: bool, env: &mut Env<'_, '_>) {
        let mut shards: BTreeMap<usize, BTreeSet<ShardId>> = BTreeMap::new();
        for (holder, shard) in self.orphans.iter().filter(|_| !planted!("orphans-kept")) {
            shards.entry(*holder).or_default().insert(*shard);
        }
        if failed {
            self.collect_stored(&mut shards);
        }
        for (holder, shards) in shards {
            let Holder { peer, standing, .. } = self.holders[holder];
            if matches!(standing, Standing::Lost(Loss::Disconnected | Loss::Misconduct, _)) {
                continue;
            }
            let shards: Vec<_> = shards.into_iter().collect();
            for part in shards.chunks(DROP_SHARDS_MAX) {
                let request = env.routes.fresh();
                env.tell(peer, Store::Drop { request, shards: part.to_vec() });
            }
        }
    }

    fn collect_stored(&self, shards: &mut BTreeMap<usize, BTreeSet<ShardId>>) {
        let listed = |index: u8| self.listed.get(usize::from(index)).copied();
        let retired = self.ledger.undo().filter_map(|(index, shard)| Some((listed(index)?, shard)));
        let open = self.groups.values().filter(|group| group.record.is_some()).flat_map(|group| &group.slots);
        let open = open.flat_map(|slot| {
            let sent = slot.copies.iter().filter(|copy| copy.sent.is_some()).map(|copy| copy.holder);
            sent.chain(slot.stored_by).map(|holder| (holder, slot.id))
        });
        for (holder, shard) in retired.chain(open).chain(self.block_undo.iter().copied()) {
            shards.entry(holder).or_default().insert(shard);
        }
    }
}

impl From<Timer> for crate::api::upload::In {
    fn from(timer: Timer) -> Self {
        Self::Timer(timer)
    }
}
