//! What travels between two nodes: one frame per unidirectional stream.
//!
//! ```text
//! protocol u8 │ version u8 │ header_len u32 LE │ body_len u32 LE │ header (bincode) │ body (raw bytes) │ end of stream
//! ```
//!
//! Both lengths are checked against the limits below before anything is allocated. One module per protocol; each has
//! its page in `docs/protocols/`. A protocol or version that a node does not know is counted and dropped: peers learn
//! what the other speaks from the ALPN of the connection (`pangea/1`).

pub mod compute;
pub mod extension;
pub mod fetch;
pub mod have;
pub mod pex;
pub mod store;

use crate::codec::{self, CodecError, Limit};
use bytes::{BufMut, Bytes, BytesMut};

/// Bytes before the header.
pub const PRELUDE_BYTES: usize = 10;
/// Most bytes of a body: a shard of a 1 MiB frame with k = 1, or a manifest block, plus padding.
pub const BODY_BYTES_MAX: usize = (1 << 20) + (4 << 10);

/// A message to or from a peer, and the bulk bytes that belong to it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Frame {
    /// What is said.
    pub message: Message,
    /// Shard or block bytes; empty for most messages.
    pub body: Bytes,
}

/// The messages of all protocols. The variant decides the protocol number on the wire.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Message {
    /// Reserve, stream, verify, fsync, sign: `/pangea/store/1`.
    Store(store::Store),
    /// Shards and ranges of shards with proofs: `/pangea/fetch/1`.
    Fetch(fetch::Fetch),
    /// Which of these shards do you hold: `/pangea/have/1`.
    Have(have::Have),
    /// Peer exchange: `/pangea/pex/1`.
    Pex(pex::Pex),
    /// Tasks for other nodes: `/pangea/compute/1`.
    Compute(compute::Compute),
    /// What extensions say to each other: `/pangea/x/NAME/1`.
    Extension(extension::Extension),
}

/// Why a frame was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Fewer bytes than the frame announces.
    #[error("frame ends early")]
    Truncated,
    /// More bytes than the frame announces.
    #[error("bytes follow the frame")]
    Trailing,
    /// A length over its limit.
    #[error("frame announces {bytes} bytes where {limit} are allowed")]
    TooLong { bytes: usize, limit: usize },
    /// A protocol number or version this node does not speak.
    #[error("unknown protocol {protocol} version {version}")]
    Unknown { protocol: u8, version: u8 },
    /// The header is not a message of its protocol.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The message breaks a rule of its protocol.
    #[error("invalid message: {0}")]
    Invalid(&'static str),
}

const STORE: u8 = 1;
const FETCH: u8 = 2;
const HAVE: u8 = 3;
const PEX: u8 = 4;
const COMPUTE: u8 = 5;
const EXTENSION: u8 = 6;
const VERSION: u8 = 1;

/// The first [`PRELUDE_BYTES`] of a stream, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prelude {
    /// Protocol number.
    pub protocol: u8,
    /// Bytes of the header, at most 64 KiB.
    pub header_len: usize,
    /// Bytes of the body, at most [`BODY_BYTES_MAX`]; of an extension's, [`extension::PAYLOAD_BYTES_MAX`].
    pub body_len: usize,
}

impl Prelude {
    /// Reads and checks the prelude; call this before allocating for header or body.
    ///
    /// # Errors
    /// Unknown protocol or version, or a length over its limit.
    pub fn read(bytes: &[u8; PRELUDE_BYTES]) -> Result<Self, WireError> {
        let [protocol, version, h0, h1, h2, h3, b0, b1, b2, b3] = *bytes;
        if !(STORE..=EXTENSION).contains(&protocol) || version != VERSION {
            return Err(WireError::Unknown { protocol, version });
        }
        let header_len = u32::from_le_bytes([h0, h1, h2, h3]) as usize;
        let body_len = u32::from_le_bytes([b0, b1, b2, b3]) as usize;
        for (bytes, limit) in [(header_len, Limit::Message.bytes()), (body_len, body_bytes_max(protocol))] {
            if bytes > limit {
                return Err(WireError::TooLong { bytes, limit });
            }
        }
        Ok(Self { protocol, header_len, body_len })
    }
}

/// Most bytes of a body: strangers' extensions get less.
fn body_bytes_max(protocol: u8) -> usize {
    if protocol == EXTENSION { extension::PAYLOAD_BYTES_MAX } else { BODY_BYTES_MAX }
}

impl Message {
    /// Reads a header of `prelude.protocol`.
    ///
    /// # Errors
    /// Malformed bytes, or a list longer than its protocol allows.
    pub fn read(prelude: &Prelude, header: &[u8]) -> Result<Self, WireError> {
        let message = match prelude.protocol {
            STORE => Self::Store(codec::decode(header, Limit::Message)?),
            FETCH => Self::Fetch(codec::decode(header, Limit::Message)?),
            HAVE => Self::Have(codec::decode(header, Limit::Message)?),
            PEX => Self::Pex(codec::decode(header, Limit::Message)?),
            COMPUTE => Self::Compute(codec::decode(header, Limit::Message)?),
            EXTENSION => Self::Extension(codec::decode(header, Limit::Message)?),
            protocol => return Err(WireError::Unknown { protocol, version: VERSION }),
        };
        message.check()?;
        Ok(message)
    }

    /// The rules that the types cannot say: how many items a list may have.
    fn check(&self) -> Result<(), WireError> {
        let fits = match self {
            Self::Store(message) => message.fits(),
            Self::Fetch(message) => message.fits(),
            Self::Have(message) => message.fits(),
            Self::Pex(message) => message.fits(),
            Self::Compute(message) => message.fits(),
            // A name that is none does not read, see `extension::Name`.
            Self::Extension(extension::Extension::Message { .. }) => true,
        };
        if fits {
            Ok(())
        } else {
            Err(WireError::Invalid("a list, or a number of parts, is longer than its protocol allows"))
        }
    }
}

impl Frame {
    /// A message without a body.
    pub fn bare(message: Message) -> Self {
        Self { message, body: Bytes::new() }
    }

    /// Prelude and header as one buffer; the body follows it on the stream, uncopied.
    ///
    /// # Errors
    /// A header or body over its limit: a bug of the sender, never of the peer.
    pub fn head(&self) -> Result<Bytes, WireError> {
        self.message.check()?;
        let (protocol, header) = match &self.message {
            Message::Store(message) => (STORE, codec::encode(message, Limit::Message)?),
            Message::Fetch(message) => (FETCH, codec::encode(message, Limit::Message)?),
            Message::Have(message) => (HAVE, codec::encode(message, Limit::Message)?),
            Message::Pex(message) => (PEX, codec::encode(message, Limit::Message)?),
            Message::Compute(message) => (COMPUTE, codec::encode(message, Limit::Message)?),
            Message::Extension(message) => (EXTENSION, codec::encode(message, Limit::Message)?),
        };
        let limit = body_bytes_max(protocol);
        let too_long = WireError::TooLong { bytes: self.body.len(), limit };
        if self.body.len() > limit {
            return Err(too_long);
        }
        let mut bytes = BytesMut::with_capacity(PRELUDE_BYTES + header.len());
        bytes.put_u8(protocol);
        bytes.put_u8(VERSION);
        bytes.put_u32_le(u32::try_from(header.len()).map_err(|_| too_long.clone())?);
        bytes.put_u32_le(u32::try_from(self.body.len()).map_err(|_| too_long)?);
        bytes.extend_from_slice(&header);
        Ok(bytes.freeze())
    }

    /// Reads a whole frame from one buffer.
    ///
    /// # Errors
    /// See [`WireError`]; never panics, never allocates more than the buffer holds.
    pub fn read(bytes: &Bytes) -> Result<Self, WireError> {
        let prelude: &[u8; PRELUDE_BYTES] = bytes.first_chunk().ok_or(WireError::Truncated)?;
        let prelude = Prelude::read(prelude)?;
        let body_at = PRELUDE_BYTES + prelude.header_len;
        match bytes.len().cmp(&(body_at + prelude.body_len)) {
            std::cmp::Ordering::Less => return Err(WireError::Truncated),
            std::cmp::Ordering::Greater => return Err(WireError::Trailing),
            std::cmp::Ordering::Equal => {}
        }
        let message = Message::read(&prelude, &bytes[PRELUDE_BYTES..body_at])?;
        Ok(Self { message, body: bytes.slice(body_at..) })
    }
}
