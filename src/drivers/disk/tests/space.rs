//! How much room the disk takes, and how it gets room back.

use super::*;
use pangea_protocols::disk::{INDEX_BYTES_MIN, SHARD_OVERHEAD_BYTES};
use std::fs;

/// Bytes of all files; a segment may be unlinked while they are being counted.
fn physical(rig: &Rig) -> u64 {
    let segments: u64 = rig.segments().iter().map(|path| fs::metadata(path).map_or(0, |file| file.len())).sum();
    segments + fs::metadata(rig.home.path().join("index.redb")).unwrap().len()
}

/// Gives compaction its turns: every command that is answered by the writer is followed by a step.
fn settle(rig: &mut Rig, done: impl Fn(&Rig) -> bool) {
    for _ in 0..2000 {
        rig.expire(0);
        if done(rig) {
            return;
        }
    }
    panic!("no end of compaction: {:?}", rig.usage);
}

#[test]
fn an_append_takes_no_more_than_its_body_and_the_stated_overhead() {
    let mut rig = Rig::new(Options { segment_bytes: 4096, commit_bytes: 64 << 10, ..small() });
    assert_eq!(rig.usage.disk_bytes, INDEX_BYTES_MIN);
    let long_path = StripeProof { total: u16::MAX, path: vec![Hash([9; 32]); 16] };
    for n in 0..3000 {
        let before = rig.usage.disk_bytes;
        rig.append(
            shard(n),
            Meta { proof: long_path.clone(), expires_unix: u64::MAX - n, ..meta(ALICE) },
            bytes(n, 10),
        )
        .unwrap();
        assert!(rig.usage.disk_bytes - before <= 10 + SHARD_OVERHEAD_BYTES);
        assert!(physical(&rig) <= rig.usage.disk_bytes, "after {n}");
    }
    for n in 0..3000 {
        let before = rig.usage.disk_bytes;
        assert_eq!(rig.delete(ALICE, vec![shard(n)]).0, 1);
        assert!(rig.usage.disk_bytes <= before + rig.options.maintenance_bytes());
        assert!(physical(&rig) <= rig.usage.disk_bytes + rig.options.maintenance_bytes(), "after deleting {n}");
    }
}

#[test]
fn a_segment_without_a_live_shard_is_unlinked() {
    let mut rig = Rig::new(small());
    for n in 0..100 {
        rig.append(shard(n), meta(ALICE), bytes(n, 3000)).unwrap();
    }
    let full = rig.segments().len();
    assert_eq!(rig.delete(ALICE, (0..100).map(shard).collect()).0, 100);
    settle(&mut rig, |rig| rig.segments().len() <= 1);
    assert!(full > 4);
    rig.reopen();
    assert_eq!(rig.usage.shards, 0);
}

#[test]
fn half_dead_segments_are_compacted_and_nothing_live_is_lost() {
    let mut rig = Rig::new(small());
    for n in 0..200 {
        rig.append(shard(n), meta(ALICE), bytes(n, 3000)).unwrap();
    }
    // Notes must survive compaction too.
    rig.append(shard(0), meta(BOB), bytes(0, 3000)).unwrap();
    let full = rig.usage.disk_bytes;
    let gone: Vec<_> = (0..200).filter(|n| n % 4 != 0).map(shard).collect();
    assert_eq!(rig.delete(ALICE, gone).0, 150);
    settle(&mut rig, |rig| rig.usage.disk_bytes < full - 400_000);
    for reopened in [false, true] {
        if reopened {
            rig.close();
            fs::remove_file(rig.home.path().join("index.redb")).unwrap();
            rig.reopen();
        }
        for n in (0..200).step_by(4) {
            assert_eq!(rig.body(shard(n)).unwrap().1, bytes(n, 3000), "{n} {reopened}");
        }
    }
    assert_eq!(rig.delete(ALICE, vec![shard(0)]).0 + rig.delete(BOB, vec![shard(0)]).0, 2);
}

#[test]
fn under_a_small_quota_the_room_of_what_is_deleted_comes_back_although_most_of_every_segment_lives() {
    let quota = 12 << 20;
    let mut rig = Rig::new(Options::for_quota(quota));
    for n in 0..160 {
        rig.append(shard(n), meta(ALICE), bytes(n, 50_000)).unwrap();
    }
    // Two of five in every segment: less than half of it.
    let gone: Vec<_> = (0..160).filter(|n| n % 5 < 2).map(shard).collect();
    let live = 96 * 50_000;
    assert_eq!(rig.delete(ALICE, gone).0, 64);
    let most = INDEX_BYTES_MIN + live + 96 * SHARD_OVERHEAD_BYTES + rig.options.dead_bytes_max;
    assert!(rig.usage.disk_bytes > most);
    settle(&mut rig, |rig| rig.usage.disk_bytes <= most);
    for n in (0..160).filter(|n| n % 5 >= 2) {
        assert_eq!(rig.body(shard(n)).unwrap().1, bytes(n, 50_000), "{n}");
    }
}

#[test]
fn compaction_on_a_full_disk_loses_nothing_and_rests() {
    let mut rig = Rig::new(small());
    for n in 0..100 {
        rig.append(shard(n), meta(ALICE), bytes(n, 3000)).unwrap();
    }
    let gone: Vec<_> = (0..100).filter(|n| n % 3 != 0).map(shard).collect();
    assert_eq!(gone.len(), 66);
    rig.fault.lock().unwrap().room = Some(9000);
    let mut deleted = rig.delete(ALICE, gone).0;
    for _ in 0..20 {
        deleted += rig.expire(0).0;
    }
    assert_eq!(deleted, 66);
    rig.fault.lock().unwrap().room = None;
    rig.reopen();
    for n in (0..100).step_by(3) {
        assert_eq!(rig.body(shard(n)).unwrap().1, bytes(n, 3000), "{n}");
    }
}
