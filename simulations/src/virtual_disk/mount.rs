//! [`Mount`]: a virtual disk as one life of a node sees it.

use super::{
    VirtualVolume,
    faults::crashed,
    platter::{FileId, Name, Platter},
};
use bytes::Bytes;
use pangea::drivers::disk::{SegmentReader, SegmentWriter, Volume};
use std::{collections::BTreeMap, fmt, io, path::Path, sync::Arc};

/// The volume of a node until the next crash; from then on everything fails.
#[derive(Clone)]
pub struct Mount {
    disk: VirtualVolume,
    life: u64,
}

impl Mount {
    /// For the life that is now.
    pub(super) fn new(disk: VirtualVolume) -> Self {
        let life = disk.lock().life;
        Self { disk, life }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Platter) -> io::Result<T>) -> io::Result<T> {
        let mut platter = self.disk.lock();
        if platter.life != self.life || platter.faults.down {
            return Err(crashed());
        }
        work(&mut platter)
    }

    fn open(&self, name: Name) -> io::Result<Handle> {
        let id = self.with(|platter| platter.find(name).ok_or_else(|| io::ErrorKind::NotFound.into()))?;
        Ok(Handle { mount: self.clone(), id, end: 0 })
    }

    fn create(&self, name: Name) -> io::Result<Handle> {
        let id = self.with(|platter| platter.create(name))?;
        Ok(Handle { mount: self.clone(), id, end: 0 })
    }
}

impl Volume for Mount {
    fn path(&self) -> &Path {
        Path::new("virtual")
    }

    fn segments(&self) -> io::Result<BTreeMap<u32, u64>> {
        self.with(|platter| {
            platter.faults.read()?;
            let segments = platter.names().filter_map(|(name, bytes)| match name {
                Name::Segment(number) => Some((number, bytes)),
                Name::Index | Name::Aside => None,
            });
            Ok(segments.collect())
        })
    }

    fn create_segment(&self, number: u32) -> io::Result<Box<dyn SegmentWriter>> {
        Ok(Box::new(self.create(Name::Segment(number))?))
    }

    fn append_segment(&self, number: u32) -> io::Result<Box<dyn SegmentWriter>> {
        Ok(Box::new(self.open(Name::Segment(number))?))
    }

    fn read_segment(&self, number: u32) -> io::Result<Arc<dyn SegmentReader>> {
        Ok(Arc::new(self.open(Name::Segment(number))?))
    }

    fn remove_segment(&self, number: u32) -> io::Result<()> {
        self.with(|platter| platter.rename(Name::Segment(number), None))
    }

    fn sync_segment_names(&self) -> io::Result<()> {
        self.with(|platter| platter.sync_names(|name| matches!(name, Name::Segment(_))))
    }

    fn open_index(&self, builder: &redb::Builder) -> Result<redb::Database, redb::DatabaseError> {
        let opened = self.open(Name::Index).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => self.create(Name::Index),
            _ => Err(error),
        });
        builder.create_with_backend(opened?)
    }

    fn index_bytes(&self) -> u64 {
        self.open(Name::Index).and_then(|index| index.bytes()).unwrap_or(0)
    }

    fn put_index_aside(&self) -> io::Result<()> {
        self.with(|platter| platter.rename(Name::Index, Some(Name::Aside)))
    }

    fn sync_index_name(&self) -> io::Result<()> {
        self.with(|platter| platter.sync_names(|name| matches!(name, Name::Index | Name::Aside)))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.with(|platter| Ok(platter.room()))
    }

    fn mark(&self) -> io::Result<u64> {
        self.with(|platter| Ok(platter.mark()))
    }
}

/// An open file.
struct Handle {
    mount: Mount,
    id: FileId,
    /// Where a segment is appended to.
    end: u64,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("life", &self.mount.life).field("id", &self.id).finish()
    }
}

impl Handle {
    fn write_all(&self, at: u64, bytes: Bytes) -> io::Result<()> {
        let wanted = bytes.len();
        let written = self.mount.with(|platter| platter.write(self.id, at, bytes))?;
        if written == wanted { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }
}

impl SegmentWriter for Handle {
    fn append(&mut self, buffers: &[Bytes]) -> io::Result<()> {
        for buffer in buffers {
            self.write_all(self.end, buffer.clone())?;
            self.end += buffer.len() as u64;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.mount.with(|platter| platter.sync(self.id))
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.mount.with(|platter| platter.set_len(self.id, len))?;
        self.end = len;
        Ok(())
    }
}

impl SegmentReader for Handle {
    fn bytes(&self) -> io::Result<u64> {
        self.mount.with(|platter| platter.len(self.id))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.mount.with(|platter| platter.read(self.id, offset, buffer))
    }
}

impl redb::StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        self.bytes()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.mount.with(|platter| platter.set_len(self.id, len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.mount.with(|platter| platter.sync(self.id))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_all(offset, Bytes::copy_from_slice(data))
    }
}
