//! The plugin that nodes run: the key-value store of `actors/plugins/examples`, in versions of which some must be refused.
//! Whether what it says is what it has acknowledged.

use crate::{
    plan::{Do, Version},
    record::NodeId,
};
use bytes::Bytes;
use pangea_plugins::api::{Package, Refusal, Reply};
use pangea_protocols::wire::extension::Name;
use std::collections::{BTreeMap, BTreeSet};

/// What a put of a plugin stores.
pub const MODULE: &[u8] = include_bytes!("../../../actors/plugins/examples/kv/kv.wasm");
const MANIFEST: &str = include_str!("../../../actors/plugins/examples/kv/kv.toml");
/// Operations of which all nodes are asked after the calm: the last of them, as a table of that plugin has 256 places.
const TOLD_MAX: usize = 250;

/// What the plugin is called.
pub fn name() -> Name {
    // Parsed from a manifest that stands beside its sources and is tested there.
    "kv".parse().unwrap_or_else(|error| unreachable!("{error}"))
}

/// A version of the plugin out of what was stored.
pub fn package(version: Version, module: Bytes) -> Package {
    let manifest = match version {
        Version::First => MANIFEST.to_owned(),
        Version::Newer => MANIFEST.replace("version = \"1.0.0\"", "version = \"1.1.0\""),
        Version::Strange => {
            MANIFEST.replace("version = \"1.0.0\"", "version = \"2.0.0\"").replace("schema = 1", "schema = 2")
        }
        Version::Failing => {
            format!("{}\n[limits]\ngas = 50\n", MANIFEST.replace("version = \"1.0.0\"", "version = \"1.2.0\""))
        }
    };
    Package { manifest, module }
}

/// What came of a reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it must be, and which interesting state that is.
    Good(Option<&'static str>),
    /// It could not be done.
    Failed(String),
    /// A promise is broken.
    Wrong(String),
}

/// What has been acknowledged so far.
#[derive(Default)]
pub struct Plugins {
    /// Nodes that run the plugin.
    installed: BTreeSet<NodeId>,
    /// Which operation told which node something that it has acknowledged.
    told: BTreeMap<u32, NodeId>,
}

impl Plugins {
    /// Does a node run it, as far as its user knows?
    pub fn runs_on(&self, node: NodeId) -> bool {
        self.installed.contains(&node)
    }

    /// Nodes that do.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.installed.iter().copied()
    }

    /// What the plugin is asked for an operation.
    pub fn question(id: u32, what: &Do) -> Option<Bytes> {
        match what {
            Do::Tell => Some(format!("put {} {id}", key(id)).into()),
            Do::Recall { .. } => Some(Bytes::from_static(b"keys")),
            _ => None,
        }
    }

    /// Judges the reply to an operation.
    pub fn on_reply(&mut self, id: u32, node: NodeId, what: &Do, reply: &Reply) -> Verdict {
        match (what, reply) {
            (Do::Install { version: Version::First | Version::Newer, .. }, Reply::Installed { replaced, .. }) => {
                self.installed.insert(node);
                Verdict::Good(Some(if replaced.is_some() { "replaced" } else { "installed" }))
            }
            (Do::Install { version, .. }, Reply::Installed { .. }) => {
                Verdict::Wrong(format!("node {node} runs the version {version:?} of the plugin, which is not to be"))
            }
            (Do::Install { version: Version::Strange, .. }, Reply::Refused(Refusal::Schema { .. }))
            | (Do::Install { version: Version::Failing, .. }, Reply::Refused(Refusal::RolledBack { .. })) => {
                Verdict::Good(Some("upgrade-refused"))
            }
            (Do::Tell, Reply::Answer(answer)) if answer == "ok" => {
                self.told.insert(id, node);
                Verdict::Good(Some("told"))
            }
            (Do::Recall { all }, Reply::Answer(answer)) => self.on_recalled(node, *all, answer),
            (_, Reply::Refused(refusal)) => Verdict::Failed(refusal.to_string()),
            (_, other) => Verdict::Wrong(format!("node {node} answered {other:?} to what it was not asked")),
        }
    }

    /// A node must know what it has acknowledged itself; after the calm, what any has.
    fn on_recalled(&self, node: NodeId, all: bool, answer: &Bytes) -> Verdict {
        let answer = String::from_utf8_lossy(answer);
        let known: BTreeSet<&str> = answer.split(' ').collect();
        let mut due = self.told.iter().rev().take(TOLD_MAX).filter(|(_, by)| all || **by == node);
        match due.find(|(id, _)| !known.contains(key(**id).as_str())) {
            Some((id, by)) => {
                Verdict::Wrong(format!("node {node} does not know what node {by} has acknowledged (#{id})"))
            }
            None => Verdict::Good(Some("recalled")),
        }
    }
}

fn key(id: u32) -> String {
    format!("k{id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_plugins::Manifest;

    #[test]
    fn every_version_has_a_manifest_of_its_own_and_only_the_strange_one_another_schema() {
        let manifest = |version| Manifest::parse(&package(version, Bytes::new()).manifest).unwrap();
        let all = [Version::First, Version::Newer, Version::Strange, Version::Failing].map(manifest);
        let versions: BTreeSet<&str> = all.iter().map(|manifest| manifest.version.as_str()).collect();
        assert_eq!(versions.len(), 4);
        assert_eq!(all.each_ref().map(|manifest| manifest.understands(1)), [true, true, false, true]);
        assert!(all.iter().all(|manifest| manifest.name == name()));
    }

    #[test]
    fn what_is_acknowledged_must_be_known_there_at_once_and_everywhere_in_the_end() {
        let mut plugins = Plugins::default();
        let said = |text: &'static str| Reply::Answer(Bytes::from_static(text.as_bytes()));
        assert_eq!(plugins.on_reply(7, 1, &Do::Tell, &said("ok")), Verdict::Good(Some("told")));
        let mut recalled =
            |node, all, text| matches!(plugins.on_reply(8, node, &Do::Recall { all }, &said(text)), Verdict::Good(_));
        assert!(recalled(1, false, "k7 k9") && !recalled(1, false, "(none)"));
        assert!(recalled(2, false, "(none)") && !recalled(2, true, "(none)") && recalled(2, true, "k7"));
    }
}
