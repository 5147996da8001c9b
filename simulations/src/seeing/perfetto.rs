//! Chrome trace-event JSON, which ui.perfetto.dev and chrome://tracing open.
//!
//! Each node is a process with one thread: its frames, and when it was down or stood still. Its operations are slices
//! beside it, what it holds is a counter. Arrows go from a frame sent to the frame arrived. Process 0 is the network:
//! faults, goals, violations. The format: "Trace Event Format", Google, 2016; times are in microseconds.

use super::{
    bounds::{self, Sample},
    frames::{Fate, Frame},
    story::{Life, Marked, Story},
    units::{duration, line},
};
use crate::record::{NodeId, Record, What};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The most frames, each of which takes about 400 bytes.
const FRAMES_MAX: usize = 50_000;
/// The most changes of what disks hold.
const HOLDS_MAX: usize = 50_000;
/// How long a frame's slice is, at most: frames take no time, but arrows need slices to begin and end in.
const FRAME_NS: u64 = 20_000;
const TEXT_CHARS_MAX: usize = 240;

const NETWORK: u64 = 0;

/// The whole file.
pub fn json(records: &[Record], title: &str) -> String {
    let story = Story::read(records);
    let mut events = vec![named(NETWORK, "process_name", "network"), named(NETWORK, "thread_name", "marks")];
    for (node, region) in &story.nodes {
        events.push(named(process(*node), "process_name", &format!("n{node} {}", text(region))));
        events.push(named(process(*node), "thread_name", &format!("n{node}")));
        events.push(json!({"ph": "M", "pid": process(*node), "tid": 1, "name": "process_sort_index",
            "args": {"sort_index": process(*node)}}));
    }
    let focus_ns = story.violated_ns();
    let sample = bounds::sample(story.frames.all.iter().collect(), FRAMES_MAX, focus_ns);
    add_frames(&mut events, &sample, &story.frames.labels);
    add_lives(&mut events, &story);
    add_operations(&mut events, &story);
    add_network(&mut events, &story);
    let slot_ns = add_holds(&mut events, records, story.end_ns);
    let shown = format!("{} of {}", sample.frames.len(), story.frames.all.len());
    let whole = sample.window.map(|(begin, end)| format!("{} to {}", duration(begin), duration(end)));
    json!({
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {"title": text(title), "frames": shown, "every frame is shown from": whole,
            "disks are shown every": duration(slot_ns)},
    })
    .to_string()
}

fn process(node: NodeId) -> u64 {
    u64::from(node) + 1
}

fn text(text: &str) -> String {
    line(text, TEXT_CHARS_MAX)
}

fn us(ns: u64) -> f64 {
    ns as f64 / 1_000.0
}

fn named(pid: u64, what: &str, name: &str) -> Value {
    json!({"ph": "M", "pid": pid, "tid": 1, "name": what, "args": {"name": name}})
}

/// One end of a frame, on the track of one node.
struct End<'a> {
    at_ns: u64,
    frame: &'a Frame,
    arrow: usize,
    sends: bool,
}

fn add_frames(events: &mut Vec<Value>, sample: &Sample<'_>, labels: &[String]) {
    let mut tracks: BTreeMap<NodeId, Vec<End<'_>>> = BTreeMap::new();
    for (arrow, frame) in sample.frames.iter().enumerate() {
        let sent = End { at_ns: frame.sent_ns, frame, arrow, sends: true };
        tracks.entry(frame.from).or_default().push(sent);
        if let Fate::Arrived(at_ns) = frame.fate {
            tracks.entry(frame.to).or_default().push(End { at_ns, frame, arrow, sends: false });
        }
    }
    for (node, mut ends) in tracks {
        ends.sort_by_key(|end| end.at_ns);
        let mut free_ns = 0;
        for (place, end) in ends.iter().enumerate() {
            // Slices of one track must not overlap; those of the same moment stand one nanosecond apart.
            let begin_ns = end.at_ns.max(free_ns);
            let next_ns = ends.get(place + 1).map_or(u64::MAX, |next| next.at_ns);
            free_ns = begin_ns + next_ns.saturating_sub(begin_ns).clamp(1, FRAME_NS);
            add_end(events, node, end, [begin_ns, free_ns], labels);
        }
    }
}

fn add_end(events: &mut Vec<Value>, node: NodeId, end: &End<'_>, [begin_ns, end_ns]: [u64; 2], labels: &[String]) {
    let End { frame, arrow, sends, .. } = end;
    let lost = if frame.fate == Fate::Lost { " (lost)" } else { "" };
    let (verb, peer) = if *sends { ("to", frame.to) } else { ("from", frame.from) };
    let name = format!("{} {verb} n{peer}{lost}", text(&labels[frame.label]));
    let (pid, ts) = (process(node), us(begin_ns));
    events.push(json!({"ph": "X", "pid": pid, "tid": 1, "ts": ts, "dur": us(end_ns - begin_ns), "cat": "frame",
        "name": name, "args": {"bytes": frame.bytes}}));
    if matches!(frame.fate, Fate::Arrived(_)) {
        let mut flow = json!({"ph": if *sends { "s" } else { "f" }, "id": arrow, "pid": pid, "tid": 1, "ts": ts,
            "cat": "frame", "name": "frame"});
        if !sends {
            flow["bp"] = json!("e");
        }
        events.push(flow);
    }
}

/// A slice that others may overlap: it gets a track of its own beside the thread's.
fn add_slice(events: &mut Vec<Value>, pid: u64, id: &str, name: &str, [begin_ns, end_ns]: [u64; 2], args: &Value) {
    let category = id.split('-').next();
    for (phase, at_ns) in [("b", begin_ns), ("e", end_ns)] {
        events.push(json!({"ph": phase, "pid": pid, "tid": 1, "id": id, "ts": us(at_ns), "cat": category,
            "name": name, "args": args}));
    }
}

fn add_lives(events: &mut Vec<Value>, story: &Story) {
    let mut since: BTreeMap<NodeId, (u64, Life)> = BTreeMap::new();
    let ends = story.nodes.keys().map(|node| (story.end_ns, *node, Life::Runs));
    for (place, (at_ns, node, life)) in story.lives.iter().copied().chain(ends).enumerate() {
        let name = match since.insert(node, (at_ns, life)) {
            Some((begin_ns, Life::Down)) => ("down", begin_ns),
            Some((begin_ns, Life::Paused)) => ("stands still", begin_ns),
            Some((_, Life::Runs)) | None => continue,
        };
        add_slice(events, process(node), &format!("life-{place}"), name.0, [name.1, at_ns], &json!({}));
    }
}

fn add_operations(events: &mut Vec<Value>, story: &Story) {
    for (id, operation) in &story.operations {
        let (end_ns, outcome) = match &operation.ended {
            Some(end) => (end.at_ns, format!("{}: {}", if end.ok { "ok" } else { "failed" }, text(&end.text))),
            None => (story.end_ns, "never ended".to_owned()),
        };
        let (name, args) = (text(&operation.text), json!({"outcome": outcome}));
        let process = operation.node.map_or(NETWORK, process);
        add_slice(events, process, &format!("operation-{id}"), &name, [operation.asked_ns, end_ns], &args);
    }
}

fn add_network(events: &mut Vec<Value>, story: &Story) {
    for (id, fault) in &story.faults {
        let (span, args) = ([fault.began_ns, fault.ended_ns.unwrap_or(story.end_ns)], json!({"nodes": fault.nodes}));
        add_slice(events, NETWORK, &format!("fault-{id}"), &text(&fault.text), span, &args);
    }
    for mark in &story.marks {
        let name = match &mark.what {
            Marked::Goal(goal) => format!("goal: {}", text(goal)),
            Marked::Violation { oracle, text: said } => format!("VIOLATED {}: {}", text(oracle), text(said)),
            Marked::Calm => "calm".to_owned(),
        };
        let process = mark.node.map_or(NETWORK, process);
        events.push(json!({"ph": "i", "s": "g", "pid": process, "tid": 1, "ts": us(mark.at_ns), "name": name}));
    }
}

/// Returns how often a counter changes at most.
fn add_holds(events: &mut Vec<Value>, records: &[Record], end_ns: u64) -> u64 {
    let mut holds = Vec::new();
    for Record { at_ns, node, what } in records {
        if let (Some(node), What::Holds { shards, bytes }) = (node, what) {
            holds.push((*at_ns, *node, (*shards, *bytes)));
        }
    }
    let thinned = bounds::thin(holds, HOLDS_MAX, end_ns);
    for (at_ns, node, (shards, bytes)) in thinned.kept {
        let (pid, ts) = (process(node), us(at_ns));
        for (name, value) in [("shards held", shards), ("bytes held", bytes)] {
            events.push(json!({"ph": "C", "pid": pid, "tid": 1, "ts": ts, "name": name, "args": {"value": value}}));
        }
    }
    thinned.slot_ns
}
