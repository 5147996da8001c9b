//! Random histories with clean ends and crashes, compared with a map.

use super::*;
use proptest::prelude::*;
use std::{collections::BTreeMap, fs, io::Write};

#[derive(Clone, Debug)]
enum Step {
    Append {
        owner: u8,
        number: u64,
        expires_unix: u64,
    },
    Delete {
        owner: u8,
        numbers: Vec<u64>,
    },
    Expire {
        now_unix: u64,
    },
    Reopen,
    /// A crash: the files as they are now, and a write that was not finished.
    Crash {
        torn: Vec<u8>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3u8, 0..40u64, 1..100u64).prop_map(|(owner, number, expires_unix)| Step::Append { owner, number, expires_unix }),
        3 => (0..3u8, prop::collection::vec(0..40u64, 0..12)).prop_map(|(owner, numbers)| Step::Delete { owner, numbers }),
        1 => (1..100u64).prop_map(|now_unix| Step::Expire { now_unix }),
        1 => Just(Step::Reopen),
        2 => prop::collection::vec(any::<u8>(), 0..80).prop_map(|torn| Step::Crash { torn }),
    ]
}

/// Shard → owner → end of lease.
type Model = BTreeMap<u64, BTreeMap<u8, u64>>;

fn forget(model: &mut Model, mut ends: impl FnMut(u64, u8, u64) -> bool) {
    for (number, owners) in model.iter_mut() {
        owners.retain(|owner, expires| !ends(*number, *owner, *expires));
    }
    model.retain(|_, owners| !owners.is_empty());
}

fn body(number: u64) -> Vec<u8> {
    bytes(number, 50 + 150 * number as usize)
}

/// What a running disk's files look like: names, lengths, times of change.
fn fingerprint(rig: &Rig) -> Vec<(std::path::PathBuf, u64, std::time::SystemTime)> {
    let files = rig.segments().into_iter().chain([rig.home.path().join("index.redb")]);
    let described = files.filter_map(|file| {
        let data = fs::metadata(&file).ok()?;
        Some((file, data.len(), data.modified().ok()?))
    });
    described.collect()
}

/// Copies the files of a running disk into `to`; `None` if one went away meanwhile.
fn copy(rig: &Rig, to: &TempDir) -> Option<()> {
    let segments = to.path().join("segments");
    let _ = fs::remove_dir_all(&segments);
    fs::create_dir(&segments).unwrap();
    fs::copy(rig.home.path().join("index.redb"), to.path().join("index.redb")).ok()?;
    for path in rig.segments() {
        fs::copy(&path, segments.join(path.file_name().unwrap())).ok()?;
    }
    Some(())
}

/// Opens what a crash would leave behind: the files of one moment. The disk compacts on its own account, so a copy
/// during which something changed is of no moment and is taken again.
fn crash(rig: Rig, torn: &[u8]) -> Rig {
    let image = TempDir::new().unwrap();
    let of_one_moment = (0..1000).any(|_| {
        let before = fingerprint(&rig);
        copy(&rig, &image).is_some() && fingerprint(&rig) == before
    });
    assert!(of_one_moment, "the disk never came to rest");
    let options = rig.options;
    drop(rig);
    let last = fs::read_dir(image.path().join("segments")).unwrap().map(|file| file.unwrap().path()).max();
    if let Some(last) = last {
        fs::OpenOptions::new().append(true).open(last).unwrap().write_all(torn).unwrap();
    }
    Rig::at(image, options)
}

fn check(rig: &mut Rig, model: &Model) {
    assert_eq!(rig.usage.shards, model.len() as u64);
    for number in 0..40 {
        let held = rig.body(shard(number));
        assert_eq!(held.is_some(), model.contains_key(&number), "shard {number}");
        if let Some((meta, found)) = held {
            assert_eq!(found, body(number));
            assert_eq!(Some(&meta.expires_unix), model[&number].values().max());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_disk_agrees_with_a_map_through_crashes_and_compaction(steps in prop::collection::vec(step(), 1..80)) {
        let options = Options { segment_bytes: 16 << 10, compact_bytes_min: 2 << 10, commit_bytes: 12 << 10, ..small() };
        let mut rig = Rig::new(options);
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Append { owner, number, expires_unix } => {
                    rig.append(shard(number), Meta { expires_unix, ..meta(PeerId([owner; 32])) }, body(number)).unwrap();
                    let held = model.entry(number).or_default().entry(owner).or_default();
                    *held = expires_unix.max(*held);
                }
                Step::Delete { owner, numbers } => {
                    rig.delete(PeerId([owner; 32]), numbers.iter().copied().map(shard).collect());
                    forget(&mut model, |number, by, _| by == owner && numbers.contains(&number));
                }
                Step::Expire { now_unix } => {
                    rig.expire(now_unix);
                    forget(&mut model, |_, _, expires| expires < now_unix);
                }
                Step::Reopen => {
                    rig.reopen();
                    check(&mut rig, &model);
                }
                Step::Crash { torn } => {
                    rig = crash(rig, &torn);
                    check(&mut rig, &model);
                }
            }
        }
        check(&mut rig, &model);
    }
}
