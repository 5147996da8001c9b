//! Computations on real processes: what comes of them, and what happens when nodes die, users change their minds, or
//! modules and inputs are not what they should be.

use super::swarm::{Swarm, eventually, noise};
use bytes::Bytes;
use pangea_compute::{
    envelope,
    split::{self, Cut},
};
use pangea_protocols::receipt_job::{Place, Stage};
use rustix::process::Signal;
use serde_json::Value;
use std::{fs, ops::Range, os::unix::fs::PermissionsExt, path::Path};

/// Returns its input, after a loop of so many rounds.
pub fn echo(rounds: u64) -> String {
    format!(
        r#"(module
    (memory (export "memory") 1)
    (func (export "alloc") (param $len i32) (result i32)
        (drop (memory.grow (i32.add (i32.shr_u (local.get $len) (i32.const 16)) (i32.const 1))))
        (i32.const 1024))
    (func (export "handle") (param $ptr i32) (param $len i32) (result i64)
        (local $left i64)
        (local.set $left (i64.const {rounds}))
        (loop $on (br_if $on (i64.ne (i64.const 0) (local.tee $left (i64.sub (local.get $left) (i64.const 1))))))
        (i64.or (i64.shl (i64.extend_i32_u (local.get $ptr)) (i64.const 32)) (i64.extend_i32_u (local.get $len)))))"#
    )
}

/// Says something and gives up.
const GIVES_UP: &str = r#"(module
    (import "pangea" "log" (func $log (param i32 i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "no way")
    (func (export "alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "handle") (param i32 i32) (result i64)
        (call $log (i32.const 0) (i32.const 0) (i32.const 6)) unreachable))"#;

pub fn lines(count: usize) -> String {
    (0..count).map(|line| format!("line {line} of a long book\n")).collect()
}

/// What the echo of every chunk is, under the envelopes that it is called with.
fn echoed(input: &[u8], how: Cut) -> Vec<Bytes> {
    let ends = split::cut(input, how, usize::MAX).unwrap();
    let call = |(index, range): (u32, Range<u64>)| {
        let place = Place { stage: Stage::Execute, index };
        envelope::call(place, ends.len() as u32, &input[range.start as usize..range.end as usize])
    };
    (0..).zip(split::ranges(&ends)).map(call).collect()
}

fn merged(outputs: &[Bytes]) -> Bytes {
    envelope::call(Place { stage: Stage::Merge, index: 0 }, 1, &envelope::list(outputs.iter()))
}

fn show(swarm: &Swarm, number: usize, job: &str) -> Value {
    swarm.cli(number, &["job", "show", job, "--json"]).ok().json()
}

pub fn name(value: &Value) -> String {
    value["job"].as_str().unwrap().to_owned()
}

pub fn write(dir: &Path, name: &str, text: impl AsRef<[u8]>) {
    fs::write(dir.join(name), text).unwrap();
}

#[test]
fn a_job_gives_the_same_wherever_its_input_comes_from_and_its_receipt_proves_it() {
    let swarm = Swarm::of(4);
    let dir = swarm.dir.path();
    let input = lines(4000);
    write(dir, "echo.wat", echo(1));
    write(dir, "book.txt", &input);
    let how = Cut::Lines(16 << 10);
    let expected = merged(&echoed(input.as_bytes(), how));
    let terms = ["--map", "lines:16KiB", "--merge"];
    let run = |more: &[&str]| swarm.cli(0, &[&["job", "run", "echo.wat"], more, &terms[..]].concat());
    let told = run(&["book.txt", "--output", "out", "--json"]).ok().json();
    assert_eq!(fs::read(dir.join("out")).unwrap(), expected);
    assert!(told["progress"]["executions"].as_u64().unwrap() >= 8);
    // What is known from before is not computed again.
    assert_eq!(run(&["book.txt"]).ok().out, expected);
    assert_eq!((&told["state"], told["output_bytes"].as_u64()), (&"done".into(), Some(expected.len() as u64)));
    let ticket = swarm.put(1, &dir.join("book.txt"), &[])["ticket"].as_str().unwrap().to_owned();
    assert_eq!(run(&[&ticket]).ok().out, expected);
    let mut fed = swarm.begin_fed(0, &[&["job", "run", "echo.wat", "-"], &terms[..]].concat());
    fed.feed(input.clone().into_bytes());
    assert_eq!(fed.end().ok().out, expected);
    let stored = run(&["book.txt", "--put", "--json"]).ok().json();
    assert_eq!(swarm.read(2, stored["ticket"].as_str().unwrap()), expected);

    let listed = swarm.cli(0, &["job", "ls", "--json"]).ok().json_lines();
    assert_eq!(listed.len(), 5);
    assert!(listed.iter().all(|job| job["state"] == "done" && job["progress"]["total"] == 8), "{listed:?}");
    let job = name(&told);
    assert_eq!(swarm.cli(0, &["job", "result", &job[..4]]).ok().out, expected);
    // What is no file stays what it is.
    let fifo = dir.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    let reading = std::thread::spawn({
        let fifo = fifo.clone();
        move || fs::read(fifo).unwrap()
    });
    swarm.cli(0, &["job", "result", &job, "--output", "pipe"]).ok();
    assert_eq!(reading.join().unwrap(), expected);
    assert!(!fifo.metadata().unwrap().is_file() && !dir.join("pipe.part").exists());
    swarm.cli(0, &["job", "receipt", &job, "--output", "receipt"]).ok();
    let verify = |more: &[&str]| swarm.cli(3, &[&["job", "verify", "receipt"], more].concat());
    let summary = verify(&["--module", "echo.wat", "--output", "out", "--json"]).ok().json();
    assert_eq!((&summary["results"], &summary["owner"]), (&8.into(), &swarm.peer(0).into()));
    assert_eq!(summary["verification"], "audit(10%)");
    verify(&["--output", "book.txt"]).fails(5, &["is not the output"]);
    let mut bytes = fs::read(dir.join("receipt")).unwrap();
    let last = bytes.len() - 70;
    bytes[last] ^= 1;
    fs::write(dir.join("receipt"), bytes).unwrap();
    verify(&[]).fails(5, &["receipt"]);

    swarm.cli(0, &["job", "show", &job, "--timeline", "job.html"]).ok();
    let page = fs::read_to_string(dir.join("job.html")).unwrap();
    assert!(page.contains("<svg") && page.matches("<rect class='done'").count() >= 8, "{page}");
    swarm.cli(0, &["job", "rm", &job, "--yes"]).ok();
    swarm.cli(0, &["job", "show", &job]).fails(3, &["there is no job"]);
}

/// How long a task takes here: long enough to be killed in the middle of a job, short enough for a test.
const ROUNDS: u64 = 3_000_000;

#[test]
fn a_job_outlives_the_crash_of_its_owner_and_of_a_worker() {
    let mut swarm = Swarm::of(4);
    let input = lines(3000);
    write(swarm.dir.path(), "echo.wat", echo(ROUNDS));
    write(swarm.dir.path(), "book.txt", &input);
    let how = Cut::Lines(2 << 10);
    let expected = merged(&echoed(input.as_bytes(), how));
    let terms = ["echo.wat", "book.txt", "--map", "lines:2KiB", "--merge", "--detach", "--json"];
    let job = name(&swarm.cli(0, &[&["job", "run"], &terms[..]].concat()).ok().json());
    let done = |swarm: &Swarm| show(swarm, 0, &job)["progress"]["done"].as_u64().unwrap();
    eventually("some tasks are done", || done(&swarm) >= 5);
    swarm.cluster.kill(3);
    eventually("more tasks are done", || done(&swarm) >= 10);
    swarm.cluster.kill(0);
    swarm.cluster.restart(0).unwrap();
    eventually("the job is done", || show(&swarm, 0, &job)["state"] == "done");
    let told = show(&swarm, 0, &job);
    assert!(told["progress"]["restored"].as_u64().unwrap() >= 10, "{told}");
    assert_eq!(swarm.cli(0, &["job", "result", &job]).ok().out, expected);
    swarm.cli(0, &["job", "receipt", &job, "--output", "receipt"]).ok();
    swarm.cli(0, &["job", "verify", "receipt"]).ok();
}

#[test]
fn a_job_over_a_stored_object_is_read_where_it_lies_whatever_holder_or_owner_is_lost() {
    let mut swarm = Swarm::of(6);
    let dir = swarm.dir.path().to_owned();
    let input = noise("stored", (9 << 20) + 12_345);
    write(&dir, "data", &input);
    for (module, rounds) in [("echo.wat", 1), ("again.wat", 2), ("slow.wat", ROUNDS)] {
        write(&dir, module, echo(rounds));
    }
    let stored = swarm.put(1, &dir.join("data"), &[]);
    let ticket = stored["ticket"].as_str().unwrap().to_owned();
    let expected = |chunk| echoed(&input, Cut::Bytes(chunk)).concat();
    let run = |swarm: &Swarm, words: &[&str]| swarm.cli(0, &[&["job", "run"], words].concat());
    assert!(run(&swarm, &["echo.wat", "data", "--map", "stripes"]).ok().out == expected(1 << 20));

    let told = run(&swarm, &["echo.wat", &ticket, "--map", "stripes", "--output", "out", "--json"]).ok().json();
    assert!(fs::read(dir.join("out")).unwrap() == expected(1 << 20), "the same as with the file");
    let (bytes, progress) = (input.len() as u64, &told["progress"]);
    assert_eq!((told["input_bytes"].as_u64(), told["chunks"].as_u64()), (Some(bytes), Some(10)), "{told}");
    let read = progress["read_bytes"].as_u64().unwrap();
    assert!(read >= bytes && (1..read).contains(&progress["own_bytes"].as_u64().unwrap()), "{told}");
    swarm.cli(0, &["job", "receipt", &name(&told), "--output", "receipt"]).ok();
    swarm.cli(0, &["job", "verify", "receipt", "--module", "echo.wat"]).ok();
    assert!(swarm.cli(0, &["job", "show", &name(&told)]).ok().text().contains("read by the nodes themselves"));

    // What is not cut into whole stripes goes through the owner.
    let told = run(&swarm, &["echo.wat", &ticket, "--map", "bytes:1000000", "--output", "out", "--json"]).ok().json();
    assert!(fs::read(dir.join("out")).unwrap() == expected(1_000_000) && told["progress"]["read_bytes"] == 0);

    let lost = swarm.holders(&stored).into_iter().find(|number| *number > 1).unwrap();
    swarm.cluster.kill(lost);
    assert!(run(&swarm, &["again.wat", &ticket, "--map", "stripes:2"]).ok().out == expected(2 << 20));

    let terms = ["slow.wat", &ticket, "--map", "stripes", "--detach", "--json"];
    let job = name(&run(&swarm, &terms).ok().json());
    let done = |swarm: &Swarm| show(swarm, 0, &job)["progress"]["done"].as_u64().unwrap();
    eventually("a task is done", || done(&swarm) >= 1);
    let kept = swarm.home(0).join("jobs").join(&job).join("stored");
    if let Ok(metadata) = kept.metadata() {
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "it has the read key");
    }
    swarm.cluster.kill(0);
    swarm.cluster.restart(0).unwrap();
    eventually("the job is done", || show(&swarm, 0, &job)["state"] == "done");
    assert!(show(&swarm, 0, &job)["progress"]["restored"].as_u64().unwrap() >= 1);
    assert!(swarm.cli(0, &["job", "result", &job]).ok().out == expected(1 << 20));
    assert!(!kept.exists(), "nothing is left of the ticket");
    let wrong = ticket.replacen("pangea:bafk", "pangea:bafa", 1);
    assert!(!run(&swarm, &["echo.wat", &wrong, "--map", "stripes"]).status.success());
}

#[test]
fn a_job_that_is_given_up_ends_everywhere() {
    let swarm = Swarm::of(3);
    write(swarm.dir.path(), "echo.wat", echo(u64::MAX));
    write(swarm.dir.path(), "book.txt", lines(1000));
    let mut run = swarm.begin(0, &["job", "run", "echo.wat", "book.txt", "--map", "lines:1KiB"]);
    let jobs = || swarm.cli(0, &["job", "ls", "--json"]).ok().json_lines();
    eventually("tasks run", || jobs().first().is_some_and(|job| job["progress"]["running"].as_u64().unwrap() > 2));
    assert!(!run.has_ended());
    run.signal(Signal::INT);
    run.end().fails(130, &["cancelled"]);
    assert_eq!(jobs()[0]["state"], "cancelled");
    let again = ["job", "run", "echo.wat", "book.txt", "--map", "lines:1KiB", "--detach", "--json"];
    let second = name(&swarm.cli(0, &again).ok().json());
    swarm.cli(0, &["job", "rm", &second, "--yes"]).fails(6, &["cancel it first"]);
    swarm.cli(0, &["job", "cancel", &second]).ok();
    eventually("it is cancelled", || show(&swarm, 0, &second)["state"] == "cancelled");
    swarm.cli(0, &["job", "result", &second]).fails(3, &["has no output", "cancelled"]);
    let late = ["job", "run", "echo.wat", "book.txt", "--map", "lines:1KiB", "--deadline", "1s"];
    swarm.cli(0, &late).fails(1, &["took longer than"]);
    // Workers are free again: a short job ends.
    write(swarm.dir.path(), "short.wat", echo(1));
    swarm.cli(0, &["job", "run", "short.wat", "book.txt"]).ok();
}

#[test]
fn what_is_wrong_with_a_module_or_an_input_is_told() {
    let swarm = Swarm::of(2);
    let dir = swarm.dir.path();
    write(dir, "echo.wat", echo(1));
    write(dir, "slow.wat", echo(ROUNDS));
    write(dir, "gives_up.wat", GIVES_UP);
    write(
        dir,
        "sends.wat",
        echo(1).replacen("(module", r#"(module (import "pangea" "send" (func (param i32 i32)))"#, 1),
    );
    write(dir, "book.txt", lines(100));
    write(dir, "empty", "");
    write(dir, "long", noise("long", 17 << 20).into_iter().map(|byte| byte | 0x80).collect::<Vec<u8>>());
    let run = |words: &[&str]| swarm.cli(0, &[&["job", "run"], words].concat());
    run(&["none.wat", "book.txt"]).fails(3, &["none.wat"]);
    run(&["book.txt", "book.txt"]).fails(6, &["invalid module"]);
    run(&["sends.wat", "book.txt"]).fails(6, &["send"]);
    run(&["echo.wat", "none.txt"]).fails(3, &["none.txt"]);
    run(&["echo.wat", "."]).fails(2, &["not a file"]);
    run(&["echo.wat", "long"]).fails(2, &["long", "cannot be cut"]);
    run(&["echo.wat", "pangea:nonsense"]).fails(2, &[]);
    assert_eq!(run(&["echo.wat", "empty"]).ok().out, b"");
    let told = run(&["gives_up.wat", "book.txt"]).fails(1, &["chunk 0 trapped", "gave up", "pangea job logs"]);
    let job = told.err.split("pangea job logs ").nth(1).unwrap()[..12].to_owned();
    assert!(swarm.cli(0, &["job", "logs", &job]).ok().text().contains("error: no way"));
    // An input must not change while its job runs.
    let terms = ["slow.wat", "book.txt", "--map", "lines:100B", "--detach", "--json"];
    let job = name(&run(&terms).ok().json());
    write(dir, "book.txt", lines(7));
    eventually("the job has failed", || show(&swarm, 0, &job)["state"] == "failed");
    assert!(show(&swarm, 0, &job)["error"].as_str().unwrap().contains("has changed"));
}
