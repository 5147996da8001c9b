//! The window, the manifest tree, and what is told of the progress.

use crate::{
    object::{Object, Plan},
    world::{JOB, TIMEOUT, World},
};
use pangea_protocols::wire::{Message, fetch::Fetch};
use pangea_transfer::api::download::In;
use std::time::Duration;

const WINDOW: u64 = 24 << 20;

fn gets(world: &World) -> usize {
    world.sent.iter().filter(|(_, message)| matches!(message, Message::Fetch(Fetch::Get { .. }))).count()
}

#[test]
fn the_window_is_filled_and_never_exceeded() {
    let plan = Plan { k: 16, m: 4, stripes: 60, shard_len: 64 << 10, holders: 20, ..Plan::default() };
    let mut world = World::new(Object::new(plan));
    world.consume_after = Some(Duration::from_millis(3));
    world.get(&[1]);
    assert!(world.is_whole());
    assert_eq!(world.window_peak, WINDOW);
    world.close();
}

#[test]
fn a_receiver_that_takes_its_time_is_no_failure() {
    let plan = Plan { k: 16, m: 4, stripes: 30, shard_len: 64 << 10, holders: 20, ..Plan::default() };
    let mut world = World::new(Object::new(plan));
    world.consume_after = None;
    world.get(&[1]);
    assert_eq!(world.delivered.len(), 24, "a window and no more");
    assert!(world.failed.is_none() && world.bed.now().since(pangea_protocols::time::Time(0)) > 10 * TIMEOUT);
    world.close();
}

#[test]
fn shards_of_many_stripes_travel_in_one_request_per_holder() {
    let plan = Plan { k: 4, m: 2, stripes: 20, shard_len: 64, holders: 6, ..Plan::default() };
    let mut world = World::new(Object::new(plan));
    world.connect_all();
    world.get(&[1]);
    assert!(world.is_whole());
    assert!(gets(&world) <= 1 + 6, "{} requests", gets(&world));
    world.close();
}

#[test]
fn every_level_of_the_tree_is_walked() {
    for height in 0..=2 {
        let plan =
            Plan { k: 2, m: 1, stripes: 1100, shard_len: 64, height: Some(height), holders: 3, ..Plan::default() };
        let mut world = World::new(Object::new(plan));
        world.get(&[1]);
        assert!(world.is_whole(), "height {height}: {:?}", world.failed);
        let mut delivered = world.delivered.clone();
        delivered.sort_unstable();
        assert!(delivered.into_iter().eq(0..1100));
        world.close();
    }
}

#[test]
fn a_tree_block_that_only_a_stranger_holds_is_found_by_asking() {
    let plan = Plan { k: 2, m: 1, stripes: 600, shard_len: 64, height: Some(0), holders: 4, ..Plan::default() };
    let mut object = Object::new(plan);
    let stranger = object.shelves[&crate::object::peer(1)].clone();
    for shelf in object.shelves.values_mut() {
        shelf.retain(|id, _| id.stripe == object.cid.0 || !object.blocks.contains_key(id));
    }
    object.shelves.insert(crate::object::peer(9), stranger);
    let mut world = World::new(object);
    world.connect_all();
    world.get(&[1]);
    assert!(world.is_whole(), "{:?}", world.failed);
    world.close();
}

#[test]
fn zero_frames_are_delivered_without_asking_anybody() {
    let plan = Plan { stripes: 200, zero_every: 1, ..Plan::default() };
    let mut world = World::new(Object::new(plan));
    world.get(&[1]);
    assert!(world.is_whole());
    assert_eq!(gets(&world), 1, "the root block");
    world.close();
}

#[test]
fn ranges_out_of_order_are_served_in_the_order_of_asking() {
    let plan = Plan { stripes: 40, zero_every: 5, ..Plan::default() };
    let mut world = World::new(Object::new(plan));
    world.need = vec![39..40, 0..10, 20..30];
    world.connect_all();
    world.get(&[1]);
    assert!(world.is_whole());
    // Past the end and empty ranges are nothing.
    world.send(In::Need { job: JOB, stripes: 40..u64::MAX });
    world.send(In::Need { job: JOB, stripes: 7..7 });
    assert_eq!(world.delivered.len(), 21);
    world.close();
}

#[test]
fn tallies_are_few_and_the_last_one_is_complete() {
    let plan = Plan { k: 4, m: 2, stripes: 400, shard_len: 64 << 10, holders: 6, ..Plan::default() };
    let mut world = World::new(Object::new(plan));
    world.holders.values_mut().for_each(|holder| holder.rate = 10_000_000);
    world.get(&[1]);
    assert!(world.is_whole());
    assert_eq!(world.tallies.last().unwrap().1, 1600);
    let paced = &world.tallies[..world.tallies.len() - 1];
    assert!(paced.len() > 10 && paced.windows(2).all(|pair| pair[1].0.since(pair[0].0) >= Duration::from_millis(100)));
    world.close();
}
