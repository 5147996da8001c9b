//! What a job costs over several nodes, beside what its module costs.
//!
//! `cargo bench --bench jobs [-- words|tasks|stored|first]`. Five nodes on loopback share this machine.
//!
//! - **words**: CPU of all nodes for a word count over `PANGEA_BENCH_MEGABYTES` (1000) of text, against the CPU that the
//!   same module takes in this process, plus that of sending the text once between two network drivers. Bar: 1.3.
//! - **tasks**: wall time of a job of `PANGEA_BENCH_TASKS` (10000) tasks that do nothing, per task, with audits and without.
//!   Bar: 1 ms.
//! - **stored**: CPU of the owner's node for a job over a stored object of `PANGEA_BENCH_STORED_MEGABYTES` (200) that goes
//!   through it, against the same job whose tasks read their parts themselves. Bar: half, as the owner's node computes, too.
//! - **first**: from submission to the result of a job of one small task, p50 of 20. Bar: 50 ms.
//!
//! `PANGEA_BENCH_MODULE` names a module to count words with; without it, the one that comes with the sources.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr
)]

#[path = "measure/mod.rs"]
mod measure;

use bytes::Bytes;
use measure::{
    Bars, cpu_of, cpu_of_self, machine,
    network::{Node, frame},
    number, quantile,
};
use pangea::demo::cluster::Cluster;
use pangea_compute::{
    envelope,
    split::{self, Cut},
};
use pangea_protocols::{
    Hash, PeerId,
    net::Class,
    receipt_job::{Place, Stage},
    task::{Ending, Input, Limits, TaskId},
};
use pangea_sandbox::{
    Workshop,
    engine::Wasmi,
    work::{Begin, Done, State, Work},
};
use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pangea");
const NODES: usize = 5;
const CHUNK: u64 = 4 << 20;
const PART: usize = 1 << 20;

/// Returns nothing, whatever it is given.
const NOTHING: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "alloc") (param $len i32) (result i32)
        (drop (memory.grow (i32.add (i32.shr_u (local.get $len) (i32.const 16)) (i32.const 1))))
        (i32.const 1024))
    (func (export "handle") (param i32 i32) (result i64) (i64.const 0)))"#;

fn main() {
    measure::supervisor::run("jobs", |dir| {
        println!("{}\n", machine());
        let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
        let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
        let mut bars = Bars::default();
        let mut cluster = Cluster::new(Path::new(PROGRAM), dir);
        cluster.start(NODES).unwrap();
        until_connected(&cluster);
        fs::write(dir.join("nothing.wat"), NOTHING).unwrap();
        if wants("first") {
            first(&cluster, dir, &mut bars);
        }
        if wants("tasks") {
            tasks(&cluster, dir, &mut bars);
        }
        if wants("stored") {
            stored(&cluster, dir, &mut bars);
        }
        if wants("words") {
            words(&cluster, dir, &mut bars);
        }
        bars.exit_code()
    });
}

fn until_connected(cluster: &Cluster) {
    let deadline = Instant::now() + Duration::from_secs(60);
    for number in 0..NODES {
        loop {
            let status = cluster.run(number, &["status", "--json"]).unwrap();
            let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
            if status["peers_connected"].as_u64().unwrap() >= NODES as u64 - 1 {
                break;
            }
            assert!(Instant::now() < deadline, "the nodes do not find each other");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// CPU seconds of all nodes so far, and of the processes that run guests for them.
fn cpu(cluster: &Cluster) -> f64 {
    let of_node = |pid: u32| cpu_of(pid) + children(pid).into_iter().map(cpu_of).sum::<f64>();
    (0..NODES).map(|number| of_node(cluster.pid(number).unwrap())).sum()
}

/// Processes that a thread of a process has started.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>()).collect()
}

/// Runs a job at the first node; what it tells in the end.
fn run(cluster: &Cluster, arguments: &[&str]) -> serde_json::Value {
    let told = cluster.run(0, &[&["job", "run", "--json", "--output", "/dev/null"], arguments].concat()).unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    serde_json::from_slice(&told.stdout).unwrap()
}

fn first(cluster: &Cluster, dir: &Path, bars: &mut Bars) {
    let module = dir.join("nothing.wat");
    let input = dir.join("line");
    let took = |round: u32| {
        // Another input each time: what is known from before would not be computed again.
        fs::write(&input, format!("line {round}\n")).unwrap();
        let began = Instant::now();
        let told = run(cluster, &[module.to_str().unwrap(), input.to_str().unwrap()]);
        (told["took_ms"].as_f64().unwrap(), began.elapsed().as_secs_f64() * 1e3)
    };
    let all: Vec<(f64, f64)> = (0..20).map(took).collect();
    let p50 = |values: Vec<f64>| quantile(values, 0.5);
    println!("one small task: {:.1} ms from submission, p50", p50(all.iter().map(|(node, _)| *node).collect()));
    bars.at_most("first result, command included, p50", p50(all.iter().map(|(_, all)| *all).collect()), 50.0, "ms");
    println!();
}

fn tasks(cluster: &Cluster, dir: &Path, bars: &mut Bars) {
    let count = number("PANGEA_BENCH_TASKS", 10_000);
    let module = dir.join("nothing.wat");
    let input = dir.join("lines");
    let mut file = BufWriter::new(File::create(&input).unwrap());
    (0..count).for_each(|line| writeln!(file, "{line:15}").unwrap());
    drop(file);
    // Another module for each: what is known of one from before would not be computed again.
    let trusted = dir.join("trusted.wat");
    fs::write(&trusted, NOTHING.replace("1024", "2048")).unwrap();
    for (what, module, check) in
        [("audits included", module, "--audit=10%"), ("every result believed", trusted, "--trust")]
    {
        let (before, began) = (cpu(cluster), Instant::now());
        let (module, input) = (module.to_str().unwrap(), input.to_str().unwrap());
        let told = run(cluster, &[module, input, "--map", "records:16:16", check]);
        let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu(cluster) - before);
        let progress = &told["progress"];
        println!(
            "{count} empty tasks: {wall:.2} s, {:.2} ms of CPU each; {} results, {} audited, {} retried",
            cpu * 1e3 / count as f64,
            progress["executions"],
            progress["audited"],
            progress["retried"]
        );
        bars.at_most(&format!("an empty task, {what}"), wall * 1e3 / count as f64, 1.0, "ms");
    }
    println!();
}

fn stored(cluster: &Cluster, dir: &Path, bars: &mut Bars) {
    let megabytes = number("PANGEA_BENCH_STORED_MEGABYTES", 200);
    let (module, input) = (dir.join("nothing.wat"), dir.join("object"));
    write_text(&input, megabytes * 1_000_000);
    // Another node than the owner of the job stores it.
    let told = cluster.run(1, &["put", "--json", input.to_str().unwrap()]).unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    let ticket = told["ticket"].as_str().unwrap();
    let owner = || cpu_of(cluster.pid(0).unwrap());
    let cost = |how: &str, map: &str| {
        let (before, all, began) = (owner(), cpu(cluster), Instant::now());
        let told = run(cluster, &[module.to_str().unwrap(), ticket, "--map", map]);
        let (used, all, wall) = (owner() - before, cpu(cluster) - all, began.elapsed().as_secs_f64());
        let progress = &told["progress"];
        let size = |bytes: &serde_json::Value| bytes.as_f64().unwrap() / 1e6;
        println!(
            "{megabytes} MB {how}: {used:.2} CPU-s of the owner's node, {all:.2} of all, {wall:.2} s; {} tasks, {} results, \
             {:.0} MB read in place, {:.0} MB from own disks",
            progress["total"],
            progress["executions"],
            size(&progress["read_bytes"]),
            size(&progress["own_bytes"])
        );
        used
    };
    // Not quite 4 MiB: not whole stripes.
    let through = cost("through the owner", "bytes:4194303");
    let in_place = cost("read in place", "stripes:4");
    bars.at_most("CPU of the owner's node, read in place / through it", in_place / through, 0.5, "x");
    println!();
}

fn words(cluster: &Cluster, dir: &Path, bars: &mut Bars) {
    let megabytes = number("PANGEA_BENCH_MEGABYTES", 1000);
    let module = std::env::var_os("PANGEA_BENCH_MODULE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/built/word-count.wasm"), PathBuf::from);
    let input = dir.join("text");
    write_text(&input, megabytes * 1_000_000);
    let (alone, gas) = alone(&module, &input);
    let moved = moved(&input);
    println!(
        "{megabytes} MB of text: the module takes {alone:.2} CPU-s, {gas:.1} gas a byte; moving it {moved:.2} CPU-s"
    );
    let (before, began) = (cpu(cluster), Instant::now());
    let told = run(cluster, &[module.to_str().unwrap(), input.to_str().unwrap(), "--map", "lines:4MiB", "--merge"]);
    let (wall, used) = (began.elapsed().as_secs_f64(), cpu(cluster) - before);
    let progress = &told["progress"];
    println!(
        "job on {NODES} nodes: {wall:.2} s, {used:.2} CPU-s; {} tasks, {} results, {} audited, {} retried, {} doubled",
        progress["total"], progress["executions"], progress["audited"], progress["retried"], progress["speculated"]
    );
    bars.at_most("CPU of the job / module alone and moving", used / (alone + moved), 1.3, "x");
}

/// Words of a vocabulary of 50,000, the frequent ones often (Zipf), in lines of about 80 bytes.
fn write_text(path: &Path, bytes: u64) {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    let (mut state, mut written, mut line) = (0x9e37_79b9_7f4a_7c15u64, 0, 0);
    while written < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // A power of a uniform number: close enough to what words do.
        let unit = (state >> 11) as f64 / (1u64 << 53) as f64;
        let word = (50_000f64.powf(unit)) as u64;
        let end = if line > 70 { '\n' } else { ' ' };
        let text = format!("w{:x}{end}", word.wrapping_mul(0x9e37_79b9) & 0xf_ffff);
        file.write_all(text.as_bytes()).unwrap();
        written += text.len() as u64;
        line = if end == '\n' { 0 } else { line + text.len() };
    }
    file.flush().unwrap();
}

/// CPU seconds that the module takes over all chunks in this process, and gas per byte.
fn alone(module: &Path, input: &Path) -> (f64, f64) {
    let workshop = Workshop::new(Wasmi::new().unwrap(), u64::MAX);
    let bytes: Bytes = fs::read(module).unwrap().into();
    let hash = Hash::of(&bytes);
    let prepared = Work::Prepare { module: hash, bytes }.run(&workshop);
    assert!(matches!(prepared, Some(Done::Prepared { result: Ok(_), .. })), "{prepared:?}");
    let text: Bytes = fs::read(input).unwrap().into();
    let ends = split::cut(&text[..], Cut::Lines(CHUNK), usize::MAX).unwrap();
    let (mut gas, before) = (0, cpu_of_self());
    for (index, range) in (0..).zip(split::ranges(&ends)) {
        let place = Place { stage: Stage::Execute, index };
        let bytes = envelope::call(place, ends.len() as u32, &text[range.start as usize..range.end as usize]);
        let limits = Limits { gas: 1 << 40, memory_bytes: 256 << 20, ..Limits::default() };
        let (task, granted) = (TaskId(index.into()), pangea_compute::worker::granted());
        let input = Input { bytes, ..Input::default() };
        let begin = Begin { task, module: hash, limits, granted, input, gas: 1 << 40 };
        match Work::Begin(Box::new(begin)).run(&workshop) {
            Some(Done::Sliced { state: State::Ended { outcome, .. }, .. }) => {
                assert!(matches!(outcome.ending, Ending::Output(_)), "{:?}", outcome.ending);
                gas += outcome.gas;
            }
            other => panic!("{other:?}"),
        }
    }
    (cpu_of_self() - before, gas as f64 / text.len() as f64)
}

/// CPU seconds of both ends for sending a file over one connection of ours.
fn moved(input: &Path) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let text: Bytes = fs::read(input).unwrap().into();
    runtime.block_on(async {
        let (mut from, mut to) = (Node::start(1).await, Node::start(2).await);
        let address = to.handle.listening_on()[0];
        let peer = PeerId(ed25519_dalek::SigningKey::from_bytes(&[2; 32]).verifying_key().to_bytes());
        from.connect(peer, &address.to_string()).await;
        to.connected().await;
        let before = cpu_of_self();
        let parts: Vec<Bytes> =
            (0..text.len()).step_by(PART).map(|at| text.slice(at..text.len().min(at + PART))).collect();
        let receiving = tokio::spawn(async move {
            let mut bytes = 0;
            while bytes < text.len() {
                bytes += to.received().await.body.len();
            }
            to
        });
        for (tag, part) in parts.iter().enumerate() {
            from.send(peer, tag as u64 + 1, Class::Bulk, frame(part));
            // At most a few wait, as a window of a job.
            while tag >= 32 && !matches!(from.events.recv().await, Some(pangea_protocols::net::Event::Sent { .. })) {}
        }
        let to = receiving.await.unwrap();
        let used = cpu_of_self() - before;
        from.handle.shutdown().await;
        from.disconnected().await;
        to.handle.shutdown().await;
        used
    })
}
