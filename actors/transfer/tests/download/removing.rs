//! Removing an object from its holders.

use crate::{
    object::{Object, Plan, peer},
    world::{Vice, World},
};
use pangea_protocols::{
    ShardId,
    job::ErrorKind,
    wire::{
        Message,
        store::{DROP_SHARDS_MAX, Store},
    },
};

const PLAN: Plan = Plan { k: 2, m: 1, stripes: 1100, shard_len: 64, height: Some(1), zero_every: 7, holders: 4 };

fn left(world: &World) -> usize {
    world.holders.values().map(|holder| holder.shelf.len()).sum()
}

#[test]
fn everything_is_dropped_the_root_last() {
    let mut world = World::new(Object::new(PLAN));
    let before = left(&world);
    world.remove(&[1]);
    assert_eq!(world.removed, Some((before as u64, Vec::new())));
    assert_eq!(left(&world), 0);
    assert!(world.bed.core.is_idle());
    assert_eq!(world.bed.next_timer(), None);
    let root = ShardId::block(world.object.cid.0);
    let drops = world.sent.iter().filter_map(|(_, message)| match message {
        Message::Store(Store::Drop { shards, .. }) => Some(shards),
        _ => None,
    });
    let drops: Vec<_> = drops.collect();
    assert!(drops.iter().all(|shards| shards.len() <= DROP_SHARDS_MAX));
    assert!(drops[drops.len() - 4..].iter().all(|shards| **shards == [root]));
    assert!(!drops[..drops.len() - 4].iter().any(|shards| shards.contains(&root)));
}

#[test]
fn holders_that_cannot_be_reached_are_named_and_the_others_drop() {
    for vice in [Vice::Dead, Vice::Silent] {
        let mut world = World::new(Object::new(PLAN)).vice(4, vice);
        world.remove(&[1]);
        let (shards, unreachable) = world.removed.clone().expect("done");
        assert_eq!(unreachable, [peer(4)]);
        assert!(shards > 1000);
        assert_eq!(left(&world), world.holders[&peer(4)].shelf.len());
        assert!(world.bed.core.is_idle());
    }
}

#[test]
fn a_big_object_is_removed_with_a_few_questions_at_a_time() {
    let plan = Plan { stripes: 12_000, height: Some(0), zero_every: 0, holders: 3, ..PLAN };
    let mut world = World::new(Object::new(plan));
    world.remove(&[1]);
    // Three shards per stripe, and the root and 24 leaves at three holders: the world refuses too many at a time.
    assert_eq!(world.removed, Some((36_000 + 25 * 3, Vec::new())));
}

#[test]
fn a_removal_that_was_interrupted_can_be_repeated() {
    let mut object = Object::new(PLAN);
    let leaf = *object.blocks.keys().find(|id| id.stripe != object.cid.0).unwrap();
    object.shelves.values_mut().for_each(|shelf| _ = shelf.remove(&leaf));
    let mut world = World::new(object);
    world.remove(&[1]);
    assert!(world.removed.is_some(), "{:?}", world.failed);
    assert!(world.holders.values().all(|holder| !holder.shelf.contains_key(&ShardId::block(world.object.cid.0))));
}

#[test]
fn an_object_that_nobody_has_is_not_found() {
    let mut world = World::new(Object::new(PLAN));
    world.holders.values_mut().for_each(|holder| holder.shelf.clear());
    world.remove(&[1]);
    assert_eq!(world.failed.clone().unwrap().kind, ErrorKind::NotFound);
    assert!(world.bed.core.is_idle());
}
