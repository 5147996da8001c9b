//! [`Node`]: a coordinator and a worker wired to each other, to a sandbox that takes its time and to a store, as a member
//! of the lab. [`Cast`] says who lies and who is slow.

use crate::task;
use ed25519_dalek::SigningKey;
use pangea_compute::{
    Coordinator, Worker,
    api::{Candidate, News, ReadNews, Report, Saved, Spec, coordinator, worker},
    worker::is_passed_on,
};
use pangea_kernel::{Core, Cx, Effect, Seed, core::CxState, draw::Draws};
use pangea_protocols::{
    JobId, PeerId,
    stored::StoredInput,
    task::{Outcome, Receipt, TaskId},
    wire::Frame,
};
use pangea_simulations::lab::{Member, NodeId, Route};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    marker::PhantomData,
    time::Duration,
};

/// Who plays which part in a lab.
pub trait Cast: 'static {
    /// Does this node lie about its `ran`-th task? `chance` is from 0 to 1.
    fn lies(_id: NodeId, _ran: u64, _chance: f64) -> bool {
        false
    }
    /// May it be asked to compute by a user?
    fn is_honest(_id: NodeId) -> bool {
        true
    }
    /// Does a node find another when it looks for hosts?
    fn knows(_me: NodeId, _other: NodeId) -> bool {
        true
    }
    /// Does the store keep what is to be saved?
    fn keeps() -> bool {
        true
    }
    /// How long a task takes on an ordinary node, on average.
    fn took() -> Duration {
        Duration::from_millis(400)
    }
    /// A task takes so many times as long as elsewhere.
    fn slowness(_id: NodeId) -> f64 {
        1.0
    }
    /// Do the inputs of jobs lie in a stored object?
    fn stores() -> bool {
        false
    }
    /// Can this node read that object this time? `chance` is from 0 to 1.
    fn reads(_id: NodeId, _chance: f64) -> bool {
        true
    }
    /// Bounds of coordinators.
    fn coordinator() -> pangea_compute::coordinator::Limits {
        pangea_compute::coordinator::Limits::default()
    }
    /// Bounds of workers.
    fn worker() -> pangea_compute::worker::Limits {
        pangea_compute::worker::Limits::default()
    }
}

/// What a node hears.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum In {
    /// A user wants this.
    Submit(JobId, Box<Spec>),
    /// The user has changed their mind.
    Cancel(JobId),
    /// Another node says this.
    Frame(NodeId, Frame),
    /// A connection broke.
    Broken(NodeId),
    /// For the coordinator.
    Coordinator(coordinator::In),
    /// For the worker.
    Worker(worker::In),
    /// The sandbox is done.
    Ran(TaskId, Outcome, Receipt),
}

/// What it wants and what it notes.
#[derive(Debug)]
pub enum Out {
    Frame(NodeId, Frame),
    Save(Disk),
    News(JobId, News),
    Report(NodeId, Report),
}

/// Jobs that have not ended.
pub type Disk = BTreeMap<JobId, (Spec, Vec<Saved>)>;

struct Cell<C: Core> {
    core: C,
    state: CxState<C>,
}

/// A node.
pub struct Node<P> {
    id: NodeId,
    peers: Vec<NodeId>,
    coordinator: Cell<Coordinator>,
    worker: Cell<Worker>,
    pub disk: Disk,
    /// Tasks that its sandbox has run.
    pub ran: u64,
    /// Tasks that its worker has passed on.
    pub passed_on: u64,
    /// Inside of it.
    queue: VecDeque<In>,
    cast: PhantomData<P>,
}

pub fn key(id: NodeId) -> SigningKey {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&id.to_le_bytes());
    SigningKey::from_bytes(&bytes)
}

pub fn peer(id: NodeId) -> PeerId {
    PeerId(key(id).verifying_key().to_bytes())
}

fn node_of(peers: &[NodeId], peer: PeerId) -> Option<NodeId> {
    peers.iter().copied().find(|id| self::peer(*id) == peer)
}

impl<P: Cast> Node<P> {
    /// Is nothing left of any job, in the coordinator and in the worker?
    pub fn idle(&self) -> (bool, bool) {
        (self.coordinator.core.is_idle(), self.worker.core.is_idle())
    }

    fn drain(&mut self, cx: &mut Cx<'_, Self>) {
        while let Some(event) = self.queue.pop_front() {
            let (now, unix) = (cx.now(), cx.unix());
            match event {
                In::Coordinator(event) => {
                    self.coordinator.core.on(&mut self.coordinator.state.cx(now, unix), event);
                    self.coordinator_effects(cx);
                }
                In::Worker(event) => {
                    self.worker.core.on(&mut self.worker.state.cx(now, unix), event);
                    self.worker_effects(cx);
                }
                other => self.hear(cx, other),
            }
        }
    }

    fn hear(&mut self, cx: &mut Cx<'_, Self>, event: In) {
        match event {
            In::Submit(job, spec) => {
                if P::is_honest(self.id) && !self.disk.contains_key(&job) {
                    self.disk.insert(job, (*spec.clone(), Vec::new()));
                    cx.emit(Out::Save(self.disk.clone()));
                    self.queue.push_back(In::Coordinator(coordinator::In::Submit { job, spec }));
                }
            }
            In::Cancel(job) => self.queue.push_back(In::Coordinator(coordinator::In::Cancel { job })),
            In::Frame(from, frame) => self.deliver(peer(from), frame),
            In::Broken(node) => {
                let peer = peer(node);
                self.queue.push_back(In::Coordinator(coordinator::In::Disconnected { peer }));
                self.queue.push_back(In::Worker(worker::In::Disconnected { peer }));
            }
            In::Ran(task, outcome, receipt) => {
                self.queue.push_back(In::Worker(worker::In::Done { task, outcome, receipt }));
            }
            In::Coordinator(_) | In::Worker(_) => self.queue.push_back(event),
        }
    }

    fn deliver(&mut self, peer: PeerId, frame: Frame) {
        // As on the wire: what does not fit its protocol never arrives.
        let bytes = [frame.head().unwrap(), frame.body.clone()].concat().into();
        assert_eq!(Frame::read(&bytes).unwrap(), frame);
        let pangea_protocols::wire::Message::Compute(message) = &frame.message else { return };
        self.queue.push_back(if message.is_for_worker() {
            In::Worker(worker::In::Received { peer, frame })
        } else {
            In::Coordinator(coordinator::In::Received { peer, frame })
        });
    }

    fn send(&mut self, cx: &mut Cx<'_, Self>, to: PeerId, frame: Frame) {
        if to == peer(self.id) {
            self.deliver(to, frame);
        } else if let Some(node) = node_of(&self.peers, to) {
            cx.emit(Out::Frame(node, frame));
        }
    }

    fn coordinator_effects(&mut self, cx: &mut Cx<'_, Self>) {
        for effect in self.coordinator.state.take_effects() {
            match effect {
                Effect::Emit(out) => self.on_coordinator(cx, out),
                Effect::After { at, event, .. } => {
                    cx.after(at.since(cx.now()), In::Coordinator(event));
                }
                Effect::Cancel(_) => unreachable!("neither core cancels timers"),
            }
        }
    }

    fn worker_effects(&mut self, cx: &mut Cx<'_, Self>) {
        for effect in self.worker.state.take_effects() {
            match effect {
                Effect::Emit(out) => self.on_worker(cx, out),
                Effect::After { at, event, .. } => {
                    cx.after(at.since(cx.now()), In::Worker(event));
                }
                Effect::Cancel(_) => unreachable!("neither core cancels timers"),
            }
        }
    }

    fn on_coordinator(&mut self, cx: &mut Cx<'_, Self>, out: coordinator::Out) {
        match out {
            coordinator::Out::Want { job, index } if is_passed_on(job) => {
                self.queue.push_back(In::Worker(worker::In::Want { job, index }));
            }
            coordinator::Out::News { job, news } if is_passed_on(job) => {
                let results = match news {
                    News::Done { outputs, receipt, .. } => {
                        Some(outputs.into_iter().zip(receipt.results.iter().map(|claim| claim.receipt)).collect())
                    }
                    News::Failed(_) => None,
                    News::Queued { .. } | News::Progress(_) => return,
                };
                self.queue.push_back(In::Worker(worker::In::Returned { job, results }));
            }
            coordinator::Out::Want { job, index } if P::stores() => {
                // One node has it all.
                let (input, local) = (Box::new(task::stored(job, index)), vec![(peer(2), 1000)]);
                let stored = coordinator::In::Stored { job, index, input, local };
                cx.after(Duration::from_millis(1), In::Coordinator(stored));
            }
            coordinator::Out::Read { read, input } => {
                self.read(cx, &input, |news| In::Coordinator(coordinator::In::Reading { read, news }));
            }
            coordinator::Out::StopReading { .. } => {}
            coordinator::Out::Want { job, index } => {
                let input = coordinator::In::Input { job, index, bytes: task::chunk(job, index) };
                cx.after(Duration::from_millis(1), In::Coordinator(input));
            }
            coordinator::Out::Candidates { request, exclude, count } => {
                let mut peers = self.peers.clone();
                peers.retain(|peer| P::knows(self.id, *peer));
                cx.rng("candidates").shuffle(&mut peers);
                let candidate = |id: NodeId| Candidate {
                    peer: peer(id),
                    domain: id.into(),
                    score: if id.is_multiple_of(5) { 0.2 } else { 0.6 },
                    rtt: None,
                    goodput: 0.0,
                    address: None,
                };
                let new = peers.into_iter().map(candidate).filter(|candidate| !exclude.contains(&candidate.peer));
                let candidates = new.take(count.into()).collect();
                let answer = coordinator::In::Candidates { request, candidates };
                cx.after(Duration::from_millis(1), In::Coordinator(answer));
            }
            coordinator::Out::Send { peer, frame, .. } => self.send(cx, peer, frame),
            coordinator::Out::Report { peer, report } => self.note_report(cx, peer, report),
            coordinator::Out::Save { job, saved } => {
                if let Some((_, all)) = self.disk.get_mut(&job).filter(|_| P::keeps()) {
                    all.push(saved);
                    cx.emit(Out::Save(self.disk.clone()));
                }
            }
            coordinator::Out::Forget { job } => {
                self.disk.remove(&job);
                cx.emit(Out::Save(self.disk.clone()));
            }
            coordinator::Out::News { job, news } => cx.emit(Out::News(job, news)),
            // The node submits what has not ended when it starts.
            coordinator::Out::Began
            | coordinator::Out::Trace { .. }
            | coordinator::Out::Log { .. }
            | coordinator::Out::Metered { .. } => {}
        }
    }

    fn read(&self, cx: &mut Cx<'_, Self>, input: &StoredInput, tell: impl Fn(ReadNews) -> In) {
        let took = Duration::from_millis(20 + cx.rng("reading").below(200));
        if !P::reads(self.id, cx.rng("reads").unit()) {
            cx.after(took, tell(ReadNews::Failed("too few shards".to_owned())));
            return;
        }
        let own = if self.id == 2 { 20 } else { 0 };
        for news in [ReadNews::Bytes(task::read(input)), ReadNews::Tally { shards: 20, own }, ReadNews::Done] {
            cx.after(took, tell(news));
        }
    }

    fn note_report(&self, cx: &mut Cx<'_, Self>, peer: PeerId, report: Report) {
        if let Some(node) = node_of(&self.peers, peer) {
            cx.emit(Out::Report(node, report));
        }
    }

    fn on_worker(&mut self, cx: &mut Cx<'_, Self>, out: worker::Out) {
        match out {
            worker::Out::Send { peer, frame, .. } => self.send(cx, peer, frame),
            worker::Out::Install { module, bytes } => {
                assert_eq!(bytes, task::module());
                let result = Ok(pangea_compute::worker::granted());
                cx.after(Duration::from_millis(2), In::Worker(worker::In::Installed { module, result }));
            }
            worker::Out::Run(run) => {
                self.ran += 1;
                let lies = P::lies(self.id, self.ran, cx.rng("lies").unit());
                let (outcome, receipt) = task::run(&run.input, lies);
                let took = P::took().mul_f64((0.5 + cx.rng("took").unit()) * P::slowness(self.id));
                cx.after(took, In::Ran(run.task, outcome, receipt));
            }
            worker::Out::Read { read, input } => {
                self.read(cx, &input, |news| In::Worker(worker::In::Reading { read, news }));
            }
            worker::Out::Stored { job, index, input } => {
                let stored = coordinator::In::Stored { job, index, input, local: Vec::new() };
                self.queue.push_back(In::Coordinator(stored));
            }
            worker::Out::Cancel { .. } | worker::Out::StopReading { .. } => {}
            worker::Out::PassOn { job, spec } => {
                self.passed_on += u64::from(spec.chunks);
                self.queue.push_back(In::Coordinator(coordinator::In::Submit { job, spec }));
            }
            worker::Out::Input { job, index, bytes } => {
                self.queue.push_back(In::Coordinator(coordinator::In::Input { job, index, bytes }));
            }
            worker::Out::TakeBack { job } => {
                self.queue.push_back(In::Coordinator(coordinator::In::Cancel { job }));
            }
            worker::Out::Report { peer, report } => self.note_report(cx, peer, report),
            worker::Out::Metered { .. } => {}
        }
    }
}

impl<P: Cast> Core for Node<P> {
    type In = In;
    type Out = Out;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        let mut seed = || Draws::new(Seed::new(cx.rng("seeds").bytes()));
        (self.coordinator.state, self.worker.state) = (CxState::new(seed()), CxState::new(seed()));
        let (now, unix) = (cx.now(), cx.unix());
        self.coordinator.core.start(&mut self.coordinator.state.cx(now, unix));
        self.worker.core.start(&mut self.worker.state.cx(now, unix));
        for (job, (spec, saved)) in self.disk.clone() {
            self.queue.push_back(In::Coordinator(coordinator::In::Submit { job, spec: Box::new(spec) }));
            let restored = saved.into_iter().map(|saved| In::Coordinator(coordinator::In::Restored { job, saved }));
            self.queue.extend(restored);
        }
        self.drain(cx);
    }

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: In) {
        self.queue.push_back(event);
        self.drain(cx);
    }
}

impl<P: Cast> Member for Node<P> {
    type Saved = Disk;

    fn new(me: NodeId, peers: &[NodeId], saved: Option<Disk>) -> Self {
        let empty = || Draws::new(Seed::new([0; 32]));
        let coordinator = Coordinator::new(peer(me), key(me), task::PASS, P::coordinator());
        let worker = Worker::new(peer(me), key(me), P::worker());
        Self {
            id: me,
            peers: peers.to_vec(),
            coordinator: Cell { core: coordinator, state: CxState::new(empty()) },
            worker: Cell { core: worker, state: CxState::new(empty()) },
            disk: saved.unwrap_or_default(),
            ran: 0,
            passed_on: 0,
            queue: VecDeque::new(),
            cast: PhantomData,
        }
    }

    fn route(me: NodeId, out: Out) -> Route<Self> {
        match out {
            Out::Frame(to, frame) => Route::Reliable(to, In::Frame(me, frame)),
            Out::Save(disk) => Route::Save(disk),
            Out::News(_, News::Progress(_) | News::Queued { .. }) => Route::Ignore,
            note => Route::Note(note),
        }
    }

    fn bytes(message: &In) -> u64 {
        match message {
            In::Frame(_, frame) => frame.body.len() as u64 + 200,
            _ => 200,
        }
    }

    fn broken(peer: NodeId) -> Option<In> {
        Some(In::Broken(peer))
    }
}
