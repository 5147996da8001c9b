//! The encrypted part of a manifest: name and kind of an object. Not here: the readable part
//! (`pangea_protocols::manifest`).

use crate::{
    encrypt::{Keys, NONCE_BYTES, TAG_BYTES},
    index,
};
use pangea_protocols::{
    codec::{self, Limit},
    manifest::{Kind, PRIVATE_BYTES_MAX, Private},
    ticket::ReadKey,
};

/// Why a private part could not be made or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrivateError {
    /// Wrong key, or not the private part of this object.
    #[error("this key does not open the object: was the ticket copied whole, and is it this object's?")]
    Key,
    /// Longer than a manifest takes.
    #[error("the name `{0}…` is too long to be stored: rename the file")]
    TooLong(String),
    /// The name is not one path component.
    #[error("`{0}` cannot be the name of an object: it must be one path component, not `.` or `..`")]
    Name(String),
    /// The key opens it, but it makes no sense.
    #[error("the object's description is damaged: {0}")]
    Damaged(&'static str),
}

/// Encrypts `private`; [`open`] will accept the result.
///
/// # Errors
/// [`PrivateError::Name`] or [`PrivateError::TooLong`].
pub fn seal(key: &ReadKey, object: &[u8; 16], private: &Private) -> Result<Vec<u8>, PrivateError> {
    let shown = || private.name.chars().take(64).collect();
    check_name(&private.name)?;
    let message = codec::encode(private, Limit::Message).map_err(|_| PrivateError::TooLong(shown()))?;
    let mut sealed = [&[0; NONCE_BYTES], &message[..], &[0; TAG_BYTES]].concat();
    if sealed.len() > PRIVATE_BYTES_MAX || Keys::private(key, object).seal(&mut sealed, object).is_err() {
        return Err(PrivateError::TooLong(shown()));
    }
    Ok(sealed)
}

/// Decrypts and checks a private part. `raw_len` is the object's plaintext length.
///
/// # Errors
/// See [`PrivateError`].
pub fn open(key: &ReadKey, object: &[u8; 16], sealed: &[u8], raw_len: u64) -> Result<Private, PrivateError> {
    if sealed.len() > PRIVATE_BYTES_MAX {
        return Err(PrivateError::Damaged("its private part is too long"));
    }
    let mut buffer = sealed.to_vec();
    let message = Keys::private(key, object).open(&mut buffer, object).map_err(|_| PrivateError::Key)?;
    let private: Private = codec::decode(message, Limit::Message)
        .map_err(|_| PrivateError::Damaged("its private part cannot be read; a newer Pangea may have made it"))?;
    check_name(&private.name)?;
    match private.kind {
        Kind::Directory { index_len } if index_len == 0 || index_len > raw_len => {
            Err(PrivateError::Damaged("its directory index is longer than the object, or empty"))
        }
        Kind::Directory { index_len } if index_len > index::INDEX_BYTES_MAX => {
            Err(PrivateError::Damaged("its directory index is over 256 MiB"))
        }
        _ => Ok(private),
    }
}

/// Standard input has no name; everything else has one that is a single path component.
fn check_name(name: &str) -> Result<(), PrivateError> {
    if name.is_empty() || index::is_component(name) {
        Ok(())
    } else {
        Err(PrivateError::Name(name.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: [u8; 16] = [5; 16];

    fn file(name: &str) -> Private {
        Private { name: name.to_owned(), kind: Kind::File { executable: false, modified_unix: -3 } }
    }

    #[test]
    fn the_right_key_opens_and_any_other_says_so() {
        let key = ReadKey([1; 32]);
        let sealed = seal(&key, &OBJECT, &file("thesis.pdf")).unwrap();
        assert_eq!(open(&key, &OBJECT, &sealed, 10).unwrap(), file("thesis.pdf"));
        assert_eq!(open(&ReadKey([2; 32]), &OBJECT, &sealed, 10), Err(PrivateError::Key));
        assert_eq!(open(&key, &[6; 16], &sealed, 10), Err(PrivateError::Key));
        assert_eq!(open(&key, &OBJECT, &[], 10), Err(PrivateError::Key));
    }

    #[test]
    fn names_that_lead_elsewhere_are_neither_stored_nor_believed() {
        let key = ReadKey([1; 32]);
        for name in [".", "..", "a/b", "/", "nul\0"] {
            assert_eq!(seal(&key, &OBJECT, &file(name)), Err(PrivateError::Name(name.to_owned())));
            let message = codec::encode(&file(name), Limit::Message).unwrap();
            let mut forged = [&[0; NONCE_BYTES], &message[..], &[0; TAG_BYTES]].concat();
            Keys::private(&key, &OBJECT).seal(&mut forged, &OBJECT).unwrap();
            assert_eq!(open(&key, &OBJECT, &forged, 10), Err(PrivateError::Name(name.to_owned())));
        }
        assert!(matches!(seal(&key, &OBJECT, &file(&"x".repeat(9000))), Err(PrivateError::TooLong(_))));
    }

    #[test]
    fn an_index_outside_its_object_is_refused() {
        let key = ReadKey([1; 32]);
        for (index_len, raw_len) in [(0, 10), (11, 10), (257 << 20, 1 << 40)] {
            let private = Private { name: String::new(), kind: Kind::Directory { index_len } };
            let sealed = seal(&key, &OBJECT, &private).unwrap();
            assert!(matches!(open(&key, &OBJECT, &sealed, raw_len), Err(PrivateError::Damaged(_))));
        }
    }
}
