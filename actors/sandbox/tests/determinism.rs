//! Equal inputs give equal outcomes: golden gas, any slicing, with and without the pass, and NaNs of every making.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use pangea_protocols::task::{Input, Limits, Trap};
use pangea_sandbox::pass;
use proptest::prelude::*;
use world::{KERNEL_SIZES, KERNELS, OUT, guest, guest_with, kernel_input, limits, output, run, run_logged, trap};

fn roomy() -> Limits {
    Limits { gas: 1 << 30, ..Limits::default() }
}

/// Gas and output of each kernel are part of the pass's version: if this fails, raise [`pass::VERSION`].
#[test]
fn kernels_take_the_gas_of_this_version() {
    assert_eq!(pass::VERSION, 1);
    let golden = [
        ("sha256", 340_368, 7_873_004_191_874_495_615),
        ("matmul", 67_117, 4_663_643_440_397_942_786),
        ("sieve", 224_331, 669),
        ("nbody", 106_625, 9_238_802_650_476_831_123),
        ("sort", 324_503, 1_592_694_243_815_150_676),
        ("words", 200_793, 505_499_466_960_345_776),
    ];
    let found: Vec<(&str, u64, u64)> = KERNEL_SIZES
        .iter()
        .enumerate()
        .map(|(kernel, (name, n))| {
            let outcome = run(KERNELS, roomy(), &kernel_input(kernel, *n));
            (*name, outcome.gas, u64::from_le_bytes(output(&outcome).try_into().unwrap()))
        })
        .collect();
    assert_eq!(found, golden);
}

#[test]
fn the_trap_point_is_that_of_the_gas_alone() {
    for (kernel, (name, n)) in KERNEL_SIZES.iter().enumerate() {
        let input = kernel_input(kernel, *n);
        let whole = run(KERNELS, roomy(), &input);
        let enough = run(KERNELS, Limits { gas: whole.gas, ..roomy() }, &input);
        assert_eq!(enough, whole, "{name}: exactly enough is enough");
        let short = run(KERNELS, Limits { gas: whole.gas - 1, ..roomy() }, &input);
        assert_eq!((trap(&short), short.gas), (Trap::Gas, whole.gas - 1), "{name}: one too few");
    }
}

/// What plain wasmi, without the pass, gives.
fn plain(module: &[u8], input: &[u8]) -> Vec<u8> {
    let engine = wasmi::Engine::default();
    let module = wasmi::Module::new(&engine, module).unwrap();
    let mut store = wasmi::Store::new(&engine, ());
    let instance = wasmi::Linker::<()>::new(&engine).instantiate_and_start(&mut store, &module).unwrap();
    let memory = instance.get_memory(&store, "memory").unwrap();
    let alloc = instance.get_typed_func::<u32, u32>(&store, "alloc").unwrap();
    let handle = instance.get_typed_func::<(u32, u32), u64>(&store, "handle").unwrap();
    let len = u32::try_from(input.len()).unwrap();
    let ptr = alloc.call(&mut store, len).unwrap();
    memory.write(&mut store, ptr as usize, input).unwrap();
    let place = handle.call(&mut store, (ptr, len)).unwrap();
    let mut output = vec![0; (place & 0xffff_ffff) as usize];
    memory.read(&store, (place >> 32) as usize, &mut output).unwrap();
    output
}

#[test]
fn the_pass_does_not_change_what_a_module_computes() {
    for (kernel, (name, n)) in KERNEL_SIZES.iter().enumerate() {
        let input = kernel_input(kernel, *n);
        assert_eq!(output(&run(KERNELS, roomy(), &input)), plain(KERNELS, &input), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_slicing_gives_the_same_outcome(kernel in 0usize..6, slices in prop::collection::vec(1u64..20_000, 1..20), gas in 1u64..400_000) {
        let input = Input { bytes: kernel_input(kernel, KERNEL_SIZES[kernel].1 / 4).into(), ..Input::default() };
        let limits = Limits { gas, ..roomy() };
        let whole = run_logged(KERNELS, limits, input.clone(), || u64::MAX).0;
        let mut turn = slices.iter().cycle();
        let sliced = run_logged(KERNELS, limits, input, || *turn.next().unwrap()).0;
        prop_assert_eq!(whole, sliced);
    }
}

#[test]
fn no_bits_of_a_nan_are_seen() {
    let (f32_nan, f64_nan) = (u64::from(0x7fc0_0000u32), 0x7ff8_0000_0000_0000u64);
    let one64 = 1f64.to_bits();
    // Not a NaN that an instruction made, but one with sign and payload, as another processor might make it.
    let cases = [
        ("", "(i64.reinterpret_f64 (local.get $f64))", f64_nan),
        ("", "(i64.reinterpret_f64 (f64.neg (local.get $f64)))", f64_nan),
        ("", "(i64.extend_i32_u (i32.reinterpret_f32 (local.get $f32)))", f32_nan),
        ("(f64.store (i32.const 8) (local.get $f64))", "(i64.load (i32.const 8))", f64_nan),
        ("(f32.store (i32.const 8) (local.get $f32))", "(i64.load32_u (i32.const 8))", f32_nan),
        ("", "(i64.reinterpret_f64 (f64.copysign (f64.const 1) (local.get $f64)))", one64),
        ("", "(i64.reinterpret_f64 (f64.promote_f32 (f32.copysign (f32.const 1) (local.get $f32))))", one64),
    ];
    for (before, value, expected) in cases {
        let handle = format!(
            "(local $f32 f32) (local $f64 f64)
             (local.set $f32 (f32.reinterpret_i32 (i32.const 0xffc01234)))
             (local.set $f64 (f64.reinterpret_i64 (i64.const 0xfff8000000001234)))
             {before} (i64.store (i32.const 0) {value}) {OUT}"
        );
        assert_eq!(output(&run(&guest(&handle), limits(), b"")), expected.to_le_bytes(), "{value}");
    }
}

#[test]
fn memory_that_is_copied_through_floats_keeps_its_bits() {
    let bits: u64 = 0xfff8_0000_dead_beef;
    let handle = "(f64.store (i32.const 0) (f64.load (i32.const 8))) (i64.const 8)";
    let module = guest_with(&format!("(;rest;)(data (i32.const 8) \"{}\")", escape(bits)), handle);
    assert_eq!(output(&run(&module, limits(), b"")), bits.to_le_bytes());
}

fn escape(bits: u64) -> String {
    bits.to_le_bytes().iter().map(|byte| format!("\\{byte:02x}")).collect()
}
