//! Both engines give equal outcomes: gas, trap, output, messages, log and memory, for the kernels, for every way to be
//! stopped, and for modules that are generated. Only with the feature `jit`.
//!
//! `PANGEA_SMITH_MODULES` (500) generated modules, from seed `PANGEA_SMITH_FIRST` (0) on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod generated;
mod world;

use arbitrary::Unstructured;
use generated::{Draws, config, modules};
use pangea_protocols::{
    Hash,
    task::{Ending, Input, Limits, Outcome, Trap},
};
use pangea_sandbox::{
    engine::{Engine, Instance, Jit, Slice, Wasmi, host::Line},
    pass::{self, Instrumented},
};
use std::collections::BTreeMap;
use wasm_smith::Module;
use world::{KERNEL_SIZES, KERNELS, all, guest, guest_with, kernel_input, limits, wat};

/// All that can be seen of a run.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    outcome: Outcome,
    lines: Vec<Line>,
    memory: Option<Hash>,
}

/// Runs to the end in slices; an error is the node's.
fn run<E: Engine>(
    engine: &E,
    module: &Instrumented,
    limits: Limits,
    input: Input,
    mut slice: impl FnMut() -> u64,
) -> Result<Seen, String> {
    let compiled = engine.compile(module).map_err(|refusal| refusal.to_string())?;
    let mut instance = match Instance::new(engine, &compiled, module.setup_gas, limits, input) {
        Ok(instance) => instance,
        Err(Slice::Done(outcome)) => return Ok(Seen { outcome, lines: Vec::new(), memory: None }),
        Err(Slice::Failed(message)) => return Err(message),
        Err(Slice::Running) => panic!("it runs before it is made"),
    };
    let mut lines = Vec::new();
    loop {
        let ran = instance.run_slice(slice());
        lines.extend(instance.take_lines());
        match ran {
            Slice::Running => {}
            Slice::Failed(message) => return Err(message),
            Slice::Done(outcome) => {
                let memory = Some(Hash::of(instance.memory()));
                return Ok(Seen { outcome, lines, memory });
            }
        }
    }
}

struct Engines {
    wasmi: Wasmi,
    jit: Jit,
}

impl Engines {
    fn new() -> Self {
        Self { wasmi: Wasmi::new().unwrap(), jit: Jit::new().unwrap() }
    }

    /// What both saw, in one slice and in many.
    fn compare(&self, module: &Instrumented, limits: Limits, input: &Input, what: &str) -> Seen {
        let whole = || u64::MAX >> 4;
        let expected = run(&self.wasmi, module, limits, input.clone(), whole).unwrap();
        let compiled =
            run(&self.jit, module, limits, input.clone(), whole).unwrap_or_else(|why| panic!("{what}: {why}"));
        assert_eq!(compiled, expected, "{what}");
        let mut draws = Draws(limits.gas);
        let slices = || 1 + draws.next() % 7_000;
        let sliced =
            run(&self.jit, module, limits, input.clone(), slices).unwrap_or_else(|why| panic!("{what}: {why}"));
        assert_eq!(sliced, expected, "{what}, in slices");
        expected
    }
}

fn of(bytes: &[u8]) -> Input {
    Input { bytes: bytes.to_vec().into(), ..Input::default() }
}

#[test]
fn kernels_are_equal_to_the_last_gas() {
    let (engines, module) = (Engines::new(), pass::instrument(KERNELS).unwrap());
    for (kernel, (name, n)) in KERNEL_SIZES.iter().enumerate() {
        let input = of(&kernel_input(kernel, *n));
        let limits = Limits { gas: 1 << 30, ..Limits::default() };
        let gas = engines.compare(&module, limits, &input, name).outcome.gas;
        for limit in [gas, gas - 1, gas / 2, gas / 7, 1] {
            engines.compare(&module, Limits { gas: limit, ..limits }, &input, name);
        }
    }
}

#[test]
fn every_end_of_a_guest_is_equal() {
    let imports = r#"(import "pangea" "send" (func $send (param i32 i32)))
        (import "pangea" "log" (func $log (param i32 i32 i32)))
        (import "pangea" "now" (func $now (result i64)))
        (import "pangea" "random" (func $random (param i32 i32)))
        (import "pangea" "chunk_read" (func $read (param i32 i64 i32 i32) (result i32))) (;rest;)
        (type $v (func)) (type $i (func (param i32))) (table $t 2 50 funcref) (elem (i32.const 0) func $f) (func $f)
        (func $deep (local i64 i64) (call $deep)) (data $d "abc") (elem $e func $f)"#;
    let grow = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))";
    let tables = "(loop (br_if 0 (i32.ne (table.grow $t (ref.null func) (i32.const 7)) (i32.const -1))))";
    let handles = [
        "(i64.const 8)".to_owned(),
        "(loop (br 0)) (i64.const 0)".to_owned(),
        "(call $deep) (i64.const 0)".to_owned(),
        "unreachable".to_owned(),
        format!("{grow} (i64.const 8)"),
        format!("{grow} unreachable"),
        format!("{tables} (i64.store (i32.const 0) (i64.extend_i32_u (table.size $t))) (i64.const 8)"),
        format!("{tables} unreachable"),
        "(drop (memory.grow (i32.const 65535))) unreachable".to_owned(),
        "(drop (memory.grow (i32.const 65536))) unreachable".to_owned(),
        "(drop (memory.grow (i32.const 70000))) unreachable".to_owned(),
        "(drop (memory.grow (i32.const -1))) unreachable".to_owned(),
        "(drop (table.grow $t (ref.null func) (i32.const -1))) unreachable".to_owned(),
        "(drop (table.grow $t (ref.null func) (i32.const -3))) unreachable".to_owned(),
        "(drop (table.grow $t (ref.null func) (i32.const -4))) unreachable".to_owned(),
        "(i64.load (i32.const 65529))".to_owned(),
        "(i64.load offset=4294967295 (i32.const -1))".to_owned(),
        "(memory.fill (i32.const 65535) (i32.const 0) (i32.const 2)) (i64.const 0)".to_owned(),
        "(memory.fill (i32.const 0) (i32.const 0) (i32.const -1)) (i64.const 0)".to_owned(),
        "(memory.init $d (i32.const 0) (i32.const 2) (i32.const 2)) (i64.const 0)".to_owned(),
        "(data.drop $d) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (i64.const 0)".to_owned(),
        "(elem.drop $e) (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1)) (i64.const 0)".to_owned(),
        "(i64.div_s (i64.const 1) (i64.const 0))".to_owned(),
        "(i64.div_s (i64.const 0x8000000000000000) (i64.const -1))".to_owned(),
        "(i64.trunc_f64_s (f64.const nan))".to_owned(),
        "(call_indirect (type $v) (i32.const 1)) (i64.const 0)".to_owned(),
        "(call_indirect (type $i) (i32.const 1) (i32.const 0)) (i64.const 0)".to_owned(),
        "(call_indirect (type $v) (i32.const 2)) (i64.const 0)".to_owned(),
        "(drop (table.get $t (i32.const 2))) (i64.const 0)".to_owned(),
        "(call $send (i32.const 65536) (i32.const 1)) (i64.const 0)".to_owned(),
        "(loop (call $send (i32.const 0) (i32.const 1)) (br 0)) (i64.const 0)".to_owned(),
        "(loop (call $log (i32.const 2) (i32.const 0) (i32.const 3)) (br 0)) (i64.const 0)".to_owned(),
        "(i64.store (i32.const 0) (call $now)) (call $random (i32.const 8) (i32.const 99)) (i64.const 107)".to_owned(),
        "(i64.extend_i32_u (call $read (i32.const 0) (i64.const 3) (i32.const 0) (i32.const 9)))".to_owned(),
        "(i64.const -1)".to_owned(),
    ];
    let engines = Engines::new();
    let input = Input { chunks: vec![vec![9; 10].into()], unix_ms: 77, seed: [5; 32], ..of(b"some input") };
    let mut ends = BTreeMap::new();
    for handle in handles {
        let module = pass::instrument(&guest_with(imports, &handle)).unwrap();
        assert_eq!(module.imports, all());
        let seen = engines.compare(&module, limits(), &input, &handle);
        let end = match seen.outcome.ending {
            Ending::Output(_) => "output".to_owned(),
            Ending::Trapped(trap) => format!("{trap:?}"),
        };
        *ends.entry(end).or_insert(0) += 1;
    }
    println!("{ends:?}");
    assert_eq!(ends.len(), 10, "{ends:?}");
}

/// See `choice` of the pass: the interpreter by itself gets some of these wrong.
#[test]
fn every_condition_chooses_alike() {
    let conditions = [
        ("(i32.eqz (local.get $x))", [true, false]),
        ("(i32.eq (local.get $x) (i32.const 0))", [true, false]),
        ("(i32.eq (i32.const 0) (local.get $x))", [true, false]),
        ("(i32.ne (local.get $x) (i32.const 0))", [false, true]),
        ("(i32.eqz (i32.eqz (local.get $x)))", [false, true]),
        ("(i32.eqz (i32.ne (local.get $x) (i32.const 0)))", [true, false]),
        ("(block (result i32) (i32.eqz (local.get $x)))", [true, false]),
        ("(i32.eqz (local.get $x)) (nop) (drop (local.get $x))", [true, false]),
        ("(i32.eqz (local.get $x)) (drop (i32.add (i32.const 1) (i32.const 2)))", [true, false]),
        ("(i32.reinterpret_f32 (f32.reinterpret_i32 (i32.eqz (local.get $x))))", [true, false]),
        ("(i32.lt_u (local.get $x) (i32.const 1))", [true, false]),
        ("(local.get $x)", [false, true]),
        ("(i32.and (local.get $x) (i32.const 1))", [false, true]),
        ("(i64.eqz (i64.extend_i32_u (local.get $x)))", [true, false]),
    ];
    let engines = Engines::new();
    for (condition, chosen) in conditions {
        let handle = format!(
            "(local $x i32) (local.set $x (local.get 1))
             (i64.store (i32.const 0) (select (i64.const 50) (i64.const 10) {condition}))
             (i32.store (i32.const 8) (select (local.get $x) (i32.const 77) {condition}))
             (f64.store (i32.const 16) (select (result f64) (f64.const 1) (f64.const 2) {condition})) (i64.const 24)"
        );
        let module = pass::instrument(&guest(&handle)).unwrap();
        for (input, first) in [&b""[..], b"12345"].into_iter().zip(chosen) {
            let seen = engines.compare(&module, limits(), &of(input), condition);
            let expected = if first { 50u64 } else { 10 }.to_le_bytes();
            assert_eq!(world::output(&seen.outcome)[..8], expected, "{condition} of {input:?}");
        }
    }
}

#[test]
fn what_cannot_be_made_is_equal() {
    let engines = Engines::new();
    let more = [
        "(;rest;)(table 70000 funcref)",
        "(;rest;)(table 40000 funcref) (table 40000 funcref)",
        "(;rest;)(data (i32.const 65530) \"too long\")",
        "(;rest;)(table 1 funcref) (elem (i32.const 1) func $f) (func $f)",
        "(;rest;)(func $f (loop (br 0)))(start $f)",
        "(;rest;)(func (export \"abi_version\") (result i32) (i32.const 2))",
    ];
    for more in more {
        let module = pass::instrument(&guest_with(more, "(i64.const 0)")).unwrap();
        let seen = engines.compare(&module, limits(), &of(b""), more);
        assert!(matches!(seen.outcome.ending, Ending::Trapped(_)), "{more}");
    }
    let poor = Limits { memory_bytes: 1000, ..limits() };
    let module = pass::instrument(&guest("(i64.const 0)")).unwrap();
    let seen = engines.compare(&module, poor, &of(b""), "no memory");
    assert_eq!(seen.outcome.ending, Ending::Trapped(Trap::Memory));
}

/// Some engines ask the limits first and some the module: what a module forbids itself is no refusal of the limits.
#[test]
fn growth_beyond_what_the_module_allows_itself_is_equal() {
    let engines = Engines::new();
    let limits = Limits { memory_bytes: 2 << 16, table_elements: 8, ..limits() };
    let cases = [
        (1, 0, Trap::Unreachable),
        (2, 0, Trap::Memory),
        (4, 0, Trap::Unreachable),
        (0, 8, Trap::Memory),
        (0, 20, Trap::Unreachable),
    ];
    for (pages, elements, end) in cases {
        let text = format!(
            r#"(module (memory (export "memory") 1 4) (table $t 1 10 funcref)
                (func (export "alloc") (param i32) (result i32) (i32.const 1024))
                (func (export "handle") (param i32 i32) (result i64)
                    (drop (memory.grow (i32.const {pages})))
                    (drop (table.grow $t (ref.null func) (i32.const {elements})))
                    unreachable))"#
        );
        let module = pass::instrument(&wat(&text)).unwrap();
        let seen = engines.compare(&module, limits, &of(b""), &text);
        assert_eq!(seen.outcome.ending, Ending::Trapped(end), "{pages} pages, {elements} elements");
    }
}

#[test]
fn the_deepest_stack_is_that_of_the_limits() {
    let engines = Engines::new();
    let limits = Limits { stack_slots: pangea_sandbox::engine::STACK_SLOTS_MAX, gas: 1 << 30, ..limits() };
    for locals in ["", "(local i64 i64 i64 i64 i64)", "(param i64 i64 i64 f64 f64 f64)"] {
        let arguments = if locals.contains("param") {
            "(i64.const 1) (i64.const 2) (i64.const 3) (f64.const 1) (f64.const 2) (f64.const 3)"
        } else {
            ""
        };
        let recursion = format!("(;rest;)(func $f {locals} (call $f {arguments}))");
        let module =
            pass::instrument(&guest_with(&recursion, &format!("(call $f {arguments}) (i64.const 0)"))).unwrap();
        let seen = engines.compare(&module, limits, &of(b""), locals);
        assert_eq!(seen.outcome.ending, Ending::Trapped(Trap::Stack));
    }
}

#[test]
fn a_guest_that_is_dropped_while_it_is_paused_leaves_nothing_behind() {
    let (jit, module) = (Jit::new().unwrap(), pass::instrument(&guest("(loop (br 0)) (i64.const 0)")).unwrap());
    let compiled = jit.compile(&module).unwrap();
    for _ in 0..100 {
        let limits = Limits { gas: u64::MAX, ..limits() };
        let mut instance =
            Instance::new(&jit, &compiled, module.setup_gas, limits, of(b"")).unwrap_or_else(|_| panic!());
        assert_eq!(instance.run_slice(1000), Slice::Running);
        assert_eq!(instance.run_slice(1000), Slice::Running);
    }
}

#[test]
fn generated_modules_are_equal() {
    let (engines, mut ends) = (Engines::new(), BTreeMap::new());
    let first: u64 = std::env::var("PANGEA_SMITH_FIRST").ok().and_then(|first| first.parse().ok()).unwrap_or(0);
    for seed in first..first + modules() {
        let mut draws = Draws(seed);
        let config = config(&mut draws);
        let bytes = draws.bytes(6_000);
        let Ok(module) = Module::new(config, &mut Unstructured::new(&bytes)) else { continue };
        let Ok(module) = pass::instrument(&module.to_bytes()) else { continue };
        let seen = engines.compare(&module, generated::limits(), &generated::input(), &format!("seed {seed}"));
        let end = match seen.outcome.ending {
            Ending::Output(_) => "returned".to_owned(),
            Ending::Trapped(trap) => format!("trapped: {trap}"),
        };
        *ends.entry(end).or_insert(0u64) += 1;
    }
    println!("compared: {ends:#?}");
    assert!(ends.values().sum::<u64>() * 2 > modules(), "most are refused: {ends:?}");
}
