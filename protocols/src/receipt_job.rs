//! What hosts sign for when they compute, and the receipt of a whole job that anyone can check without a network.
//!
//! ```text
//! host    runs tasks ─► claims ─► leaf = H(job, place, outcome in hashes) ─► root of a batch ─► signature
//! owner                            draws which leaves are run again elsewhere, after it has the signature
//!         ─► JobReceipt: terms, results, every batch, hosts that lied, the secret of the draw ─► signature
//! ```
//! The draw is a function of a secret and of the leaf. The job's name commits to the secret, no host knows it while the
//! job runs, and the receipt reveals it: a third party can check that every leaf that was drawn has been confirmed.
//! A host that gives `b` wrong results, each drawn with probability `s`, is caught with P = 1 − (1 − s)^b.
//!
//! The hash of an input that the host has read from a stored object itself is one over the CID, the range of plaintext and
//! the place ([`crate::stored::StoredInput::hash`]): the owner has not read the bytes, and the CID commits to them.
//!
//! Not here: who runs what (`actors/compute`).

use crate::{
    codec::{self, Limit},
    id::{Hash, PeerId},
    merkle::StripeTree,
    task::{Limits, Receipt},
};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most claims of one batch: about 20 KiB.
pub const BATCH_MAX: usize = 128;

/// How results are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verification {
    /// Not at all: for hosts of one's own.
    None,
    /// Each result of a host is run again elsewhere with this probability, in thousandths.
    Audit { per_mille: u16 },
    /// Every chunk is run by so many hosts, which must agree.
    Quorum { hosts: u8 },
}

impl Default for Verification {
    /// One in ten.
    fn default() -> Self {
        Self::Audit { per_mille: 100 }
    }
}

/// A step of a job. Also the tag that tells a module which one it is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// One input becomes chunks.
    Split,
    /// A chunk becomes its output.
    Execute,
    /// All outputs become one.
    Merge,
}

/// One task of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Which step.
    pub stage: Stage,
    /// Which chunk; 0 for split and merge.
    pub index: u32,
}

/// What a job is. Its hash is the name of the job among nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Whose job it is, and whose key signs the receipt.
    pub owner: PeerId,
    /// Drawn once per job: two jobs with equal terms have different names.
    pub nonce: [u8; 16],
    /// BLAKE3 of the module.
    pub module: Hash,
    /// Of every task.
    pub limits: Limits,
    /// How results are checked.
    pub verification: Verification,
    /// The module cuts the input.
    pub split: bool,
    /// The module joins the outputs.
    pub merge: bool,
    /// BLAKE3 of the secret of the draw.
    pub draw: Hash,
}

impl Terms {
    /// The name of the job.
    pub fn name(&self) -> Hash {
        // Some hundred bytes: far below the limit.
        digest(b"pangea/compute/1 job\0", &codec::encode(self, Limit::Message).unwrap_or_default())
    }
}

/// What a host says came of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Which task.
    pub place: Place,
    /// Module, input, output and gas.
    pub receipt: Receipt,
}

impl Claim {
    /// The leaf that is signed for.
    pub fn leaf(&self, job: Hash) -> Hash {
        digest(b"pangea/compute/1 leaf\0", &codec::encode(&(job, self), Limit::Message).unwrap_or_default())
    }
}

/// Claims of one host under one signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Who signs.
    pub host: PeerId,
    /// 1 to [`BATCH_MAX`].
    pub claims: Vec<Claim>,
    /// Ed25519 over host, job, number of claims and Merkle root of their leaves, with a domain prefix.
    pub signature: Vec<u8>,
}

impl Batch {
    /// Signs claims in the name of `key`'s peer.
    pub fn sign(key: &SigningKey, job: Hash, claims: Vec<Claim>) -> Self {
        let host = PeerId(key.verifying_key().to_bytes());
        let mut batch = Self { host, claims, signature: Vec::new() };
        batch.signature = key.sign(&batch.signed_bytes(job)).to_bytes().to_vec();
        batch
    }

    /// True if `host` signed exactly this for `job`.
    pub fn verify(&self, job: Hash) -> bool {
        self.fits() && signed_by(self.host, &self.signed_bytes(job), &self.signature)
    }

    /// The Merkle root over the leaves.
    pub fn root(&self, job: Hash) -> Hash {
        root(self.claims.iter().map(|claim| claim.leaf(job)))
    }

    pub(crate) fn fits(&self) -> bool {
        (1..=BATCH_MAX).contains(&self.claims.len()) && self.signature.len() == 64
    }

    fn signed_bytes(&self, job: Hash) -> Vec<u8> {
        signed(b"pangea/compute/1 batch\0", &(self.host, job, self.claims.len() as u64, self.root(job)))
    }
}

/// Is this leaf of `host` to be run again? `secret` is the owner's; see the header.
pub fn is_drawn(secret: &[u8; 32], host: PeerId, leaf: Hash, per_mille: u16) -> bool {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(&host.0).update(&leaf.0);
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u128::from(u64::from_le_bytes(first)) * 1000 < u128::from(per_mille) << 64
}

/// What came of a whole job, signed by its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReceipt {
    /// What was asked for.
    pub terms: Terms,
    /// Its hash is in the terms.
    pub secret: [u8; 32],
    /// What was accepted, in the order of places.
    pub results: Vec<Claim>,
    /// All commitments of hosts, in the order in which they came.
    pub batches: Vec<Batch>,
    /// Hosts whose results were wrong. The owner's word: running their claims again shows it.
    pub banned: BTreeSet<PeerId>,
    /// When, seconds since 1970.
    pub ended_unix: u64,
    /// Ed25519 of the owner over all of the above, batches and results as Merkle roots, with a domain prefix.
    pub signature: Vec<u8>,
}

/// What a valid receipt says in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Results.
    pub results: u64,
    /// Results that two hosts or the owner itself vouch for.
    pub confirmed: u64,
    /// Claims in all batches.
    pub executions: u64,
}

/// Why a receipt proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The owner did not sign this.
    #[error("the job receipt is not signed by the owner of the job")]
    Signature,
    /// The secret is another than the one committed to.
    #[error("the audits were drawn with another secret than the job committed to")]
    Draw,
    /// A batch is not signed by its host.
    #[error("batch {0} is not signed by its host for this job")]
    Batch(usize),
    /// Results are missing, double or out of order, or of another module.
    #[error("the results are not those of one whole job")]
    Results,
    /// Nobody, or not enough hosts, claimed this result.
    #[error("{0:?} is confirmed by fewer hosts than the terms ask for")]
    Unconfirmed(Place),
}

impl JobReceipt {
    /// Signs what came of a job in the name of its owner.
    #[must_use]
    pub fn signed(mut self, key: &SigningKey) -> Self {
        self.signature = key.sign(&self.signed_bytes()).to_bytes().to_vec();
        self
    }

    /// The Merkle root over the results.
    pub fn root(&self) -> Hash {
        let job = self.terms.name();
        root(self.results.iter().map(|claim| claim.leaf(job)))
    }

    /// Checks everything that can be checked without running a task.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self) -> Result<Summary, ReceiptError> {
        let job = self.terms.name();
        if !signed_by(self.terms.owner, &self.signed_bytes(), &self.signature) {
            return Err(ReceiptError::Signature);
        }
        if Hash::of(&self.secret) != self.terms.draw {
            return Err(ReceiptError::Draw);
        }
        if let Some(wrong) = self.batches.iter().position(|batch| !batch.verify(job)) {
            return Err(ReceiptError::Batch(wrong));
        }
        self.check_results()?;
        let votes = self.votes(job);
        let mut confirmed = 0;
        for result in &self.results {
            let unconfirmed = ReceiptError::Unconfirmed(result.place);
            let leaf = result.leaf(job);
            let hosts = votes.get(&leaf).ok_or(unconfirmed)?;
            let enough = hosts.len() >= self.needed(hosts, leaf) || hosts.contains(&self.terms.owner);
            if !enough {
                return Err(unconfirmed);
            }
            confirmed += u64::from(hosts.len() > 1 || hosts.contains(&self.terms.owner));
        }
        let executions = self.batches.iter().map(|batch| batch.claims.len() as u64).sum();
        Ok(Summary { results: self.results.len() as u64, confirmed, executions })
    }

    /// Who claims a leaf, without those that lied.
    fn votes(&self, job: Hash) -> BTreeMap<Hash, BTreeSet<PeerId>> {
        let mut votes: BTreeMap<Hash, BTreeSet<PeerId>> = BTreeMap::new();
        for batch in self.batches.iter().filter(|batch| !self.banned.contains(&batch.host)) {
            for claim in &batch.claims {
                votes.entry(claim.leaf(job)).or_default().insert(batch.host);
            }
        }
        votes
    }

    fn needed(&self, hosts: &BTreeSet<PeerId>, leaf: Hash) -> usize {
        match self.terms.verification {
            Verification::None => 1,
            Verification::Audit { per_mille } => {
                1 + usize::from(hosts.iter().any(|host| is_drawn(&self.secret, *host, leaf, per_mille)))
            }
            Verification::Quorum { hosts } => usize::from(hosts),
        }
    }

    fn check_results(&self) -> Result<(), ReceiptError> {
        let (split, merge) = (usize::from(self.terms.split), usize::from(self.terms.merge));
        let chunks = self.results.len().checked_sub(split + merge).ok_or(ReceiptError::Results)?;
        let first = self.results.first().map(|claim| claim.receipt.pass_version);
        for (at, claim) in self.results.iter().enumerate() {
            let (stage, index) = match at {
                0 if self.terms.split => (Stage::Split, 0),
                at if at < split + chunks => (Stage::Execute, at - split),
                _ => (Stage::Merge, 0),
            };
            let fits = claim.place.stage == stage && usize::try_from(claim.place.index) == Ok(index);
            let ours = claim.receipt.module == self.terms.module && Some(claim.receipt.pass_version) == first;
            if !fits || !ours {
                return Err(ReceiptError::Results);
            }
        }
        Ok(())
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let job = self.terms.name();
        let batches = root(self.batches.iter().map(|batch| digest(&batch.root(job).0, &batch.signature)));
        // Banned hosts are at most those of a job, some hundred.
        signed(
            b"pangea/compute/1 receipt\0",
            &(job, self.secret, self.root(), batches, &self.banned, self.ended_unix, self.results.len() as u64),
        )
    }
}

/// The Merkle root over leaves; of none, the hash of nothing.
fn root(leaves: impl Iterator<Item = Hash>) -> Hash {
    let leaves: Vec<Hash> = leaves.collect();
    if leaves.is_empty() { Hash::of(&[]) } else { StripeTree::new(leaves).root() }
}

fn digest(domain: &[u8], bytes: &[u8]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(domain).update(bytes);
    Hash(*hasher.finalize().as_bytes())
}

fn signed<T: Serialize>(domain: &[u8], fields: &T) -> Vec<u8> {
    let mut bytes = domain.to_vec();
    bytes.extend(codec::encode(fields, Limit::Message).unwrap_or_default());
    bytes
}

fn signed_by(peer: PeerId, bytes: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (VerifyingKey::from_bytes(&peer.0), Signature::from_slice(signature)) else {
        return false;
    };
    key.verify_strict(bytes, &signature).is_ok()
}
