//! CPU time and peak memory of child processes, and of this thread. Not here: what the children do.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// What a child process took.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// User and system seconds.
    pub cpu: f64,
    /// Peak resident set.
    pub rss_kib: u64,
    /// Bytes that it stored, before parity.
    pub stored: u64,
}

/// Runs this program again with `arguments`; it prints the stored bytes.
pub fn child(directory: &Path, arguments: &[&str]) -> Run {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments).env("CES_BENCH_DIR", directory).stdout(Stdio::piped());
    let (run, output) = wait(command);
    Run { stored: output.trim().parse().unwrap_or(0), ..run }
}

/// Runs a command to its end: what it took, and what it printed if its output is piped.
#[allow(clippy::zombie_processes)] // `wait4` below waits, and tells what the child took
pub fn wait(mut command: Command) -> (Run, String) {
    let mut child = command.spawn().unwrap();
    let mut output = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        std::io::Read::read_to_string(&mut stdout, &mut output).unwrap();
    }
    let pid = libc::pid_t::try_from(child.id()).unwrap();
    let mut status = 0;
    // SAFETY: zeroes are a valid rusage, and both pointers are to locals that outlive the call. The child is waited
    // for here and nowhere else.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::wait4(pid, &mut status, 0, &mut usage), pid);
        usage
    };
    assert_eq!(status, 0, "{command:?} failed");
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    (Run { cpu, rss_kib: u64::try_from(usage.ru_maxrss).unwrap(), stored: 0 }, output)
}

/// CPU seconds of this thread.
pub fn thread_cpu() -> f64 {
    // SAFETY: zeroes are a valid timespec, and the pointer is to a local that outlives the call.
    let time = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time);
        time
    };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The run with the median CPU time.
pub fn median(runs: &[Run]) -> Run {
    let mut runs = runs.to_vec();
    runs.sort_by(|one, two| one.cpu.total_cmp(&two.cpu));
    runs[runs.len() / 2]
}

/// CPU time of runs over that of their neighbours: the median, and between which ratios it lies.
pub struct Ratio(Vec<f64>);

impl Ratio {
    /// Run n of `over` was next to run n of `under`.
    pub fn new(over: &[Run], under: &[Run]) -> Self {
        let mut ratios: Vec<f64> = over.iter().zip(under).map(|(over, under)| over.cpu / under.cpu).collect();
        ratios.sort_by(f64::total_cmp);
        Self(ratios)
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (ratios, half) = (&self.0, self.0.len() / 2);
        let median = (ratios[half] + ratios[(ratios.len() - 1) / 2]) / 2.0;
        write!(f, "{median:.3} ({:.3} to {:.3}) x", ratios[0], ratios[ratios.len() - 1])
    }
}

/// Bytes of all files below `path`.
pub fn tree_bytes(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { tree_bytes(&path) } else { path.metadata().unwrap().len() }).sum()
}
