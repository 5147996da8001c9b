//! The disk without threads: groups and time are the caller's.

use super::super::InlineDisk;
use super::*;
use pangea_protocols::time::Time;

fn inline(dir: &Path, options: Options, capacity: usize) -> (InlineDisk, Receiver<Event>) {
    let (sender, events) = sync_channel(capacity);
    let port = Port::new(move |event| {
        sender.try_send(event).map_err(|error| match error {
            TrySendError::Full(event) => Rejected::Full(event),
            TrySendError::Disconnected(event) => Rejected::Closed(event),
        })
    });
    (InlineDisk::open(Arc::new(DirVolume::open(dir).unwrap()), options, port, Time(0)).unwrap(), events)
}

fn append(number: u64) -> Command {
    Command::Append { tag: number, shard: shard(number), meta: meta(ALICE), body: bytes(number, 3000).into() }
}

#[test]
fn a_group_is_made_durable_and_answered_together_and_outlives_a_disk_that_is_not_closed() {
    let home = TempDir::new().unwrap();
    let (mut disk, events) = inline(home.path(), small(), 100);
    assert!(matches!(events.recv().unwrap(), Event::Opened { .. }));
    disk.on_commands((0..5).map(append).chain([Command::Read { tag: 9, shard: shard(0) }]).collect(), Time(1));
    assert_eq!(events.try_recv(), Ok(Event::Missing { tag: 9 }), "not durable yet when the group was handed over");
    let Ok(Event::Appended { tags, usage }) = events.try_recv() else { panic!("one answer for the group") };
    assert_eq!((tags, usage.shards), (vec![0, 1, 2, 3, 4], 5));
    drop(disk);
    let (mut disk, events) = inline(home.path(), small(), 100);
    disk.on_commands(vec![Command::Read { tag: 7, shard: shard(4) }], Time(0));
    let read = events.try_iter().last();
    assert!(matches!(read, Some(Event::Read { tag: 7, body, .. }) if body == bytes(4, 3000)));
}

#[test]
fn the_index_is_committed_when_the_callers_clock_says_so() {
    let home = TempDir::new().unwrap();
    let (mut disk, _events) = inline(home.path(), small(), 100);
    assert_eq!(disk.idle(Time(5)), None, "nothing to do");
    disk.on_commands(vec![append(1)], Time(6));
    let due = Time(0) + small().commit_interval;
    assert_eq!(disk.idle(Time(7)), Some(due));
    assert_eq!(disk.idle(due), None);
}

#[test]
fn events_that_the_port_does_not_take_wait_for_the_next_call() {
    let home = TempDir::new().unwrap();
    let (mut disk, events) = inline(home.path(), Options { group_commands: 1, ..small() }, 1);
    disk.on_commands((0..3).map(append).collect(), Time(1));
    let mut tags = Vec::new();
    for _ in 0..4 {
        match events.try_recv() {
            Ok(Event::Appended { tags: more, .. }) => tags.extend(more),
            other => assert!(matches!(other, Ok(Event::Opened { .. }))),
        }
        disk.idle(Time(2));
    }
    assert_eq!(tags, [0, 1, 2]);
}
