//! The only part that changes anything: it takes a group of jobs, appends their records with one write and one sync,
//! and answers. Between two groups it commits the index and moves compaction on. Time is what its caller says.
//!
//! What a group changes is staged until its bytes are durable, so a failed write leaves no trace.

use super::{
    Options,
    compaction::Compaction,
    entry::{Claim, Entry, Location, add_claim},
    log::Log,
    opening::Shared,
    queue::{Gather, Queue, Taken, Weighed},
    record::Meta as Record,
    roots_of,
};
use bytes::Bytes;
use pangea_protocols::{
    PeerId, ShardId,
    disk::{Event, Failure, INDEX_BYTES_MIN, INDEX_BYTES_PER_SHARD, Meta, Usage},
    merkle::StripeProof,
    time::Time,
    wire::BODY_BYTES_MAX,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Most bytes of a record beside its body.
const RECORD_BYTES: u64 = 1024;
/// Changes that may wait for the index; beyond [`CHANGES_LIMIT`] appends are refused.
const CHANGES_MAX: usize = 32 << 10;
/// Where a disk whose index cannot be written stops taking shards.
const CHANGES_LIMIT: usize = 4 * CHANGES_MAX;
/// Bytes for which a sync is worth its cost: with more, a group waits for nothing.
const GATHER_BYTES: usize = 1 << 20;
/// Leases that are ended in one group.
const EXPIRE_GROUP: usize = 4096;

/// What the writer does.
pub enum Job {
    /// Store a shard.
    Append { tag: u64, shard: ShardId, meta: Meta, body: Bytes },
    /// Forget an owner's shards.
    Delete { tag: u64, owner: PeerId, shards: Vec<ShardId> },
    /// Forget all shards whose lease is over.
    Expire { tag: u64, now_unix: u64 },
    /// From a reader: these bytes are damaged.
    Damaged { tag: u64, shard: ShardId, at: Location },
}

impl Weighed for Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Append { body, .. } => body.len(),
            Self::Delete { shards, .. } => shards.len() * size_of::<ShardId>(),
            Self::Expire { .. } | Self::Damaged { .. } => 0,
        }
    }
}

/// What is answered once a group is durable.
enum Answer {
    Appended { tag: u64 },
    Deleted { tag: u64, owner: PeerId, shards: Vec<ShardId>, count: u32, roots: Vec<ShardId> },
    Corrupt { tag: u64 },
}

/// A change of one shard's entry, not yet durable.
struct Staged {
    old: Option<Entry>,
    new: Option<Entry>,
}

/// What is written together.
#[derive(Default)]
struct Group {
    buffers: Vec<Bytes>,
    bytes: u64,
    staged: BTreeMap<ShardId, Staged>,
    answers: Vec<Answer>,
}

/// The writer.
pub struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) options: Options,
    pub(super) log: Log,
    pub(super) compaction: Compaction,
    group: Group,
    /// Groups that could not be written since the start.
    pub(super) failed_groups: u64,
    /// Bytes and time since the index was committed.
    uncommitted_bytes: u64,
    committed_at: Time,
    /// What the caller said last.
    pub(super) now: Time,
}

impl Writer {
    /// Starts where recovery ended.
    pub fn new(shared: Arc<Shared>, options: Options, log: Log, now: Time) -> Self {
        Self {
            shared,
            options,
            log,
            compaction: Compaction::default(),
            group: Group::default(),
            failed_groups: 0,
            uncommitted_bytes: 0,
            committed_at: now,
            now,
        }
    }

    /// Works until the queue is closed and empty.
    pub fn run(mut self, queue: &Queue<Job>, clock: impl Fn() -> Time) {
        // Whether the last group was of several jobs, and its end.
        let (mut crowded, mut flushed_at) = (false, clock());
        loop {
            let patience = if self.is_busy(clock()) { Duration::ZERO } else { self.options.commit_interval };
            let gather = self.gather(crowded, clock().since(flushed_at));
            match queue.take_group(self.options.group_commands, self.options.group_bytes, patience, gather) {
                Taken::Items(jobs) if jobs.is_empty() => {}
                Taken::Items(jobs) => {
                    crowded = jobs.len() > 1;
                    self.on_jobs(jobs, clock());
                    flushed_at = clock();
                }
                Taken::Closed => break,
            }
            self.step(clock());
        }
        self.close();
    }

    /// Makes a group of jobs durable and answers it.
    pub fn on_jobs(&mut self, jobs: Vec<Job>, now: Time) {
        self.now = now;
        self.shared.catalog.index().revive();
        jobs.into_iter().for_each(|job| self.on_job(job));
        self.flush();
    }

    /// True if [`Writer::step`] has something to do that should not wait for the next group.
    pub fn is_busy(&self, now: Time) -> bool {
        self.compaction.is_due(&self.log.ledger, self.log.active(), &self.options, now)
    }

    /// Upkeep between two groups: one step of compaction, and a commit if one is due.
    pub fn step(&mut self, now: Time) {
        self.now = now;
        self.shared.catalog.index().revive();
        self.compact();
        self.commit_if_due();
    }

    /// When there is something to do again if nothing comes in; `None` for never.
    pub fn wake_at(&self) -> Option<Time> {
        if self.is_busy(self.now) {
            return Some(self.now);
        }
        let commit = self.committed_at + self.options.commit_interval;
        let commit = (self.shared.catalog.uncommitted() > 0).then(|| commit.max(self.now));
        commit.into_iter().chain(self.compaction.rested_at()).min()
    }

    /// Writes the index down.
    pub fn close(&mut self) {
        if let Err(error) = self.commit() {
            tracing::error!(%error, "shard index not written on close; the next open replays the segments");
        }
    }

    /// Who sends one job after the other is answered at once; of many jobs, those of one interval share a sync.
    fn gather(&self, crowded: bool, since_flush: Duration) -> Gather {
        let interval = if crowded { self.options.group_interval } else { Duration::ZERO };
        Gather { time: interval.saturating_sub(since_flush), bytes: GATHER_BYTES }
    }

    /// What the store occupies. The index is counted with the room it may grow into, so that a promise made against
    /// this figure holds.
    pub fn usage(&self) -> Usage {
        let shards = self.log.ledger.shards;
        let index = INDEX_BYTES_MIN + shards * INDEX_BYTES_PER_SHARD;
        let disk_bytes = self.log.ledger.bytes() + index.max(self.shared.catalog.index().file_bytes());
        let free_bytes = self.shared.segments.volume().free_bytes().unwrap_or(0);
        Usage { shards, disk_bytes, free_bytes }
    }

    fn on_job(&mut self, job: Job) {
        match job {
            Job::Append { tag, shard, meta, body } => {
                if let Err(error) = self.on_append(tag, shard, meta, body) {
                    self.shared.emit(Event::AppendFailed { tag, error });
                }
            }
            Job::Delete { tag, owner, shards } => {
                if let Err(error) = self.on_delete(tag, owner, shards) {
                    tracing::error!(%error, "shards not deleted");
                    self.shared.emit(Event::DeleteFailed { tag, error });
                }
            }
            Job::Expire { tag, now_unix } => self.on_expire(tag, now_unix),
            Job::Damaged { tag, shard, at } => self.on_damaged(tag, shard, at),
        }
    }

    fn on_append(&mut self, tag: u64, shard: ShardId, meta: Meta, body: Bytes) -> Result<(), Failure> {
        if body.len() > BODY_BYTES_MAX {
            return Err(Failure::Io(format!("a body of {} bytes is over the limit of {BODY_BYTES_MAX}", body.len())));
        }
        if self.shared.catalog.uncommitted() > CHANGES_LIMIT {
            return Err(Failure::Io("the shard index cannot be written".to_owned()));
        }
        self.make_room(body.len() as u64 + RECORD_BYTES)?;
        let claim = Claim { owner: meta.owner, kind: meta.kind, expires_unix: meta.expires_unix };
        match self.current(shard)? {
            None => self.stage_put(shard, vec![claim], meta.proof, body)?,
            Some(entry) => {
                let claims = add_claim(&entry.claims, claim)?;
                if !self.is_intact(shard, entry.at) {
                    self.stage_put(shard, claims, meta.proof, body)?;
                } else if claims != entry.claims {
                    self.stage_claims(shard, entry, claims)?;
                }
            }
        }
        self.group.answers.push(Answer::Appended { tag });
        Ok(())
    }

    fn on_delete(&mut self, tag: u64, owner: PeerId, shards: Vec<ShardId>) -> Result<(), Failure> {
        self.make_room(shards.len() as u64 * RECORD_BYTES)?;
        let (mut count, mut roots) = (0, Vec::new());
        for shard in &shards {
            match self.current(*shard)? {
                Some(entry) => {
                    let held = entry.claims.iter().any(|claim| claim.owner == owner);
                    if held || self.log.has_remains() {
                        roots.extend(self.stage_release(*shard, entry, |claim| claim.owner == owner)?);
                        count += u32::from(held);
                    }
                }
                None if self.log.has_remains() => {
                    self.stage_record(&Record::Gone { shard: *shard }, Bytes::new())?;
                }
                None => {}
            }
        }
        self.group.answers.push(Answer::Deleted { tag, owner, shards, count, roots });
        Ok(())
    }

    /// Leases are found in the index, so it is committed first, and after every group of them.
    fn on_expire(&mut self, tag: u64, now_unix: u64) {
        let (mut count, mut roots) = (0u32, Vec::new());
        let mut ended = |writer: &mut Self| -> Result<u32, Failure> {
            writer.flush();
            writer.commit()?;
            let shards = writer.shared.catalog.index().expired(now_unix, EXPIRE_GROUP)?;
            let failed_before = writer.failed_groups;
            let mut staged = (0, Vec::new());
            // What was staged before an error is written and told like the rest.
            let all = writer.stage_expired(&shards, now_unix, &mut staged);
            writer.flush();
            if writer.failed_groups != failed_before {
                return Err(Failure::Io("tombstones not written".to_owned()));
            }
            count += staged.0;
            roots.append(&mut staged.1);
            // A damaged index may name leases that no shard has: they are not to be asked for again.
            all.map(|()| staged.0)
        };
        loop {
            match ended(self) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "ended leases are not all forgotten; the next round tries again");
                    break;
                }
            }
        }
        self.shared.emit(Event::Deleted { tag, count, roots, usage: self.usage() });
    }

    /// Stages the end of leases; counts them, and adds the roots among them.
    fn stage_expired(
        &mut self,
        shards: &[ShardId],
        now_unix: u64,
        staged: &mut (u32, Vec<ShardId>),
    ) -> Result<(), Failure> {
        for shard in shards {
            self.make_room(RECORD_BYTES)?;
            let Some(entry) = self.current(*shard)? else { continue };
            if entry.claims.iter().any(|claim| claim.expires_unix < now_unix) {
                staged.1.extend(self.stage_release(*shard, entry, |claim| claim.expires_unix < now_unix)?);
                staged.0 += 1;
            }
        }
        Ok(())
    }

    fn on_damaged(&mut self, tag: u64, shard: ShardId, at: Location) {
        match self.current(shard) {
            Ok(Some(entry)) if entry.at == at => {
                tracing::error!(?shard, segment = at.segment, offset = at.offset, "shard damaged on disk");
                self.stage(shard, Some(entry), None);
                self.group.answers.push(Answer::Corrupt { tag });
            }
            // Stored again or moved in the meantime: it is fine now, and the asker will find that out by asking.
            Ok(Some(_)) => self.shared.emit(Event::ReadFailed { tag, error: Failure::Io("moved".to_owned()) }),
            Ok(None) => self.shared.emit(Event::Corrupt { tag }),
            Err(error) => self.shared.emit(Event::ReadFailed { tag, error }),
        }
    }

    /// The entry as it will be once the group is durable.
    pub(super) fn current(&self, shard: ShardId) -> Result<Option<Entry>, Failure> {
        match self.group.staged.get(&shard) {
            Some(staged) => Ok(staged.new.clone()),
            None => self.shared.catalog.get(shard),
        }
    }

    /// True if the bytes are there; those of this group are taken for granted.
    fn is_intact(&self, shard: ShardId, at: Location) -> bool {
        let durable = self.log.durable();
        let staged = at.segment == durable.segment && at.offset >= durable.offset;
        staged || matches!(self.shared.segments.read(at), Ok(Some((meta, _))) if meta.shard() == shard)
    }

    /// Makes sure that `bytes` more fit into the active segment; writes the group and rolls over if they do not.
    pub(super) fn make_room(&mut self, bytes: u64) -> Result<(), Failure> {
        if self.log.place(self.group.bytes, bytes).is_some() {
            return Ok(());
        }
        self.flush();
        if self.log.place(0, bytes).is_some() {
            return Ok(());
        }
        self.log.roll()
    }

    pub(super) fn stage_put(
        &mut self,
        shard: ShardId,
        claims: Vec<Claim>,
        proof: StripeProof,
        body: Bytes,
    ) -> Result<(), Failure> {
        // Before the record is staged: one that the index then does not get would come back after a crash.
        let old = self.current(shard)?;
        let at = self.stage_record(&Record::Put { shard, claims: claims.clone(), proof }, body)?;
        self.stage(shard, old, Some(Entry { at, note: None, claims }));
        Ok(())
    }

    pub(super) fn stage_claims(&mut self, shard: ShardId, entry: Entry, claims: Vec<Claim>) -> Result<(), Failure> {
        let at = self.stage_record(&Record::Claims { shard, claims: claims.clone() }, Bytes::new())?;
        let new = Entry { at: entry.at, note: Some(at), claims };
        self.stage(shard, Some(entry), Some(new));
        Ok(())
    }

    /// Takes the claims away for which `ends` is true; returns the shard if it is no root any more.
    fn stage_release(
        &mut self,
        shard: ShardId,
        entry: Entry,
        ends: impl Fn(&Claim) -> bool,
    ) -> Result<Option<ShardId>, Failure> {
        let was_root = entry.is_root();
        let claims: Vec<Claim> = entry.claims.iter().filter(|claim| !ends(claim)).copied().collect();
        if claims.is_empty() {
            self.stage_record(&Record::Gone { shard }, Bytes::new())?;
            self.stage(shard, Some(entry), None);
        } else {
            self.stage_claims(shard, entry, claims)?;
        }
        let is_root = self.current(shard)?.is_some_and(|entry| entry.is_root());
        Ok((was_root && !is_root).then_some(shard))
    }

    fn stage_record(&mut self, record: &Record, body: Bytes) -> Result<Location, Failure> {
        let place = self.log.place(self.group.bytes, 0);
        let (segment, offset, mark) = place.ok_or_else(|| Failure::Io("no segment is open".to_owned()))?;
        let head = record.encode(mark, &body).map_err(|error| Failure::Io(error.to_string()))?;
        let len = head.len() + body.len();
        self.group.buffers.push(head.into());
        if !body.is_empty() {
            self.group.buffers.push(body);
        }
        self.group.bytes += len as u64;
        Ok(Location { segment, offset, len: u32::try_from(len).unwrap_or(u32::MAX) })
    }

    fn stage(&mut self, shard: ShardId, old: Option<Entry>, new: Option<Entry>) {
        // The first old entry of a group is the one that the ledger knows.
        self.group.staged.entry(shard).or_insert(Staged { old, new: None }).new = new;
    }

    /// Makes the group durable and answers it.
    pub(super) fn flush(&mut self) {
        if let Err((error, answers)) = self.write_group() {
            self.failed_groups += 1;
            for answer in answers {
                match answer {
                    Answer::Appended { tag } => {
                        self.shared.emit(Event::AppendFailed { tag, error: error.clone() });
                    }
                    Answer::Corrupt { tag } => self.shared.emit(Event::Corrupt { tag }),
                    Answer::Deleted { tag, owner, shards, .. } => self.delete_alone(tag, owner, shards),
                }
            }
        }
    }

    /// A tombstone is small: it may fit where the group did not, and it is what frees space.
    fn delete_alone(&mut self, tag: u64, owner: PeerId, shards: Vec<ShardId>) {
        let staged = self.on_delete(tag, owner, shards);
        let written = staged.and_then(|()| self.write_group().map_err(|(error, _)| error));
        if let Err(error) = written {
            tracing::error!(%error, "shards not deleted");
            self.group = Group::default();
            self.shared.emit(Event::DeleteFailed { tag, error });
        }
    }

    fn write_group(&mut self) -> Result<(), (Failure, Vec<Answer>)> {
        let group = std::mem::take(&mut self.group);
        if group.bytes > 0
            && let Err(error) = self.log.append(&group.buffers, group.bytes)
        {
            tracing::warn!(%error, bytes = group.bytes, "shards not written");
            return Err((error, group.answers));
        }
        self.uncommitted_bytes += group.bytes;
        for (shard, Staged { old, new }) in group.staged {
            self.log.ledger.change(old.as_ref(), new.as_ref());
            self.shared.catalog.set(shard, new);
        }
        self.answer(group.answers);
        Ok(())
    }

    fn answer(&self, answers: Vec<Answer>) {
        if answers.is_empty() {
            return;
        }
        let usage = self.usage();
        let (mut tags, mut others) = (Vec::new(), Vec::new());
        for answer in answers {
            match answer {
                Answer::Appended { tag } => tags.push(tag),
                Answer::Deleted { tag, count, roots, .. } => others.push(Event::Deleted { tag, count, roots, usage }),
                Answer::Corrupt { tag } => others.push(Event::Corrupt { tag }),
            }
        }
        if !tags.is_empty() {
            self.shared.emit(Event::Appended { tags, usage });
        }
        others.into_iter().for_each(|event| self.shared.emit(event));
    }

    fn commit_if_due(&mut self) {
        let uncommitted = self.shared.catalog.uncommitted();
        let late = uncommitted > 0 && self.now.since(self.committed_at) >= self.options.commit_interval;
        if (late || uncommitted >= CHANGES_MAX || self.uncommitted_bytes >= self.options.commit_bytes)
            && let Err(error) = self.commit()
        {
            tracing::error!(%error, "shard index not written; trying again later");
        }
    }

    /// Brings the index up to the last durable byte.
    pub(super) fn commit(&mut self) -> Result<(), Failure> {
        self.committed_at = self.now;
        self.uncommitted_bytes = 0;
        if self.shared.catalog.uncommitted() > 0 {
            self.shared.catalog.commit(self.log.durable())?;
        }
        Ok(())
    }

    /// The first thing the chunk store hears.
    pub fn announce(&self, roots: &std::collections::BTreeSet<ShardId>) {
        self.shared.emit(Event::Opened { usage: self.usage() });
        roots_of(roots).into_iter().for_each(|shards| self.shared.emit(Event::Roots { shards }));
    }
}
