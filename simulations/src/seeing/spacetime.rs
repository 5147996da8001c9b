//! The space-time diagram, after Lamport (1978): time runs down, each node has a lane, each frame is an arrow that ends in
//! a cross if it was lost. Bars are crashes and pauses, bands are faults, signs are operations, goals and violations.
//!
//! The page opens at the first violation. `web/spacetime*.js` draws it.

use super::{
    page::{self, Parts},
    picture::Picture,
    story::{Marked, Story},
    units::count,
};
use crate::record::{NodeId, Record};
use std::collections::{BTreeMap, BTreeSet};

/// The most nodes that have a lane of their own; all others share one.
const LANES_MAX: usize = 120;
/// As many nodes of one fault get lanes because of it.
const FEW: usize = 8;
/// The most arrows.
const FRAMES_MAX: usize = 30_000;

const PARTS: Parts = Parts {
    styles: &[include_str!("web/base.css"), include_str!("web/spacetime.css")],
    body: include_str!("web/spacetime.html"),
    scripts: &[
        include_str!("web/base.js"),
        include_str!("web/spacetime_model.js"),
        include_str!("web/spacetime_view.js"),
        include_str!("web/spacetime_frames.js"),
        include_str!("web/spacetime_draw.js"),
        include_str!("web/spacetime_overview.js"),
        include_str!("web/spacetime.js"),
    ],
};

/// The page.
pub fn html(records: &[Record], title: &str) -> String {
    let story = Story::read(records);
    let lanes = lanes(&story);
    let mut picture = Picture::new(&story, title, &lanes);
    let frames: Vec<_> = story.frames.all.iter().collect();
    let others = story.nodes.len() - lanes.len();
    let frames: Vec<_> =
        frames.into_iter().filter(|frame| lanes.contains(&frame.from) || lanes.contains(&frame.to)).collect();
    if others > 0 {
        let (shown, hidden) = (lanes.len(), story.frames.all.len() - frames.len());
        picture.note(format!(
            "{shown} of {} nodes have a lane: those of violations, faults and operations, then the busiest. {} frames \
             among the other {} are left out.",
            count(story.nodes.len() as u64),
            count(hidden as u64),
            count(others as u64)
        ));
    }
    picture.add_frames(frames, FRAMES_MAX, Some(focus_ns(&story)));
    page::html(title, &picture, &PARTS)
}

/// The moment that a person looks at first.
fn focus_ns(story: &Story) -> u64 {
    let fault = story.faults.values().map(|fault| fault.began_ns).min();
    story.violated_ns().or(fault).unwrap_or(0)
}

/// Who gets a lane.
fn lanes(story: &Story) -> BTreeSet<NodeId> {
    let mut weights: BTreeMap<NodeId, u64> = story.nodes.keys().map(|node| (*node, 0)).collect();
    let mut weigh = |node: NodeId, weight: u64| *weights.entry(node).or_default() += weight;
    for frame in &story.frames.all {
        weigh(frame.from, 1);
        weigh(frame.to, 1);
    }
    for operation in story.operations.values() {
        operation.node.iter().for_each(|node| weigh(*node, 1 << 32));
    }
    for fault in story.faults.values() {
        // A fault of many says little about any one of them.
        let few = fault.nodes.iter().filter(|_| fault.nodes.len() <= FEW);
        few.for_each(|node| weigh(*node, 1 << 40));
    }
    for mark in story.marks.iter().filter(|mark| matches!(mark.what, Marked::Violation { .. })) {
        mark.node.iter().for_each(|node| weigh(*node, 1 << 50));
    }
    let mut nodes: Vec<(NodeId, u64)> = weights.into_iter().collect();
    nodes.sort_by_key(|(node, weight)| (u64::MAX - weight, *node));
    nodes.into_iter().take(LANES_MAX).map(|(node, _)| node).collect()
}
