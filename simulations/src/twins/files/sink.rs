//! Writing: a file, or a directory that the stream is divided into. Nothing shows before it is whole.

use super::{misuse, tree::Tree};
use bytes::{Bytes, BytesMut};
use pangea::drivers::files::names;
use pangea_protocols::{
    files::Layout,
    job::{ErrorKind, JobError},
    manifest::{DirectoryIndex, EntryKind},
};
use std::path::{Path, PathBuf};

/// What is being written.
pub(super) struct OpenSink {
    path: PathBuf,
    overwrite: bool,
    layout: Layout,
    start: u64,
    written: BytesMut,
}

impl OpenSink {
    /// `name` is the object's own, for a `path` that is a directory to put it into.
    pub(super) fn new(
        tree: &Tree,
        path: &Path,
        name: &str,
        overwrite: bool,
        layout: Layout,
        start: u64,
    ) -> Result<Self, JobError> {
        if !path.is_absolute() {
            return Err(JobError::new(ErrorKind::Usage, format!("{} is not an absolute path", path.display())));
        }
        let directory = matches!(layout, Layout::Directory(_));
        let inside = path.as_os_str().to_string_lossy().ends_with('/') || (!directory && tree.is_directory(path));
        if inside {
            names::check(name)?;
        }
        if let Layout::Directory(index) = &layout {
            names::check_index(index, start)?;
        }
        let path = if inside { path.join(name) } else { path.to_owned() };
        let sink = Self { path, overwrite, layout, start, written: BytesMut::new() };
        sink.check_target(tree)?;
        Ok(sink)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), JobError> {
        if offset != self.start + self.written.len() as u64 {
            return Err(misuse("a write out of order"));
        }
        self.written.extend_from_slice(bytes);
        Ok(())
    }

    /// What is at the target now decides, not what was when the job began.
    pub(super) fn finish(&mut self, tree: &mut Tree) -> Result<(), JobError> {
        self.check_target(tree)?;
        let written = std::mem::take(&mut self.written).freeze();
        let Layout::Directory(index) = &self.layout else {
            tree.put(self.path.clone(), written);
            return Ok(());
        };
        let files = divide(index, self.start, &written).map_err(|path| {
            let message = format!("the object ends in the middle of {}", self.path.join(path).display());
            JobError::new(ErrorKind::Integrity, message)
        })?;
        tree.make_directory(self.path.clone());
        for (path, bytes) in files {
            match bytes {
                Some(bytes) => tree.put(self.path.join(path), bytes),
                None => tree.make_directory(self.path.join(path)),
            }
        }
        Ok(())
    }

    fn check_target(&self, tree: &Tree) -> Result<(), JobError> {
        let denied = |what: &str| JobError::new(ErrorKind::Denied, format!("{} {what}", self.path.display()));
        let directory = matches!(self.layout, Layout::Directory(_));
        if !tree.is_there(&self.path) {
            return Ok(());
        }
        match (self.overwrite, directory, tree.is_directory(&self.path)) {
            (false, ..) => Err(denied("exists: use --force to overwrite it")),
            (true, false, true) => Err(denied("is a directory: it is not replaced by a file")),
            (true, true, false) => Err(denied("is not a directory: it is not replaced by one")),
            _ => Ok(()),
        }
    }
}

type Divided = Vec<(PathBuf, Option<Bytes>)>;

/// The files of the stream, `None` for empty directories; the path of one that is not whole is an error.
fn divide(index: &DirectoryIndex, start: u64, written: &Bytes) -> Result<Divided, PathBuf> {
    let mut files = Vec::new();
    for entry in &index.entries {
        let path: PathBuf = entry.path.iter().collect();
        let EntryKind::File { offset, len, .. } = entry.kind else {
            files.push((path, None));
            continue;
        };
        let from = usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX);
        let to = usize::try_from(len).ok().and_then(|len| from.checked_add(len)).unwrap_or(usize::MAX);
        if len == 0 {
            files.push((path, Some(Bytes::new())));
        } else if to <= written.len() {
            // A copy, so that one file does not keep the others in memory.
            files.push((path, Some(Bytes::copy_from_slice(&written[from..to]))));
        } else {
            return Err(path);
        }
    }
    Ok(files)
}
