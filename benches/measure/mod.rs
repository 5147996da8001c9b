//! What the benches of whole nodes share: the machine they ran on, CPU time and memory of processes, medians, bars.
//!
//! Not here: what is measured (`end_to_end/`, `fabric/`, `node.rs`); who cleans up (`supervisor`); a network driver alone
//! (`network`).

#![allow(dead_code, clippy::result_large_err)] // No bench uses all of it.

pub mod network;
pub mod supervisor;

use std::{fs, time::Duration};

/// A number from the environment, or `default`.
///
/// # Panics
/// If the variable is set and is no number: a bench must not run with another size than its user meant.
pub fn number(variable: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(variable) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number"))
}

/// One line about this machine: cores, load, memory, kernel.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ");
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |at| at.1);
    let memory = field(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0) >> 20;
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
    format!("machine: {cores} cores ({model}), load {load}, {memory} GiB, Linux {kernel}")
}

/// CPU seconds, user and system, of a living process. Resolution: a clock tick, 10 ms.
///
/// # Panics
/// If there is no such process.
pub fn cpu_of(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The second field, the program's name, may hold spaces; utime and stime are the 14th and 15th.
    let after_name = stat.rsplit_once(") ").unwrap().1;
    let ticks: u64 = after_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    // SAFETY: sysconf has no preconditions.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    ticks as f64 / per_second as f64
}

/// CPU seconds of all children of this process that have ended and were waited for.
pub fn cpu_of_children() -> f64 {
    cpu_usage(libc::RUSAGE_CHILDREN)
}

/// CPU seconds of this process, threads that have ended included.
pub fn cpu_of_self() -> f64 {
    cpu_usage(libc::RUSAGE_SELF)
}

fn cpu_usage(who: libc::c_int) -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is valid for writes of a rusage, and all-zero bytes are a valid rusage.
    let usage = unsafe {
        libc::getrusage(who, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Memory of a process, in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// All that is resident.
    pub rss: f64,
    /// The part that no file backs: heap and stacks.
    pub anonymous: f64,
    /// The most that was ever resident.
    pub peak: f64,
    /// Threads.
    pub threads: u64,
}

/// Memory of a living process.
///
/// # Panics
/// If there is no such process.
pub fn memory_of(pid: u32) -> Memory {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mib = |name| field(&status, name).unwrap() as f64 / 1024.0;
    Memory {
        rss: mib("VmRSS:"),
        anonymous: mib("RssAnon:"),
        peak: mib("VmHWM:"),
        threads: field(&status, "Threads:").unwrap(),
    }
}

/// The number after `name` at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// The middle of the values; of an even count the upper one of the two.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    quantile(values, 0.5)
}

/// The value below which a part of all values lie.
pub fn quantile(values: impl IntoIterator<Item = f64>, part: f64) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * part) as usize;
    values.get(place.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Milliseconds, with fractions.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The bars of a bench and whether they were met.
#[derive(Default)]
pub struct Bars {
    missed: usize,
}

impl Bars {
    /// `value` must be at most `bar`.
    pub fn at_most(&mut self, what: &str, value: f64, bar: f64, unit: &str) {
        self.tell(what, value, "<=", bar, unit, value <= bar);
    }

    /// `value` must be at least `bar`.
    pub fn at_least(&mut self, what: &str, value: f64, bar: f64, unit: &str) {
        self.tell(what, value, ">=", bar, unit, value >= bar);
    }

    fn tell(&mut self, what: &str, value: f64, relation: &str, bar: f64, unit: &str, met: bool) {
        let verdict = if met { "PASS" } else { "MISS" };
        println!("{verdict}  {what:<52} {value:>9.2} {unit:<8} bar {relation} {bar} {unit}");
        self.missed += usize::from(!met);
    }

    /// What the process shall exit with.
    pub fn exit_code(&self) -> i32 {
        i32::from(self.missed > 0)
    }
}
