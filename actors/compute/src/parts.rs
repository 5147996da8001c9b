//! Bytes that come in several frames: cutting and [`Parts`], which puts them together again in any order.

use bytes::{Bytes, BytesMut};
use pangea_protocols::wire::compute::PART_BYTES;

/// The parts of `bytes`: number, count and content. Nothing is one empty part.
pub fn parts_of(bytes: &Bytes) -> impl Iterator<Item = (u16, u16, Bytes)> + use<> {
    let (bytes, count) = (bytes.clone(), count(bytes.len()));
    (0..count).map(move |part| (part, count, slice(&bytes, part)))
}

/// What lies one behind the other in a body, by lengths. None unless that is all of it. Copies, so that a small one that is
/// kept for long does not keep the others.
pub fn apart(body: &[u8], lengths: impl Iterator<Item = u32>) -> Option<Vec<Bytes>> {
    let (mut rest, mut apart) = (body, Vec::new());
    for length in lengths {
        let (one, others) = rest.split_at_checked(length as usize)?;
        apart.push(Bytes::copy_from_slice(one));
        rest = others;
    }
    rest.is_empty().then_some(apart)
}

/// How many parts so many bytes have.
pub fn count(length: usize) -> u16 {
    u16::try_from(length.div_ceil(PART_BYTES).max(1)).unwrap_or(u16::MAX)
}

/// One part; empty beyond the end.
pub fn slice(bytes: &Bytes, part: u16) -> Bytes {
    let start = (usize::from(part) * PART_BYTES).min(bytes.len());
    bytes.slice(start..bytes.len().min(start + PART_BYTES))
}

/// Parts that have come so far. Holds at most as many bytes as its number of parts allows.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    come: Vec<Option<Bytes>>,
}

impl Parts {
    /// Takes a part; returns the whole once all are there. A part of another cut, or of a wrong length, is dropped.
    pub fn add(&mut self, part: u16, parts: u16, bytes: Bytes) -> Option<Bytes> {
        if self.come.is_empty() {
            self.come.resize(parts.into(), None);
        }
        let last = part + 1 == parts;
        let fits = if last { bytes.len() <= PART_BYTES } else { bytes.len() == PART_BYTES };
        if self.come.len() != usize::from(parts) || !fits {
            return None;
        }
        *self.come.get_mut(usize::from(part))? = Some(bytes);
        if self.come.iter().any(Option::is_none) {
            return None;
        }
        let mut come = std::mem::take(&mut self.come).into_iter().flatten();
        if parts == 1 {
            return come.next();
        }
        let mut whole = BytesMut::with_capacity(usize::from(parts) * PART_BYTES);
        come.for_each(|bytes| whole.extend_from_slice(&bytes));
        Some(whole.freeze())
    }

    /// The first part that is missing, if it is known how many there are.
    pub fn missing(&self) -> u16 {
        let first = self.come.iter().position(Option::is_none).unwrap_or(0);
        u16::try_from(first).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn parts_in_any_order_and_more_than_once_become_the_whole(
            length in 0usize..3_500_000, order in proptest::collection::vec(any::<u16>(), 0..12),
        ) {
            let whole = Bytes::from((0..length).map(|n| (n / 7) as u8).collect::<Vec<u8>>());
            let cut: Vec<_> = parts_of(&whole).collect();
            let mut parts = Parts::default();
            let shuffled = order.iter().map(|n| usize::from(*n) % cut.len()).chain(0..cut.len());
            let found = shuffled.map(|at| cut[at].clone()).find_map(|(part, count, bytes)| parts.add(part, count, bytes));
            prop_assert_eq!(found, Some(whole));
        }
    }

    #[test]
    fn a_body_is_taken_apart_only_if_the_lengths_are_all_of_it() {
        let whole = |lengths: &[u32]| apart(b"onetwo", lengths.iter().copied());
        assert_eq!(whole(&[3, 0, 3]), Some(vec!["one".into(), Bytes::new(), "two".into()]));
        assert_eq!((whole(&[3, 2]), whole(&[3, 4]), whole(&[7]), whole(&[])), (None, None, None, None));
    }

    #[test]
    fn a_part_of_another_cut_or_length_changes_nothing() {
        let mut parts = Parts::default();
        let full = Bytes::from(vec![1; PART_BYTES]);
        assert_eq!(parts.add(0, 2, full.clone()), None);
        assert_eq!(parts.add(1, 3, full.clone()), None);
        assert_eq!(parts.add(0, 2, Bytes::from_static(b"short")), None);
        assert_eq!(parts.missing(), 1);
        assert_eq!(parts.add(1, 2, Bytes::from_static(b"end")).map(|whole| whole.len()), Some(PART_BYTES + 3));
    }
}
