//! A panic costs one message; a full mailbox hands back; too many panics are the node's business.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code, reason = "each test binary uses its part")]
mod probe;

use pangea_kernel::{ActixHost, Host, Options, Port, Rejected, Slot, metrics::Snapshot};
use probe::{Do, Heard, Probe, config, pass, paused, probe};
use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

fn boom() -> Do {
    Do::Panic("boom".to_owned())
}

fn numbers(host: &ActixHost) -> Snapshot {
    host.registry().snapshot().remove(0)
}

#[test]
fn a_panic_loses_only_the_poisonous_message_its_effects_and_the_timers() {
    paused(async {
        let host = ActixHost::new(config());
        let (port, ear) = probe(&host, "a", Options::default());
        for event in [Do::Say(1), Do::SayAfter(50, 9), boom(), Do::Say(2), Do::Say(3)] {
            port.send(event).unwrap();
        }
        pass(99).await;
        assert_eq!(ear.said(), [(1, 1)]);
        assert_eq!(numbers(&host).mailbox_depth, 2);
        pass(60_000).await;
        assert_eq!(ear.said(), [(1, 1), (2, 2), (3, 2)]);
        assert!(!ear.heard().contains(&Heard::Panicking));
        let numbers = numbers(&host);
        assert_eq!((numbers.handled, numbers.restarts, numbers.mailbox_depth, numbers.up), (5, 1, 0, true));
    });
}

#[test]
fn a_panic_in_the_outlet_is_contained_like_one_in_the_core() {
    paused(async {
        let (port, ear) = probe(&ActixHost::new(config()), "a", Options::default());
        port.send(Do::Choke).unwrap();
        port.send(Do::Say(1)).unwrap();
        pass(200).await;
        assert_eq!(ear.said(), [(1, 2)]);
    });
}

#[test]
fn a_panic_in_a_timer_is_contained() {
    paused(async {
        let host = ActixHost::new(config());
        let slot = host.slot::<TimeBomb>("bomb", Options::default());
        let heard = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&heard);
        let mut lives = 0;
        let build = move || {
            lives += 1;
            TimeBomb(lives)
        };
        host.start(slot, build, move |()| _ = counted.fetch_add(1, Relaxed));
        pass(500).await;
        assert_eq!(heard.load(Relaxed), 1);
    });

    /// Panics a moment after its start in the first life, emits in the second.
    struct TimeBomb(u32);

    impl pangea_kernel::Core for TimeBomb {
        type In = ();
        type Out = ();

        fn start(&mut self, cx: &mut pangea_kernel::Cx<'_, Self>) {
            cx.after(std::time::Duration::from_millis(5), ());
        }

        fn on(&mut self, cx: &mut pangea_kernel::Cx<'_, Self>, (): ()) {
            assert_ne!(self.0, 1, "tick");
            cx.emit(());
        }
    }
}

#[test]
fn a_core_that_cannot_be_built_at_once_is_built_later() {
    paused(async {
        let host = ActixHost::new(config());
        let slot = host.slot::<Probe>("a", Options::default());
        let (port, ear) = (slot.port(), probe::Ear::default());
        let heard = ear.clone();
        let mut attempts = 0;
        let build = move || {
            attempts += 1;
            assert_eq!(attempts, 3, "not yet");
            Probe { life: attempts, said: 0 }
        };
        host.start(slot, build, move |out| heard.heard().push(out));
        port.send(Do::Say(1)).unwrap();
        pass(299).await;
        assert_eq!(ear.said(), []);
        pass(2).await;
        assert_eq!(ear.said(), [(1, 3)]);
    });
}

#[test]
fn the_mailbox_hands_back_what_is_over_its_bound_whoever_sends() {
    paused(async {
        let host = ActixHost::new(config());
        let slot = host.slot::<Probe>("a", Options { mailbox: 3, ..Options::default() });
        let ports = [slot.port(), slot.port(), slot.port().clone(), slot.port().map(|event: Do| event)];
        let taken = ports.iter().filter(|port| port.send(Do::Say(1)).is_ok()).count();
        assert_eq!(taken, 3);
        for port in &ports {
            assert_eq!(port.send(Do::Say(7)), Err(Rejected::Full(Do::Say(7))));
        }
        assert_eq!((numbers(&host).mailbox_depth, numbers(&host).rejected), (3, 5));
        drop(slot);
    });
}

#[test]
fn concurrent_senders_do_not_exceed_the_bound() {
    paused(async {
        let slot = ActixHost::new(config()).slot::<Probe>("a", Options { mailbox: 100, ..Options::default() });
        let port = slot.port();
        let taken = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for number in 0..500 {
                        taken.fetch_add(usize::from(port.send(Do::Say(number)).is_ok()), Relaxed);
                    }
                });
            }
        });
        assert!(taken.load(Relaxed) <= 100);
        // A sender that was refused gave its place back.
        let refilled = (0..200).filter(|_| port.send(Do::Say(0)).is_ok()).count();
        assert_eq!(taken.load(Relaxed) + refilled, 100);
    });
}

#[test]
fn the_mailbox_stays_bounded_while_a_restart_is_awaited() {
    paused(async {
        let (port, ear) = probe(&ActixHost::new(config()), "a", Options { mailbox: 4, ..Options::default() });
        port.send(boom()).unwrap();
        pass(1).await;
        for number in 0..4 {
            port.send(Do::Say(number)).unwrap();
        }
        assert_eq!(port.send(Do::Say(4)), Err(Rejected::Full(Do::Say(4))));
        pass(100).await;
        assert_eq!(ear.said(), [(0, 2), (1, 2), (2, 2), (3, 2)]);
    });
}

#[test]
fn one_panic_too_many_stops_the_actor_and_tells_the_node() {
    paused(async {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let config = config().on_escalation(move |actor, reason| tell.lock().unwrap().push((actor, reason.to_owned())));
        let host = ActixHost::new(config);
        let (port, ear) = probe(&host, "a", Options { restarts_max: 2, ..Options::default() });
        for event in [boom(), boom(), Do::Say(1), Do::Panic("the last".to_owned())] {
            port.send(event).unwrap();
        }
        pass(299).await;
        assert_eq!(*told.lock().unwrap(), []);
        pass(10_000).await;
        assert_eq!(ear.said(), [(1, 3)]);
        assert_eq!(*told.lock().unwrap(), [("a", "the last".to_owned())]);
        assert_eq!(port.send(Do::Say(2)), Err(Rejected::Closed(Do::Say(2))));
        assert_eq!((numbers(&host).restarts, numbers(&host).up), (2, false));
    });
}

#[test]
fn an_actor_that_stopped_with_a_full_mailbox_is_closed_and_not_merely_full() {
    paused(async {
        let port = Arc::new(OnceLock::<Port<Do>>::new());
        let filler = Arc::clone(&port);
        // The latest moment at which the mailbox can fill up.
        let config = config().on_escalation(move |_, _| while filler.get().unwrap().send(Do::Say(0)).is_ok() {});
        let options = Options { mailbox: 4, restarts_max: 0, ..Options::default() };
        let (to_probe, _) = probe(&ActixHost::new(config), "a", options);
        port.set(to_probe).unwrap();
        port.get().unwrap().send(boom()).unwrap();
        pass(1).await;
        assert_eq!(port.get().unwrap().send(Do::Say(1)), Err(Rejected::Closed(Do::Say(1))));
    });
}

#[test]
fn the_node_hears_of_every_restart_before_the_new_core_is_built() {
    paused(async {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let config = config().on_restart(move |actor| tell.lock().unwrap().push(actor));
        let (port, ear) = probe(&ActixHost::new(config), "a", Options { restarts_max: 2, ..Options::default() });
        for event in [boom(), Do::Say(1), boom(), boom()] {
            port.send(event).unwrap();
        }
        pass(1).await;
        assert_eq!((told.lock().unwrap().len(), ear.said()), (1, vec![]));
        pass(10_000).await;
        // The last panic is an escalation, which is another matter.
        assert_eq!((told.lock().unwrap().clone(), ear.said()), (vec!["a", "a"], vec![(1, 2)]));
    });
}

#[test]
fn strangers_leave_the_rest_of_the_mailbox_to_the_nodes_own() {
    paused(async {
        let slot = ActixHost::new(config()).slot::<Probe>("a", Options { mailbox: 5, ..Options::default() });
        let (own, strangers) = (slot.port(), slot.port_up_to(2));
        let sent = |port: &Port<Do>| (0..9).filter(|_| port.send(Do::Say(0)).is_ok()).count();
        assert_eq!(sent(&strangers), 2);
        assert_eq!(sent(&own), 3);
        assert_eq!(sent(&strangers), 0);
    });
}

#[test]
fn a_restarted_core_does_not_repeat_its_randomness() {
    paused(async {
        let (port, ear) = probe(&ActixHost::new(config()), "a", Options::default());
        for event in [Do::Draw, boom(), Do::Draw] {
            port.send(event).unwrap();
        }
        pass(200).await;
        let drawn = ear.heard().clone();
        assert_eq!(drawn.len(), 2);
        assert_ne!(drawn[0], drawn[1]);
    });
}

#[test]
fn an_actor_whose_executor_ends_before_it_ran_is_never_built() {
    let built = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&built);
    let port = paused(async {
        let host = ActixHost::new(config());
        let slot = host.slot::<Probe>("a", Options::default());
        let port = slot.port();
        let build = move || {
            count.fetch_add(1, Relaxed);
            Probe { life: 1, said: 0 }
        };
        host.start(slot, build, |_| ());
        port
    });
    assert_eq!(built.load(Relaxed), 0);
    assert_eq!(port.send(Do::Say(1)), Err(Rejected::Closed(Do::Say(1))));
}

#[test]
#[should_panic(expected = "two actors named a")]
fn two_actors_of_one_name_are_a_wiring_error() {
    paused(async {
        let host = ActixHost::new(config());
        let _first = host.slot::<Probe>("a", Options::default());
        let _second = host.slot::<Probe>("a", Options::default());
    });
}
