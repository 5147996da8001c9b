//! The append side of the segments: one active file, group writes, roll-over, and going back after a failed write.

use super::{
    failure,
    index::Watermark,
    ledger::{Ledger, Segment},
    record::{SEGMENT_HEADER_BYTES, segment_header},
    segment::{SegmentFile, Segments},
};
use bytes::Bytes;
use pangea_protocols::disk::Failure;
use std::{fs::File, io, io::IoSlice, sync::Arc};

/// Puts something between the log and its file; production uses the file itself.
pub type Wrap = Box<dyn FnMut(File) -> Box<dyn SegmentFile> + Send>;

/// The segment that is appended to.
struct Active {
    number: u32,
    file: Box<dyn SegmentFile>,
    mark: u64,
}

/// What an earlier run left open: segment number, bytes and mark.
pub type Tail = (u32, u64, u64);

/// All segments, seen by their only writer.
pub struct Log {
    segments: Arc<Segments>,
    wrap: Wrap,
    segment_bytes: u64,
    active: Option<Active>,
    /// Everything before it is durable.
    durable: Watermark,
    /// Live and dead bytes.
    pub ledger: Ledger,
}

impl Log {
    /// Goes on where `tail` ends, or in a new segment with the first record.
    ///
    /// # Errors
    /// The tail cannot be opened.
    pub fn new(
        segments: Arc<Segments>,
        mut wrap: Wrap,
        segment_bytes: u32,
        ledger: Ledger,
        durable: Watermark,
        tail: Option<Tail>,
    ) -> io::Result<Self> {
        let mut active = None;
        if let Some((number, len, mark)) = tail {
            let mut file = wrap(segments.append_to(number)?);
            file.truncate(len)?;
            active = Some(Active { number, file, mark });
        }
        Ok(Self { segments, wrap, segment_bytes: u64::from(segment_bytes), active, durable, ledger })
    }

    /// Everything before it is durable.
    pub fn durable(&self) -> Watermark {
        self.durable
    }

    /// Where the next record goes if `batched` bytes go before it, and the mark it must carry; `None` if no segment
    /// is open or `more` bytes would overfill it.
    pub fn place(&self, batched: u64, more: u64) -> Option<(u32, u32, u64)> {
        let active = self.active.as_ref()?;
        let at = u64::from(self.durable.offset) + batched;
        let fits = at + more <= self.segment_bytes || at <= SEGMENT_HEADER_BYTES as u64;
        fits.then_some((active.number, u32::try_from(at).ok()?, active.mark))
    }

    /// Seals the active segment and opens the next. The new segment becomes durable with its first record.
    ///
    /// # Errors
    /// The file cannot be made; the log has no active segment then and the next call tries again.
    pub fn roll(&mut self) -> Result<(), Failure> {
        self.seal();
        let last = self.ledger.segments.keys().next_back().copied().unwrap_or(0).max(self.durable.segment);
        let number = last.saturating_add(1);
        let mark = getrandom::u64().map_err(|error| Failure::Io(format!("no randomness: {error}")))?;
        let path = self.segments.path(number);
        let error = |error: io::Error| failure(&path, &error);
        let mut file = (self.wrap)(self.segments.create(number).map_err(error)?);
        if let Err(cause) = file.append(&mut [IoSlice::new(&segment_header(number, mark))]) {
            if let Err(again) = self.segments.remove(number) {
                // Without the entry the number would be tried again and again.
                self.ledger.segments.insert(number, Segment::default());
                tracing::error!(path = %path.display(), error = %again, "empty segment cannot be removed");
            }
            return Err(error(cause));
        }
        self.ledger.segments.insert(number, Segment { len: SEGMENT_HEADER_BYTES as u64, live: 0 });
        self.durable = Watermark { segment: number, offset: SEGMENT_HEADER_BYTES as u32 };
        self.active = Some(Active { number, file, mark });
        Ok(())
    }

    /// Appends and syncs; all or nothing. After a failed sync nothing more is appended to that file, as the system
    /// may have thrown the pages away and forgotten the error.
    ///
    /// # Errors
    /// [`Failure::Full`] or [`Failure::Io`]; the log is as it was.
    pub fn append(&mut self, buffers: &[Bytes], bytes: u64) -> Result<(), Failure> {
        let Some(active) = &mut self.active else { return Err(Failure::Io("no segment is open".to_owned())) };
        let path = self.segments.path(active.number);
        let mut slices: Vec<IoSlice<'_>> = buffers.iter().map(|buffer| IoSlice::new(buffer)).collect();
        let end = u64::from(self.durable.offset) + bytes;
        let written = active.file.append(&mut slices);
        let synced = if written.is_ok() { active.file.sync() } else { Ok(()) };
        match (written, synced, u32::try_from(end)) {
            (Ok(()), Ok(()), Ok(end)) => {
                self.durable.offset = end;
                self.ledger.segments.entry(self.durable.segment).or_default().len = u64::from(end);
                Ok(())
            }
            (written, synced, _) => {
                let cut = active.file.truncate(u64::from(self.durable.offset));
                if synced.is_err() || cut.is_err() {
                    self.seal();
                }
                let cause = written.and(synced).err().unwrap_or_else(|| io::ErrorKind::FileTooLarge.into());
                Err(failure(&path, &cause))
            }
        }
    }

    /// Appends nothing more to the active segment.
    pub fn seal(&mut self) {
        let Some(active) = self.active.take() else { return };
        let len = std::fs::metadata(self.segments.path(active.number)).map(|meta| meta.len());
        if let (Some(segment), Ok(len)) = (self.ledger.segments.get_mut(&active.number), len) {
            segment.len = len.max(segment.len);
        }
    }

    /// The active segment's number.
    pub fn active(&self) -> Option<u32> {
        self.active.as_ref().map(|active| active.number)
    }

    /// Unlinks a segment that is not active.
    ///
    /// # Errors
    /// The file cannot be unlinked.
    pub fn remove(&mut self, number: u32) -> Result<(), Failure> {
        match self.segments.remove(number) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failure(&self.segments.path(number), &error));
            }
            _ => self.ledger.segments.remove(&number),
        };
        Ok(())
    }
}
