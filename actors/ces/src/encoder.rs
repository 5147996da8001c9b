//! [`Encoder`]: one source on its way to the uploader.
//!
//! ```text
//! opening ──SourceOpened──► reading ──last Read──► draining ──last Worked──► ended
//! ```
//!
//! Reading goes ahead of the uploader by at most its credit and [`AHEAD_MAX`] frames. A source of known length is read
//! to one byte past its end, which tells a file that grew meanwhile; its only frame may go into the root block. A
//! stream ends with a short read; a stream of exactly 1 MiB is not known to be the only frame when it is encoded, so
//! it becomes a stripe. Not here: decoding (`decoder`), the table of jobs (`ces`).

use crate::{
    api::{EncodedEnd, Out, Profile, Stripe},
    ces::{Ces, Flow},
    private,
    work::{EncodeFrame, Output, Work},
};
use bytes::Bytes;
use pangea_kernel::{Cx, planted};
use pangea_protocols::{
    JobId, files,
    job::{ErrorKind, JobError},
    manifest::{Codec, FRAME_BYTES, Kind, Private},
    ticket::ReadKey,
};
use std::collections::BTreeMap;

/// Frames between source and uploader, whatever the credit.
pub const AHEAD_MAX: u64 = 8;

const FRAME: u64 = FRAME_BYTES as u64;

/// An encode job.
pub(crate) struct Encoder {
    job: JobId,
    key: ReadKey,
    object: [u8; 16],
    k: u8,
    m: u8,
    profile: Profile,
    /// What the driver said of the source; `None` while it is opened.
    source: Option<Opened>,
    /// Stripes that the uploader will still take.
    credit: u64,
    /// Bytes read.
    offset: u64,
    /// Bytes that were asked for and are not there yet.
    asked: Option<u32>,
    /// The source has ended.
    ended: bool,
    /// Frames given to workers.
    worked: u64,
    /// Stripes handed to the uploader.
    emitted: u64,
    /// Stripes that wait for an earlier one.
    ready: BTreeMap<u64, Stripe>,
    /// The whole content, if it goes into the root block.
    inline: Option<(Codec, Vec<u8>)>,
}

struct Opened {
    private: Private,
    len: Option<u64>,
    skipped: u64,
}

impl Encoder {
    pub(crate) fn new(cx: &mut Cx<'_, Ces>, job: JobId, (k, m): (u8, u8), profile: Profile) -> Self {
        let key = ReadKey(cx.rng("read key").bytes());
        let object = cx.rng("object").bytes();
        Self {
            job,
            key,
            object,
            k,
            m,
            profile,
            source: None,
            credit: 0,
            offset: 0,
            asked: None,
            ended: false,
            worked: 0,
            emitted: 0,
            ready: BTreeMap::new(),
            inline: None,
        }
    }

    pub(crate) fn on_credit(&mut self, cx: &mut Cx<'_, Ces>, stripes: u32) -> Flow {
        self.credit = self.credit.saturating_add(u64::from(stripes));
        self.read(cx);
        Flow::Going
    }

    pub(crate) fn on_files(&mut self, cx: &mut Cx<'_, Ces>, event: files::Event) -> Flow {
        match event {
            files::Event::SourceOpened { name, kind, len, skipped, .. } if self.source.is_none() => {
                self.on_opened(cx, Opened { private: Private { name, kind }, len, skipped })
            }
            files::Event::Read { offset, bytes, .. } if offset == self.offset => self.on_read(cx, bytes),
            files::Event::Failed { error, .. } => Flow::Failed(error),
            _ => Flow::Going,
        }
    }

    fn on_opened(&mut self, cx: &mut Cx<'_, Ces>, opened: Opened) -> Flow {
        if let (Kind::Directory { index_len }, Some(len)) = (&opened.private.kind, opened.len)
            && (*index_len == 0 || *index_len > len)
        {
            return failed(format!("`{}`: the directory's index does not fit its content", opened.private.name));
        }
        self.source = Some(opened);
        self.read(cx);
        Flow::Going
    }

    fn read(&mut self, cx: &mut Cx<'_, Ces>) {
        let Some(source) = self.source.as_ref().filter(|_| !self.ended && self.asked.is_none()) else { return };
        if self.worked - self.emitted >= self.credit.min(AHEAD_MAX) {
            return;
        }
        let wanted = match source.len.map(|len| len - self.offset) {
            // One byte more than there should be.
            Some(left) if left <= FRAME => left + 1,
            _ => FRAME,
        };
        let len = u32::try_from(wanted).unwrap_or(u32::MAX);
        self.asked = Some(len);
        cx.emit(Out::Files(files::Command::Read { job: self.job, offset: self.offset, len }));
    }

    fn on_read(&mut self, cx: &mut Cx<'_, Ces>, raw: Bytes) -> Flow {
        let (Some(source), Some(asked)) = (&self.source, self.asked.take()) else { return Flow::Going };
        let (read, most) = (raw.len() as u64, u64::from(asked));
        let fits = match source.len.map(|len| len - self.offset) {
            Some(left) => {
                self.ended = left <= FRAME || (planted!("whole-tail-frame-lost") && left == 2 * FRAME);
                read == left.min(FRAME)
            }
            None => {
                self.ended = read < most;
                read <= most
            }
        };
        if !fits {
            let name = &source.private.name;
            return failed(format!("`{name}` changed while it was read: store it again when nothing writes to it"));
        }
        self.offset += read;
        if !raw.is_empty() {
            let alone = self.ended && self.worked == 0;
            cx.emit(Out::Work(Work::EncodeFrame(EncodeFrame {
                job: self.job,
                key: self.key.clone(),
                object: self.object,
                index: self.worked,
                raw,
                k: self.k,
                m: self.m,
                profile: self.profile,
                alone,
            })));
            self.worked += 1;
        }
        self.read(cx);
        self.finish(cx)
    }

    pub(crate) fn on_worked(&mut self, cx: &mut Cx<'_, Ces>, index: u64, output: Output) -> Flow {
        if index < self.emitted || index >= self.worked {
            return Flow::Going;
        }
        match output {
            Output::Stripe(stripe) => {
                self.ready.insert(index, stripe);
            }
            Output::Inline(codec, ciphertext) => self.inline = Some((codec, ciphertext)),
            Output::Raw(_) => return Flow::Going,
        }
        while let Some(stripe) = self.ready.remove(&self.emitted) {
            cx.emit(Out::Encoded { job: self.job, index: self.emitted, stripe });
            self.emitted += 1;
            self.credit = self.credit.saturating_sub(1);
        }
        self.read(cx);
        self.finish(cx)
    }

    /// Hands over the end if everything before it is out.
    fn finish(&mut self, cx: &mut Cx<'_, Ces>) -> Flow {
        let out = self.emitted == self.worked || self.inline.is_some();
        let Some(source) = self.source.as_ref().filter(|_| self.ended && out) else { return Flow::Going };
        let private = match private::seal(&self.key, &self.object, &source.private) {
            Ok(private) => private,
            Err(error) => return Flow::Failed(JobError::new(ErrorKind::Usage, error.to_string())),
        };
        let end = EncodedEnd {
            stripes: self.emitted,
            raw_len: self.offset,
            object: self.object,
            key: self.key.clone(),
            private,
            name: source.private.name.clone(),
            directory: matches!(source.private.kind, Kind::Directory { .. }),
            inline: self.inline.take(),
            skipped: source.skipped,
        };
        cx.emit(Out::EncodedAll { job: self.job, end });
        Flow::Ended
    }
}

fn failed(message: String) -> Flow {
    Flow::Failed(JobError::new(ErrorKind::Failed, message))
}
