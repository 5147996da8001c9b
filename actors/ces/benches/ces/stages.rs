//! The stages of the pipeline one by one, and Reed–Solomon against its reference.

use crate::{
    measure::thread_cpu,
    pipeline::{CODE, Frames, OBJECT, Shards, key, profile},
};
use pangea_ces::{
    api::{Profile, Stripe},
    compress::{Compressor, output_bytes},
    encrypt::{Keys, NONCE_BYTES, TAG_BYTES, frame_aad},
    erasure::{Erasure, shard_bytes},
};
use pangea_protocols::{
    Hash,
    manifest::{Codec, StripeRecord},
    merkle::StripeTree,
};
use std::{hint::black_box, iter::Enumerate, path::Path, sync::Mutex};

/// Every stage on every frame, without queues or order, on some threads; the CPU time of this process is the sum.
pub fn pipeline(directory: &Path, arguments: &[String]) {
    let (profile, repeat, threads) =
        (profile(&arguments[0]), arguments[1].parse().unwrap(), arguments[2].parse().unwrap());
    let frames = Mutex::new(Frames::open(directory, repeat).enumerate());
    let stored: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| thread(directory, profile, &frames))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    println!("{stored}");
}

fn thread(directory: &Path, profile: Profile, frames: &Mutex<Enumerate<Frames>>) -> u64 {
    let (k, m) = (usize::from(CODE.0), usize::from(CODE.1));
    let mut shards = Shards::create(directory, "memory");
    let (mut compressor, mut erasure) = (Compressor::default(), Erasure::default());
    let mut buffer = vec![0; 2 << 20];
    loop {
        let Some((index, raw)) = frames.lock().unwrap().next() else { break };
        let room = &mut buffer[NONCE_BYTES..][..output_bytes(raw.len())];
        let (codec, len) = compressor.compress(&raw, profile, room);
        let raw_len = raw.len() as u32;
        let mut record =
            StripeRecord { codec, raw_len, ct_len: 0, shard_len: 0, root: Hash::default(), placement: Vec::new() };
        if codec == Codec::Zero {
            shards.write(Stripe { record, shards: Vec::new() });
            continue;
        }
        let ct_len = NONCE_BYTES + len + TAG_BYTES;
        let aad = frame_aad(&OBJECT, index as u64, codec, raw_len);
        Keys::frame(&key(), &OBJECT, index as u64).seal(&mut buffer[..ct_len], &aad).unwrap();
        let shard_len = shard_bytes(ct_len, k);
        buffer[ct_len..k * shard_len].fill(0);
        let stripe = &mut buffer[..(k + m) * shard_len];
        erasure.parity(k, m, shard_len, stripe).unwrap();
        let tree = StripeTree::new(stripe.chunks_exact(shard_len).map(Hash::of).collect());
        (record.ct_len, record.shard_len, record.root) = (ct_len as u32, shard_len as u32, tree.root());
        let whole = bytes::Bytes::from(std::mem::take(&mut buffer));
        let slices = (0..k + m).map(|n| (whole.slice(n * shard_len..(n + 1) * shard_len), tree.proof(n as u16)));
        shards.write(Stripe { record, shards: slices.collect() });
        buffer = whole.try_into_mut().map(Vec::from).unwrap();
    }
    shards.finish(directory)
}

/// Parity and recovery at (16, 4) with shards of 64 KiB.
pub fn erasure(runs: usize) {
    let (k, m, len) = (16, 4, 64 << 10);
    let mut stripe = vec![0; (k + m) * len];
    blake3::Hasher::new().finalize_xof().fill(&mut stripe[..k * len]);
    let mut ours = Erasure::default();
    let mut reference = reed_solomon_16::ReedSolomonEncoder::new(k, m, len).unwrap();
    let mut data = vec![0; k * len];
    let (mut encode, mut encode_reference, mut recover) = (vec![], vec![], vec![]);
    for _ in 0..runs {
        encode.push(time(|| ours.parity(k, m, len, &mut stripe).unwrap()));
        encode_reference.push(time(|| {
            for shard in stripe[..k * len].chunks_exact(len) {
                reference.add_original_shard(shard).unwrap();
            }
            let made = reference.encode().unwrap();
            black_box(made.recovery(m - 1).unwrap());
        }));
        let mut shards: Vec<Option<&[u8]>> = stripe.chunks_exact(len).map(Some).collect();
        shards[..m].fill(None);
        recover.push(time(|| ours.recover((k, m), len, &shards, &mut data).unwrap()));
        assert!(data == stripe[..k * len]);
    }
    let speed = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        (k * len) as f64 / times[times.len() / 2] / 1e9
    };
    let (encode, encode_reference) = (speed(&mut encode), speed(&mut encode_reference));
    println!(
        "(16, 4) x 64 KiB: parity {encode:.2} GB/s, reed-solomon-16 {encode_reference:.2} GB/s: {:.1} x; 4 lost {:.2} GB/s",
        encode / encode_reference,
        speed(&mut recover)
    );
}

/// CPU seconds of one call.
fn time(mut work: impl FnMut()) -> f64 {
    work();
    let (start, mut calls) = (thread_cpu(), 0);
    loop {
        work();
        calls += 1;
        let taken = thread_cpu() - start;
        if taken > 0.1 {
            return taken / f64::from(calls);
        }
    }
}
