//! The trace: one line per event. A network of a few nodes gets a lane per node, in which frames are arrows; a larger one
//! names the node in a column.
//!
//! ```text
//!     seconds  n0  n1  n2
//!    1.250000  ├───▷   │    n0 sends put-shard to n1, 64.0 KiB
//!    1.290000  ├───▶   │    n1 gets put-shard from n0, 64.0 KiB
//!    1.300000  │   ✗   │    n1 crashes; its disk: kept
//! ```
//!
//! `wording` says what happened; `lanes` draws it.

mod lanes;
mod wording;

use super::{Kind, units};
use crate::record::{NodeId, Record, What};
use lanes::Lanes;
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    io::{self, Write},
};

/// The largest number of nodes that get a lane each.
pub const LANES_MAX: usize = 12;

/// Which events are in a trace, and how it looks.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only what happens at these nodes, to them, or to the whole network; `None`: at all of them. If these are few,
    /// they have lanes however large the network is.
    pub nodes: Option<BTreeSet<NodeId>>,
    /// Only events of these kinds; `None`: of all.
    pub kinds: Option<BTreeSet<Kind>>,
    /// Only what happens at this virtual nanosecond or later.
    pub from_ns: Option<u64>,
    /// Only what happens before this virtual nanosecond.
    pub until_ns: Option<u64>,
    /// Colours for a terminal; see [`colour`].
    pub colour: bool,
}

impl Options {
    fn wants(&self, record: &Record) -> bool {
        self.from_ns.is_none_or(|from| record.at_ns >= from)
            && self.until_ns.is_none_or(|until| record.at_ns < until)
            && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&Kind::of(&record.what)))
            && self.nodes.as_ref().is_none_or(|nodes| concerns(record, nodes))
    }
}

/// Whether a terminal wants colours: it is one, and nobody set `NO_COLOR` (<https://no-color.org>).
pub fn colour(is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

/// The trace as text.
pub fn text(records: &[Record], options: &Options) -> String {
    let mut out = Vec::new();
    match write(records, options, &mut out) {
        Ok(()) => String::from_utf8_lossy(&out).into_owned(),
        Err(error) => unreachable!("memory takes every write: {error}"),
    }
}

/// Writes the trace, one line per event: what a run of any length can be piped through.
///
/// # Errors
/// Those of `out`.
pub fn write(records: &[Record], options: &Options, out: &mut impl Write) -> io::Result<()> {
    let nodes = options.nodes.clone().unwrap_or_else(|| all_nodes(records));
    let names = nodes.iter().map(|node| node.to_string().len() + 1).max().unwrap_or(0).max("node".len());
    let mut lanes = (nodes.len() <= LANES_MAX).then(|| Lanes::new(&nodes));
    let head = lanes.as_ref().map_or_else(|| format!("{:<names$}", "node"), Lanes::head);
    writeln!(out, "{:>12}  {}", "seconds", head.trim_end())?;
    for record in records {
        let drawn = lanes.as_mut().map(|lanes| lanes.draw(record));
        if !options.wants(record) {
            continue;
        }
        let name = record.node.map(|node| format!("n{node}"));
        let what = wording::of(&record.what);
        let line = match (drawn, name) {
            (Some(drawn), Some(name)) => format!("{drawn}  {name} {what}"),
            (Some(drawn), None) => format!("{drawn}  {what}"),
            (None, name) => format!("{:<names$}  {what}", name.as_deref().unwrap_or("*")),
        };
        let (begin, end) = if options.colour { wording::colours(&record.what) } else { ("", "") };
        writeln!(out, "{:>12}  {begin}{line}{end}", units::moment(record.at_ns))?;
    }
    Ok(())
}

fn all_nodes(records: &[Record]) -> BTreeSet<NodeId> {
    records.iter().flat_map(|record| record.node.into_iter().chain(peer(&record.what))).collect()
}

/// The other node of an event between two.
fn peer(what: &What) -> Option<NodeId> {
    match what {
        What::Connected { peer }
        | What::Disconnected { peer, .. }
        | What::Sent { peer, .. }
        | What::Arrived { peer, .. } => Some(*peer),
        _ => None,
    }
}

fn concerns(record: &Record, wanted: &BTreeSet<NodeId>) -> bool {
    let Record { node, what, .. } = record;
    if let What::FaultBegan { nodes, .. } = what
        && !nodes.is_empty()
    {
        return nodes.iter().any(|node| wanted.contains(node));
    }
    node.is_none_or(|node| wanted.contains(&node)) || peer(what).is_some_and(|peer| wanted.contains(&peer))
}
