//! What is left when writes tear, disks fill up and bits rot.

use super::*;
use crate::drivers::disk::record::{Meta as Record, SEGMENT_HEADER_BYTES};
use std::{fs, os::unix::fs::FileExt};

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

fn filled(count: u64) -> Rig {
    let mut rig = Rig::new(small());
    for n in 0..count {
        rig.append(shard(n), meta(ALICE), bytes(n, 3000)).unwrap();
    }
    rig
}

#[test]
fn a_rotten_shard_is_reported_once_and_can_be_stored_again() {
    let mut rig = filled(2);
    flip(&rig.segments()[0], 1500);
    assert!(matches!(rig.read(shard(0)), Event::Corrupt { .. }));
    assert!(matches!(rig.read(shard(0)), Event::Missing { .. }));
    assert_eq!(rig.body(shard(1)).unwrap().1, bytes(1, 3000));
    rig.reopen();
    assert_eq!((rig.body(shard(0)), rig.usage.shards), (None, 1));
    rig.append(shard(0), meta(ALICE), bytes(0, 3000)).unwrap();
    assert_eq!(rig.body(shard(0)).unwrap().1, bytes(0, 3000));
}

#[test]
fn storing_a_rotten_shard_again_heals_it() {
    let mut rig = filled(1);
    flip(&rig.segments()[0], 1500);
    rig.append(shard(0), meta(BOB), bytes(0, 3000)).unwrap();
    assert_eq!(rig.body(shard(0)).unwrap().1, bytes(0, 3000));
    assert_eq!((rig.delete(ALICE, vec![shard(0)]), rig.delete(BOB, vec![shard(0)])), ((1, vec![]), (1, vec![])));
}

#[test]
fn a_damaged_index_is_put_aside_and_rebuilt() {
    let damage: [fn(&Path); 4] = [
        |index| fs::write(index, b"not a database at all").unwrap(),
        |index| {
            let len = fs::metadata(index).unwrap().len();
            fs::OpenOptions::new().write(true).open(index).unwrap().set_len(len / 2).unwrap();
        },
        |index| {
            let len = fs::metadata(index).unwrap().len() as usize;
            fs::write(index, bytes(7, len)).unwrap();
        },
        |index| fs::remove_file(index).unwrap(),
    ];
    for (case, damage) in damage.into_iter().enumerate() {
        let mut rig = filled(100);
        assert_eq!(rig.delete(ALICE, vec![shard(5)]).0, 1);
        rig.append(shard(6), meta(BOB), bytes(6, 3000)).unwrap();
        rig.close();
        damage(&rig.home.path().join("index.redb"));
        rig.reopen();
        assert_eq!(rig.usage.shards, 99, "case {case}");
        for n in (0..100).filter(|n| *n != 5) {
            assert_eq!(rig.body(shard(n)).unwrap().1, bytes(n, 3000), "case {case}");
        }
        assert_eq!(rig.delete(ALICE, vec![shard(6)]).0 + rig.delete(BOB, vec![shard(6)]).0, 2, "both owners are back");
    }
}

#[test]
fn damaged_pages_anywhere_in_the_index_cost_no_shard_and_no_crash() {
    let mut rig = filled(60);
    rig.close();
    let index = rig.home.path().join("index.redb");
    let good = fs::read(&index).unwrap();
    for page in (0..good.len()).step_by(4096).filter(|page| good[*page..].iter().take(4096).any(|byte| *byte != 0)) {
        let mut bad = good.clone();
        bad[page..(page + 4096).min(good.len())].fill(0x5a);
        fs::write(&index, bad).unwrap();
        rig.reopen();
        for n in 0..60 {
            assert_eq!(rig.body(shard(n)).unwrap().1, bytes(n, 3000), "page {page}");
        }
        rig.close();
    }
}

#[test]
fn a_torn_end_is_cut_off_wherever_it_tears() {
    let mut rig = Rig::new(Options { segment_bytes: 1 << 20, ..small() });
    rig.append(shard(0), meta(ALICE), bytes(0, 300)).unwrap();
    let path = rig.segments()[0].clone();
    let whole_first = fs::metadata(&path).unwrap().len();
    rig.append(shard(1), meta(ALICE), bytes(1, 300)).unwrap();
    rig.close();
    let both = fs::read(&path).unwrap();
    for cut in whole_first as usize..both.len() {
        fs::remove_file(rig.home.path().join("index.redb")).unwrap();
        fs::write(&path, &both[..cut]).unwrap();
        rig.reopen();
        assert_eq!(rig.usage.shards, 1, "cut at {cut}");
        assert_eq!(fs::metadata(&path).unwrap().len(), whole_first);
        rig.append(shard(2), meta(ALICE), bytes(2, 300)).unwrap();
        rig.reopen();
        assert_eq!(
            (rig.body(shard(0)).unwrap().1, rig.body(shard(2)).unwrap().1),
            (bytes(0, 300).into(), bytes(2, 300).into())
        );
        rig.close();
    }
}

#[test]
fn a_segment_whose_header_never_arrived_does_no_harm() {
    for header in 0..SEGMENT_HEADER_BYTES {
        let mut rig = filled(1);
        rig.close();
        fs::write(rig.home.path().join("segments/00000002.seg"), vec![0x50; header]).unwrap();
        rig.reopen();
        rig.append(shard(1), meta(ALICE), bytes(1, 300)).unwrap();
        rig.reopen();
        assert_eq!(
            (rig.body(shard(0)).unwrap().1, rig.body(shard(1)).unwrap().1),
            (bytes(0, 3000).into(), bytes(1, 300).into())
        );
    }
}

#[test]
fn records_behind_a_damaged_one_are_found() {
    let mut rig = filled(10);
    rig.close();
    fs::remove_file(rig.home.path().join("index.redb")).unwrap();
    // The magic of the fourth record.
    let bytes_of = fs::read(&rig.segments()[0]).unwrap();
    let fourth = bytes_of.windows(4).enumerate().filter(|(_, window)| window == b"PGR1").nth(3).unwrap().0;
    flip(&rig.segments()[0], fourth as u64);
    rig.reopen();
    let held = (0..10).filter(|n| rig.body(shard(*n)).is_some()).count();
    assert_eq!((held, rig.body(shard(3))), (9, None));
}

#[test]
fn a_record_hidden_in_a_shard_is_not_taken_for_one_when_its_cover_rots() {
    let mut rig = Rig::new(small());
    rig.append(shard(0), meta(ALICE), bytes(0, 300)).unwrap();
    let forged = Record::Gone { shard: shard(0) }.encode(0x1234, b"").unwrap();
    rig.append(shard(1), meta(BOB), forged).unwrap();
    rig.append(shard(2), meta(ALICE), bytes(2, 300)).unwrap();
    rig.close();
    fs::remove_file(rig.home.path().join("index.redb")).unwrap();
    let bytes_of = fs::read(&rig.segments()[0]).unwrap();
    let cover = bytes_of.windows(4).enumerate().filter(|(_, window)| window == b"PGR1").nth(1).unwrap().0;
    flip(&rig.segments()[0], cover as u64);
    rig.reopen();
    assert!(rig.body(shard(0)).is_some() && rig.body(shard(1)).is_none() && rig.body(shard(2)).is_some());
}

#[test]
fn a_full_disk_refuses_and_harms_nothing_wherever_it_fills_up() {
    for room in [0, 1, 31, 32, 33, 60, 100, 1000, 3000, 3100] {
        let mut rig = filled(25);
        rig.fault.lock().unwrap().room = Some(room);
        let mut stored = 25;
        while rig
            .append(shard(stored), meta(ALICE), bytes(stored, 3000))
            .map_err(|error| assert_eq!(error, Failure::Full))
            .is_ok()
        {
            stored += 1;
        }
        assert!(stored <= 26, "room {room}");
        assert_eq!(rig.append(shard(77), meta(ALICE), bytes(77, 3000)), Err(Failure::Full));
        rig.fault.lock().unwrap().room = None;
        rig.append(shard(78), meta(ALICE), bytes(78, 3000)).unwrap();
        rig.reopen();
        assert_eq!(rig.usage.shards, stored + 1, "room {room}");
        for n in (0..stored).chain([78]) {
            assert_eq!(rig.body(shard(n)).unwrap().1, bytes(n, 3000), "room {room}");
        }
    }
}

#[test]
fn a_tombstone_fits_where_a_shard_does_not() {
    let mut rig = filled(3);
    rig.fault.lock().unwrap().room = Some(2000);
    let append =
        rig.send(|tag| Command::Append { tag, shard: shard(9), meta: meta(ALICE), body: bytes(9, 3000).into() });
    let delete = rig.send(|tag| Command::Delete { tag, owner: ALICE, shards: vec![shard(1)] });
    for _ in 0..2 {
        match rig.event() {
            Event::AppendFailed { tag, error } => assert_eq!((tag, error), (append, Failure::Full)),
            Event::Deleted { tag, count, .. } => assert_eq!((tag, count), (delete, 1)),
            other => panic!("unexpected {other:?}"),
        }
    }
    rig.reopen();
    assert_eq!((rig.usage.shards, rig.body(shard(1))), (2, None));
}

#[test]
fn after_a_failed_sync_nothing_is_promised_and_the_next_shard_goes_elsewhere() {
    let mut rig = filled(1);
    rig.fault.lock().unwrap().sync_fails = true;
    assert!(matches!(rig.append(shard(1), meta(ALICE), bytes(1, 300)), Err(Failure::Io(_))));
    assert_eq!(rig.body(shard(1)), None);
    rig.append(shard(2), meta(ALICE), bytes(2, 300)).unwrap();
    assert_eq!(rig.segments().len(), 2);
    rig.reopen();
    assert_eq!((rig.usage.shards, rig.body(shard(1))), (2, None));
}

#[test]
fn an_index_that_names_leases_of_no_shard_does_not_keep_an_expiry_busy() {
    let mut rig = filled(3);
    rig.close();
    let index = redb::Database::create(rig.home.path().join("index.redb")).unwrap();
    let write = index.begin_write().unwrap();
    let leases: redb::TableDefinition<'_, &[u8], ()> = redb::TableDefinition::new("leases");
    write.open_table(leases).unwrap().insert([0; 42].as_slice(), ()).unwrap();
    write.commit().unwrap();
    drop(index);
    rig.reopen();
    assert_eq!(rig.expire(500), (0, vec![]));
    assert_eq!(rig.expire(1001).0, 3);
}
