//! Directories by descriptor: every step is one component and follows no symbolic link, so nothing that others do to a
//! tree while a job runs can lead a read or a write out of it.

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat},
    io::{Errno, Result},
};
use std::{fs::File, os::fd::BorrowedFd, path::Path};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens a directory that the user named. Links in the user's own path are the user's business.
pub(super) fn open(path: &Path) -> Result<OwnedFd> {
    rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())
}

/// One step down.
pub(super) fn step(dir: impl AsFd, name: &str) -> Result<OwnedFd> {
    rustix::fs::openat(dir, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
}

/// Several steps down.
pub(super) fn descend(root: BorrowedFd<'_>, parts: &[String]) -> Result<OwnedFd> {
    let mut dir = root.try_clone_to_owned().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    for name in parts {
        dir = step(&dir, name)?;
    }
    Ok(dir)
}

/// Several steps down, making what is missing (mode 0777 less the umask).
pub(super) fn descend_making(root: BorrowedFd<'_>, parts: &[String]) -> Result<OwnedFd> {
    let mut dir = descend(root, &[])?;
    for name in parts {
        match rustix::fs::mkdirat(&dir, name.as_str(), Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => dir = step(&dir, name)?,
            Err(error) => return Err(error),
        }
    }
    Ok(dir)
}

/// Opens a file for reading, without waiting for a writer if it has become a pipe.
pub(super) fn open_file(dir: impl AsFd, name: impl rustix::path::Arg) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    Ok(File::from(rustix::fs::openat(dir, name, flags, Mode::empty())?))
}

/// Makes a file that was not there, readable by its owner only.
pub(super) fn create_file(dir: impl AsFd, name: &str) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(File::from(rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600))?))
}

/// What is called `name`, a link itself and not what it points to; `None` if nothing is.
pub(super) fn stat(dir: impl AsFd, name: &str) -> Result<Option<Stat>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The kind of a directory entry or file.
pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Gives `from` the name `to` in another directory, unless something has it already: then `EXIST`.
pub(super) fn rename_new(from_dir: impl AsFd, from: &str, to_dir: impl AsFd, to: &str) -> Result<()> {
    #[cfg(target_os = "linux")]
    {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(from_dir.as_fd(), from, to_dir.as_fd(), to, flags) {
            Err(Errno::INVAL | Errno::NOSYS) => {}
            other => return other,
        }
    }
    // The file system does not know that call. A hard link says the same for a file; a directory cannot replace
    // anything but an empty directory.
    match rustix::fs::linkat(from_dir.as_fd(), from, to_dir.as_fd(), to, AtFlags::empty()) {
        Ok(()) => rustix::fs::unlinkat(from_dir, from, AtFlags::empty()),
        Err(Errno::EXIST) => Err(Errno::EXIST),
        Err(_) if stat(&to_dir, to)?.is_some() => Err(Errno::EXIST),
        Err(_) => rustix::fs::renameat(from_dir, from, to_dir, to),
    }
}

/// Removes a file, or a directory with all below it; links are removed, never followed. Nothing there is fine.
pub(super) fn remove(dir: impl AsFd, name: &str) -> Result<()> {
    match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let inside = step(&dir, name)?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&inside)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().to_str()
            && name != "."
            && name != ".."
        {
            names.push(name.to_owned());
        }
    }
    for name in names {
        remove(&inside, &name)?;
    }
    rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)
}
