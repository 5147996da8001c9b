//! Reading: a file as its bytes, a directory as its files' bytes and then its index.

use super::{misuse, tree::Tree};
use bytes::{Bytes, BytesMut};
use pangea_protocols::{
    codec::{self, Limit},
    job::{ErrorKind, JobError},
    manifest::{DirectoryIndex, Entry, EntryKind, Kind},
};
use std::{
    collections::BTreeMap,
    path::{Component, Path},
};

/// Most bytes of one read.
const READ_BYTES_MAX: u32 = 4 << 20;

/// What a source is.
pub(super) struct Opened {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) len: u64,
}

/// What is read from its beginning to its end.
pub(super) struct OpenSource {
    at: u64,
    /// What is left, in order.
    parts: Vec<Bytes>,
    /// The part that is read.
    part: usize,
}

impl OpenSource {
    pub(super) fn new(tree: &Tree, path: &Path) -> Result<(Self, Opened), JobError> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if let Some(bytes) = tree.file(path) {
            let kind = Kind::File { executable: false, modified_unix: 0 };
            let opened = Opened { name, kind, len: bytes.len() as u64 };
            return Ok((Self { at: 0, parts: vec![bytes.clone()], part: 0 }, opened));
        }
        if !tree.is_directory(path) {
            let message = format!("opening {}: No such file or directory (os error 2)", path.display());
            return Err(JobError::new(ErrorKind::NotFound, message));
        }
        let (mut parts, index) = walk(tree, path);
        let index = codec::encode(&index, Limit::Local)
            .map_err(|error| JobError::new(ErrorKind::Failed, format!("the index of {}: {error}", path.display())))?;
        let index_len = index.len() as u64;
        parts.push(index.into());
        let len = parts.iter().map(|part| part.len() as u64).sum();
        Ok((Self { at: 0, parts, part: 0 }, Opened { name, kind: Kind::Directory { index_len }, len }))
    }

    /// Reads up to `len` bytes; fewer only at the end.
    pub(super) fn read(&mut self, offset: u64, len: u32) -> Result<Bytes, JobError> {
        if offset != self.at || len > READ_BYTES_MAX {
            return Err(misuse("a read out of order, or too long"));
        }
        let len = len as usize;
        let mut read = BytesMut::new();
        while let Some(part) = self.parts.get_mut(self.part) {
            let taken = part.split_to((len - read.len()).min(part.len()));
            if part.is_empty() {
                self.part += 1;
            }
            if taken.len() == len {
                self.at += len as u64;
                return Ok(taken);
            }
            read.extend_from_slice(&taken);
            if read.len() == len {
                break;
            }
        }
        self.at += read.len() as u64;
        Ok(read.freeze())
    }
}

/// All files and empty directories, in ascending order of path, with the files' bytes.
fn walk(tree: &Tree, path: &Path) -> (Vec<Bytes>, DirectoryIndex) {
    let components = |full: &Path| -> Vec<String> {
        let below = full.strip_prefix(path).unwrap_or(full);
        below
            .components()
            .filter_map(|part| match part {
                Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
                _ => None,
            })
            .collect()
    };
    let mut found: BTreeMap<Vec<String>, Option<&Bytes>> = BTreeMap::new();
    found.extend(tree.directories_below(path).map(|directory| (components(directory), None)));
    found.extend(tree.below(path).map(|(file, bytes)| (components(file), Some(bytes))));
    let (mut parts, mut end) = (Vec::new(), 0);
    let mut entries = Vec::new();
    for (path, bytes) in found {
        let kind = match bytes {
            None => EntryKind::Directory,
            Some(bytes) => {
                let (offset, len) = (end, bytes.len() as u64);
                end += len;
                parts.push(bytes.clone());
                EntryKind::File { offset, len, executable: false, modified_unix: 0 }
            }
        };
        entries.push(Entry { path, kind });
    }
    (parts, DirectoryIndex { entries })
}
