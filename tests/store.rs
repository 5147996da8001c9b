//! The node store on a real disk: what is remembered survives, what is damaged is said.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use pangea::store::{NodeStore, StoreError, peers};
use pangea_peers::Record;
use pangea_plugins::api::{Package, Snapshot};
use pangea_protocols::{Cid, Hash, PeerId, job::Stored, ticket::ReadKey};
use std::{os::unix::fs::PermissionsExt, path::PathBuf};

fn stored(n: u8, name: &str) -> Stored {
    Stored {
        cid: Cid(Hash([n; 32])),
        key: ReadKey([n; 32]),
        name: name.to_owned(),
        directory: false,
        raw_bytes: 7,
        stored_bytes: 9,
        stripes: 1,
        k: 4,
        m: 2,
        holders: vec![PeerId([1; 32])],
        missing_shards: 0,
        sealed_unix: 1_800_000_000,
        skipped: 0,
    }
}

fn home() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("node.redb");
    (home, file)
}

fn names(store: &NodeStore) -> Vec<String> {
    store.list().unwrap().stored.into_iter().map(|stored| stored.name).collect()
}

#[test]
fn the_catalog_keeps_the_order_of_storing_and_survives_a_restart() {
    let (_home, file) = home();
    let store = NodeStore::open(&file).unwrap();
    for (n, name) in [(9, "first"), (1, "second"), (5, "third")] {
        store.remember(&stored(n, name)).unwrap();
    }
    store.remember(&stored(9, "first again")).unwrap();
    assert!(store.forget(Cid(Hash([1; 32]))).unwrap());
    assert!(!store.forget(Cid(Hash([1; 32]))).unwrap());
    store.remember(&stored(2, "fourth")).unwrap();
    drop(store);
    let store = NodeStore::open(&file).unwrap();
    assert_eq!(names(&store), ["first again", "third", "fourth"]);
    assert_eq!(store.find("third").unwrap(), stored(5, "third"));
}

#[test]
fn an_object_is_found_by_id_unique_prefix_or_name_and_ambiguity_lists_the_candidates() {
    let (_home, file) = home();
    let store = NodeStore::open(&file).unwrap();
    for (n, name) in [(1, "notes"), (200, "notes"), (3, "photo")] {
        store.remember(&stored(n, name)).unwrap();
    }
    let full = stored(3, "").cid.to_string();
    assert_eq!(store.find(&full).unwrap().name, "photo");
    let prefix = (1..).map(|n| &full[..n]).find(|prefix| {
        !stored(1, "").cid.to_string().starts_with(prefix) && !stored(200, "").cid.to_string().starts_with(prefix)
    });
    assert_eq!(store.find(prefix.unwrap()).unwrap().name, "photo");
    for query in ["notes", "bafkr4i"] {
        let error = store.find(query).unwrap_err();
        assert!(matches!(&error, StoreError::Ambiguous { candidates, .. } if candidates.len() >= 2), "{error}");
        assert!(error.to_string().contains(&stored(200, "").cid.to_string()));
    }
    for query in ["", "nothing", &stored(77, "").cid.to_string()] {
        assert!(matches!(store.find(query), Err(StoreError::NotFound(_))), "{query}");
    }
}

#[test]
fn only_the_owner_can_read_the_store_even_if_that_was_different() {
    let (_home, file) = home();
    drop(NodeStore::open(&file).unwrap());
    let mode = |file: &PathBuf| file.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(NodeStore::open(&file).unwrap());
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn a_damaged_store_fails_the_start_once_is_moved_aside_and_is_mentioned_afterwards() {
    for damage in [0usize, 100, 5000, 40_000] {
        let (_home, file) = home();
        let store = NodeStore::open(&file).unwrap();
        (0..200).for_each(|n| store.remember(&stored(n, "some name")).unwrap());
        drop(store);
        let mut bytes = std::fs::read(&file).unwrap();
        let end = (damage + 4096).min(bytes.len());
        bytes[damage..end].iter_mut().for_each(|byte| *byte ^= 0x5a);
        std::fs::write(&file, &bytes).unwrap();
        let error = match NodeStore::open(&file) {
            // A page that is not in use may be damaged: then nothing is lost, and everything must be there.
            Ok(store) => {
                assert_eq!(store.list().unwrap().stored.len(), 200, "damage at {damage} went unnoticed");
                continue;
            }
            Err(error) => error,
        };
        let StoreError::Corrupt { aside, .. } = &error else { panic!("{error}") };
        assert_eq!(std::fs::metadata(aside).unwrap().len(), bytes.len() as u64);
        assert!(error.to_string().contains(file.to_str().unwrap()) && error.to_string().contains("Start again"));
        let store = NodeStore::open(&file).unwrap();
        assert!(names(&store).is_empty());
        assert_eq!(store.set_aside(), std::slice::from_ref(aside));
    }
}

#[test]
fn a_file_that_is_no_database_is_moved_aside_and_never_overwritten() {
    let (home, file) = home();
    for n in 1..=2 {
        std::fs::write(&file, format!("my thesis {n}")).unwrap();
        assert!(matches!(NodeStore::open(&file), Err(StoreError::Corrupt { .. })));
    }
    let kept = |n| std::fs::read_to_string(home.path().join(format!("node.redb.damaged-{n}"))).unwrap();
    assert_eq!((kept(1), kept(2)), ("my thesis 1".to_owned(), "my thesis 2".to_owned()));
}

#[test]
fn a_second_node_on_the_same_store_is_told_so() {
    let (_home, file) = home();
    let _first = NodeStore::open(&file).unwrap();
    assert!(matches!(NodeStore::open(&file), Err(StoreError::InUse { .. })));
}

#[test]
fn peers_are_replaced_bounded_and_come_back() {
    let (_home, file) = home();
    let store = NodeStore::open(&file).unwrap();
    let record = |n: u64| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_le_bytes());
        let mut record = Record::new(PeerId(id), 1000);
        record.last_seen_unix = n;
        record.kept = n == 0;
        record
    };
    store.save_peers(&(0..peers::PEERS_MAX).map(record).collect::<Vec<_>>()).unwrap();
    assert_eq!(store.load_peers().unwrap().len() as u64, peers::PEERS_MAX);
    store.save_peers(&[record(peers::PEERS_MAX), record(5)]).unwrap();
    let left = store.load_peers().unwrap();
    assert_eq!(left.len(), peers::PEERS_KEPT);
    assert!(left.contains(&record(peers::PEERS_MAX)) && left.contains(&record(0)), "the newest, and the user's");
    assert!(!left.contains(&record(5)), "the least recently seen went");
}

#[test]
fn an_entry_of_a_newer_version_is_reported_and_hides_no_other() {
    let (_home, file) = home();
    let store = NodeStore::open(&file).unwrap();
    store.remember(&stored(1, "old")).unwrap();
    store.remember(&stored(2, "new")).unwrap();
    drop(store);
    let db = redb::Database::create(&file).unwrap();
    let write = db.begin_write().unwrap();
    let table: redb::TableDefinition<'_, u64, (&[u8; 32], &[u8])> = redb::TableDefinition::new("catalog");
    write.open_table(table).unwrap().insert(1, (&[2; 32], [9u8, 9, 9].as_slice())).unwrap();
    write.commit().unwrap();
    drop(db);
    let store = NodeStore::open(&file).unwrap();
    let catalog = store.list().unwrap();
    assert_eq!((catalog.stored.len(), catalog.unreadable.len()), (1, 1));
    assert!(catalog.unreadable[0].reason.contains("newer"));
    let error = store.find(&stored(2, "").cid.to_string()).unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
}

#[test]
fn a_plugin_and_what_it_keeps_are_replaced_together_and_forgotten_together() {
    let (_home, file) = home();
    let store = NodeStore::open(&file).unwrap();
    let (name, native) = ("hello".parse().unwrap(), "native".parse().unwrap());
    let package = |version: &str| Package { manifest: version.to_owned(), module: "module".into() };
    let snapshot = |schema, bytes: &'static str| Snapshot { schema, bytes: bytes.into() };
    store.save_plugin(&name, Some(&package("1")), None).unwrap();
    assert_eq!(store.load_plugins().unwrap(), [(package("1"), None)]);
    store.save_plugin(&name, None, Some(&snapshot(1, "old"))).unwrap();
    store.save_plugin(&name, Some(&package("2")), Some(&snapshot(2, "new"))).unwrap();
    store.save_plugin(&native, None, Some(&snapshot(0, "its own"))).unwrap();
    drop(store);
    let store = NodeStore::open(&file).unwrap();
    assert_eq!(store.load_plugins().unwrap(), [(package("2"), Some(snapshot(2, "new")))]);
    assert_eq!(store.load_snapshot("native").unwrap(), Some(snapshot(0, "its own")));
    store.forget_plugin(&name).unwrap();
    assert_eq!((store.load_plugins().unwrap(), store.load_snapshot("hello").unwrap()), (vec![], None));
}
