//! What CES and the uploader tell each other about a stream that is being encoded.

use crate::{manifest::Codec, ticket::ReadKey};
use serde::{Deserialize, Serialize};

/// How hard to compress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// LZ4.
    Fast,
    /// Brotli quality 3.
    #[default]
    Balanced,
    /// Brotli quality 5.
    Small,
}

/// The end of an encoded stream: what the uploader needs to seal the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodedEnd {
    /// Stripes that were emitted (0 if the content is inline).
    pub stripes: u64,
    /// Plaintext bytes.
    pub raw_len: u64,
    /// Name of the object for key derivation.
    pub object: [u8; 16],
    /// The read key: for the owner's catalog, never sent.
    pub key: ReadKey,
    /// Encrypted private part.
    pub private: Vec<u8>,
    /// Plain name, for the owner's catalog.
    pub name: String,
    /// True for a directory.
    pub directory: bool,
    /// A single small frame that goes into the root block: codec and ciphertext.
    pub inline: Option<(Codec, Vec<u8>)>,
    /// Links and special files that were left out.
    pub skipped: u64,
}
