//! What breaks a promise, and how it is told.

use pangea_simulations::lab::{Case, Core, Cx, Lab, Member, NodeId, Route, View, ensure};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// How a [`Faulty`] goes wrong.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum In {
    Panic,
    Forever,
    Shuffle,
    Count,
}

/// An actor that goes wrong when it is told to.
struct Faulty {
    counted: u32,
}

impl Core for Faulty {
    type In = In;
    type Out = NodeId;

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: In) {
        match event {
            In::Panic => panic!("the tables do not fit"),
            In::Forever => {
                cx.after(Duration::ZERO, In::Forever);
            }
            // What no core may do: it depends on the order of a HashMap.
            In::Shuffle => {
                let map: HashMap<u64, ()> = (0..100).map(|key| (key, ())).collect();
                let first = map.keys().next().copied().unwrap_or(0);
                cx.after(Duration::from_millis(first), In::Count);
            }
            In::Count => {
                self.counted += 1;
                if self.counted < 5 {
                    cx.emit(1);
                }
            }
        }
    }
}

impl Member for Faulty {
    type Saved = ();

    fn new(_: NodeId, _: &[NodeId], _: Option<()>) -> Self {
        Self { counted: 0 }
    }

    fn route(me: NodeId, out: NodeId) -> Route<Self> {
        Route::Reliable(if me == out { 0 } else { out }, In::Count)
    }
}

fn lab(event: In) -> Lab<Faulty> {
    Lab::new("faulty").nodes(20).asks(5, move |_| event.clone())
}

/// What a failing check says.
fn failure(lab: &Lab<Faulty>) -> String {
    let payload = catch_unwind(AssertUnwindSafe(|| lab.check())).unwrap_err();
    payload.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn a_panic_is_a_finding_that_is_told_with_its_seed_made_small_and_replayed() {
    let said = failure(&lab(In::Panic).seeds(3..8));
    assert!(said.contains("seed 3 breaks `panic`"), "{said}");
    assert!(said.contains("the tables do not fit"), "{said}");
    assert!(said.contains("1 nodes and 1 events, from 20 and"), "{said}");
    let line = said.lines().find(|line| line.starts_with("replay:")).unwrap();
    assert!(line.ends_with("cargo test -p pangea-simulations findings::a_panic_is_a_finding_that_is_told_with_its_seed_made_small_and_replayed"), "{line}");
    let file = line.split("LAB_REPLAY=").nth(1).unwrap().split(' ').next().unwrap();
    let case = Case::read(file.as_ref()).unwrap();
    let broken = lab(In::Panic).replay(&case, false).unwrap().broken.unwrap();
    assert_eq!(broken.oracle, "panic");
}

#[test]
fn time_that_stands_still_is_a_finding() {
    let broken = lab(In::Forever).run(1).unwrap().broken.unwrap();
    assert_eq!(broken.oracle, "standstill");
}

#[test]
fn an_actor_that_depends_on_more_than_its_cx_is_found_out() {
    let said = failure(&lab(In::Shuffle).seeds(0..5));
    assert!(said.contains("seed 0 does not do the same twice"), "{said}");
    assert!(said.contains("first:") && said.contains("second:"), "{said}");
}

#[test]
fn a_promise_for_every_moment_is_asked_for_at_every_moment() {
    let lab = lab(In::Count).always("nobody counts to three", |net: &View<'_, Faulty>| {
        for (id, core) in net.cores() {
            ensure!(core.counted < 3, "node {id} has counted to {}", core.counted);
        }
        Ok(())
    });
    let broken = lab.run(0).unwrap().broken.unwrap();
    assert!(broken.text.ends_with("has counted to 3"), "{broken}");
}

#[test]
fn what_an_oracle_asserts_counts() {
    let lab = lab(In::Count).eventually("few", |net| {
        assert!(net.cores().count() < 3, "too many nodes");
        Ok(())
    });
    let broken = lab.run(0).unwrap().broken.unwrap();
    assert_eq!((broken.oracle.as_str(), broken.text.as_str()), ("few", "too many nodes"));
}

#[test]
fn a_goal_that_no_seed_reaches_fails_a_check() {
    let said = failure(&lab(In::Count).seeds(0..10).sometimes("the moon", |_| false));
    assert!(said.contains("never reached in 10 runs: the moon"), "{said}");
    lab(In::Count).seeds(0..10).sometimes("a node counts", |net| net.cores().any(|(_, core)| core.counted > 0)).check();
}

#[test]
fn the_same_seed_is_the_same_run_and_another_seed_another() {
    let lab = lab(In::Count);
    let [first, again, other] = [1, 1, 2].map(|seed| lab.run(seed).unwrap());
    assert_eq!(first, again);
    assert_ne!(first.digest, other.digest);
}

#[test]
fn a_case_survives_being_written_and_read() {
    let dir = std::env::temp_dir().join(format!("lab-case-{}", std::process::id()));
    let file = dir.join("case.toml");
    let case = Case::draw(&lab(In::Count), 9).unwrap();
    case.write(&file, "because").unwrap();
    assert_eq!(Case::read(&file).unwrap(), case);
    std::fs::remove_dir_all(dir).unwrap();
}
