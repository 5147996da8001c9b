//! Segment files: how they are named, appended to, read from and searched. What is in them is [`super::record`]'s.

use super::{
    entry::Location,
    record::{self, HEADER_BYTES, Header, Meta, SEGMENT_HEADER_BYTES, SIGN_BYTES},
};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, IoSlice, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Open read handles that are kept.
const HANDLES_MAX: usize = 64;
/// Bytes searched at once behind damage.
const SEARCH_BYTES: usize = 1 << 20;

/// The file that is appended to. A seam: tests put a file here that fails at a chosen byte.
pub trait SegmentFile: Send {
    /// Appends all slices.
    ///
    /// # Errors
    /// Some of the bytes may have been written.
    fn append(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<()>;
    /// Makes everything appended durable.
    ///
    /// # Errors
    /// What is durable is unknown.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `len` bytes and appends from there.
    ///
    /// # Errors
    /// The file may be longer.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

impl SegmentFile for File {
    fn append(&mut self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
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

/// The directory of segments, with a bounded number of open read handles. Shared by the writer and the readers.
pub struct Segments {
    dir: PathBuf,
    handles: Mutex<BTreeMap<u32, (u64, Arc<File>)>>,
}

impl Segments {
    /// Over an existing directory.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, handles: Mutex::new(BTreeMap::new()) }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file of segment `number`.
    pub fn path(&self, number: u32) -> PathBuf {
        self.dir.join(format!("{number:08}.seg"))
    }

    /// The segments there are and their bytes. Files with other names are left alone.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self) -> io::Result<BTreeMap<u32, u64>> {
        let mut segments = BTreeMap::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".seg")).and_then(|name| name.parse().ok());
            if let Some(number) = number.filter(|number| self.path(*number).file_name() == Some(&name)) {
                segments.insert(number, entry.metadata()?.len());
            }
        }
        Ok(segments)
    }

    /// Makes a segment file for appending; its name is durable, its header is not written yet.
    ///
    /// # Errors
    /// The file is there already or cannot be made.
    pub fn create(&self, number: u32) -> io::Result<File> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path(number))?;
        self.sync_dir()?;
        Ok(file)
    }

    /// Opens a segment for appending.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn append_to(&self, number: u32) -> io::Result<File> {
        OpenOptions::new().write(true).open(self.path(number))
    }

    /// Unlinks segments; durable on return.
    ///
    /// # Errors
    /// A file cannot be unlinked.
    pub fn remove(&self, number: u32) -> io::Result<()> {
        // Under the lock, so that no reader keeps a handle to an unlinked file, whose bytes would stay on the disk.
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.remove(&number);
        fs::remove_file(self.path(number))?;
        drop(handles);
        self.sync_dir()
    }

    /// A handle to read from, opened when needed; the one not used for longest makes room.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn reader(&self, number: u32) -> io::Result<Arc<File>> {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let clock = handles.values().map(|(used, _)| *used).max().unwrap_or(0) + 1;
        if let Some((used, file)) = handles.get_mut(&number) {
            *used = clock;
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(File::open(self.path(number))?);
        if handles.len() >= HANDLES_MAX
            && let Some(oldest) = handles.iter().min_by_key(|(_, (used, _))| *used).map(|(number, _)| *number)
        {
            handles.remove(&oldest);
        }
        handles.insert(number, (clock, Arc::clone(&file)));
        Ok(file)
    }

    /// Reads and checks one record; `None` if the bytes are not those that were written.
    ///
    /// # Errors
    /// The segment is not there ([`io::ErrorKind::NotFound`]) or cannot be read.
    pub fn read(&self, at: Location) -> io::Result<Option<(Meta, Bytes)>> {
        let file = self.reader(at.segment)?;
        let mut bytes = vec![0; at.len as usize];
        match file.read_exact_at(&mut bytes, u64::from(at.offset)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let bytes = Bytes::from(bytes);
        let header = Header::read(&bytes).filter(|header| header.record_len() == bytes.len());
        let opened = header.and_then(|header| header.open(&bytes[HEADER_BYTES..]));
        Ok(opened.map(|(meta, body_at)| (meta, bytes.slice(HEADER_BYTES + body_at..))))
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

/// Walks the records of one segment.
pub struct Scanner {
    segment: u32,
    file: Arc<File>,
    mark: Option<u64>,
    at: u64,
    end: u64,
}

/// A record found by a [`Scanner`].
pub struct Found {
    /// Where it is.
    pub at: Location,
    /// What it says.
    pub meta: Meta,
    /// The body of a put.
    pub body: Bytes,
}

impl Scanner {
    /// Starts at byte `from`, or at the first record.
    ///
    /// # Errors
    /// The segment cannot be opened or read.
    pub fn new(segments: &Segments, segment: u32, from: u32) -> io::Result<Self> {
        let file = segments.reader(segment)?;
        let end = file.metadata()?.len();
        let mut head = [0; SEGMENT_HEADER_BYTES];
        let mut mark = None;
        if end >= SEGMENT_HEADER_BYTES as u64 {
            file.read_exact_at(&mut head, 0)?;
            mark = record::read_segment_header(&head);
        }
        Ok(Self { segment, file, mark, at: u64::from(from).max(SEGMENT_HEADER_BYTES as u64), end })
    }

    /// The segment's mark: from its header, or if that is damaged from the first record found.
    pub fn mark(&self) -> Option<u64> {
        self.mark
    }

    /// The next intact record; what is damaged is skipped.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next(&mut self) -> io::Result<Option<Found>> {
        while self.at + HEADER_BYTES as u64 <= self.end {
            let mut head = [0; HEADER_BYTES];
            self.file.read_exact_at(&mut head, self.at)?;
            let header = Header::read(&head).filter(|header| self.mark.is_none_or(|mark| mark == header.mark));
            let Some(header) = header.filter(|header| self.at + header.record_len() as u64 <= self.end) else {
                if !self.search()? {
                    break;
                }
                continue;
            };
            self.mark = Some(header.mark);
            let mut payload = vec![0; header.payload_len()];
            self.file.read_exact_at(&mut payload, self.at + HEADER_BYTES as u64)?;
            let offset = u32::try_from(self.at).map_err(io::Error::other)?;
            let len = u32::try_from(header.record_len()).map_err(io::Error::other)?;
            self.at += u64::from(len);
            if let Some((meta, body_at)) = header.open(&payload) {
                let at = Location { segment: self.segment, offset, len };
                return Ok(Some(Found { at, meta, body: Bytes::from(payload).slice(body_at..) }));
            }
        }
        Ok(None)
    }

    /// Moves to the next place where a record may begin; false if there is none.
    fn search(&mut self) -> io::Result<bool> {
        let Some(mark) = self.mark else { return Ok(false) };
        let sign = record::sign(mark);
        let mut buffer = vec![0; SEARCH_BYTES + SIGN_BYTES];
        self.at += 1;
        while self.at + (HEADER_BYTES as u64) <= self.end {
            let wanted = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
            self.file.read_exact_at(&mut buffer[..wanted], self.at)?;
            if let Some(found) = buffer[..wanted].windows(SIGN_BYTES).position(|window| window == sign) {
                self.at += found as u64;
                return Ok(true);
            }
            self.at += (wanted - SIGN_BYTES + 1) as u64;
        }
        Ok(false)
    }
}
