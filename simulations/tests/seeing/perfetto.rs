//! The Perfetto export: valid trace events, slices that do not overlap, arrows with two ends.

use crate::{pages, plausible, small};
use pangea_simulations::{record::Record, seeing::perfetto};
use serde_json::Value;
use std::collections::BTreeMap;

fn events(records: &[Record]) -> Vec<Value> {
    let file: Value = serde_json::from_str(&perfetto::json(records, "a run")).unwrap();
    file["traceEvents"].as_array().unwrap().clone()
}

fn with_phase<'a>(events: &'a [Value], phase: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["ph"] == phase)
}

#[test]
fn a_node_is_a_process_with_a_counter() {
    let events = events(&small::story());
    let names: Vec<&str> = with_phase(&events, "M")
        .filter(|event| event["name"] == "process_name")
        .map(|event| event["args"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["network", "n0 eu", "n1 eu", "n2 us"]);
    let shards: Vec<_> = with_phase(&events, "C").filter(|event| event["name"] == "shards held").collect();
    assert_eq!(shards.len(), 1);
    assert_eq!((shards[0]["pid"].as_u64(), shards[0]["args"]["value"].as_u64()), (Some(2), Some(1)));
}

#[test]
fn a_frame_that_arrives_is_an_arrow_and_a_lost_one_says_so() {
    let events = events(&small::story());
    let arrows = |phase| with_phase(&events, phase).map(|event| event["id"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(arrows("s").len(), 2);
    assert_eq!(arrows("s"), arrows("f"));
    let lost = with_phase(&events, "X").filter(|event| event["name"].as_str().unwrap().ends_with("(lost)"));
    assert_eq!(lost.count(), 2);
}

#[test]
fn slices_begin_and_end_and_those_of_a_track_do_not_overlap() {
    let recipe = plausible::Recipe { nodes: 50, seconds: 60, operations: 60, chatter: 100, violated: true };
    let events = events(&plausible::run(recipe));
    let mut free: BTreeMap<u64, f64> = BTreeMap::new();
    for slice in with_phase(&events, "X") {
        let (begin, long) = (slice["ts"].as_f64().unwrap(), slice["dur"].as_f64().unwrap());
        let free = free.entry(slice["pid"].as_u64().unwrap()).or_default();
        // Microseconds as doubles are exact to a fraction of a nanosecond here.
        assert!(begin + 1e-6 >= *free && long > 0.0, "{begin} {free}");
        *free = begin + long;
    }
    assert_eq!(with_phase(&events, "b").count(), with_phase(&events, "e").count());
}

#[test]
fn hostile_text_is_still_json() {
    assert!(events(&pages::hostile()).len() > 10);
}
