//! `pangea task` as its users see it: results, refusals and exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    path::Path,
    process::{Command, Output},
};

/// Returns its input; logs a word if it is granted to.
const ECHO: &str = r#"(module
    (import "pangea" "log" (func $log (param i32 i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "hello")
    (func (export "alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "handle") (param $ptr i32) (param $len i32) (result i64)
        (call $log (i32.const 2) (i32.const 0) (i32.const 5))
        (i64.or (i64.shl (i64.extend_i32_u (local.get $ptr)) (i64.const 32)) (i64.extend_i32_u (local.get $len)))))"#;
/// Never ends.
const LOOP: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "handle") (param i32 i32) (result i64) (loop $on (br $on)) (i64.const 0)))"#;

fn pangea(dir: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pangea"));
    command.args(words).current_dir(dir).env("NO_COLOR", "1").output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_same_task_has_the_same_receipt_whatever_its_form_and_where_its_output_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("echo.wat"), ECHO).unwrap();
    std::fs::write(path("echo.wasm"), wat::parse_str(ECHO).unwrap()).unwrap();
    std::fs::write(path("input"), "some words").unwrap();
    let plain = pangea(dir.path(), &["task", "run", "echo.wat", "input", "--grant", "log"]);
    assert!(plain.status.success(), "{}", text(&plain.stderr));
    assert_eq!(text(&plain.stdout), "some words");
    assert!(text(&plain.stderr).contains("info: hello"), "{}", text(&plain.stderr));
    let receipt = |module: &str| {
        let words = ["task", "run", module, "input", "--grant", "log,now", "--json", "-o", "output"];
        let output = pangea(dir.path(), &words);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(std::fs::read_to_string(path("output")).unwrap(), "some words");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    assert_eq!(receipt("echo.wat"), receipt("echo.wasm"));
}

#[test]
fn what_is_refused_or_trapped_says_why_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("echo.wat"), ECHO).unwrap();
    std::fs::write(dir.path().join("loop.wat"), LOOP).unwrap();
    std::fs::write(dir.path().join("text.wasm"), "no module").unwrap();
    std::fs::write(dir.path().join("bad.wat"), "(module").unwrap();
    for (words, code, says) in [
        (vec!["run", "echo.wat"], 6, "--grant log"),
        (vec!["run", "loop.wat", "--gas", "1000000"], 1, "--gas"),
        (vec!["check", "text.wasm"], 6, "four bytes of WebAssembly"),
        (vec!["check", "bad.wat"], 2, "bad.wat"),
        (vec!["run", "none.wasm"], 3, "none.wasm"),
        (vec!["run", "echo.wat", "--grant", "everything"], 2, "chunk_read"),
    ] {
        let output = pangea(dir.path(), &[&["task"], words.as_slice()].concat());
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(says), "{words:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "{words:?}");
    }
}
