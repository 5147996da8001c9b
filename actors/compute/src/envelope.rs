//! What a module is called with: CBOR (RFC 8949), so that a guest of any language can read it.
//!
//! ```text
//! call   [entry, index, total, payload]    entry: "split" │ "execute" │ "merge"; index, total: which chunk of how many
//! list   [bytes, bytes, …]                 what a split returns, and the payload of a merge, in the order of chunks
//! ```
//! Definite lengths only. `execute` and `merge` return whatever they like.

use bytes::{Bytes, BytesMut};
use pangea_protocols::{
    cbor::{Reader, Writer},
    receipt_job::{Place, Stage},
};

/// Most bytes that [`call`] adds to a payload.
pub const OVERHEAD_BYTES: usize = 32;

/// The input of a task: `place` of `total` in its stage.
pub fn call(place: Place, total: u32, payload: &[u8]) -> Bytes {
    let head = head(place, total, payload.len() as u64);
    let mut whole = BytesMut::with_capacity(head.len() + payload.len());
    whole.extend_from_slice(&head);
    whole.extend_from_slice(payload);
    whole.freeze()
}

/// What [`call`] puts in front of a payload of `len` bytes.
pub fn head(place: Place, total: u32, len: u64) -> Bytes {
    let entry = match place.stage {
        Stage::Split => "split",
        Stage::Execute => "execute",
        Stage::Merge => "merge",
    };
    let mut writer = Writer::with_capacity(OVERHEAD_BYTES);
    writer.array(4).text(entry).uint(place.index.into()).uint(total.into()).bytes_head(len);
    writer.finish()
}

/// A list of byte strings.
pub fn list<'a>(items: impl ExactSizeIterator<Item = &'a Bytes>) -> Bytes {
    let mut writer = Writer::default();
    writer.array(items.len());
    for item in items {
        writer.bytes(item);
    }
    writer.finish()
}

/// Reads a list of at most `max` byte strings, without copying them. `None` for anything else.
pub fn read_list(bytes: &Bytes, max: usize) -> Option<Vec<Bytes>> {
    let mut reader = Reader::new(bytes);
    let count = usize::try_from(reader.array()?).ok().filter(|count| *count <= max)?;
    // The count is a stranger's word: nothing is allocated for it.
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(reader.bytes()?);
    }
    reader.is_done().then_some(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_call_has_the_bytes_that_a_guest_expects() {
        let place = Place { stage: Stage::Execute, index: 500 };
        let expected = b"\x84\x67execute\x19\x01\xf4\x19\x03\xe8\x42hi";
        assert_eq!(call(place, 1000, b"hi"), &expected[..]);
        let place = Place { stage: Stage::Split, index: u32::MAX };
        assert!(call(place, u32::MAX, b"").len() <= OVERHEAD_BYTES);
    }

    proptest! {
        #[test]
        fn a_list_reads_back(items in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..40)) {
            let items: Vec<Bytes> = items.into_iter().map(Bytes::from).collect();
            let bytes = list(items.iter());
            prop_assert_eq!(read_list(&bytes, 40), Some(items.clone()));
            prop_assert_eq!(read_list(&bytes, items.len().wrapping_sub(1).min(items.len())).is_some(), items.is_empty());
            prop_assert_eq!(read_list(&bytes.slice(..bytes.len() - 1), 40), None);
        }

        #[test]
        fn any_bytes_are_a_list_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = read_list(&Bytes::from(bytes), 100);
        }
    }
}
