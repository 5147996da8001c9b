//! CES against itself and against other tools: CPU-seconds, sizes and memory, in interleaved medians.
//!
//! ```text
//! benches/corpus.sh DIR/corpus 1060
//! CES_BENCH_DIR=DIR cargo bench -p pangea-ces --bench ces
//! ```
//!
//! `CES_BENCH_DIR` names the only directory that is written to; `CES_BENCH_RUNS` (default 5) the runs per median;
//! `CES_BENCH_ONLY` limits it to some of `erasure,rivals,decode,stages,memory`. Not here: how a frame is worked on
//! (`pipeline`), other tools (`rivals`), the clock (`measure`).
//!
//! # Method
//!
//! Every figure is CPU time, user and system, of child processes: this program runs itself for ours. What is compared
//! runs in turns, and a ratio is the median of the ratios of neighbours, so that a machine that grows slower or faster
//! meanwhile does not favour one side; the least and the greatest are shown with it. Files that are read are in the
//! page cache.
//!
//! - **Rivals** write to the disk, as we do then; what an earlier run left is removed outside the measurement.
//! - **Decode** ends in a null sink: the kernel's work on a gigabyte of new pages varies by more than what is compared.
//!   Before that, every variant restores the corpus to the disk once, which is checked byte by byte.
//! - **Stages** against the whole: both end in a copy to memory. The stages run on as many threads as the pipeline has
//!   workers, each thread taking every stage of its own frames, because two busy threads share caches and maybe a core
//!   and make each other's CPU seconds longer. What is left is what the pipeline adds: hand-over between threads,
//!   order, and more buffers under way. Every second time the stages go first. The same stages on one thread are shown
//!   beside it. A run takes some CPU-seconds, so the fast profile reads the corpus twice.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

mod measure;
mod pipeline;
mod rivals;
mod stages;

use measure::{Ratio, Run, child, median};
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
        fast.push(encode_to_disk(directory, "fast"));
        balanced.push(encode_to_disk(directory, "balanced"));
        restic.extend(rivals::restic(directory));
        borg.extend(rivals::borg(directory));
    }
    let (_, stored) = (show("fast", &fast, bytes), show("balanced", &balanced, bytes).stored);
    for (name, rival) in [("restic", restic), ("borg lz4", borg)] {
        if rival.is_empty() {
            println!("{name:<12} skipped: not installed");
            continue;
        }
        let shown = show(name, &rival, bytes);
        println!(
            "  fast is {} {name}, balanced {} at {:.3} x its size",
            Ratio::new(&rival, &fast),
            Ratio::new(&rival, &balanced),
            stored as f64 / shown.stored as f64
        );
    }
}

fn encode_to_disk(directory: &Path, profile: &str) -> Run {
    let _ = std::fs::remove_dir_all(directory.join("shards"));
    child(directory, &["encode", profile, "1", "disk"])
}

fn decoding(directory: &Path, runs: usize, bytes: u64) {
    for profile in ["fast", "balanced"] {
        encode_to_disk(directory, profile);
        for lost in ["0", "4"] {
            let _ = std::fs::remove_file(directory.join("restored"));
            child(directory, &["decode", lost, "disk"]);
            assert!(pipeline::restored_equals_corpus(directory), "{profile}, {lost} lost: restored other bytes");
        }
        let (mut healthy, mut hurt) = (vec![], vec![]);
        for _ in 0..runs {
            healthy.push(child(directory, &["decode", "0", "null"]));
            hurt.push(child(directory, &["decode", "4", "null"]));
        }
        show(&format!("{profile}: decode"), &healthy, bytes);
        show("  4 lost", &hurt, bytes);
        println!("  4-lost takes {} healthy", Ratio::new(&hurt, &healthy));
    }
}

fn overhead(directory: &Path, runs: usize, bytes: u64) {
    for (profile, repeat, bytes) in [("fast", "2", 2 * bytes), ("balanced", "1", bytes)] {
        let whole = || child(directory, &["encode", profile, repeat, "memory"]);
        let stages = |threads| child(directory, &["stages", profile, repeat, threads]);
        let (mut wholes, mut both, mut single) = (vec![], vec![], vec![]);
        for _ in 0..runs {
            wholes.push(whole());
            both.push(stages("2"));
            single.push(stages("1"));
            both.push(stages("2"));
            wholes.push(whole());
        }
        show(&format!("{profile}: whole"), &wholes, bytes);
        show("  stages, 2 threads", &both, bytes);
        show("  stages, 1 thread", &single, bytes);
        println!("  the pipeline takes {} the sum of its stages", Ratio::new(&wholes, &both));
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
    encode_to_disk(directory, "balanced");
    println!("decode, 4 lost, 2 workers: peak {} MiB", child(directory, &["decode", "4", "null"]).rss_kib / 1024);
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
