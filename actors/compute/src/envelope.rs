//! What a module is called with: CBOR (RFC 8949), so that a guest of any language can read it.
//!
//! ```text
//! call   [entry, index, total, payload]    entry: "split" │ "execute" │ "merge"; index, total: which chunk of how many
//! list   [bytes, bytes, …]                 what a split returns, and the payload of a merge, in the order of chunks
//! ```
//! Definite lengths only. `execute` and `merge` return whatever they like.

use bytes::{BufMut, Bytes, BytesMut};
use pangea_protocols::receipt_job::{Place, Stage};

const UINT: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;

/// Most bytes that [`call`] adds to a payload.
pub const OVERHEAD_BYTES: usize = 32;

/// The input of a task: `place` of `total` in its stage.
pub fn call(place: Place, total: u32, payload: &[u8]) -> Bytes {
    let entry = match place.stage {
        Stage::Split => "split",
        Stage::Execute => "execute",
        Stage::Merge => "merge",
    };
    let mut bytes = BytesMut::with_capacity(payload.len() + OVERHEAD_BYTES);
    head(&mut bytes, ARRAY, 4);
    head(&mut bytes, TEXT, entry.len() as u64);
    bytes.put_slice(entry.as_bytes());
    head(&mut bytes, UINT, place.index.into());
    head(&mut bytes, UINT, total.into());
    head(&mut bytes, BYTES, payload.len() as u64);
    bytes.put_slice(payload);
    bytes.freeze()
}

/// A list of byte strings.
pub fn list<'a>(items: impl ExactSizeIterator<Item = &'a Bytes>) -> Bytes {
    let mut bytes = BytesMut::new();
    head(&mut bytes, ARRAY, items.len() as u64);
    for item in items {
        head(&mut bytes, BYTES, item.len() as u64);
        bytes.put_slice(item);
    }
    bytes.freeze()
}

/// Reads a list of at most `max` byte strings, without copying them. `None` for anything else.
pub fn read_list(bytes: &Bytes, max: usize) -> Option<Vec<Bytes>> {
    let mut at = 0;
    let count = usize::try_from(read_head(bytes, &mut at, ARRAY)?).ok().filter(|count| *count <= max)?;
    // The count is a stranger's word: nothing is allocated for it.
    let mut items = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(read_head(bytes, &mut at, BYTES)?).ok()?;
        let end = at.checked_add(length).filter(|end| *end <= bytes.len())?;
        items.push(bytes.slice(at..end));
        at = end;
    }
    (at == bytes.len()).then_some(items)
}

fn head(bytes: &mut BytesMut, major: u8, value: u64) {
    let major = major << 5;
    match value {
        0..24 => bytes.put_u8(major | value as u8),
        24..0x100 => bytes.put_slice(&[major | 24, value as u8]),
        0x100..0x1_0000 => {
            bytes.put_u8(major | 25);
            bytes.put_u16(value as u16);
        }
        0x1_0000..0x1_0000_0000 => {
            bytes.put_u8(major | 26);
            bytes.put_u32(value as u32);
        }
        _ => {
            bytes.put_u8(major | 27);
            bytes.put_u64(value);
        }
    }
}

fn read_head(bytes: &[u8], at: &mut usize, major: u8) -> Option<u64> {
    let first = *bytes.get(*at)?;
    *at += 1;
    if first >> 5 != major {
        return None;
    }
    let width = match first & 31 {
        small @ 0..24 => return Some(small.into()),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return None,
    };
    let digits = bytes.get(*at..*at + width)?;
    *at += width;
    Some(digits.iter().fold(0, |value, digit| value << 8 | u64::from(*digit)))
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
