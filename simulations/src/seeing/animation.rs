//! The animation: the network as it lives. Nodes stand by region, connections are lines, frames are moving dots, disks
//! fill up, faults show on the nodes that have them; below, a timeline of the whole run to scrub through.
//!
//! Frames would be too fast to see, so a dot takes its time; the page says so. `web/animation*.js` draws it.

use super::{
    page::{self, Parts},
    picture::Picture,
    story::Story,
};
use crate::record::Record;

/// The most moving dots of the whole run.
const FRAMES_MAX: usize = 30_000;

const PARTS: Parts = Parts {
    styles: &[include_str!("web/base.css"), include_str!("web/animation.css")],
    body: include_str!("web/animation.html"),
    scripts: &[
        include_str!("web/base.js"),
        include_str!("web/animation_reel.js"),
        include_str!("web/animation_layout.js"),
        include_str!("web/animation_node.js"),
        include_str!("web/animation_stage.js"),
        include_str!("web/animation_timeline.js"),
        include_str!("web/animation_panel.js"),
        include_str!("web/animation.js"),
    ],
};

/// The page.
pub fn html(records: &[Record], title: &str) -> String {
    let story = Story::read(records);
    let mut picture = Picture::new(&story, title, &story.nodes.keys().copied().collect());
    picture.add_frames(story.frames.all.iter().collect(), FRAMES_MAX, None);
    picture.add_values(records, &story);
    page::html(title, &picture, &PARTS)
}
