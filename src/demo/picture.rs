//! What the demo shows: who holds which shards, who died, and what came of it.

use super::Report;
use crate::cli::format::size;
use pangea_protocols::{PeerId, job::Stored};
use std::{fmt::Write as _, io::Write as _};

/// One node in the picture.
#[derive(Clone, Debug)]
pub struct Row {
    /// Position in the cluster.
    pub number: usize,
    /// Who.
    pub peer: PeerId,
    /// Does its process run?
    pub alive: bool,
    /// Does it hold shards of the object that the picture is of?
    pub holds: bool,
    /// Shards and blocks on its disk.
    pub shards: u64,
    /// Bytes on its disk.
    pub bytes: u64,
}

/// Draws.
#[derive(Clone, Copy, Debug)]
pub struct Picture {
    colour: bool,
}

const GREEN: &str = "32";
const YELLOW: &str = "33";
const RED: &str = "31";
const BOLD: &str = "1";
/// Width of the longest bar.
const BAR_MAX: u64 = 32;

impl Picture {
    /// With or without colours.
    pub fn new(colour: bool) -> Self {
        Self { colour }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// What became of an object.
    pub fn stored(self, stored: &Stored, put_ms: u64) -> String {
        let mut text = String::new();
        let data = self.paint(GREEN, &"■".repeat(usize::from(stored.k)));
        let parity = self.paint(YELLOW, &"■".repeat(usize::from(stored.m)));
        let _ = writeln!(
            text,
            "stored in {:.2} s: {} in {} of up to 1 MiB, {} at the holders",
            put_ms as f64 / 1e3,
            size(stored.raw_bytes),
            if stored.stripes == 1 { "1 stripe".to_owned() } else { format!("{} stripes", stored.stripes) },
            size(stored.stored_bytes)
        );
        if stored.stripes > 0 {
            let all = u16::from(stored.k) + u16::from(stored.m);
            text + &format!("a stripe is {data}{parity}: any {} of {all} rebuild it", stored.k)
        } else {
            text + "it is small: every holder keeps a copy"
        }
    }

    /// Who is there, who was killed, and who holds how much.
    pub fn table(self, rows: &[Row]) -> String {
        let most = rows.iter().map(|row| row.shards).max().unwrap_or(0).max(1);
        let mut text = String::new();
        for row in rows {
            let bar = usize::try_from((row.shards * BAR_MAX).div_ceil(most)).unwrap_or(0);
            let (mark, state) = match (row.alive, row.holds) {
                (false, _) => (self.paint(RED, "✗"), self.paint(RED, "killed")),
                (true, true) => (self.paint(GREEN, "●"), self.paint(GREEN, &"▆".repeat(bar))),
                (true, false) => ("○".to_owned(), "▆".repeat(bar)),
            };
            let held =
                if row.alive { format!("{:>6} shards {:>10}", row.shards, size(row.bytes)) } else { String::new() };
            let _ = writeln!(text, "  {mark} node {:<2} …{} {held:<24}  {state}", row.number, row.peer.short());
        }
        text.pop();
        text
    }

    /// What came of it all.
    pub fn summary(self, report: &Report) -> String {
        let mut text = format!("\n{}\n", self.paint(BOLD, "What happened"));
        let header = ["object", "size", "put", "get", "killed", "healed shards", "result"];
        let _ = writeln!(
            text,
            "  {:<20} {:>10} {:>18} {:>18} {:>10} {:>14}  {}",
            header[0], header[1], header[2], header[3], header[4], header[5], header[6]
        );
        for story in &report.stories {
            let speed = |ms: u64| {
                let rate = story.bytes as f64 / 1e6 / (ms.max(1) as f64 / 1e3);
                format!("{:.2} s {rate:>4.0} MB/s", ms as f64 / 1e3)
            };
            let result = if story.intact { self.paint(GREEN, "intact") } else { self.paint(RED, "CHANGED") };
            let killed = story.killed.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let killed = if killed.is_empty() { "–".to_owned() } else { killed };
            let _ = writeln!(
                text,
                "  {:<20} {:>10} {:>18} {:>18} {killed:>10} {:>14}  {result} {}",
                story.name,
                size(story.bytes),
                speed(story.put_ms),
                speed(story.get_ms),
                story.healed,
                &story.hash[..12],
            );
        }
        let _ = write!(
            text,
            "  {} nodes, {:.1} s in all; every node, port and file of it is gone again.",
            report.nodes,
            report.total_ms as f64 / 1e3
        );
        text
    }
}

/// One line on standard output; a closed pipe is no reason to fail.
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}
