//! The pass from outside: what it refuses, with which reason, and that what it makes is valid and small.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use pangea_protocols::{
    Hash,
    task::{Capability, Refusal},
};
use pangea_sandbox::pass::{self, limits};
use world::{KERNELS, guest, guest_with, wat};

/// A refused guest: its text beside the ABI, and words of the reason.
fn refused(module: &[u8], words: &[&str]) {
    let refusal = pass::instrument(module).map(|_| ()).expect_err(&format!("not refused: {words:?}"));
    assert!(!matches!(refusal, Refusal::Node { .. }), "{refusal}");
    for word in words {
        assert!(refusal.to_string().contains(word), "{refusal}\ndoes not say {word:?}");
    }
}

#[test]
fn a_module_of_a_forbidden_feature_is_refused_with_the_way_out() {
    let cases = [
        ("(import \"a\" \"m\" (memory 1 1 shared))", "", "threads"),
        ("(;rest;)", "(drop (i32.atomic.load (i32.const 0))) (i64.const 0)", "compile without `atomics`"),
        ("(;rest;)", "(drop (v128.const i64x2 0 0)) (i64.const 0)", "`simd128`"),
        ("(;rest;)", "(drop (i32x4.relaxed_trunc_f32x4_s (v128.const i64x2 0 0))) (i64.const 0)", "SIMD"),
        ("(;rest;)", "(return_call 1 (local.get 0) (local.get 1))", "tail calls"),
        ("(;rest;)(tag $t) (func $x (throw $t))", "(i64.const 0)", "-fno-exceptions"),
        ("(;rest;)(type $s (struct (field i32)))", "(i64.const 0)", "garbage collection"),
        ("(;rest;)(memory $second 1)", "(i64.const 0)", "multiple memories"),
        ("(;rest;)(memory $second i64 1)", "(i64.const 0)", ""),
        ("(;rest;)(type $f (func)) (func (param (ref $f)))", "(i64.const 0)", "references"),
        ("(;rest;)(global i32 (i32.add (i32.const 1) (i32.const 2)))", "(i64.const 0)", "extended-const"),
        ("(;rest;)", "(i64.add128 (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1)) (drop)", "WebAssembly 2.0"),
    ];
    for (more, handle, words) in cases {
        refused(&guest_with(more, handle), &[words]);
    }
    refused(&wat("(module (memory (export \"memory\") i64 1))"), &["64-bit memory", "wasm32"]);
}

#[test]
fn an_import_that_does_not_exist_is_refused_by_its_name() {
    let import = |text| guest_with(&format!("{text} (;rest;)"), "(i64.const 0)");
    refused(
        &import(r#"(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))"#),
        &["`fd_write` of `wasi_snapshot_preview1`", "without WASI"],
    );
    refused(&import(r#"(import "env" "send" (func (param i32 i32)))"#), &["`send` of `env`"]);
    refused(&import(r#"(import "pangea" "open" (func))"#), &["`open` of `pangea`"]);
    refused(&import(r#"(import "pangea" "memory" (global i32))"#), &["`memory` of `pangea`"]);
    refused(&import(r#"(import "pangea:pass" "out_of_gas" (func))"#), &["`out_of_gas`"]);
    refused(&import(r#"(import "pangea" "now" (func (result i32)))"#), &["another type than () -> (i64)"]);
}

#[test]
fn imports_are_listed_as_capabilities() {
    let imports =
        r#"(import "pangea" "now" (func (result i64))) (import "pangea" "send" (func (param i32 i32))) (;rest;)"#;
    let module = pass::instrument(&guest_with(imports, "(i64.const 0)")).unwrap();
    assert_eq!(module.imports, [Capability::Send, Capability::Now].into_iter().collect());
}

#[test]
fn a_module_without_the_abi_is_refused() {
    let memory = r#"(memory (export "memory") 1)"#;
    let alloc = r#"(func (export "alloc") (param i32) (result i32) (i32.const 0))"#;
    let handle = r#"(func (export "handle") (param i32 i32) (result i64) (i64.const 0))"#;
    let module = |parts: [&str; 3]| wat(&format!("(module {} {} {})", parts[0], parts[1], parts[2]));
    assert!(pass::instrument(&module([memory, alloc, handle])).is_ok());
    refused(&module(["", alloc, handle]), &["`memory`"]);
    refused(&module([memory, "", handle]), &["`alloc` as (i32) -> (i32)"]);
    refused(&module([memory, alloc, ""]), &["`handle` as (i32, i32) -> (i64)"]);
    let narrow = r#"(func (export "handle") (param i32 i32) (result i32) (i32.const 0))"#;
    refused(&module([memory, alloc, narrow]), &["`handle`"]);
    let global = r#"(global (export "alloc") i32 (i32.const 0))"#;
    refused(&module([memory, global, handle]), &["`alloc`"]);
    let init = r#"(func (export "init") (param i32))"#;
    refused(&wat(&format!("(module {memory} {alloc} {handle} {init})")), &["`init` as () -> ()"]);
    let version = r#"(func (export "abi_version") (result i64) (i64.const 1))"#;
    refused(&wat(&format!("(module {memory} {alloc} {handle} {version})")), &["`abi_version` as () -> (i32)"]);
}

#[test]
fn a_malformed_module_is_refused_wherever_it_is_cut() {
    refused(&[], &["invalid module"]);
    refused(b"\0asm", &["invalid module"]);
    refused(b"#!/bin/sh", &["invalid module"]);
    refused(b"\0asm\x0d\0\x01\0", &["component"]);
    // A section that claims 4 GiB.
    refused(b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\x0f", &["invalid module"]);
    // Between two sections a cut may leave a valid module.
    let valid = (0..KERNELS.len()).filter(|length| pass::instrument(&KERNELS[..*length]).is_ok()).count();
    assert!(valid <= 3, "{valid}");
}

#[test]
fn a_module_that_is_too_large_is_refused_by_what_it_has_too_much_of() {
    let nested = |depth: usize| format!("{} {} (i64.const 0)", "(block ".repeat(depth), ")".repeat(depth));
    let many =
        |what: &str, count: u64| guest_with(&format!("(;rest;) {}", what.repeat(count as usize)), "(i64.const 0)");
    let locals = |count: u64| guest(&format!("(local {}) (i64.const 0)", "i64 ".repeat(count as usize)));
    let parameters = |count: u64| {
        guest_with(&format!("(;rest;)(type (func (param {})))", "i32 ".repeat(count as usize)), "(i64.const 0)")
    };
    let cases = [
        (vec![0; limits::MODULE_BYTES_MAX as usize + 1], "bytes"),
        (guest(&nested(limits::NESTING_MAX as usize)), "nested blocks"),
        (locals(limits::LOCALS_MAX + 1), "locals in a function"),
        (parameters(limits::PARAMETERS_MAX + 1), "parameters of a function type"),
        (many("(table 1 funcref)", limits::TABLES_MAX + 1), "tables"),
        (many("(global i32 (i32.const 0))", limits::GLOBALS_MAX + 1), "globals"),
        (many("(func)", limits::FUNCTIONS_MAX), "functions"),
        (many("(data \"\")", limits::DATA_SEGMENTS_MAX + 1), "data segments"),
        (many("(elem func)", limits::ELEMENT_SEGMENTS_MAX + 1), "element segments"),
        (
            guest(&format!("{} (i64.const 0)", "nop ".repeat(limits::FUNCTION_BYTES_MAX as usize))),
            "bytes in a function",
        ),
    ];
    for (module, what) in cases {
        let Err(Refusal::TooLarge { what: found, .. }) = pass::instrument(&module) else {
            panic!("{what} not refused")
        };
        assert_eq!(found, what, "another reason");
    }
    assert!(pass::instrument(&locals(limits::LOCALS_MAX)).is_ok());
    assert!(pass::instrument(&parameters(limits::PARAMETERS_MAX)).is_ok());
}

#[test]
fn a_module_that_would_grow_too_much_is_refused() {
    // Three bytes become twenty.
    let copies = |count: usize| {
        format!("(func (param f64) (result f64) (local.get 0) {})", "(f64.copysign (local.get 0)) ".repeat(count))
    };
    let module = |functions: &[String]| guest_with(&format!("(;rest;){}", functions.concat()), "(i64.const 0)");
    refused(&module(&[copies(340_000)]), &["bytes in an instrumented function"]);
    refused(&module(&vec![copies(250_000); 14]), &["bytes of instrumented code"]);
}

#[test]
fn only_the_abi_and_the_globals_of_the_pass_are_exported() {
    let module = guest_with(
        "(;rest;)(start $s)(func $s) (func (export \"secret\")) (global (export \"pangea:gas\") i64 (i64.const 5))",
        "(i64.const 0)",
    );
    let bytes = pass::instrument(&module).unwrap().bytes;
    let mut names = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(&bytes) {
        match payload.unwrap() {
            wasmparser::Payload::ExportSection(section) => {
                names.extend(section.into_iter().map(|one| one.unwrap().name))
            }
            wasmparser::Payload::StartSection { .. } => panic!("starts by itself"),
            _ => {}
        }
    }
    assert_eq!(names, ["memory", "alloc", "handle", pass::GAS, pass::STACK, pass::START]);
}

/// The bytes that the pass makes are part of its version: if this fails, raise [`pass::VERSION`] and replace the hash.
#[test]
fn the_pass_makes_the_bytes_of_its_version() {
    let module = pass::instrument(KERNELS).unwrap();
    assert_eq!(pass::VERSION, 1);
    assert_eq!(Hash::of(&module.bytes).to_string(), "894e2041fc69f104894bd1bfe7c2045872e034a237a02a1f8dd9cbea4988e2cc");
    assert_eq!(module, pass::instrument(KERNELS).unwrap());
    assert!(module.bytes.len() < 2 * KERNELS.len());
}
