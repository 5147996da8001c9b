//! [`Story`]: a run's records read once, as the things that pictures are made of.

use super::frames::Frames;
use crate::record::{NodeId, Record, What};
use std::collections::BTreeMap;

/// A run, as things instead of events.
#[derive(Debug, Default)]
pub(crate) struct Story {
    /// The last record's time.
    pub(crate) end_ns: u64,
    /// All nodes that the records name, and where they are (empty: nothing was said).
    pub(crate) nodes: BTreeMap<NodeId, String>,
    pub(crate) frames: Frames,
    pub(crate) operations: BTreeMap<u32, Operation>,
    pub(crate) faults: BTreeMap<u32, Fault>,
    /// Changes of a node's state, by time.
    pub(crate) lives: Vec<(u64, NodeId, Life)>,
    /// Goals, violations and the calm, by time.
    pub(crate) marks: Vec<Mark>,
}

/// What state a node is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Down = 0,
    Runs = 1,
    Paused = 2,
}

/// Something that a user asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operation {
    pub(crate) node: Option<NodeId>,
    pub(crate) text: String,
    pub(crate) asked_ns: u64,
    pub(crate) ended: Option<Ended>,
}

/// How an operation ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) at_ns: u64,
    pub(crate) ok: bool,
    pub(crate) text: String,
}

impl Operation {
    /// The first word of its text: operations are counted by it.
    pub(crate) fn verb(&self) -> &str {
        self.text.split_whitespace().next().unwrap_or("?")
    }
}

/// A fault, and how long it lasted.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) text: String,
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) began_ns: u64,
    /// `None`: it was there to the end.
    pub(crate) ended_ns: Option<u64>,
}

/// What a fault does, guessed from the words of its text: only colours and symbols depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Other = 0,
    /// Its nodes cannot talk to the others.
    Partition = 1,
    /// Its nodes do not keep to the protocol.
    Byzantine = 2,
}

const PARTITION: [&str; 4] = ["partition", "split", "isolat", "cut off"];
const BYZANTINE: [&str; 7] = ["byzantine", "lying", "lies", "withhold", "sybil", "false ", "poison"];

impl Fault {
    pub(crate) fn sort(&self) -> Sort {
        let text = self.text.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        match () {
            () if has(&PARTITION) => Sort::Partition,
            () if has(&BYZANTINE) && !text.contains("fsync") => Sort::Byzantine,
            () => Sort::Other,
        }
    }
}

/// A moment that a person wants to find.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) at_ns: u64,
    pub(crate) node: Option<NodeId>,
    pub(crate) what: Marked,
}

/// Why they want to find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    Goal(String),
    Violation { oracle: String, text: String },
    Calm,
}

impl Story {
    /// Reads a run. Records may be a part of one: an end without a beginning is taken to have begun with the part.
    pub(crate) fn read(records: &[Record]) -> Self {
        let mut story =
            Self { end_ns: records.iter().map(|record| record.at_ns).max().unwrap_or(0), ..Self::default() };
        for record in records {
            story.see_nodes(record);
            story.see(record);
        }
        story.frames = Frames::read(records, story.end_ns);
        story
    }

    /// When the first promise was broken.
    pub(crate) fn violated_ns(&self) -> Option<u64> {
        self.marks.iter().find(|mark| matches!(mark.what, Marked::Violation { .. })).map(|mark| mark.at_ns)
    }

    fn see_nodes(&mut self, record: &Record) {
        let mut known = |node: NodeId| {
            self.nodes.entry(node).or_default();
        };
        record.node.into_iter().for_each(&mut known);
        match &record.what {
            What::Connected { peer }
            | What::Disconnected { peer, .. }
            | What::Sent { peer, .. }
            | What::Arrived { peer, .. } => known(*peer),
            What::FaultBegan { nodes, .. } => nodes.iter().copied().for_each(known),
            _ => {}
        }
    }

    fn see(&mut self, record: &Record) {
        let Record { at_ns, node, what } = record;
        let mut mark = |what| self.marks.push(Mark { at_ns: *at_ns, node: *node, what });
        match what {
            What::Started { region } => {
                self.live(record, Life::Runs);
                node.map(|node| self.nodes.insert(node, region.clone()));
            }
            What::Crashed { .. } => self.live(record, Life::Down),
            What::Paused { paused } => self.live(record, if *paused { Life::Paused } else { Life::Runs }),
            What::Asked { operation, text } => {
                let asked = Operation { node: *node, text: text.clone(), asked_ns: *at_ns, ended: None };
                self.operations.insert(*operation, asked);
            }
            What::Ended { operation, ok, text } => {
                let ended = Ended { at_ns: *at_ns, ok: *ok, text: text.clone() };
                self.operations.entry(*operation).or_default().ended = Some(ended);
            }
            What::FaultBegan { fault, text, nodes } => {
                let began = Fault { text: text.clone(), nodes: nodes.clone(), began_ns: *at_ns, ended_ns: None };
                self.faults.insert(*fault, began);
            }
            What::FaultEnded { fault } => {
                self.faults.entry(*fault).and_modify(|fault| fault.ended_ns = Some(*at_ns));
            }
            What::Reached { goal } => mark(Marked::Goal(goal.clone())),
            What::Violated { oracle, text } => {
                mark(Marked::Violation { oracle: oracle.clone(), text: text.clone() });
            }
            What::Calm => mark(Marked::Calm),
            What::Connected { .. }
            | What::Disconnected { .. }
            | What::Sent { .. }
            | What::Arrived { .. }
            | What::Progress { .. }
            | What::Holds { .. } => {}
        }
    }

    fn live(&mut self, record: &Record, life: Life) {
        self.lives.extend(record.node.map(|node| (record.at_ns, node, life)));
    }
}
