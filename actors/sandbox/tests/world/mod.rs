//! Guests as text, and how tests run them. Not here: any test.
#![allow(dead_code, clippy::unwrap_used)]

use pangea_protocols::task::{Capabilities, Capability, Ending, Input, Limits, Outcome, Trap};
use pangea_sandbox::{
    engine::{Engine, Instance, Slice, Wasmi, host::Line},
    pass,
};

/// Compiles text.
pub fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// A guest whose `handle` has this body; `more` comes before it.
pub fn guest_with(more: &str, handle: &str) -> Vec<u8> {
    let imports = more.split("(;rest;)").next().unwrap_or_default();
    let rest = more.split("(;rest;)").nth(1).unwrap_or_default();
    wat(&format!(
        r#"(module {imports}
            (memory (export "memory") 1)
            {rest}
            (func (export "alloc") (param i32) (result i32) (i32.const 1024))
            (func (export "handle") (param $ptr i32) (param $len i32) (result i64) {handle}))"#
    ))
}

/// A guest whose `handle` has this body. Its output is the 8 bytes at 0 if it ends with [`OUT`].
pub fn guest(handle: &str) -> Vec<u8> {
    guest_with("", handle)
}

/// Returns the 8 bytes at address 0.
pub const OUT: &str = "(i64.const 8)";

/// The capabilities, all of them.
pub fn all() -> Capabilities {
    Capability::ALL.into_iter().collect()
}

/// Small limits, so that tests end soon.
pub fn limits() -> Limits {
    Limits { gas: 1_000_000, memory_bytes: 1 << 20, output_bytes: 4096, log_bytes: 1024, ..Limits::default() }
}

/// An engine.
pub fn engine() -> Wasmi {
    Wasmi::new().unwrap()
}

/// What a run came to, and what it logged.
pub fn run_logged(module: &[u8], limits: Limits, input: Input, mut slice: impl FnMut() -> u64) -> (Outcome, Vec<Line>) {
    let engine = engine();
    let instrumented = pass::instrument(module).unwrap();
    let module = engine.compile(&instrumented).unwrap();
    let mut instance = match Instance::new(&engine, &module, instrumented.setup_gas, limits, input) {
        Ok(instance) => instance,
        Err(Slice::Done(outcome)) => return (outcome, Vec::new()),
        Err(other) => panic!("{other:?}"),
    };
    let mut lines = Vec::new();
    loop {
        let ran = instance.run_slice(slice());
        lines.extend(instance.take_lines());
        match ran {
            Slice::Running => {}
            Slice::Done(outcome) => return (outcome, lines),
            Slice::Failed(message) => panic!("{message}"),
        }
    }
}

/// What a run in one slice came to.
pub fn run(module: &[u8], limits: Limits, input: &[u8]) -> Outcome {
    run_logged(module, limits, Input { bytes: input.to_vec().into(), ..Input::default() }, || u64::MAX >> 4).0
}

/// The output, if there is one.
pub fn output(outcome: &Outcome) -> &[u8] {
    match &outcome.ending {
        Ending::Output(bytes) => bytes,
        Ending::Trapped(trap) => panic!("trapped: {trap}"),
    }
}

/// The trap, if there is one.
pub fn trap(outcome: &Outcome) -> Trap {
    match &outcome.ending {
        Ending::Trapped(trap) => *trap,
        Ending::Output(bytes) => panic!("returned {bytes:?}"),
    }
}

/// The kernels of `guests/kernels.c`.
pub const KERNELS: &[u8] = include_bytes!("../../guests/kernels.wasm");

/// Their names, and a size that takes some milliseconds.
pub const KERNEL_SIZES: [(&str, u32); 6] =
    [("sha256", 40), ("matmul", 12), ("sieve", 5_000), ("nbody", 50), ("sort", 800), ("words", 3_000)];

/// Input of a kernel.
pub fn kernel_input(kernel: usize, n: u32) -> Vec<u8> {
    let mut input = vec![u8::try_from(kernel).unwrap()];
    input.extend(n.to_le_bytes());
    input
}
