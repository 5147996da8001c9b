//! [`Content`]: the bytes of a file. Pieces are shared with whoever wrote them; what nobody wrote is zero.

use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;

/// Bytes with a length, sparse. A clone shares all pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// By their first byte; they neither overlap nor reach over the end.
    pieces: BTreeMap<u64, Bytes>,
    len: u64,
}

impl Content {
    /// Bytes up to the end.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Moves the end; what is behind it is gone.
    pub fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.clear(len, self.len);
        }
        self.len = len;
    }

    /// Writes `bytes` at `at`, over what is there.
    pub fn write(&mut self, at: u64, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let end = at + bytes.len() as u64;
        self.clear(at, end);
        self.pieces.insert(at, bytes);
        self.len = self.len.max(end);
    }

    /// Fills `buffer` from `at` on; false if the end comes first.
    pub fn read(&self, at: u64, buffer: &mut [u8]) -> bool {
        let end = at.saturating_add(buffer.len() as u64);
        if end > self.len {
            return false;
        }
        buffer.fill(0);
        let first = self.pieces.range(..=at).next_back().map_or(at, |(start, _)| *start);
        for (start, piece) in self.pieces.range(first..end) {
            let (from, to) = ((*start).max(at), (*start + piece.len() as u64).min(end));
            if from < to {
                buffer[index(from - at)..index(to - at)]
                    .copy_from_slice(&piece[index(from - start)..index(to - start)]);
            }
        }
        true
    }

    /// Flips a bit, if that byte was ever written.
    pub fn flip(&mut self, at: u64, bit: u8) {
        let Some((start, piece)) = self.pieces.range_mut(..=at).next_back() else { return };
        let within = index(at - start);
        if within < piece.len() {
            let mut copy = BytesMut::from(&piece[..]);
            copy[within] ^= 1 << (bit % 8);
            *piece = copy.freeze();
        }
    }

    /// Bytes that were written, and not only jumped over.
    pub fn written(&self) -> u64 {
        self.pieces.values().map(|piece| piece.len() as u64).sum()
    }

    /// Where the `nth` of the written bytes is.
    pub fn place(&self, mut nth: u64) -> Option<u64> {
        for (start, piece) in &self.pieces {
            if nth < piece.len() as u64 {
                return Some(start + nth);
            }
            nth -= piece.len() as u64;
        }
        None
    }

    /// Makes `from..to` zero.
    fn clear(&mut self, from: u64, to: u64) {
        if let Some((start, piece)) =
            self.pieces.range(..from).next_back().map(|(start, piece)| (*start, piece.clone()))
        {
            let piece_end = start + piece.len() as u64;
            if piece_end > from {
                self.pieces.insert(start, piece.slice(..index(from - start)));
            }
            if piece_end > to {
                self.pieces.insert(to, piece.slice(index(to - start)..));
            }
        }
        let within: Vec<u64> = self.pieces.range(from..to).map(|(start, _)| *start).collect();
        for start in within {
            let Some(piece) = self.pieces.remove(&start) else { continue };
            if start + piece.len() as u64 > to {
                self.pieces.insert(to, piece.slice(index(to - start)..));
            }
        }
    }
}

/// An offset within a piece or a buffer, which are in memory.
fn index(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_kernel::Seed;

    #[test]
    fn content_agrees_with_a_vector_whatever_is_written_over_what() {
        let mut draw = Seed::new([7; 32]).draw();
        let mut below = |bound: u64| draw.below(bound);
        let (mut content, mut model) = (Content::default(), Vec::<u8>::new());
        for step in 0..4000u64 {
            let (at, size, value) = (below(300), below(80), below(256) as u8);
            if below(8) == 0 {
                content.set_len(at);
                model.resize(at as usize, 0);
            } else if size > 0 {
                let end = (at + size) as usize;
                model.resize(model.len().max(end), 0);
                model[at as usize..end].fill(value);
                content.write(at, Bytes::from(vec![value; size as usize]));
            }
            assert_eq!(content.len(), model.len() as u64, "step {step}");
            let from = below(content.len() + 1);
            let mut found = vec![9; below(content.len() - from + 1) as usize];
            assert!(content.read(from, &mut found));
            assert_eq!(found, model[from as usize..from as usize + found.len()], "step {step}");
        }
        assert!(!content.read(0, &mut vec![0; model.len() + 1]));
    }

    #[test]
    fn a_flipped_bit_changes_no_clone() {
        let mut content = Content::default();
        content.write(10, Bytes::from_static(b"abc"));
        let before = content.clone();
        content.flip(11, 0);
        content.flip(5, 0);
        let mut found = [0; 3];
        assert!(content.read(10, &mut found) && found == *b"acc");
        assert!(before.read(10, &mut found) && found == *b"abc");
        assert_eq!((content.written(), content.place(1), content.place(3)), (3, Some(11), None));
    }
}
