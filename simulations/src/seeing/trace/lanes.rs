//! [`Lanes`]: a column per node, drawn with one character per event and an arrow per frame.

use crate::record::{NodeId, Record, What};
use std::collections::{BTreeMap, BTreeSet};

/// The state of the lanes between two events.
pub(super) struct Lanes {
    /// The character that a lane shows while nothing happens on it.
    idle: BTreeMap<NodeId, char>,
    /// Characters from one lane to the next.
    width: usize,
}

const NOT_STARTED: char = '·';
const RUNS: char = '│';
const PAUSED: char = '┊';
const DOWN: char = ' ';

impl Lanes {
    pub(super) fn new(nodes: &BTreeSet<NodeId>) -> Self {
        let width = nodes.iter().map(|node| node.to_string().len() + 3).max().unwrap_or(0).max(4);
        Self { idle: nodes.iter().map(|node| (*node, NOT_STARTED)).collect(), width }
    }

    /// The line of names above the lanes.
    pub(super) fn head(&self) -> String {
        self.idle.keys().map(|node| format!("{:<width$}", format!("n{node}"), width = self.width)).collect()
    }

    /// The lanes at an event. Changes what is drawn from then on.
    pub(super) fn draw(&mut self, record: &Record) -> String {
        let mut cells = vec![' '; self.idle.len() * self.width];
        for (place, idle) in self.idle.values().enumerate() {
            cells[place * self.width] = *idle;
        }
        let mut put = |node: NodeId, sign: char| {
            if let Some(place) = self.place(node) {
                cells[place] = sign;
            }
        };
        if let What::FaultBegan { nodes, .. } = &record.what {
            nodes.iter().for_each(|node| put(*node, '▼'));
        }
        if let Some(node) = record.node {
            match &record.what {
                What::Sent { peer, .. } => self.arrow(&mut cells, node, *peer, ['▷', '◁']),
                What::Arrived { peer, .. } => self.arrow(&mut cells, *peer, node, ['▶', '◀']),
                What::Connected { peer } => self.bond(&mut cells, node, *peer, '○'),
                What::Disconnected { peer, .. } => self.bond(&mut cells, node, *peer, '×'),
                what => put(node, sign(what)),
            }
            self.remember(node, &record.what);
        }
        cells.into_iter().collect()
    }

    fn remember(&mut self, node: NodeId, what: &What) {
        let idle = match what {
            What::Crashed { .. } => DOWN,
            What::Paused { paused: true } => PAUSED,
            What::Started { .. } | What::Paused { paused: false } => RUNS,
            _ => return,
        };
        self.idle.entry(node).and_modify(|lane| *lane = idle);
    }

    fn place(&self, node: NodeId) -> Option<usize> {
        self.idle.keys().position(|lane| *lane == node).map(|place| place * self.width)
    }

    /// From one node to another; a node without a lane is beyond the edge of the picture.
    fn arrow(&self, cells: &mut [char], from: NodeId, to: NodeId, [right, left]: [char; 2]) {
        match (self.place(from), self.place(to)) {
            (Some(from), Some(to)) if from < to => stroke(cells, from, to, ['├', right]),
            (Some(from), Some(to)) if from > to => stroke(cells, to, from, [left, '┤']),
            (Some(at), Some(_)) => cells[at] = '↺',
            (Some(from), None) => cells[from..from + 3].copy_from_slice(&['├', '─', right]),
            (None, Some(to)) => cells[to..to + 3].copy_from_slice(&[left, '─', '─']),
            (None, None) => {}
        }
    }

    fn bond(&self, cells: &mut [char], one: NodeId, other: NodeId, sign: char) {
        match (self.place(one), self.place(other)) {
            (Some(one), Some(other)) => stroke(cells, one.min(other), one.max(other), [sign, sign]),
            (Some(at), None) | (None, Some(at)) => cells[at] = sign,
            (None, None) => {}
        }
    }
}

fn stroke(cells: &mut [char], begin: usize, end: usize, [first, last]: [char; 2]) {
    for cell in &mut cells[begin + 1..end] {
        *cell = if *cell == ' ' { '─' } else { '┼' };
    }
    cells[begin] = first;
    cells[end] = last;
}

fn sign(what: &What) -> char {
    match what {
        What::Started { .. } => '●',
        What::Crashed { .. } => '✗',
        What::Paused { paused: true } => '‖',
        What::Paused { paused: false } => '▸',
        What::Asked { .. } => '?',
        What::Progress { .. } => '…',
        What::Ended { ok: true, .. } => '✓',
        What::Ended { ok: false, .. } => '✗',
        What::FaultBegan { .. } => '▼',
        What::FaultEnded { .. } | What::Calm => '△',
        What::Holds { .. } => '▪',
        What::Reached { .. } => '★',
        What::Violated { .. } => '‼',
        What::Connected { .. } | What::Disconnected { .. } => '○',
        What::Sent { .. } | What::Arrived { .. } => '─',
    }
}
