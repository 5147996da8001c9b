//! The world's own promises: order, bounds, limits, and what it does with a core that misbehaves.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use pangea_kernel::{Core, Cx, Host, Options, Port, Rejected, Slot, TimerId, testbed::EPOCH};
use pangea_protocols::time::{Time, UnixTime};
use pangea_simulations::{Failure, Timeline, VirtualHost, World};
use serde::{Deserialize, Serialize};
use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Do {
    Say(u32),
    SayAfter(u64, u32),
    /// Cancels the timer set as the n-th.
    Cancel(u64),
    SpinNow,
    Panic,
}

/// Says what it is told to, when it is told to.
struct Sayer;

impl Core for Sayer {
    type In = Do;
    type Out = (u32, Time);

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: Do) {
        match event {
            Do::Say(number) => cx.emit((number, cx.now())),
            Do::SayAfter(secs, number) => {
                cx.after(Duration::from_secs(secs), Do::Say(number));
            }
            Do::Cancel(timer) => cx.cancel(TimerId(timer)),
            Do::SpinNow => {
                cx.after(Duration::ZERO, Do::SpinNow);
            }
            Do::Panic => panic!("as told"),
        }
    }
}

type Said = Arc<Mutex<Vec<(u32, Time)>>>;

fn sayer(world: &World, mailbox: usize) -> (Port<Do>, Said) {
    let host = world.node("n");
    let slot = host.slot::<Sayer>("sayer", Options { mailbox, ..Options::default() });
    let (port, said) = (slot.port(), Said::default());
    let heard = Arc::clone(&said);
    host.start(slot, || Sayer, move |out| heard.lock().unwrap().push(out));
    (port, said)
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn what_is_due_at_the_same_time_happens_in_the_order_it_was_asked_for() {
    let world = World::new(0);
    let (port, said) = sayer(&world, 16);
    port.send(Do::SayAfter(1, 1)).unwrap();
    port.send(Do::SayAfter(1, 2)).unwrap();
    world.run_until(Time(0));
    let late = port.clone();
    world.timeline().at(Time(SECOND), move || late.send(Do::Say(3)).unwrap());
    world.run_until(Time(SECOND));
    assert_eq!(*said.lock().unwrap(), [1, 2, 3].map(|number| (number, Time(SECOND))));
}

#[test]
fn a_run_ends_at_its_limit_and_goes_on_from_there() {
    let world = World::new(0);
    let (port, said) = sayer(&world, 16);
    port.send(Do::SayAfter(5, 1)).unwrap();
    assert!(!world.run_until_idle(Time(4 * SECOND)));
    assert_eq!((world.now(), said.lock().unwrap().len()), (Time(4 * SECOND), 0));
    assert!(world.run_until_idle(Time(60 * SECOND)));
    assert_eq!((world.now(), said.lock().unwrap().len()), (Time(5 * SECOND), 1));
    world.run_until(Time(9 * SECOND));
    assert_eq!(world.now(), Time(9 * SECOND));
}

#[test]
fn a_cancelled_timer_neither_fires_nor_keeps_the_world_from_being_idle() {
    let world = World::new(0);
    let (port, said) = sayer(&world, 16);
    for event in [Do::SayAfter(5, 1), Do::SayAfter(3, 2), Do::Cancel(0)] {
        port.send(event).unwrap();
    }
    assert!(world.run_until_idle(Time(60 * SECOND)));
    assert_eq!(*said.lock().unwrap(), [(2, Time(3 * SECOND))]);
    assert_eq!(world.now(), Time(3 * SECOND));
}

#[test]
fn messages_sent_before_the_start_wait_for_it_in_order() {
    let world = World::new(0);
    let host = world.node("n");
    let slot = host.slot::<Sayer>("sayer", Options::default());
    slot.port().send(Do::Say(1)).unwrap();
    slot.port().send(Do::Say(2)).unwrap();
    world.run_until(Time(SECOND));
    let said = Said::default();
    let heard = Arc::clone(&said);
    host.start(slot, || Sayer, move |out| heard.lock().unwrap().push(out));
    assert!(world.run_until_idle(Time(SECOND)));
    assert_eq!(*said.lock().unwrap(), [(1, Time(SECOND)), (2, Time(SECOND))]);
}

#[test]
fn a_mailbox_is_bounded_and_a_world_that_is_gone_is_closed() {
    let world = World::new(0);
    let (port, _) = sayer(&world, 2);
    assert!(port.send(Do::Say(1)).is_ok());
    assert!(port.send(Do::Say(2)).is_ok());
    assert!(matches!(port.send(Do::Say(3)), Err(Rejected::Full(Do::Say(3)))));
    world.run_until(Time(0));
    assert!(port.send(Do::Say(3)).is_ok());
    drop(world);
    assert!(matches!(port.send(Do::Say(4)), Err(Rejected::Closed(Do::Say(4)))));
}

#[test]
fn a_digest_tells_runs_apart_that_differ_in_one_byte_of_one_message() {
    let digest = |number| {
        let world = World::new(0).digested();
        sayer(&world, 1).0.send(Do::Say(number)).unwrap();
        assert!(world.run_until_idle(Time(0)));
        world.digest().unwrap()
    };
    assert_eq!(digest(1), digest(1));
    assert_ne!(digest(1), digest(2));
    assert_eq!(World::new(0).digest(), None);
}

#[test]
fn the_date_goes_along_with_time() {
    assert_eq!(Timeline::unix(Time(0)), EPOCH);
    assert_eq!(Timeline::unix(Time(90 * SECOND)), UnixTime(EPOCH.0 + 90));
}

#[test]
#[should_panic(expected = "n/sayer panicked at 3.000s: as told")]
fn a_panicking_core_ends_the_run_and_is_named() {
    let world = World::new(0);
    let (port, _) = sayer(&world, 2);
    world.run_until(Time(3 * SECOND));
    port.send(Do::Panic).unwrap();
    world.run_until(Time(4 * SECOND));
}

/// Two actors of one contained node, and what is told of panics.
type Contained = (VirtualHost, Port<Do>, Said, Rc<RefCell<Vec<Failure>>>);

fn contained(world: &World) -> Contained {
    let failures = Rc::<RefCell<Vec<Failure>>>::default();
    let told = Rc::clone(&failures);
    let host = world.node("n").contained(move |failure| told.borrow_mut().push(failure));
    let slot = host.slot::<Sayer>("sayer", Options { restarts_max: 2, ..Options::default() });
    let (port, said) = (slot.port(), Said::default());
    let heard = Arc::clone(&said);
    host.start(slot, || Sayer, move |out| heard.lock().unwrap().push(out));
    (host, port, said, failures)
}

#[test]
fn a_contained_panic_costs_what_the_core_knew_and_not_its_mailbox() {
    let world = World::new(0);
    let (_host, port, said, failures) = contained(&world);
    for event in [Do::SayAfter(5, 1), Do::Panic, Do::Say(2)] {
        port.send(event).unwrap();
    }
    world.run_until(Time(9 * SECOND));
    // The timer is gone; what waited behind the poison is handled after the pause.
    assert_eq!(*said.lock().unwrap(), [(2, Time(SECOND / 10))]);
    let again = Some(Duration::from_millis(100));
    assert_eq!(*failures.borrow(), [Failure { actor: "sayer", reason: "as told".to_owned(), again }]);
}

#[test]
fn a_core_that_panics_too_often_ends_its_node() {
    let world = World::new(0);
    let (host, port, _, failures) = contained(&world);
    for _ in 0..3 {
        port.send(Do::Panic).unwrap();
    }
    world.run_until(Time(9 * SECOND));
    assert_eq!(
        failures.borrow().iter().map(|failure| failure.again.is_some()).collect::<Vec<_>>(),
        [true, true, false]
    );
    assert!(host.life().is_over());
    assert!(matches!(port.send(Do::Say(1)), Err(Rejected::Closed(_))));
}

#[test]
fn what_happens_to_a_node_that_stands_still_happens_in_order_when_it_goes_on() {
    let world = World::new(0);
    let (host, port, said, _) = contained(&world);
    port.send(Do::SayAfter(2, 1)).unwrap();
    world.run_until(Time(SECOND));
    host.pause(true);
    port.send(Do::Say(0)).unwrap();
    world.run_until(Time(3 * SECOND));
    port.send(Do::Say(2)).unwrap();
    world.run_until(Time(5 * SECOND));
    assert!(said.lock().unwrap().is_empty());
    host.pause(false);
    world.run_until(Time(5 * SECOND));
    assert_eq!(*said.lock().unwrap(), [0, 1, 2].map(|number| (number, Time(5 * SECOND))));
}

#[test]
fn a_crashed_node_is_silent_and_its_next_life_draws_anew() {
    let world = World::new(0);
    let (host, port, said, _) = contained(&world);
    port.send(Do::SayAfter(2, 1)).unwrap();
    world.run_until(Time(SECOND));
    let first = host.seed().derive("x").draw().u64();
    host.crash();
    assert!(matches!(port.send(Do::Say(9)), Err(Rejected::Closed(_))));
    let (again, port, said_again, _) = contained(&world);
    port.send(Do::Say(3)).unwrap();
    assert!(world.run_until_idle(Time(60 * SECOND)));
    assert!(said.lock().unwrap().is_empty());
    assert_eq!(said_again.lock().unwrap().len(), 1);
    assert_ne!(first, again.seed().derive("x").draw().u64());
}

#[test]
#[should_panic(expected = "time stands still at 0.000s, lastly in n/sayer")]
fn a_run_in_which_time_stands_still_is_given_up() {
    let world = World::new(0);
    let (port, _) = sayer(&world, 2);
    port.send(Do::SpinNow).unwrap();
    world.run_until(Time(SECOND));
}

#[test]
#[should_panic(expected = "two actors named sayer")]
fn two_actors_of_one_name_on_one_node_are_a_wiring_error() {
    let world = World::new(0);
    sayer(&world, 1);
    sayer(&world, 1);
}
