//! [`Home`]: the directory of one node, and the lock that lets only one process use it.
//!
//! ```text
//! <home>/config.toml     settings (or $XDG_CONFIG_HOME/pangea/config.toml when no home is named)
//!       /identity.key    Ed25519 secret key, 0600
//!       /node.redb       peers and catalog, 0600: it holds read keys
//!       /shards/         what is kept for others
//!       /jobs/           what its user has had computed
//!       /flights/        the last events of actors that crashed
//!       /control.sock    control API
//!       /lock            held while a node runs
//! ```

use etcetera::BaseStrategy;
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Why a node's directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// No place to put it.
    #[error("no home directory: set PANGEA_HOME or use --home DIR")]
    Nowhere,
    /// The file system said no.
    #[error("cannot use {path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    /// Another node runs there.
    #[error("{path} is in use by another node{by}: stop it, or choose another directory with --home")]
    Locked { path: PathBuf, by: String },
    /// Others could read its secrets.
    #[error("{path} can be read by others (mode {mode:o}): run `chmod 700 {path}`")]
    Open { path: PathBuf, mode: u32 },
}

/// The directory of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    dir: PathBuf,
    config: PathBuf,
}

/// Holds the lock of a [`Home`] until dropped.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

impl Home {
    /// `named` comes from `--home` or `PANGEA_HOME`; without it the XDG directories are used.
    ///
    /// # Errors
    /// [`HomeError::Nowhere`] if neither exists.
    pub fn resolve(named: Option<PathBuf>) -> Result<Self, HomeError> {
        if let Some(dir) = named {
            let dir = std::path::absolute(&dir).map_err(|error| HomeError::Io { path: dir, error })?;
            return Ok(Self { config: dir.join("config.toml"), dir });
        }
        let base = etcetera::choose_base_strategy().map_err(|_| HomeError::Nowhere)?;
        Ok(Self { dir: base.data_dir().join("pangea"), config: base.config_dir().join("pangea").join("config.toml") })
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The settings file; it need not exist.
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// The secret key.
    pub fn identity_file(&self) -> PathBuf {
        self.dir.join("identity.key")
    }

    /// Peers and catalog.
    pub fn store_file(&self) -> PathBuf {
        self.dir.join("node.redb")
    }

    /// Shards of others.
    pub fn shards_dir(&self) -> PathBuf {
        self.dir.join("shards")
    }

    /// What the user has had computed.
    pub fn jobs_dir(&self) -> PathBuf {
        self.dir.join("jobs")
    }

    /// Flight recordings.
    pub fn flights_dir(&self) -> PathBuf {
        self.dir.join("flights")
    }

    /// True once `init` has run.
    pub fn is_initialised(&self) -> bool {
        self.identity_file().exists()
    }

    /// Makes the directory (0700), or checks that nobody else can read it.
    ///
    /// # Errors
    /// [`HomeError::Io`] or [`HomeError::Open`].
    pub fn create(&self) -> Result<(), HomeError> {
        let io = |error| HomeError::Io { path: self.dir.clone(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(io)?;
        let mode = fs::metadata(&self.dir).map_err(io)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(HomeError::Open { path: self.dir.clone(), mode });
        }
        Ok(())
    }

    /// True while a node runs in this directory, however little of it is left.
    pub fn is_in_use(&self) -> bool {
        File::open(self.dir.join("lock"))
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Takes the lock, which the kernel releases when the process ends, however it ends.
    ///
    /// # Errors
    /// [`HomeError::Locked`] if another process holds it.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        let path = self.dir.join("lock");
        let io = |error| HomeError::Io { path: path.clone(), error };
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&path).unwrap_or_default();
                let by = match holder.trim().parse::<u32>() {
                    Ok(pid) => format!(" (process {pid})"),
                    Err(_) => String::new(),
                };
                return Err(HomeError::Locked { path: self.dir.clone(), by });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        file.set_len(0).map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(HomeLock { _file: file })
    }
}
