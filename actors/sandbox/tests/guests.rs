//! Instances that stay: memory outlives a call, gas does not, and what traps is gone.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use pangea_protocols::{
    Hash,
    guest::{Command, Event, Line, Open},
    task::{Capabilities, Capability, Ending, Input, Limits, Outcome, Refusal, TaskId, Trap},
};
use pangea_sandbox::{
    Guests, Workshop,
    engine::Wasmi,
    guests::{self, Calls, Progress},
    work::Work,
};

/// Counts its calls. An input of one byte makes it spin, one of two bytes trap.
const COUNTER: &str = r#"(module
    (import "pangea" "log" (func $log (param i32 i32 i32)))
    (memory (export "memory") 1)
    (func (export "alloc") (param i32) (result i32) (i32.const 64))
    (func (export "handle") (param i32 i32) (result i64) (local $i i32)
        (if (i32.eq (local.get 1) (i32.const 2)) (then unreachable))
        (call $log (i32.const 2) (i32.const 0) (i32.const 1))
        (if (i32.eq (local.get 1) (i32.const 1)) (then
            (local.set $i (i32.const 3000000))
            (loop (br_if 0 (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))))
        (i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (i32.const 1)))
        (i64.const 1)))"#;

struct World {
    guests: Guests,
    module: Hash,
}

impl World {
    fn new() -> Self {
        let guests = Guests::new(Wasmi::new().unwrap(), u64::MAX);
        let bytes = Bytes::from(wat::parse_str(COUNTER).unwrap());
        let module = Hash::of(&bytes);
        let prepared = guests.finish(Command::Prepare { module, bytes });
        let imports = Capabilities::NONE.with(Capability::Log);
        assert_eq!(prepared, Some(Event::Prepared { module, result: Ok(imports) }));
        Self { guests, module }
    }

    fn command(&self, instance: u64, new: bool, input: &'static [u8]) -> Command {
        let granted = Capabilities::NONE.with(Capability::Log);
        let open = new.then_some(Open { module: self.module, limits: Limits::default(), granted });
        let input = Input { bytes: Bytes::from_static(input), ..Input::default() };
        Command::Call { instance: TaskId(instance), open, input }
    }

    fn call(&self, instance: u64, new: bool, input: &'static [u8]) -> Result<Outcome, Refusal> {
        match self.guests.finish(self.command(instance, new, input)) {
            Some(Event::Ended { instance: TaskId(same), result, .. }) if same == instance => result,
            other => panic!("{other:?}"),
        }
    }
}

fn count(result: Result<Outcome, Refusal>) -> u8 {
    match result.unwrap().ending {
        Ending::Output(bytes) => bytes[0],
        Ending::Trapped(trap) => panic!("{trap}"),
    }
}

#[test]
fn memory_outlives_a_call_and_gas_begins_anew() {
    let world = World::new();
    assert_eq!(count(world.call(1, true, b"")), 1);
    assert_eq!(count(world.call(2, true, b"")), 1);
    let gas: Vec<u64> = (0..3).map(|_| world.call(1, false, b"").unwrap().gas).collect();
    assert!(gas[0] > 0 && gas.iter().all(|one| *one == gas[0]), "{gas:?}");
    assert_eq!((count(world.call(1, false, b"")), count(world.call(2, false, b""))), (5, 2));
    assert_eq!(world.guests.instances(), 2);
    assert_eq!(world.guests.finish(Command::Close { instance: TaskId(1) }), None);
    assert!(matches!(world.call(1, false, b""), Err(Refusal::Node { .. })));
    assert_eq!(world.guests.finish(Command::CloseAll), None);
    assert_eq!(world.guests.instances(), 0);
}

#[test]
fn what_traps_is_gone_and_what_was_never_made_is_refused() {
    let world = World::new();
    assert_eq!(count(world.call(1, true, b"")), 1);
    assert_eq!(world.call(1, false, b"xx").unwrap().ending, Ending::Trapped(Trap::Unreachable));
    assert_eq!(world.guests.instances(), 0);
    assert!(matches!(world.call(1, false, b""), Err(Refusal::Node { .. })));
    assert_eq!(world.call(3, true, b"xx").unwrap().ending, Ending::Trapped(Trap::Unreachable));
    assert_eq!(world.guests.instances(), 0);
}

#[test]
fn a_long_call_is_done_in_pieces_between_which_others_have_their_turn() {
    let world = World::new();
    let (workshop, mut calls) = (Workshop::new(Wasmi::new().unwrap(), u64::MAX), Calls::default());
    let bytes = Bytes::from(wat::parse_str(COUNTER).unwrap());
    guests::work(Command::Prepare { module: world.module, bytes }).run(&workshop).unwrap();
    let mut run = |work: Work| calls.on_done(work.run(&workshop).unwrap());
    assert!(matches!(run(guests::work(world.command(1, true, b""))), Progress::Done(_)));
    let mut next = guests::work(world.command(1, false, b"x"));
    let mut pieces = 0;
    let event = loop {
        match run(next) {
            Progress::More(more) => next = more,
            Progress::Done(event) => break event,
        }
        pieces += 1;
        let Progress::Done(Event::Ended { lines, result, .. }) =
            run(guests::work(world.command(pieces + 10, true, b"")))
        else {
            panic!("a short call ends at once")
        };
        assert_eq!((lines.len(), count(result)), (1, 1));
    };
    assert!(pieces > 1);
    let Event::Ended { lines, result, .. } = event else { panic!("{event:?}") };
    assert_eq!((lines, count(result)), (vec![Line { level: 2, text: "\u{1}".to_owned() }], 2));
}
