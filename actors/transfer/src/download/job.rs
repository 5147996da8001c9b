//! [`Job`]: one download or removal: its state, its events, and the loop that decides what to do next.
//!
//! ```text
//! Open/Remove ─▶ search (root block) ─▶ open ─▶ window ⇄ stripes ⇄ holders ─▶ Close
//!                                          └──▶ removal ─▶ Done(Removed)
//! ```
//! Every event changes state and then runs [`Job::pump`], which looks at all of it and asks peers for what is lacking.
//! The topics are in files of their own: [`super::search`], [`super::fetch`], [`super::answer`], [`super::discover`], [`super::removal`],
//! [`super::verdict`].

use super::{
    Cx, block::Block, discover::Want, fetch::Request, ids::Ids, limits::*, outbox::Outbox, removal::Removal,
    search::Search, source::Sources, survey::Survey, tally::Tally, tree::Tree, window::Window,
};
use crate::api::{
    Candidate,
    download::{In, Out, Timer},
};
use pangea_kernel::{TimerId, planted};
use pangea_protocols::{
    Address, Cid, Hash, JobId, PeerId, ShardId,
    job::{JobError, JobEvent},
    manifest::RootBody,
    net::{Class, Command, SendError},
    time::Time,
    wire::{
        Frame, Message,
        fetch::{Fetch, ITEMS_MAX, Item},
    },
};
use std::{collections::BTreeMap, ops::Range, time::Duration};

/// What a job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// Bytes.
    Read,
    /// Some bytes of an object of which others will be read.
    ReadPart,
    /// The manifest alone.
    Survey,
    /// That nothing is left.
    Remove,
}

/// One job.
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) cid: Cid,
    timeout: Duration,
    pub(super) ids: Ids,
    pub(super) sources: Sources,
    /// Shards and blocks asked for with `Get`.
    pub(super) requests: BTreeMap<u64, Request>,
    /// Questions asked with `Want`.
    pub(super) wants: BTreeMap<u64, Want>,
    /// Manifest blocks under way.
    pub(super) blocks: BTreeMap<Hash, Block>,
    pub(super) search: Search,
    /// The manifest, once the root block is here.
    pub(super) tree: Option<Tree>,
    pub(super) window: Window,
    /// Set in jobs that remove.
    pub(super) removal: Option<Removal>,
    /// Set in jobs that survey.
    pub(super) survey: Option<Survey>,
    aim: Aim,
    pub(super) outbox: Outbox,
    pub(super) tally: Tally,
    /// When something wanted last arrived.
    pub(super) moved: Time,
    wake: Option<(Time, TimerId)>,
    stalled: Option<TimerId>,
    ended: bool,
}

impl Job {
    /// A job that has not asked anybody yet; see [`Job::begin`].
    pub fn new(id: JobId, cid: Cid, ids: Ids, (aim, timeout): (Aim, Duration), me: PeerId, now: Time) -> Self {
        Self {
            id,
            cid,
            timeout,
            ids,
            sources: Sources::new(me),
            requests: BTreeMap::new(),
            wants: BTreeMap::new(),
            blocks: BTreeMap::from([(cid.0, Block::default())]),
            search: Search::new(now),
            tree: None,
            window: Window::default(),
            removal: (aim == Aim::Remove).then(Removal::default),
            survey: (aim == Aim::Survey).then(Survey::default),
            aim,
            outbox: Outbox::default(),
            tally: Tally::default(),
            moved: now,
            wake: None,
            stalled: None,
            ended: false,
        }
    }

    /// Asks the hints, the connected peers and the DHT for the root block, all at once; unless it is known.
    pub fn begin(
        &mut self,
        cx: &mut Cx<'_>,
        hints: Vec<(PeerId, Address)>,
        connected: impl Iterator<Item = PeerId>,
        known: Option<RootBody>,
    ) {
        self.stalled = Some(cx.after(self.timeout, In::Timer(Timer::Stalled { job: self.id })));
        self.begin_search(cx, hints, connected);
        if let Some(root) = known {
            self.blocks.clear();
            self.on_root(cx, None, root);
        }
        self.pump(cx);
    }

    /// The root, if others of this object will need it.
    pub fn root_to_keep(&self) -> Option<&RootBody> {
        self.tree.as_ref().filter(|_| self.aim == Aim::ReadPart).map(Tree::root)
    }

    /// True if it has failed, or a removal is done; the job can be forgotten.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// CES wants these stripes.
    pub fn on_need(&mut self, cx: &mut Cx<'_>, stripes: Range<u64>) {
        // Ranges may run over the end: CES counts in bytes.
        let count = self.tree.as_ref().map_or(0, Tree::stripes);
        let count = if planted!("last-stripe-not-wanted") { count.saturating_sub(1) } else { count };
        let end = count.min(stripes.end);
        self.moved = cx.now();
        if self.window.want(stripes.start..end.max(stripes.start)) {
            self.pump(cx);
        } else {
            self.fail(cx, super::verdict::too_many_ranges());
        }
    }

    /// CES has no use for a stripe's bytes any more.
    pub fn on_consumed(&mut self, cx: &mut Cx<'_>, index: u64) {
        if self.window.consume(index) {
            self.moved = cx.now();
            self.pump(cx);
        }
    }

    /// The peer manager tells what it knows; nobody waited for it.
    pub fn on_ranked(&mut self, candidates: &[Candidate]) {
        candidates.iter().take(SOURCES_MAX).for_each(|candidate| self.sources.on_ranked(candidate));
    }

    /// A connection came up.
    pub fn on_connected(&mut self, cx: &mut Cx<'_>, peer: PeerId) {
        self.sources.learn(peer, false);
        self.sources.on_connected(peer);
        // What it was asked before it went is asked again.
        self.blocks.values_mut().for_each(|block| _ = block.questioned.remove(&peer));
        self.window.stripes.values_mut().for_each(|stripe| _ = stripe.questioned.remove(&peer));
        self.pump(cx);
    }

    /// The last connection went, or none came about.
    pub fn on_gone(&mut self, cx: &mut Cx<'_>, peer: PeerId) {
        if self.sources.get(peer).is_some() {
            self.lose_peer(peer, false, cx.now());
            self.pump(cx);
        }
    }

    /// A frame has left.
    pub fn on_sent(&mut self, peer: PeerId, tag: u64) {
        self.outbox.on_settled(tag, peer);
    }

    /// A frame has not left.
    pub fn on_send_failed(&mut self, cx: &mut Cx<'_>, peer: PeerId, tag: u64, error: SendError) {
        if !self.outbox.on_settled(tag, peer) {
            return;
        }
        let now = cx.now();
        match error {
            SendError::Unreachable | SendError::ConnectionLost => self.lose_peer(peer, false, now),
            SendError::NotPangea => {
                self.lose_peer(peer, false, now);
                self.sources.exclude(peer);
            }
            SendError::Refused | SendError::QueueFull | SendError::Cancelled => {
                self.sources.on_busy(peer, now);
                self.drop_frame(peer, tag, now);
            }
        }
        self.pump(cx);
    }

    /// Something may be late.
    pub fn on_due(&mut self, cx: &mut Cx<'_>) {
        if self.wake.is_some_and(|(at, _)| at <= cx.now()) {
            self.wake = None;
        }
        self.check_requests(cx);
        self.check_wants(cx.now());
        self.check_drops(cx.now());
        self.pump(cx);
    }

    /// Has anything moved for the length of the timeout?
    pub fn on_stalled(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let waits = self.tree.is_none()
            || self.removal.is_some()
            || self.survey.is_some()
            || !self.blocks.is_empty()
            || !self.window.stripes.is_empty();
        if !waits {
            // It is the receiver who takes its time: that is no failure.
            self.moved = now;
        }
        let due = self.moved + self.timeout;
        if due <= now {
            let error = self.verdict(now);
            return self.fail(cx, error);
        }
        let pause = due.since(now);
        self.stalled = Some(cx.after(pause, In::Timer(Timer::Stalled { job: self.id })));
    }

    /// Decides what to do next. Called after every change.
    pub fn pump(&mut self, cx: &mut Cx<'_>) {
        // A removal skips what nobody has, and looks again; each round walks on, so that it ends.
        while !self.ended {
            self.pump_search(cx);
            self.pump_removal(cx);
            self.pump_survey(cx);
            self.pump_window(cx);
            if self.ended {
                return;
            }
            self.pump_blocks(cx);
            self.pump_stripes(cx);
            self.discover(cx);
            if !self.give_up_if_hopeless(cx) {
                break;
            }
        }
        if self.ended {
            return;
        }
        self.flush(cx);
        self.tally.emit_if_due(cx, self.id);
        self.rearm(cx);
    }

    /// Ends the job with an error.
    pub fn fail(&mut self, cx: &mut Cx<'_>, error: JobError) {
        if self.ended {
            return;
        }
        tracing::info!(job = self.id.0, kind = ?error.kind, "download failed: {}", error.message);
        if matches!(self.aim, Aim::Read | Aim::ReadPart) {
            cx.emit(Out::CancelDecode { job: self.id });
        }
        self.end(cx);
        cx.emit(Out::Job(JobEvent::Failed { job: self.id, error }));
    }

    /// Cancels everything under way: nothing arrives for this job any more.
    pub fn end(&mut self, cx: &mut Cx<'_>) {
        self.ended = true;
        self.tally.emit(cx, self.id);
        self.outbox.gets.clear();
        let unsent = self.outbox.take_unsent();
        for (tag, peer) in &unsent {
            cx.emit(Out::Net(Command::CancelSend { peer: *peer, tag: *tag }));
        }
        for (id, request) in std::mem::take(&mut self.requests) {
            // Tag 0: it was never put into a frame.
            if request.tag != 0 && !unsent.contains_key(&request.tag) {
                self.outbox.cancels.entry(request.peer).or_default().push(id);
            }
        }
        self.flush(cx);
        let timers = [self.stalled.take(), self.wake.take().map(|(_, timer)| timer)];
        timers.into_iter().flatten().for_each(|timer| cx.cancel(timer));
    }

    /// Sends one frame; the answer `Sent` or `SendFailed` carries the tag that is returned.
    pub(super) fn send(&mut self, cx: &mut Cx<'_>, peer: PeerId, message: Message) -> u64 {
        let tag = self.ids.draw();
        self.outbox.on_emitted(tag, peer);
        cx.emit(Out::Net(Command::Send { peer, tag, class: Class::Control, frame: Frame::bare(message) }));
        tag
    }

    /// Notes an item for the next `Get` to `peer`.
    pub(super) fn post(&mut self, peer: PeerId, request: u64, shard: ShardId) {
        self.outbox.gets.entry(peer).or_default().push(Item { request, shard, range: None });
    }

    fn flush(&mut self, cx: &mut Cx<'_>) {
        for (peer, requests) in std::mem::take(&mut self.outbox.cancels) {
            for chunk in requests.chunks(ITEMS_MAX) {
                let (tag, requests) = (self.ids.draw(), chunk.to_vec());
                let frame = Frame::bare(Message::Fetch(Fetch::Cancel { requests }));
                cx.emit(Out::Net(Command::Send { peer, tag, class: Class::Control, frame }));
            }
        }
        for (peer, items) in std::mem::take(&mut self.outbox.gets) {
            for chunk in items.chunks(ITEMS_MAX) {
                let items = chunk.to_vec();
                let tag = self.send(cx, peer, Message::Fetch(Fetch::Get { items }));
                for item in chunk {
                    if let Some(request) = self.requests.get_mut(&item.request) {
                        request.tag = tag;
                    }
                }
            }
        }
    }

    /// One timer stands for all deadlines; it may fire early, never late.
    fn rearm(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let requests = self.requests.values().map(|request| request.check_at);
        let wants = self.wants.values().map(|want| want.sent + WANT_TIMEOUT);
        let next = requests.chain(wants).chain(self.next_drop_deadline()).chain(self.search_deadline(now));
        let next = next.chain(self.sources.next_retry(now)).chain(self.tally.due()).min();
        let Some(next) = next.map(|at| at.max(now + Duration::from_millis(1))) else { return };
        match self.wake {
            Some((at, _)) if at <= next => return,
            Some((_, timer)) => cx.cancel(timer),
            None => {}
        }
        let timer = cx.after(next.since(now), In::Timer(Timer::Hedge { job: self.id }));
        self.wake = Some((next, timer));
    }
}
