//! What lines, disks, calendars and crashes do to an actor, seen by one that writes down what it hears.

use pangea_simulations::lab::{Case, Core, Cx, Lab, Member, NodeId, Outcome, Route, View};
use serde::{Deserialize, Serialize};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// What a node hears; users tell it the first three.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum In {
    /// Send these numbers to a node.
    Send { to: NodeId, numbers: u32, reliable: bool },
    /// Keep a number on the disk.
    Keep(u32),
    /// Do something in a second, unless it is cancelled at once.
    Wait { cancel: bool },
    /// From another node.
    Number(u32),
    /// The disk has it.
    Kept(u32),
    /// The second is over.
    Waited,
    /// A connection broke.
    Broken(NodeId),
}

/// Notes and wishes.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Reliable(NodeId, u32),
    Datagram(NodeId, u32),
    Keep(u32),
    Heard(In, u64),
    Began(Option<u32>),
}

/// Writes down what it hears, and on which date.
pub struct Witness {
    found: Option<u32>,
}

impl Core for Witness {
    type In = In;
    type Out = Out;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        cx.emit(Out::Began(self.found));
    }

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: In) {
        match event {
            In::Send { to, numbers, reliable } => {
                for number in 0..numbers {
                    cx.emit(if reliable { Out::Reliable(to, number) } else { Out::Datagram(to, number) });
                }
            }
            In::Keep(number) => cx.emit(Out::Keep(number)),
            In::Wait { cancel } => {
                let timer = cx.after(Duration::from_secs(1), In::Waited);
                if cancel {
                    cx.cancel(timer);
                }
            }
            heard => {
                let date = cx.unix().0;
                cx.emit(Out::Heard(heard, date));
            }
        }
    }
}

impl Member for Witness {
    type Saved = u32;

    fn new(_: NodeId, _: &[NodeId], saved: Option<u32>) -> Self {
        Self { found: saved }
    }

    fn route(_: NodeId, out: Out) -> Route<Self> {
        match out {
            Out::Reliable(to, number) => Route::Reliable(to, In::Number(number)),
            Out::Datagram(to, number) => Route::Datagram(to, In::Number(number)),
            Out::Keep(number) => Route::SaveThen(number, In::Kept(number)),
            note => Route::Note(note),
        }
    }

    fn broken(peer: NodeId) -> Option<In> {
        Some(In::Broken(peer))
    }
}

/// What was noted: when in milliseconds, where, what.
type Notes = Vec<(u64, NodeId, Out)>;

/// Runs two nodes for a minute: `asks` as (second, node, event), `faults` as TOML.
fn run(asks: &[(u64, NodeId, In)], faults: &str) -> (Outcome, Notes) {
    let (asks, notes) = (asks.to_vec(), Arc::new(Mutex::new(Notes::new())));
    let seen = Arc::clone(&notes);
    let lab = Lab::<Witness>::new("witness")
        .nodes(2)
        .faults(0..=0)
        .latency(Duration::from_millis(10)..=Duration::from_millis(20))
        .workload(move |_, told| {
            for (second, node, event) in &asks {
                told.tell(Duration::from_secs(*second), *node, event.clone());
            }
        })
        .eventually("notes", move |net: &View<'_, Witness>| {
            let note =
                |note: &pangea_simulations::lab::Note<Out>| (note.at.0 / 1_000_000, note.node, note.what.clone());
            *seen.lock().unwrap() = net.notes().iter().map(note).collect();
            Ok(())
        });
    let mut case = Case::draw(&lab, 5).unwrap();
    let text = toml::to_string(&case).unwrap() + faults;
    case = toml::from_str(&text).unwrap();
    let outcome = lab.replay(&case, true).unwrap();
    let notes = notes.lock().unwrap().clone();
    (outcome, notes)
}

fn numbers(notes: &Notes) -> Vec<u32> {
    let number = |(_, _, out): &(u64, NodeId, Out)| match out {
        Out::Heard(In::Number(number), _) => Some(*number),
        _ => None,
    };
    notes.iter().filter_map(number).collect()
}

const SEND: In = In::Send { to: 1, numbers: 200, reliable: true };
const CAST: In = In::Send { to: 1, numbers: 200, reliable: false };

fn fault(kind: &str, from_s: u64, until_s: u64, rest: &str) -> String {
    format!(
        "\n[[fault]]\nid = 0\nat_ms = {}\nuntil_ms = {}\nfault = \"{kind}\"\n{rest}\n",
        from_s * 1000,
        until_s * 1000
    )
}

#[test]
fn a_connection_delays_what_is_lost_and_keeps_its_order() {
    let (_, notes) = run(&[(10, 0, SEND)], &fault("loss", 5, 20, "from = []\nto = []\nrate = 0.4"));
    assert_eq!(numbers(&notes), (0..200).collect::<Vec<_>>());
    let last = notes.last().unwrap().0;
    assert!(last > 10_050, "something was sent again: {last}");
}

#[test]
fn datagrams_are_lost_doubled_and_out_of_order() {
    let (_, notes) = run(&[(10, 0, CAST)], &fault("loss", 5, 20, "from = []\nto = []\nrate = 0.4"));
    let heard = numbers(&notes);
    assert!((60..180).contains(&heard.len()), "{}", heard.len());
    assert!(!heard.is_sorted());
    let (_, notes) = run(&[(10, 0, CAST)], &fault("duplicate", 5, 20, "from = []\nto = []\nrate = 0.5"));
    assert!((250..350).contains(&numbers(&notes).len()));
}

#[test]
fn a_cut_line_breaks_the_connection_and_the_sender_hears_of_it() {
    let cut = fault("partition", 5, 20, "from = [0]\nto = [1]\none_way = false");
    let send = In::Send { to: 1, numbers: 1, reliable: true };
    let (_, notes) = run(&[(10, 0, send.clone()), (25, 0, send)], &cut);
    let told = |at: usize| (notes[at].1, matches!(notes[at].2, Out::Heard(In::Broken(1), _)));
    assert_eq!(told(2), (0, true), "{notes:?}");
    assert_eq!(notes[2].0, 20_000, "ten seconds later");
    assert_eq!(numbers(&notes), [0], "after the partition it arrives");
}

#[test]
fn a_restart_finds_what_was_synced_and_forgets_timers() {
    let crash = fault("crash", 10, 15, "nodes = [0]\ndisk = \"lost\"");
    let wait = |cancel| In::Wait { cancel };
    let asks = [(5, 0, In::Keep(7)), (6, 0, wait(false)), (9, 0, wait(false)), (30, 0, wait(true))];
    let (outcome, notes) = run(&asks, &crash);
    let began: Vec<&Out> = notes.iter().filter(|(_, node, _)| *node == 0).map(|(_, _, out)| out).collect();
    assert_eq!(began[0], &Out::Began(None));
    assert!(matches!(began[1], Out::Heard(In::Kept(7), _)));
    let waited = began.iter().filter(|out| matches!(out, Out::Heard(In::Waited, _))).count();
    assert_eq!(waited, 1, "the second ended with the process, the third was cancelled: {began:?}");
    assert!(began.contains(&&Out::Began(Some(7))));
    assert!(outcome.records.iter().any(|record| format!("{record:?}").contains("Crashed")));
}

#[test]
fn a_wiped_disk_gives_nothing_back() {
    let crash = fault("crash", 10, 15, "nodes = [0]\ndisk = \"wiped\"");
    let (_, notes) = run(&[(5, 0, In::Keep(7))], &crash);
    assert_eq!(notes.iter().filter(|(_, node, out)| *node == 0 && *out == Out::Began(None)).count(), 2);
}

#[test]
fn a_node_that_stands_still_hears_everything_afterwards() {
    let pause = fault("pause", 5, 20, "nodes = [1]");
    let (_, notes) = run(&[(10, 0, SEND)], &pause);
    assert_eq!(numbers(&notes).len(), 200);
    let arrivals = notes.iter().filter(|(_, _, out)| matches!(out, Out::Heard(..)));
    assert!(arrivals.into_iter().all(|(at, ..)| *at == 20_000));
}

#[test]
fn a_calendar_can_be_wrong_on_one_node_alone() {
    let skew = fault("skew", 5, 20, "nodes = [0]\nby_s = 3600\ndrift_ppm = 0");
    let wait = In::Wait { cancel: false };
    let (_, notes) = run(&[(10, 0, wait.clone()), (10, 1, wait)], &skew);
    let date = |node: NodeId| {
        notes.iter().find_map(|(_, at, out)| match out {
            Out::Heard(In::Waited, date) if *at == node => Some(*date),
            _ => None,
        })
    };
    assert_eq!(date(0).unwrap() - date(1).unwrap(), 3600);
}
