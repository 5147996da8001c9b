//! Reading a directory: all files and empty directories below it, in ascending order of path.
//!
//! Links and special files are left out and counted. What cannot be read, or has a name that is not text, is an error
//! that names it: a copy that silently lacks a file is worse than none.

use super::{
    beneath,
    fault::fault,
    names::{DEPTH_MAX, ENTRIES_MAX},
    source::Stamp,
};
use pangea_protocols::job::{ErrorKind, JobError};
use rustix::{
    fd::OwnedFd,
    fs::{Access, AtFlags, Dir, FileType},
};
use std::path::{Path, PathBuf};

/// What a directory contains.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Files and empty directories, in ascending order of path.
    pub(super) found: Vec<Found>,
    /// Links and special files that were left out.
    pub(super) skipped: u64,
}

/// A file, or an empty directory.
#[derive(Debug)]
pub(super) struct Found {
    /// Components below the root.
    pub(super) path: Vec<String>,
    /// `None` for a directory.
    pub(super) file: Option<Stamp>,
}

/// Walks the directory at `root`, which is called `shown` in errors.
pub(super) fn walk(root: &OwnedFd, shown: &Path) -> Result<Walk, JobError> {
    let mut walk = Walk::default();
    descend(root, shown, &mut Vec::new(), &mut walk)?;
    Ok(walk)
}

fn descend(dir: &OwnedFd, shown: &Path, path: &mut Vec<String>, walk: &mut Walk) -> Result<(), JobError> {
    if path.len() >= DEPTH_MAX {
        let message = format!("{} is more than {DEPTH_MAX} directories deep", shown.display());
        return Err(JobError::new(ErrorKind::Failed, message));
    }
    let before = walk.found.len();
    for name in names(dir, shown)? {
        let shown = shown.join(&name);
        let stat = beneath::stat(dir, &name).map_err(|error| fault("reading", &shown, error))?;
        // An entry that has gone since the directory was read was not there.
        let Some(stat) = stat else { continue };
        path.push(name.clone());
        match beneath::kind(&stat) {
            FileType::Directory => {
                let inside = beneath::step(dir, &name).map_err(|error| fault("opening", &shown, error))?;
                descend(&inside, &shown, path, walk)?;
            }
            FileType::RegularFile => {
                let readable = rustix::fs::accessat(dir, name.as_str(), Access::READ_OK, AtFlags::empty());
                readable.map_err(|error| fault("reading", &shown, error))?;
                walk.found.push(Found { path: path.clone(), file: Some(Stamp::of(&stat)) });
            }
            _ => walk.skipped += 1,
        }
        path.pop();
        if walk.found.len() > ENTRIES_MAX {
            let message = format!("{} has more than {ENTRIES_MAX} entries: store it in parts", shown.display());
            return Err(JobError::new(ErrorKind::Failed, message));
        }
    }
    if walk.found.len() == before && !path.is_empty() {
        walk.found.push(Found { path: path.clone(), file: None });
    }
    Ok(())
}

fn names(dir: &OwnedFd, shown: &Path) -> Result<Vec<String>, JobError> {
    let failed = |error| fault("reading", shown, error);
    let mut names = Vec::new();
    for entry in Dir::read_from(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Ok(text) = name.to_str() else {
            let path: PathBuf = shown.join(name.to_string_lossy().as_ref());
            let message = format!("{} has a name that is not UTF-8: rename it", path.display());
            return Err(JobError::new(ErrorKind::Failed, message));
        };
        if text != "." && text != ".." {
            names.push(text.to_owned());
        }
        if names.len() > ENTRIES_MAX {
            let message = format!("{} has more than {ENTRIES_MAX} entries: store it in parts", shown.display());
            return Err(JobError::new(ErrorKind::Failed, message));
        }
    }
    names.sort_unstable();
    Ok(names)
}
