//! [`Swarm`]: nodes under test in a directory of their own, the commands that talk to them, and files to store.

use super::told::{Running, Told, send};
use pangea::demo::cluster::Cluster;
use rustix::process::Signal;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// No wait of a test is longer; only a failing test waits that long.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Lines of each node's log that a failed test shows.
const LOG_LINES: usize = 25;
/// The program under test.
pub const PANGEA: &str = env!("CARGO_BIN_EXE_pangea");

/// Several nodes and a directory that disappears with them.
pub struct Swarm {
    pub cluster: Cluster,
    /// For files of the test.
    pub dir: TempDir,
}

impl Swarm {
    /// `count` nodes that know each other.
    pub fn of(count: usize) -> Self {
        Self::with(count, &[])
    }

    /// The same with environment variables set.
    pub fn with(count: usize, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = Cluster::new(Path::new(PANGEA), dir.path());
        settings.iter().for_each(|(name, value)| cluster.set(name, value));
        cluster.start(count).unwrap();
        let swarm = Self { cluster, dir };
        swarm.settle();
        swarm
    }

    /// The nodes that live.
    pub fn living(&self) -> Vec<usize> {
        (0..self.cluster.members().len()).filter(|number| self.cluster.pid(*number).is_some()).collect()
    }

    /// Waits until all living nodes are connected to each other.
    pub fn settle(&self) {
        let living = self.living();
        let ids: Vec<String> = living.iter().map(|number| self.peer(*number)).collect();
        for number in &living {
            eventually(&format!("node {number} is connected to all others"), || {
                let known = self.cli(*number, &["peers", "--json"]).ok().json_lines();
                let connected =
                    |id: &String| known.iter().any(|peer| peer["peer"] == **id && peer["connected"] == true);
                ids.iter().filter(|id| **id != self.peer(*number)).all(connected)
            });
        }
    }

    pub fn peer(&self, number: usize) -> String {
        self.cluster.members()[number].ready.peer.clone()
    }

    pub fn home(&self, number: usize) -> &Path {
        &self.cluster.members()[number].home
    }

    /// Runs `pangea <arguments>` at a node.
    pub fn cli(&self, number: usize, arguments: &[&str]) -> Told {
        Told::by(self.command(number, arguments))
    }

    /// Starts `pangea <arguments>` at a node.
    pub fn begin(&self, number: usize, arguments: &[&str]) -> Running {
        Running::start(self.command(number, arguments), false)
    }

    /// The same with a standard input that the test writes to.
    pub fn begin_fed(&self, number: usize, arguments: &[&str]) -> Running {
        Running::start(self.command(number, arguments), true)
    }

    pub fn command(&self, number: usize, arguments: &[&str]) -> Command {
        let mut command = self.cluster.command_at(number, arguments);
        command.current_dir(self.dir.path());
        command
    }

    pub fn status(&self, number: usize) -> Value {
        self.cli(number, &["status", "--json"]).ok().json()
    }

    /// Shards that all living nodes hold.
    pub fn shards(&self) -> u64 {
        self.living().iter().map(|number| self.status(*number)["chunks"]["shards"].as_u64().unwrap()).sum()
    }

    /// Waits until no living node keeps room for anybody and none has a job.
    pub fn quiet(&self) {
        for number in self.living() {
            eventually(&format!("node {number} keeps no room and runs no job"), || {
                let status = self.status(number);
                status["chunks"]["reserved_bytes"] == 0 && status["jobs"] == 0
            });
        }
    }

    /// Puts a file at a node and returns what `put --json` says.
    #[track_caller]
    pub fn put(&self, number: usize, path: &Path, more: &[&str]) -> Value {
        let arguments = [&["put", "--json", path.to_str().unwrap()], more].concat();
        self.cli(number, &arguments).ok().json()
    }

    /// Gets an object at a node and returns its bytes.
    #[track_caller]
    pub fn read(&self, number: usize, object: &str) -> Vec<u8> {
        self.cli(number, &["cat", object, "--timeout", "20s"]).ok().out
    }

    /// Which nodes hold something of an object, from what `put --json` said.
    pub fn holders(&self, stored: &Value) -> Vec<usize> {
        let holders = stored["holders"].as_array().unwrap();
        (0..self.cluster.members().len()).filter(|number| holders.contains(&self.peer(*number).into())).collect()
    }

    /// A file of bytes that do not compress.
    pub fn file(&self, name: &str, bytes: usize) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, noise(name, bytes)).unwrap();
        path
    }

    /// Sends a signal to a living node.
    pub fn signal(&self, number: usize, signal: Signal) {
        send(self.cluster.pid(number).unwrap(), signal);
    }
}

/// A failed test shows what the nodes logged last.
impl Drop for Swarm {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        for member in self.cluster.members() {
            let log = fs::read_to_string(member.home.join("node.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            println!("node {} ({}):", member.number, member.ready.peer);
            lines[lines.len().saturating_sub(LOG_LINES)..].iter().for_each(|line| println!("  {line}"));
        }
    }
}

/// Bytes that do not compress, the same for the same name.
pub fn noise(name: &str, bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut noise);
    noise
}

/// A number below `below` that is the same in every run.
pub fn seeded(purpose: &str, below: usize) -> usize {
    let hash = blake3::hash(purpose.as_bytes());
    u32::from_le_bytes(hash.as_bytes()[..4].try_into().unwrap()) as usize % below
}

/// Polls a condition that no event announces.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Names in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Bytes that the files below a directory take on disk.
pub fn disk_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let entries = entries.filter_map(Result::ok);
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => disk_bytes(&entry.path()),
        Ok(found) => found.blocks() * 512,
        // Removed meanwhile.
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// Nothing under this name, nor unfinished work for it.
#[track_caller]
pub fn assert_nothing_left_of(path: &Path) {
    let name = path.file_name().unwrap().to_str().unwrap();
    let left = names(path.parent().unwrap());
    assert!(!left.iter().any(|found| found.contains(name)), "{left:?}");
}
