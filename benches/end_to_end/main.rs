//! What a put costs from end to end, against the sum of its parts and against Tahoe-LAFS; and how soon a read begins.
//!
//! `cargo bench --bench end_to_end`. In every round, one after the other:
//!
//! | what | counted |
//! |---|---|
//! | `put` of one file into a cluster of node processes on loopback | CPU of all nodes and of the command |
//! | CES alone on the same file, same profile, same code | CPU of its process |
//! | the network driver alone: as many frames of the same size between two processes | CPU of both |
//! | the shard disk alone: as many records of the same size | CPU of its process |
//! | `get` of the object by another node | as for `put` |
//! | first byte of `cat`, by a third node | time |
//! | `tahoe put` of a sample of the file, 8-of-10, if `TAHOE` names the program | CPU of all processes |
//! | `put --fast`, if `TAHOE` | as for `put` |
//!
//! Bars, on medians: put ≤ 1.5 × the sum of the parts; first byte of `cat` ≤ 50 ms (p50 of all); MB per CPU second of
//! a put ≥ 8 × Tahoe's, which does not compress: `put --fast` does least of that. Environment: `PANGEA_BENCH_MB` (1000), `PANGEA_BENCH_ROUNDS` (5), `PANGEA_BENCH_NODES` (5),
//! `PANGEA_BENCH_PROFILE` (`balanced`), `PANGEA_BENCH_CATS` (20 in all), `PANGEA_BENCH_TAHOE_MB` (64),
//! `PANGEA_BENCH_FILE` (a file to use instead of the corpus), `TAHOE`, `TMPDIR` (needs four times the file).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod alone;
mod corpus;
mod first_byte;
#[path = "../measure/mod.rs"]
mod measure;
mod ours;
mod tahoe;

use alone::Parts;
use first_byte::Waits;
use measure::{Bars, machine, median, number};
use ours::Net;
use std::path::{Path, PathBuf};
use tahoe::Grid;

const PUT_PER_PARTS_MAX: f64 = 1.5;
const FIRST_BYTE_MS_MAX: f64 = 50.0;
const PER_TAHOE_MIN: f64 = 8.0;

/// What something cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Time.
    pub seconds: f64,
    /// CPU time of all processes.
    pub cpu: f64,
}

/// What is measured.
struct Plan {
    file: PathBuf,
    megabytes: f64,
    hash: blake3::Hash,
    profile: String,
    nodes: usize,
    rounds: u64,
    cats: u64,
}

/// What was measured.
#[derive(Default)]
struct Results {
    puts: Vec<Cost>,
    fast_puts: Vec<Cost>,
    gets: Vec<Cost>,
    parts: Vec<Parts>,
    waits: Waits,
    /// MB per CPU second.
    tahoe: Vec<f64>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((first, rest)) if first == "part" => alone::part(rest),
        _ => measure::supervisor::run("end-to-end", run),
    }
}

fn run(dir: &Path) -> i32 {
    println!("{}", machine());
    let plan = Plan::from_environment(dir);
    let Plan { megabytes, profile, nodes, rounds, .. } = &plan;
    println!("{megabytes:.0} MB, profile {profile}, {nodes} nodes, {rounds} rounds\n");
    let grid = std::env::var_os("TAHOE").map(|program| Grid::start(Path::new(&program), &dir.join("tahoe")));
    println!("round  what                      s    CPU-s  MB/CPU-s");
    let mut results = Results::default();
    for round in 1..=*rounds {
        plan.round(dir, round, grid.as_ref(), &mut results);
    }
    results.waits.print();
    results.judge(&plan)
}

impl Plan {
    fn from_environment(dir: &Path) -> Self {
        let given = std::env::var_os("PANGEA_BENCH_FILE").map(PathBuf::from);
        let file = given.unwrap_or_else(|| corpus::make(dir, number("PANGEA_BENCH_MB", 1000)));
        let rounds = number("PANGEA_BENCH_ROUNDS", 5).max(1);
        Self {
            megabytes: corpus::megabytes(&file),
            hash: corpus::hash(&file),
            profile: std::env::var("PANGEA_BENCH_PROFILE").unwrap_or_else(|_| "balanced".to_owned()),
            nodes: usize::try_from(number("PANGEA_BENCH_NODES", 5)).unwrap().max(4),
            rounds,
            cats: number("PANGEA_BENCH_CATS", 20).div_ceil(rounds),
            file,
        }
    }

    fn round(&self, dir: &Path, round: u64, grid: Option<&Grid>, results: &mut Results) {
        let home = dir.join(format!("cluster-{round}"));
        let net = Net::start(&home, self.nodes);
        let put = net.put(&self.file, &self.profile);
        self.row(round, "put", put.cost);
        let (parts, load) = alone::run(dir, &self.file, put.code, &self.profile);
        self.row(round, "  CES alone", parts.ces);
        self.row(round, "  network alone", parts.fabric);
        self.row(round, "  disk alone", parts.store);
        let got = dir.join("got");
        let get = net.get(&put.ticket, &got);
        self.row(round, "get", get);
        assert_eq!(corpus::hash(&got), self.hash, "what came back is not what was stored");
        std::fs::remove_file(got).unwrap();
        first_byte::run(&net, &put.ticket, self.cats, &mut results.waits);
        if round == 1 {
            let (k, m) = put.code;
            println!(
                "       {k}+{m}, {} shards of {} bytes, {} bytes at holders",
                load.shards, load.bytes, put.stored_bytes
            );
        }
        if let Some(grid) = grid {
            let put = net.put(&self.file, "fast");
            self.row(round, "put --fast", put.cost);
            results.fast_puts.push(put.cost);
            self.tahoe(dir, round, grid, results);
        }
        drop(net);
        std::fs::remove_dir_all(home).unwrap();
        results.puts.push(put.cost);
        results.parts.push(parts);
        results.gets.push(get);
    }

    fn tahoe(&self, dir: &Path, round: u64, grid: &Grid, results: &mut Results) {
        let sample = dir.join("sample");
        corpus::sample(&self.file, &sample, number("PANGEA_BENCH_TAHOE_MB", 64), round);
        let (cost, megabytes) = (grid.put(&sample), corpus::megabytes(&sample));
        std::fs::remove_file(sample).unwrap();
        row(round, &format!("tahoe put of {megabytes:.0} MB"), cost, megabytes);
        results.tahoe.push(megabytes / cost.cpu);
    }

    fn row(&self, round: u64, what: &str, cost: Cost) {
        row(round, what, cost, self.megabytes);
    }
}

fn row(round: u64, what: &str, Cost { seconds, cpu }: Cost, megabytes: f64) {
    println!("{round:>5}  {what:<20} {seconds:>6.2} {cpu:>8.2} {:>9.1}", megabytes / cpu);
}

impl Results {
    fn judge(&self, plan: &Plan) -> i32 {
        let cpu = |costs: &[Cost]| median(costs.iter().map(|cost| cost.cpu));
        let seconds = |costs: &[Cost]| median(costs.iter().map(|cost| cost.seconds));
        let parts = Parts::median(&self.parts);
        println!("\nmedians of {} rounds", plan.rounds);
        for (what, cost) in [
            ("put", Cost { seconds: seconds(&self.puts), cpu: cpu(&self.puts) }),
            ("  CES alone", parts.ces),
            ("  network alone", parts.fabric),
            ("  disk alone", parts.store),
            ("get", Cost { seconds: seconds(&self.gets), cpu: cpu(&self.gets) }),
        ] {
            let (Cost { seconds, cpu }, mb) = (cost, plan.megabytes);
            println!("{what:<18} {:>7.1} MB/s {cpu:>8.2} CPU-s {:>8.1} MB/CPU-s", mb / seconds, mb / cpu);
        }
        println!();
        let mut bars = Bars::default();
        // Within a round both ran under the same conditions: the median of ratios, not the ratio of medians.
        let ratios = self.puts.iter().zip(&self.parts).map(|(put, parts)| put.cpu / parts.cpu());
        bars.at_most("CPU of a put / sum of its parts alone", median(ratios), PUT_PER_PARTS_MAX, "x");
        bars.at_most("first byte of cat, p50", median(self.waits.process.iter().copied()), FIRST_BYTE_MS_MAX, "ms");
        if self.tahoe.is_empty() {
            println!("skipped  Tahoe-LAFS: set TAHOE to the path of its `tahoe` program");
        } else {
            let tahoe = median(self.tahoe.iter().copied());
            println!("Tahoe-LAFS: {tahoe:.2} MB per CPU second, 8 of 10");
            for (profile, puts) in [("fast", &self.fast_puts), (&*plan.profile, &self.puts)] {
                let what = format!("MB per CPU second of a put, {profile} / Tahoe's");
                bars.at_least(&what, plan.megabytes / cpu(puts) / tahoe, PER_TAHOE_MIN, "x");
            }
        }
        bars.exit_code()
    }
}
