//! `pangea-sim fleet-bench`: what a fleet costs, and whether it does what it should meanwhile.
//!
//! A made-up day: nodes start, files are stored and read, one node in ten crashes, one in five is cut off, both come
//! back, the files are read again, nothing happens. Prints one line of figures per phase.

use crate::determinism;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use pangea::{drivers::network::Limits, node::hub::HubIn};
use pangea_kernel::Seed;
use pangea_protocols::{
    JobId, PeerId,
    encoded::Profile,
    job::{JobEvent, Outcome, Stored},
    time::Time,
};
use pangea_simulations::{
    fleet::{Fleet, Level, Options},
    observer::{Findings, Sight, Watch, Who},
    plan::{Act, DiskFate, Nat, Node, Plan, Region, TierName},
    record::NodeId,
    tier::{Ask, Tier, ask},
};
use pangea_transfer::api::Redundancy;
use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// What the command line says, as `name=value`.
struct Args(BTreeMap<String, String>);

impl Args {
    fn number(&self, name: &str, default: u64) -> u64 {
        self.0.get(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    }
}

/// Reads the command line and runs what it asks for.
///
/// # Errors
/// The process cannot be made to repeat, or the fleet did not do what it should.
pub fn run() -> anyhow::Result<()> {
    let mut words = env::args().skip(1);
    anyhow::ensure!(words.next().as_deref() == Some("fleet-bench"), "usage: pangea-sim fleet-bench [name=value]...");
    let pairs = words.filter_map(|word| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
    let args = Args(pairs.collect());
    if args.number("aslr", 0) == 0 {
        determinism::process::fix_addresses()?;
    }
    determinism::run(args.number("seed", 1), move || Day::new(&args)?.run())?
}

type Ends = Arc<Mutex<BTreeMap<(NodeId, JobId), JobEvent>>>;

/// Notes how jobs end.
struct Ending(Ends);

impl Watch for Ending {
    fn name(&self) -> &'static str {
        "bench"
    }

    fn see(&mut self, _at: Time, node: Option<NodeId>, _who: &Who, sight: Sight<'_>, _findings: &mut Findings) {
        if let (Some(node), Sight::Hub(HubIn::Job(event @ (JobEvent::Done { .. } | JobEvent::Failed { .. })))) =
            (node, sight)
        {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((node, event.job()), event.clone());
        }
    }
}

struct Day {
    plan: Plan,
    keys: BTreeMap<NodeId, [u8; 32]>,
    fleet: Fleet,
    ends: Ends,
    stagger: Duration,
    files: u64,
    bytes: u64,
    until: Duration,
    jobs: u64,
    began: (u64, u64),
}

impl Day {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let count = u32::try_from(args.number("nodes", 50))?;
        let plan = plan(count, args);
        let seed = Seed::new([7; 32]).derive(&plan.seed.to_string());
        let keys: BTreeMap<NodeId, [u8; 32]> =
            (0..count).map(|node| (node, seed.derive(&node.to_string()).draw().bytes())).collect();
        let peer = |key: &[u8; 32]| PeerId(SigningKey::from_bytes(key).verifying_key().to_bytes());
        let identities = keys.iter().map(|(node, key)| (*node, peer(key))).collect();
        let usual = Options::of(&plan);
        let level = if args.number("streams", 0) == 1 { Level::Streams } else { Level::Packets };
        let limits = Limits {
            idle_timeout: Duration::from_secs(args.number("idle", usual.limits.idle_timeout.as_secs())),
            ..usual.limits
        };
        let options = Options {
            level,
            digested: args.number("digest", 1) == 1,
            limits,
            walks: args.number("walks", u64::from(usual.walks)) == 1,
        };
        let began = (determinism::cpu_nanos(), determinism::real_nanos());
        let fleet = Fleet::new(&plan, identities, options)?;
        let ends = Ends::default();
        fleet.observer().add(Ending(Arc::clone(&ends)));
        Ok(Self {
            plan,
            keys,
            fleet,
            ends,
            stagger: Duration::from_millis(args.number("stagger", 200)),
            files: args.number("files", 10),
            bytes: args.number("bytes", 1 << 20),
            until: Duration::from_secs(args.number("seconds", 800)),
            jobs: 0,
            began,
        })
    }

    fn run(mut self) -> anyhow::Result<()> {
        let nodes = self.plan.nodes.clone();
        for node in &nodes {
            self.fleet.start(node, self.keys[&node.id]);
            self.pass(self.stagger);
        }
        self.tell("started")?;
        self.pass(Duration::from_secs(60));
        self.tell("settled")?;
        let stored = self.put_all();
        self.tell("stored")?;
        let intact = self.get_all(&stored);
        self.tell(&format!("read {intact} of {}", stored.len()))?;
        let victims: Vec<NodeId> = nodes.iter().map(|node| node.id).filter(|id| id % 10 == 9).collect();
        let cut: Vec<NodeId> = nodes.iter().map(|node| node.id).filter(|id| id % 5 == 2).collect();
        victims.iter().for_each(|node| self.fleet.crash(*node, DiskFate::Kept));
        let partition = Act::Partition { from: cut.clone(), to: rest(&nodes, &cut), one_way: false };
        self.fleet.links().begin(1, &partition);
        self.pass(Duration::from_secs(60));
        self.tell("crashed and cut")?;
        self.fleet.links().end(1);
        for node in nodes.iter().filter(|node| victims.contains(&node.id)) {
            self.fleet.start(node, self.keys[&node.id]);
        }
        self.pass(Duration::from_secs(60));
        self.tell("healed")?;
        let intact = self.get_all(&stored);
        self.tell(&format!("read {intact} of {}", stored.len()))?;
        self.fleet.run_until(Time(0) + self.until);
        self.tell("idle")?;
        anyhow::ensure!(stored.len() as u64 == self.files && intact == stored.len(), "not all files came back");
        Ok(())
    }

    fn pass(&mut self, duration: Duration) {
        self.fleet.run_until(self.fleet.now() + duration);
    }

    fn content(&self, file: u64) -> Bytes {
        let length = usize::try_from(self.bytes).unwrap_or(0);
        let mut bytes = vec![0; length];
        Seed::new([9; 32]).derive(&file.to_string()).draw().fill(&mut bytes);
        bytes.into()
    }

    fn put_all(&mut self) -> Vec<(u64, Stored)> {
        let mut jobs = Vec::new();
        for file in 0..self.files {
            let node = u32::try_from(file).unwrap_or(0) % self.count();
            let path = PathBuf::from(format!("/source-{file}"));
            self.fleet.write(node, path.clone(), self.content(file));
            let lease = Duration::from_secs(86_400);
            let put = Ask::Put { path, redundancy: Redundancy::Auto, profile: Profile::Fast, lease };
            jobs.push((file, node, self.ask(node, put)));
        }
        let mut stored = Vec::new();
        for (file, node, job) in jobs {
            match self.end_of(node, job) {
                Some(JobEvent::Done { outcome: Outcome::Put(put), .. }) => stored.push((file, put)),
                other => complain(&format!("put {file}: {other:?}")),
            }
        }
        stored
    }

    fn get_all(&mut self, stored: &[(u64, Stored)]) -> usize {
        let mut jobs = Vec::new();
        for (file, put) in stored {
            let node = u32::try_from(file * 7 + 3).unwrap_or(0) % self.count();
            let path = PathBuf::from(format!("/sink-{file}-{}", self.jobs));
            let get = Ask::Get {
                cid: put.cid,
                key: put.key.clone(),
                only: pangea_ces::api::Selection::All,
                path: path.clone(),
                hints: vec![],
                timeout: Duration::from_secs(60),
            };
            jobs.push((*file, node, path, self.ask(node, get)));
        }
        let mut intact = 0;
        for (file, node, path, job) in jobs {
            let end = self.end_of(node, job);
            match self.fleet.read(node, &path).filter(|bytes| *bytes == self.content(file)) {
                Some(_) => intact += 1,
                None => complain(&format!("get {file}: {end:?}")),
            }
        }
        intact
    }

    fn ask(&mut self, node: NodeId, what: Ask) -> JobId {
        self.jobs += 1;
        let job = JobId(self.jobs);
        if let Some(actors) = self.fleet.actors(node) {
            ask(&actors, job, what);
        }
        job
    }

    fn end_of(&mut self, node: NodeId, job: JobId) -> Option<JobEvent> {
        let limit = self.fleet.now() + Duration::from_secs(120);
        while self.fleet.now() < limit {
            if let Some(end) = self.ends.lock().unwrap_or_else(PoisonError::into_inner).get(&(node, job)) {
                return Some(end.clone());
            }
            self.pass(Duration::from_millis(100));
        }
        None
    }

    fn count(&self) -> u32 {
        u32::try_from(self.plan.nodes.len()).unwrap_or(1)
    }

    fn tell(&self, phase: &str) -> anyhow::Result<()> {
        let cpu = (determinism::cpu_nanos() - self.began.0) as f64 / 1e9;
        let wall = (determinism::real_nanos() - self.began.1) as f64 / 1e9;
        let counts = self.fleet.internet().counts();
        let metrics: Vec<_> =
            self.plan.nodes.iter().filter_map(|node| self.fleet.network(node.id)).map(|n| n.metrics()).collect();
        let links: u64 = metrics.iter().map(|m| m.connections).sum();
        let opened: u64 = metrics.iter().map(|m| m.connections_opened).sum();
        let digest = self.fleet.internet().digest().map(|digest| digest.to_hex()[..16].to_owned());
        writeln!(
            io::stdout().lock(),
            "{:>9}  {phase:<18} cpu {cpu:7.2} s  wall {wall:7.2} s  rss {:5} MB  connection ends {links:6} of {opened:6}  sent {:9}  arrived {:9}  unheard {:7}  {:6} MB  {}",
            self.fleet.now().to_string(),
            resident_mb(),
            counts.sent,
            counts.arrived,
            counts.unheard,
            counts.bytes >> 20,
            digest.unwrap_or_default(),
        )?;
        Ok(())
    }
}

#[allow(clippy::print_stderr, reason = "a finding of the run")]
fn complain(text: &str) {
    eprintln!("{text}");
}

fn rest(nodes: &[Node], group: &[NodeId]) -> Vec<NodeId> {
    nodes.iter().map(|node| node.id).filter(|id| !group.contains(id)).collect()
}

fn resident_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 10
}

fn plan(count: u32, args: &Args) -> Plan {
    let region = |name: &str, latency_ms| Region {
        name: name.to_owned(),
        latency_ms,
        jitter_ms: 5.0,
        loss: args.number("loss_ppm", 1_000) as f64 / 1e6,
        uplink: Some(args.number("uplink", 20_000_000)),
    };
    let names = ["north", "south", "east", "west"];
    let nodes = (0..count).map(|id| Node {
        id,
        region: names[id as usize % names.len()].to_owned(),
        start_ms: Some(0),
        quota: 10 << 30,
        nat: Nat::Open,
        knows: if id == 0 { vec![] } else { vec![0] },
    });
    Plan {
        scenario: "fleet-bench".to_owned(),
        story: String::new(),
        seed: args.number("seed", 1),
        tier: TierName::Fleet,
        warm: args.number("warm", 0) == 1,
        calm_ms: 0,
        end_ms: 0,
        read_back: false,
        harmless: false,
        reads_within_ms: None,
        without: vec![],
        sometimes: vec![],
        peers_target: u32::try_from(args.number("peers", 8)).unwrap_or(8),
        regions: names.iter().map(|name| region(name, 30.0)).collect(),
        lines: vec![],
        nodes: nodes.collect(),
        operations: vec![],
        faults: vec![],
    }
}
