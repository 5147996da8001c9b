//! The flight recorder: what a panic leaves on disk, and that it shows the panic again.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code, reason = "each test binary uses its part")]
mod probe;

use pangea_kernel::{
    ActixHost, Calendar, Options,
    recorder::{self, Flight, RecorderError, Replayed},
};
use pangea_protocols::time::UnixTime;
use probe::{Do, Heard, Probe, config, pass, paused, probe};
use std::{fs, path::Path};

fn boom() -> Do {
    Do::Panic("boom".to_owned())
}

/// Sends `events` to a recorded probe and lets a minute pass; returns what it emitted.
fn fly(dir: &Path, recorded_events: usize, events: Vec<Do>) -> Vec<Heard> {
    paused(async {
        let host = ActixHost::new(config().record_to(dir).calendar(Calendar::CountingFrom(UnixTime(1_000))));
        let (port, ear) = probe(&host, "pilot", Options { recorded_events, ..Options::default() });
        for event in events {
            port.send(event).unwrap();
        }
        pass(60_000).await;
        ear.to_vec()
    })
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn replay(flight: &Flight) -> Replayed<Heard> {
    recorder::replay(flight, Probe { life: 1, said: 0 }).unwrap()
}

#[test]
fn a_panic_is_recorded_and_replays_to_the_same_effects_and_the_same_panic() {
    let dir = tempfile::tempdir().unwrap();
    let heard = fly(dir.path(), 128, vec![Do::Say(1), Do::Draw, Do::SayAfter(0, 2), boom()]);
    assert_eq!(files(dir.path()), ["pilot-1000.flight"]);
    let flight = recorder::read(&dir.path().join("pilot-1000.flight")).unwrap();
    assert_eq!((flight.actor.as_str(), flight.reason.as_str(), flight.truncated), ("pilot", "boom", false));
    assert_eq!(flight.events.len(), 4);
    let replayed = replay(&flight);
    assert_eq!(replayed, Replayed { outs: heard, panic: Some("boom".to_owned()) });
}

#[test]
fn a_fired_timer_is_an_event_of_the_record() {
    let dir = tempfile::tempdir().unwrap();
    paused(async {
        let host = ActixHost::new(config().record_to(dir.path()).calendar(Calendar::CountingFrom(UnixTime(0))));
        let (port, _) = probe(&host, "pilot", Options::default());
        port.send(Do::SayAfter(5_000, 2)).unwrap();
        pass(7_000).await;
        port.send(boom()).unwrap();
        pass(1).await;
    });
    let flight = recorder::read(&dir.path().join("pilot-7.flight")).unwrap();
    let seconds: Vec<u64> = flight.events.iter().map(|event| event.unix.0).collect();
    assert_eq!(seconds, [0, 5, 7]);
    assert_eq!(replay(&flight).outs, [Heard::Said { number: 2, life: 1, before: 0 }]);
}

#[test]
fn a_record_that_lost_its_beginning_says_so() {
    let dir = tempfile::tempdir().unwrap();
    fly(dir.path(), 2, vec![Do::Say(1), Do::Say(2), boom()]);
    let flight = recorder::read(&dir.path().join("pilot-1000.flight")).unwrap();
    assert!(flight.truncated);
    assert_eq!(flight.events.len(), 2);
    assert_eq!(replay(&flight).panic.as_deref(), Some("boom"));
}

#[test]
fn nothing_is_written_without_a_panic_or_with_nothing_to_keep() {
    let dir = tempfile::tempdir().unwrap();
    fly(dir.path(), 128, vec![Do::Say(1)]);
    fly(dir.path(), 0, vec![boom()]);
    assert!(files(dir.path()).is_empty());
}

#[test]
fn the_first_record_of_a_second_and_the_newest_eight_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("pilot-x.flight"), "not a record").unwrap();
    fs::write(dir.path().join("copilot-1.flight"), "of another actor").unwrap();
    paused(async {
        let host = ActixHost::new(config().record_to(dir.path()).calendar(Calendar::CountingFrom(UnixTime(90))));
        let (port, _) = probe(&host, "pilot", Options { restarts_max: 99, ..Options::default() });
        for number in 0..12 {
            port.send(Do::Panic(format!("cause {number}"))).unwrap();
            port.send(Do::Panic(format!("consequence {number}"))).unwrap();
            pass(30_000).await;
        }
    });
    let kept = files(dir.path());
    assert_eq!(kept.len(), 2 + recorder::FILES_MAX);
    let newest = recorder::read(&dir.path().join("pilot-420.flight")).unwrap();
    assert_eq!(newest.reason, "cause 11");
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_a_record() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    fly(dir.path(), 128, vec![boom()]);
    let mode = fs::metadata(dir.path().join("pilot-1000.flight")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_directory_that_cannot_be_written_does_not_keep_the_actor_from_its_restart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let heard = fly(&file, 128, vec![boom(), Do::Say(1)]);
    assert_eq!(heard, [Heard::Said { number: 1, life: 2, before: 0 }]);
}

#[test]
fn damaged_and_foreign_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    fly(dir.path(), 128, vec![Do::Say(1), boom()]);
    let path = dir.path().join("pilot-1000.flight");
    let good = fs::read(&path).unwrap();
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        assert!(recorder::read(&path).is_err(), "{length} bytes were read");
    }
    fs::write(&path, "something else").unwrap();
    assert!(matches!(recorder::read(&path), Err(RecorderError::Foreign { .. })));
}
