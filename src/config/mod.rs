//! Settings: one TOML file, one schema, every value with a default.
//!
//! Precedence: flag, then environment (`PANGEA_<SECTION>_<KEY>`), then file, then default. An unknown key is an error
//! that names its line. [`layers`] merges and remembers where each value came from; [`units`] reads sizes and times.

pub mod layers;
pub mod units;

use pangea_ces::api::Profile;
use pangea_protocols::{Address, PeerId};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf, str::FromStr};
use units::{Bytes, Span};

pub use layers::{Layers, Origin};

/// Why settings were refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    Io { path: PathBuf, error: std::io::Error },
    /// The file is not TOML, or a key or value is wrong; the text shows the line.
    #[error("{path} is not valid:\n{error}")]
    File { path: PathBuf, error: String },
    /// An environment variable or flag is wrong.
    #[error("{origin} is not valid: {error}")]
    Value { origin: String, error: String },
}

/// All settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where and with whom.
    pub network: Network,
    /// What is kept for others.
    pub storage: Storage,
    /// Defaults of `put`.
    pub put: Put,
    /// What is computed for others.
    pub compute: Compute,
    /// What is logged.
    pub log: Log,
}

impl Config {
    /// What no single value shows.
    ///
    /// # Errors
    /// Two values that exclude each other.
    pub fn check(&self) -> Result<(), String> {
        let Compute { engine, isolation, .. } = self.compute;
        if engine == EngineName::Jit && isolation == Isolation::Threads {
            return Err(
                "compute.engine = \"jit\" runs only in a process of its own: set compute.isolation = \"process\", \
                 or use \"wasmi\""
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// `[network]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// UDP addresses to listen on.
    pub listen: Vec<ListenAddress>,
    /// Peers to stay connected to.
    pub bootstrap: Vec<PeerAddress>,
    /// Addresses that others should use, if they differ from `listen`.
    pub external: Vec<Address>,
    /// Find peers on the local network.
    pub mdns: bool,
    /// Connected peers to aim for.
    pub peers_target: u32,
    /// Above this many connected peers, the least useful are let go.
    pub peers_max: u32,
    /// Peers to have nothing to do with.
    pub deny: Vec<PeerText>,
    /// If not empty: the only peers to have to do with.
    pub allow: Vec<PeerText>,
}

/// `[storage]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Bytes on disk for shards of others, index and overhead included; never exceeded.
    pub quota: Bytes,
    /// Longest lease that is granted.
    pub lease_max: Span,
}

/// `[put]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Put {
    /// `fast`, `balanced` or `small`.
    pub profile: Profile,
    /// How long holders keep an object.
    pub lease: Span,
}

/// `[compute]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compute {
    /// Compute at all, for others and for this node's user.
    pub enabled: bool,
    /// Tasks that run at the same time.
    pub threads: u32,
    /// Bytes for tasks and their compiled modules in all, and for plugins and theirs.
    pub memory: Bytes,
    /// `process` or `threads`.
    pub isolation: Isolation,
    /// `wasmi` or, in a build that has it, `jit`.
    pub engine: EngineName,
}

/// Where guests run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Tasks in one process and plugins in another, which are jailed and may die.
    #[default]
    Process,
    /// In the node's process: saves a few MiB.
    Threads,
}

/// What runs guests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum EngineName {
    /// An interpreter.
    #[default]
    Wasmi,
    /// A compiler: ten times as fast, and much more code to trust. Only in a process of its own.
    Jit,
}

/// What there is to do about a build without the compiler.
pub const NO_JIT: &str =
    "this build has no `jit`: build it with `cargo build --release --features jit`, or use `wasmi`";

impl EngineName {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wasmi => "wasmi",
            Self::Jit => "jit",
        }
    }
}

impl FromStr for EngineName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "wasmi" => Ok(Self::Wasmi),
            "jit" if cfg!(feature = "jit") => Ok(Self::Jit),
            "jit" => Err(NO_JIT.to_owned()),
            _ => Err(format!("`{name}` is no engine: there are wasmi and jit")),
        }
    }
}

impl TryFrom<String> for EngineName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<EngineName> for String {
    fn from(this: EngineName) -> Self {
        this.name().to_owned()
    }
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,pangea::drivers=debug`.
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// UDP port that nodes listen on unless told otherwise.
pub const DEFAULT_PORT: u16 = 4411;

impl Default for Network {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddress(SocketAddr::from(([0, 0, 0, 0], DEFAULT_PORT)))],
            bootstrap: Vec::new(),
            external: Vec::new(),
            mdns: true,
            peers_target: 40,
            peers_max: 120,
            deny: Vec::new(),
            allow: Vec::new(),
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self { quota: Bytes(50 << 30), lease_max: Span::days(400) }
    }
}

impl Default for Put {
    fn default() -> Self {
        Self { profile: Profile::default(), lease: Span::days(90) }
    }
}

/// Memory for each thread that runs guests, unless the settings say otherwise: a large task and its module.
const THREAD_BYTES: u64 = 512 << 20;

impl Compute {
    /// Bytes of compiled modules that are kept: a quarter of the memory.
    pub fn modules_bytes(&self) -> u64 {
        self.memory.0 / 4
    }

    /// Most memory of one task: what is left, for as many as run at the same time.
    pub fn task_bytes(&self) -> u64 {
        (self.memory.0 - self.modules_bytes()) / u64::from(self.threads.max(1))
    }
}

impl Default for Compute {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let threads = u32::try_from(cores).unwrap_or(1);
        Self {
            enabled: true,
            threads,
            memory: Bytes(THREAD_BYTES * u64::from(threads)),
            isolation: Isolation::default(),
            engine: EngineName::default(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// A UDP address of this machine: `0.0.0.0:4411`, `[::]:4411` or `/ip4/0.0.0.0/udp/4411/quic-v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListenAddress(pub SocketAddr);

impl TryFrom<String> for ListenAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let socket = match parts.as_slice() {
            ["", "ip4", ip, "udp", port, "quic-v1"] => format!("{ip}:{port}").parse(),
            ["", "ip6", ip, "udp", port, "quic-v1"] => format!("[{ip}]:{port}").parse(),
            _ => text.parse(),
        };
        let example = format!(
            "`{text}` is not an address such as 0.0.0.0:{DEFAULT_PORT} or /ip4/0.0.0.0/udp/{DEFAULT_PORT}/quic-v1"
        );
        socket.map(Self).map_err(|_| example)
    }
}

impl From<ListenAddress> for String {
    fn from(this: ListenAddress) -> Self {
        this.0.to_string()
    }
}

/// A peer and where to find it: `/ip4/192.0.2.1/udp/4411/quic-v1/p2p/12D3KooW…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerAddress {
    /// Who.
    pub peer: PeerId,
    /// Where.
    pub address: Address,
}

impl FromStr for PeerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, peer) = text.rsplit_once("/p2p/").ok_or_else(|| {
            format!("`{text}` names no peer: write /ip4/192.0.2.1/udp/{DEFAULT_PORT}/quic-v1/p2p/12D3KooW…")
        })?;
        Ok(Self {
            peer: peer.parse().map_err(|error| format!("{error}"))?,
            address: address.parse().map_err(|error| format!("{error}"))?,
        })
    }
}

impl TryFrom<String> for PeerAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<PeerAddress> for String {
    fn from(this: PeerAddress) -> Self {
        format!("{}/p2p/{}", this.address, this.peer)
    }
}

/// A peer id in its text form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerText(pub PeerId);

impl TryFrom<String> for PeerText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|error| format!("{error}"))
    }
}

impl From<PeerText> for String {
    fn from(this: PeerText) -> Self {
        this.0.to_string()
    }
}

/// The settings file that `pangea init` writes: every key, commented out, with its default.
pub fn template() -> String {
    let defaults = toml::to_string(&Config::default()).unwrap_or_default();
    let mut text = String::from("# Settings of a Pangea node. A line without `#` replaces a default.\n");
    for line in defaults.lines() {
        let quiet = line.is_empty() || line.starts_with('[');
        text.push_str(if quiet { "" } else { "# " });
        text.push_str(line);
        text.push('\n');
    }
    text
}
