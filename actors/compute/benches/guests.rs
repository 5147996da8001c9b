//! The word count in the sandbox against the same code and against plain Rust on this processor.
//!
//! ```text
//! cargo bench -p pangea-compute --bench guests                      (a text that is made up)
//! GUESTS_BENCH_TEXT=FILE cargo bench -p pangea-compute --bench guests
//! ```
//!
//! # Method
//!
//! CPU time of this thread. The text is cut by lines into chunks of 8 MiB, as a job would, and every chunk is counted in
//! an instance of its own, by the crate of the module as native code (`native`), and by a `HashMap` of strings
//! (`hash map`), in turns; then the outputs are merged. MB are 1,000,000 bytes of text.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use pangea_compute::{envelope, split};
use pangea_guest::Parts;
use pangea_protocols::{
    receipt_job::{Place, Stage},
    task::{Ending, Input, Limits},
};
use pangea_sandbox::{
    engine::{Engine, Instance, Slice, Wasmi},
    pass,
};
use std::collections::HashMap;

const MODULE: &[u8] = include_bytes!("../../../guests/built/word-count.wasm");
const CHUNK: u64 = 8 << 20;
const LIMITS: Limits = Limits {
    gas: 20_000_000_000,
    memory_bytes: 256 << 20,
    table_elements: 65_536,
    stack_slots: 131_072,
    output_bytes: 16 << 20,
    log_bytes: 0,
};

fn main() {
    let text = match std::env::var("GUESTS_BENCH_TEXT") {
        Ok(path) => std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")),
        Err(_) => made_up(32_000_000),
    };
    let ends = split::cut(&text[..], split::Cut::Lines(CHUNK), usize::MAX).unwrap();
    let total = u32::try_from(ends.len()).unwrap();
    let megabytes = text.len() as f64 / 1e6;
    println!("word-count.wasm: {} bytes; text: {megabytes:.1} MB in {total} chunks", MODULE.len());

    let sandbox = Sandbox::new();
    let (mut seconds, mut native, mut hash_map) = (0.0, 0.0, 0.0);
    let (mut gas, mut outputs) = (0, Vec::new());
    let mut words: HashMap<String, u64> = HashMap::new();
    for (index, range) in (0..).zip(split::ranges(&ends)) {
        let chunk = &text[range.start as usize..range.end as usize];
        let call = envelope::call(Place { stage: Stage::Execute, index }, total, chunk);
        let (took, (output, used)) = cpu(|| sandbox.run(call));
        (seconds, gas) = (seconds + took, gas + used);
        let (took, same) = cpu(|| word_count::count(pangea_guest::Chunk { index, total, bytes: chunk }));
        assert_eq!(same, output, "the same code gave another result");
        native += took;
        hash_map += cpu(|| plainly(chunk, &mut words)).0;
        outputs.push(output);
    }
    let list = envelope::list(outputs.iter());
    let call = envelope::call(Place { stage: Stage::Merge, index: 0 }, 1, &list);
    let (merge, (result, merge_gas)) = cpu(|| sandbox.run(call));
    let native_merge = cpu(|| word_count::sum(Parts::read(&list).unwrap()).unwrap()).0;

    println!(
        "execute   {:>8.1} MB/s in the sandbox, {:.1} million gas per MB",
        megabytes / seconds,
        gas as f64 / 1e6 / megabytes
    );
    println!("          {:>8.1} MB/s native, the same code: {:.1} x", megabytes / native, seconds / native);
    println!("          {:>8.1} MB/s native, hash map of strings: {:.1} x", megabytes / hash_map, seconds / hash_map);
    println!(
        "merge     {:>8.3} s in the sandbox, {:.1} million gas, {} bytes; {native_merge:.3} s native",
        merge,
        merge_gas as f64 / 1e6,
        list.len()
    );
    let result = String::from_utf8(result.to_vec()).unwrap();
    result.lines().take(6).for_each(|line| println!("          {line}"));
    println!("          {} different words by the hash map", words.len());
}

/// CPU time of this thread, in seconds.
fn cpu<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let before = now();
    let result = work();
    (now() - before, result)
}

struct Sandbox {
    engine: Wasmi,
    module: <Wasmi as Engine>::Module,
    setup_gas: u64,
}

impl Sandbox {
    fn new() -> Self {
        let engine = Wasmi::new().unwrap();
        let instrumented = pass::instrument(MODULE).unwrap();
        let module = engine.compile(&instrumented).unwrap();
        Self { engine, module, setup_gas: instrumented.setup_gas }
    }

    /// Output and gas.
    fn run(&self, call: Bytes) -> (Bytes, u64) {
        let input = Input { bytes: call, ..Input::default() };
        let mut instance = Instance::new(&self.engine, &self.module, self.setup_gas, LIMITS, input).unwrap();
        match instance.run_slice(u64::MAX >> 4) {
            Slice::Done(outcome) => match outcome.ending {
                Ending::Output(bytes) => (bytes, outcome.gas),
                Ending::Trapped(trap) => panic!("{trap}"),
            },
            other => panic!("{other:?}"),
        }
    }
}

/// As one would write it without thinking of speed.
fn plainly(chunk: &[u8], words: &mut HashMap<String, u64>) {
    for word in String::from_utf8_lossy(chunk).split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()) {
        *words.entry(word.to_lowercase()).or_default() += 1;
    }
}

/// Text whose words are as unequally frequent as those of a language (Zipf), from a fixed seed.
fn made_up(bytes: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut draw = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let vocabulary: Vec<Vec<u8>> = (0..50_000usize)
        .map(|rank| {
            (0..2 + (rank + 1).ilog2().min(4) as usize + draw() % 5).map(|_| b'a' + (draw() % 26) as u8).collect()
        })
        .collect();
    let mut text = Vec::with_capacity(bytes + 16);
    while text.len() < bytes {
        // Ranks r with a chance of about 1/r.
        let rank = (50_000f64.powf(draw() as f64 / f64::from(1u32 << 31)) as usize).min(49_999);
        text.extend_from_slice(&vocabulary[rank]);
        text.push(if draw() % 12 == 0 { b'\n' } else { b' ' });
    }
    text
}
