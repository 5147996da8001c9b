//! What a peer or a user may send instead of the right bytes: nothing panics, nothing is accepted for what it is not.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use pangea_protocols::{
    Hash, PeerId, ShardId,
    codec::{self, Limit},
    manifest::{self, Codec, Content, Erasure, Node, RootBody, StripeRecord},
    merkle::{GROUP_BYTES, ProofError, RangeProof, StripeTree, verify},
    receipt::Receipt,
    ticket::Ticket,
    wire::{
        BODY_BYTES_MAX, Frame, Message, PRELUDE_BYTES, Prelude, WireError,
        have::{Have, SHARDS_MAX},
        store::{ShardKind, Store},
    },
};
use proptest::prelude::*;

fn stripe(total: u16) -> (StripeTree, Vec<Vec<u8>>) {
    let shards: Vec<Vec<u8>> = (0..total).map(|n| vec![n as u8; 100 + usize::from(n)]).collect();
    (StripeTree::new(shards.iter().map(|shard| Hash::of(shard)).collect()), shards)
}

fn a_frame() -> Bytes {
    let (tree, shards) = stripe(20);
    let shard = ShardId { stripe: tree.root(), index: 7 };
    let message = Message::Store(Store::Put { grant: 1, shard, proof: tree.proof(7), kind: ShardKind::Data });
    let frame = Frame { message, body: Bytes::from(shards[7].clone()) };
    [frame.head().unwrap(), frame.body].concat().into()
}

#[test]
fn lengths_over_their_limits_are_refused_before_anything_is_read() {
    let prelude = |header: u32, body: u32| {
        let mut bytes = [0; PRELUDE_BYTES];
        bytes[..2].copy_from_slice(&[1, 1]);
        bytes[2..6].copy_from_slice(&header.to_le_bytes());
        bytes[6..].copy_from_slice(&body.to_le_bytes());
        Prelude::read(&bytes)
    };
    assert!(prelude(65_536, BODY_BYTES_MAX as u32).is_ok());
    assert!(matches!(prelude(65_537, 0), Err(WireError::TooLong { bytes: 65_537, .. })));
    assert!(matches!(prelude(0, BODY_BYTES_MAX as u32 + 1), Err(WireError::TooLong { .. })));
    assert!(matches!(prelude(u32::MAX, u32::MAX), Err(WireError::TooLong { .. })));
}

#[test]
fn another_protocol_or_version_is_named_in_the_error() {
    let mut bytes = a_frame().to_vec();
    bytes[1] = 2;
    assert_eq!(Frame::read(&bytes.clone().into()), Err(WireError::Unknown { protocol: 1, version: 2 }));
    bytes[0] = 99;
    assert_eq!(Frame::read(&bytes.into()), Err(WireError::Unknown { protocol: 99, version: 2 }));
}

#[test]
fn a_list_longer_than_its_protocol_allows_is_neither_sent_nor_accepted() {
    let shards = vec![ShardId::block(Hash::default()); SHARDS_MAX + 1];
    let have = Have::Want { request: 1, shards };
    assert!(matches!(Frame::bare(Message::Have(have.clone())).head(), Err(WireError::Invalid(_))));
    let header = codec::encode(&have, Limit::Message).unwrap();
    let prelude = Prelude { protocol: 3, header_len: header.len(), body_len: 0 };
    assert!(matches!(Message::read(&prelude, &header), Err(WireError::Invalid(_))));
}

#[test]
fn a_length_prefix_that_claims_gigabytes_allocates_nothing() {
    // Have::Want { request: 0, shards: <u64 length prefix of 2^40> }
    let mut header = vec![0, 0, 253];
    header.extend_from_slice(&(1u64 << 40).to_le_bytes());
    let prelude = Prelude { protocol: 3, header_len: header.len(), body_len: 0 };
    assert!(matches!(Message::read(&prelude, &header), Err(WireError::Codec(_))));
}

#[test]
fn a_receipt_is_worth_nothing_once_a_word_of_it_is_changed() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let shard = ShardId::block(Hash::of(b"x"));
    let receipt = Receipt::sign(&key, PeerId([2; 32]), vec![shard], 100);
    assert!(receipt.verify());
    let other = ShardId::block(Hash::of(b"y"));
    assert!(!Receipt { shards: vec![other], ..receipt.clone() }.verify());
    assert!(!Receipt { expires_unix: 101, ..receipt.clone() }.verify());
    assert!(!Receipt { owner: PeerId([3; 32]), ..receipt.clone() }.verify());
    assert!(!Receipt { holder: PeerId([2; 32]), ..receipt.clone() }.verify());
    assert!(!Receipt { signature: vec![0; 63], ..receipt }.verify());
}

fn body(content: Content, raw_len: u64) -> RootBody {
    let owner = PeerId(SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes());
    RootBody {
        version: manifest::VERSION,
        erasure: Erasure::ReedSolomon16,
        k: 2,
        m: 1,
        object: [0; 16],
        raw_len,
        content,
        holders: vec![],
        private: vec![],
        owner,
        sealed_unix: 0,
    }
}

fn record() -> StripeRecord {
    let root = Hash::of(b"root");
    StripeRecord { codec: Codec::Lz4, raw_len: 1000, ct_len: 500, shard_len: 256, root, placement: vec![0, 1, 2] }
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let seal = |body: RootBody| manifest::seal(&body, &key);
    assert!(seal(body(Content::Stripes(vec![record()]), 1000)).is_ok());
    assert!(seal(body(Content::Stripes(vec![record()]), 3 << 20)).is_err(), "fewer stripes than bytes");
    assert!(seal(body(Content::Empty, 1)).is_err());
    let wrong = StripeRecord { shard_len: u32::MAX / 64 * 64, ..record() };
    assert!(seal(body(Content::Stripes(vec![wrong]), 1000)).is_err(), "a shard longer than a frame");
    let wrong = StripeRecord { placement: vec![0], ..record() };
    assert!(seal(body(Content::Stripes(vec![wrong]), 1000)).is_err(), "placement for too few shards");
    assert!(seal(RootBody { k: 0, ..body(Content::Empty, 0) }).is_err());
    let tree = Content::Tree { height: 200, stripes: 1, children: vec![Hash::default()] };
    assert!(seal(body(tree, 1000)).is_err(), "a tree without end");
}

#[test]
fn a_manifest_is_refused_with_another_hash_or_another_owner() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let (cid, block) = manifest::seal(&body(Content::Empty, 0), &key).unwrap();
    let mut changed = block.clone();
    changed[5] ^= 1;
    assert!(manifest::open(cid, &changed).is_err());
    let (forged, block) = manifest::seal(&body(Content::Empty, 0), &SigningKey::from_bytes(&[2; 32])).unwrap();
    assert_eq!(manifest::open(forged, &block), Err(manifest::ManifestError::Signature));
    let node = manifest::encode_node(&Node::Leaf(vec![record()])).unwrap();
    assert!(manifest::open_node(Hash::of(&node), &node, 3).is_ok());
    assert!(manifest::open_node(Hash::of(&node), &node, 4).is_err());
    assert!(manifest::open_node(Hash::of(b"other"), &node, 3).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let bytes = Bytes::from(bytes);
        let _ = Frame::read(&bytes);
        let _ = manifest::open(pangea_protocols::Cid(Hash::of(&bytes)), &bytes);
        let _ = manifest::open_node(Hash::of(&bytes), &bytes, 20);
    }

    #[test]
    fn a_changed_frame_is_read_without_panic_and_never_reads_as_before(at in 0usize..1000, bit in 0u8..8) {
        let whole = a_frame();
        let mut bytes = whole.to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert_ne!(Frame::read(&bytes.into()), Frame::read(&whole));
    }

    #[test]
    fn a_cut_frame_is_an_error(at in 0usize..1000) {
        let whole = a_frame();
        prop_assert!(Frame::read(&whole.slice(..at % whole.len())).is_err());
    }

    #[test]
    fn any_text_is_no_ticket_or_reads_back(text in "(pangea:)?[ -~]{0,120}") {
        if let Ok(ticket) = text.parse::<Ticket>() {
            prop_assert_eq!(ticket.to_string().parse(), Ok(ticket));
        }
    }

    #[test]
    fn every_shard_of_a_stripe_proves_its_place_and_no_other(total in 1u16..60, index in 0u16..60, other in 0u16..60) {
        let (tree, shards) = stripe(total);
        let (index, other) = (index % total, other % total);
        let leaf = Hash::of(&shards[usize::from(index)]);
        let proof = tree.proof(index);
        prop_assert_eq!(proof.verify(ShardId { stripe: tree.root(), index }, leaf), Ok(()));
        if other != index {
            let elsewhere = ShardId { stripe: tree.root(), index: other };
            prop_assert!(proof.verify(elsewhere, leaf).is_err());
            let wrong = Hash::of(&shards[usize::from(other)]);
            prop_assert_eq!(proof.verify(ShardId { stripe: tree.root(), index }, wrong), Err(ProofError::Stripe));
        }
    }

    #[test]
    fn any_range_of_a_shard_is_provable_and_a_changed_byte_is_not(
        length in 1usize..200_000, start in 0usize..200_000, count in 1usize..70_000, flip in 0usize..70_000,
    ) {
        let shard: Vec<u8> = (0..length).map(|n| (n * 7 / 3) as u8).collect();
        let start = start % length;
        let end = (start + count).min(length);
        let (proof, range) = RangeProof::make(&shard, start as u32..end as u32).unwrap();
        let covered = range.start as usize..range.end as usize;
        prop_assert!(covered.start <= start && end <= covered.end);
        prop_assert!(covered.start.is_multiple_of(GROUP_BYTES));
        let tree = StripeTree::new(vec![Hash::of(&shard), Hash::of(b"other")]);
        let id = ShardId { stripe: tree.root(), index: 0 };
        let mut body = shard[covered].to_vec();
        prop_assert_eq!(verify(id, &tree.proof(0), &proof, &body), Ok(()));
        let at = flip % body.len();
        body[at] ^= 1;
        prop_assert!(verify(id, &tree.proof(0), &proof, &body).is_err());
        body[at] ^= 1;
        body.pop();
        prop_assert!(verify(id, &tree.proof(0), &proof, &body).is_err());
    }
}
