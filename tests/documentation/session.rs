//! [`Session`]: one shell that runs the commands of a page, with a home of its own and this build's `pangea`.
//!
//! Differences from a user's shell, and why: `cargo run --release -- …` runs the `pangea` of this build, and other
//! `cargo` and `git` commands do nothing, because a test does not build or download; the ports of the page are replaced
//! by free ones, and nodes do not look for others on the local network, because tests run beside each other. A crate that
//! the page itself has made is built and run, beside this build and with nothing but what that has downloaded. Of the
//! sources, `guests` is where the page is read.

use super::page::Step;
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    env, fs,
    net::UdpSocket,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// A page that takes longer hangs.
const HANGS: Duration = Duration::from_secs(900);
/// The pages' nodes listen on 4501, 4502, ….
const PORTS: &str = "450";

const SHELL: &str = r#"
cargo() {
    if [ "$1 $2 $3" = "run --release --" ]; then shift 3; pangea "$@"
    elif [ -e Cargo.toml ]; then command cargo "$1" --offline --quiet "${@:2}"; fi
}
git() { true; }
pangea-sim() {
    command cargo run --offline --quiet --manifest-path "$PANGEA_SOURCES/simulations/Cargo.toml" --bin pangea-sim -- "$@"
}
# It starts the program `pangea-sim` beside this build: that must be of these sources.
build-pangea-sim() {
    command cargo build --offline --quiet --manifest-path "$PANGEA_SOURCES/simulations/Cargo.toml" --bin pangea-sim
}
ln -s "$PANGEA_SOURCES/guests" guests
"#;

/// What a command did.
pub struct Outcome {
    pub code: i32,
    /// Standard output and standard error, as a terminal shows them.
    pub output: String,
}

/// A shell and its directory.
pub struct Session {
    dir: TempDir,
    /// Stands for [`PORTS`].
    ports: String,
}

/// All processes that the shell has started, in the background too. They end with this, whatever happens.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // The shell leads its group. Nodes that have ended already are no error.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

impl Session {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), ports: free_ports() }
    }

    /// Runs all steps in order; stops at the first that fails. `None` for those that were not reached.
    pub fn run(self, steps: &[Step]) -> Vec<Option<Outcome>> {
        let dir = self.dir.path();
        let script = dir.join("script");
        fs::write(&script, self.script(steps)).unwrap();
        let mut group = Group(self.shell(&script));
        let (done, ended) = mpsc::channel::<()>();
        // The shell ends its standard output when it ends; the nodes that it leaves behind write to files.
        let mut output = group.0.stdout.take().unwrap();
        let until_its_end = move || {
            let _ = std::io::copy(&mut output, &mut std::io::sink());
            drop(done);
        };
        thread::Builder::new().name("until-its-end".to_owned()).spawn(until_its_end).unwrap();
        let _ = ended.recv_timeout(HANGS);
        drop(group);
        (0..steps.len()).map(|number| self.outcome(number)).collect()
    }

    fn outcome(&self, number: usize) -> Option<Outcome> {
        let read = |what: &str| fs::read_to_string(self.dir.path().join(format!("{number}.{what}")));
        let code = read("code").ok()?.trim().parse().ok()?;
        let output = read("out").unwrap_or_default();
        Some(Outcome { code, output: output.replace(&format!("/udp/{}", self.ports), &format!("/udp/{PORTS}")) })
    }

    fn script(&self, steps: &[Step]) -> String {
        let (dir, ports) = (self.dir.path().display(), &self.ports);
        let mut script = SHELL.to_owned();
        for (number, step) in steps.iter().enumerate() {
            let command = step.command.replace(&format!(":{PORTS}"), &format!(":{ports}"));
            let command = command.replace(&format!("/udp/{PORTS}"), &format!("/udp/{ports}"));
            if command.starts_with("pangea actor test") {
                script += "build-pangea-sim || exit\n";
            }
            script += &format!("{{\n{command}\n}} > '{dir}/{number}.out' 2>&1 < /dev/null\n");
            // A shell tells of jobs that were killed whenever it likes: these are not its jobs any more.
            script += &format!("code=$?; disown -a; echo $code > '{dir}/{number}.code'; [ $code = 0 ] || exit\n");
        }
        script
    }

    fn shell(&self, script: &Path) -> Child {
        let dir = self.dir.path();
        let program = Path::new(env!("CARGO_BIN_EXE_pangea"));
        let mut path = vec![program.parent().unwrap().to_owned()];
        path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        let mut command = Command::new("bash");
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PANGEA_")) {
            command.env_remove(name);
        }
        command
            .args(["--noprofile", "--norc"])
            .arg(script)
            .current_dir(dir)
            .env("PATH", env::join_paths(path).unwrap())
            .env("HOME", dir)
            .envs(cargo_environment(program))
            .env("PANGEA_SOURCES", env!("CARGO_MANIFEST_DIR"))
            .env("TMPDIR", dir)
            .env("XDG_DATA_HOME", dir.join("data"))
            .env("XDG_CONFIG_HOME", dir.join("config"))
            .env("XDG_RUNTIME_DIR", dir)
            .env("PANGEA_NETWORK_MDNS", "false")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .process_group(0);
        command.spawn().expect("bash runs the pages' commands")
    }
}

/// What cargo needs in another home: its own, and the directory in which `program` was built.
fn cargo_environment(program: &Path) -> Vec<(&'static str, PathBuf)> {
    let home = PathBuf::from(env::var_os("HOME").unwrap_or_default());
    let or_home = |name: &str, dir: &str| env::var_os(name).map_or_else(|| home.join(dir), PathBuf::from);
    vec![
        ("CARGO_HOME", or_home("CARGO_HOME", ".cargo")),
        ("RUSTUP_HOME", or_home("RUSTUP_HOME", ".rustup")),
        ("CARGO_TARGET_DIR", program.ancestors().nth(2).unwrap().to_owned()),
    ]
}

/// What to write instead of [`PORTS`] so that the ports that follow are free.
fn free_ports() -> String {
    let start = std::process::id() % 1000;
    let free = |prefix: &u32| {
        let ports = (0..10).map(|last| (prefix * 10 + last) as u16);
        ports.map(|port| UdpSocket::bind(("127.0.0.1", port))).collect::<Result<Vec<_>, _>>().is_ok()
    };
    let prefix = (0..1000).map(|n| 2000 + (start + n) % 1000).find(free);
    prefix.expect("some of 10000 ports are free").to_string()
}
