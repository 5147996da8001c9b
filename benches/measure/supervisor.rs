//! Whatever happens to a bench, its processes and files are gone afterwards.
//!
//! The bench runs as a child in a process group of its own, with a directory to work in. Its parent does nothing but
//! wait, for its end or for a signal; then it kills the group and removes the directory. A panic, Ctrl-C and a kill of
//! the child all end the same way. Only a `kill -9` of the parent leaves something behind.

use std::{
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::Command,
};
use tokio::signal::unix::{SignalKind, signal};

/// Tells the child where to work.
const DIR: &str = "PANGEA_BENCH_DIR";

/// Runs `bench` with an empty directory below `TMPDIR`, and ends this process with what it returns.
pub fn run(name: &str, bench: impl FnOnce(&Path) -> i32) -> ! {
    if let Some(dir) = std::env::var_os(DIR) {
        std::process::exit(bench(Path::new(&dir)));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let code = runtime.block_on(supervise(name));
    drop(runtime);
    std::process::exit(code);
}

async fn supervise(name: &str) -> i32 {
    let mut interrupt = signal(SignalKind::interrupt()).unwrap();
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let mut hangup = signal(SignalKind::hangup()).unwrap();
    let dir = Workplace::new(name);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(std::env::args_os().skip(1)).env(DIR, &dir.0).process_group(0);
    let mut child = tokio::process::Command::from(command).spawn().unwrap();
    let group = Group(child.id().unwrap());
    let code = tokio::select! {
        status = child.wait() => status.map_or(1, |status| status.code().unwrap_or(128 + status.signal().unwrap_or(0))),
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
        _ = hangup.recv() => 129,
    };
    drop(group);
    // Killed processes may still write for an instant: the directory goes when the last of them has gone.
    drop(dir);
    code
}

/// The bench and all that it started.
struct Group(u32);

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: kill has no memory preconditions. The group's leader is our child; if it was waited for already and
        // no other member lives, the call fails and does nothing.
        unsafe { libc::kill(-(self.0 as libc::pid_t), libc::SIGKILL) };
    }
}

/// A directory that disappears with its owner.
struct Workplace(PathBuf);

impl Workplace {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("pangea-bench-{name}-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // A killed process may create a file while the directory is being removed.
        for _ in 0..50 {
            match std::fs::remove_dir_all(&self.0) {
                Ok(()) => return,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
        }
        eprintln!("{} could not be removed", self.0.display());
    }
}
