//! [`Cluster`]: real node processes on loopback, each with a directory and a port of its own.
//!
//! The demo, the process tests and the end-to-end bench run it. It knows a node by what any user sees of it: its
//! command line, its ready line and its exit.

use serde::Deserialize;
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
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
    child: Option<Child>,
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
        for (number, home, child) in starting {
            let (child, ready) = wait_ready(number, child)?;
            self.members.push(Member { number, home, ready, child: Some(child) });
        }
        Ok(())
    }

    /// Starts a dead node again, in its old directory.
    ///
    /// # Errors
    /// As for [`Cluster::start`].
    pub fn restart(&mut self, number: usize) -> Result<(), ClusterError> {
        let home = self.members[number].home.clone();
        let (child, ready) = wait_ready(number, self.spawn(&home)?)?;
        let member = &mut self.members[number];
        (member.ready, member.child) = (ready, Some(child));
        Ok(())
    }

    /// Kills a node as `kill -9` does; returns once it is dead.
    pub fn kill(&mut self, number: usize) {
        if let Some(mut child) = self.members[number].child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits for a node to end by itself, and says how it did; `None` if it is dead already.
    pub fn wait(&mut self, number: usize) -> Option<std::process::ExitStatus> {
        self.members[number].child.take().and_then(|mut child| child.wait().ok())
    }

    /// Process id of a living node.
    pub fn pid(&self, number: usize) -> Option<u32> {
        self.members[number].child.as_ref().map(Child::id)
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
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        if let Some(first) = self.members.first().and_then(|first| first.ready.addresses.first()) {
            command.env("PANGEA_NETWORK_BOOTSTRAP", first);
        }
        command
    }

    fn spawn(&self, home: &Path) -> Result<Child, ClusterError> {
        let log = std::fs::File::create(home.join("node.log"));
        let log = log.map_err(|error| ClusterError::Io { what: format!("cannot write {}", home.display()), error })?;
        let mut command = self.command(home);
        command.args(["node", "--json"]).stdout(Stdio::piped()).stderr(log);
        command.spawn().map_err(|error| ClusterError::Io { what: "cannot run pangea node".to_owned(), error })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for number in 0..self.members.len() {
            self.kill(number);
        }
    }
}

/// Waits for the ready line; a thread keeps reading so that the node never blocks on its output.
fn wait_ready(number: usize, mut child: Child) -> Result<(Child, Ready), ClusterError> {
    let (sender, receiver) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
    }
    let line = receiver.recv_timeout(READY_MAX);
    let ready = line
        .map_err(|error| error.to_string())
        .and_then(|line| serde_json::from_str::<Ready>(&line).map_err(|error| format!("{error} in `{line}`")));
    match ready {
        Ok(ready) => Ok((child, ready)),
        Err(why) => {
            let _ = child.kill();
            let ended = child.wait().map(|status| status.to_string()).unwrap_or_default();
            Err(ClusterError::NotReady { number, why: format!("{why} ({ended})") })
        }
    }
}
