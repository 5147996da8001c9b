//! The overrides of `getrandom`, `getentropy` and `syscall`: on a virtual thread, entropy is a stream of the seed.
//!
//! `syscall` because ring asks the kernel directly. Other system calls pass through.

use super::{is_virtual, passthrough::Real};
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng, SeedableRng},
};
use std::{
    ffi::{c_int, c_long, c_uint, c_void},
    slice,
    sync::{Mutex, PoisonError},
};

static GETRANDOM: Real = Real::new(c"getrandom");
static GETENTROPY: Real = Real::new(c"getentropy");
static SYSCALL: Real = Real::new(c"syscall");

static STREAM: Mutex<Option<ChaCha12Rng>> = Mutex::new(None);

/// Begins the stream of a seed.
pub(super) fn seed(seed: u64) {
    *STREAM.lock().unwrap_or_else(PoisonError::into_inner) = Some(ChaCha12Rng::seed_from_u64(seed));
}

/// Fills `len` bytes from the stream; false if this thread's entropy is the real one.
///
/// # Safety
/// `buffer` points to `len` bytes that may be written.
unsafe fn fill(buffer: *mut c_void, len: usize) -> bool {
    if !is_virtual() {
        return false;
    }
    let mut stream = STREAM.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(stream) = stream.as_mut().filter(|_| len > 0) else { return len == 0 };
    // SAFETY: the caller promises it.
    let bytes = unsafe { slice::from_raw_parts_mut(buffer.cast::<u8>(), len) };
    stream.fill_bytes(bytes);
    true
}

/// The override.
///
/// # Safety
/// As the C library's: `buffer` points to `len` bytes that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, len: libc::size_t, flags: c_uint) -> libc::ssize_t {
    type Getrandom = unsafe extern "C" fn(*mut c_void, libc::size_t, c_uint) -> libc::ssize_t;
    // SAFETY: the caller promises what `fill` asks for.
    if unsafe { fill(buffer, len) } {
        return libc::ssize_t::try_from(len).unwrap_or(-1);
    }
    let Some(address) = GETRANDOM.address() else { return -1 };
    // SAFETY: the address is that of the C library's function of this name, whose signature this is.
    unsafe { std::mem::transmute::<usize, Getrandom>(address)(buffer, len, flags) }
}

/// The override.
///
/// # Safety
/// As the C library's: `buffer` points to `len` bytes that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getentropy(buffer: *mut c_void, len: libc::size_t) -> c_int {
    type Getentropy = unsafe extern "C" fn(*mut c_void, libc::size_t) -> c_int;
    // SAFETY: the caller promises what `fill` asks for.
    if unsafe { fill(buffer, len) } {
        return 0;
    }
    let Some(address) = GETENTROPY.address() else { return -1 };
    // SAFETY: the address is that of the C library's function of this name, whose signature this is.
    unsafe { std::mem::transmute::<usize, Getentropy>(address)(buffer, len) }
}

/// The override. The C library's is variadic; on Linux its arguments are passed as those of this function.
///
/// # Safety
/// As the system call's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    type Syscall = unsafe extern "C" fn(c_long, ...) -> c_long;
    if number == libc::SYS_getrandom {
        let len = usize::try_from(b).unwrap_or(0);
        // SAFETY: the caller promises what the system call asks for: `b` bytes at `a`.
        if unsafe { fill(a as *mut c_void, len) } {
            return b;
        }
    }
    let Some(address) = SYSCALL.address() else { return -1 };
    // SAFETY: the address is that of the C library's function of this name, whose signature this is; it takes as many
    // arguments as the system call needs and ignores the others.
    unsafe { std::mem::transmute::<usize, Syscall>(address)(number, a, b, c, d, e, f) }
}
