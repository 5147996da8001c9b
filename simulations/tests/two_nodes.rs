//! Start here: two actors, wired once, on the virtual host, on the production host, and on two nodes with a link.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use pangea_kernel::{ActixHost, Calendar, Core, Cx, Host, HostConfig, Options, Port, Rejected, Slot, testbed::EPOCH};
use pangea_protocols::time::{Time, UnixTime};
use pangea_simulations::{Link, VirtualHost, World};
use serde::{Deserialize, Serialize};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

const ROUNDS: u32 = 5;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Call {
    Due,
    /// Nothing came back in time.
    Overdue(u32),
    Answer(u32, u64),
}

#[derive(Clone, Debug, PartialEq)]
enum Called {
    Ask(u32),
    /// For whoever watches: what came back, when, on which date.
    Report(Call, Time, UnixTime),
}

/// Asks every 10 ms, adds a number of its own to every answer, and gives up on one after 50 ms.
struct Caller {
    asked: u32,
    pending: Option<pangea_kernel::TimerId>,
}

impl Core for Caller {
    type In = Call;
    type Out = Called;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        cx.after(Duration::from_millis(10), Call::Due);
    }

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: Call) {
        match event {
            Call::Due => {
                cx.emit(Called::Ask(self.asked));
                self.pending = Some(cx.after(Duration::from_millis(50), Call::Overdue(self.asked)));
                self.asked += 1;
            }
            Call::Answer(number, drawn) => {
                self.pending.take().into_iter().for_each(|timer| cx.cancel(timer));
                let own = cx.rng("caller").below(1000);
                cx.emit(Called::Report(Call::Answer(number, drawn ^ own), cx.now(), cx.unix()));
                self.next(cx);
            }
            Call::Overdue(_) => {
                cx.emit(Called::Report(event, cx.now(), cx.unix()));
                self.next(cx);
            }
        }
    }
}

impl Caller {
    fn next(&self, cx: &mut Cx<'_, Self>) {
        if self.asked < ROUNDS {
            cx.after(Duration::from_millis(10), Call::Due);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Question {
    Asked(u32),
    Thought(u32),
}

/// Thinks for a few milliseconds, except about one question, which it forgets.
struct Answerer;

impl Core for Answerer {
    type In = Question;
    type Out = (u32, u64);

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: Question) {
        match event {
            Question::Asked(2) => (),
            Question::Asked(number) => {
                let thinking = Duration::from_millis(1 + cx.rng("thinking").below(8));
                cx.after(thinking, Question::Thought(number));
            }
            Question::Thought(number) => {
                let drawn = cx.rng("answer").u64();
                cx.emit((number, drawn));
            }
        }
    }
}

type Reports = Arc<Mutex<Vec<(Call, Time, UnixTime)>>>;

/// The wiring, once for every host. The caller and the answerer may be on different nodes; `there` and `back` are
/// what carries messages between them.
fn wire<H: Host>(
    caller_host: &H,
    answerer_host: &H,
    there: impl FnOnce(Port<Question>) -> Port<Question>,
    back: impl FnOnce(Port<Call>) -> Port<Call>,
) -> Reports {
    let caller = caller_host.slot::<Caller>("caller", Options::default());
    let answerer = answerer_host.slot::<Answerer>("answerer", Options::default());
    let (to_answerer, to_caller) = (there(answerer.port()), back(caller.port()));
    let reports = Reports::default();
    let seen = Arc::clone(&reports);
    caller_host.start(
        caller,
        || Caller { asked: 0, pending: None },
        move |out| match out {
            Called::Ask(number) => to_answerer.send(Question::Asked(number)).unwrap(),
            Called::Report(call, now, unix) => seen.lock().unwrap().push((call, now, unix)),
        },
    );
    answerer_host.start(
        answerer,
        || Answerer,
        move |(number, drawn)| to_caller.send(Call::Answer(number, drawn)).unwrap(),
    );
    reports
}

fn wire_on_one<H: Host>(host: &H) -> Reports {
    wire(host, host, |port| port, |port| port)
}

fn take(reports: &Reports) -> Vec<(Call, Time, UnixTime)> {
    std::mem::take(&mut reports.lock().unwrap())
}

/// Runs the wiring over two nodes and a link of 5–15 ms each way.
fn run_linked(seed: u64, bystander: bool) -> (Vec<(Call, Time, UnixTime)>, blake3::Hash) {
    let world = World::new(seed).digested();
    if bystander {
        world.timeline().after(Duration::from_millis(1), || ());
        Link::new(&world, "c", "a", latency(), 1).port(Port::new(|(): ()| Ok(()))).send(()).unwrap();
        wire_on_one(&world.node("c"));
    }
    let (a, b) = (world.node("a"), world.node("b"));
    let there = Link::new(&world, "a", "b", latency(), 16);
    let back = Link::new(&world, "b", "a", latency(), 16);
    let reports = wire(&a, &b, |port| there.port(port), |port| back.port(port));
    assert!(world.run_until_idle(Time(10_000_000_000)));
    assert_eq!(there.refused() + back.refused(), 0);
    (take(&reports), world.digest().unwrap())
}

fn latency() -> std::ops::RangeInclusive<Duration> {
    Duration::from_millis(5)..=Duration::from_millis(15)
}

#[test]
fn the_same_wiring_behaves_the_same_on_the_virtual_and_on_the_production_host() {
    for seed in 0..20 {
        let world = World::new(seed);
        let node = world.node("a");
        let simulated = wire_on_one(&node);
        assert!(world.run_until_idle(Time(10_000_000_000)));
        let simulated = take(&simulated);
        assert_eq!(simulated.len(), ROUNDS as usize);
        assert_eq!(simulated[2].0, Call::Overdue(2));
        assert_eq!(simulated, on_actix(&node));
    }
}

fn on_actix(node: &VirtualHost) -> Vec<(Call, Time, UnixTime)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let host = ActixHost::new(HostConfig::new(node.seed()).calendar(Calendar::CountingFrom(EPOCH)));
        let reports = wire_on_one(&host);
        tokio::time::sleep(Duration::from_secs(10)).await;
        take(&reports)
    })
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let (reports, digest) = run_linked(1, false);
    assert_eq!(reports.len(), ROUNDS as usize);
    assert_eq!(run_linked(1, false), (reports.clone(), digest));
    let (other_reports, other_digest) = run_linked(2, false);
    assert_ne!(other_digest, digest);
    assert_ne!(other_reports, reports);
}

#[test]
fn another_node_leaves_the_draws_and_links_of_the_others_alone() {
    let (alone, _) = run_linked(1, false);
    let (with_bystander, _) = run_linked(1, true);
    assert_eq!(alone, with_bystander);
}

#[test]
fn a_link_delivers_in_order_within_its_latencies() {
    let world = World::new(3);
    let arrivals = Arc::new(Mutex::new(Vec::new()));
    let (seen, timeline) = (Arc::clone(&arrivals), world.timeline());
    let link = Link::new(&world, "a", "b", latency(), 1000);
    let port = link.port(Port::new(move |sent: Time| {
        seen.lock().unwrap().push((sent, timeline.now()));
        Ok(())
    }));
    for millis in 0..500 {
        world.run_until(Time(millis * 1_000_000));
        port.send(world.now()).unwrap();
    }
    assert!(world.run_until_idle(Time(u64::MAX)));
    let arrivals = arrivals.lock().unwrap();
    assert_eq!(arrivals.len(), 500);
    assert!(arrivals.is_sorted());
    for (sent, arrived) in arrivals.iter() {
        assert!(latency().contains(&arrived.since(*sent)), "{sent} {arrived}");
    }
}

#[test]
fn every_link_has_latencies_of_its_own() {
    let arrivals = [("a", "b"), ("b", "a"), ("a", "c")].map(|(from, to)| {
        let world = World::new(3);
        Link::new(&world, from, to, latency(), 1).port(Port::new(|(): ()| Ok(()))).send(()).unwrap();
        assert!(world.run_until_idle(Time(u64::MAX)));
        world.now()
    });
    assert!(arrivals[0] != arrivals[1] && arrivals[1] != arrivals[2] && arrivals[0] != arrivals[2]);
}

#[test]
fn a_full_link_hands_back_and_counts_what_its_receiver_refuses() {
    let world = World::new(0);
    let link = Link::new(&world, "a", "b", latency(), 2);
    let port = link.port(Port::new(|number: u32| Err(Rejected::Full(number))));
    assert_eq!([1, 2, 3].map(|number| port.send(number)), [Ok(()), Ok(()), Err(Rejected::Full(3))]);
    assert!(world.run_until_idle(Time(u64::MAX)));
    assert_eq!(link.refused(), 2);
    assert_eq!(port.send(4), Ok(()));
}
