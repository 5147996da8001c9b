//! The real shard disk on a virtual one that crashes at any operation, loses and tears writes, and lies.
//!
//! Every history is a function of its seed; a panic names it. [`Rig`] holds disk and model together.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod commands;
mod figures;
mod found;
mod model;
mod rig;

use figures::Figures;
use pangea_kernel::contain;
use pangea_simulations::virtual_disk::{Fate, Stored};
use rig::Rig;

/// Crashes in one history.
const CRASHES: u64 = 6;

/// How many seeds: some in every run, more when somebody asks for them.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let wanted = std::env::var("PANGEA_TEST_DISK_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    0..wanted.unwrap_or(usual)
}

/// Runs histories and adds up what they have seen.
fn histories(seeds: std::ops::Range<u64>, history: impl Fn(u64) -> Figures) -> Figures {
    let mut sum = Figures::default();
    let mut broken = Vec::new();
    for seed in seeds {
        match contain(|| history(seed)) {
            Ok(figures) => sum.add(figures),
            Err(reason) => broken.push(format!("seed {seed}: {reason}")),
        }
    }
    assert!(broken.is_empty(), "{} histories broke a promise:\n{}", broken.len(), broken.join("\n"));
    sum
}

fn fate(rig: &mut Rig) -> Fate {
    [Fate::Kept, Fate::Torn, Fate::Lost][rig.below(3) as usize]
}

/// A disk that keeps what it has synced, crashed again and again at any operation.
fn honest(seed: u64) -> Figures {
    let mut rig = Rig::new(seed);
    for _ in 0..CRASHES {
        // Short lives crash while the disk is being opened.
        let longest = [30, 150, 600][rig.below(3) as usize];
        let operations = rig.below(longest);
        rig.volume.fail_after(operations);
        match rig.open() {
            Ok(()) => rig.work(40),
            Err(error) => assert!(rig.volume.is_down(), "{error}"),
        }
        if !rig.volume.is_down() && rig.below(4) == 0 {
            rig.close();
        }
        let fate = fate(&mut rig);
        rig.crash(fate);
    }
    rig.open().unwrap();
    rig.figures
}

#[test]
fn no_acknowledged_byte_is_lost_and_nothing_deleted_comes_back_whenever_the_power_fails() {
    let figures = histories(seeds(200), honest);
    println!("{} rounds, 0 acknowledged bytes lost: {figures:?}", figures.rounds);
    assert!(figures.rounds >= 1000 && figures.acknowledged_bytes > 1 << 20 && figures.deleted > 1000);
}

/// A disk that fills up and is emptied, and whose operations fail for a while, between crashes.
fn failing(seed: u64) -> Figures {
    let mut rig = Rig::new(seed);
    rig.open().unwrap();
    for _ in 0..CRASHES {
        rig.work(8);
        let (after, count) = (rig.below(60), 1 + rig.below(6));
        match rig.below(3) {
            0 => rig.volume.fail_operations(after, count),
            1 => rig.volume.fail_reads(after, count),
            _ => {
                let used: u64 = rig.volume.files().iter().map(|(_, bytes)| bytes).sum();
                let room = rig.below(40_000);
                rig.volume.set_capacity(Some(used + room));
            }
        }
        rig.work(12);
        rig.volume.heal();
        // Nothing is wrong any more: whatever fails now is the disk's own doing.
        rig.work(8);
        let fate = fate(&mut rig);
        rig.crash(fate);
        rig.open().unwrap();
    }
    rig.figures
}

/// A disk that lies, writes elsewhere and rots, and that crashes all the while.
fn lying(seed: u64) -> Figures {
    let mut rig = Rig::new(seed);
    rig.strict = false;
    for _ in 0..CRASHES {
        match rig.below(4) {
            0 => rig.volume.set_lying_sync(true),
            1 => {
                let (after, pages) = (rig.below(60), 1 + rig.below(8) as i64);
                let by = if rig.below(2) == 0 { -512 * pages } else { 512 * pages };
                rig.volume.misdirect(after, by);
            }
            2 => {
                let files = rig.volume.files();
                let bits = 1 + rig.below(20) as u32;
                if let Some((stored, _)) = rig.draw.choose(&files).copied() {
                    rig.volume.rot(stored, None, bits, &mut rig.draw);
                }
            }
            _ => {}
        }
        if rig.below(2) == 0 {
            let operations = rig.below(300);
            rig.volume.fail_after(operations);
        }
        match rig.open() {
            Ok(()) => rig.work(15),
            Err(error) => assert!(rig.volume.is_down(), "{error}"),
        }
        if !rig.volume.is_down() {
            rig.check();
        }
        let fate = fate(&mut rig);
        rig.crash(fate);
        rig.volume.heal();
    }
    rig.open().expect("whatever is on it, a disk that works again opens");
    rig.figures
}

#[test]
fn a_disk_that_fails_for_a_while_loses_nothing_and_then_works_again() {
    let figures = histories(seeds(60), failing);
    println!("{} rounds, 0 acknowledged bytes lost: {figures:?}", figures.rounds);
    assert!(figures.failed > 100);
}

#[test]
fn a_disk_that_lies_rots_or_writes_elsewhere_gives_no_wrong_byte_and_opens_again() {
    let figures = histories(seeds(100), lying);
    println!("{} rounds, 0 wrong bytes: {figures:?}", figures.rounds);
    assert!(figures.corrupt > 10 && figures.indexes_rebuilt > 10);
}

#[test]
fn a_history_repeats_to_the_byte() {
    for seed in 0..5 {
        assert_eq!(honest(seed), honest(seed));
    }
}

#[test]
fn a_damaged_index_is_rebuilt_and_no_shard_is_lost() {
    let mut rig = Rig::new(1);
    rig.open().unwrap();
    rig.work(30);
    rig.close();
    rig.crash(Fate::Kept);
    rig.volume.rot(Stored::Index, Some(0..64), 40, &mut rig.draw);
    rig.model.forgive_deletes();
    rig.damaged();
    rig.open().unwrap();
    assert_eq!(rig.volume.indexes_put_aside(), 1);
}

#[test]
fn a_restored_backup_and_an_empty_disk_open_and_take_shards() {
    let mut rig = Rig::new(2);
    rig.volume.set_backups(10, 3);
    for fate in [Fate::Old, Fate::Wiped, Fate::Old] {
        rig.strict = false;
        rig.open().unwrap();
        rig.strict = true;
        rig.model = model::Model::default();
        rig.model.forgive_deletes();
        rig.check();
        rig.work(40);
        rig.check();
        rig.crash(fate);
    }
    rig.strict = false;
    rig.open().unwrap();
}
