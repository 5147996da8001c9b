//! [`Tap`]: sits on the ports between a node's actors and its drivers. It shows what passes to the [`Observer`], keeps
//! what a node remembers across restarts, and makes a node misbehave that shall ([`Conduct`]).
//!
//! It is the same in all tiers: actors and drivers cannot tell that it is there.

use crate::{
    observer::{Observer, Sight},
    plan::Conduct,
    record::NodeId,
};
use bytes::Bytes;
use pangea::{
    node::{extensions::DeskIn, hub::HubIn},
    store::peers::PEERS_KEPT,
};
use pangea_compute::api::coordinator;
use pangea_kernel::{Draw, Port, Rejected, Seed};
use pangea_peers::record::Record;
use pangea_protocols::{
    Hash, PeerId, disk,
    net::{self, Class},
    task::Ending,
    wire::{
        Frame, Message,
        fetch::Fetch,
        have::Have,
        store::{Refusal, Store},
    },
};
use pangea_sandbox::{
    api as sandbox,
    work::{Done, State as Ended},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long a slowloris thinks before it answers.
const STALL: Duration = Duration::from_secs(150);
/// Right results of a node that begins to cheat late.
const HONEST: u64 = 10;
/// Frames of the past that a babbling node repeats.
const BABBLE_MAX: usize = 32;

/// The tap of one node. Clones are the same tap.
#[derive(Clone)]
pub struct Tap {
    node: NodeId,
    observer: Observer,
    state: Arc<Mutex<State>>,
}

/// The taps of all nodes; each outlives the crashes of its node. Clones are the same taps.
#[derive(Clone)]
pub struct Taps {
    observer: Observer,
    seed: Seed,
    saved_max: usize,
    taps: Arc<Mutex<BTreeMap<NodeId, Tap>>>,
}

impl Taps {
    /// No taps yet; `seed` is for misbehaviour.
    pub fn new(observer: Observer, seed: Seed) -> Self {
        Self { observer, seed, saved_max: PEERS_KEPT, taps: Arc::default() }
    }

    /// Nodes keep the records of so many peers across restarts, instead of as many as the node store keeps.
    pub fn keeping(self, peers: usize) -> Self {
        Self { saved_max: peers, ..self }
    }

    /// The tap of a node.
    pub fn of(&self, node: NodeId) -> Tap {
        let mut taps = self.taps.lock().unwrap_or_else(PoisonError::into_inner);
        taps.entry(node).or_insert_with(|| Tap::new(node, self.observer.clone(), &self.seed, self.saved_max)).clone()
    }

    /// Who watches.
    pub fn observer(&self) -> Observer {
        self.observer.clone()
    }
}

struct State {
    conduct: Option<Conduct>,
    draw: Draw,
    said: VecDeque<(PeerId, Frame)>,
    /// Tasks that its sandbox has run to their ends.
    computed: u64,
    saved: BTreeMap<PeerId, Record>,
    /// Records that are kept, as in the node store; a fifth more may be there for a while.
    saved_max: usize,
}

/// What becomes of a frame that a node wants to send.
enum Verdict {
    Pass(Frame),
    Swallow,
    Later(Frame),
    /// Pass it, and repeat an old one to somebody.
    Babble(Frame, PeerId, Frame),
}

impl Tap {
    /// For one node that keeps the records of `saved_max` peers; `seed` is for its misbehaviour only.
    pub fn new(node: NodeId, observer: Observer, seed: &Seed, saved_max: usize) -> Self {
        let draw = seed.derive("conduct").derive(&node.to_string()).draw();
        let state =
            State { conduct: None, draw, said: VecDeque::new(), computed: 0, saved: BTreeMap::new(), saved_max };
        Self { node, observer, state: Arc::new(Mutex::new(state)) }
    }

    /// How the node behaves from now on; `None`: well.
    pub fn behave(&self, conduct: Option<Conduct>) {
        self.state().conduct = conduct;
    }

    /// The peers that the node has saved.
    pub fn saved_peers(&self) -> Vec<Record> {
        self.state().saved.values().cloned().collect()
    }

    /// Lets it remember peers as if it had saved them.
    pub fn remember(&self, records: impl IntoIterator<Item = Record>) {
        let state = &mut *self.state();
        state.saved.extend(records.into_iter().map(|record| (record.peer, record)));
        if state.saved.len() > state.saved_max + state.saved_max / 5 {
            let mut rows: Vec<_> = state.saved.values().map(|record| (Reverse(record.worth()), record.peer)).collect();
            rows.sort_unstable();
            rows.iter().skip(state.saved_max).for_each(|(_, peer)| _ = state.saved.remove(peer));
        }
    }

    /// Between the actors and the network driver: commands. `events` is where the driver's events go.
    pub fn network(&self, driver: Port<net::Command>, events: Port<net::Event>) -> Port<net::Command> {
        let tap = self.clone();
        Port::new(move |command| match command {
            net::Command::Send { peer, tag, class, frame } => {
                tap.observer.see(Some(tap.node), Sight::Send { to: peer, frame: &frame });
                tap.send(&driver, &events, peer, tag, class, frame)
            }
            command => {
                tap.observer.see(Some(tap.node), Sight::Network(&command));
                driver.send(command)
            }
        })
    }

    /// Between the network driver and the actors: events.
    pub fn network_events(&self, actors: Port<net::Event>) -> Port<net::Event> {
        let tap = self.clone();
        Port::new(move |event| {
            if let net::Event::Received { frame, .. } = &event
                && tap.state().conduct == Some(Conduct::Older)
                && is_unknown_to_older(frame)
            {
                return Ok(());
            }
            // Shown before it is taken: what follows from an event is seen after it. An event that is handed back will
            // be seen again.
            let sight = match &event {
                net::Event::Received { peer, frame } => Sight::Receive { from: *peer, frame },
                other => Sight::Heard(other),
            };
            tap.observer.see(Some(tap.node), sight);
            actors.send(event)
        })
    }

    /// Between the chunk store and the disk: commands. `events` is where the disk's answers go.
    pub fn disk(&self, driver: Port<disk::Command>, events: Port<disk::Event>) -> Port<disk::Command> {
        let tap = self.clone();
        Port::new(move |command| {
            tap.observer.see(Some(tap.node), Sight::Disk(&command));
            match command {
                disk::Command::Append { tag, .. }
                    if matches!(tap.state().conduct, Some(Conduct::Lying | Conduct::Forging)) =>
                {
                    let usage = disk::Usage { shards: 0, disk_bytes: 0, free_bytes: 1 << 40 };
                    tap.soon(&events, disk::Event::Appended { tags: vec![tag], usage });
                    Ok(())
                }
                command => driver.send(command),
            }
        })
    }

    /// Between the disk and the chunk store: answers.
    pub fn disk_events(&self, actors: Port<disk::Event>) -> Port<disk::Event> {
        let tap = self.clone();
        Port::new(move |event| {
            tap.observer.see(Some(tap.node), Sight::DiskSaid(&event));
            actors.send(event)
        })
    }

    /// Between the workers of the sandbox and the sandbox: results.
    pub fn sandbox(&self, actor: Port<sandbox::In>) -> Port<sandbox::In> {
        let tap = self.clone();
        Port::new(move |message| {
            let cheats = tap.state().cheats(&message);
            actor.send(if cheats { cheated(message) } else { message })
        })
    }

    /// Between the coordinator and the jobs driver.
    pub fn jobs(&self, driver: Port<coordinator::Out>) -> Port<coordinator::Out> {
        let tap = self.clone();
        Port::new(move |out| {
            tap.observer.see(Some(tap.node), Sight::Jobs(&out));
            driver.send(out)
        })
    }

    /// Between the plugins actor and the desk.
    pub fn desk(&self, driver: Port<DeskIn>) -> Port<DeskIn> {
        let tap = self.clone();
        Port::new(move |message| {
            if let DeskIn::Plugins(out) = &message {
                tap.observer.see(Some(tap.node), Sight::Plugins(out));
            }
            driver.send(message)
        })
    }

    /// What the hub is in production.
    pub fn hub(&self) -> Port<HubIn> {
        let tap = self.clone();
        Port::new(move |message| {
            if let HubIn::SavePeers { records } = &message {
                tap.remember(records.iter().cloned());
            }
            tap.observer.see(Some(tap.node), Sight::Hub(&message));
            Ok(())
        })
    }

    fn send(
        &self,
        driver: &Port<net::Command>,
        events: &Port<net::Event>,
        peer: PeerId,
        tag: u64,
        class: Class,
        frame: Frame,
    ) -> Result<(), Rejected<net::Command>> {
        match self.verdict(peer, frame) {
            Verdict::Pass(frame) => driver.send(net::Command::Send { peer, tag, class, frame }),
            Verdict::Swallow => {
                self.soon(events, net::Event::Sent { peer, tag });
                Ok(())
            }
            Verdict::Later(frame) => {
                let driver = driver.clone();
                self.observer.timeline().after(STALL, move || {
                    // The peer may be gone by then.
                    let _ = driver.send(net::Command::Send { peer, tag, class, frame });
                });
                Ok(())
            }
            Verdict::Babble(frame, victim, old) => {
                let _ = driver.send(net::Command::Send { peer: victim, tag: 0, class, frame: old });
                driver.send(net::Command::Send { peer, tag, class, frame })
            }
        }
    }

    fn verdict(&self, peer: PeerId, frame: Frame) -> Verdict {
        let mut state = self.state();
        let Some(conduct) = state.conduct else { return Verdict::Pass(frame) };
        match conduct {
            Conduct::Withholding if is_answer_to_get(&frame) => Verdict::Swallow,
            Conduct::Older if is_unknown_to_older(&frame) => Verdict::Swallow,
            Conduct::Stalling if is_answer(&frame) => Verdict::Later(frame),
            Conduct::Corrupting => Verdict::Pass(corrupted(frame, &mut state.draw)),
            Conduct::FreeRiding => Verdict::Pass(refused(frame)),
            Conduct::Forging => Verdict::Pass(forged(frame)),
            Conduct::Mangling => Verdict::Pass(mangled(frame)),
            Conduct::Babbling => state.babble(peer, frame),
            _ => Verdict::Pass(frame),
        }
    }

    /// Answers as a driver does: not from within the command.
    fn soon<M: Send + 'static>(&self, port: &Port<M>, message: M) {
        let port = port.clone();
        self.observer.timeline().after(Duration::from_millis(1), move || {
            let _ = port.send(message);
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Does the node lie about this result?
    fn cheats(&mut self, message: &sandbox::In) -> bool {
        if !matches!(message, sandbox::In::Worked(Done::Sliced { state: Ended::Ended { .. }, .. })) {
            return false;
        }
        self.computed += 1;
        match self.conduct {
            Some(Conduct::Cheating) => true,
            Some(Conduct::CheatingSometimes) => self.draw.below(5) == 0,
            Some(Conduct::CheatingLate) => self.computed > HONEST,
            _ => false,
        }
    }

    fn babble(&mut self, peer: PeerId, frame: Frame) -> Verdict {
        let at = usize::try_from(self.draw.below(self.said.len() as u64)).unwrap_or(0);
        let old = self.said.get(at).cloned();
        self.said.push_back((peer, frame.clone()));
        if self.said.len() > BABBLE_MAX {
            self.said.pop_front();
        }
        match old {
            Some((victim, old)) if self.draw.below(4) == 0 => Verdict::Babble(frame, victim, old),
            _ => Verdict::Pass(frame),
        }
    }
}

/// Another output, and a receipt for it: the node will sign for it in good faith. All cheats tell the same lie.
fn cheated(message: sandbox::In) -> sandbox::In {
    let sandbox::In::Worked(Done::Sliced { task, lines, state: Ended::Ended { mut outcome, mut receipt } }) = message
    else {
        return message;
    };
    if let Ending::Output(bytes) = &outcome.ending {
        let lie: Bytes = bytes.iter().map(|byte| !byte).chain([0]).collect::<Vec<u8>>().into();
        receipt.output = Ok(Hash::of(&lie));
        outcome.ending = Ending::Output(lie);
    }
    sandbox::In::Worked(Done::Sliced { task, lines, state: Ended::Ended { outcome, receipt } })
}

fn is_answer_to_get(frame: &Frame) -> bool {
    matches!(
        frame.message,
        Message::Fetch(Fetch::Found { .. } | Fetch::Missing { .. }) | Message::Have(Have::Have { .. })
    )
}

fn is_answer(frame: &Frame) -> bool {
    let store = matches!(
        frame.message,
        Message::Store(Store::Reserved { .. } | Store::Stored { .. } | Store::NotStored { .. } | Store::Dropped { .. })
    );
    store || is_answer_to_get(frame)
}

fn is_unknown_to_older(frame: &Frame) -> bool {
    matches!(frame.message, Message::Have(_) | Message::Pex(_) | Message::Compute(_) | Message::Extension(_))
}

fn corrupted(frame: Frame, draw: &mut Draw) -> Frame {
    if !matches!(frame.message, Message::Fetch(Fetch::Found { .. })) || frame.body.is_empty() {
        return frame;
    }
    let mut body = frame.body.to_vec();
    let at = usize::try_from(draw.below(body.len() as u64)).unwrap_or(0);
    body[at] ^= 1 << draw.below(8);
    Frame { message: frame.message, body: Bytes::from(body) }
}

fn refused(frame: Frame) -> Frame {
    match frame.message {
        Message::Store(Store::Reserved { request, .. }) => {
            Frame::bare(Message::Store(Store::Refused { request, reason: Refusal::Quota }))
        }
        message => Frame { message, body: frame.body },
    }
}

/// A receipt with a signature that is none.
fn forged(mut frame: Frame) -> Frame {
    if let Message::Store(Store::Stored { receipt, .. }) = &mut frame.message {
        receipt.signature.iter_mut().take(1).for_each(|byte| *byte ^= 1);
    }
    frame
}

/// A shard whose last bit is another.
fn mangled(frame: Frame) -> Frame {
    if !matches!(frame.message, Message::Store(Store::Put { .. })) || frame.body.is_empty() {
        return frame;
    }
    let mut body = frame.body.to_vec();
    body.iter_mut().next_back().into_iter().for_each(|byte| *byte ^= 1);
    Frame { message: frame.message, body: Bytes::from(body) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::Timeline;

    #[test]
    fn a_node_remembers_so_many_peers_and_those_seen_last() {
        let observer = Observer::new(Timeline::default());
        let tap = Taps::new(observer, Seed::new([1; 32])).keeping(10).of(0);
        let record = |n: u8| {
            let mut record = Record::new(PeerId([n; 32]), 1);
            record.last_seen_unix = u64::from(n % 20);
            record
        };
        tap.remember((0..12).map(record));
        assert_eq!(tap.saved_peers().len(), 12, "a fifth more for a while");
        tap.remember((12..20).map(record));
        let kept: Vec<u8> = tap.saved_peers().iter().map(|record| record.peer.0[0]).collect();
        assert_eq!(kept, [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    }
}
