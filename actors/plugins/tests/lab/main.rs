//! Twenty nodes with plugins, on a network where everything goes wrong that can: lines, machines, disks, calendars.
//!
//! | plugin | what must be true of it |
//! |---|---|
//! | the template of `pangea actor new` | all come to know the greatest word |
//! | `examples/kv` | all copies come to the same |
//! | `examples/backup` | the network has the last version of every file, and no more than so many of each |
//! | one that forgets to pass on what it heard | that it is found, and why |

#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use pangea_plugins::template;
use pangea_simulations::lab::{
    ensure,
    site::{self, In, Setup, Tried},
};
use std::{path::Path, sync::OnceLock, time::Duration};

fn example(name: &str) -> Setup {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    site::read(&dir.join(format!("{name}.toml"))).unwrap()
}

/// The template, after `change`.
fn word(change: impl Fn(&str) -> String) -> Setup {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in template::files("wat", "word").unwrap() {
        std::fs::write(dir.path().join(path), change(&text)).unwrap();
    }
    site::read(&dir.path().join("word.toml")).unwrap()
}

struct Word;

impl Tried for Word {
    fn setup() -> &'static Setup {
        static SETUP: OnceLock<Setup> = OnceLock::new();
        SETUP.get_or_init(|| word(str::to_owned))
    }
}

#[test]
fn the_template_agrees_on_the_greatest_word_whatever_goes_wrong() {
    site::lab::<Word>().seeds(0..15).check();
}

struct Silent;

impl Tried for Silent {
    fn setup() -> &'static Setup {
        static SETUP: OnceLock<Setup> = OnceLock::new();
        // Who connects is told nothing.
        SETUP.get_or_init(|| Setup {
            count: 4,
            ..word(|text| {
                text.replace("(i32.eq (local.get $name) (i32.const 99)) (then (call $tell))", "(i32.const 0) (then)")
            })
        })
    }
}

#[test]
fn a_plugin_that_does_not_tell_newcomers_is_found() {
    assert_ne!(Silent::setup().package.module, Word::setup().package.module);
    let tally = site::lab::<Silent>().sweep(0..20, 1).unwrap();
    let (_, broken) = tally.broken.first().expect("a promise is broken");
    assert_eq!(broken.oracle, "every node gives the same answers");
}

struct Kv;

impl Tried for Kv {
    fn setup() -> &'static Setup {
        static SETUP: OnceLock<Setup> = OnceLock::new();
        SETUP.get_or_init(|| example("kv"))
    }
}

#[test]
fn all_copies_of_the_key_value_store_come_to_the_same_whatever_goes_wrong() {
    site::lab::<Kv>().seeds(0..10).check();
}

struct Backup;

impl Tried for Backup {
    fn setup() -> &'static Setup {
        static SETUP: OnceLock<Setup> = OnceLock::new();
        SETUP.get_or_init(|| {
            let mut setup = example("backup");
            setup.package.manifest = setup.package.manifest.replace("every = 60", "every = 7");
            Setup { nodes: 5, ..setup }
        })
    }
}

#[test]
fn a_backup_has_the_last_version_of_every_file_and_few_older_ones() {
    let keep = 3;
    site::lab::<Backup>()
        .workload(|draw, asks| {
            for _ in 0..60 {
                let path = format!("dir/{}", draw.below(4));
                let bytes = Bytes::from(draw.bytes::<16>().to_vec());
                asks.tell_somebody(draw, In::Write { path, bytes: Some(bytes) });
            }
        })
        .eventually("the last version of every file is stored", |net| {
            for (id, site) in net.cores() {
                for (path, (bytes, _)) in &site.disk().files {
                    let stored = site.disk().objects.values().any(|object| object == bytes);
                    ensure!(stored, "node {id}: the last version of {path} is not stored");
                }
            }
            Ok(())
        })
        .eventually("older versions are forgotten", move |net| {
            for (id, site) in net.cores() {
                let (files, objects) = (site.disk().files.len(), site.disk().objects.len());
                // An object whose ticket was lost with a crash is nobody's any more; its lease ends some day.
                ensure!(objects <= files * keep + 5, "node {id}: {objects} objects of {files} files");
            }
            Ok(())
        })
        .sometimes("a version is forgotten", move |net| {
            net.cores().any(|(_, site)| {
                let snapshots = site.disk().plugins.values().filter_map(|(_, snapshot)| snapshot.as_ref());
                snapshots.map(|snapshot| snapshot.bytes.len()).sum::<usize>() > 0 && site.disk().objects.len() > keep
            })
        })
        .times(Duration::from_secs(90), Duration::from_secs(90))
        .seeds(0..15)
        .check();
}
