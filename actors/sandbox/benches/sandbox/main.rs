//! The sandbox against plain wasmi and against native code; what an instance, a slice, a host call and a message cost.
//!
//! ```text
//! cargo bench -p pangea-sandbox --bench sandbox
//! ```
//!
//! # Method
//!
//! CPU time of this thread. What is compared runs in turns, and a ratio is the median of the ratios of neighbours, so
//! that a machine that grows slower or faster meanwhile does not favour one side. The kernels are those of
//! `guests/kernels.c`, once compiled by clang for WebAssembly and once by rustc for this processor (`native`); all
//! variants must give the same checksum. `SANDBOX_BENCH_RUNS` (default 15) is the runs per median.
//!
//! - **plain**: wasmi without the pass and without fuel, compiled eagerly.
//! - **fuel**: plain, with wasmi's own metering on: what a gas that no other engine shares costs.
//! - **pass**: the sandbox, in one slice. **sliced**: in slices of 100,000 gas.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

mod native;

use bytes::Bytes;
use pangea_protocols::task::{Ending, Input, Limits};
use pangea_sandbox::{
    engine::{Engine, Instance, Slice, Wasmi},
    pass::{self, Instrumented},
};
use std::hint::black_box;

const KERNELS: &[u8] = include_bytes!("../../guests/kernels.wasm");
/// Names of the kernels, and sizes that take an interpreter some milliseconds.
const SIZES: [(&str, u32); 6] =
    [("sha256", 1_000), ("matmul", 96), ("sieve", 500_000), ("nbody", 5_000), ("sort", 50_000), ("words", 300_000)];

fn main() {
    let runs = std::env::var("SANDBOX_BENCH_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(15);
    let bench = Bench::new(KERNELS);
    let (before, after) = (KERNELS.len(), bench.pass.bytes.len());
    println!("module: {before} bytes, {after} after the pass ({:.2} x)", after as f64 / before as f64);
    kernels(&bench, runs);
    compiling(runs);
    instances(&bench, runs);
    messages(runs);
    host_calls(runs);
    #[cfg(feature = "jit")]
    jit(&bench, runs);
}

/// CPU seconds that `work` takes this thread.
fn cpu<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let before = thread_cpu();
    let result = work();
    (thread_cpu() - before, result)
}

fn thread_cpu() -> f64 {
    // SAFETY: zeroes are a valid timespec, and the pointer is to a local that outlives the call.
    let time = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time);
        time
    };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn ratio(over: &[f64], under: &[f64]) -> f64 {
    median(over.iter().zip(under).map(|(over, under)| over / under).collect())
}

fn mean(ratios: &[f64]) -> f64 {
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp()
}

struct Bench<E: Engine = Wasmi> {
    engine: E,
    pass: Instrumented,
    module: E::Module,
}

impl Bench {
    fn new(module: &[u8]) -> Self {
        Self::on(Wasmi::new().unwrap(), module)
    }
}

impl<E: Engine> Bench<E> {
    fn on(engine: E, module: &[u8]) -> Self {
        let pass = pass::instrument(module).unwrap();
        let module = engine.compile(&pass).unwrap();
        Self { engine, pass, module }
    }

    fn instance(&self, input: Bytes) -> Instance<E::Machine> {
        let limits = Limits { gas: 1 << 40, ..Limits::default() };
        let input = Input { bytes: input, ..Input::default() };
        Instance::new(&self.engine, &self.module, self.pass.setup_gas, limits, input)
            .unwrap_or_else(|slice| panic!("{slice:?}"))
    }

    /// CPU seconds, output, gas and slices of one task.
    fn run(&self, input: &[u8], slice: u64) -> (f64, Bytes, u64, u64) {
        let mut instance = self.instance(Bytes::copy_from_slice(input));
        let mut slices = 0;
        let (seconds, outcome) = cpu(|| {
            loop {
                slices += 1;
                match instance.run_slice(slice) {
                    Slice::Running => {}
                    Slice::Done(outcome) => return outcome,
                    Slice::Failed(message) => panic!("{message}"),
                }
            }
        });
        let Ending::Output(output) = outcome.ending else { panic!("{outcome:?}") };
        (seconds, output, outcome.gas, slices)
    }
}

/// Plain wasmi, from a fresh instance.
struct Plain(wasmi::Engine, wasmi::Module);

impl Plain {
    fn new(module: &[u8], fuel: bool) -> Self {
        let mut config = wasmi::Config::default();
        config.consume_fuel(fuel).compilation_mode(wasmi::CompilationMode::Eager);
        let engine = wasmi::Engine::new(&config);
        let module = wasmi::Module::new(&engine, module).unwrap();
        Self(engine, module)
    }

    fn run(&self, input: &[u8]) -> (f64, Vec<u8>) {
        let mut store = wasmi::Store::new(&self.0, ());
        // An error means that fuel is off.
        let _ = store.set_fuel(u64::MAX / 2);
        let instance = wasmi::Linker::<()>::new(&self.0).instantiate_and_start(&mut store, &self.1).unwrap();
        let memory = instance.get_memory(&store, "memory").unwrap();
        let alloc = instance.get_typed_func::<u32, u32>(&store, "alloc").unwrap();
        let handle = instance.get_typed_func::<(u32, u32), u64>(&store, "handle").unwrap();
        let len = u32::try_from(input.len()).unwrap();
        cpu(|| {
            let ptr = alloc.call(&mut store, len).unwrap();
            memory.write(&mut store, ptr as usize, input).unwrap();
            let place = handle.call(&mut store, (ptr, len)).unwrap();
            let mut output = vec![0; (place & 0xffff_ffff) as usize];
            memory.read(&store, (place >> 32) as usize, &mut output).unwrap();
            output
        })
    }
}

fn kernels(bench: &Bench, runs: usize) {
    println!("\nkernel   native ms | x native: plain  pass | x plain: fuel  pass  sliced (slices) | ns per gas");
    let (plain, fuel) = (Plain::new(KERNELS, false), Plain::new(KERNELS, true));
    let (mut to_native, mut to_plain) = (Vec::new(), Vec::new());
    for (kernel, (name, n)) in SIZES.into_iter().enumerate() {
        let kernel = u8::try_from(kernel).unwrap();
        let input: Vec<u8> = [kernel].into_iter().chain(n.to_le_bytes()).collect();
        let mut times: [Vec<f64>; 5] = Default::default();
        let (mut gas, mut slices) = (0, 0);
        for _ in 0..runs {
            let (native, expected) = cpu(|| native::run(black_box(kernel), black_box(n)).to_le_bytes());
            let one = plain.run(&input);
            let metered = fuel.run(&input);
            let whole = bench.run(&input, u64::MAX >> 4);
            let sliced = bench.run(&input, 100_000);
            for output in [&one.1[..], &metered.1, &whole.1, &sliced.1] {
                assert_eq!(output, expected, "{name}");
            }
            assert_eq!(whole.2, sliced.2);
            (gas, slices) = (whole.2, sliced.3);
            for (times, time) in times.iter_mut().zip([native, one.0, metered.0, whole.0, sliced.0]) {
                times.push(time);
            }
        }
        let [native, plain, fuel, whole, sliced] = &times;
        to_native.push(ratio(whole, native));
        to_plain.push(ratio(whole, plain));
        println!(
            "{name:<8} {:>9.3} | {:>15.1} {:>5.1} | {:>13.2} {:>5.2} {:>7.2} ({slices:>6}) | {:.2}",
            median(native.clone()) * 1e3,
            ratio(plain, native),
            ratio(whole, native),
            ratio(fuel, plain),
            ratio(whole, plain),
            ratio(sliced, plain),
            median(whole.clone()) * 1e9 / gas as f64,
        );
    }
    println!("geometric mean: pass {:.1} x native, {:.2} x plain", mean(&to_native), mean(&to_plain));
}

/// The compiler against native code; bar: at most twice as long, as the geometric mean.
#[cfg(feature = "jit")]
fn jit(wasmi: &Bench, runs: usize) {
    const NATIVE_MAX: f64 = 2.0;
    let engine = || pangea_sandbox::engine::Jit::new().unwrap();
    let (seconds, bench) = cpu(|| Bench::on(engine(), KERNELS));
    println!("\njit: engine, pass and compile {:.1} ms", seconds * 1e3);
    println!("kernel   native ms | x native: jit  sliced (slices) | x faster than wasmi");
    let (mut to_native, mut to_wasmi) = (Vec::new(), Vec::new());
    for (kernel, (name, n)) in SIZES.into_iter().enumerate() {
        let kernel = u8::try_from(kernel).unwrap();
        let input: Vec<u8> = [kernel].into_iter().chain(n.to_le_bytes()).collect();
        let mut times: [Vec<f64>; 4] = Default::default();
        let mut slices = 0;
        for _ in 0..runs {
            let (native, expected) = cpu(|| native::run(black_box(kernel), black_box(n)).to_le_bytes());
            let whole = bench.run(&input, u64::MAX >> 4);
            let sliced = bench.run(&input, 100_000);
            let interpreted = wasmi.run(&input, u64::MAX >> 4);
            for (output, gas) in [(&whole.1, whole.2), (&sliced.1, sliced.2)] {
                assert_eq!((&output[..], gas), (&expected[..], interpreted.2), "{name}");
            }
            slices = sliced.3;
            for (times, time) in times.iter_mut().zip([native, whole.0, sliced.0, interpreted.0]) {
                times.push(time);
            }
        }
        let [native, whole, sliced, interpreted] = &times;
        to_native.push(ratio(whole, native));
        to_wasmi.push(ratio(interpreted, whole));
        println!(
            "{name:<8} {:>9.3} | {:>13.2} {:>7.2} ({slices:>6}) | {:.1}",
            median(native.clone()) * 1e3,
            ratio(whole, native),
            ratio(sliced, native),
            ratio(interpreted, whole),
        );
    }
    let verdict = if mean(&to_native) <= NATIVE_MAX { "PASS" } else { "MISS" };
    println!("geometric mean: {:.2} x native, {:.1} x faster than wasmi", mean(&to_native), mean(&to_wasmi));
    println!("{verdict}  bar: at most {NATIVE_MAX} x native");
    let fresh = each(runs, 200, || {
        black_box(bench.run(&[5u8, 1, 0, 0, 0], u64::MAX >> 4));
    });
    println!("fresh instance, call and drop: {fresh:.1} us");
}

fn compiling(runs: usize) {
    let engine = Wasmi::new().unwrap();
    let (mut passes, mut compiles) = (Vec::new(), Vec::new());
    for _ in 0..runs.max(5) {
        let (seconds, pass) = cpu(|| pass::instrument(black_box(KERNELS)).unwrap());
        passes.push(seconds);
        compiles.push(cpu(|| engine.compile(&pass).unwrap()).0);
    }
    let rate = KERNELS.len() as f64 / median(passes.clone()) / 1e6;
    println!("\npass {:.0} us ({rate:.1} MB/s), compile {:.0} us", median(passes) * 1e6, median(compiles) * 1e6);
}

/// Microseconds of `times` repetitions of `work`, per repetition, as the median of some rounds.
fn each(runs: usize, times: u32, mut work: impl FnMut()) -> f64 {
    let round = |_| cpu(|| (0..times).for_each(|_| work())).0 / f64::from(times) * 1e6;
    median((0..runs).map(round).collect())
}

fn instances(bench: &Bench, runs: usize) {
    let input = [5u8, 1, 0, 0, 0];
    let fresh = each(runs, 500, || {
        black_box(bench.run(&input, u64::MAX >> 4));
    });
    println!("fresh instance, call and drop: {fresh:.1} us");
    let sieve: Vec<u8> = [2u8].into_iter().chain(200_000u32.to_le_bytes()).collect();
    let (mut whole, mut sliced, mut slices) = (Vec::new(), Vec::new(), 0);
    for _ in 0..runs {
        whole.push(bench.run(&sieve, u64::MAX >> 4).0);
        let cut = bench.run(&sieve, 1_000);
        sliced.push(cut.0);
        slices = cut.3;
    }
    let extra = median(sliced) - median(whole);
    println!("pause and resume: {:.0} ns ({slices} slices of 1,000 gas)", extra * 1e9 / slices as f64);
}

fn guest(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn messages(runs: usize) {
    let echo = Bench::new(&guest(
        r#"(module (memory (export "memory") 1)
            (func (export "alloc") (param i32) (result i32) (i32.const 1024))
            (func (export "handle") (param i32 i32) (result i64)
                (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1)))))"#,
    ));
    for bytes in [64usize, 4096] {
        let message = Bytes::from(vec![7; bytes]);
        let mut instance = echo.instance(message.clone());
        let _ = instance.run_slice(1 << 20);
        let micros = each(runs, 5_000, || {
            instance.begin(Input { bytes: message.clone(), ..Input::default() });
            let Slice::Done(outcome) = instance.run_slice(1 << 20) else { panic!() };
            assert!(matches!(outcome.ending, Ending::Output(output) if output == message));
        });
        println!("message of {bytes} B to a guest and back: {micros:.2} us");
    }
}

fn host_calls(runs: usize) {
    let calls = 100_000;
    let loops = |call: &str| {
        Bench::new(&guest(&format!(
            r#"(module (import "pangea" "now" (func $now (result i64))) (import "pangea" "random" (func $random (param i32 i32)))
                (memory (export "memory") 1)
                (func (export "alloc") (param i32) (result i32) (i32.const 1024))
                (func (export "handle") (param i32 i32) (result i64) (local $n i32)
                    (loop {call} (local.set $n (i32.add (local.get $n) (i32.const 1)))
                        (br_if 0 (i32.ne (local.get $n) (i32.const {calls}))))
                    (i64.const 0)))"#
        )))
    };
    let (none, now, random) =
        (loops(""), loops("(drop (call $now))"), loops("(call $random (i32.const 0) (i32.const 32))"));
    let (mut nows, mut randoms) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let base = none.run(b"", u64::MAX >> 4).0;
        nows.push(now.run(b"", u64::MAX >> 4).0 - base);
        randoms.push(random.run(b"", u64::MAX >> 4).0 - base);
    }
    let each = |times| median(times) * 1e9 / f64::from(calls);
    println!("host call: now {:.0} ns, random of 32 B {:.0} ns", each(nows), each(randoms));
}
