//! [`FaultyVolume`]: a directory whose segments fill up and whose syncs fail when a test says so.

use super::super::volume::{SegmentReader, SegmentWriter, Volume};
use super::DirVolume;
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex},
};

/// What the next writes to a segment run into.
#[derive(Debug, Default)]
pub struct Fault {
    /// Bytes that can still be written before the disk is full.
    pub room: Option<usize>,
    /// The next sync fails.
    pub sync_fails: bool,
}

/// A directory with faults in its segments.
pub struct FaultyVolume {
    pub dir: DirVolume,
    pub fault: Arc<Mutex<Fault>>,
}

struct FaultyWriter {
    file: Box<dyn SegmentWriter>,
    reader: Arc<dyn SegmentReader>,
    fault: Arc<Mutex<Fault>>,
}

impl FaultyVolume {
    fn writer(&self, number: u32, file: Box<dyn SegmentWriter>) -> io::Result<Box<dyn SegmentWriter>> {
        let reader = self.dir.read_segment(number)?;
        Ok(Box::new(FaultyWriter { file, reader, fault: Arc::clone(&self.fault) }))
    }
}

impl Volume for FaultyVolume {
    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn segments(&self) -> io::Result<BTreeMap<u32, u64>> {
        self.dir.segments()
    }

    fn create_segment(&self, number: u32) -> io::Result<Box<dyn SegmentWriter>> {
        self.writer(number, self.dir.create_segment(number)?)
    }

    fn append_segment(&self, number: u32) -> io::Result<Box<dyn SegmentWriter>> {
        self.writer(number, self.dir.append_segment(number)?)
    }

    fn read_segment(&self, number: u32) -> io::Result<Arc<dyn SegmentReader>> {
        self.dir.read_segment(number)
    }

    fn remove_segment(&self, number: u32) -> io::Result<()> {
        self.dir.remove_segment(number)
    }

    fn sync_segment_names(&self) -> io::Result<()> {
        self.dir.sync_segment_names()
    }

    fn open_index(&self, builder: &redb::Builder) -> Result<redb::Database, redb::DatabaseError> {
        self.dir.open_index(builder)
    }

    fn index_bytes(&self) -> u64 {
        self.dir.index_bytes()
    }

    fn put_index_aside(&self) -> io::Result<()> {
        self.dir.put_index_aside()
    }

    fn sync_index_name(&self) -> io::Result<()> {
        self.dir.sync_index_name()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.dir.free_bytes()
    }

    fn mark(&self) -> io::Result<u64> {
        self.dir.mark()
    }
}

impl SegmentWriter for FaultyWriter {
    fn append(&mut self, buffers: &[Bytes]) -> io::Result<()> {
        let mut fault = self.fault.lock().unwrap();
        for buffer in buffers {
            let room = fault.room.unwrap_or(usize::MAX).min(buffer.len());
            if room > 0 {
                self.file.append(&[buffer.slice(..room)])?;
            }
            fault.room = fault.room.map(|left| left - room);
            if room < buffer.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.fault.lock().unwrap().sync_fails) {
            return Err(io::Error::other("the device is gone"));
        }
        self.file.sync()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        // What is cut off is free again, as on a real disk.
        let freed = usize::try_from(self.reader.bytes()?.saturating_sub(len)).unwrap();
        let mut fault = self.fault.lock().unwrap();
        fault.room = fault.room.map(|left| left + freed);
        self.file.truncate(len)
    }
}
