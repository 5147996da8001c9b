//! [`PeerManager`]: the core. What it does lies one file per concern below it:
//!
//! | file | concern |
//! |---|---|
//! | `sessions` | connections that come, go or do not come about |
//! | `dialling` | the regular round: whom to dial, whom to trim |
//! | `guests` | those that there is no room for |
//! | `exchange` | peer exchange, and this node's own record |
//! | `conduct` | reports of other actors, bans, what follows from a change of state |
//! | `placing` | candidates, ranks and the list for the user |

mod conduct;
mod dialling;
mod exchange;
mod guests;
mod placing;
mod sessions;

use crate::{
    api::{In, Out, Tick},
    book::Book,
    config::Config,
    record::{ADDRESSES_MAX, Record},
};
use ed25519_dalek::SigningKey;
use guests::Guests;
use pangea_kernel::{Core, Cx, TimerId, planted};
use pangea_protocols::{Address, PeerId, net, time::Time, wire::pex::PeerRecord};
use std::{collections::BTreeSet, time::Duration};

/// Changed records are written this often.
pub const SAVE_EVERY: Duration = Duration::from_secs(30);
/// Most records in one [`Out::Save`].
pub const SAVE_MAX: usize = 256;
/// Most candidates in one answer.
pub const CANDIDATES_MAX: usize = 256;

/// The peer manager.
pub struct PeerManager {
    /// This node.
    me: PeerId,
    /// Signs this node's own record, nothing else.
    key: SigningKey,
    /// Limits, allow and deny lists.
    config: Config,
    /// Everybody known.
    book: Book,
    /// Those that there is no room for.
    guests: Guests,
    /// Where this node can be reached.
    listening: BTreeSet<Address>,
    /// This node's own record, until its addresses change or it grows old.
    own: Option<PeerRecord>,
    /// The last count that was told.
    told: u32,
    /// The next regular round, and when it comes.
    round: Option<(TimerId, Time)>,
    /// The next save.
    saving: Option<TimerId>,
    /// When peers are asked for others next.
    next_exchange: Time,
    next_expiry: Time,
    /// Tag of the last exchange frame.
    tag: u64,
}

impl PeerManager {
    /// For the node that `key` names.
    pub fn new(key: SigningKey, config: Config) -> Self {
        Self {
            me: PeerId(key.verifying_key().to_bytes()),
            book: Book::new(config.known_max),
            key,
            config,
            guests: Guests::default(),
            listening: BTreeSet::new(),
            own: None,
            told: 0,
            round: None,
            saving: None,
            next_exchange: Time(0),
            next_expiry: Time(0),
            tag: 0,
        }
    }

    /// Everybody known, for inspection.
    pub fn book(&self) -> &Book {
        &self.book
    }

    fn on_net(&mut self, cx: &mut Cx<'_, Self>, event: net::Event) {
        use net::Event;
        match event {
            Event::Listening { address } => self.on_listening(address, true),
            Event::NotListening { address } => self.on_listening(address, false),
            Event::Connected { peer, address, inbound } => self.on_connected(cx, peer, Some(address), inbound),
            Event::Disconnected { peer, dismissed, .. } => self.on_disconnected(cx, peer, dismissed),
            Event::DialFailed { peer, reason } => self.on_dial_failed(cx, peer, &reason),
            Event::Discovered { peer, addresses, source } => self.on_discovered(cx, peer, addresses, source),
            Event::Rtt { peer, rtt } => self.on_rtt(peer, rtt),
            Event::Garbage { peer, reason } => self.on_violation(cx, peer, &reason),
            // Frames come as `In::Pex`; the rest belongs to other actors.
            Event::Received { .. } | Event::Sent { .. } | Event::SendFailed { .. } | Event::Providers { .. } => {}
        }
    }

    fn on_bootstrap(&mut self, cx: &mut Cx<'_, Self>, peers: Vec<(PeerId, Vec<Address>)>) {
        for (peer, addresses) in peers {
            self.remember(cx, peer, addresses, |found| found.bootstrap = true);
        }
        self.schedule_round(cx, Duration::ZERO);
    }

    fn on_add(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, addresses: Vec<Address>) {
        self.remember(cx, peer, addresses, |found| found.record.kept = true);
        self.save_now(cx, peer);
        self.schedule_round(cx, Duration::ZERO);
    }

    /// Enters a peer that the owner of this node named, and lets it be dialled at once.
    fn remember(
        &mut self,
        cx: &mut Cx<'_, Self>,
        peer: PeerId,
        addresses: Vec<Address>,
        mark: impl Fn(&mut crate::book::Peer),
    ) {
        let (now, unix, me) = (cx.now(), cx.unix(), self.me);
        if peer == me {
            return;
        }
        if self.book.enter(peer, now, unix, cx.rng("evict")).is_none() {
            tracing::error!(%peer, "the peer database is full of pinned and banned peers: unban some");
            return;
        }
        let Some(found) = self.book.pin(peer, mark) else { return };
        found.record.hear(addresses);
        (found.next_dial, found.next_dial_isolated) = (now, now);
        found.record.dial_failures = 0;
    }

    fn on_restored(&mut self, cx: &mut Cx<'_, Self>, mut records: Vec<Record>) {
        let (now, unix, me) = (cx.now(), cx.unix().0, self.me);
        // Most recently seen first: if the configured limit has shrunk, those are kept.
        records.sort_by_key(|record| (std::cmp::Reverse(record.last_seen_unix), record.peer));
        records.retain(|record| record.peer != me);
        records.truncate(if planted!("peers-not-restored") { 0 } else { self.config.known_max });
        for (n, mut record) in records.into_iter().enumerate() {
            let peer = record.peer;
            record.addresses.truncate(ADDRESSES_MAX);
            let wait = Duration::from_secs(record.next_dial_unix.saturating_sub(unix)).min(crate::backoff::LONGEST);
            let learn: Vec<Address> = record.addresses.iter().map(|place| place.address.clone()).collect();
            let served = record.state.is_served();
            // A live entry knows more than the disk does: only what came before it is taken from there.
            if self.book.get(peer).is_some_and(|found| found.session.is_some() || found.record.was_seen()) {
                continue;
            }
            let kept = self.book.get(peer).is_some_and(|found| found.record.kept);
            let heard = self.book.get(peer).map(|found| found.record.addresses.clone()).unwrap_or_default();
            let Some(found) = self.book.insert(record, now, cx.rng("evict")) else { continue };
            found.record.kept |= kept;
            found.record.hear(heard.into_iter().map(|place| place.address));
            if !found.is_pinned() {
                (found.next_dial, found.next_dial_isolated) = (now + wait, now);
            }
            if !served {
                cx.emit(Out::Allow { peer, allowed: false });
            } else if n < SAVE_MAX && !learn.is_empty() {
                cx.emit(Out::Net(net::Command::Learn { peer, addresses: learn }));
            }
        }
        self.schedule_round(cx, Duration::ZERO);
    }

    fn on_save(&mut self, cx: &mut Cx<'_, Self>) {
        let records = self.book.take_unsaved(SAVE_MAX);
        if !records.is_empty() {
            cx.emit(Out::Save { records });
        }
        self.schedule_save(cx);
    }

    /// Writes one record without waiting: the user decided something about it.
    fn save_now(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId) {
        if let Some(found) = self.book.get(peer) {
            cx.emit(Out::Save { records: vec![found.record.clone()] });
        }
    }

    fn schedule_save(&mut self, cx: &mut Cx<'_, Self>) {
        if let Some(timer) = self.saving.take() {
            cx.cancel(timer);
        }
        self.saving = Some(cx.after(SAVE_EVERY, In::Tick(Tick::Save)));
    }

    /// Brings the next round forward, never back: events that come all the time must not put it off for ever.
    fn schedule_round(&mut self, cx: &mut Cx<'_, Self>, after: Duration) {
        let at = cx.now() + after;
        if self.round.is_some_and(|(_, planned)| planned <= at) {
            return;
        }
        self.cancel_round(cx);
        self.round = Some((cx.after(after, In::Tick(Tick::Maintain)), at));
    }

    fn cancel_round(&mut self, cx: &mut Cx<'_, Self>) {
        if let Some((timer, _)) = self.round.take() {
            cx.cancel(timer);
        }
    }

    fn tell_count(&mut self, cx: &mut Cx<'_, Self>) {
        let count = u32::try_from(self.book.connected_len()).unwrap_or(u32::MAX);
        if count != self.told {
            self.told = count;
            cx.emit(Out::Connected { count });
        }
    }

    fn hangup(cx: &mut Cx<'_, Self>, peer: PeerId) {
        cx.emit(Out::Net(net::Command::Hangup { peer }));
    }
}

impl Core for PeerManager {
    type In = In;
    type Out = Out;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        for peer in self.config.deny.clone() {
            cx.emit(Out::Allow { peer, allowed: false });
        }
        let bootstrap = self.config.bootstrap.clone();
        self.on_bootstrap(cx, bootstrap);
        self.schedule_save(cx);
    }

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: In) {
        match event {
            In::Net(event) => self.on_net(cx, event),
            In::Pex { peer, frame } => self.on_pex(cx, peer, frame),
            In::Bootstrap { peers } => self.on_bootstrap(cx, peers),
            In::Restored { records } => self.on_restored(cx, records),
            In::Candidates { request, count, bytes: _, exclude } => self.on_candidates(cx, request, count, &exclude),
            In::Rank { request, peers } => self.on_rank(cx, request, &peers),
            In::Report { peer, report } => self.on_report(cx, peer, report),
            In::List { request } => self.on_list(cx, request),
            In::Add { peer, addresses } => self.on_add(cx, peer, addresses),
            In::Ban { peer, reason } => self.on_ban(cx, peer, &reason),
            In::Unban { peer } => self.on_unban(cx, peer),
            In::Tick(Tick::Maintain) => self.on_maintain(cx),
            In::Tick(Tick::Save) => self.on_save(cx),
        }
    }
}
