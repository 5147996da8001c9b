//! Thousands of generated and of damaged modules: none panics, none escapes its limits, each ends the same way twice.
//!
//! `PANGEA_SMITH_MODULES` (500) generated modules, and as many damaged ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod generated;
mod world;

use arbitrary::Unstructured;
use generated::{Draws, config, input, limits, modules};
use pangea_protocols::task::{Ending, Outcome, Refusal};
use pangea_sandbox::{
    engine::{Engine, Instance, Slice, Wasmi},
    pass::{self, Instrumented, limits::INSTRUMENTED_BYTES_MAX},
};
use std::collections::BTreeMap;
use wasm_smith::{Config, Module};
use world::{KERNELS, wat};

/// Runs to the end.
fn run(
    engine: &Wasmi,
    module: &<Wasmi as Engine>::Module,
    pass: &Instrumented,
    mut slice: impl FnMut() -> u64,
) -> Outcome {
    let mut instance = match Instance::new(engine, module, pass.setup_gas, limits(), input()) {
        Ok(instance) => instance,
        Err(Slice::Done(outcome)) => return outcome,
        Err(other) => panic!("{other:?}"),
    };
    for _ in 0..=limits().gas {
        match instance.run_slice(slice()) {
            Slice::Running => {}
            Slice::Done(outcome) => return outcome,
            Slice::Failed(message) => panic!("{message}"),
        }
    }
    panic!("more slices than gas");
}

/// Passes a module through everything; what became of it.
fn put(engine: &Wasmi, module: &[u8], draws: &mut Draws) -> String {
    let instrumented = match pass::instrument(module) {
        Ok(instrumented) => instrumented,
        Err(Refusal::Node { message }) => panic!("{message}"),
        Err(refusal) => return format!("refused: {}", refusal.to_string().chars().take(40).collect::<String>()),
    };
    assert!(instrumented.bytes.len() as u64 <= INSTRUMENTED_BYTES_MAX + module.len() as u64);
    let compiled = engine.compile(&instrumented).unwrap_or_else(|refusal| panic!("{refusal}"));
    let whole = run(engine, &compiled, &instrumented, || u64::MAX >> 4);
    assert!(whole.gas <= limits().gas && whole.memory_bytes <= limits().memory_bytes);
    let sliced = run(engine, &compiled, &instrumented, || 1 + draws.next() % 5_000);
    assert_eq!(whole, sliced, "another slicing, another outcome");
    match whole.ending {
        Ending::Output(_) => "returned".to_owned(),
        Ending::Trapped(trap) => format!("trapped: {trap}"),
    }
}

fn report(what: &str, seen: &BTreeMap<String, u64>) {
    let mut rows: Vec<_> = seen.iter().collect();
    rows.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    println!("{what}: {:#?}", &rows[..rows.len().min(20)]);
}

#[test]
fn generated_modules_end_within_their_limits_and_twice_the_same() {
    let (engine, mut seen) = (Wasmi::new().unwrap(), BTreeMap::new());
    for seed in 0..modules() {
        let mut draws = Draws(seed);
        let config = config(&mut draws);
        let bytes = draws.bytes(6_000);
        let Ok(module) = Module::new(config, &mut Unstructured::new(&bytes)) else { continue };
        let module = module.to_bytes();
        let became = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| put(&engine, &module, &mut draws)))
            .unwrap_or_else(|_| panic!("seed {seed}"));
        *seen.entry(became).or_insert(0) += 1;
    }
    report("generated", &seen);
    let ran: u64 = seen.iter().filter(|(became, _)| !became.starts_with("refused")).map(|(_, count)| count).sum();
    assert!(ran * 2 > modules(), "most are refused: {seen:?}");
}

#[test]
fn damaged_modules_are_refused_or_end_within_their_limits() {
    let (engine, mut seen) = (Wasmi::new().unwrap(), BTreeMap::new());
    for seed in 0..modules() {
        let mut draws = Draws(seed ^ 0xdead_beef);
        let mut module = KERNELS.to_vec();
        if seed.is_multiple_of(2) {
            let bytes = draws.bytes(3_000);
            let Ok(smith) = Module::new(config(&mut draws), &mut Unstructured::new(&bytes)) else { continue };
            module = smith.to_bytes();
        }
        for _ in 0..1 + draws.next() % 4 {
            let place = 8 + (draws.next() % (module.len() as u64 - 8)) as usize;
            match draws.next() % 4 {
                0 => module[place] ^= 1 << (draws.next() % 8),
                1 => module[place] = draws.next() as u8,
                2 => drop(module.remove(place)),
                _ => module.insert(place, draws.next() as u8),
            }
        }
        let became = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| put(&engine, &module, &mut draws)))
            .unwrap_or_else(|_| panic!("seed {seed}"));
        *seen.entry(became).or_insert(0) += 1;
    }
    report("damaged", &seen);
}

/// What plain wasmi, without the pass, gives: the calls of the ABI by hand.
fn plain(module: &[u8], input: &[u8]) -> Option<Vec<u8>> {
    let engine = wasmi::Engine::default();
    let module = wasmi::Module::new(&engine, module).ok()?;
    let mut store = wasmi::Store::new(&engine, ());
    let instance = wasmi::Linker::<()>::new(&engine).instantiate_and_start(&mut store, &module).ok()?;
    let memory = instance.get_memory(&store, "memory")?;
    instance.get_typed_func::<(), ()>(&store, "init").ok()?.call(&mut store, ()).ok()?;
    let alloc = instance.get_typed_func::<u32, u32>(&store, "alloc").ok()?;
    let handle = instance.get_typed_func::<(u32, u32), u64>(&store, "handle").ok()?;
    let len = u32::try_from(input.len()).ok()?;
    let ptr = alloc.call(&mut store, len).ok()?;
    memory.write(&mut store, ptr as usize, input).ok()?;
    let place = handle.call(&mut store, (ptr, len)).ok()?;
    memory.data(&store).get((place >> 32) as usize..)?.get(..(place & 0xffff_ffff) as usize).map(<[u8]>::to_vec)
}

#[test]
fn a_module_without_floats_computes_the_same_without_the_pass() {
    let (engine, mut compared) = (Wasmi::new().unwrap(), 0);
    for seed in 0..modules() {
        let mut draws = Draws(!seed);
        let config = Config {
            allow_floats: false,
            simd_enabled: false,
            available_imports: Some(wat("(module)")),
            disallow_traps: true,
            max_tables: 0,
            ..config(&mut draws)
        };
        let bytes = draws.bytes(6_000);
        let Ok(module) = Module::new(config, &mut Unstructured::new(&bytes)) else { continue };
        let module = module.to_bytes();
        let Ok(instrumented) = pass::instrument(&module) else { continue };
        let compiled = engine.compile(&instrumented).unwrap();
        let outcome = run(&engine, &compiled, &instrumented, || u64::MAX >> 4);
        if let Ending::Output(output) = outcome.ending {
            // Without pauses, an optimised wasmi takes stack for some instructions.
            let thread = std::thread::Builder::new().stack_size(256 << 20);
            let plain = thread.spawn(move || plain(&module, &[7; 100])).unwrap().join().unwrap();
            assert_eq!(Some(output.to_vec()), plain, "seed {seed}");
            compared += 1;
        }
    }
    println!("compared with plain wasmi: {compared}");
}
