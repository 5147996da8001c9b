//! [`Cluster`]: real node processes on loopback, each with a directory and a port of its own.
//!
//! The demo, the process tests and the end-to-end bench run it. It knows a node by what any user sees of it: its
//! command line, its ready line and its exit.

use serde::Deserialize;
use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// How long a node may take to say that it is ready.
const READY_MAX: Duration = Duration::from_secs(30);

/// What a node prints on its standard output when it is ready (`pangea node --json`).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct Ready {
    /// Always `ready`.
    pub event: String,
    /// Peer id.
    pub peer: String,
    /// Where it listens, as multiaddrs with its peer id.
    pub addresses: Vec<String>,
    /// From the start of the process to this line.
    pub startup_ms: u64,
}

/// Why a cluster could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Files or processes.
    #[error("{what}: {error}")]
    Io { what: String, error: std::io::Error },
    /// A node ended or stayed silent.
    #[error("node {number} did not become ready: {why}")]
    NotReady { number: usize, why: String },
}

/// One node process.
#[derive(Debug)]
pub struct Member {
    /// Position in the cluster, from 0.
    pub number: usize,
    /// Its `--home`.
    pub home: PathBuf,
    /// What it said when it was ready.
    pub ready: Ready,
    process: Option<Process>,
}

/// A process that does not outlive this.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Several node processes. Dropping it kills them.
#[derive(Debug)]
pub struct Cluster {
    program: PathBuf,
    dir: PathBuf,
    settings: Vec<(String, String)>,
    members: Vec<Member>,
}

impl Cluster {
    /// No nodes yet. `program` is the `pangea` executable, `dir` an existing directory for their homes.
    pub fn new(program: &Path, dir: &Path) -> Self {
        let settings = [("PANGEA_NETWORK_LISTEN", "127.0.0.1:0"), ("PANGEA_NETWORK_MDNS", "false")];
        Self {
            program: program.to_owned(),
            dir: dir.to_owned(),
            settings: settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            members: Vec::new(),
        }
    }

    /// Sets an environment variable for nodes that are started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// All nodes that were started, dead ones included.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Starts `count` more nodes at once. All but the very first know the first.
    ///
    /// # Errors
    /// A process cannot be started or does not become ready.
    pub fn start(&mut self, count: usize) -> Result<(), ClusterError> {
        let first = usize::from(self.members.is_empty());
        if first == 1 && count > 0 {
            self.start_at_once(1)?;
        }
        self.start_at_once(count.saturating_sub(first))
    }

    fn start_at_once(&mut self, count: usize) -> Result<(), ClusterError> {
        let numbers = self.members.len()..self.members.len() + count;
        let mut starting = Vec::new();
        for number in numbers {
            let home = self.dir.join(format!("node-{number}"));
            let init = self.command(&home).arg("init").output();
            let init = init.map_err(|error| ClusterError::Io { what: "cannot run pangea init".to_owned(), error })?;
            if !init.status.success() {
                let why = String::from_utf8_lossy(&init.stderr).into_owned();
                return Err(ClusterError::NotReady { number, why });
            }
            starting.push((number, home.clone(), self.spawn(&home)?));
        }
        for (number, home, mut process) in starting {
            let ready = wait_ready(number, &mut process)?;
            self.members.push(Member { number, home, ready, process: Some(process) });
        }
        Ok(())
    }

    /// Starts a dead node again, in its old directory.
    ///
    /// # Errors
    /// As for [`Cluster::start`].
    pub fn restart(&mut self, number: usize) -> Result<(), ClusterError> {
        let home = self.members[number].home.clone();
        let mut process = self.spawn(&home)?;
        let ready = wait_ready(number, &mut process)?;
        let member = &mut self.members[number];
        (member.ready, member.process) = (ready, Some(process));
        Ok(())
    }

    /// Kills a node as `kill -9` does; returns once it is dead.
    pub fn kill(&mut self, number: usize) {
        self.members[number].process = None;
    }

    /// Waits for a node to end by itself, and says how it did; `None` if it is dead already.
    pub fn wait(&mut self, number: usize) -> Option<std::process::ExitStatus> {
        self.members[number].process.take().and_then(|mut process| process.0.wait().ok())
    }

    /// Process id of a living node.
    pub fn pid(&self, number: usize) -> Option<u32> {
        self.members[number].process.as_ref().map(|process| process.0.id())
    }

    /// Runs `pangea --home <node> <arguments>` to its end.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn run(&self, number: usize, arguments: &[&str]) -> std::io::Result<Output> {
        self.command_at(number, arguments).output()
    }

    /// `pangea --home <node> <arguments>`, not yet started.
    pub fn command_at(&self, number: usize, arguments: &[&str]) -> Command {
        let mut command = self.command(&self.members[number].home);
        command.args(arguments);
        command
    }

    fn command(&self, home: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--home").arg(home).stdin(Stdio::null());
        // The settings of the user's own node are not for these.
        std::env::vars_os().map(|(name, _)| name).filter(is_setting).for_each(|name| {
            command.env_remove(name);
        });
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        if let Some(first) = self.members.first().and_then(|first| first.ready.addresses.first()) {
            command.env("PANGEA_NETWORK_BOOTSTRAP", first);
        }
        command
    }

    /// In a process group of its own: Ctrl-C is for who runs the cluster.
    fn spawn(&self, home: &Path) -> Result<Process, ClusterError> {
        let log = std::fs::File::create(home.join("node.log"));
        let log = log.map_err(|error| ClusterError::Io { what: format!("cannot write {}", home.display()), error })?;
        let mut command = self.command(home);
        command.args(["node", "--json"]).stdout(Stdio::piped()).stderr(log).process_group(0);
        command
            .spawn()
            .map(Process)
            .map_err(|error| ClusterError::Io { what: "cannot run pangea node".to_owned(), error })
    }
}

fn is_setting(name: &OsString) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("PANGEA_"))
}

/// Waits for the ready line; a thread keeps reading so that the node never blocks on its output.
fn wait_ready(number: usize, process: &mut Process) -> Result<Ready, ClusterError> {
    let (sender, receiver) = mpsc::channel();
    if let Some(output) = process.0.stdout.take() {
        thread::spawn(move || read_lines(output, &sender));
    }
    let line = receiver.recv_timeout(READY_MAX);
    let ready = line
        .map_err(|error| error.to_string())
        .and_then(|line| serde_json::from_str::<Ready>(&line).map_err(|error| format!("{error} in `{line}`")));
    ready.map_err(|why| {
        let _ = process.0.kill();
        let ended = process.0.wait().map(|status| status.to_string()).unwrap_or_default();
        ClusterError::NotReady { number, why: format!("{why} ({ended})") }
    })
}

fn read_lines(output: ChildStdout, to: &mpsc::Sender<String>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let _ = to.send(line);
    }
}
