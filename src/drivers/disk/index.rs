//! The index on redb: shard → [`Entry`], leases by their end, and the watermark up to which it knows the segments.
//!
//! It is behind the segments by at most one lazy commit; [`super::recovery`] brings it up to date after a crash.
//! It is never the only copy of anything: if it is lost, the segments rebuild it.

use super::{
    OpenError,
    entry::{Entry, key, shard_of},
    volume::Volume,
};
use pangea_protocols::{
    ShardId,
    codec::{self, Limit},
    disk::Failure,
};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

const SHARDS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("shards");
/// End of a lease (big endian), then the shard's key.
const LEASES: TableDefinition<&[u8], ()> = TableDefinition::new("leases");
const WATERMARK: TableDefinition<(), (u32, u32)> = TableDefinition::new("watermark");
/// Pages that redb may keep in memory.
const CACHE_BYTES: usize = 16 << 20;

/// The last byte of the segments that the index knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watermark {
    /// Segment number.
    pub segment: u32,
    /// Bytes of that segment.
    pub offset: u32,
}

/// Changes to commit; `None` removes.
pub type Changes = BTreeMap<ShardId, Option<Entry>>;

/// The index file.
pub struct Index {
    volume: Arc<dyn Volume>,
    database: RwLock<Option<Database>>,
    /// The database has met an I/O error and answers nothing more.
    failed: AtomicBool,
}

impl Index {
    /// Opens or creates the index.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if another process has it; [`OpenError::Index`] if it cannot be read.
    pub fn open(volume: Arc<dyn Volume>) -> Result<Self, OpenError> {
        let database = open_database(&*volume)?;
        Ok(Self { volume, database: RwLock::new(Some(database)), failed: AtomicBool::new(false) })
    }

    /// Looks a shard up.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn get(&self, shard: ShardId) -> Result<Option<Entry>, Failure> {
        self.with(|database| {
            let shards = database.begin_read()?.open_table(SHARDS)?;
            let value = shards.get(key(shard).as_slice())?;
            Ok(value.and_then(|value| codec::decode(value.value(), Limit::Message).ok()))
        })
    }

    /// Up to where it knows the segments.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn watermark(&self) -> Result<Watermark, Failure> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(WATERMARK)?;
            let value = table.get(())?.map(|value| value.value());
            Ok(value.map(|(segment, offset)| Watermark { segment, offset }).unwrap_or_default())
        })
    }

    /// Visits every entry in the order of the keys; an entry that is not readable is `None`.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn each(&self, mut visit: impl FnMut(ShardId, Option<Entry>)) -> Result<(), Failure> {
        self.with(|database| {
            let shards = database.begin_read()?.open_table(SHARDS)?;
            for item in shards.iter()? {
                let (key, value) = item?;
                let shard = shard_of(key.value()).ok_or_else(|| corrupted("a key has the wrong length"))?;
                visit(shard, codec::decode(value.value(), Limit::Message).ok());
            }
            Ok(())
        })
    }

    /// Up to `limit` shards with a lease that ended before `now_unix`.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn expired(&self, now_unix: u64, limit: usize) -> Result<Vec<ShardId>, Failure> {
        self.with(|database| {
            let leases = database.begin_read()?.open_table(LEASES)?;
            let until = now_unix.to_be_bytes();
            let mut shards = Vec::new();
            for item in leases.range::<&[u8]>(..until.as_slice())?.take(limit) {
                let (key, ()) = item.map(|(key, value)| (key, value.value()))?;
                shards.extend(key.value().get(8..).and_then(shard_of));
            }
            Ok(shards)
        })
    }

    /// Makes changes and their watermark durable, together or not at all.
    ///
    /// # Errors
    /// The index cannot be written. It is as it was before.
    pub fn commit(&self, changes: &Changes, watermark: Watermark) -> Result<(), Failure> {
        let written = self.with(|database| {
            let transaction = database.begin_write()?;
            {
                let mut shards = transaction.open_table(SHARDS)?;
                let mut leases = transaction.open_table(LEASES)?;
                for (shard, entry) in changes {
                    change(&mut shards, &mut leases, *shard, entry.as_ref())?;
                }
                transaction.open_table(WATERMARK)?.insert((), (watermark.segment, watermark.offset))?;
            }
            transaction.commit()?;
            Ok(())
        });
        if written.is_err() {
            self.failed.store(true, Ordering::Relaxed);
            self.revive();
        }
        written
    }

    /// Bytes of the file.
    pub fn file_bytes(&self) -> u64 {
        self.volume.index_bytes()
    }

    /// What messages call it.
    fn path(&self) -> PathBuf {
        self.volume.path().join("index.redb")
    }

    /// Opens the database again if it has failed. redb answers nothing more after an I/O error, be it of a read, by
    /// design; a fresh handle does, once the cause is gone.
    pub fn revive(&self) {
        if !self.failed.load(Ordering::Relaxed) {
            return;
        }
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        drop(database.take());
        match open_database(&*self.volume) {
            Ok(fresh) => {
                *database = Some(fresh);
                self.failed.store(false, Ordering::Relaxed);
            }
            Err(error) => tracing::error!(path = %self.path().display(), %error, "shard index cannot be reopened"),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, Failure> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or_else(|| Failure::Io(format!("{}: closed", self.path().display())))?;
        let failed = |error: &redb::Error| matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo);
        let done = work(database).inspect_err(|error| _ = self.failed.fetch_or(failed(error), Ordering::Relaxed));
        done.map_err(|error| match error {
            redb::Error::Io(error) => super::failure(&self.path(), &error),
            other => Failure::Io(format!("{}: {other}", self.path().display())),
        })
    }
}

fn open_database(volume: &dyn Volume) -> Result<Database, OpenError> {
    let path = volume.path().join("index.redb");
    let error = |error: redb::DatabaseError| match error {
        redb::DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path: path.clone() },
        redb::DatabaseError::Storage(redb::StorageError::Io(error))
            if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::StorageFull) =>
        {
            OpenError::Io { path: path.clone(), error }
        }
        other => OpenError::Index { path: path.clone(), reason: other.to_string() },
    };
    let database = volume.open_index(redb::Builder::new().set_cache_size(CACHE_BYTES)).map_err(error)?;
    let tables = || -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        transaction.open_table(SHARDS)?;
        transaction.open_table(LEASES)?;
        transaction.open_table(WATERMARK)?;
        Ok(transaction.commit()?)
    };
    match tables() {
        Ok(()) => Ok(database),
        Err(error) => Err(OpenError::Index { path, reason: error.to_string() }),
    }
}

fn change(
    shards: &mut redb::Table<&[u8], &[u8]>,
    leases: &mut redb::Table<&[u8], ()>,
    shard: ShardId,
    entry: Option<&Entry>,
) -> Result<(), redb::Error> {
    let key = key(shard);
    let old = match entry {
        None => shards.remove(key.as_slice())?,
        Some(entry) => {
            let value = codec::encode(entry, Limit::Message).map_err(|error| corrupted(&error.to_string()))?;
            shards.insert(key.as_slice(), value.as_slice())?
        }
    };
    let old: Option<Entry> = old.and_then(|value| codec::decode(value.value(), Limit::Message).ok());
    let ends = |entry: Option<&Entry>| -> Vec<u64> {
        entry.map(|entry| entry.claims.iter().map(|claim| claim.expires_unix).collect()).unwrap_or_default()
    };
    for end in ends(old.as_ref()) {
        leases.remove(lease_key(end, &key).as_slice())?;
    }
    for end in ends(entry) {
        leases.insert(lease_key(end, &key).as_slice(), ())?;
    }
    Ok(())
}

fn lease_key(end: u64, key: &[u8; 34]) -> [u8; 42] {
    let mut lease = [0; 42];
    lease[..8].copy_from_slice(&end.to_be_bytes());
    lease[8..].copy_from_slice(key);
    lease
}

fn corrupted(what: &str) -> redb::Error {
    redb::Error::Corrupted(what.to_owned())
}
