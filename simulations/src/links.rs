//! [`Links`]: the lines between nodes, and what is wrong with them now. All tiers ask it for the fate of what they
//! send: the fleet for packets, which may be lost, the others for messages of a reliable stream, which come later.
//!
//! Every direction of every pair draws from a stream of its own, so that taking a node or a fault out of a plan leaves
//! the others' luck alone.

use crate::{
    plan::{Act, Nat, Plan},
    record::NodeId,
};
use pangea_kernel::Seed;
use pangea_protocols::time::Time;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What fits into one packet, for messages.
const PACKET_BYTES: u64 = 1200;
/// How long a sender waits before it sends a lost packet again, beside the line's own latency.
const RESEND_AFTER: Duration = Duration::from_millis(50);
/// Times a packet of a message is lost at most: loss is delay, not loss of the connection.
const RESENDS_MAX: u32 = 8;
/// A queue in front of an uplink that no fault makes longer.
const QUEUE_BYTES: u64 = 1 << 20;

/// When copies of a packet arrive: none if it is lost, two if it is duplicated.
pub type Arrivals = [Option<Time>; 2];

/// The lines between all nodes. Clones are the same lines.
#[derive(Clone)]
pub struct Links(Arc<Mutex<State>>);

/// Maps by node are looked up and never walked through: their order is not that of a run.
struct State {
    seed: u64,
    regions: HashMap<NodeId, usize>,
    nats: HashMap<NodeId, Nat>,
    /// By region and region.
    base: BTreeMap<(usize, usize), Condition>,
    uplinks: BTreeMap<usize, u64>,
    faults: BTreeMap<u32, Act>,
    /// Counts changes of `faults`.
    version: u64,
    directions: HashMap<(NodeId, NodeId), Direction>,
    pipes: HashMap<NodeId, Pipe>,
}

/// One way from a node to another. There are as many as pairs of nodes that ever meet, so it is small.
struct Direction {
    luck: Luck,
    last_arrival: Time,
    /// What faults make of it, and for which version of them; `None` if it is as its regions are.
    faulty: Option<Box<(u64, Condition)>>,
}

/// A stream of chance (SplitMix64, Steele et al. 2014): eight bytes where a cipher would need hundreds.
#[derive(Clone, Copy)]
struct Luck(u64);

impl Luck {
    /// A uniform number in `[0, 1)` with 53 bits.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (scramble(self.0) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn scramble(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// What a line is like.
#[derive(Clone, Copy, Debug, Default)]
struct Condition {
    cut: bool,
    latency_ms: f64,
    jitter_ms: f64,
    loss: f64,
    reorder: f64,
    reorder_ms: f64,
    duplicate: f64,
    mtu: Option<u64>,
}

/// The uplink of a node.
#[derive(Default)]
struct Pipe {
    version: Option<u64>,
    limit: Option<(u64, u64)>,
    free_at: Time,
}

impl Links {
    /// The lines of a plan, without faults.
    pub fn new(plan: &Plan, seed: Seed) -> Self {
        let number = |name: &str| plan.regions.iter().position(|region| region.name == name).unwrap_or(0);
        let mut base = BTreeMap::new();
        for (at, region) in plan.regions.iter().enumerate() {
            let line = Condition {
                latency_ms: region.latency_ms,
                jitter_ms: region.jitter_ms,
                loss: region.loss,
                ..Condition::default()
            };
            base.insert((at, at), line);
        }
        for line in &plan.lines {
            let [a, b] = [number(&line.between[0]), number(&line.between[1])];
            let condition = Condition {
                latency_ms: line.latency_ms,
                jitter_ms: line.jitter_ms,
                loss: line.loss,
                ..Condition::default()
            };
            base.insert((a, b), condition);
            base.insert((b, a), condition);
        }
        let uplinks = plan.regions.iter().enumerate().filter_map(|(at, region)| Some((at, region.uplink?))).collect();
        Self(Arc::new(Mutex::new(State {
            seed: seed.draw().u64(),
            regions: plan.nodes.iter().map(|node| (node.id, number(&node.region))).collect(),
            nats: plan.nodes.iter().map(|node| (node.id, node.nat)).collect(),
            base,
            uplinks,
            faults: BTreeMap::new(),
            version: 0,
            directions: HashMap::new(),
            pipes: HashMap::new(),
        })))
    }

    /// A fault of the network begins; others are no business of the lines.
    pub fn begin(&self, fault: u32, act: &Act) {
        let mut state = self.state();
        state.faults.insert(fault, act.clone());
        state.version += 1;
    }

    /// It is over.
    pub fn end(&self, fault: u32) {
        let mut state = self.state();
        if state.faults.remove(&fault).is_some() {
            state.version += 1;
        }
    }

    /// Changes whenever a fault begins or ends.
    pub fn version(&self) -> u64 {
        self.state().version
    }

    /// The fate of a packet of `bytes` that leaves now.
    pub fn packet(&self, now: Time, from: NodeId, to: NodeId, bytes: u64) -> Arrivals {
        let mut state = self.state();
        let queued = state.queue(now, from, bytes);
        let (direction, line) = state.direction(from, to);
        // Always the same number of draws, so that the fate of one packet does not shift that of the next.
        let [loss, jitter, reorder, duplicate] = std::array::from_fn(|_| direction.luck.unit());
        let Some(sent) = queued else { return [None, None] };
        if line.cut || loss < line.loss || line.mtu.is_some_and(|mtu| bytes > mtu) {
            return [None, None];
        }
        let late = if reorder < line.reorder { line.reorder_ms } else { 0.0 };
        let arrival = sent + millis(line.latency_ms + line.jitter_ms * jitter + late);
        [Some(arrival), (duplicate < line.duplicate).then(|| arrival + millis(line.jitter_ms + 1.0))]
    }

    /// When a message of a reliable stream arrives that leaves now, after all before it; `None` if nothing passes one of
    /// the two ways, so that the connection breaks in the end.
    pub fn message(&self, now: Time, from: NodeId, to: NodeId, bytes: u64) -> Option<Time> {
        let mut state = self.state();
        let queued = state.queue(now, from, bytes).unwrap_or(now);
        let back = state.condition_now(to, from);
        let (direction, line) = state.direction(from, to);
        let packets = i32::try_from(bytes.div_ceil(PACKET_BYTES).clamp(1, 1000)).unwrap_or(1000);
        let unharmed = (1.0 - line.loss.max(back.loss).clamp(0.0, 0.95)).powi(packets);
        let [luck, jitter] = std::array::from_fn(|_| direction.luck.unit());
        if line.cut || back.cut {
            return None;
        }
        let resends = resends(luck, unharmed);
        let wait = (millis(line.latency_ms + back.latency_ms) + RESEND_AFTER) * resends;
        let arrival = queued + millis(line.latency_ms + line.jitter_ms * jitter) + wait;
        direction.last_arrival = direction.last_arrival.max(arrival);
        Some(direction.last_arrival)
    }

    /// True if a dial from one node reaches the other: no partition, and no router in between that does not know it.
    pub fn can_dial(&self, from: NodeId, to: NodeId) -> bool {
        let mut state = self.state();
        let open = state.nats.get(&to).is_none_or(|nat| *nat == Nat::Open);
        open && !state.condition_now(from, to).cut && !state.condition_now(to, from).cut
    }

    /// True if nothing passes from one node to the other now.
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.state().condition_now(from, to).cut
    }

    /// What stands in front of a node.
    pub fn nat(&self, node: NodeId) -> Nat {
        self.state().nats.get(&node).copied().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often something must be sent again, given one uniform draw.
fn resends(luck: f64, unharmed: f64) -> u32 {
    let (mut times, mut chance) = (0, 1.0 - unharmed);
    while luck < chance && times < RESENDS_MAX {
        times += 1;
        // What is sent again is little: it gets through as a single packet would, at worst every other time.
        chance *= (1.0 - unharmed).min(0.5);
    }
    times
}

fn millis(ms: f64) -> Duration {
    Duration::from_secs_f64(ms.max(0.0) / 1e3)
}

fn contains(group: &[NodeId], node: NodeId) -> bool {
    group.is_empty() || group.contains(&node)
}

impl Direction {
    fn new(seed: u64, from: NodeId, to: NodeId) -> Self {
        let pair = u64::from(from) << 32 | u64::from(to);
        Self { luck: Luck(scramble(seed ^ scramble(pair))), last_arrival: Time(0), faulty: None }
    }
}

impl State {
    /// The way from one node to the other, and what it is like now.
    fn direction(&mut self, from: NodeId, to: NodeId) -> (&mut Direction, Condition) {
        let line = self.condition_now(from, to);
        let seed = self.seed;
        let direction = self.directions.entry((from, to)).or_insert_with(|| Direction::new(seed, from, to));
        (direction, line)
    }

    fn condition_now(&mut self, from: NodeId, to: NodeId) -> Condition {
        if self.faults.is_empty() {
            return self.base_of(from, to);
        }
        let known = self.directions.get(&(from, to)).and_then(|direction| direction.faulty.as_deref());
        if let Some((version, condition)) = known
            && *version == self.version
        {
            return *condition;
        }
        let (condition, version, seed) = (self.condition(from, to), self.version, self.seed);
        let direction = self.directions.entry((from, to)).or_insert_with(|| Direction::new(seed, from, to));
        direction.faulty = Some(Box::new((version, condition)));
        condition
    }

    fn base_of(&self, from: NodeId, to: NodeId) -> Condition {
        let region = |node| self.regions.get(&node).copied().unwrap_or(0);
        let (a, b) = (region(from), region(to));
        self.base.get(&(a, b)).or_else(|| self.base.get(&(a, a))).copied().unwrap_or_default()
    }

    fn condition(&self, from: NodeId, to: NodeId) -> Condition {
        let mut line = self.base_of(from, to);
        for act in self.faults.values() {
            worsen(&mut line, act, from, to);
        }
        line
    }

    /// When what is sent now has left the node; `None` if the queue of its uplink is full.
    fn queue(&mut self, now: Time, from: NodeId, bytes: u64) -> Option<Time> {
        let Some((rate, queue)) = self.limit(from) else { return Some(now) };
        let pipe = self.pipes.entry(from).or_default();
        let waiting = pipe.free_at.since(now);
        if waiting.as_secs_f64() * rate as f64 > queue as f64 {
            return None;
        }
        pipe.free_at = pipe.free_at.max(now) + Duration::from_secs_f64(bytes as f64 / rate as f64);
        Some(pipe.free_at)
    }

    fn limit(&mut self, node: NodeId) -> Option<(u64, u64)> {
        let version = self.version;
        let known = self.pipes.get(&node).filter(|pipe| pipe.version == Some(version));
        if let Some(pipe) = known {
            return pipe.limit;
        }
        let base = self.regions.get(&node).and_then(|region| self.uplinks.get(region));
        let mut limit = base.map(|rate| (*rate, QUEUE_BYTES));
        for act in self.faults.values() {
            if let Act::Bandwidth { nodes, bytes_per_s, queue_bytes } = act
                && contains(nodes, node)
            {
                limit = Some(((*bytes_per_s).max(1), *queue_bytes));
            }
        }
        let pipe = self.pipes.entry(node).or_default();
        (pipe.version, pipe.limit) = (Some(version), limit);
        limit
    }
}

/// Adds what a fault does to the line from one node to the other.
fn worsen(line: &mut Condition, act: &Act, from: NodeId, to: NodeId) {
    let meant = |a: &[NodeId], b: &[NodeId]| contains(a, from) && contains(b, to);
    match act {
        Act::Latency { from, to, extra_ms, jitter_ms } if meant(from, to) => {
            line.latency_ms += extra_ms;
            line.jitter_ms += jitter_ms;
        }
        Act::Loss { from, to, rate } if meant(from, to) => line.loss = 1.0 - (1.0 - line.loss) * (1.0 - rate),
        Act::Reorder { from, to, rate, by_ms } if meant(from, to) => {
            (line.reorder, line.reorder_ms) = (line.reorder.max(*rate), line.reorder_ms.max(*by_ms));
        }
        Act::Duplicate { from, to, rate } if meant(from, to) => line.duplicate = line.duplicate.max(*rate),
        Act::Partition { from, to, one_way } if meant(from, to) || (!one_way && meant(to, from)) => line.cut = true,
        Act::MtuBlackHole { from, to, bytes } if meant(from, to) => {
            line.mtu = Some(line.mtu.map_or(*bytes, |mtu| mtu.min(*bytes)));
        }
        _ => {}
    }
}
