//! Opening the node store, and what happens to a file that is damaged.

use super::{NodeStore, StoreError, catalog, peers, plugins};
use redb::{Database, DatabaseError, StorageError};
use std::{
    fs::{File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
};

/// Memory for the database's pages: the store is small.
const CACHE_BYTES: usize = 8 << 20;
/// What follows the file's name when it is moved aside.
const ASIDE: &str = ".damaged-";

pub(super) fn open(file: &Path) -> Result<NodeStore, StoreError> {
    let io = |source| StoreError::Io { file: file.to_owned(), source };
    make_private(file).map_err(io)?;
    let aside = find_aside(file).map_err(io)?;
    for old in &aside {
        tracing::warn!(file = %old.display(), "a damaged node store is kept here: its catalog is not in use");
    }
    // A file that is damaged in an unforeseen place can make the database panic: that is damage too, not a crash.
    let opened = std::panic::catch_unwind(AssertUnwindSafe(|| open_checked(file)));
    match opened.unwrap_or_else(|_| Err(Fault::Damaged("the database gave up on it".to_owned()))) {
        Ok(db) => Ok(NodeStore { db, file: file.to_owned(), aside }),
        Err(Fault::Other(error)) => Err(error),
        Err(Fault::Damaged(reason)) => Err(move_aside(file, reason)),
    }
}

enum Fault {
    Damaged(String),
    Other(StoreError),
}

/// Every page is checked against its checksum: a store that opens is whole.
fn open_checked(file: &Path) -> Result<Database, Fault> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    let db = builder.create(file).map_err(|error| fault(file, error))?;
    // All tables exist from the start, so that reading never has to ask.
    let tables = || -> Result<(), redb::Error> {
        let write = db.begin_write()?;
        write.open_table(peers::PEERS)?;
        write.open_table(catalog::CATALOG)?;
        write.open_table(catalog::ORDER)?;
        write.open_table(plugins::PACKAGES)?;
        write.open_table(plugins::SNAPSHOTS)?;
        write.commit()?;
        Ok(())
    };
    tables().map_err(|error| match error {
        redb::Error::Io(source) => Fault::Other(StoreError::Io { file: file.to_owned(), source }),
        other => Fault::Damaged(other.to_string()),
    })?;
    Ok(db)
}

fn fault(file: &Path, error: DatabaseError) -> Fault {
    let file = file.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            Fault::Other(StoreError::InUse { file })
        }
        DatabaseError::UpgradeRequired(version) => {
            Fault::Other(StoreError::Newer { file, what: format!("database format {version}") })
        }
        DatabaseError::Storage(StorageError::Io(source))
            if !matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            Fault::Other(StoreError::Io { file, source })
        }
        other => Fault::Damaged(other.to_string()),
    }
}

/// Makes the file if it is not there, and takes it away from everybody but its owner.
fn make_private(file: &Path) -> io::Result<()> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let handle = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(file)?;
    if handle.metadata()?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(file = %file.display(), "others could read the node store: this is corrected now");
        handle.set_permissions(Permissions::from_mode(0o600))?;
    }
    sync_parent(file)
}

fn move_aside(file: &Path, reason: String) -> StoreError {
    tracing::error!(file = %file.display(), reason, "the node store is damaged");
    for n in 1..=1000u32 {
        let mut name = file.as_os_str().to_owned();
        name.push(format!("{ASIDE}{n}"));
        let aside = PathBuf::from(name);
        // A hard link fails if the name is taken: an earlier damaged store is never overwritten.
        match std::fs::hard_link(file, &aside).and_then(|()| std::fs::remove_file(file)) {
            Ok(()) => {
                if let Err(error) = sync_parent(file) {
                    tracing::error!(file = %file.display(), %error, "cannot sync the directory");
                }
                return StoreError::Corrupt { file: file.to_owned(), aside, reason };
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return StoreError::Stuck { file: file.to_owned(), reason, source },
        }
    }
    let source = io::Error::new(io::ErrorKind::AlreadyExists, "there are 1,000 damaged stores already");
    StoreError::Stuck { file: file.to_owned(), reason, source }
}

fn find_aside(file: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(name), parent) = (file.file_name(), parent(file)) else { return Ok(Vec::new()) };
    let start = format!("{}{ASIDE}", name.to_string_lossy());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&start) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn parent(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_parent(file: &Path) -> io::Result<()> {
    File::open(parent(file))?.sync_all()
}
