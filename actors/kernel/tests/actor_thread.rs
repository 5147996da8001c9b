//! The production thread: wired from outside, reached through ports, stopped and joined.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code, reason = "each test binary uses its part")]
mod probe;

use pangea_kernel::{ActorThread, Host, Options, Rejected, Slot, actix_host::ActorThreadError};
use probe::{Do, Heard, Probe, config};
use std::{sync::mpsc, thread};

#[test]
fn actors_run_on_their_thread_until_it_is_stopped() {
    let (out, heard) = mpsc::channel();
    let (actors, port) = ActorThread::start(config(), |host| {
        assert_eq!(thread::current().name(), Some("pangea-actors"));
        let slot = host.slot::<Probe>("a", Options::default());
        let port = slot.port();
        host.start(slot, || Probe { life: 1, said: 0 }, move |said| drop(out.send(said)));
        port
    })
    .unwrap();
    port.send(Do::SayAfter(1, 1)).unwrap();
    assert_eq!(heard.recv().unwrap(), Heard::Said { number: 1, life: 1, before: 0 });
    actors.stop().unwrap();
    assert_eq!(port.send(Do::Say(2)), Err(Rejected::Closed(Do::Say(2))));
    // The outlet is gone with its actor.
    assert!(heard.recv().is_err());
}

#[test]
fn a_panic_in_the_wiring_is_an_error_of_the_start() {
    let started = ActorThread::start(config(), |_| -> () { panic!("miswired") });
    assert!(matches!(started, Err(ActorThreadError::Panicked)));
}
