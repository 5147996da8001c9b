//! Writing a file: under a temporary name beside its target, then synced, then renamed.

use super::{
    beneath,
    fault::{exists, fault, misuse},
    names,
};
use pangea_protocols::{
    JobId,
    job::{ErrorKind, JobError},
};
use rustix::{
    fd::OwnedFd,
    fs::{FileType, Mode, RawMode, Timespec, Timestamps},
    io::Errno,
};
use std::{
    ffi::OsStr,
    fs::File,
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::{Path, PathBuf},
};

/// Where a result goes.
#[derive(Debug)]
pub(super) struct Target {
    /// The directory it will be in.
    pub(super) dir: OwnedFd,
    /// What it will be called there.
    pub(super) name: String,
    /// Both, for the user.
    pub(super) path: PathBuf,
    /// May it replace something?
    pub(super) overwrite: bool,
}

impl Target {
    /// `path` as the user gave it; `name` is the object's own. See the module's notes on paths.
    pub(super) fn new(path: &Path, name: &str, directory: bool, overwrite: bool) -> Result<Self, JobError> {
        let usage = |what: &str| JobError::new(ErrorKind::Usage, format!("{} {what}", path.display()));
        if !path.is_absolute() {
            return Err(usage("is not an absolute path"));
        }
        let inside = path.as_os_str().as_bytes().ends_with(b"/") || (!directory && path.is_dir());
        let (parent, name) = if inside {
            if name.is_empty() {
                return Err(usage("is a directory and the object has no name: name the file"));
            }
            names::check(name)?;
            (path, name.to_owned())
        } else {
            let text = path.file_name().and_then(OsStr::to_str);
            let name = text.ok_or_else(|| usage("does not end in a name that is text: name the result"))?;
            (path.parent().unwrap_or(Path::new("/")), name.to_owned())
        };
        let dir = beneath::open(parent).map_err(|error| fault("opening", parent, error))?;
        let path = parent.join(&name);
        Ok(Self { dir, name, path, overwrite })
    }

    /// What is there now; `None` if nothing is.
    pub(super) fn occupant(&self) -> Result<Option<FileType>, JobError> {
        let stat = beneath::stat(&self.dir, &self.name).map_err(|error| fault("looking at", &self.path, error))?;
        Ok(stat.map(|stat| beneath::kind(&stat)))
    }

    /// Says no if a file may not be put here.
    fn check_for_file(&self) -> Result<(), JobError> {
        match self.occupant()? {
            None => Ok(()),
            Some(_) if !self.overwrite => Err(exists(&self.path)),
            Some(FileType::Directory) => {
                let message = format!("{} is a directory: it is not replaced by a file", self.path.display());
                Err(JobError::new(ErrorKind::Denied, message))
            }
            Some(_) => Ok(()),
        }
    }
}

/// Makes unfinished work of a free name with `make`, stepping over what crashes left.
pub(super) fn make_part<T>(
    name: &str,
    job: JobId,
    make: impl Fn(&str) -> Result<T, Errno>,
) -> Result<(String, T), Errno> {
    for n in 0..names::PARTS_MAX {
        let part = names::part(name, job, n);
        match make(&part) {
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
            Ok(made) => return Ok((part, made)),
        }
    }
    Err(Errno::EXIST)
}

/// What a file becomes when it is whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finish {
    pub(super) executable: bool,
    pub(super) modified_unix: i64,
    pub(super) umask: RawMode,
}

impl Finish {
    /// Gives a whole file its mode and its time.
    pub(super) fn apply(self, file: &File) -> Result<(), Errno> {
        let mode = if self.executable { 0o777 } else { 0o666 } & !self.umask;
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
        let at = Timespec { tv_sec: self.modified_unix, tv_nsec: 0 };
        match rustix::fs::futimens(file, &Timestamps { last_access: at, last_modification: at }) {
            // A date that the file system cannot hold is no reason to lose the file.
            Err(Errno::INVAL | Errno::OVERFLOW) => Ok(()),
            other => other,
        }
    }
}

/// A file that is written.
#[derive(Debug)]
pub(super) struct FileSink {
    target: Target,
    part: String,
    file: File,
    finish: Finish,
    start: u64,
    at: u64,
    done: bool,
}

impl FileSink {
    /// Begins; `start` is the stream offset of the file's first byte.
    pub(super) fn new(target: Target, job: JobId, start: u64, finish: Finish) -> Result<Self, JobError> {
        target.check_for_file()?;
        let made = make_part(&target.name, job, |part| beneath::create_file(&target.dir, part));
        let (part, file) = made.map_err(|error| fault("creating", &target.path, error))?;
        Ok(Self { target, part, file, finish, start, at: start, done: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.target.path
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), JobError> {
        if offset != self.at {
            return Err(misuse("a write out of order"));
        }
        let written = self.file.write_all_at(bytes, self.at - self.start);
        written.map_err(|error| fault("writing", &self.target.path, error))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Syncs and renames. What is at the target now decides, not what was when the job began.
    pub(super) fn finish(&mut self) -> Result<(), JobError> {
        let failed = |error: Errno| fault("finishing", &self.target.path, error);
        self.finish.apply(&self.file).map_err(failed)?;
        self.file.sync_all().map_err(|error| fault("finishing", &self.target.path, error))?;
        let Target { dir, name, overwrite, .. } = &self.target;
        if *overwrite {
            self.target.check_for_file()?;
            rustix::fs::renameat(dir, self.part.as_str(), dir, name.as_str()).map_err(failed)?;
        } else {
            match beneath::rename_new(dir, &self.part, dir, name) {
                Err(Errno::EXIST) => return Err(exists(&self.target.path)),
                other => other.map_err(failed)?,
            }
        }
        self.done = true;
        rustix::fs::fsync(dir).map_err(failed)
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        if !self.done
            && let Err(error) = beneath::remove(&self.target.dir, &self.part)
        {
            tracing::warn!(file = %self.target.path.display(), part = self.part, %error, "unfinished file remains");
        }
    }
}

/// The process's umask. Linux tells it; elsewhere it can only be read by changing it for a moment.
pub(super) fn umask() -> RawMode {
    let told = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
        RawMode::from_str_radix(line.trim(), 8).ok()
    });
    told.unwrap_or_else(|| {
        let old = rustix::process::umask(Mode::from_raw_mode(0o077));
        rustix::process::umask(old);
        old.as_raw_mode()
    })
}
