//! Reserve, put, receipt, release, drop: what a holder promises and what it keeps.

use crate::world::*;
use pangea_chunks::api::{In, Out};
use pangea_protocols::{
    Cid, ShardId,
    disk::{Command, Event, Failure, SHARD_OVERHEAD_BYTES, Usage},
    receipt::SHARDS_MAX,
    wire::{
        BODY_BYTES_MAX, Message,
        store::{Refusal, ShardKind, Store},
    },
};
use proptest::prelude::*;
use std::time::Duration;

fn reason(out: &[Out]) -> Refusal {
    match said(out)[..] {
        [(_, Message::Store(Store::NotStored { reason, .. } | Store::Refused { reason, .. }))] => *reason,
        _ => panic!("{out:?}"),
    }
}

#[test]
fn the_last_byte_of_the_quota_can_be_reserved_and_not_one_more() {
    let room = 95 * MIB - SHARD_OVERHEAD_BYTES * 200;
    let mut world = World::new(config());
    assert_eq!(world.reserve(ALICE, room + 1, 200), Err(Refusal::Quota));
    assert!(world.reserve(ALICE, room, 200).is_ok());
    assert_eq!(world.reserve(BOB, 1, 1), Err(Refusal::Quota));
    assert_eq!(world.bed.core.status().reserved_bytes, 95 * MIB);
}

#[test]
fn nothing_is_promised_before_the_disk_is_open_or_into_its_last_free_bytes() {
    let mut world = World::new(config());
    world.disk(Event::Opened { usage: Usage { free_bytes: 3 * MIB, ..world.usage } });
    assert_eq!(world.reserve(ALICE, 2 * MIB, 2), Err(Refusal::DiskFull));
    assert!(world.reserve(ALICE, MIB, 1).is_ok());
    let key = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
    let mut closed =
        World { bed: pangea_kernel::testbed::Testbed::new(pangea_chunks::ChunkStore::new(key, config())), ..world };
    closed.bed.send(In::Status { request: 1 });
    assert_eq!(closed.reserve(ALICE, 1, 1), Err(Refusal::Busy));
}

#[test]
fn senseless_reservations_are_refused() {
    let mut world = World::new(config());
    for (bytes, shards) in [(0, 1), (1, 0), (BODY_BYTES_MAX as u64 + 1, 1), (MIB, 4097), (u64::MAX, u32::MAX)] {
        assert_eq!(world.reserve(ALICE, bytes, shards), Err(Refusal::Quota), "{bytes} {shards}");
    }
}

#[test]
fn grants_are_bounded_per_peer_and_in_total() {
    let mut world = World::new(pangea_chunks::Config { grants_max: 3, grants_per_peer_max: 2, ..config() });
    let granted: Vec<_> = [ALICE, ALICE, ALICE, BOB, BOB].map(|peer| world.reserve(peer, 10, 1).map(drop)).into();
    assert_eq!(granted, [Ok(()), Ok(()), Err(Refusal::Busy), Ok(()), Err(Refusal::Busy)]);
}

#[test]
fn one_peer_cannot_reserve_everything() {
    let mut world = World::new(pangea_chunks::Config { reserved_per_peer_bytes_max: 10 * MIB, ..config() });
    assert!(world.reserve(ALICE, 6 * MIB, 6).is_ok());
    assert_eq!(world.reserve(ALICE, 6 * MIB, 6), Err(Refusal::Quota));
    assert!(world.reserve(BOB, 6 * MIB, 6).is_ok());
}

#[test]
fn an_unused_grant_is_free_again_when_it_expires_and_when_it_is_released() {
    let mut world = World::new(config());
    let grant = world.reserve(ALICE, 90 * MIB, 100).unwrap();
    world.store(BOB, Store::Release { grant });
    assert_eq!(world.reserve(BOB, 90 * MIB, 100), Err(Refusal::Quota), "only its owner can release it");
    world.store(ALICE, Store::Release { grant });
    assert_eq!(world.bed.core.status().reserved_bytes, 0);
    let grant = world.reserve(ALICE, 90 * MIB, 100).unwrap();
    world.bed.advance(Duration::from_secs(610));
    assert_eq!(world.bed.core.status().reserved_bytes, 0);
    assert_eq!(reason(&world.put(ALICE, grant, &leaf(1, 100))), Refusal::NoGrant);
}

#[test]
fn shards_of_one_grant_that_become_durable_together_share_one_receipt() {
    let mut world = World::new(config());
    let (first, second) = (world.reserve(ALICE, 1000, 10).unwrap(), world.reserve(BOB, 1000, 10).unwrap());
    let leaves: Vec<_> = (0..3).map(|n| leaf(n, 100)).collect();
    let tags = [
        world.put_tag(ALICE, first, &leaves[0]),
        world.put_tag(BOB, second, &leaves[1]),
        world.put_tag(ALICE, first, &leaves[2]),
    ];
    let out = world.appended(&tags, 9000);
    let receipts: Vec<_> = said(&out)
        .into_iter()
        .map(|(peer, message)| match message {
            Message::Store(Store::Stored { grant, receipt }) => {
                assert!(receipt.verify() && receipt.owner == *peer);
                assert_eq!(receipt.expires_unix, pangea_kernel::testbed::EPOCH.0 + 3600);
                (*peer, *grant, receipt.shards.clone())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [(ALICE, first, vec![leaves[0].shard, leaves[2].shard]), (BOB, second, vec![leaves[1].shard])];
    assert_eq!(receipts, expected);
    assert_eq!(world.bed.core.status().stored, 3);
}

#[test]
fn a_receipt_names_no_more_shards_than_allowed() {
    let mut world = World::new(pangea_chunks::Config { appends_max: 1000, ..config() });
    let grant = world.reserve(ALICE, 100_000, 600).unwrap();
    let tags: Vec<_> = (0..600).map(|n| world.put_tag(ALICE, grant, &leaf(n, 10))).collect();
    let out = world.appended(&tags, 0);
    let counts: Vec<_> = said(&out)
        .iter()
        .map(|(_, message)| match message {
            Message::Store(Store::Stored { receipt, .. }) => receipt.shards.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(counts, [SHARDS_MAX, 600 - SHARDS_MAX]);
}

#[test]
fn a_put_needs_an_own_grant_with_enough_left() {
    let mut world = World::new(config());
    let grant = world.reserve(ALICE, 150, 2).unwrap();
    assert_eq!(reason(&world.put(BOB, grant, &leaf(1, 100))), Refusal::NoGrant);
    assert_eq!(reason(&world.put(ALICE, grant ^ 1, &leaf(1, 100))), Refusal::NoGrant);
    assert_eq!(reason(&world.put(ALICE, grant, &leaf(1, 151))), Refusal::NoGrant);
    world.put_tag(ALICE, grant, &leaf(1, 100));
    assert_eq!(reason(&world.put(ALICE, grant, &leaf(2, 51))), Refusal::NoGrant, "bytes");
    world.put_tag(ALICE, grant, &leaf(3, 10));
    assert_eq!(reason(&world.put(ALICE, grant, &leaf(4, 10))), Refusal::NoGrant, "shards");
}

#[test]
fn a_bad_proof_is_refused_reported_and_not_charged() {
    let mut world = World::new(config());
    let grant = world.reserve(ALICE, 1000, 3).unwrap();
    let before = world.bed.core.status().reserved_bytes;
    let mut flipped = leaf(1, 100);
    flipped.body = leaf(2, 100).body;
    let moved = Leaf { shard: pangea_protocols::ShardId { index: 0, ..leaf(1, 100).shard }, ..leaf(1, 100) };
    let no_block = Leaf { kind: ShardKind::Root, ..leaf(1, 100) };
    let empty = Leaf { body: bytes::Bytes::new(), ..leaf(1, 100) };
    for bad in [flipped, moved, no_block, empty] {
        let out = world.put(ALICE, grant, &bad);
        assert_eq!((reason(&out), violations(&out)), (Refusal::BadProof, 1));
    }
    assert_eq!(world.bed.core.status().reserved_bytes, before);
}

#[test]
fn a_shard_put_again_gets_a_receipt_again_and_is_charged_once() {
    let mut world = World::new(config());
    let grant = world.reserve(ALICE, 100, 1).unwrap();
    let tag = world.put_tag(ALICE, grant, &leaf(1, 100));
    assert!(world.put(ALICE, grant, &leaf(1, 100)).is_empty(), "one receipt will answer both");
    assert_eq!(said(&world.appended(&[tag], 3000)).len(), 1);
    assert_eq!(world.bed.core.status().reserved_bytes, 0);
    let tag = world.put_tag(ALICE, grant, &leaf(1, 100));
    assert_eq!(said(&world.appended(&[tag], 0)).len(), 1);
    assert_eq!(world.bed.core.status().reserved_bytes, 0);
}

#[test]
fn storing_and_dropping_in_turns_under_one_grant_cannot_pass_the_quota() {
    let mut world = World::new(config());
    let grant = world.reserve(ALICE, MIB, 1).unwrap();
    let big = leaf(1, MIB as usize);
    let mut stored = 0;
    // The disk keeps the dropped bytes until it compacts.
    while let [Out::Disk(Command::Append { tag, .. })] = world.put(ALICE, grant, &big)[..] {
        world.appended(&[tag], MIB + SHARD_OVERHEAD_BYTES);
        stored += 1;
        assert!(stored < 100, "the quota never stopped it");
    }
    assert!(world.usage.disk_bytes <= 99 * MIB && stored > 90);
}

#[test]
fn what_the_disk_could_not_store_is_refunded_and_said() {
    let mut world = World::new(config());
    let grant = world.reserve(ALICE, 100, 1).unwrap();
    let before = world.bed.core.status().reserved_bytes;
    for (error, expected) in [(Failure::Io("broken".into()), Refusal::Io), (Failure::Full, Refusal::DiskFull)] {
        let tag = world.put_tag(ALICE, grant, &leaf(1, 100));
        assert_eq!(reason(&world.disk(Event::AppendFailed { tag, error })), expected);
        assert_eq!(world.bed.core.status().reserved_bytes, before);
    }
    assert_eq!(world.reserve(BOB, 10, 1), Err(Refusal::DiskFull), "a full disk is not promised again");
    world.disk(Event::Deleted { tag: 0, count: 0, roots: vec![], usage: world.usage });
    assert!(world.reserve(BOB, 10, 1).is_ok());
}

#[test]
fn too_many_shards_at_once_are_told_to_come_later() {
    let mut world = World::new(pangea_chunks::Config { appends_max: 2, append_bytes_max: 250, ..config() });
    let grant = world.reserve(ALICE, 1000, 10).unwrap();
    let first = world.put_tag(ALICE, grant, &leaf(1, 200));
    assert_eq!(reason(&world.put(ALICE, grant, &leaf(2, 51))), Refusal::Busy);
    world.put_tag(ALICE, grant, &leaf(2, 50));
    assert_eq!(reason(&world.put(ALICE, grant, &leaf(3, 0x1))), Refusal::Busy);
    world.appended(&[first], 0);
    world.put_tag(ALICE, grant, &leaf(3, 1));
}

#[test]
fn a_peer_that_is_not_allowed_loses_its_grants_and_gets_none() {
    let mut world = World::new(config());
    let grant = world.reserve(ALICE, 1000, 10).unwrap();
    world.bed.send(In::Allow { peer: ALICE, allowed: false });
    assert_eq!(world.bed.core.status().reserved_bytes, 0);
    assert_eq!(world.reserve(ALICE, 10, 1), Err(Refusal::Denied));
    assert_eq!(reason(&world.put(ALICE, grant, &leaf(1, 10))), Refusal::Denied);
    world.bed.send(In::Allow { peer: ALICE, allowed: true });
    assert!(world.reserve(ALICE, 10, 1).is_ok());
}

#[test]
fn roots_are_announced_when_durable_when_found_and_not_after_they_are_gone() {
    let mut world = World::new(config());
    let grant = world.reserve(ALICE, 1000, 10).unwrap();
    let root = root(1, 100);
    let tag = world.put_tag(ALICE, grant, &root);
    let expected = Cid(root.shard.stripe);
    assert!(world.appended(&[tag], 0).iter().any(|out| matches!(out, Out::Provide { cid } if *cid == expected)));
    let found = world.disk(Event::Roots { shards: vec![root.shard] });
    assert!(matches!(found[..], [Out::Provide { cid }] if cid == expected));
    let usage = world.usage;
    let gone = world.disk(Event::Deleted { tag: 0, count: 1, roots: vec![root.shard], usage });
    assert!(matches!(gone[..], [Out::Unprovide { cid }] if cid == expected));
}

#[test]
fn a_drop_reaches_the_disk_in_the_name_of_its_sender_and_is_counted() {
    let mut world = World::new(pangea_chunks::Config { questions_per_peer_max: 1, ..config() });
    let shards = vec![leaf(1, 10).shard];
    let out = world.store(ALICE, Store::Drop { request: 7, shards: shards.clone() });
    let [Out::Disk(Command::Delete { tag, owner: ALICE, shards: asked })] = &out[..] else { panic!("{out:?}") };
    assert_eq!(*asked, shards);
    assert_eq!(reason(&world.store(ALICE, Store::Drop { request: 8, shards })), Refusal::Busy);
    let out = world.disk(Event::Deleted { tag: *tag, count: 1, roots: vec![], usage: world.usage });
    assert_eq!(said(&out), [(&ALICE, &Message::Store(Store::Dropped { request: 7, count: 1 }))]);
}

#[test]
fn nobody_signs_for_a_shard_that_its_owner_dropped_while_it_was_being_stored() {
    let mut world = World::new(config());
    let grant = world.reserve(ALICE, MIB, 4).unwrap();
    let (kept, dropped) = (leaf(1, 1000), leaf(2, 1000));
    let tags = [world.put_tag(ALICE, grant, &kept), world.put_tag(ALICE, grant, &dropped)];
    world.store(ALICE, Store::Drop { request: 7, shards: vec![dropped.shard] });
    // The disk appends and deletes in one group: it tells of the appends first.
    let out = world.appended(&tags, 2 * SHARD_OVERHEAD_BYTES);
    let signed: Vec<ShardId> = said(&out)
        .iter()
        .filter_map(|(_, message)| match message {
            Message::Store(Store::Stored { receipt, .. }) => Some(receipt.shards.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(signed, [kept.shard]);
}

#[test]
fn a_drop_that_the_disk_could_not_make_durable_is_refused_and_frees_its_place() {
    let mut world = World::new(pangea_chunks::Config { questions_per_peer_max: 1, ..config() });
    for request in [7, 8] {
        let out = world.store(ALICE, Store::Drop { request, shards: vec![leaf(1, 10).shard] });
        let [Out::Disk(Command::Delete { tag, .. })] = out[..] else { panic!("{out:?}") };
        let failed = world.disk(Event::DeleteFailed { tag, error: Failure::Io("broken".into()) });
        assert_eq!(reason(&failed), Refusal::Io);
    }
}

#[test]
fn a_peer_that_has_gone_is_not_answered_but_its_shards_and_grants_stay() {
    let mut world = World::new(config());
    let grant = world.reserve(ALICE, 1000, 10).unwrap();
    let (gone, back) = (world.put_tag(ALICE, grant, &leaf(1, 100)), world.put_tag(ALICE, grant, &leaf(2, 100)));
    world.bed.send(In::Disconnected { peer: ALICE });
    assert!(world.put(ALICE, grant, &leaf(2, 100)).is_empty(), "it came back and asks for this one again");
    let out = world.appended(&[gone, back], 0);
    assert!(
        matches!(said(&out)[..], [(_, Message::Store(Store::Stored { receipt, .. }))] if receipt.shards == [leaf(2, 100).shard])
    );
    world.put_tag(ALICE, grant, &leaf(3, 100));
}

#[test]
fn a_restarted_store_and_one_whose_disk_was_full_grant_again_after_a_round_of_expiry_that_found_nothing() {
    let world = World::new(config());
    let none = |usage| Event::Deleted { tag: 1, count: 0, roots: vec![], usage };
    let key = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
    let bed = pangea_kernel::testbed::Testbed::new(pangea_chunks::ChunkStore::new(key, config()));
    let mut restarted = World { bed, ..world };
    restarted.disk(Event::DeleteFailed { tag: 1, error: Failure::Io("broken".into()) });
    assert_eq!(restarted.reserve(ALICE, 10, 1), Err(Refusal::Busy), "the disk has not said anything");
    restarted.disk(none(restarted.usage));
    let grant = restarted.reserve(ALICE, 10, 1).unwrap();
    let tag = restarted.put_tag(ALICE, grant, &leaf(1, 10));
    restarted.disk(Event::AppendFailed { tag, error: Failure::Full });
    assert_eq!(restarted.reserve(BOB, 10, 1), Err(Refusal::DiskFull));
    restarted.disk(none(restarted.usage));
    assert!(restarted.reserve(BOB, 10, 1).is_ok());
}

#[test]
fn ended_leases_are_forgotten_periodically() {
    let mut world = World::new(config());
    let out = world.bed.advance(Duration::from_secs(610));
    let times = out.iter().filter_map(|out| match out {
        Out::Disk(Command::Expire { now_unix, .. }) => Some(now_unix - pangea_kernel::testbed::EPOCH.0),
        _ => None,
    });
    assert_eq!(times.collect::<Vec<_>>(), [300, 600]);
}

#[derive(Clone, Debug)]
enum Step {
    Reserve { bob: bool, bytes: u64, shards: u32 },
    Put { bob: bool, grant: usize, seed: u64 },
    Appended { tag: usize },
    Failed { tag: usize },
    Release { grant: usize },
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (any::<bool>(), 1..60_000u64, 1..5u32).prop_map(|(bob, bytes, shards)| Step::Reserve { bob, bytes, shards }),
        6 => (any::<bool>(), 0..6usize, 0..20u64).prop_map(|(bob, grant, seed)| Step::Put { bob, grant, seed }),
        4 => (0..4usize).prop_map(|tag| Step::Appended { tag }),
        1 => (0..4usize).prop_map(|tag| Step::Failed { tag }),
        1 => (0..6usize).prop_map(|grant| Step::Release { grant }),
        1 => Just(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn disk_and_promises_never_exceed_the_quota_and_nothing_leaks(steps in prop::collection::vec(step(), 1..120)) {
        let quota = 4 * MIB + 300_000;
        let mut world = World::new(pangea_chunks::Config { quota_bytes: quota, maintenance_bytes: 0, ..config() });
        let (mut grants, mut tags): (Vec<_>, Vec<(u64, u64)>) = (Vec::new(), Vec::new());
        for step in steps {
            let peer = |bob| if bob { BOB } else { ALICE };
            match step {
                Step::Reserve { bob, bytes, shards } => grants.extend(world.reserve(peer(bob), bytes, shards)),
                Step::Put { bob, grant, seed } => {
                    let leaf = leaf(seed, 100 + 1000 * seed as usize);
                    let Some(grant) = grants.get(grant) else { continue };
                    if let [Out::Disk(Command::Append { tag, .. })] = world.put(peer(bob), *grant, &leaf)[..] {
                        tags.push((tag, leaf.body.len() as u64));
                    }
                }
                Step::Appended { tag } if tag < tags.len() => {
                    let (tag, bytes) = tags.remove(tag);
                    world.appended(&[tag], bytes + SHARD_OVERHEAD_BYTES);
                }
                Step::Failed { tag } if tag < tags.len() => {
                    world.disk(Event::AppendFailed { tag: tags.remove(tag).0, error: Failure::Io(String::new()) });
                }
                Step::Release { grant } if grant < grants.len() => {
                    let grant = grants.remove(grant);
                    world.store(ALICE, Store::Release { grant });
                    world.store(BOB, Store::Release { grant });
                }
                Step::Wait => drop(world.bed.advance(Duration::from_secs(200))),
                _ => {}
            }
            prop_assert!(world.usage.disk_bytes + world.bed.core.status().reserved_bytes <= quota);
        }
        for (tag, bytes) in tags {
            world.appended(&[tag], bytes + SHARD_OVERHEAD_BYTES);
        }
        world.bed.advance(Duration::from_secs(700));
        prop_assert_eq!(world.bed.core.status().reserved_bytes, 0);
        prop_assert!(world.usage.disk_bytes <= quota);
    }
}
