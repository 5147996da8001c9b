//! What this test has found in the disk, each as the shortest history that shows it.

use crate::{model::Model, rig::Rig};
use pangea_simulations::virtual_disk::Fate;

/// More operations than opening and one command take.
const OPERATIONS: u64 = 40;

#[test]
fn a_shard_left_unsynced_by_a_killed_process_is_synced_before_it_is_acknowledged_again() {
    for operations in 0..OPERATIONS {
        let mut rig = Rig::new(0);
        rig.open().unwrap();
        rig.volume.fail_after(operations);
        rig.append(9);
        rig.crash(Fate::Kept);
        rig.open().unwrap();
        rig.append(9);
        rig.crash(Fate::Lost);
        rig.open().unwrap();
    }
}

#[test]
fn a_delete_left_unsynced_by_a_killed_process_is_synced_before_it_is_acknowledged_again() {
    for operations in 0..OPERATIONS {
        let mut rig = Rig::new(0);
        rig.open().unwrap();
        rig.append(9);
        rig.volume.fail_after(operations);
        rig.delete(9);
        rig.crash(Fate::Kept);
        rig.open().unwrap();
        rig.delete(9);
        rig.crash(Fate::Lost);
        rig.open().unwrap();
    }
}

#[test]
fn a_new_index_is_there_after_a_power_failure() {
    for fate in [Fate::Lost, Fate::Torn] {
        let mut rig = Rig::new(0);
        rig.open().unwrap();
        rig.append(9);
        rig.close();
        let before = rig.volume.files();
        rig.crash(fate);
        assert_eq!(rig.volume.files(), before);
        rig.open().unwrap();
    }
}

#[test]
fn a_write_that_failed_does_not_come_back_once_its_shard_is_deleted() {
    for (after, count) in (0..6).flat_map(|after| (1..5).map(move |count| (after, count))) {
        for fate in [Fate::Kept, Fate::Lost, Fate::Torn] {
            let mut rig = Rig::new(after * 10 + count);
            rig.open().unwrap();
            rig.append(3);
            rig.volume.fail_operations(after, count);
            rig.append(9);
            rig.volume.heal();
            rig.delete(9);
            rig.crash(fate);
            rig.open().unwrap();
        }
    }
}

#[test]
fn after_one_failed_read_of_the_index_everything_is_found_again() {
    for after in 0..8 {
        let mut rig = Rig::new(0);
        rig.open().unwrap();
        rig.append(9);
        rig.close();
        rig.crash(Fate::Kept);
        rig.open().unwrap();
        rig.volume.fail_reads(after, 1);
        rig.append(10);
        rig.volume.heal();
        rig.append(11);
        rig.check();
    }
}

#[test]
fn a_segment_that_could_not_be_made_is_in_nobodys_way() {
    for (after, count) in (0..6).flat_map(|after| (1..4).map(move |count| (after, count))) {
        let mut rig = Rig::new(0);
        rig.open().unwrap();
        rig.volume.fail_operations(after, count);
        rig.append(9);
        rig.volume.heal();
        rig.append(10);
        rig.crash(Fate::Torn);
        rig.open().unwrap();
    }
}

#[test]
fn what_is_stored_after_syncs_that_lied_is_replayed_after_the_next_crash() {
    for lies in 1..12 {
        let mut rig = Rig::new(0);
        rig.open().unwrap();
        rig.append(3);
        rig.volume.set_lying_sync(true);
        rig.strict = false;
        (4..4 + lies).for_each(|number| rig.append(number));
        // The segment's syncs have lied, the one of the index does not.
        rig.volume.heal();
        rig.close();
        rig.crash(Fate::Lost);
        rig.model = Model::default();
        rig.model.forgive_deletes();
        rig.open().unwrap();
        rig.strict = true;
        (20..23).for_each(|number| rig.append(number));
        rig.crash(Fate::Lost);
        rig.open().unwrap();
    }
}

#[test]
fn what_compaction_had_copied_when_a_read_failed_is_not_written_with_the_next_shards() {
    for after in 0..40 {
        let mut rig = Rig::new(0);
        rig.open().unwrap();
        // Half of a segment is dead, so that it is copied between two groups.
        (1..24).for_each(|number| rig.append(number));
        rig.volume.fail_reads(after, 1);
        (1..16).for_each(|number| rig.delete(number));
        rig.volume.heal();
        rig.append(1);
        (16..24).for_each(|number| rig.delete(number));
        rig.check();
    }
}
