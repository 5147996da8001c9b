//! `/pangea/pex/1`: peer exchange. Every record is signed by the peer it describes, so a record can be passed on by
//! anyone and forged by no one.

use crate::{
    codec::{self, Limit},
    id::{Address, PeerId},
};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

/// Messages of peer exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pex {
    /// Ask for at most `max` records; carries the asker's own. With a `max` of 0, that is all, and there is no answer.
    Ask { max: u8, own: Option<PeerRecord> },
    /// Up to [`RECORDS_MAX`] records, the answerer's own among them.
    Peers { records: Vec<PeerRecord> },
}

/// Most records in one answer.
pub const RECORDS_MAX: usize = 32;
/// Most addresses in one record.
pub const ADDRESSES_MAX: usize = 8;

/// Where a peer can be reached, in its own words. A record never changes; clones share it, and what its signature is
/// worth is found out once for all of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PeerRecord(Arc<Signed>);

/// What a [`PeerRecord`] says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Signed {
    /// Whom it describes, and whose key signs it.
    pub peer: PeerId,
    /// Where it listens, at most [`ADDRESSES_MAX`].
    pub addresses: Vec<Address>,
    /// When it was made, seconds since 1970; a later record replaces an earlier one.
    pub issued_unix: u64,
    /// Ed25519 over the three fields above, with a domain prefix.
    pub signature: Vec<u8>,
    #[serde(skip)]
    verdict: OnceLock<bool>,
}

impl Deref for PeerRecord {
    type Target = Signed;

    fn deref(&self) -> &Signed {
        &self.0
    }
}

impl PartialEq for PeerRecord {
    fn eq(&self, other: &Self) -> bool {
        let parts = |record: &Self| (record.peer, record.issued_unix);
        Arc::ptr_eq(&self.0, &other.0)
            || (parts(self) == parts(other) && self.addresses == other.addresses && self.signature == other.signature)
    }
}

impl Eq for PeerRecord {}

const DOMAIN: &[u8] = b"pangea/pex/1 record\0";

impl PeerRecord {
    /// Makes and signs a record; addresses over the limit are left out.
    pub fn sign(key: &SigningKey, mut addresses: Vec<Address>, issued_unix: u64) -> Self {
        addresses.truncate(ADDRESSES_MAX);
        let peer = PeerId(key.verifying_key().to_bytes());
        let signature = key.sign(&signed_bytes(peer, &addresses, issued_unix)).to_bytes().to_vec();
        Self::new(peer, addresses, issued_unix, signature)
    }

    /// A record of these parts, which may be anybody's invention.
    pub fn new(peer: PeerId, addresses: Vec<Address>, issued_unix: u64, signature: Vec<u8>) -> Self {
        Self(Arc::new(Signed { peer, addresses, issued_unix, signature, verdict: OnceLock::new() }))
    }

    /// True if the record was signed by the peer it describes.
    pub fn verify(&self) -> bool {
        *self.verdict.get_or_init(|| {
            let key = VerifyingKey::from_bytes(&self.peer.0);
            let (Ok(key), Ok(signature)) = (key, Signature::from_slice(&self.signature)) else { return false };
            key.verify_strict(&signed_bytes(self.peer, &self.addresses, self.issued_unix), &signature).is_ok()
        })
    }
}

fn signed_bytes(peer: PeerId, addresses: &[Address], issued_unix: u64) -> Vec<u8> {
    let mut bytes = DOMAIN.to_vec();
    // A record holds at most 8 short addresses: its encoding is far below the limit.
    bytes.extend(codec::encode(&(peer, addresses, issued_unix), Limit::Message).unwrap_or_default());
    bytes
}

impl Pex {
    pub(super) fn fits(&self) -> bool {
        let record = |record: &PeerRecord| record.addresses.len() <= ADDRESSES_MAX && record.signature.len() == 64;
        match self {
            Self::Ask { own, .. } => own.as_ref().is_none_or(record),
            Self::Peers { records } => records.len() <= RECORDS_MAX && records.iter().all(record),
        }
    }
}
