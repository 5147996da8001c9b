//! A cluster of node processes on loopback: what its puts and gets cost, all processes counted.

use crate::{
    Cost,
    measure::{cpu_of, cpu_of_children},
};
use pangea::demo::cluster::Cluster;
use serde_json::Value;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// How long nodes may take to find each other, or to come to rest.
const PATIENCE: Duration = Duration::from_secs(60);
/// A cluster is at rest when it used no more CPU than `REST_CPU` in this time.
const REST: Duration = Duration::from_millis(500);
const REST_CPU: f64 = 0.03;

/// A cluster whose nodes are all connected to each other.
pub struct Net {
    pub cluster: Cluster,
}

/// What a put told.
pub struct Put {
    pub cost: Cost,
    pub ticket: String,
    pub stored_bytes: u64,
    pub code: (u8, u8),
}

impl Net {
    /// `nodes` nodes with their homes in `dir`.
    pub fn start(dir: &Path, nodes: usize) -> Self {
        std::fs::create_dir(dir).unwrap();
        let mut cluster = Cluster::new(Path::new(env!("CARGO_BIN_EXE_pangea")), dir);
        cluster.start(nodes).unwrap();
        let net = Self { cluster };
        for number in 0..nodes {
            net.until(number, |status| status["peers_connected"].as_u64() >= Some(nodes as u64 - 1));
        }
        net.rest();
        net
    }

    /// Asks a node for its status until it is as wanted.
    pub fn until(&self, number: usize, wanted: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.run(number, &["status", "--json"]);
            if wanted(&status) {
                return;
            }
            assert!(Instant::now() < deadline, "node {number} stays at {status}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stores `file` from the first node.
    pub fn put(&self, file: &Path, profile: &str) -> Put {
        let profile = format!("--{profile}");
        let (told, cost) = self.measure(|| self.run(0, &["put", file.to_str().unwrap(), &profile, "--json"]));
        let number = |key: &str| told[key].as_u64().unwrap();
        assert_eq!(number("missing_shards"), 0, "{told}");
        Put {
            cost,
            ticket: told["ticket"].as_str().unwrap().to_owned(),
            stored_bytes: number("stored_bytes"),
            code: (u8::try_from(number("data_shards")).unwrap(), u8::try_from(number("parity_shards")).unwrap()),
        }
    }

    /// Reads an object with the second node.
    pub fn get(&self, ticket: &str, to: &Path) -> Cost {
        self.measure(|| self.run(1, &["get", ticket, to.to_str().unwrap(), "--json"])).1
    }

    fn run(&self, number: usize, arguments: &[&str]) -> Value {
        let output = self.cluster.run(number, arguments).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pangea {}: {errors}", arguments[0]);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Time until `work` returns; CPU until the cluster is at rest again: what is left to do belongs to the work.
    fn measure<T>(&self, work: impl FnOnce() -> T) -> (T, Cost) {
        let (cpu, started) = (self.cpu() + cpu_of_children(), Instant::now());
        let result = work();
        let seconds = started.elapsed().as_secs_f64();
        self.rest();
        (result, Cost { seconds, cpu: self.cpu() + cpu_of_children() - cpu })
    }

    /// CPU seconds of all nodes so far.
    fn cpu(&self) -> f64 {
        (0..self.cluster.members().len()).filter_map(|number| self.cluster.pid(number)).map(cpu_of).sum()
    }

    fn rest(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut before = self.cpu();
        while Instant::now() < deadline {
            std::thread::sleep(REST);
            let now = self.cpu();
            if now - before <= REST_CPU {
                return;
            }
            before = now;
        }
        println!("the cluster did not come to rest");
    }
}
