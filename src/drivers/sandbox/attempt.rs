//! Tries what the jail forbids, from within it. Only tests ask for it: they start the sandbox process with an attempt
//! instead of work, and its exit code tells what came of it. The attempt is made on a thread that is older than the jail.

use std::{fs::File, net::UdpSocket, os::unix::process::CommandExt, process::Command, str::FromStr, thread};

/// Exit code of a process whose attempt was refused.
pub const REFUSED: u8 = 40;
/// Exit code of a process whose attempt succeeded.
pub const SUCCEEDED: u8 = 41;

/// Something forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Read a file.
    Open,
    /// Write a file.
    Create,
    /// Make a socket.
    Socket,
    /// Make a process.
    Fork,
    /// Become another program.
    Exec,
    /// Look into the node.
    Ptrace,
    /// See the environment of the node.
    Env,
    /// Signal the node.
    Kill,
    /// Start a thread.
    Thread,
    /// Make memory executable.
    Code,
    /// Take more memory than there is.
    Memory,
    /// Use a descriptor that it inherited.
    Inherit,
}

impl Attempt {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Open,
        Self::Create,
        Self::Socket,
        Self::Fork,
        Self::Exec,
        Self::Ptrace,
        Self::Env,
        Self::Kill,
        Self::Thread,
        Self::Code,
        Self::Memory,
        Self::Inherit,
    ];

    /// As a word of the command line.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// What it needs to know before the jail is closed.
    pub(super) fn prepare(self, memory_bytes: u64) -> Prepared {
        let memory = usize::try_from(memory_bytes).unwrap_or(usize::MAX);
        Prepared { attempt: self, memory, parent: std::os::unix::process::parent_id() }
    }
}

impl FromStr for Attempt {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|attempt| attempt.name() == word).ok_or_else(|| {
            let names: Vec<String> = Self::ALL.into_iter().map(Self::name).collect();
            format!("there are {}", names.join(", "))
        })
    }
}

/// An attempt, and what it needs.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    attempt: Attempt,
    memory: usize,
    parent: u32,
}

impl Prepared {
    /// Tries, and ends the process.
    pub fn try_it(&self) {
        let succeeded = match self.attempt {
            Attempt::Open => File::open("/etc/hostname").or_else(|_| File::open("/etc/passwd")).is_ok(),
            Attempt::Create => File::create(std::env::temp_dir().join("pangea-sandbox-attempt")).is_ok(),
            Attempt::Socket => UdpSocket::bind("127.0.0.1:0").is_ok(),
            Attempt::Fork => Command::new("/bin/true").spawn().and_then(|mut child| child.wait()).is_ok(),
            Attempt::Exec => {
                // Whoever comes after this says that it succeeded, or the attempt failed.
                let _ = Command::new("/bin/sh").args(["-c", &format!("exit {SUCCEEDED}")]).exec();
                false
            }
            Attempt::Ptrace => traces(self.parent),
            Attempt::Env => std::env::vars_os().next().is_some(),
            Attempt::Kill => signals(self.parent),
            Attempt::Thread => thread::Builder::new().spawn(|| ()).is_ok(),
            Attempt::Code => maps_code(),
            Attempt::Memory => {
                let mut taken: Vec<u8> = Vec::new();
                taken.try_reserve_exact(self.memory).is_ok()
            }
            Attempt::Inherit => inherits(),
        };
        std::process::exit(i32::from(if succeeded { SUCCEEDED } else { REFUSED }));
    }
}

/// A signal that does nothing but ask whether it may.
fn signals(process: u32) -> bool {
    let process = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
    process.is_some_and(|process| rustix::process::test_kill_process(process).is_ok())
}

/// A descriptor beside standard input, output and error.
fn inherits() -> bool {
    // SAFETY: reads no bytes into no memory: it only tells whether the descriptor is open for reading.
    (3..64).any(|descriptor| unsafe { libc::read(descriptor, std::ptr::null_mut(), 0) } >= 0)
}

#[cfg(target_os = "linux")]
fn traces(process: u32) -> bool {
    // SAFETY: no memory is passed. What is traced is let go when this process ends, which is next.
    unsafe { libc::ptrace(libc::PTRACE_SEIZE, process, 0, 0) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn traces(_: u32) -> bool {
    true
}

fn maps_code() -> bool {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANON);
    // SAFETY: new memory at an address of the kernel's choice, which nothing else uses; the process ends soon.
    unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) != libc::MAP_FAILED }
}
