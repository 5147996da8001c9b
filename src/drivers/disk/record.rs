//! The bytes of a segment: a header, then records, each with its own checksums. Nothing here touches a file.
//!
//! ```text
//! segment   "PANGSEG1" │ number u32 │ mark u64 │ zero [8] │ crc u32                                  32 bytes
//! record    "PGR1" │ mark u64 │ kind u8 │ zero u8 │ meta_len u16 │ body_len u32 │ payload_crc u32 │ head_crc u32
//!           meta (bincode) │ body                                                         28 bytes before meta
//! ```
//! Integers are little endian, checksums are CRC-32. The mark is random per segment and never leaves the disk: when a
//! damaged stretch is searched for the next record, a record that a peer has hidden inside a shard cannot be found.

use super::entry::Claim;
use pangea_protocols::{
    ShardId,
    codec::{self, CodecError, Limit},
    merkle::StripeProof,
    wire::BODY_BYTES_MAX,
};
use serde::{Deserialize, Serialize};

/// Bytes before the first record.
pub const SEGMENT_HEADER_BYTES: usize = 32;
/// Bytes of a record before its meta data.
pub const HEADER_BYTES: usize = 28;
/// Bytes by which a record of a segment is recognised: magic and mark.
pub const SIGN_BYTES: usize = 12;

const SEGMENT_MAGIC: [u8; 8] = *b"PANGSEG1";
const RECORD_MAGIC: [u8; 4] = *b"PGR1";

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Meta {
    /// A shard; its bytes are the body.
    Put { shard: ShardId, claims: Vec<Claim>, proof: StripeProof },
    /// These owners hold the shard now. No body.
    Claims { shard: ShardId, claims: Vec<Claim> },
    /// Nobody holds the shard any more. No body.
    Gone { shard: ShardId },
}

impl Meta {
    /// Which shard it speaks of.
    pub fn shard(&self) -> ShardId {
        match self {
            Self::Put { shard, .. } | Self::Claims { shard, .. } | Self::Gone { shard } => *shard,
        }
    }

    /// The bytes of the record before its body.
    ///
    /// # Errors
    /// Meta data over 64 KiB: a bug, as claims and proofs are bounded.
    pub fn encode(&self, mark: u64, body: &[u8]) -> Result<Vec<u8>, CodecError> {
        let meta = codec::encode(self, Limit::Message)?;
        let too_long = |bytes| CodecError::TooLong { bytes, limit: usize::from(u16::MAX) };
        let meta_len = u16::try_from(meta.len()).map_err(|_| too_long(meta.len()))?;
        let body_len = u32::try_from(body.len()).map_err(|_| too_long(body.len()))?;
        let mut payload_crc = crc32fast::Hasher::new();
        payload_crc.update(&meta);
        payload_crc.update(body);
        let mut bytes = Vec::with_capacity(HEADER_BYTES + meta.len());
        bytes.extend_from_slice(&sign(mark));
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&meta_len.to_le_bytes());
        bytes.extend_from_slice(&body_len.to_le_bytes());
        bytes.extend_from_slice(&payload_crc.finalize().to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes.extend_from_slice(&meta);
        Ok(bytes)
    }
}

/// How every record of a segment begins.
pub fn sign(mark: u64) -> [u8; SIGN_BYTES] {
    let mut bytes = [0; SIGN_BYTES];
    bytes[..4].copy_from_slice(&RECORD_MAGIC);
    bytes[4..].copy_from_slice(&mark.to_le_bytes());
    bytes
}

/// The fixed part of a record, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The segment's mark.
    pub mark: u64,
    meta_len: usize,
    body_len: usize,
    payload_crc: u32,
}

impl Header {
    /// Reads a header; `None` if these bytes are none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let known = bytes[..4] == RECORD_MAGIC && u32_at(24) == crc32fast::hash(&bytes[..24]);
        let header = Self {
            mark: u64::from(u32_at(4)) | u64::from(u32_at(8)) << 32,
            meta_len: usize::from(u16::from_le_bytes([bytes[14], bytes[15]])),
            body_len: u32_at(16) as usize,
            payload_crc: u32_at(20),
        };
        (known && header.body_len <= BODY_BYTES_MAX).then_some(header)
    }

    /// Bytes after the header.
    pub fn payload_len(&self) -> usize {
        self.meta_len + self.body_len
    }

    /// Bytes of the whole record.
    pub fn record_len(&self) -> usize {
        HEADER_BYTES + self.payload_len()
    }

    /// Reads the meta data from the payload and says where the body begins; `None` if the checksum does not match.
    pub fn open(&self, payload: &[u8]) -> Option<(Meta, usize)> {
        let whole = payload.len() == self.payload_len() && crc32fast::hash(payload) == self.payload_crc;
        let meta = if whole { codec::decode(&payload[..self.meta_len], Limit::Message).ok() } else { None };
        meta.map(|meta| (meta, self.meta_len))
    }
}

/// The first bytes of segment `number`.
pub fn segment_header(number: u32, mark: u64) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
    bytes[8..12].copy_from_slice(&number.to_le_bytes());
    bytes[12..20].copy_from_slice(&mark.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The mark in a segment's header; `None` if it is damaged.
pub fn read_segment_header(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Option<u64> {
    let crc = u32::from_le_bytes([bytes[28], bytes[29], bytes[30], bytes[31]]);
    let mark = <[u8; 8]>::try_from(&bytes[12..20]).ok()?;
    (bytes[..8] == SEGMENT_MAGIC && crc == crc32fast::hash(&bytes[..28])).then(|| u64::from_le_bytes(mark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_protocols::{Hash, PeerId, wire::store::ShardKind};

    fn put() -> Meta {
        let claim = Claim { owner: PeerId([7; 32]), kind: ShardKind::Data, expires_unix: 1_800_000_000 };
        Meta::Put { shard: ShardId::block(Hash([9; 32])), claims: vec![claim], proof: StripeProof::block() }
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let mut bytes = put().encode(42, b"body").unwrap();
        bytes.extend_from_slice(b"body");
        let header = Header::read(&bytes).unwrap();
        assert_eq!((header.mark, header.record_len()), (42, bytes.len()));
        let (meta, at) = header.open(&bytes[HEADER_BYTES..]).unwrap();
        assert_eq!(meta, put());
        assert_eq!(&bytes[HEADER_BYTES + at..], b"body");
    }

    #[test]
    fn no_flipped_bit_passes() {
        let mut bytes = put().encode(42, b"body").unwrap();
        bytes.extend_from_slice(b"body");
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let opened = Header::read(&damaged).and_then(|header| header.open(&damaged[HEADER_BYTES..]));
            assert_eq!(opened, None, "bit {bit}");
        }
    }

    #[test]
    fn the_bytes_of_a_record_and_of_a_segment_header_are_fixed() {
        let gone = Meta::Gone { shard: ShardId { stripe: Hash([1; 32]), index: 3 } };
        let hex = data_encoding::HEXLOWER.encode(&gone.encode(0x0102_0304_0506_0708, b"").unwrap());
        let shard = "01".repeat(32);
        assert_eq!(&hex[..40], "5047523108070605040302010000220000000000");
        assert_eq!(hex[56..], format!("02{shard}03"));
        let header = segment_header(7, 0x0102_0304_0506_0708);
        assert_eq!(
            &data_encoding::HEXLOWER.encode(&header)[..40],
            "50414e475345473107000000080706050403020 1".replace(' ', "")
        );
        assert_eq!(read_segment_header(&header), Some(0x0102_0304_0506_0708));
    }
}
