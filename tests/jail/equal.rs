//! A task in the sandbox process has the outcome, receipt and lines that it has in this process.

use crate::driver::{Driver, begin, echo, finish, guest, install, prepare, settings, with};
use bytes::Bytes;
#[cfg(feature = "jit")]
use pangea::config::EngineName;
use pangea::drivers::sandbox::Settings;
use pangea_protocols::{
    Hash,
    task::{Input, Refusal},
};
use pangea_sandbox::{Workshop, engine::Wasmi, work::Done};

const KERNELS: &[u8] = include_bytes!("../../actors/sandbox/guests/kernels.wasm");
/// With pages of data, as compilers make them.
const WORD_COUNT: &[u8] = include_bytes!("../../guests/built/word-count.wasm");

fn here() -> Workshop<Wasmi> {
    Workshop::new(Wasmi::new().unwrap(), 64 << 20)
}

#[test]
fn outcomes_receipts_and_lines_are_equal() {
    are_equal(settings(2));
}

#[test]
#[cfg(feature = "jit")]
fn outcomes_receipts_and_lines_are_equal_with_the_compiler() {
    are_equal(Settings { engine: EngineName::Jit, ..settings(2) });
}

fn are_equal(settings: Settings) {
    let (driver, here) = (Driver::start(settings).unwrap(), here());
    let talks = "(call $log (i32.const 1) (i32.const 0) (i32.const 5)) (call $send (i32.const 0) (i32.const 3))
        (call $send (i32.const 3) (i32.const 0)) (i64.const 5)";
    let talker = guest("(data (i32.const 0) \"he\\ffo!\")", talks);
    let cases = [
        (echo(), with(b"some words")),
        (echo(), Input { chunks: vec![Bytes::new(), Bytes::from_static(b"chunk")], ..with(b"") }),
        (talker, with(b"")),
        (guest("", "unreachable"), with(b"")),
        (Bytes::from_static(WORD_COUNT), with(b"no envelope of a job")),
        (guest("", "(call $send (i32.const 0) (i32.const 65536)) unreachable"), with(b"")),
    ];
    let kernels = Bytes::from_static(KERNELS);
    let kernel = |kernel: u8, n: u32| {
        let bytes = [&[kernel][..], &n.to_le_bytes()].concat().into();
        (kernels.clone(), Input { bytes, ..Input::default() })
    };
    let sizes = [40, 12, 5_000, 50, 800, 3_000];
    let kernels = sizes.into_iter().enumerate().map(|(index, n)| kernel(index as u8, n));
    for (task, (module, input)) in cases.into_iter().chain(kernels).enumerate() {
        assert_eq!(install(&driver, &module), install(&here, &module));
        let there = finish(&driver, begin(task as u64, &module, input.clone()));
        assert_eq!(there, finish(&here, begin(task as u64, &module, input)), "case {task}");
        assert!(there.is_ok());
    }
    driver.end();
}

#[test]
fn refusals_come_through_the_pipe_as_they_are() {
    let driver = Driver::start(settings(1)).unwrap();
    let long = "n".repeat(90_000);
    let names_much = wat::parse_str(format!(
        r#"(module (import "{long}" "{long}" (func)) (memory (export "memory") 1)
            (func (export "alloc") (param i32) (result i32) (i32.const 0))
            (func (export "handle") (param i32 i32) (result i64) (i64.const 0)))"#
    ));
    for module in [Bytes::from_static(b"no module"), names_much.unwrap().into()] {
        let done = pangea_sandbox::work::Work::run(prepare(&module), &here()).unwrap();
        assert_eq!(crate::driver::Runs::run(&driver, prepare(&module)), done);
        assert!(matches!(done, Done::Prepared { result: Err(_), .. }), "{done:?}");
    }
    let module = Hash::of(&echo());
    assert_eq!(finish(&driver, begin(1, &echo(), with(b""))), Err(Refusal::NotInstalled { module }));
    driver.end();
}

/// What wasmi once took stack of the host for, see `no_instruction_takes_stack_of_the_host` of the sandbox.
#[test]
fn guests_that_are_hard_on_the_stack_do_not_end_the_process() {
    let driver = Driver::start(settings(1)).unwrap();
    let pid = driver.pid();
    let instructions = [
        "(drop (memory.grow (i32.const 0)))",
        "(memory.copy (i32.const 0) (i32.const 1) (i32.const 1))",
        "(memory.fill (i32.const 0) (i32.const 1) (i32.const 1))",
        "(drop (table.grow $t (ref.null func) (i32.const 0)))",
        "(call $f) (call_indirect $t (type $v) (i32.const 0))",
    ];
    for (task, instruction) in instructions.into_iter().enumerate() {
        let more = "(type $v (func)) (table $t 10 20 funcref) (func $f) (elem (i32.const 0) func $f)";
        let module = guest(
            more,
            &format!(
                "(local $n i32) (loop {instruction} (br_if 0 (i32.ne (i32.const 100000)
             (local.tee $n (i32.add (local.get $n) (i32.const 1)))))) (i64.const 0)"
            ),
        );
        install(&driver, &module);
        assert!(finish(&driver, begin(task as u64, &module, with(b""))).is_ok(), "{instruction}");
    }
    let deep = guest("(func $f (local i64 i64 i64) (call $f))", "(call $f) (i64.const 0)");
    install(&driver, &deep);
    assert!(finish(&driver, begin(99, &deep, with(b""))).is_ok());
    assert_eq!(driver.pid(), pid);
    driver.end();
}
