//! [`Picture`]: what a page's script draws, bounded, as the JSON that is embedded in the page.
//!
//! Rows are arrays because there are many of them; `web/base.js` names their places.

use super::{
    bounds::{self, Change},
    frames::{Fate, Frame},
    story::{Marked, Story},
    units::{count, duration, line},
};
use crate::record::{NodeId, Record, What};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The longest text of a record that a page has in full.
const TEXT_CHARS_MAX: usize = 240;
/// The most operations, and the most faults, goals and violations.
const OPERATIONS_MAX: usize = 4_000;
const MARKS_MAX: usize = 1_000;
/// The most names of nodes in all faults together.
const FAULT_NODES_MAX: usize = 100_000;
/// The most changes of what nodes do, of connections, of disks, of operations' progress.
const LIVES_MAX: usize = 30_000;
const LINKS_MAX: usize = 40_000;
const HOLDS_MAX: usize = 30_000;
const PROGRESS_MAX: usize = 10_000;

/// Sent, flight (-1 lost, -2 underway), from, to, label, bytes.
type FrameRow = (u64, i64, NodeId, NodeId, usize, u64);
/// Node, text, asked, ended (null: never), ok, text of the end.
type OperationRow = (Option<NodeId>, String, u64, Option<u64>, bool, String);
/// Text, nodes, began, ended (null: never), sort.
type FaultRow = (String, Vec<NodeId>, u64, Option<u64>, u8);
/// Time, node, sort (0 goal, 1 violation, 2 calm), text.
type MarkRow = (u64, Option<NodeId>, u8, String);

/// All that a page knows.
#[derive(Debug, Default, Serialize)]
pub(super) struct Picture {
    title: String,
    end_ns: u64,
    /// What is left out, in sentences.
    notes: Vec<String>,
    /// How many nodes the run had; [`Self::nodes`] are those shown.
    nodes_all: usize,
    frames_all: usize,
    regions: Vec<String>,
    labels: Vec<String>,
    nodes: Vec<(NodeId, usize)>,
    frames: Vec<FrameRow>,
    /// Between these times no frame is left out.
    window: Option<(u64, u64)>,
    lives: Vec<(u64, NodeId, u8)>,
    operations: Vec<OperationRow>,
    faults: Vec<FaultRow>,
    marks: Vec<MarkRow>,
    /// Time, the two nodes, whether they are connected.
    links: Vec<(u64, NodeId, NodeId, bool)>,
    /// Time, operation (its place in [`Self::operations`]), part done.
    progress: Vec<(u64, usize, f64)>,
    /// Time, node, shards, bytes.
    holds: Vec<(u64, NodeId, u64, u64)>,
}

impl Picture {
    /// A picture of `nodes` that has all but frames and values that change: see [`Self::add_frames`] and
    /// [`Self::add_values`].
    pub(super) fn new(story: &Story, title: &str, nodes: &BTreeSet<NodeId>) -> Self {
        let names: BTreeSet<&String> = story.nodes.values().collect();
        let places: BTreeMap<&String, usize> = names.iter().enumerate().map(|(place, name)| (*name, place)).collect();
        let mut picture = Self {
            title: text(title),
            end_ns: story.end_ns,
            nodes_all: story.nodes.len(),
            frames_all: story.frames.all.len(),
            regions: names.iter().map(|name| text(name)).collect(),
            labels: story.frames.labels.iter().map(|label| text(label)).collect(),
            nodes: nodes.iter().map(|node| (*node, places[&story.nodes[node]])).collect(),
            ..Self::default()
        };
        picture.add_lives(story, nodes);
        picture.add_operations(story);
        picture.add_faults(story, nodes);
        picture.add_marks(story);
        picture
    }

    pub(super) fn note(&mut self, sentence: String) {
        self.notes.push(sentence);
    }

    /// Adds at most `max` of `frames`, whole around `focus_ns`.
    pub(super) fn add_frames(&mut self, frames: Vec<&Frame>, max: usize, focus_ns: Option<u64>) {
        let among = frames.len();
        let sample = bounds::sample(frames, max, focus_ns);
        if sample.frames.len() < among {
            let shown = format!("{} of {} frames are shown", count(sample.frames.len() as u64), count(among as u64));
            self.note(match sample.window {
                Some((begin, end)) => {
                    let [begin, end] = [begin, end].map(duration);
                    format!("{shown}: all of those from {begin} to {end}, the others spread evenly.")
                }
                None => format!("{shown}, spread evenly."),
            });
        }
        self.window = sample.window;
        self.frames.extend(sample.frames.into_iter().map(|frame| {
            let flight_ns = match frame.fate {
                Fate::Arrived(at_ns) => i64::try_from(at_ns.saturating_sub(frame.sent_ns)).unwrap_or(i64::MAX),
                Fate::Lost => -1,
                Fate::Underway => -2,
            };
            (frame.sent_ns, flight_ns, frame.from, frame.to, frame.label, frame.bytes)
        }));
    }

    /// Adds connections, progress and what disks hold.
    pub(super) fn add_values(&mut self, records: &[Record], story: &Story) {
        let places: BTreeMap<u32, usize> =
            story.operations.keys().take(OPERATIONS_MAX).enumerate().map(|(place, id)| (*id, place)).collect();
        let (mut links, mut progress, mut holds) = (Vec::new(), Vec::new(), Vec::new());
        for Record { at_ns, node, what } in records {
            match (what, node) {
                (What::Connected { peer }, Some(node)) => links.push((*at_ns, pair(*node, *peer), true)),
                (What::Disconnected { peer, .. }, Some(node)) => links.push((*at_ns, pair(*node, *peer), false)),
                (What::Holds { shards, bytes }, Some(node)) => holds.push((*at_ns, *node, (*shards, *bytes))),
                (What::Progress { operation, done }, _) => {
                    progress.extend(places.get(operation).map(|place| (*at_ns, *place, done.clamp(0.0, 1.0))));
                }
                _ => {}
            }
        }
        let links = self.thin(links, LINKS_MAX, "connections");
        self.links = links.into_iter().map(|(at_ns, (one, other), up)| (at_ns, one, other, up)).collect();
        self.progress = self.thin(progress, PROGRESS_MAX, "operations' progress");
        let holds = self.thin(holds, HOLDS_MAX, "disks");
        self.holds = holds.into_iter().map(|(at_ns, node, (shards, bytes))| (at_ns, node, shards, bytes)).collect();
    }

    fn thin<K: Copy + Ord + std::hash::Hash, V>(
        &mut self,
        changes: Vec<Change<K, V>>,
        max: usize,
        of: &str,
    ) -> Vec<Change<K, V>> {
        let thinned = bounds::thin(changes, max, self.end_ns);
        if thinned.slot_ns > 0 {
            let most = if thinned.one_of > 1 { format!(" and one of {}", thinned.one_of) } else { String::new() };
            self.note(format!("Changes of {of} are shown every {}{most}.", duration(thinned.slot_ns)));
        }
        thinned.kept
    }

    fn add_lives(&mut self, story: &Story, nodes: &BTreeSet<NodeId>) {
        let shown = story.lives.iter().filter(|(_, node, _)| nodes.contains(node));
        let changes = shown.map(|(at_ns, node, life)| (*at_ns, *node, *life as u8)).collect();
        self.lives = self.thin(changes, LIVES_MAX, "nodes' states");
    }

    fn add_operations(&mut self, story: &Story) {
        self.bounded(story.operations.len(), OPERATIONS_MAX, "operations");
        for operation in story.operations.values().take(OPERATIONS_MAX) {
            let end = operation.ended.as_ref();
            let (node, asked) = (operation.node, operation.asked_ns);
            let (ok, said) = end.map_or((false, String::new()), |end| (end.ok, text(&end.text)));
            self.operations.push((node, text(&operation.text), asked, end.map(|end| end.at_ns), ok, said));
        }
    }

    fn add_faults(&mut self, story: &Story, nodes: &BTreeSet<NodeId>) {
        self.bounded(story.faults.len(), MARKS_MAX, "faults");
        let mut names_left = FAULT_NODES_MAX;
        for fault in story.faults.values().take(MARKS_MAX) {
            let shown = fault.nodes.iter().copied().filter(|node| nodes.contains(node));
            let mut among: Vec<NodeId> = shown.take(names_left).collect();
            names_left -= among.len();
            if among.is_empty() {
                // No names would mean the whole network.
                among.extend(fault.nodes.first());
            }
            self.faults.push((text(&fault.text), among, fault.began_ns, fault.ended_ns, fault.sort() as u8));
        }
        if names_left == 0 {
            self.note("Not every fault names all of its nodes.".to_owned());
        }
    }

    fn add_marks(&mut self, story: &Story) {
        self.bounded(story.marks.len(), MARKS_MAX, "goals and violations");
        for mark in story.marks.iter().take(MARKS_MAX) {
            let (sort, said) = match &mark.what {
                Marked::Goal(goal) => (0, text(goal)),
                Marked::Violation { oracle, text: said } => (1, text(&format!("{oracle}: {said}"))),
                Marked::Calm => (2, "all faults are over".to_owned()),
            };
            self.marks.push((mark.at_ns, mark.node, sort, said));
        }
    }

    fn bounded(&mut self, number: usize, max: usize, of: &str) {
        if number > max {
            self.note(format!("The first {} of {} {of} are shown.", count(max as u64), count(number as u64)));
        }
    }
}

fn pair(one: NodeId, other: NodeId) -> (NodeId, NodeId) {
    (one.min(other), one.max(other))
}

fn text(text: &str) -> String {
    line(text, TEXT_CHARS_MAX)
}
