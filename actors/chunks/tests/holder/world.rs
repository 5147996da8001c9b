//! A chunk store on a testbed, with an empty disk that says what the test says.

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use pangea_chunks::{
    ChunkStore, Config,
    api::{In, Out},
};
use pangea_kernel::testbed::Testbed;
use pangea_protocols::{
    Hash, PeerId, ShardId,
    disk::{Command, Event, Usage},
    merkle::{StripeProof, StripeTree},
    wire::{
        Frame, Message,
        fetch::{Fetch, Item},
        have::Have,
        store::{Refusal, ShardKind, Store},
    },
};

pub const ALICE: PeerId = PeerId([1; 32]);
pub const BOB: PeerId = PeerId([2; 32]);
pub const MIB: u64 = 1 << 20;

pub struct World {
    pub bed: Testbed<ChunkStore>,
    pub usage: Usage,
}

pub fn config() -> Config {
    Config { quota_bytes: 100 * MIB, maintenance_bytes: MIB, free_bytes_min: MIB, ..Config::default() }
}

impl World {
    pub fn new(config: Config) -> Self {
        let key = SigningKey::from_bytes(&[9; 32]);
        let mut world = Self {
            bed: Testbed::new(ChunkStore::new(key, config)),
            usage: Usage { shards: 0, disk_bytes: 4 * MIB, free_bytes: 1000 * MIB },
        };
        let out = world.disk(Event::Opened { usage: world.usage });
        assert!(matches!(out[..], [Out::Disk(Command::Expire { .. })]));
        world
    }

    pub fn disk(&mut self, event: Event) -> Vec<Out> {
        self.bed.send(In::Disk(event))
    }

    pub fn hear(&mut self, peer: PeerId, message: Message, body: impl Into<Bytes>) -> Vec<Out> {
        self.bed.send(In::Received { peer, frame: Frame { message, body: body.into() } })
    }

    pub fn store(&mut self, peer: PeerId, message: Store) -> Vec<Out> {
        self.hear(peer, Message::Store(message), Bytes::new())
    }

    pub fn reserve(&mut self, peer: PeerId, bytes: u64, shards: u32) -> Result<u64, Refusal> {
        let out = self.store(peer, Store::Reserve { request: 5, bytes, shards, lease_secs: 3600 });
        match said(&out)[..] {
            [(to, Message::Store(Store::Reserved { request: 5, grant, .. }))] if *to == peer => Ok(*grant),
            [(to, Message::Store(Store::Refused { request: 5, reason }))] if *to == peer => Err(*reason),
            _ => panic!("{out:?}"),
        }
    }

    pub fn put(&mut self, peer: PeerId, grant: u64, leaf: &Leaf) -> Vec<Out> {
        let put = Store::Put { grant, shard: leaf.shard, proof: leaf.proof.clone(), kind: leaf.kind };
        self.hear(peer, Message::Store(put), leaf.body.clone())
    }

    /// Puts and returns the tag under which the disk got it.
    pub fn put_tag(&mut self, peer: PeerId, grant: u64, leaf: &Leaf) -> u64 {
        let out = self.put(peer, grant, leaf);
        match &out[..] {
            [Out::Disk(Command::Append { tag, .. })] => *tag,
            _ => panic!("{out:?}"),
        }
    }

    pub fn appended(&mut self, tags: &[u64], bytes: u64) -> Vec<Out> {
        self.usage.disk_bytes += bytes;
        self.disk(Event::Appended { tags: tags.to_vec(), usage: self.usage })
    }

    pub fn get(&mut self, peer: PeerId, items: Vec<Item>) -> Vec<Out> {
        self.hear(peer, Message::Fetch(Fetch::Get { items }), Bytes::new())
    }

    pub fn want(&mut self, peer: PeerId, request: u64) -> Vec<Out> {
        self.hear(peer, Message::Have(Have::Want { request, shards: vec![leaf(1, 10).shard] }), Bytes::new())
    }
}

/// What was sent to whom.
pub fn said(out: &[Out]) -> Vec<(&PeerId, &Message)> {
    fn sent(out: &Out) -> Option<(&PeerId, &Message)> {
        match out {
            Out::Send { peer, frame, .. } => Some((peer, &frame.message)),
            _ => None,
        }
    }
    out.iter().filter_map(sent).collect()
}

/// The tags of reads that the disk got.
pub fn reads(out: &[Out]) -> Vec<u64> {
    let read = |out: &Out| match out {
        Out::Disk(Command::Read { tag, .. }) => Some(*tag),
        _ => None,
    };
    out.iter().filter_map(read).collect()
}

pub fn violations(out: &[Out]) -> usize {
    out.iter().filter(|out| matches!(out, Out::Violation { .. })).count()
}

#[derive(Clone)]
pub struct Leaf {
    pub shard: ShardId,
    pub proof: StripeProof,
    pub kind: ShardKind,
    pub body: Bytes,
}

/// Shard 1 of a stripe of three.
pub fn leaf(seed: u64, len: usize) -> Leaf {
    let mut body = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut body);
    let tree = StripeTree::new(vec![Hash([1; 32]), Hash::of(&body), Hash([3; 32])]);
    let shard = ShardId { stripe: tree.root(), index: 1 };
    Leaf { shard, proof: tree.proof(1), kind: ShardKind::Data, body: body.into() }
}

pub fn root(seed: u64, len: usize) -> Leaf {
    let body = leaf(seed, len).body;
    Leaf { shard: ShardId::block(Hash::of(&body)), proof: StripeProof::block(), kind: ShardKind::Root, body }
}

pub fn item(request: u64, leaf: &Leaf) -> Item {
    Item { request, shard: leaf.shard, range: None }
}
