//! Segments: how they are made, removed, read from and searched. What is in them is [`super::record`]'s.

use super::{
    entry::Location,
    record::{self, HEADER_BYTES, Header, Meta, SEGMENT_HEADER_BYTES, SIGN_BYTES},
    volume::{SegmentReader, SegmentWriter, Volume},
};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

/// Open read handles that are kept.
const HANDLES_MAX: usize = 64;
/// Bytes searched at once behind damage.
const SEARCH_BYTES: usize = 1 << 20;

/// Open read handles by segment, each with the turn of its last use.
type Handles = BTreeMap<u32, (u64, Arc<dyn SegmentReader>)>;

/// The segments of a volume, with a bounded number of open read handles. Shared by the writer and the readers.
pub struct Segments {
    volume: Arc<dyn Volume>,
    handles: Mutex<Handles>,
}

impl Segments {
    /// Of `volume`.
    pub fn new(volume: Arc<dyn Volume>) -> Self {
        Self { volume, handles: Mutex::new(BTreeMap::new()) }
    }

    /// What they lie on.
    pub fn volume(&self) -> &dyn Volume {
        &*self.volume
    }

    /// What messages call segment `number`.
    pub fn path(&self, number: u32) -> PathBuf {
        self.volume.path().join(format!("segments/{number:08}.seg"))
    }

    /// Makes a segment that begins with `header`; its name is durable, the header will be with the first record.
    ///
    /// # Errors
    /// It is there already or cannot be made; then it may be there.
    pub fn create(&self, number: u32, header: &[u8]) -> io::Result<Box<dyn SegmentWriter>> {
        let mut writer = self.volume.create_segment(number)?;
        self.volume.sync_segment_names()?;
        writer.append(&[Bytes::copy_from_slice(header)])?;
        Ok(writer)
    }

    /// Unlinks a segment; durable on return.
    ///
    /// # Errors
    /// It cannot be unlinked.
    pub fn remove(&self, number: u32) -> io::Result<()> {
        // Under the lock, so that no reader keeps a handle to an unlinked file, whose bytes would stay on the disk.
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.remove(&number);
        self.volume.remove_segment(number)?;
        drop(handles);
        self.volume.sync_segment_names()
    }

    /// A handle to read from, opened when needed; the one not used for longest makes room.
    ///
    /// # Errors
    /// The segment cannot be opened.
    pub fn reader(&self, number: u32) -> io::Result<Arc<dyn SegmentReader>> {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let clock = handles.values().map(|(used, _)| *used).max().unwrap_or(0) + 1;
        if let Some((used, reader)) = handles.get_mut(&number) {
            *used = clock;
            return Ok(Arc::clone(reader));
        }
        let reader = self.volume.read_segment(number)?;
        if handles.len() >= HANDLES_MAX
            && let Some(oldest) = handles.iter().min_by_key(|(_, (used, _))| *used).map(|(number, _)| *number)
        {
            handles.remove(&oldest);
        }
        handles.insert(number, (clock, Arc::clone(&reader)));
        Ok(reader)
    }

    /// Reads and checks one record; `None` if the bytes are not those that were written.
    ///
    /// # Errors
    /// The segment is not there ([`io::ErrorKind::NotFound`]) or cannot be read.
    pub fn read(&self, at: Location) -> io::Result<Option<(Meta, Bytes)>> {
        let reader = self.reader(at.segment)?;
        let mut bytes = vec![0; at.len as usize];
        match reader.read_exact_at(&mut bytes, u64::from(at.offset)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let bytes = Bytes::from(bytes);
        let header = Header::read(&bytes).filter(|header| header.record_len() == bytes.len());
        let opened = header.and_then(|header| header.open(&bytes[HEADER_BYTES..]));
        Ok(opened.map(|(meta, body_at)| (meta, bytes.slice(HEADER_BYTES + body_at..))))
    }
}

/// Walks the records of one segment.
pub struct Scanner {
    segment: u32,
    reader: Arc<dyn SegmentReader>,
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
        let reader = segments.reader(segment)?;
        let end = reader.bytes()?;
        let mut head = [0; SEGMENT_HEADER_BYTES];
        let mut mark = None;
        if end >= SEGMENT_HEADER_BYTES as u64 {
            reader.read_exact_at(&mut head, 0)?;
            mark = record::read_segment_header(&head);
        }
        Ok(Self { segment, reader, mark, at: u64::from(from).max(SEGMENT_HEADER_BYTES as u64), end })
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
            self.reader.read_exact_at(&mut head, self.at)?;
            let header = Header::read(&head).filter(|header| self.mark.is_none_or(|mark| mark == header.mark));
            let Some(header) = header.filter(|header| self.at + header.record_len() as u64 <= self.end) else {
                if !self.search()? {
                    break;
                }
                continue;
            };
            self.mark = Some(header.mark);
            let mut payload = vec![0; header.payload_len()];
            self.reader.read_exact_at(&mut payload, self.at + HEADER_BYTES as u64)?;
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
            self.reader.read_exact_at(&mut buffer[..wanted], self.at)?;
            if let Some(found) = buffer[..wanted].windows(SIGN_BYTES).position(|window| window == sign) {
                self.at += found as u64;
                return Ok(true);
            }
            self.at += (wanted - SIGN_BYTES + 1) as u64;
        }
        Ok(false)
    }
}
