//! The program itself, as a process, against the fake hub: output, exit codes, Ctrl-C.

use super::{World, hub, run};
use std::{fs, os::unix::fs::PermissionsExt, process::Stdio};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::Command,
};

struct Ended {
    code: i32,
    out: Vec<u8>,
    err: String,
}

impl Ended {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.out).unwrap()
    }
}

fn pangea(world: &World, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pangea"));
    command.args(args).env("PANGEA_HOME", world.home()).current_dir(world.home());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn run_with(mut command: Command, input: &[u8]) -> Ended {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that fails does not read its input.
    let (_, output) = tokio::join!(
        async move {
            stdin.write_all(input).await.ok();
            drop(stdin);
        },
        child.wait_with_output()
    );
    let output = output.unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    Ended { code: output.status.code().unwrap(), out: output.stdout, err }
}

async fn call(world: &World, args: &[&str]) -> Ended {
    run_with(pangea(world, args), b"").await
}

#[test]
fn put_stores_standard_input_and_prints_only_the_ticket() {
    run(async |mut world: World| {
        let content = hub::content();
        let ended = run_with(pangea(&world, &["put", "-", "--name", "x"]), &content).await;
        assert_eq!((ended.code, ended.text()), (0, format!("{}\n", hub::ticket()).as_str()), "{}", ended.err);
        assert!(world.hub.fed.recv().await.unwrap() == content, "the bytes differ");
        assert!(ended.err.contains("any 12 of 20 shards restore it"), "{}", ended.err);
        let quiet = run_with(pangea(&world, &["put", "-", "--json"]), b"").await;
        assert_eq!(quiet.json()["ticket"], hub::ticket().to_string());
        assert_eq!(quiet.json()["missing_shards"], 3);
    });
}

#[test]
fn a_file_under_another_name_is_streamed_byte_for_byte() {
    run(async |mut world: World| {
        fs::write(world.home().join("file"), hub::content()).unwrap();
        let ended = call(&world, &["put", "file", "--name", "y", "--quiet"]).await;
        assert_eq!(ended.code, 0, "{}", ended.err);
        assert!(world.hub.fed.recv().await.unwrap() == hub::content(), "the bytes differ");
    });
}

#[test]
fn cat_writes_the_bytes_and_nothing_else() {
    run(async |world: World| {
        let whole = call(&world, &["cat", "anything"]).await;
        assert!(whole.code == 0 && whole.out == hub::content(), "{}", whole.err);
        let range = call(&world, &["cat", "anything", "--range", "10..15"]).await;
        assert_eq!(range.out, hub::content()[10..15]);
        let entry = call(&world, &["cat", &format!("{}/a/b", hub::ticket())]).await;
        assert_eq!(entry.text(), "a/b");
    });
}

#[test]
fn cat_into_a_reader_that_has_seen_enough_is_quiet_and_ends_well() {
    run(async |world: World| {
        let mut child = pangea(&world, &["cat", "anything"]).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0; 10]).await.unwrap();
        drop(out);
        let output = child.wait_with_output().await.unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    });
}

#[test]
fn get_prints_where_the_object_is_and_replaces_only_when_forced() {
    run(async |world: World| {
        let ended = call(&world, &["get", "anything", "there"]).await;
        let want = world.home().canonicalize().unwrap().join("there");
        assert_eq!((ended.code, ended.text().trim()), (0, want.to_str().unwrap()), "{}", ended.err);
        fs::write(&want, "precious").unwrap();
        let refused = call(&world, &["get", "anything", "there"]).await;
        assert!(refused.code == 6 && refused.err.contains("--force"), "{}", refused.err);
        assert_eq!(call(&world, &["get", "anything", "there", "--force"]).await.code, 0);
        let named = call(&world, &["get", &hub::ticket().to_string()]).await;
        assert!(named.text().trim().ends_with("/it"), "the object's own name: {}", named.text());
    });
}

#[test]
fn every_kind_of_failure_has_its_exit_code_and_names_itself() {
    run(async |world: World| {
        for kind in hub::KINDS {
            let name = format!("{kind:?}");
            let ended = call(&world, &["share", &name]).await;
            assert_eq!(ended.code, i32::from(kind.exit_code()), "{name}: {}", ended.err);
            assert!(ended.out.is_empty() && ended.err.starts_with(&format!("error: it is {name}\n")), "{}", ended.err);
        }
        let json = call(&world, &["share", "Denied", "--json"]).await;
        let error: serde_json::Value = serde_json::from_str(&json.err).unwrap();
        assert_eq!((&error["error"]["kind"], &error["error"]["exit_code"]), (&"denied".into(), &6.into()));
    });
}

#[test]
fn without_a_node_the_exit_code_is_4_and_the_help_tells_how_to_start_one() {
    run(async |world: World| {
        let elsewhere = tempfile::tempdir().unwrap();
        let ended = call(&world, &["status", "--home", elsewhere.path().to_str().unwrap()]).await;
        assert_eq!(ended.code, 4);
        assert!(ended.err.contains("no node runs in") && ended.err.contains("help: start one with `pangea node`"));
    });
}

#[test]
fn rust_that_cannot_compile_for_webassembly_is_told_the_command_that_adds_it() {
    run(async |world: World| {
        // The tools of a machine without that target.
        let tools = world.home().join("tools");
        fs::create_dir(&tools).unwrap();
        for (name, script) in [("cargo", "exit 101"), ("rustc", "echo /nowhere/lib")] {
            fs::write(tools.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(tools.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = std::env::join_paths([tools, "/usr/bin".into(), "/bin".into()]).unwrap();
        let written = call(&world, &["actor", "new", "hello", "--lang", "rust"]).await;
        assert!(
            written.code == 0 && written.text().starts_with("hello.toml\nhello.rs\nCargo.toml\n"),
            "{}",
            written.err
        );
        let mut build = pangea(&world, &["actor", "build", "hello.toml"]);
        let ended = run_with(
            {
                build.env("PATH", path).env_remove("RUSTC");
                build
            },
            b"",
        )
        .await;
        assert!(ended.code != 0 && ended.err.contains("rustup target add wasm32-unknown-unknown"), "{}", ended.err);
    });
}

#[test]
fn ctrl_c_cancels_the_job_and_exits_130() {
    run(async |mut world: World| {
        fs::write(world.home().join("file"), "x").unwrap();
        let mut child = pangea(&world, &["put", "file", "--json", "--progress"]).spawn().unwrap();
        let mut err = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        err.read_line(&mut line).await.unwrap();
        assert!(line.contains("\"event\":\"progress\""), "{line}");
        let pid = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        assert!(world.hub.cancelled.recv().await.is_some());
        assert_eq!(child.wait().await.unwrap().code(), Some(130));
    });
}

#[test]
fn rm_asks_first_and_without_a_terminal_wants_to_be_told() {
    run(async |world: World| {
        let asked = call(&world, &["rm", "anything"]).await;
        assert!(asked.code == 2 && asked.err.contains("--yes"), "{}", asked.err);
        let removed = call(&world, &["rm", "anything", "--yes", "--forget", "--json"]).await;
        assert_eq!((removed.code, &removed.json()["shards"]), (0, &1.into()), "{}", removed.err);
    });
}

#[test]
fn lists_are_tables_for_people_and_lines_for_programs() {
    run(async |world: World| {
        let lines = call(&world, &["ls", "--json"]).await;
        assert_eq!(lines.text().lines().count(), hub::OBJECTS);
        assert!(!lines.text().contains("#k="), "a list has no keys");
        let table = call(&world, &["ls"]).await;
        assert!(table.text().lines().next().unwrap().starts_with("NAME"), "{}", table.text());
        let entries = call(&world, &["ls", "anything", "--json"]).await;
        assert_eq!(entries.text().lines().count(), hub::ENTRIES);
        assert_eq!(call(&world, &["ls", "anything/nowhere"]).await.code, 3);
        let peers = call(&world, &["peers"]).await;
        assert!(peers.text().contains("good") && peers.text().contains("1.5 ms"), "{}", peers.text());
    });
}

#[test]
fn status_info_and_share_tell_what_the_node_knows() {
    run(async |world: World| {
        assert_eq!(call(&world, &["status", "--json"]).await.json()["peers_connected"], 5);
        assert!(call(&world, &["status"]).await.text().contains("5 connected"));
        assert!(call(&world, &["info", "anything"]).await.text().contains("1 of 2 connected now"));
        let opened = call(&world, &["info", &hub::ticket().to_string(), "--json"]).await;
        assert_eq!(opened.json()["entries"], hub::ENTRIES);
        assert_eq!(call(&world, &["share", "anything"]).await.text().trim(), hub::ticket().to_string());
    });
}

#[test]
fn stop_returns_when_the_node_has_stopped() {
    run(async |mut world: World| {
        let stopping = tokio::task::spawn_local(run_with(pangea(&world, &["stop"]), b""));
        assert_eq!(world.hub.told.recv().await.unwrap(), "shutdown");
        world.server.take().unwrap().close();
        let ended = stopping.await.unwrap();
        assert!(ended.code == 0 && ended.err.contains("stopped"), "{}", ended.err);
    });
}
