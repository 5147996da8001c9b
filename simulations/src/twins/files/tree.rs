//! Paths and what is under them. A directory is there if it was made, or if something is below it.

use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    path::{Path, PathBuf},
};

/// A file system.
#[derive(Default)]
pub(super) struct Tree {
    files: BTreeMap<PathBuf, Bytes>,
    /// Those without anything below them.
    empty: BTreeSet<PathBuf>,
}

impl Tree {
    pub(super) fn put(&mut self, path: PathBuf, bytes: Bytes) {
        self.files.insert(path, bytes);
    }

    pub(super) fn make_directory(&mut self, path: PathBuf) {
        self.empty.insert(path);
    }

    pub(super) fn file(&self, path: &Path) -> Option<&Bytes> {
        self.files.get(path)
    }

    pub(super) fn is_directory(&self, path: &Path) -> bool {
        self.below(path).next().is_some() || self.directories_below(path).next().is_some() || self.empty.contains(path)
    }

    pub(super) fn is_there(&self, path: &Path) -> bool {
        self.files.contains_key(path) || self.is_directory(path)
    }

    pub(super) fn remove(&mut self, path: &Path) {
        self.files.retain(|file, _| !file.starts_with(path));
        self.empty.retain(|directory| !directory.starts_with(path));
    }

    /// Files below a directory, in ascending order of their components.
    pub(super) fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = (&'a PathBuf, &'a Bytes)> {
        let after = (Bound::Excluded(path.to_owned()), Bound::Unbounded);
        self.files.range(after).take_while(move |(file, _)| file.starts_with(path))
    }

    /// Empty directories below one, likewise.
    pub(super) fn directories_below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a PathBuf> {
        let after = (Bound::Excluded(path.to_owned()), Bound::Unbounded);
        let below = self.empty.range(after).take_while(move |directory| directory.starts_with(path));
        below.filter(|directory| self.below(directory).next().is_none())
    }
}
