//! The bytes of every wire message, held against the pages in `docs/protocols`. A change here breaks old peers.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use pangea_protocols::{
    Address, Cid, Hash, PeerId, ShardId,
    manifest::{self, Content, Erasure, Holder, RootBody},
    merkle::{RangeProof, StripeProof, StripeTree},
    receipt::Receipt,
    receipt_job::{Batch, Claim, JobReceipt, Place, Stage, Terms, Verification},
    stored::{FrameKey, StoredInput},
    task::{self, Limits},
    ticket::{ReadKey, Ticket},
    wire::{
        Frame, Message,
        compute::{self, Compute, SmallTask},
        extension::Extension,
        fetch::{Fetch, Item, MissingReason},
        have::Have,
        pex::{PeerRecord, Pex},
        store::{Refusal, ShardKind, Store},
    },
};

/// Name, leaf, signature of a batch, root of the results, signature of the receipt.
const GOLDEN_JOB: [&str; 5] = [
    "d8be0278eacae4a1341e7ffb22532254a6f014a465bc4cc6a06774220f1334e9",
    "75b8a7a0a3d4a181e1a5261c78cbed5a72b6ce64d557412a5466af9774a30e1a",
    "e6b095d9a6fee21d90abde5505ce296d54260c6e0031f9428261a79728a630b97de24207f7d6413ee23a471f9f09faf7d1ff796abf9c87ee4fd6b52d4a6ddf0e",
    "75b8a7a0a3d4a181e1a5261c78cbed5a72b6ce64d557412a5466af9774a30e1a",
    "7e6c81ebd65ced9b5c21fb0963f1177644aa3e1508cd5777d1c2e58960e6a80fcaa8bfbcbe96561866a6013c962fa2244ff3d74917173ee1181e0a179db6f60a",
];

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn peer() -> PeerId {
    PeerId(key().verifying_key().to_bytes())
}

fn tree() -> StripeTree {
    StripeTree::new((0u8..3).map(|n| Hash::of(&[n])).collect())
}

fn shard(index: u16) -> ShardId {
    ShardId { stripe: tree().root(), index }
}

fn terms() -> Terms {
    Terms {
        owner: peer(),
        nonce: [4; 16],
        module: Hash::of(b"module"),
        limits: Limits::default(),
        verification: Verification::default(),
        split: false,
        merge: false,
        draw: Hash::of(&[9; 32]),
    }
}

fn claim() -> Claim {
    let receipt = task::Receipt {
        pass_version: 1,
        module: Hash::of(b"module"),
        input: Hash::of(b"input"),
        output: Ok(Hash::of(b"output")),
        sent: Hash::of(b""),
        gas: 1000,
    };
    Claim { place: Place { stage: Stage::Execute, index: 0 }, receipt }
}

fn stored_input() -> StoredInput {
    let address: Address = "/ip4/192.0.2.1/udp/4411/quic-v1".parse().unwrap();
    StoredInput {
        cid: Cid(Hash::of(b"root block")),
        hints: vec![(peer(), address)],
        first: 3,
        len: 1_500_000,
        keys: vec![FrameKey([3; 32]), FrameKey([4; 32])],
        head: b"head".to_vec(),
    }
}

fn compute() -> Vec<(&'static str, Compute, &'static [u8])> {
    let (job, place) = (terms().name(), claim().place);
    let module = Hash::of(b"module");
    let batch = Batch::sign(&key(), job, vec![claim()]);
    let input = Hash::of(b"input");
    vec![
        (
            "Offer",
            Compute::Offer {
                job,
                module,
                module_bytes: 6,
                limits: Limits::default(),
                priority: 8,
                lease_secs: 30,
                depth: 1,
            },
            b"",
        ),
        ("Accept", Compute::Accept { job, slots: 2 }, b""),
        ("Refuse", Compute::Refuse { job, reason: compute::Refusal::Busy, waiting: 3 }, b""),
        ("ModuleGet", Compute::ModuleGet { job, part: 0 }, b""),
        ("ModulePart", Compute::ModulePart { job, part: 0, parts: 1 }, b"module"),
        ("Assign", Compute::Assign { job, lease: 7, place, input, part: 0, parts: 1 }, &[1]),
        ("Alive", Compute::Alive { job, leases: vec![7] }, b""),
        ("Renew", Compute::Renew { job, lease_secs: 30 }, b""),
        ("Commit", Compute::Commit { job, batch }, b""),
        ("Output", Compute::Output { job, place, part: 0, parts: 1 }, b"output"),
        ("Failed", Compute::Failed { job, lease: 7, reason: compute::Failure::Crashed }, b""),
        ("Cancel", Compute::Cancel { job, leases: vec![7] }, b""),
        ("Log", Compute::Log { job, place }, b"2 hello\n"),
        ("AssignStored", Compute::AssignStored { job, lease: 7, place, input: Box::new(stored_input()) }, b""),
        ("Read", Compute::Read { job, place, own_bytes: 1 << 20, took_ms: 40 }, b""),
        (
            "AssignSmall",
            Compute::AssignSmall {
                job,
                tasks: [(7, 1), (8, 0)].map(|(lease, bytes)| SmallTask { lease, place, input, bytes }).into(),
            },
            &[1],
        ),
        ("OutputSmall", Compute::OutputSmall { job, outputs: vec![(place, 3), (place, 3)] }, b"onetwo"),
    ]
}

type Shown = (&'static str, &'static str, Message, &'static [u8]);

fn messages() -> Vec<Shown> {
    let address: Address = "/ip4/192.0.2.1/udp/4411/quic-v1".parse().unwrap();
    let receipt = Receipt::sign(&key(), peer(), vec![shard(0)], 1_800_000_000);
    let put = Store::Put { grant: 5, shard: shard(1), proof: tree().proof(1), kind: ShardKind::Data };
    let item = Item { request: 9, shard: shard(2), range: Some((0, 16384)) };
    let found = Fetch::Found { request: 9, shard: shard(2), stripe: tree().proof(2), range: RangeProof::whole(1) };
    let mut messages: Vec<Shown> = vec![
        (
            "store",
            "Reserve",
            Message::Store(Store::Reserve { request: 1, bytes: 65_536, shards: 1, lease_secs: 86_400 }),
            b"",
        ),
        (
            "store",
            "Reserved",
            Message::Store(Store::Reserved { request: 1, grant: 5, expires_unix: 1_800_000_000 }),
            b"",
        ),
        ("store", "Refused", Message::Store(Store::Refused { request: 1, reason: Refusal::Quota }), b""),
        ("store", "Put", Message::Store(put), &[1]),
        ("store", "Stored", Message::Store(Store::Stored { grant: 5, receipt }), b""),
        (
            "store",
            "NotStored",
            Message::Store(Store::NotStored { grant: 5, shard: shard(1), reason: Refusal::BadProof }),
            b"",
        ),
        ("store", "Release", Message::Store(Store::Release { grant: 5 }), b""),
        ("store", "Drop", Message::Store(Store::Drop { request: 2, shards: vec![shard(1)] }), b""),
        ("store", "Dropped", Message::Store(Store::Dropped { request: 2, count: 1 }), b""),
        ("fetch", "Get", Message::Fetch(Fetch::Get { items: vec![item] }), b""),
        ("fetch", "Found", Message::Fetch(found), &[2]),
        ("fetch", "Missing", Message::Fetch(Fetch::Missing { request: 9, reason: MissingReason::NotHeld }), b""),
        ("fetch", "Cancel", Message::Fetch(Fetch::Cancel { requests: vec![9] }), b""),
        ("have", "Want", Message::Have(Have::Want { request: 3, shards: vec![shard(0), shard(2)] }), b""),
        ("have", "Have", Message::Have(Have::Have { request: 3, present: vec![0b10] }), b""),
        ("pex", "Ask", Message::Pex(Pex::Ask { max: 8, own: None }), b""),
        (
            "pex",
            "Peers",
            Message::Pex(Pex::Peers { records: vec![PeerRecord::sign(&key(), vec![address], 1_800_000_000)] }),
            b"",
        ),
    ];
    let name = "presence".parse().unwrap();
    messages.push(("extension", "Message", Message::Extension(Extension::Message { name }), b"ping"));
    messages
        .extend(compute().into_iter().map(|(name, message, body)| ("compute", name, Message::Compute(message), body)));
    messages
}

#[test]
fn every_message_has_the_bytes_that_its_page_shows() {
    let mut wrong = String::new();
    for (page, name, message, body) in messages() {
        let frame = Frame { message, body: Bytes::from_static(body) };
        let mut bytes = frame.head().unwrap().to_vec();
        bytes.extend_from_slice(body);
        assert_eq!(Frame::read(&Bytes::from(bytes.clone())).unwrap(), frame, "{name} does not read back");
        let line = format!("{name} {}", data_encoding::HEXLOWER.encode(&bytes));
        let path = format!("{}/../docs/protocols/{page}.md", env!("CARGO_MANIFEST_DIR"));
        if !std::fs::read_to_string(&path).unwrap_or_default().lines().any(|shown| shown == line) {
            wrong.push_str(&format!("docs/protocols/{page}.md: {line}\n"));
        }
    }
    assert!(wrong.is_empty(), "pages differ from the code:\n{wrong}");
}

#[test]
fn names_print_as_they_always_did() {
    assert_eq!(peer().to_string(), "12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7");
    assert_eq!(peer().to_string().parse(), Ok(peer()));
    let cid = Cid(Hash::of(b"pangea"));
    assert_eq!(cid.to_string(), "bafkr4igmlgoeiw2y53rr3q43s6ku6eoihdlst6urxgmmttwel6b2x46f2i");
    assert_eq!(cid.to_string().parse(), Ok(cid));
    let ticket = Ticket {
        cid,
        hints: vec![(peer(), "/ip4/192.0.2.1/udp/4411/quic-v1".parse().unwrap())],
        key: ReadKey([3; 32]),
    };
    let text = ticket.to_string();
    assert_eq!(text.parse(), Ok(ticket));
    assert!(text.ends_with("#k=AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwPeKkwC"), "{text}");
}

#[test]
fn a_sealed_manifest_has_the_same_cid_for_ever() {
    let body = RootBody {
        version: manifest::VERSION,
        erasure: Erasure::ReedSolomon16,
        k: 16,
        m: 4,
        object: [1; 16],
        raw_len: 0,
        content: Content::Empty,
        holders: vec![Holder { peer: peer(), address: Some("/ip4/192.0.2.1/udp/4411/quic-v1".parse().unwrap()) }],
        private: vec![1, 2, 3],
        owner: peer(),
        sealed_unix: 1_800_000_000,
    };
    let (cid, block) = manifest::seal(&body, &key()).unwrap();
    assert_eq!(cid.to_string(), "bafkr4ibd7kl23vzsqpmipnumciapsrhtrsgui2mloymm4bv3hwzxj6ucj4");
    assert_eq!(manifest::open(cid, &block).unwrap(), body);
}

#[test]
fn a_single_leaf_is_its_own_root() {
    let leaf = Hash::of(b"block");
    assert_eq!(StripeTree::new(vec![leaf]).root(), leaf);
    assert_eq!(StripeProof::block().verify(ShardId::block(leaf), leaf), Ok(()));
}

#[test]
fn a_job_receipt_is_signed_over_the_same_bytes_for_ever() {
    let batches = vec![Batch::sign(&key(), terms().name(), vec![claim()])];
    let receipt = JobReceipt {
        terms: terms(),
        secret: [9; 32],
        results: vec![claim()],
        batches,
        banned: [PeerId([3; 32])].into(),
        ended_unix: 1_800_000_000,
        signature: vec![],
    };
    let receipt = receipt.signed(&key());
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    assert_eq!(receipt.verify().map(|summary| summary.confirmed), Ok(1));
    let shown = [
        terms().name().to_string(),
        claim().leaf(terms().name()).to_string(),
        hex(&receipt.batches[0].signature),
        receipt.root().to_string(),
        hex(&receipt.signature),
    ];
    assert_eq!(shown, GOLDEN_JOB);
}
