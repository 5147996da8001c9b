//! The summary: a table that a person reads in ten seconds. The worst comes first.

use super::{
    frames::Fate,
    story::{Marked, Operation, Story},
    units::{self, count, counted, duration},
};
use crate::record::Record;
use std::{collections::BTreeMap, fmt::Write};

/// The most lines of one part of the table; the last one says how much more there is.
const LINES_MAX: usize = 12;
const TEXT_CHARS_MAX: usize = 100;

/// The table, as text.
pub fn text(records: &[Record], title: &str) -> String {
    let story = Story::read(records);
    let mut table = format!("{}\n", units::line(title, TEXT_CHARS_MAX));
    row(&mut table, &network(&story));
    for part in [violations(&story), goals(&story), operations(&story), frames(&story), faults(&story)] {
        table.push('\n');
        for line in part {
            row(&mut table, &line);
        }
    }
    table
}

fn row(table: &mut String, line: &str) {
    table.push_str("  ");
    table.push_str(line);
    table.truncate(table.trim_end().len());
    table.push('\n');
}

fn network(story: &Story) -> String {
    let mut regions: BTreeMap<&str, u64> = BTreeMap::new();
    for region in story.nodes.values().filter(|region| !region.is_empty()) {
        *regions.entry(region).or_default() += 1;
    }
    let mut text = counted(story.nodes.len() as u64, "node", "nodes");
    if !regions.is_empty() {
        let mut names: Vec<_> =
            regions.iter().take(8).map(|(name, nodes)| format!("{} {nodes}", short(name))).collect();
        if regions.len() > names.len() {
            names.push(format!("{} more regions", regions.len() - names.len()));
        }
        let _ = write!(text, " ({})", names.join(", "));
    }
    format!("{text}, {} of virtual time", duration(story.end_ns))
}

fn violations(story: &Story) -> Vec<String> {
    let mut lines = Vec::new();
    for mark in &story.marks {
        if let Marked::Violation { oracle, text } = &mark.what {
            let place = mark.node.map(|node| format!(" at n{node}")).unwrap_or_default();
            lines.push(format!("VIOLATED {} at {}{place}: {}", short(oracle), duration(mark.at_ns), short(text)));
        }
    }
    if lines.is_empty() {
        lines.push("no promise was broken".to_owned());
    }
    bounded(lines, "more violations")
}

fn goals(story: &Story) -> Vec<String> {
    let mut lines = Vec::new();
    for mark in &story.marks {
        if let Marked::Goal(goal) = &mark.what {
            lines.push(format!("reached {} after {}", short(goal), duration(mark.at_ns)));
        }
    }
    if lines.is_empty() {
        lines.push("no goal was reached".to_owned());
    }
    bounded(lines, "more goals")
}

fn operations(story: &Story) -> Vec<String> {
    let mut verbs: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in story.operations.values() {
        verbs.entry(operation.verb()).or_default().push(operation);
    }
    let mut lines =
        vec![format!("{:<16}{:>8}{:>8}{:>8}{:>12}{:>12}", "operations", "ok", "failed", "open", "p50", "p99")];
    for (verb, operations) in verbs {
        let ended = || operations.iter().filter_map(|operation| Some((operation.asked_ns, operation.ended.as_ref()?)));
        let mut latencies: Vec<u64> =
            ended().filter(|(_, end)| end.ok).map(|(asked, end)| end.at_ns.saturating_sub(asked)).collect();
        latencies.sort_unstable();
        let latency = |of_hundred| percentile(&latencies, of_hundred).map_or_else(|| "-".to_owned(), duration);
        let (ok, all) = (latencies.len(), ended().count());
        let (p50, p99) = (latency(50), latency(99));
        let verb = units::line(verb, 14);
        lines.push(format!("  {verb:<14}{ok:>8}{:>8}{:>8}{p50:>12}{p99:>12}", all - ok, operations.len() - all));
    }
    bounded(lines, "more kinds of operations")
}

fn frames(story: &Story) -> Vec<String> {
    /// What is counted of the frames with one label.
    #[derive(Clone, Default)]
    struct Tally {
        sent: u64,
        lost: u64,
        bytes: u64,
    }
    let frames = &story.frames;
    let mut tallies = vec![Tally::default(); frames.labels.len() + 1];
    for frame in &frames.all {
        for label in [frame.label, frames.labels.len()] {
            let tally = &mut tallies[label];
            tally.sent += 1;
            tally.lost += u64::from(frame.fate == Fate::Lost);
            tally.bytes = tally.bytes.saturating_add(frame.bytes);
        }
    }
    let mut lines = vec![format!("{:<24}{:>12}{:>12}{:>16}", "frames", "sent", "lost", "bytes")];
    let names = frames.labels.iter().map(String::as_str).chain(["all"]);
    for (name, Tally { sent, lost, bytes }) in names.zip(tallies) {
        let (name, bytes) = (units::line(name, 22), units::bytes(bytes));
        lines.push(format!("  {name:<22}{:>12}{:>12}{bytes:>16}", count(sent), count(lost)));
    }
    let total = lines.pop();
    let mut lines = bounded(lines, "more labels");
    lines.extend(total);
    lines
}

fn faults(story: &Story) -> Vec<String> {
    let mut faults: Vec<_> = story.faults.values().collect();
    faults.sort_by_key(|fault| fault.began_ns);
    let mut lines = vec![counted(faults.len() as u64, "fault", "faults")];
    for fault in faults {
        let lasted = fault.ended_ns.map_or_else(
            || "to the end".to_owned(),
            |ended| format!("for {}", duration(ended.saturating_sub(fault.began_ns))),
        );
        let nodes = match fault.nodes.len() {
            0 => String::new(),
            number => format!(", {}", counted(number as u64, "node", "nodes")),
        };
        lines.push(format!("  at {:<10} {lasted:<16} {}{nodes}", duration(fault.began_ns), short(&fault.text)));
    }
    bounded(lines, "more faults")
}

/// The value that `of_hundred` percent of `sorted` do not exceed: the nearest rank.
fn percentile(sorted: &[u64], of_hundred: usize) -> Option<u64> {
    let rank = (sorted.len() * of_hundred).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

fn bounded(mut lines: Vec<String>, rest: &str) -> Vec<String> {
    if lines.len() > LINES_MAX {
        let more = lines.len() - LINES_MAX;
        lines.truncate(LINES_MAX);
        lines.push(format!("  … and {more} {rest}"));
    }
    lines
}

fn short(text: &str) -> String {
    units::line(text, TEXT_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(percentile(&[7], 99), Some(7));
        assert_eq!(percentile(&[1, 2, 3, 4], 50), Some(2));
        assert_eq!(percentile(&[1, 2, 3, 4], 99), Some(4));
    }
}
