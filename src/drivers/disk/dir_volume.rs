//! [`DirVolume`]: a directory of the file system, `segments/00000001.seg` and `index.redb` below it.

use super::volume::{SegmentReader, SegmentWriter, Volume};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, IoSlice, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The files of a store in a directory that only its owner may enter.
pub struct DirVolume {
    dir: PathBuf,
    segments: PathBuf,
}

impl DirVolume {
    /// Makes the directory if needed.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let segments = dir.join("segments");
        let fresh = !segments.is_dir();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&segments)?;
        if fresh {
            // Their names are in the parents, which nothing else syncs.
            let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(dir)?.sync_all()?;
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { dir: dir.to_owned(), segments })
    }

    fn segment(&self, number: u32) -> PathBuf {
        self.segments.join(format!("{number:08}.seg"))
    }

    fn index(&self) -> PathBuf {
        self.dir.join("index.redb")
    }
}

impl Volume for DirVolume {
    fn path(&self) -> &Path {
        &self.dir
    }

    /// Files with other names are left alone.
    fn segments(&self) -> io::Result<BTreeMap<u32, u64>> {
        let mut segments = BTreeMap::new();
        for entry in fs::read_dir(&self.segments)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".seg")).and_then(|name| name.parse().ok());
            if let Some(number) = number.filter(|number| self.segment(*number).file_name() == Some(&name)) {
                segments.insert(number, entry.metadata()?.len());
            }
        }
        Ok(segments)
    }

    fn create_segment(&self, number: u32) -> io::Result<Box<dyn SegmentWriter>> {
        let mut options = OpenOptions::new();
        Ok(Box::new(options.write(true).create_new(true).mode(0o600).open(self.segment(number))?))
    }

    fn append_segment(&self, number: u32) -> io::Result<Box<dyn SegmentWriter>> {
        Ok(Box::new(OpenOptions::new().write(true).open(self.segment(number))?))
    }

    fn read_segment(&self, number: u32) -> io::Result<Arc<dyn SegmentReader>> {
        Ok(Arc::new(File::open(self.segment(number))?))
    }

    fn remove_segment(&self, number: u32) -> io::Result<()> {
        fs::remove_file(self.segment(number))
    }

    fn sync_segment_names(&self) -> io::Result<()> {
        File::open(&self.segments)?.sync_all()
    }

    fn open_index(&self, builder: &redb::Builder) -> Result<redb::Database, redb::DatabaseError> {
        builder.create(self.index())
    }

    fn index_bytes(&self) -> u64 {
        fs::metadata(self.index()).map_or(0, |meta| meta.len())
    }

    fn put_index_aside(&self) -> io::Result<()> {
        let (path, aside) = (self.index(), self.index().with_extension("redb.damaged"));
        tracing::error!(path = %path.display(), aside = %aside.display(), "the damaged shard index is put aside");
        fs::rename(path, aside)
    }

    fn sync_index_name(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.segments)?;
        Ok(stat.f_bavail * stat.f_frsize)
    }

    fn mark(&self) -> io::Result<u64> {
        getrandom::u64().map_err(|error| io::Error::other(format!("no randomness: {error}")))
    }
}

impl SegmentWriter for File {
    fn append(&mut self, buffers: &[Bytes]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = buffers.iter().map(|buffer| IoSlice::new(buffer)).collect();
        let mut slices = slices.as_mut_slice();
        while !slices.is_empty() {
            match self.write_vectored(slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut slices, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)?;
        self.seek(SeekFrom::Start(len)).map(drop)
    }
}

impl SegmentReader for File {
    fn bytes(&self) -> io::Result<u64> {
        self.metadata().map(|meta| meta.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}
