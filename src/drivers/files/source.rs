//! Reading: a file as its bytes, a directory as its files' bytes and then its index.
//!
//! A file that changes while it is read fails the job: half of one version and half of another is neither.

use super::{
    beneath,
    fault::{changed, fault, misuse},
    walk::{Found, walk},
};
use bytes::Bytes;
use pangea_ces::scratch::Pool;
use pangea_protocols::{
    codec::{self, Limit},
    job::{ErrorKind, JobError},
    manifest::{DirectoryIndex, Entry, EntryKind, Kind},
};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{FileType, Stat},
};
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Most bytes of one read.
pub(super) const READ_BYTES_MAX: u32 = 4 << 20;

/// An open file or directory, and what it is.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) source: Source,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) len: u64,
    pub(super) skipped: u64,
}

/// A file or directory that is read from its beginning to its end.
#[derive(Debug)]
pub(super) struct Source {
    /// Stream offset of the next read.
    at: u64,
    content: Content,
    /// What was read goes into memory that was used before: new memory costs more than the read.
    pool: Pool,
}

#[derive(Debug)]
enum Content {
    File(FileSource),
    Directory(Box<DirectorySource>),
}

/// What a file was when it was first looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) len: u64,
    pub(super) modified_unix: i64,
    pub(super) executable: bool,
    modified_nanos: i64,
    inode: u64,
}

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            len: u64::try_from(stat.st_size).unwrap_or(0),
            modified_unix: stat.st_mtime,
            executable: stat.st_mode & 0o100 != 0,
            modified_nanos: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
            inode: stat.st_ino,
        }
    }
}

/// Opens the file or directory at `path`.
pub(super) fn open(path: &Path) -> Result<Opened, JobError> {
    let opening = |error: io::Error| fault("opening", path, error);
    let usage = |what: &str| JobError::new(ErrorKind::Usage, format!("{} {what}", path.display()));
    if !path.is_absolute() {
        return Err(usage("is not an absolute path"));
    }
    let name = path.file_name().ok_or_else(|| usage("has no name of its own: name a file or a directory"))?;
    let name = name.to_str().ok_or_else(|| usage("has a name that is not UTF-8: rename it"))?.to_owned();
    let meta = std::fs::symlink_metadata(path).map_err(opening)?;
    if meta.is_symlink() {
        let target = std::fs::read_link(path).map_err(opening)?;
        return Err(usage(&format!("is a symbolic link: store its target, {}", target.display())));
    }
    if meta.is_dir() {
        return open_directory(path, name);
    }
    if !meta.is_file() {
        return Err(usage("is not a file or a directory: pipe it in, `pangea put -`"));
    }
    let file = beneath::open_file(rustix::fs::CWD, path).map_err(|error| fault("opening", path, error))?;
    let file = FileSource::new(file, path.to_owned(), None)?;
    let Stamp { len, modified_unix, executable, .. } = file.stamp;
    let source = Source { at: 0, content: Content::File(file), pool: Pool::default() };
    Ok(Opened { source, name, kind: Kind::File { executable, modified_unix }, len, skipped: 0 })
}

fn open_directory(path: &Path, name: String) -> Result<Opened, JobError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let root = beneath::open(parent).and_then(|parent| beneath::step(&parent, &name));
    let root = root.map_err(|error| fault("opening", path, error))?;
    let walk = walk(&root, path)?;
    let mut end = 0u64;
    let entry = |found: &Found| {
        let kind = match found.file {
            None => EntryKind::Directory,
            Some(Stamp { len, executable, modified_unix, .. }) => {
                let offset = end;
                end = end.saturating_add(len);
                EntryKind::File { offset, len, executable, modified_unix }
            }
        };
        Entry { path: found.path.clone(), kind }
    };
    let index = DirectoryIndex { entries: walk.found.iter().map(entry).collect() };
    let index = codec::encode(&index, Limit::Local).map_err(|error| {
        JobError::new(ErrorKind::Failed, format!("the index of {}: {error}: store it in parts", path.display()))
    })?;
    let index_len = index.len() as u64;
    let directory = DirectorySource {
        root,
        path: path.to_owned(),
        found: walk.found,
        next: 0,
        open: None,
        parent: None,
        index: index.into(),
    };
    let source = Source { at: 0, content: Content::Directory(Box::new(directory)), pool: Pool::default() };
    let len = end.saturating_add(index_len);
    Ok(Opened { source, name, kind: Kind::Directory { index_len }, len, skipped: walk.skipped })
}

impl Source {
    /// Reads up to `len` bytes; fewer only at the end.
    pub(super) fn read(&mut self, offset: u64, len: u32) -> Result<Bytes, JobError> {
        if offset != self.at || len > READ_BYTES_MAX {
            return Err(misuse("a read out of order, or too long"));
        }
        let mut buffer = self.pool.take(len as usize);
        let into = &mut buffer.bytes[..len as usize];
        let read = match &mut self.content {
            Content::File(file) => file.read(into)?,
            Content::Directory(directory) => directory.read(into)?,
        };
        self.at += read as u64;
        Ok(buffer.freeze(read))
    }
}

/// A file, from its beginning to its end.
#[derive(Debug)]
struct FileSource {
    file: File,
    path: PathBuf,
    stamp: Stamp,
    at: u64,
}

impl FileSource {
    /// `expected` is what it was when its directory was walked.
    fn new(file: File, path: PathBuf, expected: Option<Stamp>) -> Result<Self, JobError> {
        let stat = rustix::fs::fstat(&file).map_err(|error| fault("reading", &path, error))?;
        let stamp = Stamp::of(&stat);
        if beneath::kind(&stat) != FileType::RegularFile || expected.is_some_and(|expected| expected != stamp) {
            return Err(changed(&path));
        }
        Ok(Self { file, path, stamp, at: 0 })
    }

    /// Fills `into`, except at the end; returns the bytes read.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, JobError> {
        let left = usize::try_from(self.stamp.len - self.at).unwrap_or(usize::MAX);
        let take = into.len().min(left);
        self.file.read_exact_at(&mut into[..take], self.at).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => changed(&self.path),
            _ => fault("reading", &self.path, error),
        })?;
        self.at += take as u64;
        if self.is_done() {
            let stat = rustix::fs::fstat(&self.file).map_err(|error| fault("reading", &self.path, error))?;
            if Stamp::of(&stat) != self.stamp {
                return Err(changed(&self.path));
            }
        }
        Ok(take)
    }

    fn is_done(&self) -> bool {
        self.at == self.stamp.len
    }
}

/// A directory's files, one after another, and then its index.
#[derive(Debug)]
struct DirectorySource {
    root: OwnedFd,
    path: PathBuf,
    found: Vec<Found>,
    /// The entry that is read, or will be next.
    next: usize,
    open: Option<FileSource>,
    /// The directory of the last file: most files have a sibling before them.
    parent: Option<(Vec<String>, OwnedFd)>,
    /// What is left of the encoded index.
    index: Bytes,
}

impl DirectorySource {
    /// Fills `into`, except at the end; returns the bytes read.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, JobError> {
        let mut read = 0;
        while read < into.len() {
            let Some(stamp) = self.found.get(self.next).map(|found| found.file) else {
                let take = (into.len() - read).min(self.index.len());
                into[read..read + take].copy_from_slice(&self.index.split_to(take));
                return Ok(read + take);
            };
            let Some(stamp) = stamp else {
                self.next += 1;
                continue;
            };
            let mut file = match self.open.take() {
                Some(file) => file,
                None => self.open_next(stamp)?,
            };
            read += file.read(&mut into[read..])?;
            if file.is_done() {
                self.next += 1;
            } else {
                self.open = Some(file);
            }
        }
        Ok(read)
    }

    fn open_next(&mut self, stamp: Stamp) -> Result<FileSource, JobError> {
        let path = &self.found[self.next].path;
        let shown = self.path.join(path.iter().collect::<PathBuf>());
        let (name, parents) = path.split_last().ok_or_else(|| misuse("an entry without a path"))?;
        if self.parent.as_ref().is_none_or(|(known, _)| known != parents) {
            let dir = beneath::descend(self.root.as_fd(), parents).map_err(|error| fault("opening", &shown, error))?;
            self.parent = Some((parents.to_vec(), dir));
        }
        let dir = self.parent.as_ref().map_or(&self.root, |(_, dir)| dir);
        let file = beneath::open_file(dir, name.as_str()).map_err(|error| fault("opening", &shown, error))?;
        FileSource::new(file, shown, Some(stamp))
    }
}
