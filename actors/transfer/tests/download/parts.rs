//! Objects that are read in parts by several nodes: surveying them, remembering their roots, own shards first.

use crate::{
    object::{Object, Plan, peer},
    world::World,
};
use pangea_protocols::{
    ShardId,
    job::ErrorKind,
    manifest::NO_HOLDER,
    wire::{Message, fetch::Fetch},
};

#[test]
fn a_survey_tells_where_every_data_shard_is_and_fetches_none() {
    for height in [None, Some(1)] {
        let stripes = if height.is_some() { 1100 } else { 9 };
        let object = Object::new(Plan { stripes, height, zero_every: 4, shard_len: 64, ..Plan::default() });
        let (k, records, root) = (usize::from(object.plan.k), object.records.clone(), object.root.clone());
        let expected: Vec<u8> = records
            .iter()
            .flat_map(|record| (0..k).map(|at| record.placement.get(at).copied().unwrap_or(NO_HOLDER)))
            .collect();
        let mut world = World::new(object);
        world.survey(&[1]);
        assert_eq!(world.surveyed, Some((root, expected)));
        assert!(world.bed.core.is_idle() && world.bed.next_timer().is_none() && world.delivered.is_empty());
    }
}

#[test]
fn a_survey_of_what_nobody_has_fails_with_a_reason() {
    let mut object = Object::new(Plan::default());
    let root = ShardId::block(object.cid.0);
    object.shelves.values_mut().for_each(|shelf| drop(shelf.remove(&root)));
    let mut world = World::new(object);
    world.survey(&[1]);
    assert_eq!(world.failed.as_ref().map(|error| error.kind), Some(ErrorKind::NotFound));
    assert!(world.bed.core.is_idle());
}

#[test]
fn the_root_of_an_object_is_fetched_once_for_all_its_parts() {
    let mut world = World::new(Object::new(Plan::default()));
    let root = ShardId::block(world.object.cid.0);
    let asked_for_root = |world: &World| {
        let is_get = |message: &Message| match message {
            Message::Fetch(Fetch::Get { items }) => items.iter().any(|item| item.shard == root),
            _ => false,
        };
        world.sent.iter().filter(|(_, message)| is_get(message)).count()
    };
    world.get_part(1, &[1]).close();
    let before = asked_for_root(&world);
    assert!(before > 0);
    for stripe in [0, 2, 1] {
        world.get_part(stripe, &[]);
        assert_eq!(world.delivered, [stripe]);
        world.close();
    }
    assert_eq!(asked_for_root(&world), before);
    // A user's own download asks anew: what was removed since is not found.
    world.root = None;
    world.get(&[1]);
    assert!(asked_for_root(&world) > before);
}

#[test]
fn own_shards_come_first() {
    // Of six shards, holder 3 has one of each stripe.
    let object = Object::new(Plan { stripes: 6, ..Plan::default() });
    let mut world = World::at(peer(3), object);
    world.get(&[1]);
    assert!(world.is_whole());
    assert_eq!(world.own, 6, "one for each stripe, though two of them are parity");
    world.close();
}
