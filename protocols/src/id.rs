//! How things are named: peers, content, shards, jobs and addresses.

use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

/// Why a name could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a libp2p peer id of an Ed25519 key.
    #[error("`{0}` is not an Ed25519 peer id (they start with 12D3KooW)")]
    PeerId(String),
    /// Not a CIDv1 of a BLAKE3 hash.
    #[error("`{0}` is not a Pangea content id (they start with bafkr4i)")]
    Cid(String),
    /// Not a BLAKE3 hash.
    #[error("`{0}` is not a hash of 64 hexadecimal digits")]
    Hash(String),
    /// Not a multiaddr, or too long.
    #[error("`{0}` is not a multiaddr such as /ip4/192.0.2.1/udp/4001/quic-v1")]
    Address(String),
}

/// A peer: its Ed25519 public key. Prints as the libp2p peer id, which is an identity hash of the same key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerId(pub [u8; 32]);

/// Identity multihash (0x00) of 36 bytes: protobuf PublicKey { type: Ed25519, data: 32 bytes }.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

impl PeerId {
    /// The bytes of the libp2p peer id: a multihash of the protobuf-encoded public key.
    pub fn to_multihash(self) -> [u8; 38] {
        let mut bytes = [0; 38];
        bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        bytes
    }

    /// Reads the bytes of a libp2p peer id; `None` for peers with other key types.
    pub fn from_multihash(bytes: &[u8]) -> Option<Self> {
        let key = bytes.strip_prefix(&PEER_ID_PREFIX)?;
        Some(Self(key.try_into().ok()?))
    }

    /// The last 6 characters of the printed form: enough to tell peers apart in a table.
    pub fn short(self) -> String {
        let full = self.to_string();
        full[full.len() - 6..].to_owned()
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.to_multihash()).into_string())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId(…{})", self.short())
    }
}

impl FromStr for PeerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0u8; 64];
        bs58::decode(text)
            .onto(&mut bytes[..])
            .ok()
            .and_then(|length| Self::from_multihash(&bytes[..length]))
            .ok_or_else(|| IdError::PeerId(text.chars().take(64).collect()))
    }
}

/// A BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The BLAKE3 hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl FromStr for Hash {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| IdError::Hash(text.chars().take(64).collect()))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({})", data_encoding::HEXLOWER.encode(&self.0[..6]))
    }
}

/// A stored object: the BLAKE3 hash of its root manifest block. Prints as a CIDv1 (raw codec, base32).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cid(pub Hash);

/// CID version 1, codec raw (0x55), multihash BLAKE3 (0x1e) of 32 bytes.
const CID_PREFIX: [u8; 4] = [0x01, 0x55, 0x1e, 0x20];

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 36];
        bytes[..4].copy_from_slice(&CID_PREFIX);
        bytes[4..].copy_from_slice(&self.0.0);
        let text = data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase();
        write!(f, "b{text}")
    }
}

impl FromStr for Cid {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError::Cid(text.chars().take(80).collect());
        let body = text.strip_prefix('b').filter(|body| body.len() == 58).ok_or_else(error)?;
        if body.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(error());
        }
        let bytes = data_encoding::BASE32_NOPAD.decode(body.to_ascii_uppercase().as_bytes()).map_err(|_| error())?;
        let hash = bytes.strip_prefix(&CID_PREFIX).and_then(|hash| hash.try_into().ok()).ok_or_else(error)?;
        Ok(Self(Hash(hash)))
    }
}

/// A shard: the `index`-th leaf under the Merkle root of its stripe. A replicated block is shard 0 of its own hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId {
    /// Merkle root over the hashes of all shards of the stripe.
    pub stripe: Hash,
    /// Position in the stripe: data shards first, then parity.
    pub index: u16,
}

impl ShardId {
    /// The name of a block that is replicated instead of sharded.
    pub fn block(hash: Hash) -> Self {
        Self { stripe: hash, index: 0 }
    }
}

/// One job (a put, a get, …) of this node. Never sent to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub u64);

/// A multiaddr in its text form, at most [`Address::BYTES_MAX`] bytes, without a trailing `/p2p/…`. Clones share it: what a
/// node knows of thousands of peers is mostly addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(Arc<str>);

impl Address {
    /// Longest address that is kept or accepted.
    pub const BYTES_MAX: usize = 160;

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The IP address in `/ip4/…` or `/ip6/…`; `None` for names and other transports.
    pub fn ip(&self) -> Option<IpAddr> {
        let mut parts = self.0.split('/').skip(1);
        match (parts.next()?, parts.next()?) {
            ("ip4", ip) => Some(IpAddr::V4(ip.parse().ok()?)),
            ("ip6", ip) => Some(IpAddr::V6(ip.parse().ok()?)),
            _ => None,
        }
    }
}

impl TryFrom<String> for Address {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        let fits = text.len() <= Self::BYTES_MAX;
        let graphic = text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits && graphic && text.starts_with('/') && !text.contains("/p2p/") {
            Ok(Self(text.into()))
        } else {
            Err(IdError::Address(text.chars().take(Self::BYTES_MAX).collect()))
        }
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.as_str().to_owned()
    }
}

impl FromStr for Address {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::try_from(text.to_owned())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
