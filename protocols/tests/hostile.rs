//! What a peer or a user may send instead of the right bytes: nothing panics, nothing is accepted for what it is not.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use pangea_protocols::{
    Address, Cid, Hash, PeerId, ShardId,
    codec::{self, Limit},
    manifest::{self, Codec, Content, Erasure, FRAME_BYTES, Node, RootBody, StripeRecord},
    merkle::{GROUP_BYTES, ProofError, RangeProof, StripeTree, verify},
    receipt::Receipt,
    receipt_job::{BATCH_MAX, Batch, Claim, JobReceipt, Place, ReceiptError, Stage, Terms, Verification, is_drawn},
    stored::{FRAMES_MAX, FrameKey, HEAD_BYTES_MAX, StoredInput},
    task::{self, Limits},
    ticket::{HINTS_MAX, Ticket},
    wire::{
        BODY_BYTES_MAX, Frame, Message, PRELUDE_BYTES, Prelude, WireError,
        compute::{
            Compute, DATA_PARTS_MAX, LEASES_MAX, MODULE_PARTS_MAX, PART_BYTES, SMALL_BYTES, SmallTask, TASKS_MAX,
        },
        extension::{Extension, Name, PAYLOAD_BYTES_MAX},
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
fn an_extension_has_a_name_and_a_short_payload() {
    let mut frame = Frame {
        message: Message::Extension(Extension::Message { name: "a-1".parse().unwrap() }),
        body: Bytes::from(vec![0; PAYLOAD_BYTES_MAX]),
    };
    let bytes: Bytes = [frame.head().unwrap(), frame.body.clone()].concat().into();
    assert_eq!(Frame::read(&bytes), Ok(frame.clone()));
    frame.body = vec![0; PAYLOAD_BYTES_MAX + 1].into();
    assert!(matches!(frame.head(), Err(WireError::TooLong { limit: PAYLOAD_BYTES_MAX, .. })));
    let long = "a".repeat(65);
    for name in ["", "A", "a/b", "..", "a b", "ä", &long] {
        assert!(name.parse::<Name>().is_err(), "{name}");
        let header = codec::encode(&(0u32, name), Limit::Message).unwrap();
        let prelude = Prelude { protocol: 6, header_len: header.len(), body_len: 0 };
        assert!(matches!(Message::read(&prelude, &header), Err(WireError::Codec(_))), "{name}");
    }
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

fn host(number: u8) -> (SigningKey, PeerId) {
    let key = SigningKey::from_bytes(&[number; 32]);
    let peer = PeerId(key.verifying_key().to_bytes());
    (key, peer)
}

fn claim(index: u32, output: &[u8]) -> Claim {
    let receipt = task::Receipt {
        pass_version: 1,
        module: Hash::of(b"module"),
        input: Hash::of(&index.to_le_bytes()),
        output: Ok(Hash::of(output)),
        sent: Hash::of(b""),
        gas: 10,
    };
    Claim { place: Place { stage: Stage::Execute, index }, receipt }
}

/// Forty chunks under one batch of host 2, owned by 1; `others` confirm them too.
fn job(verification: Verification, others: &[u8]) -> JobReceipt {
    let ((key, owner), secret) = (host(1), [9; 32]);
    let terms = Terms {
        owner,
        nonce: [0; 16],
        module: Hash::of(b"module"),
        limits: Limits::default(),
        verification,
        split: false,
        merge: false,
        draw: Hash::of(&secret),
    };
    let results: Vec<Claim> = (0..40).map(|index| claim(index, b"right")).collect();
    let signers = [2].iter().chain(others);
    let batches = signers.map(|n| Batch::sign(&host(*n).0, terms.name(), results.clone())).collect();
    JobReceipt { terms, secret, results, batches, banned: [].into(), ended_unix: 5, signature: vec![] }.signed(&key)
}

#[test]
fn compute_messages_with_too_much_in_them_are_neither_sent_nor_accepted() {
    let (job, place, input) = (Hash::default(), claim(0, b"").place, Hash::default());
    let batch = |claims: usize| Batch { host: host(1).1, claims: vec![claim(0, b""); claims], signature: vec![0; 64] };
    let offer = |module_bytes| Compute::Offer {
        job,
        module: input,
        module_bytes,
        limits: Limits::default(),
        priority: 0,
        lease_secs: 1,
        depth: 0,
    };
    let frame = FRAME_BYTES as u32;
    let stored = |frames: u32, len| {
        let keys = vec![FrameKey([1; 32]); frames as usize];
        let head = vec![0; HEAD_BYTES_MAX];
        StoredInput { cid: Cid(Hash::default()), hints: Vec::new(), first: 0, len, keys, head }
    };
    let read = |input: StoredInput| Compute::AssignStored { job, lease: 1, place, input: Box::new(input) };
    let last = FRAMES_MAX as u32;
    let address: Address = "/ip4/192.0.2.1/udp/4411/quic-v1".parse().unwrap();
    let small = |count, bytes| {
        let task = SmallTask { lease: 1, place, input, bytes };
        Compute::AssignSmall { job, tasks: vec![task; count] }
    };
    let table = [
        (true, read(stored(last, last * frame))),
        (true, read(stored(last, (last - 1) * frame + 1))),
        (false, read(stored(last, (last - 1) * frame))),
        (false, read(stored(last + 1, (last + 1) * frame))),
        (false, read(stored(1, frame + 1))),
        (false, read(stored(0, 0))),
        (false, read(StoredInput { first: u64::MAX, ..stored(1, 1) })),
        (false, read(StoredInput { head: vec![0; HEAD_BYTES_MAX + 1], ..stored(1, 1) })),
        (false, read(StoredInput { hints: vec![(host(1).1, address); HINTS_MAX + 1], ..stored(1, 1) })),
        (true, offer(u64::from(MODULE_PARTS_MAX) * PART_BYTES as u64)),
        (false, offer(u64::from(MODULE_PARTS_MAX) * PART_BYTES as u64 + 1)),
        (false, Compute::ModuleGet { job, part: MODULE_PARTS_MAX }),
        (true, Compute::ModulePart { job, part: 63, parts: MODULE_PARTS_MAX }),
        (false, Compute::ModulePart { job, part: 64, parts: MODULE_PARTS_MAX + 1 }),
        (false, Compute::ModulePart { job, part: 0, parts: 0 }),
        (true, Compute::Assign { job, lease: 1, place, input, part: 15, parts: DATA_PARTS_MAX }),
        (false, Compute::Assign { job, lease: 1, place, input, part: 16, parts: DATA_PARTS_MAX }),
        (false, Compute::Output { job, place, part: 0, parts: u16::MAX }),
        (true, small(TASKS_MAX, SMALL_BYTES as u32)),
        (false, small(TASKS_MAX + 1, 0)),
        (false, small(1, SMALL_BYTES as u32 + 1)),
        (true, Compute::OutputSmall { job, outputs: vec![(place, SMALL_BYTES as u32); TASKS_MAX] }),
        (false, Compute::OutputSmall { job, outputs: vec![(place, 0); TASKS_MAX + 1] }),
        (false, Compute::OutputSmall { job, outputs: vec![(place, u32::MAX)] }),
        (true, Compute::Alive { job, leases: vec![0; LEASES_MAX] }),
        (false, Compute::Alive { job, leases: vec![0; LEASES_MAX + 1] }),
        (false, Compute::Cancel { job, leases: vec![0; LEASES_MAX + 1] }),
        (true, Compute::Commit { job, batch: batch(BATCH_MAX) }),
        (false, Compute::Commit { job, batch: batch(BATCH_MAX + 1) }),
        (false, Compute::Commit { job, batch: batch(0) }),
        (false, Compute::Commit { job, batch: Batch { signature: vec![0; 63], ..batch(1) } }),
    ];
    for (fits, message) in table {
        let header = codec::encode(&message, Limit::Message).unwrap();
        let prelude = Prelude { protocol: 5, header_len: header.len(), body_len: 0 };
        assert_eq!(Message::read(&prelude, &header).is_ok(), fits, "{message:?}");
        assert_eq!(Frame::bare(Message::Compute(message)).head().is_ok(), fits);
    }
}

#[test]
fn the_hash_of_a_stored_input_names_what_is_read_and_not_how() {
    let input = StoredInput {
        cid: Cid(Hash::of(b"root")),
        hints: Vec::new(),
        first: 3,
        len: 5,
        keys: vec![FrameKey([1; 32])],
        head: vec![1],
    };
    let address: Address = "/ip4/192.0.2.1/udp/4411/quic-v1".parse().unwrap();
    let same = StoredInput { hints: vec![(host(1).1, address)], keys: vec![FrameKey([2; 32])], ..input.clone() };
    assert_eq!(same.hash(), input.hash());
    for other in [
        StoredInput { cid: Cid(Hash::of(b"other")), ..input.clone() },
        StoredInput { first: 4, ..input.clone() },
        StoredInput { len: 6, ..input.clone() },
        StoredInput { head: vec![2], ..input.clone() },
    ] {
        assert_ne!(other.hash(), input.hash(), "{other:?}");
    }
    assert!(!format!("{input:?}").contains('1'.to_string().repeat(2).as_str()), "no key is shown");
}

#[test]
fn a_batch_is_worth_nothing_once_a_word_of_it_is_changed() {
    let (job, (key, _)) = (Hash::of(b"job"), host(1));
    let batch = Batch::sign(&key, job, vec![claim(0, b"a"), claim(1, b"b")]);
    assert!(batch.verify(job));
    assert!(!batch.verify(Hash::of(b"another job")));
    assert!(!Batch { claims: vec![claim(0, b"a")], ..batch.clone() }.verify(job));
    assert!(!Batch { claims: vec![claim(0, b"a"), claim(1, b"c")], ..batch.clone() }.verify(job));
    assert!(!Batch { host: host(2).1, ..batch.clone() }.verify(job));
    assert!(!Batch { signature: vec![0; 10], ..batch }.verify(job));
}

#[test]
fn a_job_receipt_with_anything_changed_missing_or_unconfirmed_is_refused() {
    let whole = job(Verification::None, &[]);
    assert_eq!(whole.verify().map(|summary| (summary.results, summary.executions)), Ok((40, 40)));
    let again = |change: &dyn Fn(&mut JobReceipt)| {
        let mut receipt = whole.clone();
        change(&mut receipt);
        receipt.signed(&host(1).0).verify()
    };
    let unconfirmed = |index| Err(ReceiptError::Unconfirmed(claim(index, b"").place));
    assert_eq!(JobReceipt { ended_unix: 6, ..whole.clone() }.verify(), Err(ReceiptError::Signature));
    assert_eq!(whole.clone().signed(&host(2).0).verify(), Err(ReceiptError::Signature));
    assert_eq!(again(&|receipt| receipt.secret = [8; 32]), Err(ReceiptError::Draw));
    assert_eq!(again(&|receipt| receipt.batches[0].claims[3] = claim(3, b"wrong")), Err(ReceiptError::Batch(0)));
    assert_eq!(again(&|receipt| receipt.results[3] = claim(3, b"wrong")), unconfirmed(3));
    assert_eq!(again(&|receipt| receipt.batches.clear()), unconfirmed(0));
    assert_eq!(again(&|receipt| receipt.banned = [host(2).1].into()), unconfirmed(0));
    assert_eq!(again(&|receipt| receipt.results.swap(1, 2)), Err(ReceiptError::Results));
    assert_eq!(again(&|receipt| receipt.results = receipt.results.split_off(1)), Err(ReceiptError::Results));
    assert_eq!(again(&|receipt| receipt.terms.module = Hash::of(b"x")), Err(ReceiptError::Batch(0)), "another name");
}

#[test]
fn a_job_receipt_needs_the_confirmations_that_its_terms_ask_for() {
    let audit = Verification::Audit { per_mille: 200 };
    assert!(matches!(job(audit, &[]).verify(), Err(ReceiptError::Unconfirmed(_))), "some of forty are drawn");
    assert_eq!(job(audit, &[3]).verify().map(|summary| summary.confirmed), Ok(40));
    assert!(job(audit, &[2]).verify().is_err(), "the same host twice is one host");
    let quorum = Verification::Quorum { hosts: 3 };
    assert!(job(quorum, &[3]).verify().is_err());
    assert!(job(quorum, &[3, 4]).verify().is_ok());
    assert!(job(quorum, &[1]).verify().is_ok(), "the owner believes itself");
}

#[test]
fn leaves_are_drawn_as_often_as_they_should_be_and_by_the_secret_alone() {
    let leaves: Vec<Hash> = (0u32..20_000).map(|n| Hash::of(&n.to_le_bytes())).collect();
    let drawn = |secret: u8, peer: u8, per_mille: u16| {
        leaves.iter().filter(|leaf| is_drawn(&[secret; 32], PeerId([peer; 32]), **leaf, per_mille)).count()
    };
    assert_eq!((drawn(1, 1, 0), drawn(1, 1, 1000)), (0, 20_000));
    for (secret, peer) in [(1, 1), (2, 1), (1, 2)] {
        let count = drawn(secret, peer, 100);
        assert!((1_850..2_150).contains(&count), "{count}");
    }
    let both = leaves.iter().filter(|leaf| [1, 2].iter().all(|s| is_drawn(&[*s; 32], PeerId([1; 32]), **leaf, 100)));
    assert!((140..260).contains(&both.count()), "another secret draws independently");
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
