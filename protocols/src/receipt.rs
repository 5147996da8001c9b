//! What a holder signs once shards are durable on its disk. An uploader that shows progress shows receipts.

use crate::{
    codec::{self, Limit},
    id::{PeerId, ShardId},
};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

/// Most shards under one signature.
pub const SHARDS_MAX: usize = 512;

/// A holder's signed word that it keeps these shards until the lease ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Who keeps them, and whose key signs.
    pub holder: PeerId,
    /// For whom.
    pub owner: PeerId,
    /// The shards, at most [`SHARDS_MAX`].
    pub shards: Vec<ShardId>,
    /// End of the lease, seconds since 1970.
    pub expires_unix: u64,
    /// Ed25519 over the fields above, with a domain prefix.
    pub signature: Vec<u8>,
}

const DOMAIN: &[u8] = b"pangea/store/1 receipt\0";

impl Receipt {
    /// Signs a receipt in the name of `key`'s peer.
    pub fn sign(key: &SigningKey, owner: PeerId, shards: Vec<ShardId>, expires_unix: u64) -> Self {
        let holder = PeerId(key.verifying_key().to_bytes());
        let mut receipt = Self { holder, owner, shards, expires_unix, signature: Vec::new() };
        receipt.signature = key.sign(&receipt.signed_bytes()).to_bytes().to_vec();
        receipt
    }

    /// True if `holder` signed exactly this.
    pub fn verify(&self) -> bool {
        let (Ok(key), Ok(signature)) =
            (VerifyingKey::from_bytes(&self.holder.0), Signature::from_slice(&self.signature))
        else {
            return false;
        };
        key.verify_strict(&self.signed_bytes(), &signature).is_ok()
    }

    pub(crate) fn fits(&self) -> bool {
        self.shards.len() <= SHARDS_MAX && self.signature.len() == 64
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        let fields = (self.holder, self.owner, &self.shards, self.expires_unix);
        // 512 shards of 34 bytes: far below the limit.
        bytes.extend(codec::encode(&fields, Limit::Message).unwrap_or_default());
        bytes
    }
}
