//! The code by FFT, as reed-solomon-simd does it: the way that every processor has, and that is faster for large codes.
//!
//! Not here: when it is taken (`erasure`).

use crate::frame::FrameError;
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

/// An encoder and a decoder, whose buffers are kept.
#[derive(Default)]
pub(crate) struct Fft {
    encoder: Option<ReedSolomonEncoder>,
    decoder: Option<ReedSolomonDecoder>,
}

impl Fft {
    /// Fills the m `parity` shards from the k shards of `shard_len` bytes in `data`.
    pub(crate) fn parity(
        &mut self,
        (k, m): (usize, usize),
        shard_len: usize,
        data: &[u8],
        parity: &mut [&mut [u8]],
    ) -> Result<(), FrameError> {
        let bad = |_| FrameError::Code { k, m };
        let mut encoder = match self.encoder.take() {
            Some(mut encoder) => encoder.reset(k, m, shard_len).map(|()| encoder),
            None => ReedSolomonEncoder::new(k, m, shard_len),
        }
        .map_err(bad)?;
        for shard in data.chunks_exact(shard_len) {
            encoder.add_original_shard(shard).map_err(bad)?;
        }
        let made = encoder.encode().map_err(bad)?;
        for (to, from) in parity.iter_mut().zip(made.recovery_iter()) {
            to.copy_from_slice(from);
        }
        drop(made);
        self.encoder = Some(encoder);
        Ok(())
    }

    /// Fills the lost data shards in `data` from the data shards that are there and the `parity` rows that are used.
    pub(crate) fn recover(
        &mut self,
        (k, m): (usize, usize),
        shard_len: usize,
        shards: &[Option<&[u8]>],
        parity: &[usize],
        data: &mut [u8],
    ) -> Result<(), FrameError> {
        let bad = |_| FrameError::Code { k, m };
        let mut decoder = match self.decoder.take() {
            Some(mut decoder) => decoder.reset(k, m, shard_len).map(|()| decoder),
            None => ReedSolomonDecoder::new(k, m, shard_len),
        }
        .map_err(bad)?;
        for (index, shard) in shards[..k].iter().enumerate() {
            if let Some(shard) = shard {
                decoder.add_original_shard(index, shard).map_err(bad)?;
            }
        }
        for row in parity {
            if let Some(shard) = shards[k + row] {
                decoder.add_recovery_shard(*row, shard).map_err(bad)?;
            }
        }
        let restored = decoder.decode().map_err(bad)?;
        for (index, shard) in restored.restored_original_iter() {
            data[index * shard_len..][..shard_len].copy_from_slice(shard);
        }
        drop(restored);
        self.decoder = Some(decoder);
        Ok(())
    }
}
