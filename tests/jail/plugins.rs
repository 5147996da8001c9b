//! Plugins in a process of their own: what is asked of them comes back, and when the process is gone all are restored from
//! what they kept. Once with the driver alone, once with a whole node and its commands.

use crate::driver::{echo, endless, guest, kill, settings, with};
use bytes::Bytes;
use pangea::drivers::sandbox::{
    SandboxProcess, Settings,
    plugins::{answers, commands},
    process::Tenants,
};
use pangea_kernel::{Port, Rejected};
use pangea_protocols::{
    Hash,
    guest::{Command, Event, Open},
    task::{Capabilities, Capability, Ending, Input, Limits, Outcome, Refusal, TaskId, Trap},
};
use std::{
    io::{BufRead, BufReader},
    process,
    sync::mpsc::{Receiver, TrySendError, sync_channel},
    time::Duration,
};

/// How long an answer may take on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

struct Plugins {
    process: SandboxProcess,
    commands: Port<Command>,
    events: Receiver<Event>,
}

impl Plugins {
    fn start(settings: Settings) -> Self {
        let (sender, events) = sync_channel(64);
        let results = Port::new(move |event| {
            sender.try_send(event).map_err(|error| match error {
                TrySendError::Full(event) => Rejected::Full(event),
                TrySendError::Disconnected(event) => Rejected::Closed(event),
            })
        });
        let settings = Settings { tenants: Tenants::Plugins, ..settings };
        let (process, work) = SandboxProcess::start(settings, answers(results)).unwrap();
        Self { process, commands: commands(work), events }
    }

    fn event(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("an event")
    }

    fn ask(&self, command: Command) -> Event {
        self.commands.send(command).unwrap();
        self.event()
    }

    fn prepare(&self, module: &Bytes) {
        let event = self.ask(Command::Prepare { module: Hash::of(module), bytes: module.clone() });
        assert!(matches!(event, Event::Prepared { result: Ok(_), .. }), "{event:?}");
    }

    fn result(&self, command: Command) -> Result<Outcome, Refusal> {
        match self.ask(command) {
            Event::Ended { result, .. } => result,
            event => panic!("{event:?}"),
        }
    }

    fn pid(&self) -> Option<u32> {
        self.process.status().pid
    }

    fn end(self) {
        drop(self.commands);
        self.process.join();
    }
}

fn call(instance: u64, of: Option<(&Bytes, Limits)>, input: Input) -> Command {
    let granted: Capabilities = Capability::ALL.into_iter().collect();
    let open = of.map(|(module, limits)| Open { module: Hash::of(module), limits, granted });
    Command::Call { instance: TaskId(instance), open, input }
}

fn output(result: Result<Outcome, Refusal>) -> Bytes {
    match result.unwrap().ending {
        Ending::Output(bytes) => bytes,
        Ending::Trapped(trap) => panic!("{trap}"),
    }
}

/// Everything that a plugin can import: it sends, logs, and returns the time, chance and the chunk beside its input. It
/// counts its calls in the first byte.
fn talker() -> Bytes {
    guest(
        r#"(import "pangea" "now" (func $now (result i64))) (import "pangea" "random" (func $random (param i32 i32)))
           (import "pangea" "chunk_read" (func $read (param i32 i64 i32 i32) (result i32)))"#,
        r#"(i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (i32.const 1)))
           (i64.store (i32.const 1) (call $now)) (call $random (i32.const 9) (i32.const 4))
           (drop (call $read (i32.const 0) (i64.const 1) (i32.const 13) (i32.const 3)))
           (call $send (i32.const 13) (i32.const 2)) (call $log (i32.const 2) (i32.const 13) (i32.const 3))
           (i64.const 16)"#,
    )
}

#[test]
fn memory_outlives_a_call_and_all_imports_work_through_the_pipe() {
    let plugins = Plugins::start(settings(2));
    assert_eq!(plugins.pid(), None, "there is no process before there is a plugin");
    plugins.prepare(&talker());
    let input = Input { chunks: vec![Bytes::from_static(b"abcd")], unix_ms: 77, seed: [5; 32], ..with(b"") };
    for round in 1..=3 {
        let of = (round == 1).then_some((talker(), Limits::default()));
        let of = of.as_ref().map(|(module, limits)| (module, *limits));
        let Event::Ended { lines, result, .. } = plugins.ask(call(1, of, input.clone())) else { panic!() };
        assert_eq!((lines[0].level, lines[0].text.as_str()), (2, "bcd"));
        assert_eq!(result.as_ref().unwrap().sent, [Bytes::from_static(b"bc")]);
        let bytes = output(result);
        assert_eq!((bytes[0], u64::from_le_bytes(bytes[1..9].try_into().unwrap())), (round, 77));
        assert!(bytes[9..13] != [0; 4] && bytes[13..] == *b"bcd");
    }
    plugins.end();
}

#[test]
fn a_long_call_lets_others_have_their_turn_and_ends_with_its_gas() {
    let plugins = Plugins::start(settings(1));
    [endless(), echo()].iter().for_each(|module| plugins.prepare(module));
    let limits = Limits { gas: 200_000_000, ..Limits::default() };
    plugins.commands.send(call(1, Some((&endless(), limits)), with(b""))).unwrap();
    assert_eq!(output(plugins.result(call(2, Some((&echo(), Limits::default())), with(b"quick")))), "quick");
    let Event::Ended { instance: TaskId(1), result, .. } = plugins.event() else { panic!() };
    assert_eq!(result.unwrap().ending, Ending::Trapped(Trap::Gas));
    assert_eq!(output(plugins.result(call(2, None, with(b"again")))), "again");
    plugins.end();
}

#[test]
fn bombs_fill_the_memory_of_the_process_and_not_that_of_the_machine() {
    let plugins = Plugins::start(Settings { memory_bytes: 100 << 20, cache_bytes: 1 << 20, ..settings(1) });
    // It takes a MiB at a time, and writes to each.
    let bomb = guest(
        "",
        "(local $at i32) (loop $more
            (local.set $at (memory.grow (i32.const 16)))
            (if (i32.eq (local.get $at) (i32.const -1)) (then unreachable))
            (memory.fill (i32.shl (local.get $at) (i32.const 16)) (i32.const 7) (i32.const 1048576))
            (br_if $more (i32.lt_u (local.get $at) (i32.const 1500)))) (i64.const 0)",
    );
    [&bomb, &echo()].into_iter().for_each(|module| plugins.prepare(module));
    let limits = Limits { gas: 1 << 40, memory_bytes: 128 << 20, ..Limits::default() };
    let mut kept = 0;
    for instance in 1..=6 {
        match plugins.result(call(instance, Some((&bomb, limits)), with(b""))) {
            Ok(Outcome { ending: Ending::Output(_), .. }) => kept += 1,
            result => assert_eq!(result.unwrap_err().to_string(), "this node failed: out of memory"),
        }
    }
    assert!((1..4).contains(&kept), "{kept} have what they want of 100 MiB and what the process has for itself");
    assert_eq!(output(plugins.result(call(99, Some((&echo(), Limits::default())), with(b"here")))), "here");
    assert_eq!(plugins.process.status().deaths, 0);
    plugins.end();
}

#[test]
fn a_killed_process_costs_its_instances_and_its_call_and_what_comes_next_waits_for_another() {
    let plugins = Plugins::start(settings(1));
    let limits = Limits { gas: 1 << 40, ..Limits::default() };
    for death in 1..=3 {
        [endless(), echo()].iter().for_each(|module| plugins.prepare(module));
        assert_eq!(output(plugins.result(call(2, Some((&echo(), limits)), with(b"x")))), "x");
        plugins.commands.send(call(1, Some((&endless(), limits)), with(b""))).unwrap();
        kill(plugins.pid().unwrap());
        // A call has failed before all hear of it, unless it was between two slices.
        let events = [plugins.event(), plugins.event()];
        let reasons: Vec<&str> = events
            .iter()
            .map(|event| match event {
                Event::Lost { reason } => reason.as_str(),
                Event::Ended { instance: TaskId(1), result: Err(Refusal::Node { message }), .. } => message.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(reasons.iter().all(|reason| reason.contains("SIGKILL")), "{reasons:?}");
        let gone = plugins.result(call(2, None, with(b"x")));
        assert!(gone.is_err_and(|error| error.to_string().contains("SIGKILL")), "its instance is gone");
        assert_eq!(plugins.process.status().deaths, death);
    }
    plugins.end();
}

/// A node of this build, with its commands.
struct Node {
    dir: tempfile::TempDir,
    process: process::Child,
    /// What it has to say, which it ends without.
    _says: BufReader<process::ChildStdout>,
}

impl Node {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        assert!(pangea(&dir, &["init", "--quiet"]).status.success());
        let mut command = command(&dir, &["node", "--listen", "127.0.0.1:0"]);
        let piped = command.stdout(process::Stdio::piped()).stderr(process::Stdio::null());
        let mut process = piped.spawn().unwrap();
        let (mut says, mut ready) = (BufReader::new(process.stdout.take().unwrap()), String::new());
        says.read_line(&mut ready).unwrap();
        assert!(!ready.is_empty(), "the node starts");
        Self { dir, process, _says: says }
    }

    fn says(&self, args: &[&str]) -> String {
        let ended = pangea(&self.dir, args);
        assert!(ended.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap().trim().to_owned()
    }

    /// Writes and installs a plugin.
    fn install(&self, name: &str, manifest: &str, text: &str) {
        let place = self.dir.path().join(name);
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("it.toml"), manifest).unwrap();
        std::fs::write(place.join("it.wat"), text).unwrap();
        self.says(&["actor", "install", place.join("it.toml").to_str().unwrap(), "--quiet", "--yes"]);
    }

    /// The sandbox processes of the node.
    fn children(&self) -> Vec<u32> {
        let mine = |pid: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let after = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
            after.split(' ').nth(1) == Some(&self.process.id().to_string()) && !after.starts_with('Z')
        };
        let all = std::fs::read_dir("/proc").unwrap();
        all.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok()).filter(mine).collect()
    }

    fn view(&self, name: &str) -> serde_json::Value {
        let list = self.says(&["actor", "ls", "--json"]);
        let views = list.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        views.into_iter().find(|view| view["name"] == name).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(dir: &tempfile::TempDir, args: &[&str]) -> process::Command {
    let mut command = process::Command::new(env!("CARGO_BIN_EXE_pangea"));
    command.arg("--home").arg(dir.path().join("home")).args(args);
    command
}

fn pangea(dir: &tempfile::TempDir, args: &[&str]) -> process::Output {
    command(dir, args).output().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_node_whose_process_of_plugins_is_killed_restores_all_and_blames_who_was_being_called() {
    let node = Node::start();
    let before = node.children();
    assert_eq!(before.len(), 1, "the process of tasks");
    let files = pangea_plugins::template::files("wat", "hello").unwrap();
    let manifest = files[0].1.replace("hello.wat", "it.wat");
    node.install("hello", &manifest, &files[1].1);
    // It never answers, for longer than this test lasts.
    let spins = r#"(module (memory (export "memory") 2) (func (export "alloc") (param i32) (result i32) (i32.const 65536))
        (func (export "handle") (param $ptr i32) (param i32) (result i64)
            (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 97)) (then (loop (br 0)))) (i64.const 0)))"#;
    let limits = "[limits]\ngas = 1000000000\ngas_per_s = 500000000";
    node.install("spins", &format!("name = 'spins'\nversion = '1'\nmodule = 'it.wat'\n{limits}"), spins);
    assert_eq!(node.says(&["actor", "ask", "hello", "say", "pear"]), "pear");
    let plugins: Vec<u32> = node.children().into_iter().filter(|pid| !before.contains(pid)).collect();
    assert_eq!(plugins.len(), 1, "one more process, of all plugins");
    let asks = |what: &str| command(&node.dir, &["actor", "ask", what, "x"]).stderr(process::Stdio::piped()).spawn();
    let asked = asks("spins").unwrap();
    while !is_busy(plugins[0]) {
        std::thread::yield_now();
    }
    kill(plugins[0]);
    let ended = asked.wait_with_output().unwrap();
    let why = String::from_utf8(ended.stderr).unwrap();
    assert!(!ended.status.success() && why.contains("SIGKILL"), "{why}");
    // All is as it was, in another process; tasks have not noticed.
    assert_eq!(node.says(&["actor", "ask", "hello", "show"]), "pear");
    let now = node.children();
    assert!(now.len() == 2 && now.contains(&before[0]) && !now.contains(&plugins[0]), "{now:?}");
    let (hello, spins) = (node.view("hello"), node.view("spins"));
    assert_eq!((&hello["restarts"], &hello["failure"]), (&1.into(), &serde_json::Value::Null), "{hello}");
    assert!(spins["failure"].as_str().is_some_and(|why| why.contains("SIGKILL")), "{spins}");
    let lines = node.says(&["actor", "logs", "hello"]);
    assert!(lines.contains("started anew") && lines.contains("SIGKILL"), "{lines}");
    assert!(node.says(&["top", "--once"]).lines().any(|line| line.starts_with("hello")));
    node.says(&["stop", "--quiet"]);
}

/// Has a process used a tenth of a second of a processor?
#[cfg(target_os = "linux")]
fn is_busy(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
    let ticks = after.split(' ').nth(11).and_then(|ticks| ticks.parse::<u64>().ok());
    ticks.is_some_and(|ticks| ticks >= 10)
}
