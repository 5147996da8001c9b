//! Holders that are full, and a full disk where the result should go.

use super::{
    swarm::{Swarm, assert_nothing_left_of, disk_bytes, eventually, names, noise},
    told::Told,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

const MIB: usize = 1 << 20;
const QUOTA: u64 = 12 << 20;

#[test]
fn what_does_not_fit_into_the_holders_quotas_is_refused_and_leaves_nothing_behind() {
    let swarm = Swarm::with(4, &[("PANGEA_STORAGE_QUOTA", "12MiB")]);
    let kept = swarm.put(0, &swarm.file("kept", MIB), &[]);
    let shards = swarm.shards();

    let path = swarm.file("too much", 40 * MIB);
    let mut put = swarm.begin(0, &["put", path.to_str().unwrap()]);
    let mut most = 0;
    while !put.has_ended() {
        most = most.max(fullest(&swarm));
        thread::sleep(Duration::from_millis(5));
    }
    put.end().fails(7, &["full"]);
    assert!(most <= QUOTA, "{most} bytes on a disk with a quota of {QUOTA}");
    swarm.quiet();
    eventually("the holders have let go of it", || swarm.shards() == shards);
    swarm.cli(0, &["info", "too much"]).fails(3, &[]);

    // The nodes work on: what was there is there. (Room that was let go of comes back when a segment is compacted.)
    assert!(swarm.read(3, kept["ticket"].as_str().unwrap()) == noise("kept", MIB));
    assert_eq!(swarm.living().len(), 4);
    assert!(fullest(&swarm) <= QUOTA);
    swarm.quiet();
}

/// Bytes on disk at the holder that has most, index included.
fn fullest(swarm: &Swarm) -> u64 {
    swarm.living().iter().map(|number| disk_bytes(&swarm.home(*number).join("shards"))).max().unwrap()
}

/// A file system of its own, of 2 MiB. Only root may have one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(dir: &Path) -> Option<Self> {
        fs::create_dir(dir).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "none"]).arg(dir).output();
        mounted.is_ok_and(|told| told.status.success()).then(|| Self(dir.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_at_the_reader_is_told_and_no_part_of_the_result_stays() {
    let swarm = Swarm::of(3);
    let stored = swarm.put(0, &swarm.file("big", 4 * MIB), &[]);
    let ticket = stored["ticket"].as_str().unwrap();

    let mut cat = swarm.command(1, &["cat", ticket]);
    cat.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    cat.stdout(fs::File::options().write(true).open("/dev/full").unwrap());
    let told = cat.output().unwrap();
    assert_eq!(told.status.code(), Some(7), "{told:?}");

    let dir = swarm.dir.path().join("small");
    let Some(disk) = SmallDisk::at(&dir) else {
        println!("SKIPPED: only root can mount the small disk that `get` would fill");
        return;
    };
    let get = |to: &str, more: &[&str]| -> Told {
        swarm.cli(1, &[&["get", ticket, disk.0.join(to).to_str().unwrap()], more].concat())
    };
    get("big", &[]).fails(7, &["big", "free some space"]);
    assert_nothing_left_of(&disk.0.join("big"));
    // There is room for a part of it, and the node lives.
    get("part", &["--range", "1MiB..2MiB"]).ok();
    assert!(fs::read(disk.0.join("part")).unwrap() == noise("big", 4 * MIB)[MIB..2 * MIB]);
    assert_eq!(names(&disk.0), ["part"]);
    swarm.quiet();
}
