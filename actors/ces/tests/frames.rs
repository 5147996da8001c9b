//! The pure library as a whole: one frame to one stripe and back. Golden bytes, losses, damage, odd sizes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use pangea_ces::{
    FrameError, Place, Scratch,
    api::{Profile, Stripe},
    decode_frame, encode_frame,
    frame::{decode_inline, encode_inline},
};
use pangea_protocols::{
    Hash,
    manifest::{Codec, FRAME_BYTES, SEAL_BYTES},
    merkle::{RangeProof, verify},
    ticket::ReadKey,
};
use proptest::prelude::*;

const KEY: ReadKey = ReadKey([0x42; 32]);
const OBJECT: [u8; 16] = [0x17; 16];

fn place(index: u64) -> Place<'static> {
    static STATIC_KEY: ReadKey = KEY;
    Place { key: &STATIC_KEY, object: &OBJECT, index }
}

fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Words of 8 bytes out of 64: every codec makes it smaller.
fn words(seed: u64, len: usize) -> Vec<u8> {
    let words = random(0, 64 * 8);
    let mut text: Vec<u8> = random(seed, len.div_ceil(8))
        .into_iter()
        .flat_map(|byte| words[usize::from(byte % 64) * 8..][..8].to_vec())
        .collect();
    text.truncate(len);
    text
}

fn encode(raw: &[u8], code: (u8, u8), profile: Profile) -> Stripe {
    encode_frame(&mut Scratch::new(), place(3), raw, code, profile).unwrap()
}

fn indexed(stripe: &Stripe) -> Vec<(u16, Bytes)> {
    stripe.shards.iter().map(|(bytes, _)| bytes.clone()).enumerate().map(|(n, bytes)| (n as u16, bytes)).collect()
}

fn decode(stripe: &Stripe, code: (u8, u8), shards: &[(u16, Bytes)]) -> Result<Bytes, FrameError> {
    decode_frame(&mut Scratch::new(), place(3), &stripe.record, code, shards)
}

/// What a downloader keeps: shards whose proofs hold.
fn verified(stripe: &Stripe, received: &[(u16, Bytes)]) -> Vec<(u16, Bytes)> {
    let holds = |(index, bytes): &&(u16, Bytes)| {
        let proof = &stripe.shards[usize::from(*index)].1;
        verify(stripe.record.shard(*index), proof, &RangeProof::whole(bytes.len() as u32), bytes).is_ok()
    };
    received.iter().filter(holds).cloned().collect()
}

/// The format, in bytes. If stored or zero frames change, nothing that was stored before can be read: that is a new
/// format version. If only compressed ones change, a compressor was upgraded: readers do not mind, but a resumed upload
/// of the same source would store its frames again.
#[test]
fn golden_stripes_do_not_change() {
    let text: Vec<u8> = b"Pangea was the last of the supercontinents. ".repeat(30_000)[..FRAME_BYTES].to_vec();
    let cases = [
        ("one byte", b"!".to_vec(), (1, 0), Profile::Fast),
        ("random", random(1, FRAME_BYTES), (16, 4), Profile::Balanced),
        ("text, lz4", words(2, 100_000), (4, 2), Profile::Fast),
        ("text, brotli", words(2, 100_000), (16, 4), Profile::Balanced),
        ("repetition", text, (10, 5), Profile::Small),
    ];
    let found: Vec<(&str, Codec, u32, String, String)> = cases
        .into_iter()
        .map(|(name, raw, code, profile)| {
            let stripe = encode(&raw, code, profile);
            let start = stripe.shards[0].0[..8].iter().map(|byte| format!("{byte:02x}")).collect();
            (name, stripe.record.codec, stripe.record.ct_len, start, stripe.record.root.to_string())
        })
        .collect();
    let golden: Vec<(&str, Codec, u32, &str, &str)> = vec![
        (
            "one byte",
            Codec::Store,
            41,
            "760012998acd5626",
            "ad9f5a11689958fd1196a8090d399c35b1527ccea09e1ec6c523f4675427f7dc",
        ),
        (
            "random",
            Codec::Store,
            1048616,
            "97b2c7edbba0e851",
            "28a6cca712d599d06873ef8934307a1220d064adb3036b87a6dff0996e65c40e",
        ),
        (
            "text, lz4",
            Codec::Lz4,
            37337,
            "ed699cec7389f571",
            "33c092bf65c2c69fb22fc3879d653778416fb106b352942f13dcc28401ab6811",
        ),
        (
            "text, brotli",
            Codec::Brotli,
            19815,
            "473b59baeceb1cff",
            "101ded65f2acab2d725080ba314a3f664ebb712a5abc103b3c1b54428555b286",
        ),
        (
            "repetition",
            Codec::Lz4,
            4206,
            "183e7c889235e73b",
            "9bf20f43c26b7971f52afc5f9a8fec73fefe8d9fe4424ae0dee5b270dc377af6",
        ),
    ];
    assert_eq!(
        found,
        golden
            .into_iter()
            .map(|(name, codec, len, start, root)| (name, codec, len, start.to_owned(), root.to_owned()))
            .collect::<Vec<_>>()
    );
}

#[test]
fn encoding_again_gives_identical_shards_whatever_the_worker_did_before() {
    let mut used = Scratch::new();
    for (seed, len, code) in [(1, FRAME_BYTES, (16, 4)), (2, 5000, (4, 2)), (3, 900_000, (10, 10)), (4, 70, (16, 4))] {
        for profile in [Profile::Fast, Profile::Balanced, Profile::Small] {
            let raw = words(seed, len);
            assert!(encode_frame(&mut used, place(3), &raw, code, profile).unwrap() == encode(&raw, code, profile));
        }
    }
}

#[test]
fn every_size_at_an_edge_survives() {
    for len in [1, 2, 39, 40, 63, 64, 65, 1023, 1024, 65_534, 65_535, 65_536, FRAME_BYTES - 1, FRAME_BYTES] {
        for code in [(1, 0), (1, 2), (3, 2), (16, 4), (200, 55)] {
            let raw = random(len as u64, len);
            let stripe = encode(&raw, code, Profile::Fast);
            assert_eq!(stripe.shards.len(), usize::from(code.0) + usize::from(code.1));
            let shards = indexed(&stripe);
            assert!(decode(&stripe, code, &shards[..usize::from(code.0)]).unwrap() == raw, "{len} {code:?}");
            assert!(decode(&stripe, code, &shards[usize::from(code.1)..]).unwrap() == raw, "{len} {code:?} lost");
        }
    }
    let mut scratch = Scratch::new();
    for len in [0, FRAME_BYTES + 1] {
        let raw = vec![1; len];
        assert_eq!(
            encode_frame(&mut scratch, place(0), &raw, (4, 2), Profile::Fast).unwrap_err(),
            FrameError::Frame(len)
        );
    }
}

#[test]
fn zeros_cost_no_shards() {
    let stripe = encode(&vec![0; FRAME_BYTES], (16, 4), Profile::Balanced);
    assert_eq!((stripe.record.codec, stripe.record.ct_len, stripe.shards.len()), (Codec::Zero, 0, 0));
    assert!(decode(&stripe, (16, 4), &[]).unwrap() == vec![0; FRAME_BYTES]);
}

#[test]
fn incompressible_frames_grow_by_less_than_a_fifth_of_a_percent_before_parity() {
    for profile in [Profile::Fast, Profile::Balanced, Profile::Small] {
        let stripe = encode(&random(9, FRAME_BYTES), (16, 4), profile);
        let data = u64::from(stripe.record.shard_len) * 16;
        assert!(data * 1000 <= FRAME_BYTES as u64 * 1002, "{data}");
        assert_eq!(stripe.record.ct_len as usize, FRAME_BYTES + SEAL_BYTES);
    }
}

#[test]
fn a_stripe_opens_only_at_its_own_place() {
    let stripe = encode(&words(5, 9000), (4, 2), Profile::Fast);
    let shards = indexed(&stripe);
    let other_key = ReadKey([0x43; 32]);
    let mut scratch = Scratch::new();
    for elsewhere in [place(4), Place { key: &other_key, ..place(3) }, Place { object: &[0x18; 16], ..place(3) }] {
        let opened = decode_frame(&mut scratch, elsewhere, &stripe.record, (4, 2), &shards);
        assert_eq!(opened, Err(FrameError::Sealed));
    }
    let mut record = stripe.record.clone();
    record.codec = Codec::Brotli;
    assert_eq!(decode_frame(&mut scratch, place(3), &record, (4, 2), &shards), Err(FrameError::Sealed));
}

#[test]
fn inline_content_survives_and_is_authentic() {
    let mut scratch = Scratch::new();
    for raw in [vec![7], words(1, 60_000), vec![0; 5000], random(3, 100)] {
        let (codec, sealed) = encode_inline(&mut scratch, place(0), &raw, Profile::Balanced).unwrap();
        let len = raw.len() as u32;
        assert!(decode_inline(&mut scratch, place(0), codec, len, &sealed).unwrap() == raw);
        let mut damaged = sealed.clone();
        if let Some(byte) = damaged.last_mut() {
            *byte ^= 1;
            assert!(decode_inline(&mut scratch, place(0), codec, len, &damaged).is_err());
        } else {
            assert!(decode_inline(&mut scratch, place(0), codec, len, b"x").is_err());
        }
    }
}

#[test]
fn the_shards_of_a_stripe_share_one_buffer_which_is_used_again() {
    let mut scratch = Scratch::new();
    let stripe = encode_frame(&mut scratch, place(0), &random(1, FRAME_BYTES), (16, 4), Profile::Fast).unwrap();
    let at = stripe.shards[0].0.as_ptr();
    drop(stripe);
    let stripe = encode_frame(&mut scratch, place(1), &random(2, FRAME_BYTES), (16, 4), Profile::Fast).unwrap();
    assert_eq!(stripe.shards[0].0.as_ptr(), at);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_m_shards_lost_flipped_or_swapped_leave_the_content_exact(
        len in 1usize..300_000,
        seed in any::<u64>(),
        (k, m) in prop_oneof![Just((16u8, 4u8)), Just((4, 2)), Just((2, 5)), Just((30, 12))],
        hurt in prop::collection::vec((any::<prop::sample::Index>(), 0u8..3, any::<prop::sample::Index>()), 0..12),
        balanced in any::<bool>(),
    ) {
        let raw = words(seed, len);
        let stripe = encode(&raw, (k, m), if balanced { Profile::Balanced } else { Profile::Fast });
        let total = usize::from(k) + usize::from(m);
        let mut received: Vec<Option<(u16, Bytes)>> = indexed(&stripe).into_iter().map(Some).collect();
        let mut harmed = std::collections::BTreeSet::new();
        for (victim, how, at) in hurt {
            let (victim, other) = (victim.index(total), at.index(total));
            // A swap harms two.
            let victims = if how == 2 { vec![victim, other] } else { vec![victim] };
            if harmed.union(&victims.iter().copied().collect()).count() > usize::from(m) { continue; }
            harmed.extend(victims);
            match how {
                0 => received[victim] = None,
                1 => if let Some((_, bytes)) = &mut received[victim] {
                    let mut flipped = bytes.to_vec();
                    flipped[at.index(bytes.len())] ^= 0x10;
                    *bytes = Bytes::from(flipped);
                },
                _ => {
                    let bytes = |slot: &Option<(u16, Bytes)>| slot.as_ref().map(|(_, bytes)| bytes.clone());
                    let (one, two) = (bytes(&received[victim]), bytes(&received[other]));
                    received[victim] = two.map(|bytes| (victim as u16, bytes));
                    received[other] = one.map(|bytes| (other as u16, bytes));
                }
            }
        }
        let received: Vec<_> = received.into_iter().flatten().collect();
        let good = verified(&stripe, &received);
        prop_assert!(good.len() >= usize::from(k));
        prop_assert!(decode(&stripe, (k, m), &good).unwrap() == raw);
    }

    #[test]
    fn no_shard_bytes_and_no_record_panic(
        raw_len in prop_oneof![any::<u32>(), 0u32..5000],
        ct_len in prop_oneof![any::<u32>(), 0u32..5000],
        shard_len in prop_oneof![any::<u32>(), (0u32..20).prop_map(|n| n * 64)],
        codec in prop_oneof![Just(Codec::Zero), Just(Codec::Store), Just(Codec::Lz4), Just(Codec::Brotli)],
        code in any::<(u8, u8)>(),
        shards in prop::collection::vec((0u16..40, 0usize..20), 0..30),
        fitting in any::<bool>(),
    ) {
        let mut record = encode(b"x", (1, 0), Profile::Fast).record;
        (record.codec, record.raw_len, record.ct_len, record.shard_len) = (codec, raw_len, ct_len, shard_len);
        let len = |blocks: usize| if fitting { shard_len as usize % 2000 } else { blocks * 64 };
        let shards: Vec<_> = shards.into_iter().map(|(n, blocks)| (n, Bytes::from(random(1, len(blocks))))).collect();
        let _ = decode_frame(&mut Scratch::new(), place(3), &record, code, &shards);
    }

    #[test]
    fn damage_that_proofs_would_have_caught_is_still_caught_by_the_tag(at in any::<prop::sample::Index>(), flip in 1u8..) {
        let raw = words(1, 3000);
        let stripe = encode(&raw, (4, 2), Profile::Fast);
        let mut shards = indexed(&stripe);
        let at = at.index(stripe.record.ct_len as usize);
        let shard = &mut shards[at / stripe.record.shard_len as usize].1;
        let mut damaged = shard.to_vec();
        damaged[at % stripe.record.shard_len as usize] ^= flip;
        *shard = Bytes::from(damaged);
        prop_assert_eq!(decode(&stripe, (4, 2), &shards), Err(FrameError::Sealed));
    }
}

#[test]
fn shards_that_are_given_twice_count_once() {
    let stripe = encode(&words(1, 3000), (4, 2), Profile::Fast);
    let shards = indexed(&stripe);
    let twice: Vec<_> = shards[..3].iter().chain(&shards[..3]).cloned().collect();
    assert_eq!(decode(&stripe, (4, 2), &twice), Err(FrameError::TooFew { have: 3, need: 4 }));
    assert_ne!(Hash::of(&shards[0].1), Hash::of(&shards[1].1));
}
