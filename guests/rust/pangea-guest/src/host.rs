//! What a module may import. Each is imported only by a module that calls it, and must be granted to it.
//!
//! Off wasm32 these are the stand-ins of [`native`](https://docs.rs/pangea-guest/latest/pangea_guest/native).

/// How much a line of log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What ended the task, or made its result worse.
    Error = 0,
    /// What an author should look at.
    Warning = 1,
    /// How it goes.
    Info = 2,
    /// For whoever writes the task.
    Debug = 3,
}

#[cfg(target_arch = "wasm32")]
mod import {
    #[link(wasm_import_module = "pangea")]
    unsafe extern "C" {
        pub fn log(level: u32, ptr: *const u8, len: usize);
        pub fn send(ptr: *const u8, len: usize);
        pub safe fn now() -> u64;
        pub fn random(ptr: *mut u8, len: usize);
        pub fn chunk_read(chunk: u32, offset: u64, ptr: *mut u8, len: usize) -> i32;
    }
}

/// A line for whoever debugs the task. Beyond the host's limit (64 KiB by default) lines are dropped.
pub fn log(level: Level, line: &str) {
    // SAFETY: the host reads so many bytes.
    #[cfg(target_arch = "wasm32")]
    unsafe {
        import::log(level as u32, line.as_ptr(), line.len());
    }
    #[cfg(not(target_arch = "wasm32"))]
    crate::native::with(|native| native.lines.push((level, line.into())));
}

/// A message for whoever runs the task. Messages and output share a limit (16 MiB by default), beyond which it traps.
pub fn send(message: &[u8]) {
    // SAFETY: the host reads so many bytes.
    #[cfg(target_arch = "wasm32")]
    unsafe {
        import::send(message.as_ptr(), message.len());
    }
    #[cfg(not(target_arch = "wasm32"))]
    crate::native::with(|native| native.sent.push(message.into()));
}

/// Milliseconds since 1970, as the caller of the task wrote them down; the same during a call.
pub fn now() -> u64 {
    #[cfg(target_arch = "wasm32")]
    return import::now();
    #[cfg(not(target_arch = "wasm32"))]
    crate::native::with(|native| native.unix_ms)
}

/// Fills `bytes` with what follows from the seed of the call: the same wherever the task runs.
pub fn random(bytes: &mut [u8]) {
    // SAFETY: the host writes so many bytes.
    #[cfg(target_arch = "wasm32")]
    unsafe {
        import::random(bytes.as_mut_ptr(), bytes.len());
    }
    #[cfg(not(target_arch = "wasm32"))]
    crate::native::with(|native| native.random(bytes));
}

/// Reads data that was given beside the input, from `offset` on: how many bytes were read, fewer than `into` has room
/// for at the end; `None` if there is no such chunk.
pub fn chunk_read(chunk: u32, offset: u64, into: &mut [u8]) -> Option<usize> {
    // SAFETY: the host writes at most so many bytes.
    #[cfg(target_arch = "wasm32")]
    return usize::try_from(unsafe { import::chunk_read(chunk, offset, into.as_mut_ptr(), into.len()) }).ok();
    #[cfg(not(target_arch = "wasm32"))]
    crate::native::with(|native| native.chunk_read(chunk, offset, into))
}
