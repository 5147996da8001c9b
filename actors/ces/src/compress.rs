//! Which codec a frame gets, and the codecs.
//!
//! The choice is made from four samples of 4 KiB, in about 50 µs: compressing a frame to learn that it does not
//! compress would cost twenty times as much. What the sample promised and the codec did not keep is stored as it is,
//! so a frame never grows. Not here: the codec byte in the manifest (`pangea_protocols::manifest::Codec`).

use crate::{api::Profile, frame::FrameError};
use brotli::{
    BrotliDecompressStream, BrotliResult, BrotliState,
    enc::{
        BrotliEncoderParams, StandardAlloc,
        encode::{BrotliEncoderOperation, BrotliEncoderStateStruct},
    },
};
use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};
use pangea_protocols::manifest::Codec;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bytes of one sample; there are four, spread evenly.
const SAMPLE_BYTES: usize = 4 << 10;
const SAMPLES: usize = 4;
/// Inputs below this size use LZ4's table of 16-bit positions. The table decides the output, so the choice is a
/// function of the length alone.
const SMALL_TABLE_BYTES: usize = u16::MAX as usize;

/// Tables and sample buffer that are kept between frames.
pub struct Compressor {
    small: CompressTable,
    large: CompressTable,
    sample: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Self {
        Self {
            small: CompressTable::small(),
            large: CompressTable::large(),
            sample: vec![0; get_maximum_output_size(SAMPLE_BYTES)],
        }
    }
}

/// What a sample of the frame promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nothing but zeros (the whole frame was looked at).
    Zero,
    /// Not worth a try.
    Store,
    /// LZ4.
    Lz4,
    /// Brotli of this quality.
    Brotli(i32),
}

/// Bytes that the output of [`Compressor::compress`] must offer for a frame of `raw` bytes.
pub fn output_bytes(raw: usize) -> usize {
    get_maximum_output_size(raw)
}

impl Compressor {
    /// Chooses a codec for `raw` under `profile`.
    pub fn choose(&mut self, raw: &[u8], profile: Profile) -> Choice {
        if is_zero(raw) {
            return Choice::Zero;
        }
        let ratio = self.sample(raw);
        match profile {
            _ if ratio > 0.97 && entropy(raw) > 7.6 => Choice::Store,
            _ if ratio < 0.03 => Choice::Lz4,
            Profile::Fast => Choice::Lz4,
            Profile::Balanced => Choice::Brotli(3),
            Profile::Small => Choice::Brotli(5),
        }
    }

    /// Compresses `raw` into the start of `out` and returns the codec and the number of bytes, which is at most
    /// `raw.len()`. `out` must be [`output_bytes`] long.
    pub fn compress(&mut self, raw: &[u8], profile: Profile, out: &mut [u8]) -> (Codec, usize) {
        let (codec, compressed) = match self.choose(raw, profile) {
            Choice::Zero => return (Codec::Zero, 0),
            Choice::Store => (Codec::Store, None),
            Choice::Lz4 => (Codec::Lz4, self.lz4(raw, out)),
            Choice::Brotli(quality) => (Codec::Brotli, brotli(raw, quality, out)),
        };
        match compressed.filter(|bytes| *bytes < raw.len()) {
            Some(bytes) => (codec, bytes),
            None => {
                out[..raw.len()].copy_from_slice(raw);
                (Codec::Store, raw.len())
            }
        }
    }

    fn lz4(&mut self, raw: &[u8], out: &mut [u8]) -> Option<usize> {
        let table = if raw.len() < SMALL_TABLE_BYTES { &mut self.small } else { &mut self.large };
        compress_into_with_table(raw, out, table).ok()
    }

    /// LZ4 ratio of the samples.
    fn sample(&mut self, raw: &[u8]) -> f64 {
        let (mut compressed, mut total) = (0, 0);
        for sample in samples(raw) {
            let bytes = compress_into_with_table(sample, &mut self.sample, &mut self.small);
            compressed += bytes.unwrap_or(sample.len());
            total += sample.len();
        }
        compressed as f64 / total as f64
    }
}

fn samples(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    let len = SAMPLE_BYTES.min(raw.len());
    let step = (raw.len() - len) / (SAMPLES - 1);
    (0..SAMPLES).map(move |n| &raw[step * n..][..len])
}

/// Bits per byte of the samples.
fn entropy(raw: &[u8]) -> f64 {
    let (mut counts, mut total) = ([0u32; 256], 0.0);
    for sample in samples(raw) {
        sample.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        total += sample.len() as f64;
    }
    let shares = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / total);
    shares.map(|share| -share * share.log2()).sum()
}

/// Decompresses `data` into `out`, which it must fill exactly. Bounded by `out`: a bomb is an error.
///
/// # Errors
/// [`FrameError::Decompress`].
pub fn decompress(codec: Codec, data: &[u8], out: &mut [u8]) -> Result<(), FrameError> {
    let filled = match codec {
        Codec::Zero => {
            out.fill(0);
            data.is_empty()
        }
        Codec::Store if data.len() == out.len() => {
            out.copy_from_slice(data);
            true
        }
        Codec::Store => false,
        Codec::Lz4 => decompress_into(data, out).is_ok_and(|bytes| bytes == out.len()),
        Codec::Brotli => unbrotli(data, out),
    };
    if filled { Ok(()) } else { Err(FrameError::Decompress) }
}

fn is_zero(raw: &[u8]) -> bool {
    // In blocks, so that the inner loop is a vector OR and a frame with data is left after its first block.
    raw.chunks(1024).all(|block| block.iter().fold(0, |seen, byte| seen | byte) == 0)
}

/// `None` if the output would not fit into `raw.len()` bytes.
fn brotli(raw: &[u8], quality: i32, out: &mut [u8]) -> Option<usize> {
    let mut state = BrotliEncoderStateStruct::new(StandardAlloc::default());
    state.params = BrotliEncoderParams { quality, lgwin: 20, size_hint: raw.len(), ..Default::default() };
    let (mut input, mut output) = (raw.len(), raw.len());
    let (mut read, mut written) = (0, 0);
    while !state.is_finished() {
        let going = state.compress_stream(
            BrotliEncoderOperation::BROTLI_OPERATION_FINISH,
            &mut input,
            raw,
            &mut read,
            &mut output,
            out,
            &mut written,
            &mut None,
            &mut |_, _, _, _| (),
        );
        if !going || (output == 0 && !state.is_finished()) {
            return None;
        }
    }
    Some(written)
}

fn unbrotli(data: &[u8], out: &mut [u8]) -> bool {
    // Whoever made the ticket made these bytes. The decoder is memory-safe but not proven free of panics, and a worker
    // must survive every object.
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        // Strict: no windows beyond RFC 7932, so at most 16 MiB are allocated whatever the stream says.
        let allocator = StandardAlloc::default;
        let mut state = BrotliState::new_strict(allocator(), allocator(), allocator());
        let (mut input, mut output, mut read, mut written) = (data.len(), out.len(), 0, 0);
        let result =
            BrotliDecompressStream(&mut input, &mut read, data, &mut output, &mut written, out, &mut 0, &mut state);
        matches!(result, BrotliResult::ResultSuccess) && output == 0
    }));
    decoded.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn random(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn text(len: usize) -> Vec<u8> {
        let words = b"It was the best of times, it was the worst of times, it was the age of wisdom; ";
        random(len)
            .iter()
            .enumerate()
            .map(|(n, byte)| if byte % 5 == 0 { *byte } else { words[n % words.len()] })
            .collect()
    }

    fn compressed(raw: &[u8], profile: Profile) -> (Codec, Vec<u8>) {
        let mut out = vec![0xaa; output_bytes(raw.len())];
        let (codec, len) = Compressor::default().compress(raw, profile, &mut out);
        out.truncate(len);
        (codec, out)
    }

    #[test]
    fn the_profile_decides_where_the_sample_does_not() {
        let mut compressor = Compressor::default();
        let text = text(1 << 20);
        for (raw, profile, choice) in [
            (vec![0; 1 << 20], Profile::Balanced, Choice::Zero),
            (random(1 << 20), Profile::Small, Choice::Store),
            (vec![7; 1 << 20], Profile::Small, Choice::Lz4),
            (text.clone(), Profile::Fast, Choice::Lz4),
            (text.clone(), Profile::Balanced, Choice::Brotli(3)),
            (text, Profile::Small, Choice::Brotli(5)),
        ] {
            assert_eq!(compressor.choose(&raw, profile), choice);
        }
    }

    #[test]
    fn every_codec_gives_back_what_it_took_and_never_grows() {
        let mut late = vec![0; 1 << 20];
        late[(1 << 20) - 1] = 1;
        for raw in [vec![9], vec![0; 3], late, random(777), random(1 << 20), text(65_534), text(65_535), text(300_000)]
        {
            for profile in [Profile::Fast, Profile::Balanced, Profile::Small] {
                let (codec, data) = compressed(&raw, profile);
                assert!(data.len() <= raw.len());
                let mut back = vec![0x55; raw.len()];
                decompress(codec, &data, &mut back).unwrap();
                assert!(back == raw, "{codec:?} of {} bytes", raw.len());
            }
        }
    }

    #[test]
    fn output_does_not_depend_on_what_was_compressed_before() {
        let (short, long) = (text(30_000), text(1 << 20));
        let mut used = Compressor::default();
        let mut out = vec![0; output_bytes(1 << 20)];
        used.compress(&long, Profile::Fast, &mut out);
        let (codec, len) = used.compress(&short, Profile::Fast, &mut out);
        assert_eq!((codec, out[..len].to_vec()), compressed(&short, Profile::Fast));
    }

    proptest! {
        #[test]
        fn any_bytes_decompress_or_fail(data in prop::collection::vec(any::<u8>(), 0..400), len in 0usize..5000) {
            for codec in [Codec::Zero, Codec::Store, Codec::Lz4, Codec::Brotli] {
                let _ = decompress(codec, &data, &mut vec![0; len]);
            }
        }

        #[test]
        fn damaged_streams_decompress_or_fail(at in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<prop::sample::Index>()) {
            let raw = text(20_000);
            for profile in [Profile::Fast, Profile::Small] {
                let (codec, mut data) = compressed(&raw, profile);
                let at = at.index(data.len());
                data[at] ^= flip;
                data.truncate(cut.index(data.len()) + 1);
                let _ = decompress(codec, &data, &mut vec![0; raw.len()]);
            }
        }
    }
}
