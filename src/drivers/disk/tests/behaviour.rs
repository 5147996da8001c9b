//! What each command does when nothing goes wrong.

use super::*;

#[test]
fn a_shard_reads_back_after_it_was_appended_and_after_reopening() {
    let mut rig = Rig::new(small());
    rig.append(shard(1), meta(ALICE), bytes(1, 5000)).unwrap();
    assert_eq!(rig.usage.shards, 1);
    assert_eq!(rig.body(shard(1)), Some((meta(ALICE), bytes(1, 5000).into())));
    rig.reopen();
    assert_eq!(rig.usage.shards, 1);
    assert_eq!(rig.body(shard(1)), Some((meta(ALICE), bytes(1, 5000).into())));
    assert_eq!(rig.body(shard(2)), None);
}

#[test]
fn every_append_is_answered_once_however_they_are_grouped() {
    let mut rig = Rig::new(small());
    let mut open: std::collections::BTreeSet<u64> = (0..200)
        .map(|n| {
            rig.send(|tag| Command::Append { tag, shard: shard(n), meta: meta(ALICE), body: bytes(n, 3000).into() })
        })
        .collect();
    while !open.is_empty() {
        match rig.event() {
            Event::Appended { tags, .. } => tags.iter().for_each(|tag| assert!(open.remove(tag))),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(rig.segments().len() > 5, "small segments roll over");
    rig.reopen();
    for n in 0..200 {
        assert_eq!(rig.body(shard(n)).unwrap().1, bytes(n, 3000));
    }
}

#[test]
fn a_second_append_writes_no_second_body_and_never_shortens_the_lease() {
    let mut rig = Rig::new(small());
    rig.append(shard(1), Meta { expires_unix: 500, ..meta(ALICE) }, bytes(1, 5000)).unwrap();
    let before = rig.usage;
    rig.append(shard(1), Meta { expires_unix: 500, ..meta(ALICE) }, bytes(1, 5000)).unwrap();
    assert_eq!(rig.usage.disk_bytes, before.disk_bytes, "the same again costs nothing");
    rig.append(shard(1), Meta { expires_unix: 900, ..meta(ALICE) }, bytes(1, 5000)).unwrap();
    assert!(rig.usage.disk_bytes < before.disk_bytes + 300 && rig.usage.shards == 1);
    rig.append(shard(1), Meta { expires_unix: 100, ..meta(ALICE) }, bytes(1, 5000)).unwrap();
    rig.reopen();
    assert_eq!(rig.expire(900), (0, vec![]));
    assert_eq!(rig.body(shard(1)).unwrap().0.expires_unix, 900);
    assert_eq!(rig.expire(901), (1, vec![]));
    assert_eq!(rig.body(shard(1)), None);
}

#[test]
fn a_shard_of_two_owners_stays_until_both_let_it_go() {
    let mut rig = Rig::new(small());
    rig.append(shard(1), Meta { kind: ShardKind::Root, ..meta(ALICE) }, bytes(1, 100)).unwrap();
    rig.append(shard(1), meta(BOB), bytes(1, 100)).unwrap();
    assert_eq!(rig.delete(PeerId([3; 32]), vec![shard(1)]), (0, vec![]));
    assert_eq!(rig.delete(ALICE, vec![shard(1), shard(2)]), (1, vec![shard(1)]), "it is no root any more");
    rig.reopen();
    assert_eq!(rig.body(shard(1)).unwrap().0.owner, BOB);
    assert_eq!(rig.delete(BOB, vec![shard(1)]), (1, vec![]));
    assert_eq!(rig.body(shard(1)), None);
    rig.reopen();
    assert_eq!((rig.body(shard(1)), rig.usage.shards), (None, 0));
}

#[test]
fn the_ninth_owner_of_a_shard_is_refused() {
    let mut rig = Rig::new(small());
    for owner in 0..8 {
        rig.append(shard(1), meta(PeerId([owner; 32])), bytes(1, 100)).unwrap();
    }
    assert!(matches!(rig.append(shard(1), meta(PeerId([8; 32])), bytes(1, 100)), Err(Failure::Io(_))));
    assert!(rig.append(shard(1), meta(PeerId([7; 32])), bytes(1, 100)).is_ok());
}

#[test]
fn contains_answers_with_one_bit_for_each_shard() {
    let mut rig = Rig::new(small());
    for n in [0, 3, 9] {
        rig.append(shard(n), meta(ALICE), bytes(n, 10)).unwrap();
    }
    let tag = rig.send(|tag| Command::Contains { tag, shards: (0..10).map(shard).collect() });
    assert_eq!(rig.event(), Event::Contains { tag, present: vec![0b1001, 0b10] });
}

#[test]
fn roots_are_announced_on_open() {
    let mut rig = Rig::new(small());
    for n in 0..300 {
        let kind = if n % 2 == 0 { ShardKind::Root } else { ShardKind::Block };
        rig.append(shard(n), Meta { kind, ..meta(ALICE) }, bytes(n, 10)).unwrap();
    }
    assert_eq!(rig.delete(ALICE, vec![shard(0)]), (1, vec![shard(0)]));
    rig.reopen();
    let mut expected: Vec<_> = (1..150).map(|n| shard(2 * n)).collect();
    expected.sort();
    assert_eq!(rig.roots, expected);
}

#[test]
fn a_full_queue_hands_commands_back() {
    let mut rig = Rig::new(Options { jobs_max: 1, job_bytes_max: 100, ..small() });
    let body = Bytes::from(vec![0; 101]);
    let rejected = rig.try_send(|tag| Command::Append { tag, shard: shard(1), meta: meta(ALICE), body: body.clone() });
    assert!(matches!(rejected, Err(Rejected::Full(Command::Append { body: back, .. })) if back == body));
}

#[test]
fn a_closed_disk_hands_commands_back() {
    let mut rig = Rig::new(small());
    rig.close();
    assert!(matches!(rig.try_send(|tag| Command::Read { tag, shard: shard(1) }), Err(Rejected::Closed(_))));
    assert!(matches!(rig.try_send(|tag| Command::Expire { tag, now_unix: 1 }), Err(Rejected::Closed(_))));
}

#[test]
fn the_directory_is_private_and_used_by_one_process_at_a_time() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new(small());
    let mode = std::fs::metadata(rig.home.path().join("segments")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let second = open(rig.home.path(), small(), &Arc::default());
    assert!(matches!(second, Err(OpenError::InUse { .. })));
}
