//! Objects made by hand: shards of known bytes, stripe trees, manifest trees of any height, a signed root.

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use pangea_protocols::{
    Address, Cid, Hash, PeerId, ShardId,
    manifest::{
        self, CHILDREN_MAX, Codec, Content, Erasure, FRAME_BYTES, Holder, Node, RECORDS_MAX, RootBody, StripeRecord,
        VERSION,
    },
    merkle::{StripeProof, StripeTree},
};
use std::collections::BTreeMap;

/// What a holder keeps: bytes and proof by name.
pub type Shelf = BTreeMap<ShardId, (Bytes, StripeProof)>;

/// How an object is made.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub k: u8,
    pub m: u8,
    pub stripes: u64,
    pub shard_len: u32,
    /// `None`: all records in the root. `Some(height)`: a tree.
    pub height: Option<u8>,
    /// Every `zero_every`-th stripe is a zero frame; 0 for none.
    pub zero_every: u64,
    pub holders: u8,
}

impl Default for Plan {
    fn default() -> Self {
        Self { k: 4, m: 2, stripes: 3, shard_len: 256, height: None, zero_every: 0, holders: 6 }
    }
}

/// An object and where its parts are.
pub struct Object {
    pub plan: Plan,
    pub cid: Cid,
    pub root: RootBody,
    pub records: Vec<StripeRecord>,
    /// Root block and tree blocks.
    pub blocks: Shelf,
    /// What each holder has; blocks are at the first three.
    pub shelves: BTreeMap<PeerId, Shelf>,
}

/// The `n`-th peer of every test.
pub fn peer(n: u8) -> PeerId {
    PeerId([n; 32])
}

/// Where a peer is.
pub fn place(peer: PeerId) -> Address {
    format!("/ip4/192.0.2.{}/udp/4411/quic-v1", peer.0[0]).parse().unwrap()
}

/// The bytes of one shard.
pub fn shard_bytes(stripe: u64, shard: u16, len: u32) -> Bytes {
    let seed = Hash::of(&[stripe.to_le_bytes().as_slice(), &shard.to_le_bytes()].concat());
    seed.0.iter().copied().cycle().take(len as usize).collect::<Vec<u8>>().into()
}

impl Object {
    /// Shard i of stripe s is at holder (s + i) mod holders.
    pub fn new(plan: Plan) -> Self {
        let names: Vec<PeerId> = (1..=plan.holders).map(peer).collect();
        let mut shelves: BTreeMap<PeerId, Shelf> = names.iter().map(|name| (*name, Shelf::new())).collect();
        let mut blocks = Shelf::new();
        let records: Vec<_> = (0..plan.stripes).map(|index| stripe(&plan, index, &names, &mut shelves)).collect();
        let content = match plan.height {
            None => Content::Stripes(records.clone()),
            Some(height) => tree(height, &records, &mut blocks),
        };
        let owner = SigningKey::from_bytes(&[9; 32]);
        let root = RootBody {
            version: VERSION,
            erasure: Erasure::ReedSolomon16,
            k: plan.k,
            m: plan.m,
            object: [7; 16],
            raw_len: plan.stripes * FRAME_BYTES as u64,
            content,
            holders: names.iter().map(|peer| Holder { peer: *peer, address: Some(place(*peer)) }).collect(),
            private: vec![1, 2, 3],
            owner: PeerId(owner.verifying_key().to_bytes()),
            sealed_unix: 0,
        };
        let (cid, block) = manifest::seal(&root, &owner).unwrap();
        blocks.insert(ShardId::block(cid.0), (block.into(), StripeProof::block()));
        for name in names.iter().take(3) {
            shelves.get_mut(name).unwrap().extend(blocks.clone());
        }
        Self { plan, cid, root, records, blocks, shelves }
    }

    /// Signs the root again after it was changed; the first three holders have it.
    pub fn reseal(&mut self) {
        let (cid, block) = manifest::seal(&self.root, &SigningKey::from_bytes(&[9; 32])).unwrap();
        self.cid = cid;
        let block = (Bytes::from(block), StripeProof::block());
        let shelves = self.shelves.values_mut().take(3);
        shelves.for_each(|shelf| _ = shelf.insert(ShardId::block(cid.0), block.clone()));
    }

    /// Panics unless these are k or more different true shards of stripe `index`.
    pub fn check(&self, index: u64, record: &StripeRecord, shards: &[(u16, Bytes)]) {
        assert_eq!(record, &self.records[usize::try_from(index).unwrap()]);
        if record.codec == Codec::Zero {
            return assert!(shards.is_empty());
        }
        assert!(shards.len() >= usize::from(self.plan.k), "stripe {index}: {} shards", shards.len());
        assert!(shards.windows(2).all(|pair| pair[0].0 < pair[1].0), "ascending, none twice");
        for (shard, body) in shards {
            assert_eq!(body, &shard_bytes(index, *shard, self.plan.shard_len), "stripe {index} shard {shard}");
        }
    }
}

fn stripe(plan: &Plan, index: u64, names: &[PeerId], shelves: &mut BTreeMap<PeerId, Shelf>) -> StripeRecord {
    let raw_len = FRAME_BYTES as u32;
    if plan.zero_every > 0 && index.is_multiple_of(plan.zero_every) {
        let root = Hash::default();
        return StripeRecord { codec: Codec::Zero, raw_len, ct_len: 0, shard_len: 0, root, placement: Vec::new() };
    }
    let n = u16::from(plan.k) + u16::from(plan.m);
    let bodies: Vec<Bytes> = (0..n).map(|shard| shard_bytes(index, shard, plan.shard_len)).collect();
    let merkle = StripeTree::new(bodies.iter().map(|body| Hash::of(body)).collect());
    let at = |shard: u16| (usize::try_from(index).unwrap() + usize::from(shard)) % names.len();
    for (shard, body) in (0..n).zip(bodies) {
        let id = ShardId { stripe: merkle.root(), index: shard };
        shelves.get_mut(&names[at(shard)]).unwrap().insert(id, (body, merkle.proof(shard)));
    }
    let placement = (0..n).map(|shard| u8::try_from(at(shard)).unwrap()).collect();
    let ct_len = u32::from(plan.k) * plan.shard_len;
    StripeRecord { codec: Codec::Store, raw_len, ct_len, shard_len: plan.shard_len, root: merkle.root(), placement }
}

fn tree(height: u8, records: &[StripeRecord], blocks: &mut Shelf) -> Content {
    let mut put = |node: &Node| {
        let block = manifest::encode_node(node).unwrap();
        let hash = Hash::of(&block);
        blocks.insert(ShardId::block(hash), (block.into(), StripeProof::block()));
        hash
    };
    let mut level: Vec<Hash> = records.chunks(RECORDS_MAX).map(|records| put(&Node::Leaf(records.to_vec()))).collect();
    for _ in 0..height {
        level = level.chunks(CHILDREN_MAX).map(|children| put(&Node::Inner(children.to_vec()))).collect();
    }
    Content::Tree { height, stripes: records.len() as u64, children: level }
}
