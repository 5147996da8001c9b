//! [`Decoder`]: one object on its way to a sink.
//!
//! ```text
//! waiting ──Decode and Root──► (directory) index ──last index stripe──► opening ──SinkOpened──► body
//!                        └────► (file) ──────────────────────────────────▲              body ──last Written──► finishing ──Finished──► done
//! ```
//!
//! All offsets, in `Layout`, `OpenSink::start` and `Write`, are offsets of the object's stream; `start` is the first
//! byte of the selection. A sink for one directory gets paths relative to it, a sink for one file is a plain file.
//! Stripes of the body are asked for when the sink is open. Not here: the order of stripes (`window`), what an index
//! may contain (`index`).

use crate::{
    api::{Key, Out, Selection},
    ces::{Ces, Flow},
    frame::{FrameError, opening_key},
    index::{self, Selected},
    private,
    window::Window,
    work::{DecodeFrame, DecodeInline, Work},
};
use bytes::Bytes;
use pangea_kernel::Cx;
use pangea_protocols::{
    JobId,
    files::{self, Command, Layout, Sink},
    job::{ErrorKind, JobError, JobEvent, Outcome, Progress},
    manifest::{Content, FRAME_BYTES, Kind, Private, RootBody, StripeRecord},
    stored::FrameKey,
};
use std::{collections::VecDeque, ops::Range, path::PathBuf};

/// Writes that the sink has not taken yet.
pub const WRITES_MAX: usize = 4;

const FRAME: u64 = FRAME_BYTES as u64;
const PLAIN: Kind = Kind::File { executable: false, modified_unix: 0 };

/// A decode job.
pub(crate) struct Decoder {
    job: JobId,
    /// What the user wants; `None` until `Decode`.
    request: Option<Request>,
    /// The manifest; `None` until `Root`.
    root: Option<RootBody>,
    phase: Phase,
}

struct Request {
    key: Key,
    only: Selection,
    sink: Sink,
}

enum Phase {
    /// For `Decode` or `Root`.
    Waiting,
    /// The stripes of a directory's index.
    Index { window: Window, name: String, content: u64, bytes: Vec<u8>, kept: Option<(u64, Bytes)> },
    /// For the sink, then its writes.
    Body(Body),
}

struct Body {
    window: Window,
    /// What the sink is called; the outer `None` until it is open.
    path: Option<Option<PathBuf>>,
    /// Stripes that were written and not yet taken, with the offset at which they end.
    writing: VecDeque<(u64, u64)>,
    /// The sink has taken everything below this offset.
    taken: u64,
    finishing: bool,
}

impl Decoder {
    pub(crate) fn new(job: JobId) -> Self {
        Self { job, request: None, root: None, phase: Phase::Waiting }
    }

    /// Has the user asked for it? If not, it is only a manifest that nobody may be waiting for.
    pub(crate) fn is_wanted(&self) -> bool {
        self.request.is_some()
    }

    pub(crate) fn on_decode(&mut self, cx: &mut Cx<'_, Ces>, key: Key, only: Selection, sink: Sink) -> Flow {
        if self.request.is_some() {
            tracing::warn!(job = self.job.0, "a job id was used twice; the second use is ignored");
            return Flow::Going;
        }
        self.request = Some(Request { key, only, sink });
        self.begin(cx)
    }

    pub(crate) fn on_root(&mut self, cx: &mut Cx<'_, Ces>, root: RootBody) -> Flow {
        if self.root.is_some() {
            return Flow::Going;
        }
        self.root = Some(root);
        self.begin(cx)
    }

    /// Opens the private part when both sides are there.
    fn begin(&mut self, cx: &mut Cx<'_, Ces>) -> Flow {
        let (Some(request), Some(root)) = (&self.request, &self.root) else { return Flow::Going };
        let private = match &request.key {
            Key::Read(key) => private::open(key, &root.object, &root.private, root.raw_len),
            // What it is called, and whether these are bytes of several files, only the read key tells.
            Key::Frames { .. } => Ok(Private { name: String::new(), kind: PLAIN }),
        };
        let private = match private {
            Ok(private) => private,
            Err(error) => return integrity(error.to_string()),
        };
        cx.emit(Out::Job(JobEvent::Opened {
            job: self.job,
            name: private.name.clone(),
            directory: matches!(private.kind, Kind::Directory { .. }),
            raw_len: root.raw_len,
            k: root.k,
            m: root.m,
        }));
        let raw_len = root.raw_len;
        match private {
            Private { name, kind: Kind::File { executable, modified_unix } } => {
                let only = request.only.clone();
                let layout = Layout::File { executable, modified_unix };
                self.on_file(cx, name, layout, raw_len, &only)
            }
            Private { name, kind: Kind::Directory { index_len } } => {
                if matches!(request.only, Selection::Range { .. }) {
                    return usage(format!("`{name}` is a directory: a byte range needs a file; name an entry"));
                }
                let content = raw_len - index_len;
                let window = Window::new(content..raw_len, None);
                self.phase = Phase::Index { window, name, content, bytes: Vec::new(), kept: None };
                self.fetch(cx);
                Flow::Going
            }
        }
    }

    fn on_file(&mut self, cx: &mut Cx<'_, Ces>, name: String, layout: Layout, len: u64, only: &Selection) -> Flow {
        let range = match only {
            Selection::All => 0..len,
            Selection::Info => return self.done(cx, None, 0),
            Selection::Range { offset, len: wanted } => {
                let end = wanted.map_or(Some(len), |wanted| offset.checked_add(wanted));
                match end.filter(|end| *end <= len && *offset <= *end) {
                    Some(end) => *offset..end,
                    None => return usage(format!("the range is beyond the end of `{name}`, which has {len} bytes")),
                }
            }
            Selection::Entry(path) => {
                return missing(format!("`{name}` is a file, it has no entry `{}`", path.join("/")));
            }
        };
        if let Some(Key::Frames { first, keys }) = self.request.as_ref().map(|request| &request.key) {
            let end = first.saturating_add(keys.len() as u64);
            if range.start / FRAME < *first || range.end.div_ceil(FRAME) > end {
                return usage(format!("there are keys of the parts {first} to {end} only: the range has others"));
            }
        }
        self.open_sink(cx, Selected { name, layout, range }, None);
        Flow::Going
    }

    fn open_sink(&mut self, cx: &mut Cx<'_, Ces>, selected: Selected, kept: Option<(u64, Bytes)>) {
        let Some(request) = &self.request else { return };
        let Selected { name, layout, range } = selected;
        let (sink, start) = (request.sink.clone(), range.start);
        cx.emit(Out::Files(Command::OpenSink { job: self.job, sink, name, layout, start }));
        self.phase = Phase::Body(Body {
            window: Window::new(range, kept),
            path: None,
            writing: VecDeque::new(),
            taken: start,
            finishing: false,
        });
    }

    /// Asks for the stripes that the window allows; inline content goes to a worker at once.
    fn fetch(&mut self, cx: &mut Cx<'_, Ces>) {
        let (Some(request), Some(root)) = (&self.request, &self.root) else { return };
        let window = match &mut self.phase {
            Phase::Waiting => return,
            Phase::Index { window, .. } => window,
            Phase::Body(body) => &mut body.window,
        };
        let Some(stripes) = window.ask() else { return };
        let Content::Inline { codec, raw_len, ciphertext } = &root.content else {
            return cx.emit(Out::Need { job: self.job, stripes });
        };
        if window.arrive(0) {
            let Some(key) = frame_key(&request.key, root, 0) else { return };
            cx.emit(Out::Work(Work::DecodeInline(DecodeInline {
                job: self.job,
                key,
                object: root.object,
                codec: *codec,
                raw_len: *raw_len,
                ciphertext: ciphertext.clone(),
            })));
        }
    }

    pub(crate) fn on_stripe(
        &mut self,
        cx: &mut Cx<'_, Ces>,
        index: u64,
        record: StripeRecord,
        shards: Vec<(u16, Bytes)>,
    ) -> Flow {
        let (Some(request), Some(root)) = (&self.request, &self.root) else { return Flow::Going };
        let window = match &mut self.phase {
            Phase::Waiting => return Flow::Going,
            Phase::Index { window, .. } => window,
            Phase::Body(body) => &mut body.window,
        };
        if !window.arrive(index) {
            return Flow::Going;
        }
        // What was asked for has a key, and nothing else arrives.
        let Some(key) = frame_key(&request.key, root, index) else { return Flow::Going };
        cx.emit(Out::Work(Work::DecodeFrame(DecodeFrame {
            job: self.job,
            key,
            object: root.object,
            index,
            record,
            k: root.k,
            m: root.m,
            shards,
        })));
        Flow::Going
    }

    pub(crate) fn on_decoded(&mut self, cx: &mut Cx<'_, Ces>, index: u64, raw: Bytes) -> Flow {
        let raw_len = self.root.as_ref().map_or(0, |root| root.raw_len);
        let expected = raw_len.saturating_sub(index.saturating_mul(FRAME)).min(FRAME);
        if raw.len() as u64 != expected {
            return integrity(format!("part {index} has {} bytes instead of {expected}", raw.len()));
        }
        match &mut self.phase {
            Phase::Waiting => Flow::Going,
            Phase::Index { window, .. } => {
                window.decoded(index, raw);
                self.read_index(cx)
            }
            Phase::Body(body) => {
                body.window.decoded(index, raw);
                self.write(cx);
                Flow::Going
            }
        }
    }

    pub(crate) fn on_undecodable(&self, index: u64, error: &FrameError) -> Flow {
        if *error == FrameError::Worker {
            return Flow::Failed(JobError::new(ErrorKind::Failed, format!("part {index} was not read: {error}")));
        }
        integrity(format!("part {index} cannot be read ({error}): the object was damaged when it was stored"))
    }

    fn read_index(&mut self, cx: &mut Cx<'_, Ces>) -> Flow {
        let Phase::Index { window, content, bytes, kept, .. } = &mut self.phase else { return Flow::Going };
        while let Some(piece) = window.pop() {
            bytes.extend_from_slice(&piece.bytes);
            if piece.index * FRAME < *content {
                *kept = Some((piece.index, piece.frame));
            }
            window.consume(piece.index);
            if has_stripes(self.root.as_ref()) {
                cx.emit(Out::Consumed { job: self.job, index: piece.index });
            }
        }
        if !window.is_done() {
            self.fetch(cx);
            return Flow::Going;
        }
        let Phase::Index { name, content, bytes, kept, .. } = std::mem::replace(&mut self.phase, Phase::Waiting) else {
            return Flow::Going;
        };
        self.on_index(cx, name, content, &bytes, kept)
    }

    fn on_index(
        &mut self,
        cx: &mut Cx<'_, Ces>,
        name: String,
        content: u64,
        bytes: &[u8],
        kept: Option<(u64, Bytes)>,
    ) -> Flow {
        let index = match index::read(bytes, content) {
            Ok(index) => index,
            Err(error) => return integrity(format!("`{name}` is damaged: {error}")),
        };
        let Some(request) = &self.request else { return Flow::Going };
        let selected = match &request.only {
            Selection::Entry(path) => match index::select(index, path) {
                Some(selected) => selected,
                None => return missing(format!("`{name}` has no entry `{}`", path.join("/"))),
            },
            Selection::Info => {
                cx.emit(Out::Index { job: self.job, index });
                return self.done(cx, None, 0);
            }
            Selection::All | Selection::Range { .. } => {
                cx.emit(Out::Index { job: self.job, index: index.clone() });
                index::select_all(name, index, content)
            }
        };
        self.open_sink(cx, selected, kept);
        Flow::Going
    }

    pub(crate) fn on_files(&mut self, cx: &mut Cx<'_, Ces>, event: files::Event) -> Flow {
        let Phase::Body(body) = &mut self.phase else {
            return match event {
                files::Event::Failed { error, .. } => Flow::Failed(error),
                _ => Flow::Going,
            };
        };
        match event {
            files::Event::SinkOpened { path, .. } if body.path.is_none() => {
                body.path = Some(path);
                self.fetch(cx);
                self.write(cx);
                Flow::Going
            }
            files::Event::Written { offset, len, .. } => {
                self.on_written(cx, offset.saturating_add(u64::from(len)));
                Flow::Going
            }
            files::Event::Finished { .. } if body.finishing => {
                let (path, range) = (body.path.take().flatten(), body.window.range());
                self.done(cx, path, range.end - range.start)
            }
            files::Event::Failed { error, .. } => Flow::Failed(error),
            _ => Flow::Going,
        }
    }

    /// The sink has taken everything below `end`.
    fn on_written(&mut self, cx: &mut Cx<'_, Ces>, end: u64) {
        let Phase::Body(body) = &mut self.phase else { return };
        let written = body.writing.back().map_or(body.taken, |(_, end)| *end);
        body.taken = end.clamp(body.taken, written);
        let mut progressed = false;
        while let Some((index, _)) = body.writing.pop_front_if(|(_, end)| *end <= body.taken) {
            progressed = true;
            // A frame that the index phase kept was reported as consumed then.
            if body.window.consume(index) && has_stripes(self.root.as_ref()) {
                cx.emit(Out::Consumed { job: self.job, index });
            }
        }
        if progressed {
            let progress = progress(&body.window.range(), body.taken);
            cx.emit(Out::Job(JobEvent::Progress { job: self.job, progress }));
        }
        self.fetch(cx);
        self.write(cx);
    }

    /// Writes what is decoded, in order, as far as the sink keeps up; then asks it to finish.
    fn write(&mut self, cx: &mut Cx<'_, Ces>) {
        let Phase::Body(body) = &mut self.phase else { return };
        if body.path.is_none() {
            return;
        }
        while body.writing.len() < WRITES_MAX {
            let Some(piece) = body.window.pop() else { break };
            body.writing.push_back((piece.index, piece.offset + piece.bytes.len() as u64));
            cx.emit(Out::Files(Command::Write { job: self.job, offset: piece.offset, bytes: piece.bytes }));
        }
        if body.window.is_done() && body.writing.is_empty() && !body.finishing {
            body.finishing = true;
            cx.emit(Out::Files(Command::Finish { job: self.job }));
        }
    }

    fn done(&self, cx: &mut Cx<'_, Ces>, path: Option<PathBuf>, bytes: u64) -> Flow {
        let outcome = Outcome::Got { path, bytes, progress: progress(&(0..bytes), bytes) };
        cx.emit(Out::Job(JobEvent::Done { job: self.job, outcome }));
        Flow::Ended
    }
}

/// What opens frame `index`.
fn frame_key(key: &Key, root: &RootBody, index: u64) -> Option<FrameKey> {
    match key {
        Key::Read(key) => Some(opening_key(key, &root.object, index)),
        Key::Frames { first, keys } => keys.get(usize::try_from(index.checked_sub(*first)?).ok()?).cloned(),
    }
}

/// Are there stripes that a downloader fetches, or is all content in the root block?
fn has_stripes(root: Option<&RootBody>) -> bool {
    root.is_some_and(|root| matches!(root.content, Content::Stripes(_) | Content::Tree { .. }))
}

fn progress(range: &Range<u64>, taken: u64) -> Progress {
    Progress { done_bytes: taken - range.start, total_bytes: Some(range.end - range.start), ..Progress::default() }
}

fn integrity(message: String) -> Flow {
    Flow::Failed(JobError::new(ErrorKind::Integrity, message))
}

fn usage(message: String) -> Flow {
    Flow::Failed(JobError::new(ErrorKind::Usage, message))
}

fn missing(message: String) -> Flow {
    Flow::Failed(JobError::new(ErrorKind::NotFound, message))
}
