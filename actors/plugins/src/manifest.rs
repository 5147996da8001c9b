//! [`Manifest`]: what a plugin is, what it needs and what it may use, as TOML. What it does not name it may not do.
//!
//! ```toml
//! name = "presence"            # 1 to 64 of a-z, 0-9 and -
//! version = "1.0.0"
//! module = "presence.wat"      # beside the manifest; WebAssembly, or its text
//! build = "make"               # the command of `pangea actor build`, if the module has to be made
//! about = "who is there"
//! protocol = true              # it speaks with itself on other nodes: /pangea/x/presence/1
//! capabilities = ["send", "log", "now", "random", "chunk_read", "store", "folder"]
//! folder = "/home/me/photos"   # what the capability `folder` is for
//! mailbox = 64                 # events that may wait
//!
//! [commands]                   # first words of what it can be asked
//! who = "peers, with their round trips"
//!
//! [snapshot]
//! schema = 2                   # of what it keeps; a snapshot of another one is refused
//! reads = [1]                  # older ones that it understands as well
//! bytes = 65536
//!
//! [limits]
//! gas = 20000000               # of one event
//!
//! [config]                     # given to it when it starts
//! every = "5"
//! ```

use pangea_protocols::{
    task::{Capabilities, Capability, Limits},
    wire::extension::{BadName, Name},
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Most bytes of the text.
pub const BYTES_MAX: usize = 64 << 10;
/// Most bytes of a module.
pub const MODULE_BYTES_MAX: usize = 4 << 20;
/// Most events that may wait.
pub const MAILBOX_MAX: usize = 1024;
/// Most bytes of a snapshot.
pub const SNAPSHOT_BYTES_MAX: usize = 1 << 20;
/// Most commands, and most settings.
const ENTRIES_MAX: usize = 64;

/// What may be used of a node at most, call by call.
pub const LIMITS_MAX: Limits = Limits {
    gas: 1_000_000_000,
    memory_bytes: 256 << 20,
    table_elements: 65_536,
    stack_slots: 131_072,
    output_bytes: 4 << 20,
    log_bytes: 64 << 10,
};
/// Most gas in a second, on average: about one thread of an interpreter.
pub const GAS_PER_S_MAX: u64 = 500_000_000;

/// Why a text is no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not TOML, or with something in it that there is not.
    #[error("the manifest cannot be read: {0}")]
    Toml(String),
    /// See [`BadName`].
    #[error("`{name}` is no name of a plugin: {error}")]
    Name { name: String, error: BadName },
    /// There is no such capability.
    #[error(
        "there is no capability `{name}`: there are send, log, now, random, chunk_read (imports), store and folder \
         (actions)"
    )]
    Capability { name: String },
    /// More than a node gives.
    #[error("{what} is {found}; {max} is the most")]
    TooMuch { what: &'static str, found: u64, max: u64 },
    /// A capability without what it is for, or the other way round.
    #[error("the capability `folder` and `folder = \"PATH\"` belong together: name both or none")]
    Folder,
}

/// A plugin's manifest, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// What it is called on this node, and on the wire.
    pub name: Name,
    /// For people.
    pub version: String,
    /// The file beside the manifest.
    pub module: String,
    /// The command that makes the module out of its source; empty if the module is what is written.
    pub build: String,
    /// For people.
    pub about: String,
    /// What it can be asked: first words, and what they do. Empty: anything.
    pub commands: BTreeMap<String, String>,
    /// Does it speak with itself on other nodes?
    pub protocol: bool,
    /// What it may import.
    pub imports: Capabilities,
    /// May it store, fetch and remove objects?
    pub store: bool,
    /// The folder that it may list, and store files of.
    pub folder: Option<String>,
    /// Events that may wait.
    pub mailbox: usize,
    /// Version of what it keeps.
    pub schema: u32,
    /// Older versions that it understands.
    pub reads: Vec<u32>,
    /// Most bytes of what it keeps; 0 if it keeps nothing.
    pub snapshot_bytes: usize,
    /// What one call may use.
    pub limits: Limits,
    /// Gas in a second, on average.
    pub gas_per_s: u64,
    /// Its settings.
    pub config: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    name: String,
    version: String,
    module: String,
    #[serde(default)]
    about: String,
    #[serde(default)]
    commands: BTreeMap<String, String>,
    #[serde(default)]
    protocol: bool,
    #[serde(default)]
    capabilities: Vec<String>,
    folder: Option<String>,
    #[serde(default = "mailbox")]
    mailbox: u64,
    #[serde(default)]
    snapshot: Snapshot,
    #[serde(default)]
    limits: Given,
    #[serde(default)]
    config: BTreeMap<String, toml::Value>,
    /// For `pangea actor build` and `pangea actor test`; a node does not look at them.
    #[serde(default)]
    build: String,
    #[serde(default, rename = "test")]
    _test: toml::Table,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Snapshot {
    #[serde(default)]
    schema: u32,
    #[serde(default)]
    reads: Vec<u32>,
    #[serde(default)]
    bytes: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Given {
    gas: u64,
    gas_per_s: u64,
    memory_bytes: u64,
    output_bytes: u32,
    log_bytes: u32,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            gas: 20_000_000,
            gas_per_s: 50_000_000,
            memory_bytes: 16 << 20,
            output_bytes: 256 << 10,
            log_bytes: 4 << 10,
        }
    }
}

fn mailbox() -> u64 {
    64
}

impl Manifest {
    /// Reads and checks a text.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        at_most("the manifest's length in bytes", text.len(), BYTES_MAX)?;
        let text: Text = toml::from_str(text).map_err(|error| ManifestError::Toml(error.to_string()))?;
        let name = text.name.parse().map_err(|error| ManifestError::Name { name: text.name.clone(), error })?;
        let (imports, store, folder) = capabilities(&text.capabilities)?;
        if folder != text.folder.is_some() {
            return Err(ManifestError::Folder);
        }
        let Given { gas, gas_per_s, memory_bytes, output_bytes, log_bytes } = text.limits;
        let limits = Limits { gas, memory_bytes, output_bytes, log_bytes, ..LIMITS_MAX };
        if let Some((what, found, max)) = limits.exceeds(&LIMITS_MAX) {
            return Err(ManifestError::TooMuch { what, found, max });
        }
        let mailbox = at_most("mailbox", text.mailbox as usize, MAILBOX_MAX)?.max(4);
        let snapshot_bytes = at_most("snapshot.bytes", text.snapshot.bytes as usize, SNAPSHOT_BYTES_MAX)?;
        at_most("the number of commands", text.commands.len(), ENTRIES_MAX)?;
        at_most("the number of settings", text.config.len(), ENTRIES_MAX)?;
        at_most("the number of versions that are read", text.snapshot.reads.len(), ENTRIES_MAX)?;
        at_most("limits.gas_per_s", gas_per_s as usize, GAS_PER_S_MAX as usize)?;
        Ok(Self {
            name,
            version: text.version,
            module: text.module,
            build: text.build,
            about: text.about,
            commands: text.commands,
            protocol: text.protocol,
            imports,
            store,
            folder: text.folder,
            mailbox,
            schema: text.snapshot.schema,
            reads: text.snapshot.reads,
            snapshot_bytes,
            limits,
            gas_per_s: gas_per_s.max(1),
            config: text.config.into_iter().map(|(key, value)| (key, plain(value))).collect(),
        })
    }

    /// All it may do beside computing, as people read it.
    pub fn capabilities(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.imports.iter().map(Capability::name).collect();
        names.extend(self.protocol.then_some("protocol"));
        names.extend(self.store.then_some("store"));
        names.extend(self.folder.is_some().then_some("folder"));
        names
    }

    /// Does it understand a snapshot of this version?
    pub fn understands(&self, schema: u32) -> bool {
        self.schema == schema || self.reads.contains(&schema)
    }

    /// May it be asked this? It may if it names no commands, or the first word among them.
    pub fn answers(&self, bytes: &[u8]) -> bool {
        let word = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
        self.commands.is_empty() || self.commands.keys().any(|command| command.as_bytes() == word)
    }
}

/// Imports, `store`, `folder`.
fn capabilities(names: &[String]) -> Result<(Capabilities, bool, bool), ManifestError> {
    let (mut imports, mut store, mut folder) = (Capabilities::NONE, false, false);
    for name in names {
        match (name.as_str(), Capability::from_name(name)) {
            (_, Some(import)) => imports = imports.with(import),
            ("store", None) => store = true,
            ("folder", None) => folder = true,
            _ => return Err(ManifestError::Capability { name: name.clone() }),
        }
    }
    Ok((imports, store, folder))
}

fn at_most(what: &'static str, found: usize, max: usize) -> Result<usize, ManifestError> {
    let (max_u64, found_u64) = (max as u64, found as u64);
    if found > max { Err(ManifestError::TooMuch { what, found: found_u64, max: max_u64 }) } else { Ok(found) }
}

/// A setting as its text, without the quotes of a string.
fn plain(value: toml::Value) -> String {
    match value {
        toml::Value::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(more: &str) -> Result<Manifest, ManifestError> {
        Manifest::parse(&format!("name = 'a'\nversion = '1'\nmodule = 'a.wasm'\n{more}"))
    }

    #[test]
    fn what_is_not_named_is_not_granted() {
        let least = with("").unwrap();
        assert_eq!((least.imports, least.store, least.protocol), (Capabilities::NONE, false, false));
        assert_eq!((least.folder.as_deref(), least.snapshot_bytes, least.capabilities()), (None, 0, vec![]));
        let most = with("capabilities = ['log', 'store', 'folder']\nfolder = '/x'\nprotocol = true").unwrap();
        assert_eq!(most.capabilities(), ["log", "protocol", "store", "folder"]);
        assert!(most.understands(0) && !most.understands(1));
    }

    #[test]
    fn mistakes_are_named() {
        let says = |more: &str, what: &str| {
            let error = with(more).unwrap_err().to_string();
            assert!(error.contains(what), "{more}: {error}");
        };
        says("capabilities = ['all']", "no capability `all`");
        says("capabilities = ['folder']", "belong together");
        says("folder = '/x'", "belong together");
        says("colour = 'red'", "unknown field `colour`");
        says("mailbox = 2000", "mailbox is 2000; 1024 is the most");
        says("[limits]\ngas = 9000000000000", "gas is 9000000000000");
        says("[snapshot]\nbytes = 2000000", "snapshot.bytes is 2000000");
        let error = Manifest::parse("name = 'A b'\nversion = '1'\nmodule = 'm'").unwrap_err().to_string();
        assert!(error.contains("`A b` is no name"), "{error}");
    }

    #[test]
    fn settings_are_texts_and_commands_are_first_words() {
        let manifest = with("[config]\nkeep = 7\nname = 'x y'\n[commands]\nget = 'a key'").unwrap();
        let config: Vec<_> = manifest.config.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(config, [("keep", "7"), ("name", "x y")]);
        assert!(manifest.answers(b"get a") && manifest.answers(b"get"));
        assert!(!manifest.answers(b"getter a") && !manifest.answers(b""));
        assert!(with("").unwrap().answers(b"whatever"));
    }
}
