//! Bytes of messages: bincode 2, little endian, variable-length integers, always with a limit.
//!
//! The only module that names bincode. A limit is a type parameter of bincode's configuration, so the public
//! functions offer the sizes that Pangea uses as [`Limit`].

use serde::{Serialize, de::DeserializeOwned};

/// How many bytes a decoded value may claim. A length prefix beyond it is an error before any allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Headers of wire messages and small records: 64 KiB.
    Message,
    /// Manifest blocks: 256 KiB.
    Block,
    /// Directory indexes and flight-recorder files, read from local or already verified bytes: 256 MiB.
    Local,
}

/// Most bytes of an encoded wire message header.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Most bytes of an encoded manifest block.
pub const BLOCK_BYTES_MAX: usize = 256 << 10;
/// Most bytes of an encoded local record.
pub const LOCAL_BYTES_MAX: usize = 256 << 20;

impl Limit {
    /// The limit in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Message => MESSAGE_BYTES_MAX,
            Self::Block => BLOCK_BYTES_MAX,
            Self::Local => LOCAL_BYTES_MAX,
        }
    }
}

/// Why bytes could not be read, or a value not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The encoding is longer than its limit.
    #[error("message of {bytes} bytes is over its limit of {limit}")]
    TooLong { bytes: usize, limit: usize },
    /// The bytes are not an encoding of the expected type.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// The value was read, but bytes are left over.
    #[error("{0} bytes follow the message")]
    Trailing(usize),
}

/// Encodes `value`.
///
/// # Errors
/// [`CodecError::TooLong`] if the encoding is over `limit`.
pub fn encode<T: Serialize>(value: &T, limit: Limit) -> Result<Vec<u8>, CodecError> {
    let bytes = bincode::serde::encode_to_vec(value, bincode::config::standard())
        .map_err(|error| CodecError::Malformed(error.to_string()))?;
    if bytes.len() > limit.bytes() {
        return Err(CodecError::TooLong { bytes: bytes.len(), limit: limit.bytes() });
    }
    Ok(bytes)
}

/// Decodes a value that fills `bytes` exactly.
///
/// # Errors
/// Over the limit, malformed or trailing bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], limit: Limit) -> Result<T, CodecError> {
    if bytes.len() > limit.bytes() {
        return Err(CodecError::TooLong { bytes: bytes.len(), limit: limit.bytes() });
    }
    let standard = bincode::config::standard();
    let decoded = match limit {
        Limit::Message => bincode::serde::decode_from_slice(bytes, standard.with_limit::<MESSAGE_BYTES_MAX>()),
        Limit::Block => bincode::serde::decode_from_slice(bytes, standard.with_limit::<BLOCK_BYTES_MAX>()),
        Limit::Local => bincode::serde::decode_from_slice(bytes, standard.with_limit::<LOCAL_BYTES_MAX>()),
    };
    let (value, used) = decoded.map_err(|error| CodecError::Malformed(error.to_string()))?;
    if used != bytes.len() {
        return Err(CodecError::Trailing(bytes.len() - used));
    }
    Ok(value)
}
