//! Every way out of the jail is closed. The child tries it from a thread that is older than the jail, and says what came of
//! it by its exit code.

use crate::driver::{Driver, settings};
use pangea::drivers::sandbox::{
    Jail,
    attempt::{Attempt, REFUSED, SUCCEEDED},
};
use std::{
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    process::{Command, Stdio},
};

/// The exit code of a child that tries something within these layers.
fn attempt(attempt: Attempt, layers: &str) -> Option<i32> {
    attempt_with("wasmi", attempt, layers)
}

fn attempt_with(engine: &str, attempt: Attempt, layers: &str) -> Option<i32> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pangea"));
    command.args(["sandbox-worker", "--threads", "2", "--cache-bytes", "1000", "--memory-bytes", "100000000"]);
    command.args(["--engine", engine, "--layers", layers, "--attempt", &attempt.name()]);
    if attempt != Attempt::Env || layers != "none" {
        command.env_clear();
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().code()
}

/// A descriptor that every process that is started from here on inherits, as a careless program leaves them.
fn leave_a_descriptor() -> OwnedFd {
    let file = std::fs::File::open(env!("CARGO_MANIFEST_DIR").to_owned() + "/Cargo.toml").unwrap();
    // SAFETY: duplicates an open descriptor, without the flag that closes it in children; the result is owned here alone.
    unsafe { OwnedFd::from_raw_fd(libc::dup(file.as_raw_fd())) }
}

#[test]
#[cfg(target_os = "linux")]
fn every_attempt_succeeds_without_the_jail_and_is_refused_within() {
    let _left = leave_a_descriptor();
    for one in Attempt::ALL {
        // A system may forbid this one to all.
        if one != Attempt::Ptrace {
            assert_eq!(attempt(one, "none"), Some(SUCCEEDED.into()), "{one:?} without the jail");
        }
        assert_eq!(attempt(one, "all"), Some(REFUSED.into()), "{one:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn landlock_and_limits_hold_by_themselves() {
    let driver = Driver::start(settings(1)).unwrap();
    let jail = driver.process.status().jail;
    assert!(jail.limits && jail.seccomp, "{jail}");
    driver.end();
    let _left = leave_a_descriptor();
    for one in [Attempt::Create, Attempt::Memory, Attempt::Inherit] {
        assert_eq!(attempt(one, "landlock"), Some(REFUSED.into()), "{one:?}");
    }
    if jail == Jail::WHOLE {
        for one in [Attempt::Open, Attempt::Exec] {
            assert_eq!(attempt(one, "landlock"), Some(REFUSED.into()), "{one:?}");
        }
    }
}

#[test]
#[cfg(all(target_os = "linux", feature = "jit"))]
fn a_compiler_may_make_code_and_nothing_else() {
    let _left = leave_a_descriptor();
    for one in Attempt::ALL {
        let expected = if one == Attempt::Code { SUCCEEDED } else { REFUSED };
        assert_eq!(attempt_with("jit", one, "all"), Some(expected.into()), "{one:?}");
    }
}
