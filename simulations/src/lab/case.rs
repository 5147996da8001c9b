//! [`Case`]: everything about a run that is decided beforehand: nodes, lines, what users ask, what goes wrong. A lab and
//! a seed make one, shrinking takes parts out of it; written as TOML it is a file to replay, to read and to edit.

use super::{Lab, Member, network::root, queue::Step};
use crate::{
    plan::{Content, Do, Fault, Line, Nat, Operation, Plan, Region, TierName},
    record::NodeId,
    scenario,
};
use pangea_kernel::Draw;
use pangea_protocols::encoded::Profile;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

/// A whole run. Times are virtual milliseconds since it began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The lab it was drawn from.
    pub lab: String,
    /// Root of all chance.
    pub seed: u64,
    /// From here on no fault acts.
    pub calm_ms: u64,
    /// The run ends, and what is promised for the end must be true.
    pub end_ms: u64,
    /// Places of nodes.
    #[serde(rename = "region")]
    pub regions: Vec<Region>,
    /// The lines between regions.
    #[serde(rename = "line", default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
    /// Who is there.
    #[serde(rename = "node")]
    pub nodes: Vec<Node>,
    /// What users ask.
    #[serde(rename = "ask", default, skip_serializing_if = "Vec::is_empty")]
    pub asks: Vec<Ask>,
    /// What goes wrong.
    #[serde(rename = "fault", default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name for good.
    pub id: NodeId,
    /// Where it stands.
    pub region: String,
    /// When it is first started.
    pub start_ms: u64,
}

/// Something that a user tells a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Its name for good.
    pub id: u32,
    /// When.
    pub at_ms: u64,
    /// To whom.
    pub node: NodeId,
    /// What its actor receives, as JSON.
    pub event: String,
}

/// Why there is no case.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The lab contradicts itself.
    #[error(transparent)]
    Scenario(#[from] scenario::ScenarioError),
    /// A node is told something that its actor does not understand, or that has no JSON.
    #[error("what node {node} is told (`{event}`) does not fit the actor: {error}")]
    Event { node: NodeId, event: String, error: serde_json::Error },
    /// The file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: std::io::Error },
    /// It is not a case.
    #[error("{}: {message}", path.display())]
    Parse { path: PathBuf, message: String },
}

/// Where a workload says what users ask.
pub struct Asks<C: Member> {
    nodes: Vec<NodeId>,
    calm_ms: u64,
    asked: Vec<(u64, NodeId, C::In)>,
}

impl<C: Member> Asks<C> {
    /// All nodes.
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// When the faults are over.
    pub fn calm(&self) -> Duration {
        Duration::from_millis(self.calm_ms)
    }

    /// At this time the actor of `node` receives `event`; if it does not run then, nobody does.
    pub fn tell(&mut self, at: Duration, node: NodeId, event: C::In) {
        self.asked.push((u64::try_from(at.as_millis()).unwrap_or(u64::MAX), node, event));
    }

    /// Some time before the calm, a node receives `event`.
    pub fn tell_somebody(&mut self, draw: &mut Draw, event: C::In) {
        let at = draw.below(self.calm_ms);
        if let Some(node) = draw.choose(&self.nodes).copied() {
            self.asked.push((at, node, event));
        }
    }
}

impl Case {
    /// The case of a lab with a seed.
    ///
    /// # Errors
    /// The lab contradicts itself.
    pub fn draw<C: Member>(lab: &Lab<C>, seed: u64) -> Result<Self, CaseError> {
        let plan = scenario::draw(&lab.scenario, seed, None)?;
        let mut asks =
            Asks { nodes: plan.nodes.iter().map(|node| node.id).collect(), calm_ms: plan.calm_ms, asked: Vec::new() };
        for (number, workload) in lab.workloads.iter().enumerate() {
            workload(&root(seed).derive("workload").derive(&number.to_string()), &mut asks);
        }
        asks.asked.sort_by_key(|(at, node, _)| (*at, *node));
        let ask = |(id, (at_ms, node, event)): (usize, (u64, NodeId, C::In))| {
            let event = serde_json::to_string(&event).map_err(|error| CaseError::Event {
                node,
                event: format!("{event:?}"),
                error,
            })?;
            Ok(Ask { id: u32::try_from(id).unwrap_or(u32::MAX), at_ms, node, event })
        };
        let asks: Result<Vec<Ask>, CaseError> = asks.asked.into_iter().enumerate().map(ask).collect();
        Ok(Self {
            lab: lab.name.clone(),
            seed,
            calm_ms: plan.calm_ms,
            end_ms: plan.end_ms,
            regions: plan.regions,
            lines: plan.lines,
            nodes: plan
                .nodes
                .into_iter()
                .filter_map(|node| Some(Node { id: node.id, region: node.region, start_ms: node.start_ms? }))
                .collect(),
            asks: asks?,
            faults: plan.faults,
        })
    }

    /// Reads a file that [`Case::write`] has written.
    ///
    /// # Errors
    /// It cannot be read, or is no case.
    pub fn read(path: &Path) -> Result<Self, CaseError> {
        let text = std::fs::read_to_string(path).map_err(|error| CaseError::File { path: path.to_owned(), error })?;
        toml::from_str(&text).map_err(|error| CaseError::Parse { path: path.to_owned(), message: error.to_string() })
    }

    /// Writes a file for [`Case::read`], which begins with `why` as a comment.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path, why: &str) -> Result<(), CaseError> {
        let file = |error| CaseError::File { path: path.to_owned(), error };
        let head: String = why.lines().map(|line| format!("# {line}\n")).collect();
        let text = toml::to_string(self).map_err(|error| file(std::io::Error::other(error)))?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(file)?;
        }
        std::fs::write(path, format!("{head}\n{text}")).map_err(file)
    }

    /// What users ask, in order of the asks.
    pub(super) fn events<E: pangea_kernel::core::Event>(&self) -> Result<Vec<E>, CaseError> {
        let event = |ask: &Ask| {
            serde_json::from_str(&ask.event).map_err(|error| CaseError::Event {
                node: ask.node,
                event: ask.event.clone(),
                error,
            })
        };
        self.asks.iter().map(event).collect()
    }

    /// What happens when. At one moment: ends of faults, starts, beginnings of faults, the calm, what users ask.
    pub(super) fn steps(&self) -> Vec<(u64, Step)> {
        let mut steps: Vec<(u64, Step)> = vec![(self.calm_ms, Step::Calm)];
        steps.extend(self.nodes.iter().enumerate().map(|(at, node)| (node.start_ms, Step::Start(at))));
        steps.extend(self.faults.iter().enumerate().map(|(at, fault)| (fault.at_ms, Step::Begin(at))));
        let ends = self.faults.iter().enumerate();
        steps.extend(ends.filter_map(|(at, fault)| Some((fault.until_ms?, Step::End(at)))));
        steps.extend(self.asks.iter().enumerate().map(|(at, ask)| (ask.at_ms, Step::Ask(at))));
        steps.sort_unstable();
        steps
    }

    /// As a plan of Pangea's: lines and shrinking take these. What users ask stands in it by its number only.
    pub(super) fn to_plan(&self) -> Plan {
        let node = |node: &Node| crate::plan::Node {
            id: node.id,
            region: node.region.clone(),
            start_ms: Some(node.start_ms),
            quota: 0,
            nat: Nat::Open,
            knows: Vec::new(),
        };
        let operation = |ask: &Ask| Operation {
            id: ask.id,
            at_ms: ask.at_ms,
            node: ask.node,
            what: Do::Put {
                content: Content::Zeros,
                bytes: 1,
                files: 0,
                code: None,
                profile: Profile::Fast,
                lease_s: 0,
            },
        };
        Plan {
            scenario: self.lab.clone(),
            story: String::new(),
            seed: self.seed,
            tier: TierName::Swarm,
            warm: false,
            calm_ms: self.calm_ms,
            end_ms: self.end_ms,
            read_back: false,
            harmless: false,
            reads_within_ms: None,
            without: Vec::new(),
            sometimes: Vec::new(),
            peers_target: 0,
            regions: self.regions.clone(),
            lines: self.lines.clone(),
            nodes: self.nodes.iter().map(node).collect(),
            operations: self.asks.iter().map(operation).collect(),
            faults: self.faults.clone(),
        }
    }

    /// What is left of this case if `plan` is what is left of its plan. The time to recover stays as it was: with less
    /// of it, promises for the end would be broken that are none.
    pub(super) fn cut_to(&self, plan: &Plan) -> Self {
        let nodes: BTreeSet<NodeId> = plan.nodes.iter().map(|node| node.id).collect();
        let asks: BTreeMap<u32, u64> =
            plan.operations.iter().map(|operation| (operation.id, operation.at_ms)).collect();
        Self {
            lab: self.lab.clone(),
            seed: self.seed,
            calm_ms: plan.calm_ms,
            end_ms: plan.calm_ms + (self.end_ms - self.calm_ms),
            regions: plan.regions.clone(),
            lines: plan.lines.clone(),
            nodes: self.nodes.iter().filter(|node| nodes.contains(&node.id)).cloned().collect(),
            asks: self.asks.iter().filter_map(|ask| Some(Ask { at_ms: *asks.get(&ask.id)?, ..ask.clone() })).collect(),
            faults: plan.faults.clone(),
        }
    }
}
