//! [`Identity`]: the node's Ed25519 key, kept in a file that only its user can read.
//!
//! The file is one line of text, `pangea-ed25519:<base64 of the 32-byte secret>`, so that a person can back it up.

use crate::home::Home;
use ed25519_dalek::SigningKey;
use pangea_protocols::PeerId;
use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::PathBuf,
};
use zeroize::Zeroizing;

const PREFIX: &str = "pangea-ed25519:";
/// Longest identity file that is read.
const FILE_BYTES_MAX: u64 = 1024;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// `init` has not run.
    #[error("no identity in {0}: run `pangea init` first")]
    Missing(PathBuf),
    /// `init` has run already.
    #[error("{0} exists already: this node has an identity")]
    Exists(PathBuf),
    /// Others could read it.
    #[error("{path} can be read by others (mode {mode:o}): run `chmod 600 {path}`")]
    Open { path: PathBuf, mode: u32 },
    /// Not an identity.
    #[error("{0} is damaged: restore it from a backup; without it this node is a new peer")]
    Damaged(PathBuf),
    /// The file system said no.
    #[error("cannot use {path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    /// The operating system gives no randomness.
    #[error("the operating system gives no random numbers: {0}")]
    Entropy(getrandom::Error),
}

/// The node's key.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
}

impl Identity {
    /// From 32 secret bytes: for tests and simulations.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(secret) }
    }

    /// Makes a new identity and writes it to `home`, never over another.
    ///
    /// # Errors
    /// [`IdentityError::Exists`], [`IdentityError::Io`], [`IdentityError::Entropy`].
    pub fn create(home: &Home) -> Result<Self, IdentityError> {
        let path = home.identity_file();
        let secret = Zeroizing::new(entropy()?);
        let io = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => IdentityError::Exists(path.clone()),
            _ => IdentityError::Io { path: path.clone(), error },
        };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(io)?;
        let text = Zeroizing::new(format!("{PREFIX}{}\n", data_encoding::BASE64.encode(&*secret)));
        file.write_all(text.as_bytes()).map_err(io)?;
        file.sync_all().map_err(io)?;
        Ok(Self::from_secret(&secret))
    }

    /// Reads the identity of `home`.
    ///
    /// # Errors
    /// Missing, damaged, or readable by others.
    pub fn load(home: &Home) -> Result<Self, IdentityError> {
        let path = home.identity_file();
        let io = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => IdentityError::Missing(path.clone()),
            _ => IdentityError::Io { path: path.clone(), error },
        };
        let file = fs::File::open(&path).map_err(io)?;
        let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(IdentityError::Open { path, mode });
        }
        let mut text = Zeroizing::new(String::new());
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(io)?;
        let damaged = || IdentityError::Damaged(path.clone());
        let encoded = text.trim().strip_prefix(PREFIX).ok_or_else(damaged)?;
        let secret = Zeroizing::new(data_encoding::BASE64.decode(encoded.as_bytes()).map_err(|_| damaged())?);
        let secret: &[u8; 32] = secret.as_slice().try_into().map_err(|_| damaged())?;
        Ok(Self::from_secret(secret))
    }

    /// Who this is.
    pub fn peer(&self) -> PeerId {
        PeerId(self.key.verifying_key().to_bytes())
    }

    /// The key, for signing receipts, manifests and records.
    pub fn signing_key(&self) -> &SigningKey {
        &self.key
    }
}

/// 32 bytes of the operating system's entropy.
///
/// # Errors
/// [`IdentityError::Entropy`].
pub fn entropy() -> Result<[u8; 32], IdentityError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(IdentityError::Entropy)?;
    Ok(bytes)
}
