//! XChaCha20-Poly1305 with a synthetic nonce.
//!
//! A sealed message is `nonce (24) ‖ ciphertext ‖ tag (16)`. Cipher key and nonce key come from the read key by BLAKE3
//! `derive_key` over the message's name; the nonce is keyed BLAKE3 over the associated data and the message, as in
//! SIV (RFC 5297). To open a message its cipher key is enough: that of a frame ([`frame_key`]) can be handed out without
//! the read key. Sealing the same bytes again gives the same bytes, so an upload is idempotent; sealing other bytes
//! under the same name (a source that changed between two attempts) still gets a nonce of its own. The nonce covers
//! the *compressed* bytes, which are what the cipher sees: two compressors may disagree about the same plaintext.
//!
//! XChaCha20-Poly1305 is ChaCha20-Poly1305 (RFC 8439) under a key that HChaCha20 makes of the cipher key and the first
//! 16 bytes of the nonce (draft-irtf-cfrg-xchacha-03, section 2.3). The second half is ring's, whose assembly is about
//! 1.7 times as fast as the `chacha20poly1305` crate; a test compares their bytes.

use crate::frame::FrameError;
use chacha20::{R20, hchacha};
use pangea_protocols::{
    manifest::{Codec, SEAL_BYTES},
    stored::FrameKey,
    ticket::ReadKey,
};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes in front of the ciphertext.
pub const NONCE_BYTES: usize = 24;
/// Bytes behind it.
pub const TAG_BYTES: usize = 16;
const _: () = assert!(NONCE_BYTES + TAG_BYTES == SEAL_BYTES);

const FRAME_CONTEXT: &str = "pangea 2026 ces frame: cipher key, nonce key";
const PRIVATE_CONTEXT: &str = "pangea 2026 ces private part: cipher key, nonce key";

/// The two keys of one message.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Keys {
    cipher: [u8; 32],
    nonce: [u8; 32],
}

impl Keys {
    /// The keys of frame `index` of `object`.
    pub fn frame(key: &ReadKey, object: &[u8; 16], index: u64) -> Self {
        Self::derive(FRAME_CONTEXT, key, object, &index.to_le_bytes())
    }

    /// The keys of the private part of the manifest of `object`.
    pub fn private(key: &ReadKey, object: &[u8; 16]) -> Self {
        Self::derive(PRIVATE_CONTEXT, key, object, &[])
    }

    fn derive(context: &str, key: &ReadKey, object: &[u8; 16], name: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(&key.0).update(object).update(name);
        let mut keys = Self { cipher: [0; 32], nonce: [0; 32] };
        let mut output = hasher.finalize_xof();
        output.fill(&mut keys.cipher);
        output.fill(&mut keys.nonce);
        keys
    }

    /// Seals in place: `buffer` holds 24 free bytes, the message, 16 free bytes.
    ///
    /// # Errors
    /// [`FrameError::Sealed`] if the buffer has no room for nonce and tag.
    pub fn seal(&self, buffer: &mut [u8], aad: &[u8]) -> Result<(), FrameError> {
        let (nonce, rest) = buffer.split_first_chunk_mut::<NONCE_BYTES>().ok_or(FrameError::Sealed)?;
        let (message, tag) = rest.split_last_chunk_mut::<TAG_BYTES>().ok_or(FrameError::Sealed)?;
        let mut hasher = blake3::Hasher::new_keyed(&self.nonce);
        hasher.update(&(aad.len() as u64).to_le_bytes()).update(aad).update(message);
        hasher.finalize_xof().fill(nonce);
        let (cipher, short) = cipher(&self.cipher, nonce)?;
        let made = cipher.seal_in_place_separate_tag(short, Aad::from(aad), message);
        tag.copy_from_slice(made.map_err(|_| FrameError::Sealed)?.as_ref());
        Ok(())
    }

    /// Opens in place and returns the message.
    ///
    /// # Errors
    /// [`FrameError::Sealed`] if the bytes were not sealed with these keys and `aad`.
    pub fn open<'a>(&self, sealed: &'a mut [u8], aad: &[u8]) -> Result<&'a [u8], FrameError> {
        open(&self.cipher, sealed, aad)
    }
}

/// What opens frame `index` of `object`, and no other.
pub fn frame_key(key: &ReadKey, object: &[u8; 16], index: u64) -> FrameKey {
    FrameKey(Keys::frame(key, object, index).cipher)
}

/// Opens a frame in place, as [`Keys::open`] does.
///
/// # Errors
/// [`FrameError::Sealed`] if the bytes were not sealed under this key with `aad`.
pub fn open_frame<'a>(key: &FrameKey, sealed: &'a mut [u8], aad: &[u8]) -> Result<&'a [u8], FrameError> {
    open(&key.0, sealed, aad)
}

fn open<'a>(key: &[u8; 32], sealed: &'a mut [u8], aad: &[u8]) -> Result<&'a [u8], FrameError> {
    let (nonce, rest) = sealed.split_first_chunk_mut::<NONCE_BYTES>().ok_or(FrameError::Sealed)?;
    let (cipher, short) = cipher(key, nonce)?;
    let message = cipher.open_in_place(short, Aad::from(aad), rest).map_err(|_| FrameError::Sealed)?;
    Ok(message)
}

/// The ChaCha20-Poly1305 key and nonce that stand for an XChaCha20-Poly1305 key and nonce.
fn cipher(key: &[u8; 32], nonce: &[u8; NONCE_BYTES]) -> Result<(LessSafeKey, Nonce), FrameError> {
    let mut short = [0; 12];
    short[4..].copy_from_slice(&nonce[16..]);
    let mut first = [0; 16];
    first.copy_from_slice(&nonce[..16]);
    let mut subkey = hchacha::<R20>(&(*key).into(), &first.into());
    let key = UnboundKey::new(&CHACHA20_POLY1305, &subkey);
    subkey.as_mut_slice().zeroize();
    Ok((LessSafeKey::new(key.map_err(|_| FrameError::Sealed)?), Nonce::assume_unique_for_key(short)))
}

/// What a frame's tag covers besides its bytes: object, index, codec, raw length.
pub fn frame_aad(object: &[u8; 16], index: u64, codec: Codec, raw_len: u32) -> [u8; 29] {
    let mut aad = [0; 29];
    aad[..16].copy_from_slice(object);
    aad[16..24].copy_from_slice(&index.to_le_bytes());
    aad[24] = codec as u8;
    aad[25..].copy_from_slice(&raw_len.to_le_bytes());
    aad
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305};
    use proptest::prelude::*;

    fn sealed(index: u64, message: &[u8]) -> Vec<u8> {
        let mut buffer = [&[0; NONCE_BYTES], message, &[0; TAG_BYTES]].concat();
        Keys::frame(&ReadKey([1; 32]), &[2; 16], index).seal(&mut buffer, b"aad").unwrap();
        buffer
    }

    #[test]
    fn equal_messages_seal_equally_and_others_get_other_nonces() {
        assert_eq!(sealed(0, b"message"), sealed(0, b"message"));
        assert_ne!(sealed(0, b"message")[..NONCE_BYTES], sealed(0, b"massage")[..NONCE_BYTES]);
        assert_ne!(sealed(0, b"message")[..NONCE_BYTES], sealed(1, b"message")[..NONCE_BYTES]);
    }

    #[test]
    fn any_changed_bit_key_or_associated_data_is_noticed() {
        let keys = Keys::frame(&ReadKey([1; 32]), &[2; 16], 0);
        assert_eq!(keys.open(&mut sealed(0, b"message"), b"aad").unwrap(), b"message");
        for bit in 0..sealed(0, b"message").len() * 8 {
            let mut damaged = sealed(0, b"message");
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(keys.open(&mut damaged, b"aad"), Err(FrameError::Sealed));
        }
        assert!(keys.open(&mut sealed(0, b"message"), b"aae").is_err());
        assert!(keys.open(&mut sealed(1, b"message"), b"aad").is_err());
        assert!(Keys::private(&ReadKey([1; 32]), &[2; 16]).open(&mut sealed(0, b"message"), b"aad").is_err());
        assert!(keys.open(&mut [0; 39], b"aad").is_err());
    }

    #[test]
    fn the_key_of_a_frame_opens_that_frame_only() {
        let key = |index| frame_key(&ReadKey([1; 32]), &[2; 16], index);
        assert_eq!(open_frame(&key(3), &mut sealed(3, b"message"), b"aad").unwrap(), b"message");
        assert!(open_frame(&key(3), &mut sealed(4, b"message"), b"aad").is_err());
        assert!(open_frame(&key(4), &mut sealed(3, b"message"), b"aad").is_err());
        assert!(open_frame(&frame_key(&ReadKey([1; 32]), &[3; 16], 3), &mut sealed(3, b"message"), b"aad").is_err());
    }

    proptest! {
        #[test]
        fn the_bytes_are_those_of_the_chacha20poly1305_crate(
            key in any::<[u8; 32]>(),
            message in prop::collection::vec(any::<u8>(), 0..5000),
            aad in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let keys = Keys::frame(&ReadKey(key), &[2; 16], 3);
            let mut ours = [&[0; NONCE_BYTES], &message[..], &[0; TAG_BYTES]].concat();
            keys.seal(&mut ours, &aad).unwrap();
            let (nonce, rest) = ours.split_first_chunk::<NONCE_BYTES>().unwrap();
            let mut theirs = message.clone();
            let cipher = XChaCha20Poly1305::new(&keys.cipher.into());
            let tag = cipher.encrypt_inout_detached(&(*nonce).into(), &aad, (&mut theirs[..]).into()).unwrap();
            prop_assert!(rest == [&theirs[..], &tag[..]].concat());
            prop_assert_eq!(keys.open(&mut ours, &aad).unwrap(), &message[..]);
        }
    }
}
