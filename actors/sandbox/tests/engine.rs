//! Guests in the engine: every way to be stopped, every limit, every host function with wild pointers.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use bytes::Bytes;
use pangea_protocols::task::{Input, Limits, Outcome, Trap};
use pangea_sandbox::{
    engine::{Engine, Instance, Slice},
    pass,
};
use world::{OUT, engine, guest, guest_with, limits, output, run, run_logged, trap, wat};

/// A guest whose `handle` has this body ends with this trap.
fn traps(more: &str, handle: &str, expected: Trap) -> Outcome {
    let module = guest_with(more, handle);
    let outcome = run(&module, limits(), b"");
    assert_eq!(trap(&outcome), expected, "{more} {handle}");
    // However it is sliced.
    let sliced = run_logged(&module, limits(), Input::default(), || 1).0;
    assert_eq!(sliced, outcome, "{more} {handle}");
    outcome
}

#[test]
fn a_guest_that_does_not_end_uses_up_its_gas() {
    let loops = [
        "(loop (br 0))",
        "(loop (loop (br 1)))",
        "(loop (block (br 1)))",
        "(loop (br_table 0 0 (i32.const 0)))",
        "(loop (br_if 0 (i32.const 1)))",
        "(loop (if (i32.const 1) (then (br 1))))",
    ];
    for body in loops {
        let outcome = traps("", &format!("{body} (i64.const 0)"), Trap::Gas);
        assert_eq!(outcome.gas, limits().gas);
    }
    traps("(;rest;)(func $f (call $f))(start $f)", "(i64.const 0)", Trap::Stack);
    traps("(;rest;)(func $f (loop (br 0)))(start $f)", "(i64.const 0)", Trap::Gas);
    traps("(;rest;)(func (export \"init\") (loop (br 0)))", "(i64.const 0)", Trap::Gas);
    traps(
        "(;rest;)(func (export \"abi_version\") (result i32) (loop (br 0)) (i32.const 1))",
        "(i64.const 0)",
        Trap::Gas,
    );
    // Two functions that call each other twice: 2^n calls, never deep.
    let bomb = "(;rest;)(func $f (param i32) (if (local.get 0) (then
        (call $f (i32.sub (local.get 0) (i32.const 1))) (call $f (i32.sub (local.get 0) (i32.const 1))))))";
    traps(bomb, "(call $f (i32.const 60)) (i64.const 0)", Trap::Gas);
}

#[test]
fn gas_counts_what_an_operand_asks_for() {
    let gas = |handle: &str| {
        run(&guest_with("(;rest;)(table $t 10 100000 funcref) (data $d \"0123456789\")", handle), limits(), b"").gas
    };
    let base = gas("(i64.const 0)");
    let of = |handle: &str| gas(&format!("{handle} (i64.const 0)")) - base;
    assert_eq!(of("(memory.fill (i32.const 0) (i32.const 0) (i32.const 8000))"), 1004);
    assert_eq!(of("(memory.fill (i32.const 0) (i32.const 0) (i32.const 1))"), 5);
    assert_eq!(of("(memory.copy (i32.const 0) (i32.const 9) (i32.const 8000))"), 1004);
    assert_eq!(of("(memory.init $d (i32.const 0) (i32.const 0) (i32.const 10))"), 6);
    assert_eq!(of("(drop (memory.grow (i32.const 2)))"), 2 * 8192 + 5);
    assert_eq!(of("(drop (memory.grow (i32.const 65535)))"), 5, "what is not granted is not paid");
    assert_eq!(of("(drop (table.grow $t (ref.null func) (i32.const 90)))"), 90 + 6);
    assert_eq!(of("(drop (table.grow $t (ref.null func) (i32.const 1000000)))"), 6);
    assert_eq!(of("(table.fill $t (i32.const 0) (ref.null func) (i32.const 10))"), 14);
    assert_eq!(of("(table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 9))"), 13);
    let huge = "(memory.fill (i32.const 0) (i32.const 0) (i32.const -1)) (i64.const 0)";
    assert_eq!(traps("", huge, Trap::Gas).gas, limits().gas, "paid before it is tried");
}

#[test]
fn memory_tables_and_stack_have_limits() {
    let grow = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))";
    let outcome = run(&guest(&format!("{grow} {OUT}")), limits(), b"");
    assert_eq!((output(&outcome), outcome.memory_bytes), (&[0; 8][..], limits().memory_bytes), "a refusal is no trap");
    assert_eq!(traps("", &format!("{grow} unreachable"), Trap::Memory).memory_bytes, limits().memory_bytes);
    let table = "(loop (br_if 0 (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable";
    traps("(;rest;)(table $t 0 funcref)", table, Trap::Memory);
    // Tables share one limit.
    let two = "(drop (table.grow $a (ref.null func) (i32.const 60000)))
        (if (i32.ne (table.grow $b (ref.null func) (i32.const 10000)) (i32.const -1)) (then (unreachable))) (i64.const 0)";
    assert_eq!(output(&run(&guest_with("(;rest;)(table $a 0 funcref)(table $b 0 funcref)", two), limits(), b"")), b"");
    // At the start: 2 MiB of memory, a large table.
    let large =
        wat(r#"(module (memory (export "memory") 32) (func (export "alloc") (param i32) (result i32) (i32.const 0))
        (func (export "handle") (param i32 i32) (result i64) (i64.const 0)))"#);
    assert_eq!(trap(&run(&large, limits(), b"")), Trap::Memory);
    traps("(;rest;)(table 70000 funcref)", "(i64.const 0)", Trap::Memory);
    traps("(;rest;)(table 40000 funcref) (table 40000 funcref)", "(i64.const 0)", Trap::Memory);
    traps("(;rest;)(data (i32.const 65530) \"too long\")", "(i64.const 0)", Trap::OutOfBounds);
    traps("(;rest;)(table 1 funcref) (elem (i32.const 1) func $f) (func $f)", "(i64.const 0)", Trap::OutOfBounds);
    for locals in [0, 1, 100, 4000] {
        let recursion = format!("(;rest;)(func $f (local {}) (call $f))", "i64 ".repeat(locals));
        let outcome = traps(&recursion, "(call $f) (i64.const 0)", Trap::Stack);
        assert!(outcome.gas > u64::from(limits().stack_slots) / (16 + locals as u64), "{}", outcome.gas);
    }
    // Through a table, and with an operand stack of hundreds in every frame.
    let indirect = "(;rest;)(type $v (func)) (table 1 funcref) (elem (i32.const 0) func $f)
        (func $f (call_indirect (type $v) (i32.const 0)))";
    traps(indirect, "(call $f) (i64.const 0)", Trap::Stack);
    let operands = format!("(;rest;)(func $f {} (call $f) {})", "(i64.const 1) ".repeat(500), "drop ".repeat(500));
    traps(&operands, "(call $f) (i64.const 0)", Trap::Stack);
}

#[test]
fn the_stack_is_that_of_the_limits_even_at_the_most() {
    let limits = Limits { stack_slots: pangea_sandbox::engine::STACK_SLOTS_MAX, gas: 1 << 30, ..limits() };
    for locals in ["", "(local i64 i64 i64 i64 i64)"] {
        let recursion = guest_with(&format!("(;rest;)(func $f {locals} (call $f))"), "(call $f) (i64.const 0)");
        assert_eq!(trap(&run(&recursion, limits, b"")), Trap::Stack);
    }
}

#[test]
fn no_instruction_takes_stack_of_the_host() {
    let more = format!(
        "{IMPORTS} (type $v (func)) (table $t 10 20 funcref) (elem $e func $f) (data $d \"abc\") (func $f)
         (global $g (mut i32) (i32.const 0)) (elem (i32.const 0) func $f)"
    );
    let instructions = [
        "(drop (memory.grow (i32.const 0)))",
        "(drop (memory.grow (i32.const 1)))",
        "(drop (table.grow $t (ref.null func) (i32.const 0)))",
        "(memory.copy (i32.const 0) (i32.const 1) (i32.const 1))",
        "(memory.fill (i32.const 0) (i32.const 1) (i32.const 1))",
        "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))",
        "(table.copy $t $t (i32.const 0) (i32.const 0) (i32.const 1))",
        "(table.fill $t (i32.const 1) (ref.func $f) (i32.const 1))",
        "(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))",
        "(table.set $t (i32.const 3) (table.get $t (i32.const 3)))",
        "(drop (table.size $t)) (drop (memory.size)) (elem.drop $e) (data.drop $d)",
        "(call $f) (call_indirect $t (type $v) (i32.const 0))",
        "(drop (call $now)) (call $random (i32.const 0) (i32.const 1))",
        "(drop (call $read (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 1)))",
        "(i64.store (i32.const 0) (i64.div_u (i64.load (i32.const 0)) (i64.const 3)))",
        "(f64.store (i32.const 0) (f64.sqrt (f64.nearest (f64.load (i32.const 0)))))",
        "(block $a (block $b (br_table $a $b (i32.load (i32.const 0)))))",
        "(global.set $g (select (global.get $g) (i32.const 1) (i32.ctz (global.get $g))))",
    ];
    // An instruction that does not give its stack back takes some 100 bytes. Worth running with `--release`, too.
    let limits = Limits { gas: 1 << 40, ..limits() };
    for instruction in instructions {
        let handle = format!(
            "(local $n i32) (loop {instruction} (br_if 0 (i32.ne (i32.const 100000)
             (local.tee $n (i32.add (local.get $n) (i32.const 1)))))) (i64.const 0)"
        );
        let module = guest_with(&more, &handle);
        let run = move || output(&run(&module, limits, b"")).to_vec();
        let ended = std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join();
        assert_eq!(ended.unwrap(), b"", "{instruction}");
    }
}

#[test]
fn a_returning_call_gives_its_stack_back() {
    let more = "(;rest;)(func $leaf (local i64 i64)) (func $f (call $leaf) (call $leaf))";
    let many = "(local i32) (loop (call $f) (br_if 0 (i32.ne (i32.const 10000)
        (local.tee 2 (i32.add (local.get 2) (i32.const 1)))))) (i64.const 0)";
    assert_eq!(output(&run(&guest_with(more, many), limits(), b"")), b"");
}

#[test]
fn every_trap_of_webassembly_has_its_name() {
    let table = "(;rest;)(type $v (func)) (type $i (func (param i32))) (table 2 funcref) (elem (i32.const 0) func $f) (func $f)";
    let cases = [
        ("", "unreachable", Trap::Unreachable),
        ("", "(i64.load (i32.const 65529))", Trap::OutOfBounds),
        ("", "(i64.load offset=4294967295 (i32.const -1))", Trap::OutOfBounds),
        ("", "(i64.store (i32.const -8) (i64.const 1)) (i64.const 0)", Trap::OutOfBounds),
        ("", "(memory.fill (i32.const 65535) (i32.const 0) (i32.const 2)) (i64.const 0)", Trap::OutOfBounds),
        ("", "(i64.div_s (i64.const 1) (i64.const 0))", Trap::Arithmetic),
        ("", "(i64.div_s (i64.const 0x8000000000000000) (i64.const -1))", Trap::Arithmetic),
        ("", "(i64.trunc_f64_s (f64.const nan))", Trap::Arithmetic),
        ("", "(i64.trunc_f64_s (f64.const 1e30))", Trap::Arithmetic),
        (table, "(call_indirect (type $v) (i32.const 1)) (i64.const 0)", Trap::IndirectCall),
        (table, "(call_indirect (type $i) (i32.const 1) (i32.const 0)) (i64.const 0)", Trap::IndirectCall),
        (table, "(call_indirect (type $v) (i32.const 2)) (i64.const 0)", Trap::OutOfBounds),
        (table, "(drop (table.get (i32.const 2))) (i64.const 0)", Trap::OutOfBounds),
        ("(;rest;)(func (export \"abi_version\") (result i32) (i32.const 2))", "(i64.const 0)", Trap::AbiVersion),
    ];
    for (more, handle, expected) in cases {
        traps(more, handle, expected);
    }
}

const IMPORTS: &str = r#"(import "pangea" "send" (func $send (param i32 i32)))
    (import "pangea" "log" (func $log (param i32 i32 i32)))
    (import "pangea" "now" (func $now (result i64)))
    (import "pangea" "random" (func $random (param i32 i32)))
    (import "pangea" "chunk_read" (func $read (param i32 i64 i32 i32) (result i32))) (;rest;)"#;

#[test]
fn a_wild_pointer_traps_the_guest_and_nothing_else() {
    let wild = [(65536, 1), (65535, 2), (0, 65537), (-1, 1), (-1, -1), (0, -1), (i32::MIN, i32::MIN), (1, -1)];
    for (ptr, len) in wild {
        let place = format!("(i32.const {ptr}) (i32.const {len})");
        let calls = [
            format!("(call $send {place}) (i64.const 0)"),
            format!("(call $log (i32.const 0) {place}) (i64.const 0)"),
            format!("(call $random {place}) (i64.const 0)"),
            format!("(drop (call $read (i32.const 0) (i64.const 0) {place})) (i64.const 0)"),
            format!("(drop (call $read (i32.const 9) (i64.const 0) {place})) (i64.const 0)"),
            format!("(i64.const {})", (i64::from(ptr) << 32) | (i64::from(len) & 0xffff_ffff)),
        ];
        for call in &calls {
            traps(IMPORTS, call, Trap::Pointer);
        }
    }
    // At the end of memory, nothing is wild about nothing.
    let edge =
        "(call $send (i32.const 65536) (i32.const 0)) (call $random (i32.const 65528) (i32.const 8)) (i64.const 0)";
    assert_eq!(output(&run(&guest_with(IMPORTS, edge), limits(), b"")), b"");
}

#[test]
fn an_alloc_that_lies_traps_the_guest() {
    for ptr in [65536, 65535, -1, i32::MIN] {
        let module = wat(&format!(
            r#"(module (memory (export "memory") 1)
            (func (export "alloc") (param i32) (result i32) (i32.const {ptr}))
            (func (export "handle") (param i32 i32) (result i64) (i64.const 0)))"#
        ));
        assert_eq!(trap(&run(&module, limits(), b"ab")), Trap::Pointer);
    }
}

#[test]
fn output_and_messages_share_a_limit_and_log_lines_are_dropped_beyond_theirs() {
    let size = |bytes: u32| run(&guest(&format!("(i64.const {bytes})")), limits(), b"");
    assert_eq!(output(&size(4096)).len(), 4096);
    assert_eq!(trap(&size(4097)), Trap::Output);
    let flood = "(loop (call $send (i32.const 0) (i32.const 1)) (br 0)) (i64.const 0)";
    let outcome = traps(IMPORTS, flood, Trap::Output);
    assert!(
        (10..100).contains(&outcome.sent.len()),
        "small messages count for more than a byte: {}",
        outcome.sent.len()
    );
    let talk = "(loop (call $log (i32.const 7) (i32.const 0) (i32.const 3)) (br 0)) (i64.const 0)";
    let module = guest_with(&format!("{IMPORTS} (data (i32.const 0) \"hi\\ff\")"), talk);
    let (outcome, lines) = run_logged(&module, limits(), Input::default(), || 10_000);
    assert_eq!(trap(&outcome), Trap::Gas);
    assert_eq!((lines.len(), lines[0].level, lines[0].text.as_str()), (15, 7, "hi\u{fffd}"));
}

#[test]
fn host_functions_give_what_the_caller_wrote_down() {
    let input = Input {
        bytes: Bytes::from_static(b"x"),
        chunks: vec![Bytes::from_static(b"first"), Bytes::from_static(b"second chunk")],
        unix_ms: 1_767_225_600_123,
        seed: [7; 32],
    };
    let handle = "(local $n i32)
        (i64.store (i32.const 0) (call $now))
        (call $random (i32.const 8) (i32.const 8)) (call $random (i32.const 16) (i32.const 8))
        (local.set $n (call $read (i32.const 1) (i64.const 7) (i32.const 24) (i32.const 100)))
        (i32.store (i32.const 32) (local.get $n))
        (i32.store (i32.const 36) (call $read (i32.const 2) (i64.const 0) (i32.const 40) (i32.const 8)))
        (i32.store (i32.const 40) (call $read (i32.const 0) (i64.const -1) (i32.const 48) (i32.const 8)))
        (call $send (i32.const 24) (i32.const 5)) (i64.const 44)";
    let outcome = run_logged(&guest_with(IMPORTS, handle), limits(), input.clone(), || 3).0;
    let out = output(&outcome);
    assert_eq!(out[..8], input.unix_ms.to_le_bytes());
    let mut random = [0; 16];
    blake3::Hasher::new_keyed(&input.seed).finalize_xof().fill(&mut random);
    assert_eq!(out[8..24], random);
    assert_eq!(&out[24..32], b"chunk\0\0\0");
    assert_eq!(out[32..44], [5i32.to_le_bytes(), (-1i32).to_le_bytes(), 0i32.to_le_bytes()].concat());
    assert_eq!(outcome.sent, [Bytes::from_static(b"chunk")]);
}

#[test]
fn the_start_function_and_init_run_once_and_the_guest_keeps_its_memory() {
    let more = r#"(;rest;)(global $n (mut i64) (i64.const 0)) (start $s)
        (func $add (param i64) (global.set $n (i64.add (global.get $n) (local.get 0))))
        (func $s (call $add (i64.const 100))) (func (export "init") (call $add (i64.const 10)))"#;
    let module =
        guest_with(more, &format!("(call $add (i64.const 1)) (i64.store (i32.const 0) (global.get $n)) {OUT}"));
    let (engine, instrumented) = (engine(), pass::instrument(&module).unwrap());
    let compiled = engine.compile(&instrumented).unwrap();
    let mut instance = Instance::new(&engine, &compiled, instrumented.setup_gas, limits(), Input::default())
        .unwrap_or_else(|_| panic!());
    let mut gas = Vec::new();
    for expected in [111u64, 112, 113] {
        let Slice::Done(outcome) = instance.run_slice(1 << 20) else { panic!() };
        assert_eq!(output(&outcome), expected.to_le_bytes());
        gas.push(outcome.gas);
        instance.begin(Input::default());
    }
    assert!(gas[0] > gas[1] + instrumented.setup_gas && gas[1] == gas[2], "{gas:?}");
}

#[test]
fn an_instance_costs_gas_by_its_size() {
    let pages = |pages: u32| {
        let module = wat(&format!(
            r#"(module (memory (export "memory") {pages})
            (func (export "alloc") (param i32) (result i32) (i32.const 0))
            (func (export "handle") (param i32 i32) (result i64) (i64.const 0)))"#
        ));
        run(&module, limits(), b"")
    };
    assert_eq!(pages(3).gas - pages(2).gas, 8192);
    let poor = Limits { gas: 8000, ..limits() };
    let outcome = run(&guest("(i64.const 0)"), poor, b"");
    assert_eq!((trap(&outcome), outcome.gas, outcome.memory_bytes), (Trap::Gas, 8000, 0));
}

#[test]
fn a_guest_that_is_dropped_between_slices_leaves_nothing_behind() {
    let (engine, instrumented) = (engine(), pass::instrument(&guest("(loop (br 0)) (i64.const 0)")).unwrap());
    let compiled = engine.compile(&instrumented).unwrap();
    for _ in 0..100 {
        let limits = Limits { gas: u64::MAX, ..limits() };
        let mut instance = Instance::new(&engine, &compiled, instrumented.setup_gas, limits, Input::default())
            .unwrap_or_else(|_| panic!());
        assert_eq!(instance.run_slice(1000), Slice::Running);
        assert_eq!(instance.run_slice(1000), Slice::Running);
    }
}
