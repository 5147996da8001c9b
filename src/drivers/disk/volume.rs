//! [`Volume`]: where the shard disk keeps its files. The disk itself knows no path and no system call.
//!
//! Production is [`super::DirVolume`], a directory. Simulations and tests bring volumes that lose, tear and refuse
//! writes; what the disk promises holds on each of them.
//!
//! **What a volume may do.** Bytes are durable after a sync of their file, names after a sync of the names; before
//! that, a crash may keep each of them, lose it or tear it, in any order. Nothing else is expected of it.

use bytes::Bytes;
use std::{collections::BTreeMap, io, path::Path, sync::Arc};

/// The files of one store: numbered segments, and the index.
pub trait Volume: Send + Sync {
    /// What messages to people call it.
    fn path(&self) -> &Path;

    /// The segments there are, and their bytes.
    ///
    /// # Errors
    /// They cannot be listed.
    fn segments(&self) -> io::Result<BTreeMap<u32, u64>>;

    /// Makes an empty segment. Its name is durable after [`Volume::sync_segment_names`].
    ///
    /// # Errors
    /// It is there already ([`io::ErrorKind::AlreadyExists`]) or cannot be made.
    fn create_segment(&self, number: u32) -> io::Result<Box<dyn SegmentWriter>>;

    /// Opens a segment for appending; [`SegmentWriter::truncate`] says where.
    ///
    /// # Errors
    /// It cannot be opened.
    fn append_segment(&self, number: u32) -> io::Result<Box<dyn SegmentWriter>>;

    /// Opens a segment for reading.
    ///
    /// # Errors
    /// It is not there ([`io::ErrorKind::NotFound`]) or cannot be opened.
    fn read_segment(&self, number: u32) -> io::Result<Arc<dyn SegmentReader>>;

    /// Unlinks a segment; durably after [`Volume::sync_segment_names`].
    ///
    /// # Errors
    /// It is not there ([`io::ErrorKind::NotFound`]) or cannot be unlinked.
    fn remove_segment(&self, number: u32) -> io::Result<()>;

    /// Makes durable which segments there are.
    ///
    /// # Errors
    /// What is durable is unknown.
    fn sync_segment_names(&self) -> io::Result<()>;

    /// Opens or creates the index with the builder's settings, on a [`redb::StorageBackend`] of the volume.
    ///
    /// # Errors
    /// As [`redb::Builder::create`].
    fn open_index(&self, builder: &redb::Builder) -> Result<redb::Database, redb::DatabaseError>;

    /// Bytes of the index; 0 if there is none.
    fn index_bytes(&self) -> u64;

    /// Moves the index out of the way, for people to look at, in place of an earlier one.
    ///
    /// # Errors
    /// It cannot be moved.
    fn put_index_aside(&self) -> io::Result<()>;

    /// Makes durable that there is an index, and that another one was put aside.
    ///
    /// # Errors
    /// What is durable is unknown.
    fn sync_index_name(&self) -> io::Result<()>;

    /// Bytes that can still be stored.
    ///
    /// # Errors
    /// The system does not say.
    fn free_bytes(&self) -> io::Result<u64>;

    /// A number that nobody else can guess, for a new segment.
    ///
    /// # Errors
    /// There is no randomness.
    fn mark(&self) -> io::Result<u64>;
}

/// A segment that is appended to.
pub trait SegmentWriter: Send {
    /// Appends all buffers.
    ///
    /// # Errors
    /// Some of the bytes may have been written.
    fn append(&mut self, buffers: &[Bytes]) -> io::Result<()>;

    /// Makes everything appended, and the length, durable.
    ///
    /// # Errors
    /// What is durable is unknown.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the segment to `len` bytes and appends from there.
    ///
    /// # Errors
    /// The segment may be longer.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// A segment that is read from, by several threads.
pub trait SegmentReader: Send + Sync {
    /// Bytes of the segment now.
    ///
    /// # Errors
    /// The system does not say.
    fn bytes(&self) -> io::Result<u64>;

    /// Fills `buffer` from byte `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the segment ends before, or it cannot be read.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}
