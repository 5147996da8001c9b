//! What a node costs that does nothing: time to start, memory, CPU.
//!
//! `cargo bench --bench node`. Bars: ready within 300 ms of the process' start (p50 of 20), at most 60 MiB resident
//! with 20 connected peers. `PANGEA_BENCH_STARTS` (20), `PANGEA_BENCH_PEERS` (20), `PANGEA_BENCH_IDLE_SECONDS` (10) and
//! `PANGEA_BENCH_SETTLE_SECONDS` (15) make it shorter or longer.
//!
//! Not here: what a message between actors costs (`cargo bench -p pangea-kernel`), write amplification of the shard
//! disk (`cargo bench --bench store`), what work costs (`cargo bench --bench end_to_end`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr
)]

#[path = "measure/mod.rs"]
mod measure;

use measure::{Bars, cpu_of, machine, median, memory_of, millis, number, quantile};
use pangea::demo::cluster::{Cluster, Ready};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pangea");
const READY_MS_MAX: f64 = 300.0;
const IDLE_MIB_MAX: f64 = 60.0;
/// How long nodes may take to find each other and to come to rest.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    measure::supervisor::run("node", |dir| {
        println!("{}\n", machine());
        let mut bars = Bars::default();
        starts(dir, &mut bars);
        idle(dir, &mut bars);
        println!(
            "\nmessages between actors: cargo bench -p pangea-kernel\nwrite amplification:     cargo bench --bench store"
        );
        bars.exit_code()
    });
}

/// From the start of the process to its ready line; in new homes and in one that has been used.
fn starts(dir: &Path, bars: &mut Bars) {
    let count = number("PANGEA_BENCH_STARTS", 20);
    let home = |number: u64| dir.join(format!("start-{number}"));
    let fresh: Vec<Start> = (0..count).map(|number| start(&home(number), true)).collect();
    let used: Vec<Start> = (0..count).map(|_| start(&home(0), false)).collect();
    println!("start to ready, {count} starts      p50 ms    p90 ms    max ms   of it in the node, p50 ms");
    for (name, starts) in [("in a new home", &fresh), ("in a used home", &used)] {
        let of = |part| quantile(starts.iter().map(|start| start.took_ms), part);
        let (p50, p90, most) = (of(0.5), of(0.9), of(1.0));
        println!(
            "{name:<28} {p50:>10.1} {p90:>9.1} {most:>9.1} {:>12.1}",
            median(starts.iter().map(|start| start.own_ms))
        );
    }
    bars.at_most("start to ready, new home, p50", median(fresh.iter().map(|start| start.took_ms)), READY_MS_MAX, "ms");
    bars.at_most("start to ready, used home, p50", median(used.iter().map(|start| start.took_ms)), READY_MS_MAX, "ms");
    println!();
}

struct Start {
    /// From outside.
    took_ms: f64,
    /// What the node says.
    own_ms: f64,
}

fn start(home: &Path, init: bool) -> Start {
    let command = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.arg("--home").arg(home).args(arguments).stdin(Stdio::null());
        command.env("PANGEA_NETWORK_LISTEN", "127.0.0.1:0").env("PANGEA_NETWORK_MDNS", "false");
        command
    };
    if init {
        assert!(command(&["init"]).output().unwrap().status.success());
    }
    let log = fs::File::create(home.join("node.log")).unwrap();
    let started = Instant::now();
    let mut child = command(&["node", "--json"]).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let took_ms = millis(started.elapsed());
    let ready: Ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert!(command(&["stop", "--quiet"]).status().unwrap().success());
    child.wait().unwrap();
    Start { took_ms, own_ms: ready.startup_ms as f64 }
}

/// A node that everybody knows, and that nobody asks anything.
fn idle(dir: &Path, bars: &mut Bars) {
    let peers = number("PANGEA_BENCH_PEERS", 20);
    let mut cluster = Cluster::new(Path::new(PROGRAM), dir);
    cluster.start(1).unwrap();
    let alone = memory_of(cluster.pid(0).unwrap());
    cluster.start(usize::try_from(peers).unwrap()).unwrap();
    let connected = until_connected(&cluster, peers);
    let settled = until_settled(&cluster);
    let pid = cluster.pid(0).unwrap();
    let idle = memory_of(pid);
    println!("memory                            RSS MiB  anonymous      peak   threads");
    for (name, memory) in [("ready, no peers", alone), ("settled, asked by all", idle)] {
        let measure::Memory { rss, anonymous, peak, threads } = memory;
        println!("{name:<30} {rss:>10.1} {anonymous:>10.1} {peak:>9.1} {threads:>9}");
    }
    let others = (1..cluster.members().len()).map(|number| memory_of(cluster.pid(number).unwrap()).rss);
    println!("{:<30} {:>10.1}", "the others, median", median(others));
    println!("{connected} peers connected; at rest after {:.1} s", settled.as_secs_f64());
    let seconds = number("PANGEA_BENCH_IDLE_SECONDS", 10);
    let (cpu, clock) = (cpu_of(pid), Instant::now());
    std::thread::sleep(Duration::from_secs(seconds));
    let used = (cpu_of(pid) - cpu) / clock.elapsed().as_secs_f64();
    println!("idle CPU over {seconds} s: {:.2} % of a core", used * 100.0);
    bars.at_most(&format!("idle RSS with {connected} peers"), idle.rss, IDLE_MIB_MAX, "MiB");
}

/// Waits until the first node is connected to all others.
fn until_connected(cluster: &Cluster, peers: u64) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = cluster.run(0, &["status", "--json"]).unwrap();
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        let connected = status["peers_connected"].as_u64().unwrap();
        if connected >= peers {
            return connected;
        }
        assert!(Instant::now() < deadline, "only {connected} of {peers} peers connected");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until the memory of the first node has not grown for a while, and tells how long that took.
fn until_settled(cluster: &Cluster) -> Duration {
    let calm = Duration::from_secs(number("PANGEA_BENCH_SETTLE_SECONDS", 15));
    let pid = cluster.pid(0).unwrap();
    let started = Instant::now();
    let (mut most, mut since) = (memory_of(pid).rss, started);
    while since.elapsed() < calm && started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(200));
        let rss = memory_of(pid).rss;
        // A page or two more is noise.
        if rss > most + 0.1 {
            (most, since) = (rss, Instant::now());
        }
    }
    since - started
}
