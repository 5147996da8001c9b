//! The shards of the test, and commands about them.

use crate::model::SHARDS;
use pangea_protocols::{
    Hash, PeerId, ShardId,
    disk::{Command, Meta, SHARD_OVERHEAD_BYTES},
    merkle::StripeProof,
    wire::store::ShardKind,
};

/// Bytes of the longest body.
const BODY_BYTES_MAX: u64 = 5000;

/// Stores shard `number`.
pub fn append(tag: u64, owner: PeerId, number: u64, expires_unix: u64) -> Command {
    let kind = if number.is_multiple_of(5) { ShardKind::Root } else { ShardKind::Data };
    let meta = Meta { owner, kind, expires_unix, proof: StripeProof::block() };
    Command::Append { tag, shard: shard(number), meta, body: body(number).into() }
}

/// Its name.
pub fn shard(number: u64) -> ShardId {
    ShardId { stripe: Hash([7; 32]), index: number as u16 }
}

/// The other way round.
pub fn number(shard: ShardId) -> u64 {
    u64::from(shard.index)
}

/// The bytes of a shard: all different, some short, some long.
pub fn body(number: u64) -> Vec<u8> {
    let mut body = vec![0; (number * number * 37 % BODY_BYTES_MAX) as usize];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut body);
    body
}

/// What it is answered with.
pub fn tag(command: &Command) -> u64 {
    match command {
        Command::Append { tag, .. }
        | Command::Read { tag, .. }
        | Command::Contains { tag, .. }
        | Command::Delete { tag, .. }
        | Command::Expire { tag, .. } => *tag,
    }
}

/// Most bytes by which usage may grow. A claim that is taken away leaves a record, like one that comes.
pub fn growth(command: &Command) -> u64 {
    match command {
        Command::Append { body, .. } => body.len() as u64 + SHARD_OVERHEAD_BYTES,
        Command::Delete { shards, .. } => shards.len() as u64 * SHARD_OVERHEAD_BYTES,
        _ => SHARDS * SHARD_OVERHEAD_BYTES,
    }
}
