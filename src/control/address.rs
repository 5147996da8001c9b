//! Where the socket of a home directory is.
//!
//! It is `<home>/control.sock`. A Unix socket's name has at most 107 bytes; when the home directory's is longer, the
//! socket is `$XDG_RUNTIME_DIR/pangea-<hash of home>.sock`, and `<home>/control.path` holds that name, because a client
//! may have another `XDG_RUNTIME_DIR` (sudo, cron, a container).

use super::ControlError;
use std::{
    env,
    ffi::OsString,
    fs, io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

/// Longest name of a Unix socket: `sun_path` without its zero byte.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

const SOCKET: &str = "control.sock";
const RECORD: &str = "control.path";

/// The socket to listen on for `home`, which must exist. Writes or removes `<home>/control.path` as needed, so the
/// caller must hold the directory's lock.
///
/// # Errors
/// [`ControlError::PathTooLong`] if no name is short enough, [`ControlError::Io`].
pub fn to_serve(home: &Path) -> Result<PathBuf, ControlError> {
    to_serve_under(home, env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from))
}

fn to_serve_under(home: &Path, runtime_dir: Option<PathBuf>) -> Result<PathBuf, ControlError> {
    let (socket, record) = (home.join(SOCKET), home.join(RECORD));
    if fits(&socket) {
        return match fs::remove_file(&record) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ControlError::io("remove", record)(error)),
            _ => Ok(socket),
        };
    }
    let hash = blake3::hash(home.as_os_str().as_bytes()).to_hex();
    let other = runtime_dir.filter(|dir| dir.is_absolute()).map(|dir| dir.join(format!("pangea-{}.sock", &hash[..16])));
    let other = other.filter(|path| fits(path)).ok_or(ControlError::PathTooLong { path: socket })?;
    fs::write(&record, other.as_os_str().as_bytes()).map_err(ControlError::io("write", record))?;
    Ok(other)
}

/// The socket to connect to for `home`.
///
/// # Errors
/// [`ControlError::NoNode`] if a node cannot be listening there, [`ControlError::Denied`], [`ControlError::Io`].
pub fn to_connect(home: &Path) -> Result<PathBuf, ControlError> {
    let socket = home.join(SOCKET);
    if fits(&socket) {
        return Ok(socket);
    }
    let record = home.join(RECORD);
    match fs::read(&record) {
        Ok(bytes) => {
            let path = PathBuf::from(OsString::from_vec(bytes));
            if fits(&path) { Ok(path) } else { Err(ControlError::PathTooLong { path }) }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ControlError::NoNode { home: home.to_owned() }),
        Err(error) => Err(ControlError::io("read", record)(error)),
    }
}

fn fits(path: &Path) -> bool {
    path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_home(root: &Path) -> PathBuf {
        let home = root.join("a".repeat(120));
        fs::create_dir(&home).unwrap();
        home
    }

    #[test]
    fn the_socket_is_in_the_home_directory_when_its_name_is_short_enough() {
        let dir = tempfile::tempdir().unwrap();
        let socket = to_serve_under(dir.path(), None).unwrap();
        assert_eq!(socket, dir.path().join("control.sock"));
        assert_eq!(to_connect(dir.path()).unwrap(), socket);
    }

    #[test]
    fn a_long_home_has_its_socket_in_the_runtime_directory_and_clients_find_it_there() {
        let dir = tempfile::tempdir().unwrap();
        let home = long_home(dir.path());
        let socket = to_serve_under(&home, Some(dir.path().to_owned())).unwrap();
        assert!(socket.starts_with(dir.path()) && socket.as_os_str().len() <= SOCKET_PATH_BYTES_MAX);
        assert_eq!(to_connect(&home).unwrap(), socket);
    }

    #[test]
    fn a_long_home_without_a_runtime_directory_is_refused_with_advice() {
        let dir = tempfile::tempdir().unwrap();
        let home = long_home(dir.path());
        let error = to_serve_under(&home, None).unwrap_err();
        assert!(matches!(&error, ControlError::PathTooLong { .. }));
        assert!(error.to_string().contains("XDG_RUNTIME_DIR"));
        assert!(matches!(to_connect(&home), Err(ControlError::NoNode { .. })));
    }
}
