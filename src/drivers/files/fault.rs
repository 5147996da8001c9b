//! An operating system's error as one that the user can act on: what was tried with which file, and what to do.

use pangea_protocols::job::{ErrorKind, JobError};
use rustix::io::Errno;
use std::{io, path::Path};

/// What went wrong while `doing` something ("reading", "creating") with `path`.
pub(super) fn fault(doing: &str, path: &Path, error: impl Into<io::Error>) -> JobError {
    let error = error.into();
    let (kind, advice) = match Errno::from_io_error(&error) {
        Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => {
            (ErrorKind::Quota, ": free some space or choose another disk")
        }
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => (ErrorKind::Denied, ""),
        Some(Errno::LOOP | Errno::NOTDIR) => {
            (ErrorKind::Denied, ": a symbolic link or a file is in the way, and links are never followed")
        }
        Some(Errno::EXIST) => (ErrorKind::Denied, ": use --force to overwrite"),
        Some(Errno::NOENT) => (ErrorKind::NotFound, ""),
        _ => (ErrorKind::Failed, ""),
    };
    JobError::new(kind, format!("{doing} {}: {error}{advice}", path.display()))
}

/// A file that did not stay as it was.
pub(super) fn changed(path: &Path) -> JobError {
    let message = format!("{} changed while it was read: try again when nothing writes to it", path.display());
    JobError::new(ErrorKind::Failed, message)
}

/// Something is where the result should be.
pub(super) fn exists(path: &Path) -> JobError {
    JobError::new(ErrorKind::Denied, format!("{} exists: use --force to overwrite it", path.display()))
}

/// A command that its sender must not send: a bug of this node, said without a panic.
pub(super) fn misuse(what: &str) -> JobError {
    JobError::new(ErrorKind::Failed, format!("files driver: {what}; this is a bug in Pangea, please report it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_full_disk_is_a_quota_error() {
        let path = Path::new("/dev/full");
        let Ok(mut full) = std::fs::File::options().write(true).open(path) else { return };
        let error = fault("writing", path, full.write_all(b"x").unwrap_err());
        assert_eq!(error.kind, ErrorKind::Quota);
        assert!(error.message.contains("/dev/full") && error.message.contains("free some space"), "{error}");
    }

    #[test]
    fn the_kind_of_an_error_decides_the_exit_code() {
        for (errno, kind) in [
            (Errno::DQUOT, ErrorKind::Quota),
            (Errno::ACCESS, ErrorKind::Denied),
            (Errno::ROFS, ErrorKind::Denied),
            (Errno::LOOP, ErrorKind::Denied),
            (Errno::NOENT, ErrorKind::NotFound),
            (Errno::IO, ErrorKind::Failed),
        ] {
            assert_eq!(fault("reading", Path::new("/x"), errno).kind, kind, "{errno}");
        }
    }
}
