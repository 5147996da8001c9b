//! What is remembered of a peer.
use pangea_protocols::PeerId;
use serde::{Deserialize, Serialize};
/// Skeleton.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub peer: PeerId,
}
