//! The process around a simulation: fixed addresses, a cleared environment.
//!
//! Some hashers seed themselves with addresses. Without address space randomisation those are the same in every run of
//! the same binary; the environment is cleared because its size moves the stack.

use super::allocator;
use std::{env, io, os::unix::process::CommandExt, process::Command};

/// Variables that survive: the terminal's, and what tests need to find their way.
const KEPT: [&str; 8] =
    ["HOME", "TERM", "NO_COLOR", "PATH", "TMPDIR", "RUST_BACKTRACE", "GLIBC_TUNABLES", allocator::OTHER];
/// Asks `personality` for the present one.
const QUERY: libc::c_ulong = 0xffff_ffff;

/// Executes this program again without address space randomisation, with its arguments and a cleared environment.
/// Returns if that has been done already.
///
/// # Errors
/// The system refuses; in containers `personality` may be forbidden.
pub fn fix_addresses() -> io::Result<()> {
    // SAFETY: personality reads and writes a number of this process.
    let persona = unsafe { libc::personality(QUERY) };
    if persona < 0 {
        return Err(io::Error::last_os_error());
    }
    if persona & libc::ADDR_NO_RANDOMIZE != 0 {
        return Ok(());
    }
    let wanted = libc::c_ulong::from((persona | libc::ADDR_NO_RANDOMIZE).unsigned_abs());
    // SAFETY: as above.
    if unsafe { libc::personality(wanted) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let kept = KEPT.iter().filter_map(|name| Some((name, env::var_os(name)?)));
    Err(Command::new("/proc/self/exe")
        .args(env::args_os().skip(1))
        .env_clear()
        .envs(kept)
        .envs([allocator::KEEP])
        .exec())
}
