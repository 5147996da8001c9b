//! A plan as a timeline that a person reads.

use crate::{
    plan::{Act, Do, Fault, Plan},
    record::NodeId,
};
use std::fmt::Write;

/// Nodes that a line names before it counts them.
const NAMED_MAX: usize = 8;

/// The whole plan: who is there, then one line per thing that happens, in order.
pub fn explain(plan: &Plan) -> String {
    let mut text = format!("{} (seed {}, {:?} tier)\n", plan.scenario, plan.seed, plan.tier);
    if !plan.story.is_empty() {
        let _ = writeln!(text, "{}\n", plan.story);
    }
    for region in &plan.regions {
        let nodes = plan.nodes.iter().filter(|node| node.region == region.name);
        let _ = writeln!(
            text,
            "  region {}: {} nodes, {:.0} ms (+{:.0}) apart{}",
            region.name,
            nodes.count(),
            region.latency_ms,
            region.jitter_ms,
            if region.loss > 0.0 { format!(", {:.1} % lost", region.loss * 100.0) } else { String::new() },
        );
    }
    for line in &plan.lines {
        let [a, b] = &line.between;
        let _ = writeln!(text, "  {a} to {b}: {:.0} ms (+{:.0})", line.latency_ms, line.jitter_ms);
    }
    text.push('\n');
    let mut lines: Vec<(u64, String)> = Vec::new();
    let starts: Vec<u64> = plan.nodes.iter().filter_map(|node| node.start_ms).collect();
    if let (Some(first), Some(last)) = (starts.iter().min(), starts.iter().max()) {
        lines.push((*first, format!("{} nodes start, the last at {}", starts.len(), time(*last))));
    }
    for operation in &plan.operations {
        lines.push((operation.at_ms, format!("node {}: {}", operation.node, doing(operation.id, &operation.what))));
    }
    for fault in &plan.faults {
        let until = fault.until_ms.map_or_else(|| "for good".to_owned(), |until| format!("until {}", time(until)));
        lines.push((fault.at_ms, format!("FAULT {}: {}, {until}", fault.id, fault_text(fault))));
    }
    lines.push((plan.calm_ms, "CALM: no fault acts any more; from here on the network must recover".to_owned()));
    lines.push((plan.end_ms, "END: everything has been answered".to_owned()));
    lines.sort_by_key(|(at, _)| *at);
    for (at, line) in lines {
        let _ = writeln!(text, "{:>12}  {line}", time(at));
    }
    text
}

/// What a user asks for, in words.
pub fn doing(id: u32, what: &Do) -> String {
    match what {
        Do::Put { content, bytes, files: 0, .. } => format!("put #{id}, {content:?}, {bytes} B").to_lowercase(),
        Do::Put { content, bytes, files, .. } => {
            format!("put #{id}, {files} files, {content:?}, {bytes} B").to_lowercase()
        }
        Do::Get { of, range: None } => format!("get #{of} (#{id})"),
        Do::Get { of, range: Some([offset, length]) } => format!("get #{of}, {length} B at {offset} (#{id})"),
        Do::Remove { of } => format!("remove #{of} (#{id})"),
        Do::Cancel { of } => format!("cancel #{of} (#{id})"),
        Do::ComputeStored { of, stripes, checked, .. } => {
            format!("compute #{id} over #{of}, {stripes} MiB a chunk, {checked:?}").to_lowercase()
        }
        Do::Compute { chunks, bytes, rounds, checked, .. } => {
            format!("compute #{id}, {chunks} chunks of {bytes} B, {rounds} rounds, {checked:?}").to_lowercase()
        }
        Do::Install { of, version } => format!("install #{of} as the {version:?} version (#{id})").to_lowercase(),
        Do::Tell => format!("tell the plugin #{id}"),
        Do::Recall { all: false } => format!("ask the plugin for what it was told here (#{id})"),
        Do::Recall { all: true } => format!("ask the plugin for what it was told anywhere (#{id})"),
    }
}

/// What goes wrong, in words.
pub fn fault_text(fault: &Fault) -> String {
    match &fault.act {
        Act::Latency { from, to, extra_ms, jitter_ms } => {
            format!("{} {extra_ms:.0} ms slower (+{jitter_ms:.0})", line(from, to))
        }
        Act::Loss { from, to, rate } => format!("{} {:.0} % of packets lost", line(from, to), rate * 100.0),
        Act::Reorder { from, to, rate, by_ms } => {
            format!("{} {:.0} % of packets late by {by_ms:.0} ms", line(from, to), rate * 100.0)
        }
        Act::Duplicate { from, to, rate } => format!("{} {:.0} % of packets twice", line(from, to), rate * 100.0),
        Act::Partition { from, to, one_way } => {
            let way = if *one_way { "nothing passes to" } else { "cut off from" };
            format!("{} {way} {}", names(from), names(to))
        }
        Act::Bandwidth { nodes, bytes_per_s, .. } => {
            format!("{} can send {} kB/s only", names(nodes), bytes_per_s / 1000)
        }
        Act::MtuBlackHole { from, to, bytes } => format!("{} packets above {bytes} B vanish", line(from, to)),
        Act::Rebind { nodes } => format!("{} appear under another port", names(nodes)),
        Act::EndGuests { nodes } => format!("the process of plugins of {} ends", names(nodes)),
        Act::Crash { nodes, disk } => format!("{} crash, disk {disk:?}", names(nodes)).to_lowercase(),
        Act::Pause { nodes } => format!("{} stand still", names(nodes)),
        Act::Skew { nodes, by_s, drift_ppm } => {
            format!("calendar of {} off by {by_s} s, drifts {drift_ppm} ppm", names(nodes))
        }
        Act::Disk { nodes, how } => format!("disk of {}: {how:?}", names(nodes)).to_lowercase(),
        Act::Byzantine { nodes, how } => format!("byzantine: {} {how:?}", names(nodes)).to_lowercase(),
        Act::Eclipse { nodes, of } => format!("{} gather around the object of #{of}", names(nodes)),
    }
}

fn line(from: &[NodeId], to: &[NodeId]) -> String {
    format!("{} to {}:", names(from), names(to))
}

fn names(nodes: &[NodeId]) -> String {
    match nodes.len() {
        0 => "all".to_owned(),
        1 => format!("node {}", nodes[0]),
        count if count <= NAMED_MAX => {
            format!("nodes {}", nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(", "))
        }
        count => format!("{count} nodes"),
    }
}

/// A plan's time as people write it.
pub fn time(ms: u64) -> String {
    let (days, rest) = (ms / 86_400_000, ms % 86_400_000);
    let (hours, minutes, seconds) = (rest / 3_600_000, rest / 60_000 % 60, rest as f64 / 1e3 % 60.0);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds:.3}s"),
        (0, 0, _) => format!("{minutes}m{seconds:06.3}s"),
        (0, _, _) => format!("{hours}h{minutes:02}m{seconds:02.0}s"),
        _ => format!("{days}d{hours:02}h{minutes:02}m{seconds:02.0}s"),
    }
}
