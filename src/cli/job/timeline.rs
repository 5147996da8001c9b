//! The picture of a job: one row per node, one bar per task, in one HTML file that needs nothing else.

use crate::drivers::jobs::{handle::Event, record::Computation};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// Bars that are drawn; of more, the first.
const BARS_MAX: usize = 20_000;
const WIDTH: f64 = 1200.0;
const LANE: f64 = 9.0;

/// A task at a node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bar {
    host: String,
    lane: usize,
    from: u64,
    to: u64,
    name: String,
    /// For the style: done, audit, lost, wrong or open.
    kind: &'static str,
}

/// A page with the picture and the numbers of a job.
pub(super) fn page(view: &Computation, events: &[Event]) -> String {
    let (bars, marks, lanes) = (bars(events), marks(events), lanes(events));
    let begin = events.iter().map(|event| event.at_ms).min().unwrap_or(0);
    let end = events.iter().map(|event| event.at_ms).max().unwrap_or(0).max(begin + 1);
    let x = |at: u64| (at - begin) as f64 / (end - begin) as f64 * WIDTH;
    let mut rows: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
    let mut height = 0.0;
    for (host, count) in &lanes {
        rows.insert(host, (height, *count));
        height += LANE * *count as f64 + 14.0;
    }
    let mut svg = String::new();
    for (host, (top, _)) in &rows {
        let short = escaped(&host[host.len().saturating_sub(6)..]);
        let _ = writeln!(svg, "<text x='0' y='{:.0}'>{short}</text>", top + LANE);
        let _ = writeln!(svg, "<line x1='70' x2='{:.0}' y1='{top:.0}' y2='{top:.0}'/>", WIDTH + 70.0);
    }
    for bar in bars.iter().take(BARS_MAX) {
        let Some((top, _)) = rows.get(bar.host.as_str()) else { continue };
        let (left, right) = (x(bar.from), x(bar.to));
        let _ = writeln!(
            svg,
            "<rect class='{}' x='{:.1}' y='{:.1}' width='{:.1}' height='{:.1}'><title>{} on {}: {} ms, {}</title></rect>",
            bar.kind,
            left + 70.0,
            top + LANE * bar.lane as f64 + 2.0,
            (right - left).max(0.8),
            LANE - 2.0,
            escaped(&bar.name),
            escaped(&bar.host),
            bar.to - bar.from,
            bar.kind,
        );
    }
    for (host, at, what) in marks {
        let Some((top, count)) = rows.get(host) else { continue };
        let _ = writeln!(
            svg,
            "<circle class='{what}' cx='{:.1}' cy='{:.1}' r='4'><title>{what} at {} ms</title></circle>",
            x(at) + 70.0,
            top + LANE * *count as f64 / 2.0,
            at - begin
        );
    }
    let left_out = match bars.len().saturating_sub(BARS_MAX) {
        0 => String::new(),
        more => format!("<p>{more} further tasks are not drawn.</p>"),
    };
    let progress = &view.progress;
    format!(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>job {name}</title>\n<style>{STYLE}</style>\n\
         <h1>job {name}: {module} over {input}</h1>\n\
         <p>{state}; {done} of {total} tasks, {executions} results, {audited} run again to check, {retried} retried, \
         {banned} nodes banned; {seconds:.2} s</p>\n\
         <p class='key'><b class='done'>done</b> <b class='audit'>audit</b> <b class='lost'>no result</b> \
         <b class='wrong'>node banned</b> <b class='open'>running</b></p>\n\
         <svg viewBox='0 0 {width:.0} {height:.0}'>\n{svg}</svg>\n{left_out}</html>\n",
        name = escaped(&view.name),
        module = escaped(&view.module_name),
        input = escaped(&view.input_name),
        state = view.state.name(),
        done = progress.done,
        total = progress.total,
        executions = progress.executions,
        audited = progress.audited,
        retried = progress.retried,
        banned = progress.banned,
        seconds = (end - begin) as f64 / 1e3,
        width = WIDTH + 80.0,
    )
}

const STYLE: &str = "body{font:14px system-ui,sans-serif;margin:2em;color:#223;background:#fff}svg{width:100%;height:auto}\
h1{font-size:1.2em}text{font:10px ui-monospace,monospace;fill:#556}line{stroke:#dde}.done{fill:#3a7;background:#3a7}\
.audit{fill:#38c;background:#38c}.lost{fill:#ca4;background:#ca4}.wrong{fill:#c33;background:#c33}\
.open{fill:#bbc;background:#bbc}.joined{fill:none;stroke:#3a7}.left{fill:none;stroke:#ca4}.banned{fill:#c33}\
.key b{color:#fff;padding:2px 6px;border-radius:3px;font-weight:normal}\
@media(prefers-color-scheme:dark){body{color:#dde;background:#181a20}line{stroke:#334}text{fill:#99a}}";

/// What is shown of names that come from elsewhere.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '\'' => safe.push_str("&#39;"),
            '"' => safe.push_str("&quot;"),
            letter if letter.is_control() => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}

type Task = (String, String, u32);

fn task(event: &Event) -> Option<Task> {
    Some((event.host.clone(), event.stage.clone()?, event.index?))
}

/// Every lease with how it ended.
fn bars(events: &[Event]) -> Vec<Bar> {
    let last = events.iter().map(|event| event.at_ms).max().unwrap_or(0);
    let banned: BTreeSet<&str> =
        events.iter().filter(|event| event.what == "banned").map(|event| event.host.as_str()).collect();
    let mut running: BTreeMap<Task, (u64, usize)> = BTreeMap::new();
    let mut taken: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let mut claimed: BTreeSet<(String, u32)> = BTreeSet::new();
    let mut bars = Vec::new();
    let mut close = |key: Task, (from, lane): (u64, usize), to: u64, kind| {
        let (host, stage, index) = key;
        bars.push(Bar { host, lane, from, to, name: format!("{stage} {index}"), kind });
    };
    for event in events {
        let Some(key) = task(event) else { continue };
        let lanes = taken.entry(key.0.clone()).or_default();
        match event.what.as_str() {
            "leased" => {
                let lane = (0..).find(|lane| !lanes.contains(lane)).unwrap_or(0);
                lanes.insert(lane);
                running.insert(key, (event.at_ms, lane));
            }
            "claimed" | "lost" => {
                let Some(begun) = running.remove(&key) else { continue };
                lanes.remove(&begun.1);
                let again = !claimed.insert((key.1.clone(), key.2));
                let kind = match (event.what.as_str(), again) {
                    _ if banned.contains(key.0.as_str()) => "wrong",
                    ("lost", _) => "lost",
                    (_, true) => "audit",
                    (_, false) => "done",
                };
                close(key, begun, event.at_ms, kind);
            }
            _ => {}
        }
    }
    for (key, begun) in running {
        close(key, begun, last, "open");
    }
    bars
}

/// Rows: every host, with the most tasks that it had at once.
fn lanes(events: &[Event]) -> BTreeMap<String, usize> {
    let mut lanes: BTreeMap<String, usize> = BTreeMap::new();
    for event in events {
        lanes.entry(event.host.clone()).or_insert(1);
    }
    for bar in bars(events) {
        let lane = lanes.entry(bar.host).or_insert(1);
        *lane = (*lane).max(bar.lane + 1);
    }
    lanes
}

/// What happened to whole hosts.
fn marks(events: &[Event]) -> Vec<(&str, u64, &'static str)> {
    let mark = |event: &'_ Event| match event.what.as_str() {
        "joined" => Some("joined"),
        "left" => Some("left"),
        "banned" => Some("banned"),
        _ => None,
    };
    events.iter().filter_map(|event| Some((event.host.as_str(), event.at_ms, mark(event)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at_ms: u64, what: &str, host: &str, index: Option<u32>) -> Event {
        let stage = index.map(|_| "execute".to_owned());
        Event { at_ms, what: what.to_owned(), host: host.to_owned(), stage, index, count: None }
    }

    #[test]
    fn every_lease_is_a_bar_that_tells_how_it_ended() {
        let events = [
            event(0, "joined", "a", None),
            event(1, "leased", "a", Some(0)),
            event(2, "leased", "a", Some(1)),
            event(3, "leased", "b", Some(0)),
            event(5, "claimed", "a", Some(0)),
            event(6, "leased", "a", Some(2)),
            event(7, "claimed", "b", Some(0)),
            event(8, "lost", "a", Some(1)),
            event(9, "banned", "c", None),
        ];
        let found: Vec<_> =
            bars(&events).into_iter().map(|bar| (bar.host, bar.lane, bar.from, bar.to, bar.kind)).collect();
        let expected =
            [("a", 0, 1, 5, "done"), ("b", 0, 3, 7, "audit"), ("a", 1, 2, 8, "lost"), ("a", 0, 6, 9, "open")];
        assert_eq!(found, expected.map(|(host, lane, from, to, kind)| (host.to_owned(), lane, from, to, kind)));
        assert_eq!(lanes(&events), [("a".to_owned(), 2), ("b".to_owned(), 1), ("c".to_owned(), 1)].into());
    }

    #[test]
    fn names_from_elsewhere_cannot_become_markup() {
        assert_eq!(escaped("<script>'\"&\u{1b}"), "&lt;script&gt;&#39;&quot;&amp;\u{fffd}");
    }
}
