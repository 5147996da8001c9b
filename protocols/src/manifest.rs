//! How an object is described.
//!
//! An object is a sequence of 1 MiB frames. Each frame is compressed, encrypted and cut into a **stripe** of k data
//! and m parity shards; a [`StripeRecord`] describes it. Records are kept in the root block if they are few, else in a
//! fan-out tree of replicated blocks. The **root block** is signed by its owner; its BLAKE3 hash is the object's CID.
//!
//! Everything here is readable without the read key: it is what a repairer needs. Names, directory layout and exact
//! content length are inside `private`, which only the read key opens (`actors/ces`).

use crate::{
    codec::{self, CodecError, Limit},
    id::{Address, Cid, Hash, PeerId, ShardId},
};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

/// Version of the manifest format.
pub const VERSION: u8 = 2;
/// Plaintext bytes of a full frame.
pub const FRAME_BYTES: usize = 1 << 20;
/// Bytes by which sealing makes a frame longer: a nonce of 24 in front of the ciphertext, a tag of 16 behind it.
pub const SEAL_BYTES: usize = 40;
/// Ciphertext up to this many bytes is kept in the root block: no shards at all.
pub const INLINE_BYTES_MAX: usize = 64 << 10;
/// Most stripe records in the root block, and in one leaf block.
pub const RECORDS_MAX: usize = 512;
/// Most children of an inner block.
pub const CHILDREN_MAX: usize = 1024;
/// Most levels of the tree: 512 × 1024 × 1024 stripes of 1 MiB are 512 TiB.
pub const HEIGHT_MAX: u8 = 3;
/// Most shards of a stripe.
pub const SHARDS_MAX: usize = 255;
/// Most holders that are named in a manifest.
pub const HOLDERS_MAX: usize = 255;
/// Most bytes of the encrypted private part.
pub const PRIVATE_BYTES_MAX: usize = 8 << 10;

/// How a frame was compressed. Recorded as a number so that codecs can be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Codec {
    /// All bytes are zero: there is no ciphertext and there are no shards.
    Zero = 0,
    /// Not compressed.
    Store = 1,
    /// LZ4 block format.
    Lz4 = 2,
    /// Brotli (RFC 7932).
    Brotli = 3,
}

/// Which erasure code made the parity. Recorded as a number so that codes can be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Erasure {
    /// Reed–Solomon over GF(2^16), the layout of reed-solomon-16.
    ReedSolomon16 = 0,
}

/// One stripe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StripeRecord {
    /// How the frame was compressed.
    pub codec: Codec,
    /// Plaintext bytes, 1 to [`FRAME_BYTES`].
    pub raw_len: u32,
    /// Sealed bytes: nonce, ciphertext and tag ([`SEAL_BYTES`] more than the compressed frame); 0 for [`Codec::Zero`].
    pub ct_len: u32,
    /// Bytes of every shard, a multiple of 64; 0 for [`Codec::Zero`].
    pub shard_len: u32,
    /// Merkle root over the shard hashes; zero for [`Codec::Zero`].
    pub root: Hash,
    /// For each of the k + m shards, the index in [`RootBody::holders`] of the peer that signed for it when the object
    /// was sealed, or [`NO_HOLDER`]. A hint: repair moves shards, and the have protocol finds them.
    pub placement: Vec<u8>,
}

/// No peer held this shard when the object was sealed.
pub const NO_HOLDER: u8 = 255;

/// Where the content is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// No bytes.
    Empty,
    /// One frame, small enough to be here.
    Inline { codec: Codec, raw_len: u32, ciphertext: Vec<u8> },
    /// All stripe records.
    Stripes(Vec<StripeRecord>),
    /// A tree of blocks: `height` 0 means that the children are leaf blocks.
    Tree { height: u8, stripes: u64, children: Vec<Hash> },
}

/// A block of the tree below the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    /// Stripe records, [`RECORDS_MAX`] in every leaf but the last.
    Leaf(Vec<StripeRecord>),
    /// Hashes of blocks one level down, [`CHILDREN_MAX`] in every inner block but the last.
    Inner(Vec<Hash>),
}

/// Somebody who held something when the object was sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Who.
    pub peer: PeerId,
    /// Where the owner reached it, so that a reader need not search for it first. A hint.
    pub address: Option<Address>,
}

/// What the owner signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootBody {
    /// [`VERSION`].
    pub version: u8,
    /// The erasure code.
    pub erasure: Erasure,
    /// Data shards per stripe.
    pub k: u8,
    /// Parity shards per stripe.
    pub m: u8,
    /// Random name of the object for key derivation and AAD; unlike the CID it is known before the first frame.
    pub object: [u8; 16],
    /// Frames plus index, in plaintext bytes.
    pub raw_len: u64,
    /// Where they are.
    pub content: Content,
    /// Peers that held something when the object was sealed.
    pub holders: Vec<Holder>,
    /// Encrypted [`Private`].
    pub private: Vec<u8>,
    /// The owner: an Ed25519 public key.
    pub owner: PeerId,
    /// When it was sealed, seconds since 1970.
    pub sealed_unix: u64,
}

/// The part of a manifest that only the read key opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Private {
    /// File or directory name, one path component; empty for standard input.
    pub name: String,
    /// What the content is.
    pub kind: Kind,
}

/// File or directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The content is the file.
    File { executable: bool, modified_unix: i64 },
    /// The content is the files, one after another, and then `index_len` bytes that encode a [`DirectoryIndex`].
    Directory { index_len: u64 },
}

/// The table at the end of a directory object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryIndex {
    /// Files and empty directories in ascending order of path.
    pub entries: Vec<Entry>,
}

/// One file or empty directory of a directory object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Components, never empty, never `.` or `..`, without separators: names are data.
    pub path: Vec<String>,
    /// File or directory.
    pub kind: EntryKind,
}

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// `len` bytes at `offset` of the content.
    File { offset: u64, len: u64, executable: bool, modified_unix: i64 },
    /// A directory without entries.
    Directory,
}

/// Why a manifest block was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not the encoding of a block.
    #[error("manifest block: {0}")]
    Codec(#[from] CodecError),
    /// The signature is not the owner's.
    #[error("manifest is not signed by its owner")]
    Signature,
    /// The block's hash is not the one asked for.
    #[error("manifest block has the wrong hash")]
    Hash,
    /// A field contradicts another or a limit.
    #[error("manifest is invalid: {0}")]
    Invalid(&'static str),
}

/// A root block: its body as signed bytes, so that the signature never depends on re-encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SignedRoot {
    body: Vec<u8>,
    signature: Vec<u8>,
}

const DOMAIN: &[u8] = b"pangea manifest 1\0";

/// Signs `body` and returns the root block and the object's CID.
///
/// # Errors
/// [`CodecError::TooLong`] if the block is over 256 KiB.
pub fn seal(body: &RootBody, key: &SigningKey) -> Result<(Cid, Vec<u8>), ManifestError> {
    body.check()?;
    let bytes = codec::encode(body, Limit::Block)?;
    let signature = key.sign(&[DOMAIN, &bytes].concat()).to_bytes().to_vec();
    let block = codec::encode(&SignedRoot { body: bytes, signature }, Limit::Block)?;
    Ok((Cid(Hash::of(&block)), block))
}

/// Reads a root block and checks hash, signature and limits.
///
/// # Errors
/// See [`ManifestError`].
pub fn open(cid: Cid, block: &[u8]) -> Result<RootBody, ManifestError> {
    if Hash::of(block) != cid.0 {
        return Err(ManifestError::Hash);
    }
    let signed: SignedRoot = codec::decode(block, Limit::Block)?;
    let body: RootBody = codec::decode(&signed.body, Limit::Block)?;
    let key = VerifyingKey::from_bytes(&body.owner.0).map_err(|_| ManifestError::Signature)?;
    let signature = Signature::from_slice(&signed.signature).map_err(|_| ManifestError::Signature)?;
    key.verify_strict(&[DOMAIN, &signed.body].concat(), &signature).map_err(|_| ManifestError::Signature)?;
    body.check()?;
    Ok(body)
}

/// Encodes a tree block.
///
/// # Errors
/// [`CodecError::TooLong`].
pub fn encode_node(node: &Node) -> Result<Vec<u8>, ManifestError> {
    Ok(codec::encode(node, Limit::Block)?)
}

/// Reads a tree block and checks its hash and limits; `shards` is k + m of the object.
///
/// # Errors
/// See [`ManifestError`].
pub fn open_node(hash: Hash, block: &[u8], shards: usize) -> Result<Node, ManifestError> {
    if Hash::of(block) != hash {
        return Err(ManifestError::Hash);
    }
    let node: Node = codec::decode(block, Limit::Block)?;
    match &node {
        Node::Leaf(records) => check_records(records, shards)?,
        Node::Inner(children) if children.is_empty() || children.len() > CHILDREN_MAX => {
            return Err(ManifestError::Invalid("inner block with no or too many children"));
        }
        Node::Inner(_) => {}
    }
    Ok(node)
}

impl RootBody {
    /// Shards per stripe.
    pub fn shards(&self) -> usize {
        usize::from(self.k) + usize::from(self.m)
    }

    /// Stripes of the object.
    pub fn stripes(&self) -> u64 {
        self.raw_len.div_ceil(FRAME_BYTES as u64)
    }

    fn check(&self) -> Result<(), ManifestError> {
        let invalid = |what| Err(ManifestError::Invalid(what));
        if self.version != VERSION {
            return invalid("another version of Pangea made this object: read it with that one and store it again");
        }
        if self.k == 0 || self.shards() > SHARDS_MAX {
            return invalid("k and m out of range");
        }
        if self.holders.len() > HOLDERS_MAX || self.private.len() > PRIVATE_BYTES_MAX {
            return invalid("too many holders, or too long a private part");
        }
        match &self.content {
            Content::Empty if self.raw_len != 0 => invalid("empty content with a length"),
            Content::Empty => Ok(()),
            Content::Inline { raw_len, ciphertext, .. } => {
                let fits = u64::from(*raw_len) == self.raw_len
                    && (1..=FRAME_BYTES).contains(&(*raw_len as usize))
                    && ciphertext.len() <= INLINE_BYTES_MAX;
                if fits { Ok(()) } else { invalid("inline content out of range") }
            }
            Content::Stripes(records) => {
                check_records(records, self.shards())?;
                if records.len() as u64 == self.stripes() { Ok(()) } else { invalid("wrong number of stripes") }
            }
            Content::Tree { height, stripes, children } => {
                let capacity = (children.len() as u64)
                    .saturating_mul(RECORDS_MAX as u64)
                    .saturating_mul((CHILDREN_MAX as u64).saturating_pow(u32::from(*height)));
                let fits = *height <= HEIGHT_MAX
                    && (1..=CHILDREN_MAX).contains(&children.len())
                    && *stripes == self.stripes()
                    && *stripes <= capacity;
                if fits { Ok(()) } else { invalid("tree out of range") }
            }
        }
    }
}

fn check_records(records: &[StripeRecord], shards: usize) -> Result<(), ManifestError> {
    if records.is_empty() || records.len() > RECORDS_MAX {
        return Err(ManifestError::Invalid("block with no or too many stripes"));
    }
    for record in records {
        let raw = record.raw_len as usize;
        let lengths = match record.codec {
            Codec::Zero => record.ct_len == 0 && record.shard_len == 0 && record.placement.is_empty(),
            // A frame never grows: what does not compress is stored, plus nonce and tag.
            _ => {
                (SEAL_BYTES + 1..=raw + SEAL_BYTES).contains(&(record.ct_len as usize))
                    && record.shard_len.is_multiple_of(64)
                    && record.shard_len as usize <= FRAME_BYTES + 128
                    && record.shard_len > 0
                    && record.placement.len() == shards
            }
        };
        if !(1..=FRAME_BYTES).contains(&raw) || !lengths {
            return Err(ManifestError::Invalid("stripe lengths out of range"));
        }
    }
    Ok(())
}

impl StripeRecord {
    /// The name of shard `index` of this stripe.
    pub fn shard(&self, index: u16) -> ShardId {
        ShardId { stripe: self.root, index }
    }
}
