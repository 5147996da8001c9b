//! [`Window`]: which stripes of a byte range are asked for, and in what order their plaintext leaves.
//!
//! Stripes are asked for in ascending order, at most [`STRIPES_AHEAD_MAX`] beyond the last consumed one; they arrive
//! and are decoded in any order; they leave in order, cut to the range. A window opens slowly, as a TCP connection
//! does: see [`STRIPES_AHEAD_FIRST`]. Not here: messages (`decoder`).

use bytes::Bytes;
use pangea_kernel::planted;
use pangea_protocols::manifest::FRAME_BYTES;
use std::{collections::BTreeMap, ops::Range};

/// Stripes that are asked for beyond the last consumed one.
pub const STRIPES_AHEAD_MAX: u64 = 16;
/// Stripes that are asked for before the first is consumed. All that are under way share links and processors: a full
/// window at once would hold up the first byte until nearly all of it is here.
pub const STRIPES_AHEAD_FIRST: u64 = 2;
/// Stripes by which the window grows with every consumed one: it is full after two round trips.
const GROWTH: u64 = 2;

const FRAME: u64 = FRAME_BYTES as u64;

/// A range of an object on its way to the reader.
#[derive(Debug)]
pub struct Window {
    /// Bytes of the object's stream that are wanted.
    range: Range<u64>,
    /// First stripe that has not been asked for.
    asked: u64,
    /// One past the last stripe that has to be asked for.
    end: u64,
    /// The stripe that leaves next.
    next: u64,
    /// Stripes below this one are consumed.
    consumed: u64,
    /// How many beyond `consumed` may be asked for.
    ahead: u64,
    /// Stripes between arrival and departure.
    slots: BTreeMap<u64, Slot>,
}

#[derive(Debug)]
enum Slot {
    Decoding,
    Decoded(Bytes),
}

/// A whole frame and the part of it that the range covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which stripe.
    pub index: u64,
    /// Its plaintext.
    pub frame: Bytes,
    /// Offset in the object's stream of the first wanted byte.
    pub offset: u64,
    /// The wanted bytes.
    pub bytes: Bytes,
}

impl Window {
    /// Over `range` of the object's stream. `kept` is a frame that is at hand already; if it is the last one of the
    /// range it is not asked for again.
    pub fn new(range: Range<u64>, kept: Option<(u64, Bytes)>) -> Self {
        let stripes = stripes(&range);
        let mut window = Self {
            asked: stripes.start,
            end: stripes.end,
            next: stripes.start,
            consumed: stripes.start,
            ahead: STRIPES_AHEAD_FIRST,
            slots: BTreeMap::new(),
            range,
        };
        if let Some((index, frame)) = kept.filter(|(index, _)| !stripes.is_empty() && index + 1 == stripes.end) {
            window.end = index;
            window.slots.insert(index, Slot::Decoded(frame));
        }
        window
    }

    /// The stripes that are to be asked for now, each once.
    pub fn ask(&mut self) -> Option<Range<u64>> {
        let from = self.asked;
        self.asked = self.end.min(self.consumed + self.ahead).max(from);
        (from < self.asked).then_some(from..self.asked)
    }

    /// Was this stripe asked for, and has it not arrived before? If so, it now has.
    pub fn arrive(&mut self, index: u64) -> bool {
        let wanted = (self.next..self.asked).contains(&index) && !self.slots.contains_key(&index);
        if wanted {
            self.slots.insert(index, Slot::Decoding);
        }
        wanted
    }

    /// The plaintext of a stripe that has arrived; others are ignored.
    pub fn decoded(&mut self, index: u64, frame: Bytes) {
        if let Some(slot) = self.slots.get_mut(&index) {
            *slot = Slot::Decoded(frame);
        }
    }

    /// The next piece in order, if it is decoded.
    pub fn pop(&mut self) -> Option<Piece> {
        match self.slots.remove(&self.next)? {
            Slot::Decoded(frame) => {
                let index = self.next;
                self.next += 1;
                let first = index * FRAME;
                let last = first + frame.len() as u64;
                let within = self.range.start.clamp(first, last)..self.range.end.clamp(first, last);
                let bytes = frame.slice((within.start - first) as usize..(within.end - first) as usize);
                Some(Piece { index, frame, offset: within.start, bytes })
            }
            decoding => {
                self.slots.insert(self.next, decoding);
                None
            }
        }
    }

    /// The reader has taken stripe `index`, the next in order. True if it had been asked for.
    pub fn consume(&mut self, index: u64) -> bool {
        self.consumed = self.consumed.max(index + 1);
        self.ahead = STRIPES_AHEAD_MAX.min(self.ahead + GROWTH);
        index < self.end
    }

    /// All pieces have left.
    pub fn is_done(&self) -> bool {
        self.next >= stripes(&self.range).end
    }

    /// The wanted range.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }
}

fn stripes(range: &Range<u64>) -> Range<u64> {
    let start = range.start / FRAME;
    if planted!("range-end-floored") {
        return start..(range.end / FRAME).max(start);
    }
    if range.is_empty() { start..start } else { start..range.end.div_ceil(FRAME) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(byte: u8, len: usize) -> Bytes {
        Bytes::from(vec![byte; len])
    }

    #[test]
    fn asks_each_stripe_once_and_only_so_far_ahead() {
        let mut window = Window::new(5 * FRAME + 3..40 * FRAME, None);
        assert_eq!(window.ask(), Some(5..7));
        assert_eq!(window.ask(), None);
        assert!(!window.arrive(4) && !window.arrive(7) && window.arrive(6) && !window.arrive(6));
        assert!(window.arrive(5));
        window.decoded(5, frame(1, FRAME_BYTES));
        let piece = window.pop().unwrap();
        assert_eq!((piece.index, piece.offset, piece.bytes.len()), (5, 5 * FRAME + 3, FRAME_BYTES - 3));
        assert_eq!((window.pop(), window.ask()), (None, None));
        assert!(window.consume(5));
        assert_eq!(window.ask(), Some(7..10));
    }

    #[test]
    fn a_window_opens_as_stripes_are_consumed_and_stays_full_then() {
        let mut window = Window::new(0..100 * FRAME, None);
        let mut asked = 0;
        let mut ahead = Vec::new();
        for index in 0..10 {
            asked += window.ask().map_or(0, |stripes| stripes.end - stripes.start);
            ahead.push(asked - index);
            window.consume(index);
        }
        assert_eq!(ahead, [2, 4, 6, 8, 10, 12, 14, 16, 16, 16]);
    }

    #[test]
    fn an_empty_range_needs_nothing() {
        for range in [0..0, FRAME..FRAME, 7..7] {
            let mut window = Window::new(range, Some((0, frame(0, 10))));
            assert!(window.is_done() && window.ask().is_none() && window.pop().is_none());
        }
    }

    #[test]
    fn a_frame_at_hand_is_not_asked_for_again() {
        let mut window = Window::new(0..FRAME + 10, Some((1, frame(2, 500))));
        assert_eq!(window.ask(), Some(0..1));
        assert!(window.arrive(0));
        window.decoded(0, frame(1, FRAME_BYTES));
        let pieces: Vec<_> =
            std::iter::from_fn(|| window.pop()).map(|piece| (piece.index, piece.bytes.len())).collect();
        assert_eq!(pieces, [(0, FRAME_BYTES), (1, 10)]);
        assert!(window.consume(0) && !window.consume(1) && window.is_done());
    }

    #[test]
    fn a_frame_shorter_than_the_range_ends_it_without_a_panic() {
        let mut window = Window::new(100..200, None);
        window.ask();
        assert!(window.arrive(0));
        window.decoded(0, frame(1, 50));
        assert_eq!(window.pop().unwrap().bytes.len(), 0);
    }

    proptest! {
        #[test]
        fn pieces_are_the_range_in_order(start in 0u64..5 * FRAME, len in 0u64..20 * FRAME, swap in any::<u64>()) {
            let range = start..start + len;
            let mut window = Window::new(range.clone(), None);
            let (mut at, mut waiting) = (start, Vec::new());
            loop {
                waiting.extend(window.ask().into_iter().flatten());
                if window.is_done() { break; }
                let index = waiting.swap_remove((swap % waiting.len() as u64) as usize);
                prop_assert!(window.arrive(index));
                window.decoded(index, frame(0, FRAME_BYTES));
                while let Some(piece) = window.pop() {
                    prop_assert_eq!(piece.offset, at);
                    at += piece.bytes.len() as u64;
                    window.consume(piece.index);
                }
            }
            prop_assert_eq!(at, range.end);
        }
    }
}
