//! One frame to one stripe, and back: compress, encrypt, shard, on one worker, without hand-over between the stages.
//!
//! A frame's ciphertext (`encrypt`) is cut into k data shards of [`shard_bytes`] bytes, zero-padded; parity follows;
//! the BLAKE3 hashes of all shards are the leaves of the stripe's tree. Not here: which frames are worked on when
//! (`encoder`, `decoder`), and proofs of received shards (`pangea_protocols::merkle`).

use crate::{
    api::{Profile, Stripe},
    compress,
    encrypt::{Keys, NONCE_BYTES, TAG_BYTES, frame_aad, frame_key, open_frame},
    erasure::shard_bytes,
    scratch::{Buffer, Scratch},
};
use bytes::Bytes;
use pangea_kernel::planted;
use pangea_protocols::{
    Hash,
    manifest::{Codec, FRAME_BYTES, SEAL_BYTES, SHARDS_MAX, StripeRecord},
    merkle::StripeTree,
    stored::FrameKey,
    ticket::ReadKey,
};
use serde::{Deserialize, Serialize};

/// Why a frame was not encoded or decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum FrameError {
    /// A frame is 1 byte to 1 MiB.
    #[error("a frame of {0} bytes is not 1 byte to 1 MiB")]
    Frame(usize),
    /// No such erasure code.
    #[error("{k} data and {m} parity shards are not a code")]
    Code { k: usize, m: usize },
    /// The record contradicts itself.
    #[error("the lengths in its record contradict each other")]
    Record,
    /// A shard has not the length in the record, or no place in the stripe.
    #[error("a shard of another length or position")]
    Shard,
    /// Not enough different shards.
    #[error("{have} of the {need} shards that are needed")]
    TooFew { have: usize, need: usize },
    /// Encrypted with another key, or changed.
    #[error("the ciphertext does not belong to this key and place")]
    Sealed,
    /// The plaintext is not what its codec says.
    #[error("the content does not decompress to its recorded length")]
    Decompress,
    /// The worker panicked over it: a bug, not the fault of the bytes.
    #[error("the worker failed over it; this is a bug of Pangea, worth a report")]
    Worker,
}

/// Which frame of which object, under which key.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The object's read key.
    pub key: &'a ReadKey,
    /// The object's name.
    pub object: &'a [u8; 16],
    /// Position of the frame.
    pub index: u64,
}

impl Place<'_> {
    fn sealed_index(self) -> u64 {
        sealed_index(self.index)
    }
}

/// The position as key and tag of the frame cover it.
fn sealed_index(index: u64) -> u64 {
    if planted!("frame-index-not-sealed") { 0 } else { index }
}

/// The same for whoever opens a frame and may not have the read key.
#[derive(Clone)]
pub struct Opening<'a> {
    /// Opens this frame.
    pub key: FrameKey,
    /// The object's name.
    pub object: &'a [u8; 16],
    /// Position of the frame.
    pub index: u64,
}

impl<'a> From<Place<'a>> for Opening<'a> {
    fn from(place: Place<'a>) -> Self {
        let Place { key, object, index } = place;
        Self { key: opening_key(key, object, index), object, index }
    }
}

/// What opens a frame.
pub fn opening_key(key: &ReadKey, object: &[u8; 16], index: u64) -> FrameKey {
    frame_key(key, object, sealed_index(index))
}

/// Encodes one frame of 1 byte to 1 MiB into k + m shards. All shards share one buffer of `scratch`.
///
/// # Errors
/// [`FrameError::Frame`] or [`FrameError::Code`].
pub fn encode_frame(
    scratch: &mut Scratch,
    place: Place<'_>,
    raw: &[u8],
    (k, m): (u8, u8),
    profile: Profile,
) -> Result<Stripe, FrameError> {
    let sealed = seal(scratch, place, raw, (k, m), profile)?;
    shard(scratch, sealed, (k, m))
}

/// Decodes one stripe from k or more verified shards; `shards` are (position, bytes).
///
/// # Errors
/// See [`FrameError`]; never panics, whatever the bytes.
pub fn decode_frame<'a>(
    scratch: &mut Scratch,
    place: impl Into<Opening<'a>>,
    record: &StripeRecord,
    (k, m): (u8, u8),
    shards: &[(u16, Bytes)],
) -> Result<Bytes, FrameError> {
    let (k, m) = code(k, m)?;
    let raw_len = check_raw(record.raw_len as usize)?;
    if record.codec == Codec::Zero {
        return Ok(zeros(scratch, raw_len));
    }
    let (ct_len, shard_len) = (record.ct_len as usize, record.shard_len as usize);
    if !(SEAL_BYTES + 1..=raw_len + SEAL_BYTES).contains(&ct_len) || shard_len != shard_bytes(ct_len, k) {
        return Err(FrameError::Record);
    }
    let mut places = vec![None; k + m];
    for (index, bytes) in shards {
        match places.get_mut(usize::from(*index)) {
            Some(place) if bytes.len() == shard_len => *place = Some(&bytes[..]),
            _ => return Err(FrameError::Shard),
        }
    }
    let mut sealed = std::mem::take(&mut scratch.sealed);
    sealed.resize((k * shard_len).max(sealed.len()), 0);
    let recovered = scratch.erasure.recover((k, m), shard_len, &places, &mut sealed[..k * shard_len]);
    let opened = recovered.and_then(|()| open(scratch, &place.into(), record.codec, raw_len, &mut sealed[..ct_len]));
    scratch.sealed = sealed;
    opened
}

/// Compresses and encrypts a frame that may go into the root block: codec and ciphertext.
///
/// # Errors
/// [`FrameError::Frame`].
pub fn encode_inline(
    scratch: &mut Scratch,
    place: Place<'_>,
    raw: &[u8],
    profile: Profile,
) -> Result<(Codec, Vec<u8>), FrameError> {
    let sealed = seal(scratch, place, raw, (1, 0), profile)?;
    Ok((sealed.codec, sealed.buffer.bytes[..sealed.ct_len].to_vec()))
}

/// Decodes a frame that was kept in the root block.
///
/// # Errors
/// See [`FrameError`].
pub fn decode_inline<'a>(
    scratch: &mut Scratch,
    place: impl Into<Opening<'a>>,
    codec: Codec,
    raw_len: u32,
    ciphertext: &[u8],
) -> Result<Bytes, FrameError> {
    let raw_len = check_raw(raw_len as usize)?;
    match codec {
        Codec::Zero if ciphertext.is_empty() => Ok(zeros(scratch, raw_len)),
        Codec::Zero => Err(FrameError::Record),
        _ => open(scratch, &place.into(), codec, raw_len, &mut ciphertext.to_vec()),
    }
}

/// A frame after encryption: the first `ct_len` bytes of a buffer that has room for all shards.
pub(crate) struct Sealed {
    pub(crate) codec: Codec,
    pub(crate) raw_len: u32,
    pub(crate) ct_len: usize,
    pub(crate) buffer: Buffer,
}

pub(crate) fn seal(
    scratch: &mut Scratch,
    place: Place<'_>,
    raw: &[u8],
    (k, m): (u8, u8),
    profile: Profile,
) -> Result<Sealed, FrameError> {
    let (k, m) = code(k, m)?;
    let raw_len = u32::try_from(check_raw(raw.len())?).map_err(|_| FrameError::Frame(raw.len()))?;
    let largest = shard_bytes(raw.len() + SEAL_BYTES, k) * (k + m);
    let room = NONCE_BYTES + compress::output_bytes(raw.len()) + TAG_BYTES;
    let mut buffer = scratch.pool.take(largest.max(room));
    // The compressor writes where the ciphertext will be: no copy between the stages.
    let (codec, len) = scratch.compressor.compress(raw, profile, &mut buffer.bytes[NONCE_BYTES..room - TAG_BYTES]);
    if codec == Codec::Zero {
        return Ok(Sealed { codec, raw_len, ct_len: 0, buffer });
    }
    let ct_len = len + SEAL_BYTES;
    let aad = frame_aad(place.object, place.sealed_index(), codec, raw_len);
    Keys::frame(place.key, place.object, place.sealed_index()).seal(&mut buffer.bytes[..ct_len], &aad)?;
    Ok(Sealed { codec, raw_len, ct_len, buffer })
}

pub(crate) fn shard(scratch: &mut Scratch, sealed: Sealed, (k, m): (u8, u8)) -> Result<Stripe, FrameError> {
    let (k, m) = code(k, m)?;
    let Sealed { codec, raw_len, ct_len, mut buffer } = sealed;
    let mut record =
        StripeRecord { codec, raw_len, ct_len: 0, shard_len: 0, root: Hash::default(), placement: Vec::new() };
    if codec == Codec::Zero {
        return Ok(Stripe { record, shards: Vec::new() });
    }
    let shard_len = shard_bytes(ct_len, k);
    let total = shard_len * (k + m);
    let late = planted!("padded-after-parity");
    if !late && !planted!("padding-not-cleared") {
        buffer.bytes[ct_len..k * shard_len].fill(0);
    }
    scratch.erasure.parity(k, m, shard_len, &mut buffer.bytes[..total])?;
    if late {
        buffer.bytes[ct_len..k * shard_len].fill(0);
    }
    let tree = StripeTree::new(buffer.bytes[..total].chunks_exact(shard_len).map(Hash::of).collect());
    let too_long = |_| FrameError::Frame(raw_len as usize);
    record.ct_len = u32::try_from(ct_len).map_err(too_long)?;
    record.shard_len = u32::try_from(shard_len).map_err(too_long)?;
    record.root = tree.root();
    let stripe = buffer.freeze(total);
    let proofs = (0..=u16::MAX).map(|index| tree.proof(index));
    let shards = (0..k + m).map(|n| stripe.slice(n * shard_len..(n + 1) * shard_len)).zip(proofs).collect();
    Ok(Stripe { record, shards })
}

fn open(
    scratch: &mut Scratch,
    place: &Opening<'_>,
    codec: Codec,
    raw_len: usize,
    sealed: &mut [u8],
) -> Result<Bytes, FrameError> {
    let raw = u32::try_from(raw_len).map_err(|_| FrameError::Frame(raw_len))?;
    let aad = frame_aad(place.object, sealed_index(place.index), codec, raw);
    let compressed = open_frame(&place.key, sealed, &aad)?;
    let mut buffer = scratch.pool.take(raw_len);
    compress::decompress(codec, compressed, &mut buffer.bytes[..raw_len])?;
    Ok(buffer.freeze(raw_len))
}

fn zeros(scratch: &Scratch, len: usize) -> Bytes {
    let mut buffer = scratch.pool.take(len);
    buffer.bytes[..len].fill(0);
    buffer.freeze(len)
}

fn code(k: u8, m: u8) -> Result<(usize, usize), FrameError> {
    let (k, m) = (usize::from(k), usize::from(m));
    if k == 0 || k + m > SHARDS_MAX { Err(FrameError::Code { k, m }) } else { Ok((k, m)) }
}

fn check_raw(len: usize) -> Result<usize, FrameError> {
    if (1..=FRAME_BYTES).contains(&len) { Ok(len) } else { Err(FrameError::Frame(len)) }
}
