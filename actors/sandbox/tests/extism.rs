//! A plugin that was written for Extism, and built with its kit for AssemblyScript, runs as it is (`guests/extism`).

#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use pangea_protocols::{
    Hash,
    cbor::Writer,
    guest::{Command, Event, Open},
    task::{Ending, Input, Limits, Outcome, Refusal, TaskId, Trap},
};
use pangea_sandbox::{Guests, engine::Wasmi, extism};

const COUNT: &[u8] = include_bytes!("../guests/extism/count.wasm");

struct Plugin {
    guests: Guests,
    open: Option<Open>,
}

impl Plugin {
    fn new(module: &[u8], config: &[(&str, &str)]) -> Self {
        assert!(extism::is_extism(module));
        let bytes = Bytes::from(extism::adapt(module).unwrap());
        let guests = Guests::new(Wasmi::new().unwrap(), u64::MAX);
        let module = Hash::of(&bytes);
        let prepared = guests.finish(Command::Prepare { module, bytes });
        let Some(Event::Prepared { result: Ok(granted), .. }) = prepared else { panic!("{prepared:?}") };
        let mut plugin = Self { guests, open: Some(Open { module, limits: Limits::default(), granted }) };
        let mut started = Writer::default();
        started.array(5).text("started").bytes(&[1; 32]).null().map(config.len());
        for (key, value) in config {
            started.text(key).text(value);
        }
        plugin.call(started.array(0).finish()).unwrap();
        plugin
    }

    fn call(&mut self, bytes: Bytes) -> Result<Outcome, Refusal> {
        let input = Input { bytes, ..Input::default() };
        let command = Command::Call { instance: TaskId(1), open: self.open.take(), input };
        match self.guests.finish(command) {
            Some(Event::Ended { result, .. }) => result,
            other => panic!("{other:?}"),
        }
    }

    fn ask(&mut self, words: &str) -> Ending {
        let bytes = Writer::default().array(3).text("ask").uint(1_000_000).bytes(words.as_bytes()).finish();
        self.call(bytes).unwrap().ending
    }

    fn answer(&mut self, words: &str) -> String {
        match self.ask(words) {
            Ending::Output(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Ending::Trapped(trap) => panic!("{trap}"),
        }
    }
}

#[test]
fn an_unmodified_plugin_answers_with_its_input_its_settings_and_its_variables() {
    let mut plugin = Plugin::new(COUNT, &[("other", "no"), ("thing", "namaste")]);
    let expected = |count| format!("{{\"count\": {count}, \"config\": \"namaste\", \"a\": \"this is var a\"}}");
    assert_eq!(plugin.answer("count_vowels Hello, Pangea plug-in"), expected(7));
    assert_eq!(plugin.answer("count_vowels"), expected(0));
    // Its memory grows past the kernel's, which moves.
    for size in [10, 20_000, 60_000, 50] {
        assert_eq!(plugin.answer(&format!("count_vowels {}", "ab".repeat(size))), expected(size), "{size}");
    }
    assert!(Plugin::new(COUNT, &[]).answer("count_vowels x").contains("\"config\": \"null\""));
    assert_eq!(plugin.ask("no_such_function x"), Ending::Trapped(Trap::Unreachable));
}

/// A plugin in text, with these functions in it.
fn plugin(functions: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
        (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
        (import "extism:host/env" "store_u8" (func $store (param i64 i32)))
        (import "extism:host/env" "load_u8" (func $load (param i64) (result i32)))
        (import "extism:host/env" "input_load_u8" (func $input (param i64) (result i32)))
        (import "extism:host/env" "length" (func $length (param i64) (result i64)))
        (import "extism:host/env" "output_set" (func $output (param i64 i64)))
        (import "extism:host/env" "error_set" (func $error (param i64)))
        (import "extism:host/env" "var_set" (func $set (param i64 i64)))
        (import "extism:host/env" "var_get" (func $get (param i64) (result i64)))
        (import "extism:host/env" "log_info" (func $log (param i64)))
        (memory (export "memory") 1)
        (func $block (param $byte i32) (result i64) (local $at i64)
            (local.set $at (call $alloc (i64.const 1)))
            (call $store (local.get $at) (local.get $byte))
            (local.get $at))
        {functions})"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn variables_are_kept_from_call_to_call_and_their_room_is_used_again() {
    let module = plugin(
        r#"(func (export "set") (result i32)
            (call $set (call $block (call $input (i64.const 0))) (call $block (call $input (i64.const 1)))) (i32.const 0))
        (func (export "get") (result i32) (local $at i64)
            (local.set $at (call $get (call $block (call $input (i64.const 0)))))
            (call $output (local.get $at) (call $length (local.get $at))) (i32.const 0))
        (func (export "drop") (result i32)
            (call $set (call $block (call $input (i64.const 0))) (i64.const 0)) (i32.const 0))
        (func (export "both") (result i32) (local $at i64)
            (call $set (call $block (i32.const 97)) (call $block (i32.const 49)))
            (call $set (call $block (i32.const 97)) (call $block (i32.const 50)))
            (local.set $at (call $get (call $block (i32.const 97))))
            (call $output (local.get $at) (i64.const 1)) (i32.const 0))
        (func (export "grow") (result i32) (drop (memory.grow (i32.const 1)))
            (if (i32.load8_u (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 65530))) (then unreachable))
            (i32.const 0))"#,
    );
    let mut plugin = Plugin::new(&module, &[]);
    assert_eq!(plugin.answer("get a"), "");
    plugin.answer("set a1");
    plugin.answer("set b2");
    assert_eq!((plugin.answer("get a"), plugin.answer("get b")), ("1".to_owned(), "2".to_owned()));
    assert_eq!(plugin.answer("both"), "2", "what was set last counts at once");
    plugin.answer("drop b");
    assert_eq!((plugin.answer("get a"), plugin.answer("get b")), ("2".to_owned(), String::new()));
    plugin.answer("grow");
    assert_eq!(plugin.answer("get a"), "2", "it moved");
    let bytes = |plugin: &mut Plugin| {
        let words = Writer::default().array(3).text("ask").uint(1).bytes(b"get a").finish();
        plugin.call(words).unwrap().memory_bytes
    };
    let before = bytes(&mut plugin);
    for round in 0..200 {
        plugin.answer(&format!("set {}{}", char::from(b'a' + (round % 20) as u8), round % 10));
    }
    assert_eq!(bytes(&mut plugin), before, "no room is lost");
}

#[test]
fn what_a_plugin_calls_an_error_is_told_and_what_reaches_beyond_its_blocks_traps() {
    let module = plugin(
        r#"(func (export "fail") (result i32) (call $error (call $block (i32.const 33))) (i32.const 1))
        (func (export "crash") (result i32) (i32.const 1))
        (func (export "wild") (result i32) (call $load (i64.const 1000000)))
        (func (export "wilder") (result i32) (call $store (i64.const -1) (i32.const 1)) (i32.const 0))
        (func (export "huge") (result i32) (drop (call $alloc (i64.const 0x7fffffffffffffff))) (i32.const 0))
        (func (export "far") (result i32) (call $input (i64.const 5)))
        (func (export "say") (result i32) (call $log (call $block (i32.const 33))) (i32.const 0))
        (func (export "not_asked") (param i32) (result i32) (i32.const 0))"#,
    );
    let new = || Plugin::new(&module, &[]);
    assert_eq!(new().answer("fail"), "!");
    assert_eq!(new().answer("say"), "");
    for name in ["crash", "wild", "wilder", "huge", "far abc", "not_asked"] {
        assert_eq!(new().ask(name), Ending::Trapped(Trap::Unreachable), "{name}");
    }
}

#[test]
fn what_is_not_of_extism_is_told_apart_and_what_is_unknown_is_named() {
    let plain = wat::parse_str("(module (memory (export \"memory\") 1))").unwrap();
    assert!(!extism::is_extism(&plain) && !extism::is_extism(b"text") && extism::is_extism(COUNT));
    let module = |import: &str| wat::parse_str(format!("(module (import {import}) (memory 1))")).unwrap();
    for import in [
        "\"extism:host/env\" \"teleport\" (func)",
        "\"extism:host/env\" \"alloc\" (func)",
        "\"extism:host/env\" \"grow\" (func (param i32) (result i32))",
        "\"extism:host/user\" \"mine\" (func)",
        "\"wasi_snapshot_preview1\" \"fd_write\" (func (param i32 i32 i32 i32) (result i32))",
    ] {
        assert!(matches!(extism::adapt(&module(import)), Err(Refusal::UnknownImport { .. })), "{import}");
    }
    assert!(matches!(extism::adapt(b"\0asm\x01\0\0\0\x07"), Err(Refusal::Invalid { .. })));
    assert!(matches!(extism::adapt(b"\0asm\x01\0\0\0"), Err(Refusal::Export { .. })));
}

/// With `PANGEA_REGENERATE_KERNEL` in the environment it is written.
#[test]
fn the_kernel_is_what_its_text_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/extism/kernel");
    let assembled = wat::parse_file(format!("{path}.wat")).unwrap();
    if std::env::var_os("PANGEA_REGENERATE_KERNEL").is_some() {
        std::fs::write(format!("{path}.wasm"), &assembled).unwrap();
    }
    assert_eq!(std::fs::read(format!("{path}.wasm")).unwrap(), assembled, "run it with PANGEA_REGENERATE_KERNEL=1");
}
