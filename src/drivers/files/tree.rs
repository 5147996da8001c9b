//! Writing a directory: a whole tree under a temporary name, then renamed; or, into an existing directory, merged file
//! by file, each by a rename.

use super::{
    beneath,
    fault::{exists, fault, misuse},
    names,
    sink::{Finish, Target, make_part},
};
use pangea_protocols::{
    JobId,
    job::{ErrorKind, JobError},
    manifest::{DirectoryIndex, Entry, EntryKind},
};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{FileType, Mode, RawMode},
    io::Errno,
};
use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// A directory that is written.
#[derive(Debug)]
pub(super) struct TreeSink {
    target: Target,
    /// The existing directory that the tree is merged into.
    merge: Option<OwnedFd>,
    /// The unfinished tree: its name, in `merge` or beside the target, and its descriptor.
    part: String,
    root: OwnedFd,
    entries: Vec<Entry>,
    /// The entry that is written, or will be next.
    next: usize,
    open: Option<File>,
    /// The directory of the last file.
    parent: Option<(Vec<String>, OwnedFd)>,
    at: u64,
    umask: RawMode,
    done: bool,
}

impl TreeSink {
    /// Checks the index and begins; `start` is the stream offset of the first byte that will be written.
    pub(super) fn new(
        target: Target,
        job: JobId,
        index: DirectoryIndex,
        start: u64,
        umask: RawMode,
    ) -> Result<Self, JobError> {
        names::check_index(&index, start)?;
        let failed = |error| fault("creating", &target.path, error);
        let merge = match target.occupant()? {
            None => None,
            Some(_) if !target.overwrite => return Err(exists(&target.path)),
            Some(FileType::Directory) => Some(beneath::step(&target.dir, &target.name).map_err(failed)?),
            Some(_) => {
                let message = format!("{} is not a directory: it is not replaced by one", target.path.display());
                return Err(JobError::new(ErrorKind::Denied, message));
            }
        };
        // Inside the directory that is merged into, renames stay on one file system even if it is a mount point.
        let beside = merge.as_ref().unwrap_or(&target.dir);
        let make = |part: &str| {
            rustix::fs::mkdirat(beside, part, Mode::from_raw_mode(0o700))?;
            beneath::step(beside, part)
        };
        let (part, root) = make_part(&target.name, job, make).map_err(failed)?;
        let entries = index.entries;
        let (next, open, parent, done) = (0, None, None, false);
        Ok(Self { target, merge, part, root, entries, next, open, parent, at: start, umask, done })
    }

    pub(super) fn path(&self) -> &Path {
        &self.target.path
    }

    /// Bytes between and after the files (the index) are passed over.
    pub(super) fn write(&mut self, offset: u64, mut bytes: &[u8]) -> Result<(), JobError> {
        if offset != self.at {
            return Err(misuse("a write out of order"));
        }
        while !bytes.is_empty() {
            let Some(entry) = self.entries.get(self.next) else {
                self.at += bytes.len() as u64;
                return Ok(());
            };
            let EntryKind::File { offset, len, .. } = entry.kind else {
                self.make_empty()?;
                continue;
            };
            if len == 0 {
                self.make_empty()?;
            } else if self.at < offset {
                let gap = usize::try_from(offset - self.at).unwrap_or(usize::MAX).min(bytes.len());
                self.at += gap as u64;
                bytes = &bytes[gap..];
            } else {
                let left = usize::try_from(offset + len - self.at).unwrap_or(usize::MAX);
                let (now, later) = bytes.split_at(left.min(bytes.len()));
                self.write_file(now, offset)?;
                self.at += now.len() as u64;
                bytes = later;
                if self.at == offset + len {
                    self.complete()?;
                }
            }
        }
        Ok(())
    }

    fn write_file(&mut self, bytes: &[u8], offset: u64) -> Result<(), JobError> {
        let file = match self.open.take() {
            Some(file) => file,
            None => self.create()?,
        };
        file.write_all_at(bytes, self.at - offset).map_err(|error| fault("writing", &self.shown(self.next), error))?;
        self.open = Some(file);
        Ok(())
    }

    /// The entry at `next` is a directory or a file without bytes.
    fn make_empty(&mut self) -> Result<(), JobError> {
        if self.entries[self.next].kind == EntryKind::Directory {
            let made = beneath::descend_making(self.root.as_fd(), &self.entries[self.next].path);
            made.map_err(|error| fault("creating", &self.shown(self.next), error))?;
            self.next += 1;
            return Ok(());
        }
        self.open = Some(self.create()?);
        self.complete()
    }

    /// Makes the file at `next`, and the directories above it.
    fn create(&mut self) -> Result<File, JobError> {
        let shown = self.shown(self.next);
        let failed = |error| fault("creating", &shown, error);
        let path = &self.entries[self.next].path;
        let (name, parents) = path.split_last().ok_or_else(|| misuse("an entry without a path"))?;
        if self.parent.as_ref().is_none_or(|(known, _)| known != parents) {
            let dir = beneath::descend_making(self.root.as_fd(), parents).map_err(failed)?;
            self.parent = Some((parents.to_vec(), dir));
        }
        let dir = self.parent.as_ref().map_or(&self.root, |(_, dir)| dir);
        beneath::create_file(dir, name).map_err(failed)
    }

    /// The file at `next` is whole.
    fn complete(&mut self) -> Result<(), JobError> {
        let EntryKind::File { executable, modified_unix, .. } = self.entries[self.next].kind else { return Ok(()) };
        if let Some(file) = self.open.take() {
            let failed = |error: Errno| fault("finishing", &self.shown(self.next), error);
            Finish { executable, modified_unix, umask: self.umask }.apply(&file).map_err(failed)?;
            #[cfg(not(target_os = "linux"))]
            file.sync_all().map_err(|error| fault("finishing", &self.shown(self.next), error))?;
        }
        self.next += 1;
        Ok(())
    }

    /// Makes what is left, syncs, and renames or merges.
    pub(super) fn finish(&mut self) -> Result<(), JobError> {
        while let Some(entry) = self.entries.get(self.next) {
            if matches!(entry.kind, EntryKind::File { len, .. } if len > 0) {
                let message = format!("the object ends in the middle of {}", self.shown(self.next).display());
                return Err(JobError::new(ErrorKind::Integrity, message));
            }
            self.make_empty()?;
        }
        self.parent = None;
        sync(&self.root).map_err(|error| fault("finishing", &self.target.path, error))?;
        match &self.merge {
            None => self.publish(),
            Some(_) => self.merge_all(),
        }
    }

    fn publish(&mut self) -> Result<(), JobError> {
        let Target { dir, name, path, .. } = &self.target;
        let failed = |error| fault("finishing", path, error);
        rustix::fs::fchmod(&self.root, Mode::from_raw_mode(0o777 & !self.umask)).map_err(failed)?;
        match beneath::rename_new(dir, &self.part, dir, name) {
            Err(Errno::EXIST) => return Err(exists(path)),
            other => other.map_err(failed)?,
        }
        self.done = true;
        rustix::fs::fsync(dir).map_err(failed)
    }

    fn merge_all(&mut self) -> Result<(), JobError> {
        let Some(into) = &self.merge else { return Ok(()) };
        for (n, entry) in self.entries.iter().enumerate() {
            let failed = |error| fault("replacing", &self.shown(n), error);
            if entry.kind == EntryKind::Directory {
                beneath::descend_making(into.as_fd(), &entry.path).map_err(failed)?;
                continue;
            }
            let (name, parents) = entry.path.split_last().ok_or_else(|| misuse("an entry without a path"))?;
            let from = beneath::descend(self.root.as_fd(), parents).map_err(failed)?;
            let to = beneath::descend_making(into.as_fd(), parents).map_err(failed)?;
            rustix::fs::renameat(&from, name.as_str(), &to, name.as_str()).map_err(failed)?;
        }
        sync(into).map_err(|error| fault("finishing", &self.target.path, error))
        // What is left of the unfinished tree are empty directories: they go when this is dropped.
    }

    fn shown(&self, entry: usize) -> PathBuf {
        let parts = self.entries.get(entry).map(|entry| entry.path.iter().collect::<PathBuf>());
        self.target.path.join(parts.unwrap_or_default())
    }
}

/// Makes a tree durable: with one call where there is one, since a sync per file costs milliseconds each.
fn sync(root: &OwnedFd) -> Result<(), Errno> {
    #[cfg(target_os = "linux")]
    return rustix::fs::syncfs(root);
    #[cfg(not(target_os = "linux"))]
    return rustix::fs::fsync(root);
}

impl Drop for TreeSink {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let beside = self.merge.as_ref().unwrap_or(&self.target.dir);
        if let Err(error) = beneath::remove(beside, &self.part) {
            tracing::warn!(target = %self.target.path.display(), part = self.part, %error, "unfinished tree remains");
        }
    }
}
