//! What the network driver costs over raw quinn: throughput, CPU, round trips and datagrams between two processes.
//!
//! `cargo bench --bench fabric` runs everything, interleaved, and prints medians and the ratios that are the bars:
//! throughput ≥ 0.8 × raw quinn at ≤ 1.15 × its CPU, a 64-byte round trip ≤ 1.2 × raw quinn, 10,000 datagrams of
//! 1200 bytes per second without loss. `PANGEA_BENCH_MIB` (1024) and `PANGEA_BENCH_ROUNDS` (5) shorten it. With the
//! feature `stock-interop`, rust-libp2p's own QUIC transport runs beside (bar: ours ≥ 1.3 × its throughput).
//!
//! `peers.rs` has the two ends of every measurement; this file starts them and does the sums.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::result_large_err
)]

#[path = "../measure/mod.rs"]
mod measure;
mod peers;
#[cfg(feature = "stock-interop")]
mod stock;

use measure::number;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

/// A measurement: what runs, in which unit, and against what it is compared.
struct Measure {
    name: &'static str,
    unit: &'static str,
    against: Option<&'static str>,
}

const MEASURES: &[Measure] = &[
    Measure { name: "raw-1MiB", unit: "MB/s", against: None },
    Measure { name: "fabric-1MiB", unit: "MB/s", against: Some("raw-1MiB") },
    Measure { name: "driver-1MiB", unit: "MB/s", against: Some("raw-1MiB") },
    #[cfg(feature = "stock-interop")]
    Measure { name: "stock-1MiB", unit: "MB/s", against: Some("raw-1MiB") },
    Measure { name: "raw-64KiB", unit: "MB/s", against: None },
    Measure { name: "driver-64KiB", unit: "MB/s", against: Some("raw-64KiB") },
    Measure { name: "raw-ping-datagram", unit: "us p50", against: None },
    Measure { name: "fabric-ping-datagram", unit: "us p50", against: Some("raw-ping-datagram") },
    Measure { name: "raw-ping-stream", unit: "us p50", against: None },
    Measure { name: "driver-ping-frame", unit: "us p50", against: Some("raw-ping-stream") },
    Measure { name: "fabric-datagrams", unit: "% lost", against: None },
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("serve") => peers::run(peers::serve(&arguments[2], bytes_total())),
        Some("client") => peers::run(peers::client(&arguments[2], &arguments[3], &arguments[4], bytes_total())),
        _ => compare(&arguments[1..]),
    }
}

fn compare(arguments: &[String]) {
    let wanted: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let measures = || MEASURES.iter().filter(|m| wanted.is_empty() || wanted.iter().any(|part| m.name.contains(*part)));
    let rounds = number("PANGEA_BENCH_ROUNDS", 5);
    let mut results: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for round in 1..=rounds {
        for measure in measures() {
            let (value, cpu) = once(measure.name);
            println!("round {round}  {:22} {value:9.2} {:7} {cpu:6.2} CPU-s", measure.name, measure.unit);
            results.entry(measure.name).or_default().push((value, cpu));
        }
    }
    println!("\nmedians of {rounds}");
    let median_of = |name: &str| results.get(name).map(|runs| (median(runs, |run| run.0), median(runs, |run| run.1)));
    for measure in measures() {
        let Some((value, cpu)) = median_of(measure.name) else { continue };
        let ratio = measure.against.and_then(|name| Some((name, median_of(name)?)));
        let ratio =
            ratio.map(|(name, (base, base_cpu))| format!("{:.2} x {name}, CPU {:.2} x", value / base, cpu / base_cpu));
        let (name, unit) = (measure.name, measure.unit);
        println!("{name:22} {value:9.2} {unit:7} {cpu:6.2} CPU-s   {}", ratio.unwrap_or_default());
    }
}

/// One measurement: its value, and the CPU seconds of both processes.
fn once(name: &str) -> (f64, f64) {
    let program = std::env::current_exe().unwrap();
    let mut server = Command::new(&program).args(["serve", name]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let ready = lines.next().unwrap().unwrap();
    let (address, peer) = ready.strip_prefix("READY ").unwrap().split_once(' ').unwrap();
    let client =
        Command::new(&program).args(["client", name, address, peer]).stderr(Stdio::inherit()).output().unwrap();
    let client = String::from_utf8(client.stdout).unwrap();
    let field = |text: &str, name: &str| text.strip_prefix(name).and_then(|rest| rest.trim().parse::<f64>().ok());
    let of_client = |name| client.lines().find_map(|line| field(line, name)).unwrap_or(f64::NAN);
    let of_server = lines.map_while(Result::ok).find_map(|line| field(&line, "CPU")).unwrap_or(f64::NAN);
    let _ = server.kill();
    server.wait().unwrap();
    (of_client("RESULT"), of_client("CPU") + of_server)
}

fn median(runs: &[(f64, f64)], of: impl Fn(&(f64, f64)) -> f64) -> f64 {
    let mut values: Vec<_> = runs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn bytes_total() -> u64 {
    number("PANGEA_BENCH_MIB", 1024) << 20
}
