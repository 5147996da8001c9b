//! The append side of the segments: one active file, group writes, roll-over, and going back after a failed write.

use super::{
    failure,
    index::Watermark,
    ledger::{Ledger, Segment},
    record::{SEGMENT_HEADER_BYTES, segment_header},
    segment::Segments,
    volume::SegmentWriter,
};
use bytes::Bytes;
use pangea_protocols::disk::Failure;
use std::{io, sync::Arc};

/// The segment that is appended to.
struct Active {
    number: u32,
    file: Box<dyn SegmentWriter>,
    mark: u64,
}

/// What an earlier run left open: segment number, bytes and mark.
pub type Tail = (u32, u64, u64);

/// All segments, seen by their only writer.
pub struct Log {
    segments: Arc<Segments>,
    segment_bytes: u64,
    active: Option<Active>,
    /// Everything before it is durable.
    durable: Watermark,
    /// Live and dead bytes.
    pub ledger: Ledger,
    /// Records of a failed write may be in a sealed segment.
    remains: bool,
}

impl Log {
    /// Goes on where `tail` ends, or in a new segment with the first record.
    ///
    /// # Errors
    /// The tail cannot be opened.
    pub fn new(
        segments: Arc<Segments>,
        segment_bytes: u32,
        ledger: Ledger,
        durable: Watermark,
        tail: Option<Tail>,
    ) -> io::Result<Self> {
        let mut active = None;
        if let Some((number, len, mark)) = tail {
            let mut file = segments.volume().append_segment(number)?;
            file.truncate(len)?;
            active = Some(Active { number, file, mark });
        }
        Ok(Self { segments, segment_bytes: u64::from(segment_bytes), active, durable, ledger, remains: false })
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
        let mark = self.segments.volume().mark().map_err(|error| Failure::Io(error.to_string()))?;
        let made = self.segments.create(number, &segment_header(number, mark));
        let file = made.map_err(|error| self.not_made(number, &error))?;
        self.ledger.segments.insert(number, Segment { len: SEGMENT_HEADER_BYTES as u64, live: 0 });
        self.durable = Watermark { segment: number, offset: SEGMENT_HEADER_BYTES as u32 };
        self.active = Some(Active { number, file, mark });
        Ok(())
    }

    /// After a segment could not be made: its number must not be tried again and again.
    fn not_made(&mut self, number: u32, cause: &io::Error) -> Failure {
        let path = self.segments.path(number);
        // What was there before is not for us to remove.
        let ours = cause.kind() != io::ErrorKind::AlreadyExists;
        let removed = if ours { self.segments.remove(number) } else { Err(io::ErrorKind::AlreadyExists.into()) };
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            self.ledger.segments.insert(number, Segment::default());
            tracing::error!(path = %path.display(), %error, "segment is in the way");
        }
        failure(&path, cause)
    }

    /// Appends and syncs; all or nothing. After a failed sync nothing more is appended to that file, as the system
    /// may have thrown the pages away and forgotten the error.
    ///
    /// # Errors
    /// [`Failure::Full`] or [`Failure::Io`]; the log is as it was.
    pub fn append(&mut self, buffers: &[Bytes], bytes: u64) -> Result<(), Failure> {
        let Some(active) = &mut self.active else { return Err(Failure::Io("no segment is open".to_owned())) };
        let path = self.segments.path(active.number);
        let end = u64::from(self.durable.offset) + bytes;
        let written = active.file.append(buffers);
        let synced = if written.is_ok() { active.file.sync() } else { Ok(()) };
        match (written, synced, u32::try_from(end)) {
            (Ok(()), Ok(()), Ok(end)) => {
                self.durable.offset = end;
                self.ledger.segments.entry(self.durable.segment).or_default().len = u64::from(end);
                Ok(())
            }
            (written, synced, _) => {
                let cut = active.file.truncate(u64::from(self.durable.offset));
                // Else what was answered as failed could be found after a crash.
                if synced.is_err() || cut.and_then(|()| active.file.sync()).is_err() {
                    self.remains = true;
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
        let len = self.segments.reader(active.number).and_then(|reader| reader.bytes());
        if let (Some(segment), Ok(len)) = (self.ledger.segments.get_mut(&active.number), len) {
            segment.len = len.max(segment.len);
        }
    }

    /// True if a crash may bring back what was answered as failed. A change that would otherwise not be worth a record
    /// needs one then, which is replayed after it.
    pub fn has_remains(&self) -> bool {
        self.remains
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
