//! CES against itself and against other tools: CPU-seconds, sizes and memory, in interleaved medians.
//!
//! ```text
//! benches/corpus.sh DIR/corpus 1060
//! CES_BENCH_DIR=DIR cargo bench -p pangea-ces --bench ces
//! ```
//!
//! `CES_BENCH_DIR` names the only directory that is written to; `CES_BENCH_RUNS` (default 5) the runs per median;
//! `CES_BENCH_ONLY` limits it to some of `erasure,pipeline,rivals,decode,stages,memory`. Every figure is CPU time, user
//! and system, of child processes: this program runs itself for ours. Not here: how a frame is worked on
//! (`pipeline`), other tools (`rivals`), the clock (`measure`).

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

mod measure;
mod pipeline;
mod rivals;
mod stages;

use measure::{Run, child, median};
use std::path::{Path, PathBuf};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Ok(directory) = std::env::var("CES_BENCH_DIR") else {
        println!("skipped: set CES_BENCH_DIR to a directory that holds `corpus`; see the head of benches/ces/main.rs");
        return;
    };
    let directory = PathBuf::from(directory);
    match arguments.first().map(String::as_str) {
        Some("encode") => pipeline::encode(&directory, &arguments[1..]),
        Some("decode") => pipeline::decode(&directory, &arguments[1..]),
        Some("stages") => stages::pipeline(&directory, &arguments[1..]),
        _ => report(&directory),
    }
}

fn report(directory: &Path) {
    let runs = std::env::var("CES_BENCH_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(5);
    let only = std::env::var("CES_BENCH_ONLY").unwrap_or_default();
    let wanted = |part: &str| only.is_empty() || only.split(',').any(|name| name == part);
    let bytes = pipeline::corpus_bytes(directory);
    println!("corpus: {:.0} MB; medians of {runs}, interleaved; MB are 10^6 bytes per CPU-second", bytes as f64 / 1e6);
    if wanted("erasure") {
        stages::erasure(runs);
    }
    if wanted("rivals") {
        against_rivals(directory, runs, bytes);
    }
    if wanted("decode") {
        decoding(directory, runs, bytes);
    }
    if wanted("stages") {
        overhead(directory, runs, bytes);
    }
    if wanted("memory") {
        memory(directory, bytes);
    }
}

fn against_rivals(directory: &Path, runs: usize, bytes: u64) {
    let (mut fast, mut balanced, mut restic, mut borg) = (vec![], vec![], vec![], vec![]);
    for _ in 0..runs {
        fast.push(child(directory, &["encode", "fast", "1", "disk"]));
        balanced.push(child(directory, &["encode", "balanced", "1", "disk"]));
        restic.extend(rivals::restic(directory));
        borg.extend(rivals::borg(directory));
    }
    let (fast, balanced) = (show("fast", &fast, bytes), show("balanced", &balanced, bytes));
    for (name, rival) in [("restic", restic), ("borg lz4", borg)] {
        if rival.is_empty() {
            println!("{name:<12} skipped: not installed");
            continue;
        }
        let rival = show(name, &rival, bytes);
        println!(
            "  fast is {:.2} x {name}, balanced {:.2} x at {:.3} x its size",
            rival.cpu / fast.cpu,
            rival.cpu / balanced.cpu,
            balanced.stored as f64 / rival.stored as f64
        );
    }
}

fn decoding(directory: &Path, runs: usize, bytes: u64) {
    for profile in ["fast", "balanced"] {
        child(directory, &["encode", profile, "1", "disk"]);
        let (mut healthy, mut hurt) = (vec![], vec![]);
        for _ in 0..runs {
            healthy.push(child(directory, &["decode", "0", "disk"]));
            hurt.push(child(directory, &["decode", "4", "disk"]));
        }
        assert!(pipeline::restored_equals_corpus(directory), "the restored stream differs from the corpus");
        let healthy = show(&format!("{profile}: decode"), &healthy, bytes);
        let hurt = show("  4 lost", &hurt, bytes);
        println!("  4-lost takes {:.3} x healthy", hurt.cpu / healthy.cpu);
    }
}

fn overhead(directory: &Path, runs: usize, bytes: u64) {
    for profile in ["fast", "balanced"] {
        let (mut whole, mut stages) = (vec![], vec![]);
        for _ in 0..runs {
            whole.push(child(directory, &["encode", profile, "1", "disk"]));
            stages.push(child(directory, &["stages", profile]));
        }
        let whole = show(&format!("{profile}: whole"), &whole, bytes);
        let stages = show("  stages", &stages, bytes);
        println!("  the pipeline takes {:.3} x the sum of its stages", whole.cpu / stages.cpu);
    }
}

fn memory(directory: &Path, bytes: u64) {
    for profile in ["fast", "balanced", "small"] {
        for repeat in ["1", "4"] {
            let run = child(directory, &["encode", profile, repeat, "null"]);
            let gb = bytes as f64 * repeat.parse::<f64>().unwrap() / 1e9;
            println!("{profile:<12} {gb:.1} GB, 2 workers: peak {} MiB", run.rss_kib / 1024);
            if profile == "small" {
                break;
            }
        }
    }
    child(directory, &["encode", "balanced", "1", "disk"]);
    println!("decode, 4 lost, 2 workers: peak {} MiB", child(directory, &["decode", "4", "disk"]).rss_kib / 1024);
}

/// Prints a line and returns the median run by CPU time.
fn show(name: &str, runs: &[Run], bytes: u64) -> Run {
    let run = median(runs);
    println!(
        "{name:<20} {:>7.1} MB/CPU-s  cpu {:>6.2} s  stored {:>6.1} MB  peak {:>4} MiB",
        bytes as f64 / run.cpu / 1e6,
        run.cpu,
        run.stored as f64 / 1e6,
        run.rss_kib / 1024
    );
    run
}
