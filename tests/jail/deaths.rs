//! A child that dies, hangs, floods or lies costs itself and what it was asked, and nothing else.

use crate::driver::{Driver, Runs, begin, echo, endless, finish, install, kill, prepare, reason, settings, with};
use pangea::drivers::sandbox::Settings;
use pangea_protocols::{
    Hash,
    task::{Refusal, TaskId},
};
use pangea_sandbox::work::{Done, State, Work};
use std::{
    io::Read,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// Work that lasts for as long as the child lives.
fn forever(task: u64) -> Work {
    Work::Continue { task: TaskId(task), gas: 1 << 40 }
}

#[test]
fn a_killed_child_fails_its_tasks_with_the_reason_and_the_next_task_works() {
    let driver = Driver::start(settings(2)).unwrap();
    for module in [endless(), echo()] {
        install(&driver, &module);
    }
    for task in [1, 2] {
        let done = driver.run(begin(task, &endless(), with(b"")));
        assert!(matches!(done, Done::Sliced { state: State::Running, .. }), "{done:?}");
    }
    let pid = driver.pid();
    // One task is in a slice, the other between two.
    driver.send(forever(1));
    kill(pid);
    let done = driver.answer();
    assert!(matches!(&done, Done::Sliced { task: TaskId(1), .. }) && reason(&done).contains("SIGKILL"), "{done:?}");
    let done = driver.run(forever(2));
    assert!(reason(&done).contains("SIGKILL"), "its instance died as well: {done:?}");
    // The modules are gone with the child: whoever runs a task hears of it, and installs them again.
    let module = Hash::of(&echo());
    assert_eq!(finish(&driver, begin(3, &echo(), with(b"x"))), Err(Refusal::NotInstalled { module }));
    install(&driver, &echo());
    assert!(finish(&driver, begin(4, &echo(), with(b"x"))).is_ok());
    let status = driver.process.status();
    assert_eq!(status.deaths, 1);
    assert!(status.pid.is_some_and(|new| new != pid));
    driver.end();
}

#[test]
fn children_that_die_in_a_row_are_started_later_and_work_is_refused_until_then() {
    let driver = Driver::start(settings(1)).unwrap();
    let mut refused = 0;
    for _ in 0..4 {
        let pid = loop {
            let done = driver.run(prepare(&echo()));
            match done {
                Done::Prepared { result: Ok(_), .. } => break driver.pid(),
                done => {
                    let why = reason(&done);
                    assert!(why.contains("SIGKILL") && why.contains("started again in"), "{why}");
                    refused += 1;
                }
            }
        };
        install(&driver, &endless());
        driver.run(begin(1, &endless(), with(b"")));
        driver.send(forever(1));
        kill(pid);
        reason(&driver.answer());
    }
    assert!(refused > 0);
    assert_eq!(driver.process.status().deaths, 4);
    driver.end();
}

#[test]
fn a_child_that_does_not_answer_in_time_is_ended() {
    let driver = Driver::start(Settings { slice_max: Duration::from_millis(200), ..settings(1) }).unwrap();
    install(&driver, &endless());
    driver.run(begin(1, &endless(), with(b"")));
    let done = driver.run(forever(1));
    assert!(reason(&done).contains("did not answer in time"), "{done:?}");
    install(&driver, &echo());
    driver.end();
}

/// A child that says hello like a real one and then does what this script does.
fn liar(dir: &Path, script: &str) -> Settings {
    let real = settings(1);
    let mut command = Command::new(&real.program);
    command.args(["sandbox-worker", "--threads", "1", "--cache-bytes", "1", "--memory-bytes", "100000000"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdin.take());
    let mut hello = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut hello).unwrap();
    child.wait().unwrap();
    let file = dir.join("hello");
    std::fs::write(&file, hello).unwrap();
    let script = format!("PATH=/bin:/usr/bin; cat {}; {script}", file.display());
    Settings {
        program: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), script],
        slice_max: Duration::from_secs(5),
        prepare_max: Duration::from_secs(2),
        ..real
    }
}

#[test]
fn a_child_that_floods_or_lies_is_ended_and_its_tasks_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        // Nobody has asked yet.
        ("exec cat /dev/zero", "not asked for"),
        // The first question, answered with far too many bytes.
        (r"head -c 1 >/dev/null; printf '\001\0\0\0\0\0\0\0\377\377\377\377\0\0\0\0'; exec cat /dev/zero", "the most"),
        // ... with a body where there is none.
        (r"head -c 1 >/dev/null; printf '\001\0\0\0\0\0\0\0\002\0\0\0\001\0\0\0abc'; exec sleep 60", "the most"),
        // ... with what is no answer.
        (
            r"head -c 1 >/dev/null; printf '\001\0\0\0\0\0\0\0\003\0\0\0\0\0\0\0\377\377\377'; exec sleep 60",
            "cannot be read",
        ),
        // ... with an answer about a task.
        (
            r"head -c 1 >/dev/null; printf '\001\0\0\0\0\0\0\0\005\0\0\0\0\0\0\0\001\007\0\0\0'; exec sleep 60",
            "another question",
        ),
        // ... with a byte now and then.
        (r"head -c 1 >/dev/null; while :; do printf '\001'; sleep 0.3; done", "in time"),
        // ... not at all, and reads nothing either.
        ("exec sleep 60", "in time"),
        // ... by its end.
        ("head -c 1 >/dev/null; exit 3", "exit code 3"),
    ];
    for (script, why) in cases {
        let driver = Driver::start(liar(dir.path(), script)).unwrap();
        let done = driver.run(prepare(&echo()));
        assert!(reason(&done).contains(why), "{script}: {done:?}");
        driver.end();
    }
}

#[test]
fn a_program_that_is_no_sandbox_is_told_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let real = liar(dir.path(), "");
    let script = |script: &str| Settings { arguments: vec!["-c".to_owned(), script.to_owned()], ..real.clone() };
    for settings in [
        script("exec cat /dev/zero"),
        script("echo hello, this is no frame at all"),
        script("exit 0"),
        Settings { program: dir.path().join("none"), ..real.clone() },
    ] {
        assert!(Driver::start(settings).is_err());
    }
}
