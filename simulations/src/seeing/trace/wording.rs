//! What happened, in words; the subject, a node's name, comes before them.

use super::super::units;
use crate::record::{NodeId, What};

/// The longest text of a record that is shown in full.
const TEXT_CHARS_MAX: usize = 200;
/// The most nodes that a fault's line names.
const NAMES_MAX: usize = 8;

/// The sentence without its subject.
pub(super) fn of(what: &What) -> String {
    match what {
        What::Started { region } if region.is_empty() => "starts".to_owned(),
        What::Started { region } => format!("starts in {}", line(region)),
        What::Crashed { disk } => format!("crashes; its disk: {}", line(disk)),
        What::Paused { paused: true } => "stands still".to_owned(),
        What::Paused { paused: false } => "goes on".to_owned(),
        What::Connected { peer } => format!("connects to n{peer}"),
        What::Disconnected { peer, reason } => format!("loses n{peer}: {}", line(reason)),
        What::Sent { peer, label, bytes, .. } => {
            format!("sends {} to n{peer}, {}", line(label), units::bytes(*bytes))
        }
        What::Arrived { peer, label, bytes, .. } => {
            format!("gets {} from n{peer}, {}", line(label), units::bytes(*bytes))
        }
        What::Asked { operation, text } => format!("is asked #{operation}: {}", line(text)),
        What::Progress { operation, done } => format!("has done {:.0}% of #{operation}", done * 100.0),
        What::Ended { operation, ok: true, text } => format!("completes #{operation}: {}", line(text)),
        What::Ended { operation, ok: false, text } => format!("FAILS at #{operation}: {}", line(text)),
        What::FaultBegan { fault, text, nodes } => format!("fault {fault} begins: {}{}", line(text), names(nodes)),
        What::FaultEnded { fault } => format!("fault {fault} is over"),
        What::Holds { shards, bytes } => {
            format!("holds {}, {}", units::counted(*shards, "shard", "shards"), units::bytes(*bytes))
        }
        What::Reached { goal } => format!("GOAL {}", line(goal)),
        What::Violated { oracle, text } => format!("VIOLATED {}: {}", line(oracle), line(text)),
        What::Calm => "all faults are over; the network must recover".to_owned(),
    }
}

/// What a terminal needs before and after a line about this.
pub(super) fn colours(what: &What) -> (&'static str, &'static str) {
    let begin = match what {
        What::Violated { .. } => "\x1b[1;31m",
        What::Crashed { .. } | What::Ended { ok: false, .. } => "\x1b[31m",
        What::FaultBegan { .. } | What::FaultEnded { .. } | What::Paused { .. } => "\x1b[33m",
        What::Reached { .. } | What::Calm | What::Started { .. } => "\x1b[32m",
        What::Asked { .. } | What::Ended { ok: true, .. } => "\x1b[36m",
        What::Connected { .. } | What::Disconnected { .. } | What::Holds { .. } | What::Progress { .. } => "\x1b[2m",
        What::Sent { .. } | What::Arrived { .. } => return ("", ""),
    };
    (begin, "\x1b[0m")
}

fn line(text: &str) -> String {
    units::line(text, TEXT_CHARS_MAX)
}

fn names(nodes: &[NodeId]) -> String {
    if nodes.is_empty() {
        return String::new();
    }
    let mut names: Vec<String> = nodes.iter().take(NAMES_MAX).map(|node| format!("n{node}")).collect();
    if nodes.len() > NAMES_MAX {
        names.push(format!("and {} more", nodes.len() - NAMES_MAX));
    }
    format!(" ({})", names.join(" "))
}
