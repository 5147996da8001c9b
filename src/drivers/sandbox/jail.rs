//! The jail of the sandbox process: what is left to a guest that breaks out of the engine. Not here: the process.
//!
//! | layer | what it takes away |
//! |---|---|
//! | limits | memory beyond the settings, new files, core dumps, descriptors other than the two pipes, the parent's death |
//! | landlock | the whole file system, TCP, signals to and sockets of processes outside |
//! | seccomp | every system call but some two dozen: no files, sockets, processes, threads, executable memory |
//!
//! Landlock and what a thread may gain through `exec` are inherited by threads that start later, so both come first;
//! seccomp reaches all threads that are there (`TSYNC`) and would not let one start, so it comes last. A call that is not
//! allowed fails with `EPERM`, and does not end the process: the C library tries some that it can do without.
//!
//! Other systems than Linux have no jail here, and an old kernel may lack a layer: [`Jail`] says what was reached.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// How far a process is jailed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jail {
    /// Memory, files and descriptors are limited.
    pub limits: bool,
    /// The file system is out of reach.
    pub landlock: bool,
    /// System calls are filtered.
    pub seccomp: bool,
}

impl Jail {
    /// Every layer.
    pub const WHOLE: Self = Self { limits: true, landlock: true, seccomp: true };
}

impl fmt::Display for Jail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers = [("limits", self.limits), ("landlock", self.landlock), ("seccomp", self.seccomp)];
        let reached: Vec<&str> = layers.into_iter().filter(|(_, reached)| *reached).map(|(name, _)| name).collect();
        f.write_str(if reached.is_empty() { "no jail" } else { "jailed by " })?;
        f.write_str(&reached.join(", "))
    }
}

/// Which layers to build. A node builds all; benches and tests look at fewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layers {
    /// As many as the system has.
    #[default]
    All,
    /// None.
    None,
    /// Without seccomp: shows that landlock holds by itself.
    Landlock,
}

impl Layers {
    /// As a word of the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::None => "none",
            Self::Landlock => "landlock",
        }
    }
}

impl FromStr for Layers {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = [Self::All, Self::None, Self::Landlock];
        known.into_iter().find(|layers| layers.name() == word).ok_or_else(|| "there are all, none, landlock".to_owned())
    }
}

/// What the jail depends on.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Private writable memory of the whole process, in bytes.
    pub memory_bytes: u64,
    /// Memory may become executable: a compiler is at work.
    pub compiles: bool,
    /// What to build.
    pub layers: Layers,
}

/// What is done while the process has one thread. The layers that were reached.
///
/// # Errors
/// The system refused something that it should have: the process must not run guests.
pub fn before_threads(plan: &Plan) -> Result<Jail, String> {
    match plan.layers {
        Layers::None => Ok(Jail::default()),
        Layers::All | Layers::Landlock => system::before_threads(plan),
    }
}

/// What is done when all threads have started.
///
/// # Errors
/// As [`before_threads`].
pub fn after_threads(plan: &Plan, jail: Jail) -> Result<Jail, String> {
    match plan.layers {
        Layers::None | Layers::Landlock => Ok(jail),
        Layers::All => system::after_threads(plan, jail),
    }
}

#[cfg(target_os = "linux")]
mod system {
    use super::{Jail, Plan};
    use landlock::{
        ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope,
    };
    use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    };
    use std::collections::BTreeMap;

    /// The kernel ends this process before any other when memory is short.
    const OOM_FIRST: &str = "1000";
    /// Standard input, output and error: there is nothing else.
    const DESCRIPTORS: u32 = 3;
    /// What landlock can do on the newest kernel that we know; older ones do less.
    const LANDLOCK: ABI = ABI::V6;

    pub fn before_threads(plan: &Plan) -> Result<Jail, String> {
        // Before the process is made opaque, which takes away its own files under /proc, too.
        let _ = std::fs::write("/proc/self/oom_score_adj", OOM_FIRST);
        close_descriptors();
        let told = |what: &'static str| move |error: rustix::io::Errno| format!("cannot {what}: {error}");
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(told("follow the node's end"))?;
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(told("hide its memory"))?;
        rustix::thread::set_no_new_privs(true).map_err(told("give up privileges"))?;
        for (resource, most) in
            [(Resource::Data, plan.memory_bytes), (Resource::Fsize, 0), (Resource::Core, 0), (Resource::Memlock, 0)]
        {
            limit(resource, most)?;
        }
        let landlock = landlock()?;
        // Landlock needs one for a moment.
        limit(Resource::Nofile, DESCRIPTORS.into())?;
        Ok(Jail { limits: true, landlock, seccomp: false })
    }

    pub fn after_threads(plan: &Plan, jail: Jail) -> Result<Jail, String> {
        // Threads count as processes.
        limit(Resource::Nproc, 0)?;
        Ok(Jail { seccomp: seccomp(plan.compiles)?, ..jail })
    }

    fn limit(resource: Resource, most: u64) -> Result<(), String> {
        // Never more than what the process was given.
        let most = rustix::process::getrlimit(resource).maximum.map_or(most, |given| given.min(most));
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        rustix::process::setrlimit(resource, limit).map_err(|error| format!("cannot limit {resource:?}: {error}"))
    }

    /// Descriptors that the node, or whoever started it, left open by mistake.
    fn close_descriptors() {
        // SAFETY: only this thread runs, and it has opened nothing yet but standard input, output and error.
        unsafe { libc::syscall(libc::SYS_close_range, DESCRIPTORS, libc::c_uint::MAX, 0) };
    }

    /// Nothing is allowed beneath: no file, no directory, no port. False on a kernel without landlock.
    fn landlock() -> Result<bool, String> {
        let rules = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
        let rules = rules.handle_access(AccessFs::from_all(LANDLOCK));
        let rules = rules.and_then(|rules| rules.handle_access(AccessNet::from_all(LANDLOCK)));
        let rules = rules.and_then(|rules| rules.scope(Scope::from_all(LANDLOCK)));
        let status = rules.and_then(Ruleset::create).and_then(|rules| rules.restrict_self());
        let status = status.map_err(|error| format!("cannot use landlock: {error}"))?;
        Ok(status.ruleset != RulesetStatus::NotEnforced)
    }

    /// False on a kernel or a processor without it.
    fn seccomp(compiles: bool) -> Result<bool, String> {
        let Ok(processor) = std::env::consts::ARCH.try_into() else { return Ok(false) };
        let told = |error: &dyn std::fmt::Display| format!("cannot filter system calls: {error}");
        let rules = rules(compiles).map_err(|error| told(&error))?;
        let (refuse, allow) = (SeccompAction::Errno(libc::EPERM.unsigned_abs()), SeccompAction::Allow);
        let filter = SeccompFilter::new(rules, refuse, allow, processor).map_err(|error| told(&error))?;
        let program: BpfProgram = filter.try_into().map_err(|error| told(&error))?;
        match seccompiler::apply_filter_all_threads(&program) {
            Ok(()) => Ok(true),
            Err(seccompiler::Error::Seccomp(error)) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(false),
            Err(error) => Err(told(&error)),
        }
    }

    /// Calls that are allowed whatever their arguments.
    const ALLOWED: [i64; 19] = [
        // The pipes.
        libc::SYS_read,
        libc::SYS_write,
        // Memory; making it executable is below.
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_brk,
        // Locks between threads, and what continues one after the process was stopped.
        libc::SYS_futex,
        libc::SYS_restart_syscall,
        libc::SYS_sched_yield,
        // The age of a lock; a library's seed.
        libc::SYS_clock_gettime,
        libc::SYS_getrandom,
        // Handlers of signals, which tell a stack overflow and a guest's trap from other faults.
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        // The end, in good order or by `abort`.
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_getpid,
        libc::SYS_gettid,
    ];

    type Rules = BTreeMap<i64, Vec<SeccompRule>>;

    fn rules(compiles: bool) -> Result<Rules, seccompiler::BackendError> {
        let mut rules: Rules = ALLOWED.into_iter().map(|call| (call, Vec::new())).collect();
        for call in [libc::SYS_mmap, libc::SYS_mprotect] {
            let executable = SeccompCmpOp::MaskedEq(libc::PROT_EXEC.unsigned_abs().into());
            let never = SeccompCondition::new(2, SeccompCmpArgLen::Dword, executable, 0)?;
            rules.insert(call, if compiles { Vec::new() } else { vec![SeccompRule::new(vec![never])?] });
        }
        // `abort` sends a signal, to this process only.
        let own = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, std::process::id().into())?;
        rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![own])?]);
        Ok(rules)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::{Jail, Plan};

    pub fn before_threads(_: &Plan) -> Result<Jail, String> {
        Ok(Jail::default())
    }

    pub fn after_threads(_: &Plan, jail: Jail) -> Result<Jail, String> {
        Ok(jail)
    }
}
