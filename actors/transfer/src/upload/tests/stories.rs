//! Whole puts, one fault at a time.

use super::world::{FakeSource, JOB, Manner, World};
use crate::{
    api::{Redundancy, Report, upload::In},
    upload::Limits,
};
use pangea_protocols::{
    job::{ErrorKind, JobError, JobEvent},
    manifest::{Content, FRAME_BYTES},
    wire::store::{Refusal, ShardKind},
};
use std::time::Duration;

fn failure(event: JobEvent) -> JobError {
    match event {
        JobEvent::Failed { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

fn honest(count: usize) -> Vec<Manner> {
    vec![Manner::Honest; count]
}

#[test]
fn with_honest_holders_every_shard_has_a_receipt_and_nothing_is_left_behind() {
    for peers in [2, 3, 5, 7, 20, 33] {
        let mut world = World::new(&honest(peers), 30, 1);
        world.run(Redundancy::Auto);
        world.assert_durable();
        world.assert_clean();
        let stored = world.stored().clone();
        assert_eq!((stored.missing_shards, stored.stripes, stored.skipped), (0, 30, 2));
        assert_eq!(stored.raw_bytes, 29 * FRAME_BYTES as u64 + 1000);
        let progress = world.progress();
        assert_eq!((progress.done_bytes, progress.full_bytes), (stored.raw_bytes, stored.raw_bytes));
        assert_eq!((progress.shards, progress.healed, progress.hedged), (600, 0, 0));
        world.run_rest();
        assert!(world.holders.values().all(|holder| holder.grants.is_empty()), "grants are given back");
    }
}

#[test]
fn the_root_is_held_by_at_least_three_holders_and_named_first() {
    let mut world = World::new(&honest(7), 3, 2);
    world.run(Redundancy::Auto);
    let roots: Vec<_> = world
        .holders
        .iter()
        .filter(|(_, holder)| holder.held.values().any(|(_, kind)| *kind == ShardKind::Root))
        .map(|(peer, _)| *peer)
        .collect();
    assert_eq!(roots.len(), 5);
    let mut first = world.stored().holders[..5].to_vec();
    first.sort_unstable();
    assert_eq!(first, roots);
}

#[test]
fn small_and_empty_objects_are_only_a_root() {
    for (inline, content) in [(true, 1), (false, 0)] {
        let mut world = World::new(&honest(3), 0, 3);
        world.source = FakeSource { inline, ..FakeSource::default() };
        world.run(Redundancy::Auto);
        let (root, _) = world.read_manifest(world.stored().cid);
        let kind = match root.content {
            Content::Empty => 0,
            Content::Inline { .. } => 1,
            _ => 2,
        };
        assert_eq!(kind, content);
        world.assert_clean();
    }
}

#[test]
fn a_large_object_has_a_tree_and_its_zero_frames_have_no_shards() {
    let mut world = World::new(&honest(4), 1300, 4);
    world.source.zero_every = 3;
    world.run(Redundancy::Auto);
    world.assert_durable();
    world.assert_clean();
    let (root, records) = world.read_manifest(world.stored().cid);
    assert!(matches!(root.content, Content::Tree { height: 0, ref children, .. } if children.len() == 3));
    assert_eq!(records.iter().filter(|record| record.placement.is_empty()).count(), 434);
}

#[test]
fn the_encoder_is_never_further_ahead_than_the_window() {
    let silent = [Manner::Silent, Manner::Silent, Manner::Silent];
    let mut world = World::new(&silent, 1000, 5);
    world.put(Redundancy::Auto);
    world.run_for(Duration::from_secs(10));
    // 24 MiB hold 11 stripes of 20 shards of 104,896 bytes.
    assert_eq!(world.credit_given, 11);
}

#[test]
fn stripes_that_are_safe_but_not_full_take_no_more_memory_than_the_window() {
    let mut manners = honest(19);
    manners.push(Manner::Silent);
    let mut world = World::new(&manners, 1000, 5);
    world.put(Redundancy::Auto);
    world.run_for(Duration::from_millis(1500));
    // 24 MiB hold 19 stripes of 20 shards of 65,600 bytes.
    assert_eq!(world.credit_given, 19);
}

#[test]
fn a_silent_holder_is_hedged_then_replaced_and_stalls_nothing() {
    let mut manners = honest(7);
    manners.push(Manner::Silent);
    let mut world = World::new(&manners, 40, 6);
    world.run(Redundancy::Auto);
    world.assert_durable();
    world.assert_clean();
    assert_eq!(world.stored().missing_shards, 0);
    assert!(world.progress().hedged > 0);
    assert!(world.bed.now().0 < 15_000_000_000, "took {}", world.bed.now());
}

#[test]
fn one_slow_holder_does_not_stall_an_upload_at_its_end() {
    let mut manners = honest(5);
    manners.push(Manner::Slow(Duration::from_secs(12)));
    let mut world = World::new(&manners, 60, 7);
    world.run(Redundancy::Auto);
    world.assert_durable();
    assert!(world.bed.now().0 < 11_000_000_000, "took {}", world.bed.now());
    world.assert_clean();
}

#[test]
fn what_lost_a_race_or_was_moved_is_dropped_where_it_may_have_been_stored() {
    for manner in [Manner::Slow(Duration::from_secs(12)), Manner::Full(9), Manner::Forgetful(5)] {
        let mut manners = honest(5);
        manners.push(manner);
        let mut world = World::new(&manners, 60, 7);
        world.run(Redundancy::Auto);
        world.run_rest();
        world.assert_durable();
        world.assert_no_orphans();
    }
}

#[test]
fn the_loss_of_one_of_a_few_holders_during_the_put_is_made_good_by_the_others() {
    for peers in 3..8 {
        let mut manners = honest(peers - 1);
        manners.push(Manner::Silent);
        let mut world = World::new(&manners, 10, 11);
        world.run(Redundancy::Auto);
        assert_eq!(world.stored().missing_shards, 0, "{peers} peers");
        world.assert_clean();
    }
}

#[test]
fn holders_that_are_full_in_the_middle_are_named_as_the_reason() {
    let mut world = World::new(&[Manner::Full(20); 4], 60, 12);
    let error = failure(world.run(Redundancy::Auto));
    assert_eq!(error.kind, ErrorKind::Quota, "{error}");
    assert!(error.message.contains("4 are full"), "{error}");
    world.assert_clean();
}

#[test]
fn a_code_that_was_possible_until_peers_fell_silent_is_no_mistake_of_the_user() {
    let mut manners = honest(2);
    manners.extend([Manner::Dead; 4]);
    let error = failure(World::new(&manners, 3, 13).run(Redundancy::Fixed { k: 3, m: 2 }));
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    assert!(
        error.message.contains("2 of 6 peers granted room") && error.message.contains("4 did not answer"),
        "{error}"
    );
}

#[test]
fn a_holder_that_refuses_is_replaced_before_the_code_is_chosen() {
    let mut manners = honest(3);
    manners.extend([Manner::Refusing(Refusal::Quota), Manner::Dead]);
    let mut world = World::new(&manners, 10, 8);
    world.run(Redundancy::Auto);
    world.assert_durable();
    assert_eq!((world.stored().k, world.stored().m, world.first_holders()), (10, 10, 3));
    world.assert_clean();
}

#[test]
fn when_all_refuse_the_error_says_why() {
    let table = [
        (vec![Manner::Refusing(Refusal::Quota); 3], ErrorKind::Quota, "3 are full"),
        (vec![Manner::Refusing(Refusal::Denied); 3], ErrorKind::Denied, "3 do not store"),
        (vec![Manner::Dead; 3], ErrorKind::Unreachable, "3 did not answer"),
        (vec![Manner::Honest, Manner::Dead], ErrorKind::Unreachable, "only one peer"),
        (vec![Manner::Honest], ErrorKind::Unreachable, "only one peer"),
        (vec![], ErrorKind::Unreachable, "no peers that accept shards"),
    ];
    for (manners, kind, text) in table {
        let mut world = World::new(&manners, 3, 9);
        let error = failure(world.run(Redundancy::Auto));
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(text), "{error}");
        world.assert_clean();
    }
}

#[test]
fn one_peer_is_enough_if_the_user_says_so() {
    let mut world = World::new(&honest(1), 5, 10);
    world.run(Redundancy::Fixed { k: 4, m: 2 });
    world.assert_durable();
    assert_eq!(world.stored().missing_shards, 0);
    world.assert_clean();
}

#[test]
fn a_liar_is_reported_once_and_its_shards_are_stored_elsewhere() {
    let mut manners = honest(6);
    manners.push(Manner::Lying(3));
    let mut world = World::new(&manners, 20, 11);
    world.run(Redundancy::Auto);
    world.assert_durable();
    assert_eq!(world.reports.iter().filter(|(_, report)| *report == Report::BadProof).count(), 1);
    assert!(world.progress().healed > 0);
    world.assert_clean();
}

#[test]
fn a_lost_holder_is_replaced_by_one_that_the_peer_manager_finds_later() {
    let mut manners = honest(2);
    manners.push(Manner::Leaving(5, false));
    let mut world = World::new(&manners, 20, 12);
    world.add_later(50, Manner::Honest);
    world.run(Redundancy::Auto);
    world.assert_durable();
    assert_eq!(world.stored().missing_shards, 0);
    world.assert_clean();
}

#[test]
fn a_holder_that_was_only_disconnected_comes_back_when_nobody_else_can() {
    let mut manners = honest(2);
    manners.push(Manner::Leaving(60, true));
    let mut world = World::new(&manners, 12, 13);
    world.run(Redundancy::Auto);
    world.assert_durable();
    assert_eq!(world.stored().missing_shards, 0);
    world.assert_clean();
}

#[test]
fn a_put_that_can_no_longer_keep_its_promise_fails_and_says_how_far_it_came() {
    let mut manners = honest(2);
    manners.extend([Manner::Leaving(30, false); 2]);
    let mut world = World::new(&manners, 40, 14);
    let error = failure(world.run(Redundancy::Auto));
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.message.contains("bytes were readable") && error.message.contains("2 of 4 peers remain"), "{error}");
    world.assert_clean();
    world.run_rest();
    let left: usize = world.holders.values().filter(|h| h.manner == Manner::Honest).map(|h| h.held.len()).sum();
    assert_eq!(left, 0, "what was stored is dropped");
}

#[test]
fn full_busy_and_forgetful_holders_cost_time_but_no_shard() {
    let mut manners = honest(4);
    manners.extend([Manner::Full(9), Manner::Busy, Manner::Forgetful(10)]);
    let mut world = World::new(&manners, 40, 15);
    world.run(Redundancy::Auto);
    world.assert_durable();
    assert_eq!(world.stored().missing_shards, 0);
    world.assert_clean();
}

#[test]
fn a_cancelled_put_gives_back_grants_and_drops_what_was_stored() {
    for when in [0, 5, 12, 20, 30, 60, 400] {
        let mut world = World::new(&honest(5), 4000, 16);
        world.put(Redundancy::Auto);
        world.run_for(Duration::from_millis(when));
        world.deliver(In::Cancel { job: JOB });
        let error = failure(world.events.last().cloned().unwrap());
        assert_eq!(error.kind, ErrorKind::Interrupted);
        world.assert_clean();
        world.run_rest();
        for holder in world.holders.values() {
            assert!(holder.grants.is_empty() && holder.held.is_empty(), "left: {} shards", holder.held.len());
        }
        assert!(world.bed.core.is_idle());
    }
}

#[test]
fn a_source_that_fails_ends_the_put() {
    let mut world = World::new(&honest(5), 4000, 17);
    world.put(Redundancy::Auto);
    world.run_for(Duration::from_millis(100));
    world.deliver(In::SourceFailed { job: JOB });
    assert_eq!(failure(world.events.last().cloned().unwrap()).kind, ErrorKind::Interrupted);
    assert!(world.cancelled_encode);
    world.assert_clean();
}

#[test]
fn holders_that_all_fall_silent_end_the_put_in_bounded_time() {
    let mut world = World::new(&[Manner::Silent; 4], 10, 18);
    let error = failure(world.run(Redundancy::Auto));
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(world.bed.now().0 < 90_000_000_000);
    assert!(world.reports.iter().any(|(_, report)| *report == Report::TimedOut));
    world.assert_clean();
}

#[test]
fn a_small_reservation_is_renewed_ahead_of_need() {
    let limits = Limits { portion_bytes_min: 4 << 10, portion_bytes_max: 8 << 10, ..Limits::default() };
    let mut world = World::with_limits(&honest(3), 200, 19, limits);
    world.run(Redundancy::Auto);
    world.assert_durable();
    assert_eq!(world.stored().missing_shards, 0);
    world.assert_clean();
}

#[test]
fn an_all_zero_object_is_never_dropped_with_another() {
    let mut world = World::new(&honest(3), 1100, 20);
    world.source.zero_every = 1;
    world.put(Redundancy::Auto);
    world.run_for(Duration::from_millis(900));
    let blocks = |world: &World| world.holders.values().map(|holder| holder.held.len()).sum::<usize>();
    let before = blocks(&world);
    assert!(before > 0, "leaves are stored before the end");
    world.deliver(In::Cancel { job: JOB });
    world.run_rest();
    assert!(blocks(&world) >= before);
}

#[test]
fn a_holder_that_forgets_its_grants_again_and_again_does_not_use_up_the_moves_of_a_shard() {
    let mut world = World::new(&[Manner::Honest, Manner::Honest, Manner::Forgetful(2)], 12, 1_917_255_690_696_425_781);
    world.run(Redundancy::Auto);
    world.assert_durable();
    assert_eq!(world.stored().missing_shards, 0);
    world.assert_clean();
}
