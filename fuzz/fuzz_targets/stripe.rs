//! Shards of any content under a record of any numbers: decoding ends with bytes or an error, within the frame's size.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pangea_ces::{Place, Scratch, decode_frame};
use pangea_protocols::{
    Hash,
    manifest::{Codec, FRAME_BYTES, StripeRecord},
    ticket::ReadKey,
};

fuzz_target!(|input: (u8, u32, u32, u32, u8, u8, Vec<(u16, Vec<u8>)>)| {
    let (codec, raw_len, ct_len, shard_len, k, m, shards) = input;
    let codec = [Codec::Zero, Codec::Store, Codec::Lz4, Codec::Brotli][usize::from(codec % 4)];
    let record = StripeRecord { codec, raw_len, ct_len, shard_len, root: Hash::default(), placement: vec![] };
    let shards: Vec<(u16, Bytes)> = shards.into_iter().map(|(index, bytes)| (index, bytes.into())).collect();
    let place = Place { key: &ReadKey([1; 32]), object: &[2; 16], index: 0 };
    if let Ok(raw) = decode_frame(&mut Scratch::new(), place, &record, (k, m), &shards) {
        assert!(raw.len() <= FRAME_BYTES);
    }
});
