//! How fast the swarm tier runs and what a node of it needs, in phases: nodes start, nothing is asked, then users store
//! and read while nodes come and go. Prints; asserts only that nothing was lost.
//!
//! `cargo bench -p pangea-simulations --bench swarm -- [nodes] [virtual seconds per phase]`, by default 1,000 nodes and
//! 300 seconds. With `10000 60` it takes a minute and 2 GB.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use bytes::Bytes;
use pangea::node::hub::HubIn;
use pangea_ces::api as ces;
use pangea_kernel::{Draw, Seed};
use pangea_protocols::{
    JobId,
    encoded::Profile,
    job::{JobEvent, Outcome, Stored},
    time::Time,
};
use pangea_simulations::{
    Timeline,
    links::Links,
    observer::{Findings, Observer, Sight, Watch, Who},
    plan::{DiskFate, Line, Nat, Node, Plan, Region, TierName},
    record::NodeId,
    swarm::{Config, Swarm},
    tier::{Ask, Tier, ask},
};
use pangea_transfer::api::Redundancy;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Users' requests per thousand nodes and virtual minute.
const REQUESTS_PER_MINUTE: f64 = 30.0;
/// Crashes per thousand nodes and virtual minute: a node stays for five hours on average.
const CRASHES_PER_MINUTE: f64 = 3.3;
/// A crashed node comes back after this time.
const AWAY: Duration = Duration::from_secs(90);
const STEP: Duration = Duration::from_secs(1);
const OBJECT_BYTES: (u64, u64) = (200 << 10, 1 << 20);

type Ended = Arc<Mutex<Vec<(NodeId, JobEvent)>>>;

struct Ears(Ended);

impl Watch for Ears {
    fn name(&self) -> &'static str {
        "ears"
    }

    fn see(&mut self, _: Time, node: Option<NodeId>, _: &Who, sight: Sight<'_>, _: &mut Findings) {
        if let (Some(node), Sight::Hub(HubIn::Job(event @ (JobEvent::Done { .. } | JobEvent::Failed { .. })))) =
            (node, sight)
        {
            self.0.lock().unwrap().push((node, event.clone()));
        }
    }
}

fn plan(nodes: u32) -> Plan {
    let region = |name: &str, latency_ms| Region {
        name: name.to_owned(),
        latency_ms,
        jitter_ms: 4.0,
        loss: 0.001,
        uplink: Some(5 << 20),
    };
    let line = |a: &str, b: &str, latency_ms| Line {
        between: [a.to_owned(), b.to_owned()],
        latency_ms,
        jitter_ms: 10.0,
        loss: 0.002,
    };
    let places = ["west", "east", "south"];
    let node = |id: NodeId| Node {
        id,
        region: places[id as usize % 3].to_owned(),
        start_ms: Some(0),
        quota: 1 << 30,
        nat: if id % 5 == 4 { Nat::Restricted } else { Nat::Open },
        knows: (0..3).filter(|known| *known != id).collect(),
    };
    Plan {
        scenario: "bench".to_owned(),
        story: String::new(),
        seed: 1,
        tier: TierName::Swarm,
        warm: true,
        calm_ms: 0,
        end_ms: 0,
        read_back: false,
        harmless: false,
        reads_within_ms: None,
        without: vec![],
        sometimes: vec![],
        peers_target: 32,
        regions: vec![region("west", 12.0), region("east", 15.0), region("south", 20.0)],
        lines: vec![line("west", "east", 45.0), line("west", "south", 70.0), line("east", "south", 60.0)],
        nodes: (0..nodes).map(node).collect(),
        operations: vec![],
        faults: vec![],
    }
}

struct Bench {
    swarm: Swarm,
    plan: Plan,
    seed: Seed,
    draw: Draw,
    ended: Ended,
    jobs: u64,
    running: std::collections::BTreeMap<JobId, Running>,
    stored: Vec<Stored>,
    /// When nodes come back.
    away: Vec<(Time, NodeId)>,
    done: Done,
}

/// A request that has not ended.
struct Running {
    node: NodeId,
    path: PathBuf,
    put: bool,
}

/// What became of requests; those of nodes that crashed meanwhile are not counted.
#[derive(Default)]
struct Done {
    puts: u64,
    gets: u64,
    failed_puts: u64,
    failed_gets: u64,
    crashes: u64,
}

impl Bench {
    fn new(nodes: u32) -> Self {
        let (plan, seed) = (plan(nodes), Seed::new([7; 32]));
        let observer = Observer::new(Timeline::default());
        let links = Links::new(&plan, seed.derive("links"));
        let config = Config { strict: true, ..Config::of(&plan) };
        let swarm = Swarm::with(config, &seed, observer.clone(), links);
        let ended = Ended::default();
        observer.add(Ears(Arc::clone(&ended)));
        let draw = seed.derive("workload").draw();
        let (jobs, running, stored, away) = (0, Default::default(), Vec::new(), Vec::new());
        Self { swarm, plan, seed, draw, ended, jobs, running, stored, away, done: Done::default() }
    }

    fn start(&mut self, id: NodeId) {
        let node = self.plan.nodes[id as usize].clone();
        let key = self.seed.derive("key").derive(&id.to_string()).draw().bytes();
        self.swarm.start(&node, key);
    }

    fn anybody(&mut self) -> NodeId {
        u32::try_from(self.draw.below(self.plan.nodes.len() as u64)).unwrap()
    }

    /// One step of a workload: what ended is noted, what is due is asked.
    fn step(&mut self) {
        let now = self.swarm.now();
        self.hear();
        let due: Vec<_> = self.away.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, node) in due {
            self.start(node);
        }
        let thousands = self.plan.nodes.len() as f64 / 1000.0;
        for _ in 0..draws(&mut self.draw, CRASHES_PER_MINUTE / 60.0 * thousands) {
            let node = self.anybody();
            if self.swarm.actors(node).is_some() {
                self.swarm.crash(node, DiskFate::Torn);
                self.running.retain(|_, running| running.node != node);
                self.away.push((now + AWAY, node));
                self.done.crashes += 1;
            }
        }
        for _ in 0..draws(&mut self.draw, REQUESTS_PER_MINUTE / 60.0 * thousands) {
            self.request();
        }
    }

    fn request(&mut self) {
        let node = self.anybody();
        let Some(actors) = self.swarm.actors(node) else { return };
        self.jobs += 1;
        let job = JobId(self.jobs);
        let put = self.stored.is_empty() || self.draw.below(3) == 0;
        let path = PathBuf::from(format!("/{}", job.0));
        let what = if put {
            let bytes = OBJECT_BYTES.0 + self.draw.below(OBJECT_BYTES.1 - OBJECT_BYTES.0);
            let mut content = vec![0; usize::try_from(bytes).unwrap()];
            self.seed.derive(&job.0.to_string()).draw().fill(&mut content);
            self.swarm.write(node, path.clone(), Bytes::from(content));
            let lease = Duration::from_secs(86_400);
            Ask::Put { path: path.clone(), redundancy: Redundancy::Auto, profile: Profile::Fast, lease }
        } else {
            let at = usize::try_from(self.draw.below(self.stored.len() as u64)).unwrap();
            let stored = &self.stored[at];
            let (only, timeout) = (ces::Selection::All, Duration::from_secs(60));
            let (cid, key, hints) = (stored.cid, stored.key.clone(), vec![]);
            Ask::Get { cid, key, only, path: path.clone(), hints, timeout }
        };
        if ask(&actors, job, what) {
            self.running.insert(job, Running { node, path, put });
        }
    }

    fn hear(&mut self) {
        for (node, event) in std::mem::take(&mut *self.ended.lock().unwrap()) {
            let job = event.job();
            let Some(Running { path, put, .. }) = self.running.remove(&job) else { continue };
            if let Some(actors) = self.swarm.actors(node) {
                // As the hub does at the end of a job.
                ask(&actors, job, Ask::Cancel);
                ask(&actors, job, Ask::Release);
            }
            match event {
                JobEvent::Done { outcome: Outcome::Put(stored), .. } => {
                    self.done.puts += 1;
                    self.stored.push(stored);
                }
                JobEvent::Done { outcome: Outcome::Got { .. }, .. } => self.done.gets += 1,
                JobEvent::Failed { error, .. } => {
                    let failed = if put { &mut self.done.failed_puts } else { &mut self.done.failed_gets };
                    *failed += 1;
                    if std::env::var_os("BENCH_ERRORS").is_some() {
                        println!("    {} node {node} {job:?}: {error}", self.swarm.now());
                    }
                }
                _ => {}
            }
            self.swarm.forget(node, &path);
        }
    }

    fn phase(&mut self, name: &str, length: Duration, work: bool) {
        let before = (self.swarm.events(), self.swarm.counts(), self.swarm.now(), cpu_s());
        let until = before.2 + length;
        while self.swarm.now() < until {
            let next = self.swarm.now() + STEP;
            self.swarm.run_until(next);
            if work {
                self.step();
            }
        }
        self.report(name, before);
    }

    fn report(&self, name: &str, before: (u64, pangea_simulations::twins::network::Counts, Time, f64)) {
        let (took, virtual_s) = (cpu_s() - before.3, self.swarm.now().since(before.2).as_secs_f64());
        let (events, counts, nodes) =
            (self.swarm.events() - before.0, self.swarm.counts(), self.plan.nodes.len() as f64);
        let held: u64 = self.plan.nodes.iter().map(|node| self.swarm.body_bytes(node.id)).sum();
        let degree: usize = self.plan.nodes.iter().map(|node| self.swarm.degree(node.id)).sum();
        println!(
            "{name:<9} {virtual_s:>6.0} virtual s  {took:>7.2} CPU s  x{:<7.0} {:>5.2} M events/s  {:>8} events  {:>7} frames  {:>6.1} MB  {:>6.0} KiB/node  {:>6.0} without shards  {:>5.1} connections",
            virtual_s / took,
            events as f64 / took / 1e6,
            events,
            counts.frames - before.1.frames,
            (counts.bytes - before.1.bytes) as f64 / 1e6,
            resident() as f64 / nodes / 1024.0,
            resident().saturating_sub(held) as f64 / nodes / 1024.0,
            degree as f64 / nodes,
        );
    }
}

/// How many of many independent things happen, of which `mean` are expected.
fn draws(draw: &mut Draw, mean: f64) -> u32 {
    let (mut count, mut product, limit) = (0, draw.unit(), (-mean).exp());
    while product > limit {
        count += 1;
        product *= draw.unit();
    }
    count
}

/// Bytes of memory in use.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) * 1024
}

/// Seconds that this thread has had a processor: what else runs on the machine does not count.
fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

fn main() {
    let numbers: Vec<u32> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let nodes = numbers.first().copied().unwrap_or(1000);
    let seconds = Duration::from_secs(numbers.get(1).copied().unwrap_or(300).into());
    let mut bench = Bench::new(nodes);
    let begun = (0, bench.swarm.counts(), Time(0), cpu_s());
    for id in 0..nodes {
        bench.start(id);
    }
    bench.swarm.run_until(Time(0) + Duration::from_secs(60));
    bench.report("start", begun);
    bench.phase("settle", seconds, false);
    bench.phase("idle", seconds, false);
    bench.phase("workload", seconds, true);
    bench.phase("workload", seconds, true);
    let Done { puts, gets, failed_puts, failed_gets, crashes } = bench.done;
    println!(
        "{nodes} nodes: {puts} of {} puts and {gets} of {} gets succeeded, {crashes} crashes",
        puts + failed_puts,
        gets + failed_gets,
    );
}
