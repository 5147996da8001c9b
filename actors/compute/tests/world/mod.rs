//! Nodes and a plain job for tests of the cores by themselves. Not here: any test.

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use pangea_compute::api::Spec;
use pangea_protocols::{PeerId, receipt_job::Verification, task::Limits};

/// The key of a node.
pub fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

/// Its name.
pub fn peer(n: u8) -> PeerId {
    PeerId(key(n).verifying_key().to_bytes())
}

/// A job of so many chunks, neither split nor merged.
pub fn spec(chunks: u32, verification: Verification) -> Spec {
    Spec {
        nonce: [1; 16],
        module: Bytes::from_static(b"module"),
        chunks,
        limits: Limits::default(),
        verification,
        split: false,
        merge: false,
        priority: 0,
        timeout: None,
        depth: 0,
        passed_on: None,
    }
}
