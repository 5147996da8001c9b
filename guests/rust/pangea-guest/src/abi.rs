//! What the attributes expand to: the ABI `pangea:1` and the envelope of a job. Nothing here is for authors of tasks.
//!
//! ```text
//! alloc(len) ─▶ room ─▶ the host writes the input ─▶ handle(ptr, len) ─▶ answer ─▶ the host reads the output
//! ```
//!
//! What the attributes refuse, they refuse when the task is compiled:
//!
//! ```compile_fail
//! #[pangea_guest::task(lgo)]
//! fn a_typing_error(input: &[u8]) {}
//! ```
//! ```compile_fail
//! #[pangea_guest::merge]
//! fn a_merge_without_an_execute(parts: pangea_guest::Parts) {}
//! ```
//! ```compile_fail
//! #[pangea_guest::task]
//! async fn something_to_wait_for(input: &[u8]) {}
//! ```
//! ```compile_fail
//! #[pangea_guest::task]
//! struct NoFunction;
//! ```
//! ```compile_fail
//! #[pangea_guest::task]
//! fn a_result_that_is_no_output(input: &[u8]) -> f64 { 0.0 }
//! ```
//! ```compile_fail
//! #[pangea_guest::execute]
//! fn work(input: &[u8]) {}
//! #[pangea_guest::split]
//! fn cut(input: &[u8]) -> Vec<u8> { Vec::new() }
//! ```

use crate::data::{Argument, Chunk, Chunks, Output, call};
use __alloc::vec::Vec;
use core::fmt::Display;

use crate::__alloc;

/// What `abi_version` returns.
pub const VERSION: u32 = 1;

/// Ends the task with a reason: the module traps.
pub type Fail = fn(&dyn Display) -> !;

/// Ends the task; the reason is lost. The module does not import `log`.
pub fn silent() -> Fail {
    |reason| trap(reason)
}

/// Ends the task with a line of log that says why, for panics as well.
pub fn logged() -> Fail {
    #[cfg(all(target_arch = "wasm32", feature = "std"))]
    std::panic::set_hook(std::boxed::Box::new(|panic| tell(panic)));
    #[cfg(all(target_arch = "wasm32", feature = "runtime"))]
    crate::runtime::on_panic(tell);
    |reason| {
        tell(reason);
        trap(reason)
    }
}

fn tell(reason: &dyn Display) {
    crate::host::log(crate::host::Level::Error, &__alloc::format!("{reason}"));
}

#[cfg(target_arch = "wasm32")]
fn trap(_: &dyn Display) -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(not(target_arch = "wasm32"))]
fn trap(reason: &dyn Display) -> ! {
    panic!("the task failed: {reason}")
}

/// Answers a call of a module with a task.
pub fn task<'a, I: Argument<'a>, O: Output>(task: impl FnOnce(I) -> O, input: &'a [u8], fail: Fail) -> Vec<u8> {
    run(task, Chunk { index: 0, total: 1, bytes: input }, fail)
}

/// Answers a call of a module with a job.
pub fn job(
    input: &[u8],
    fail: Fail,
    split: fn(Chunk<'_>, Fail) -> Vec<u8>,
    execute: fn(Chunk<'_>, Fail) -> Vec<u8>,
    merge: fn(Chunk<'_>, Fail) -> Vec<u8>,
) -> Vec<u8> {
    match call(input) {
        Some((b"split", chunk)) => split(chunk, fail),
        Some((b"execute", chunk)) => execute(chunk, fail),
        Some((b"merge", chunk)) => merge(chunk, fail),
        _ => fail(&"this module is for jobs: its input is [entry, index, total, payload] in CBOR"),
    }
}

/// Calls a function of the author's.
pub fn run<'a, I: Argument<'a>, O: Output>(function: impl FnOnce(I) -> O, chunk: Chunk<'a>, fail: Fail) -> Vec<u8> {
    match I::from_chunk(chunk) {
        Ok(argument) => function(argument).into_bytes(fail),
        Err(reason) => fail(&reason),
    }
}

/// Calls the author's split.
pub fn cut<'a, I: Argument<'a>, O: Chunks>(function: impl FnOnce(I) -> O, chunk: Chunk<'a>, fail: Fail) -> Vec<u8> {
    match I::from_chunk(chunk) {
        Ok(argument) => function(argument).into_list(fail),
        Err(reason) => fail(&reason),
    }
}

/// What a job does whose author wrote no `#[split]` or no `#[merge]`: functions of a type go before those of its traits.
pub trait Absent {
    /// There is no split.
    fn __split(_: Chunk<'_>, fail: Fail) -> Vec<u8> {
        fail(&"this module has no #[split]: have the input cut by bytes, lines or records")
    }

    /// There is no merge.
    fn __merge(_: Chunk<'_>, fail: Fail) -> Vec<u8> {
        fail(&"this module has no #[merge]: take the outputs of the chunks as they are")
    }
}

/// Room for an input.
#[cfg(target_arch = "wasm32")]
pub fn room(len: usize) -> *mut u8 {
    let mut room = core::mem::ManuallyDrop::new(Vec::with_capacity(len));
    room.as_mut_ptr()
}

/// Handles an input: its answer stays in place until the module is called again.
///
/// # Safety
/// `ptr` comes from [`room`] with the same `len`, is filled, and is not used afterwards.
#[cfg(target_arch = "wasm32")]
pub unsafe fn handle(ptr: *mut u8, len: usize, answer: fn(&[u8]) -> Vec<u8>) -> u64 {
    use core::cell::Cell;
    struct Last(Cell<Vec<u8>>);
    // SAFETY: WebAssembly without threads: nobody else is there to see it.
    unsafe impl Sync for Last {}
    static LAST: Last = Last(Cell::new(Vec::new()));

    // SAFETY: the caller's promise. `room` made it a vector of `len` bytes.
    let input = unsafe { Vec::from_raw_parts(ptr, len, len) };
    let output = answer(&input);
    let place = (output.as_ptr() as u64) << 32 | output.len() as u64;
    drop(LAST.0.replace(output));
    place
}
