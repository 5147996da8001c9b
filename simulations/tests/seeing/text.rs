//! Golden text of the trace and of the summary.

use crate::small::story;
use pangea_simulations::{
    record::{Record, What},
    seeing::{
        Kind, summary,
        trace::{self, Options},
    },
};
use std::ffi::OsStr;

#[test]
fn a_trace_of_a_few_nodes_has_a_lane_for_each() {
    assert_eq!(trace::text(&story(), &Options::default()), include_str!("golden/trace.txt"));
}

#[test]
fn a_trace_of_many_nodes_names_them_in_a_column() {
    let mut records = story();
    records.extend((100..112).map(|node| Record {
        at_ns: 400_000_000,
        node: Some(node),
        what: What::Started { region: "asia".into() },
    }));
    let text = trace::text(&records, &Options { from_ns: Some(260_000_000), ..Options::default() });
    assert_eq!(
        text.lines().take(5).collect::<Vec<_>>(),
        [
            "     seconds  node",
            "    0.260000  n0    loses n1: timeout",
            "    0.300000  n0    FAILS at #2: 1 of 2 shards",
            "    0.301000  n0    VIOLATED durable: an acknowledged file is gone",
            "    0.400000  n100  starts in asia",
        ]
    );
}

#[test]
fn a_trace_shows_what_its_filters_let_through() {
    let lines = |options: &Options| trace::text(&story(), options).lines().count() - 1;
    let kinds = |kinds: &[Kind]| Options { kinds: Some(kinds.iter().copied().collect()), ..Options::default() };
    assert_eq!(lines(&kinds(&[Kind::Violation])), 1);
    assert_eq!(lines(&kinds(&[Kind::Frame, Kind::Goal])), 7);
    let window = Options { from_ns: Some(20_000_000), until_ns: Some(22_000_000), ..Options::default() };
    assert_eq!(lines(&window), 2);
    let node = Options { nodes: Some([1].into()), ..Options::default() };
    let text = trace::text(&story(), &node);
    assert!(text.contains("n0 sends get-shard to n1") && text.contains("n1 crashes"), "{text}");
    assert!(text.contains("all faults are over") && !text.contains("n2"), "{text}");
}

#[test]
fn a_trace_is_coloured_for_terminals_only_and_never_against_the_user() {
    assert!(trace::colour(true, None) && trace::colour(true, Some(OsStr::new(""))));
    assert!(!trace::colour(false, None) && !trace::colour(true, Some(OsStr::new("1"))));
    let coloured = trace::text(&story(), &Options { colour: true, ..Options::default() });
    assert!(coloured.contains("\x1b[1;31m") && !trace::text(&story(), &Options::default()).contains('\x1b'));
}

#[test]
fn a_record_cannot_speak_to_the_terminal() {
    let text = "\x1b]0;owned\x07\nfake line".to_owned();
    let records = [Record { at_ns: 0, node: None, what: What::Reached { goal: text.clone() } }];
    for shown in [trace::text(&records, &Options::default()), summary::text(&records, &text)] {
        assert!(!shown.contains(['\x1b', '\x07']) && !shown.contains("\nfake"), "{shown:?}");
    }
}

#[test]
fn kinds_have_names_that_parse() {
    for kind in Kind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
    }
    let error = "frames".parse::<Kind>().unwrap_err().to_string();
    assert!(error.starts_with("\"frames\" is no kind of event; there are life connection frame"), "{error}");
}

#[test]
fn a_summary_is_read_in_ten_seconds() {
    assert_eq!(summary::text(&story(), "three nodes, seed 1"), include_str!("golden/summary.txt"));
}

#[test]
fn a_run_without_events_has_a_summary_too() {
    let text = summary::text(&[], "nothing");
    assert!(text.starts_with("nothing\n  0 nodes, 0 ns of virtual time\n\n  no promise was broken\n"), "{text}");
}
