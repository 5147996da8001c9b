//! The same plan in two processes is the same run, packet for packet.
//!
//! A fleet whose timers are broken repeats as well: the program itself fails if the files do not come back.

use std::process::Command;

/// QUIC, and streams without it.
const LEVELS: [&str; 2] = ["streams=0", "streams=1"];

/// Runs a small fleet through a day in a process of its own. Returns for every phase what happened, by count and hash
/// of all packets, without what it cost.
fn day(level: &str, seed: u64, aslr: bool, tunables: &str) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pangea-sim"));
    command.args(["fleet-bench", "nodes=8", "files=2", "bytes=300000", "seconds=240", "stagger=500"]);
    command.args([level.to_owned(), format!("seed={seed}"), format!("aslr={}", u8::from(aslr))]);
    let output = command.env("GLIBC_TUNABLES", tunables).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let phases = String::from_utf8(output.stdout).unwrap();
    let happened = |line: &str| {
        let (time, rest) = line.trim().split_once(' ').unwrap();
        format!("{time} {}", rest.split_once("connection ends").unwrap().1)
    };
    phases.lines().map(happened).collect()
}

#[test]
fn addresses_and_the_allocator_do_not_change_a_run() {
    for level in LEVELS {
        let first = day(level, 5, false, "");
        assert!(first.len() >= 8, "{first:#?}");
        // No caches, and every larger allocation in pages of its own: other addresses, in another order.
        let again = day(level, 5, true, "glibc.malloc.tcache_count=0:glibc.malloc.mmap_threshold=8192");
        assert_eq!(first, again, "{level}");
    }
}

#[test]
fn another_seed_is_another_run() {
    for level in LEVELS {
        assert_ne!(day(level, 5, false, "").last(), day(level, 6, false, "").last(), "{level}");
    }
}
