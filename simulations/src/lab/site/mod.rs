//! [`Site`]: a node with extensions as a member of a lab: a native one, or plugins in a real sandbox. What a node gives
//! them is modelled: connections, a store of objects, a folder, a disk that is durable when it has been synced.
//!
//! | file | its job |
//! |---|---|
//! | `mod.rs` | [`Cast`]: what stands on every node; [`Site`]: the member |
//! | `tenant.rs` | [`Tenant`]: how a core of either kind is spoken to |
//! | `given.rs` | what a node gives: objects and files |
//! | `lab.rs` | [`lab`]: a whole lab for a plugin, from its package |
//!
//! A call of a plugin runs when it is asked for, and ends as much later as its gas takes.

mod given;
mod lab;
mod tenant;

pub use lab::{Setup, Tried, With, agreed, lab, read};
pub use pangea_protocols::wire::extension::Name;
pub use tenant::{Hosted, Native, Tenant};

use crate::{
    lab::{Core, Cx, Member, Route, TimerId},
    record::NodeId,
};
use bytes::Bytes;
use pangea_kernel::{Effect, Seed, core::CxState, draw::Draws};
use pangea_plugins::api::{Package, Snapshot};
use pangea_protocols::{PeerId, guest};
use pangea_sandbox::{Guests, engine::Wasmi};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};
use tenant::{Heard, Wants};

/// What stands on every node of a lab.
pub trait Cast: 'static {
    /// [`Hosted`] for plugins, [`Native`] for a core of yours.
    type Tenant: Tenant;
    /// Makes the core.
    fn core(me: PeerId) -> <Self::Tenant as Tenant>::Core;
    /// The extension that is asked, and spoken of in frames of a native one.
    fn name() -> Name;
    /// Plugins that every node installs when it starts for the first time.
    fn packages() -> Vec<Package> {
        Vec::new()
    }
    /// What every node asks its extension every few seconds: [`Site::said`] has the answers.
    fn polls() -> Vec<String> {
        Vec::new()
    }
    /// One of so many wishes to store, fetch or remove fails; 0 if none does.
    fn failures() -> u64 {
        20
    }
}

/// How often a node asks what [`Cast::polls`] says.
const POLL_EVERY: Duration = Duration::from_secs(5);
/// Until a lost connection is made again.
const DIAL_AFTER: Duration = Duration::from_secs(5);
/// What a call of a guest takes …
const CALL: Duration = Duration::from_micros(200);
/// … and so much of it in a second.
const GAS_PER_S: f64 = 200e6;

/// What a node hears.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(serialize = "E: Serialize", deserialize = "E: DeserializeOwned"))]
pub enum In<E> {
    /// A user asks the extension.
    Ask(Bytes),
    /// A user writes a file into the folder, or removes it.
    Write { path: String, bytes: Option<Bytes> },
    /// The extension of another node says this.
    Frame { from: NodeId, name: Name, bytes: Bytes },
    /// Another node connects; `again` if it answers such a greeting.
    Hello { from: NodeId, again: bool },
    /// A connection broke.
    Broken(NodeId),
    /// Connect again.
    Dial(NodeId),
    /// Ask what is to be asked every few seconds.
    Poll,
    /// For the core.
    Core(E),
}

/// What it wants, and what it notes.
#[derive(Debug)]
pub enum Out<E> {
    Frame {
        to: NodeId,
        name: Name,
        bytes: Bytes,
    },
    Hello {
        to: NodeId,
        again: bool,
    },
    Save(Disk),
    SaveThen(Disk, E),
    /// A user's ask was answered.
    Answered {
        request: u64,
        result: Result<String, String>,
    },
}

/// What a node keeps.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// Plugins.
    pub plugins: BTreeMap<Name, (Package, Option<Snapshot>)>,
    /// The last snapshot of a native extension.
    pub snapshot: Option<Bytes>,
    /// Objects, by ticket.
    pub objects: BTreeMap<String, Bytes>,
    /// The folder: files, and when they were written, milliseconds since 1970.
    pub files: BTreeMap<String, (Bytes, u64)>,
}

type CoreOf<P> = <<P as Cast>::Tenant as Tenant>::Core;
type CoreIn<P> = <CoreOf<P> as Core>::In;

/// A node.
pub struct Site<P: Cast> {
    id: NodeId,
    peers: Vec<NodeId>,
    core: CoreOf<P>,
    state: CxState<CoreOf<P>>,
    guests: Guests,
    connected: BTreeSet<NodeId>,
    dialing: BTreeSet<NodeId>,
    disk: Disk,
    queue: VecDeque<CoreIn<P>>,
    /// Timers of the core, and of the node.
    timers: BTreeMap<TimerId, TimerId>,
    next: u64,
    /// Numbers of polls, and which.
    polls: BTreeMap<u64, String>,
    said: BTreeMap<String, Result<String, String>>,
}

/// The identity of a node.
pub fn peer(id: NodeId) -> PeerId {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&id.to_le_bytes());
    PeerId(bytes)
}

impl<P: Cast> Site<P> {
    /// The core.
    pub fn core(&self) -> &CoreOf<P> {
        &self.core
    }

    /// What it keeps.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The last answer to each of [`Cast::polls`].
    pub fn said(&self) -> &BTreeMap<String, Result<String, String>> {
        &self.said
    }

    fn node_of(&self, whom: PeerId) -> Option<NodeId> {
        self.peers.iter().copied().find(|id| peer(*id) == whom)
    }

    fn hear(&mut self, heard: Heard) {
        self.queue.extend(P::Tenant::hears(heard));
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn ask(&mut self, bytes: Bytes) -> u64 {
        let request = self.number();
        self.hear(Heard::Ask { request, name: P::name(), bytes });
        request
    }

    fn connect(&mut self, node: NodeId) {
        if self.connected.insert(node) {
            self.hear(Heard::Connected(peer(node)));
        }
    }

    fn disconnect(&mut self, node: NodeId) {
        if self.connected.remove(&node) {
            self.hear(Heard::Disconnected(peer(node)));
        }
    }

    /// What waits for the core, and what follows from it.
    fn drain(&mut self, cx: &mut Cx<'_, Self>) {
        while let Some(event) = self.queue.pop_front() {
            self.core.on(&mut self.state.cx(cx.now(), cx.unix()), event);
            self.effects(cx);
        }
    }

    fn effects(&mut self, cx: &mut Cx<'_, Self>) {
        for effect in self.state.take_effects() {
            match effect {
                Effect::Emit(out) => {
                    if let Some(wants) = P::Tenant::wants(out) {
                        self.carry_out(cx, wants);
                    }
                }
                Effect::After { timer, at, event } => {
                    let outer = cx.after(at.since(cx.now()), In::Core(event));
                    self.timers.insert(timer, outer);
                }
                Effect::Cancel(timer) => {
                    if let Some(outer) = self.timers.remove(&timer) {
                        cx.cancel(outer);
                    }
                }
            }
        }
    }

    fn carry_out(&mut self, cx: &mut Cx<'_, Self>, wants: Wants) {
        match wants {
            Wants::Send { name, to, bytes } => {
                if let Some(to) = self.node_of(to) {
                    cx.emit(Out::Frame { to, name, bytes });
                }
            }
            Wants::Guest(command) => self.run(cx, command),
            Wants::Save { name, number, package, snapshot } => {
                self.keep(&name, package, snapshot);
                let saved = P::Tenant::hears(Heard::Saved { name, number, error: None });
                if let Some(saved) = saved {
                    cx.emit(Out::SaveThen(self.disk.clone(), saved));
                }
            }
            Wants::Forget(name) => {
                self.disk.plugins.remove(&name);
                cx.emit(Out::Save(self.disk.clone()));
            }
            Wants::Node { name, out } => self.give(cx, name, out),
            Wants::Answer { request, result } => match self.polls.remove(&request) {
                Some(poll) => _ = self.said.insert(poll, result),
                None => cx.emit(Out::Answered { request, result }),
            },
        }
    }

    fn keep(&mut self, name: &Name, package: Option<Package>, snapshot: Option<Snapshot>) {
        match (self.disk.plugins.get_mut(name), package) {
            (Some(kept), package) => {
                if let Some(package) = package {
                    kept.0 = package;
                }
                kept.1 = snapshot.or(kept.1.take());
            }
            (None, Some(package)) => _ = self.disk.plugins.insert(name.clone(), (package, snapshot)),
            (None, None) => self.disk.snapshot = snapshot.map(|snapshot| snapshot.bytes),
        }
    }

    /// Runs a call of a guest now; what came of it is heard later.
    fn run(&mut self, cx: &mut Cx<'_, Self>, command: guest::Command) {
        let Some(event) = self.guests.finish(command) else { return };
        let gas = match &event {
            guest::Event::Ended { result: Ok(outcome), .. } => outcome.gas,
            _ => 0,
        };
        let took = CALL + Duration::from_secs_f64(gas as f64 / GAS_PER_S);
        if let Some(event) = P::Tenant::hears(Heard::Guest(event)) {
            cx.after(took, In::Core(event));
        }
    }
}

impl<P: Cast> Core for Site<P> {
    type In = In<CoreIn<P>>;
    type Out = Out<CoreIn<P>>;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        self.state = CxState::new(Draws::new(Seed::new(cx.rng("core").bytes())));
        self.core.start(&mut self.state.cx(cx.now(), cx.unix()));
        self.effects(cx);
        if self.disk.plugins.is_empty() {
            for package in P::packages() {
                let request = self.number();
                self.hear(Heard::Install { request, package });
            }
        }
        for (package, snapshot) in self.disk.plugins.clone().into_values() {
            self.hear(Heard::Restore { package, snapshot });
        }
        self.hear(Heard::Started { me: peer(self.id), snapshot: self.disk.snapshot.clone() });
        for to in self.peers.clone() {
            cx.emit(Out::Hello { to, again: false });
        }
        cx.after(POLL_EVERY, In::Poll);
        self.drain(cx);
    }

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: Self::In) {
        match event {
            In::Ask(bytes) => _ = self.ask(bytes),
            In::Write { path, bytes } => {
                match bytes {
                    Some(bytes) => _ = self.disk.files.insert(path, (bytes, cx.unix().0 * 1000)),
                    None => _ = self.disk.files.remove(&path),
                }
                cx.emit(Out::Save(self.disk.clone()));
            }
            In::Frame { from, name, bytes } => {
                self.connect(from);
                self.hear(Heard::Message { name, peer: peer(from), bytes });
            }
            In::Hello { from, again } => {
                if !again {
                    // It has been started anew, or has lost the connection.
                    self.disconnect(from);
                    cx.emit(Out::Hello { to: from, again: true });
                }
                self.connect(from);
            }
            In::Broken(node) => {
                self.disconnect(node);
                if self.dialing.insert(node) {
                    cx.after(DIAL_AFTER, In::Dial(node));
                }
            }
            In::Dial(node) => {
                self.dialing.remove(&node);
                if !self.connected.contains(&node) {
                    cx.emit(Out::Hello { to: node, again: false });
                }
            }
            In::Poll => {
                for poll in P::polls() {
                    let request = self.ask(Bytes::from(poll.clone()));
                    self.polls.insert(request, poll);
                }
                cx.after(POLL_EVERY, In::Poll);
            }
            In::Core(event) => self.queue.push_back(event),
        }
        self.drain(cx);
    }
}

impl<P: Cast> Member for Site<P> {
    type Saved = Disk;

    fn new(me: NodeId, peers: &[NodeId], saved: Option<Disk>) -> Self {
        let engine = Wasmi::new().unwrap_or_else(|error| panic!("the sandbox cannot be made: {error}"));
        Self {
            id: me,
            peers: peers.to_vec(),
            core: P::core(peer(me)),
            state: CxState::new(Draws::new(Seed::new([0; 32]))),
            guests: Guests::new(engine, u64::MAX),
            connected: BTreeSet::new(),
            dialing: BTreeSet::new(),
            disk: saved.unwrap_or_default(),
            queue: VecDeque::new(),
            timers: BTreeMap::new(),
            next: 0,
            polls: BTreeMap::new(),
            said: BTreeMap::new(),
        }
    }

    fn route(me: NodeId, out: Self::Out) -> Route<Self> {
        match out {
            Out::Frame { to, name, bytes } => Route::Reliable(to, In::Frame { from: me, name, bytes }),
            Out::Hello { to, again } => Route::Reliable(to, In::Hello { from: me, again }),
            Out::Save(disk) => Route::Save(disk),
            Out::SaveThen(disk, event) => Route::SaveThen(disk, In::Core(event)),
            note @ Out::Answered { .. } => Route::Note(note),
        }
    }

    fn bytes(message: &Self::In) -> u64 {
        match message {
            In::Frame { bytes, .. } => bytes.len() as u64 + 200,
            _ => 200,
        }
    }

    fn broken(peer: NodeId) -> Option<Self::In> {
        Some(In::Broken(peer))
    }
}
