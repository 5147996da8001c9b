//! [`Table`]: words and how often they occur. What makes the word count fast.
//!
//! A word is kept as pieces of eight bytes, filled up with zeros: the first in its slot, further ones one after another
//! behind their number in `more`. So most words are found by one multiplication and one comparison.

use alloc::{vec, vec::Vec};

/// A word of a table.
#[derive(Clone, Copy)]
pub struct Word<'a> {
    /// How often it occurs.
    pub count: u64,
    /// The sum of what was vouched for with it.
    pub vouched: u64,
    first: u64,
    more: &'a [u64],
}

#[derive(Clone, Copy, Default)]
struct Slot {
    /// The first piece; 0 if the slot is free.
    first: u64,
    count: u64,
    vouched: u64,
    /// Where the further pieces are; 0 if there are none.
    more: usize,
}

/// Words with their counts, in an order that follows from what was added.
pub struct Table {
    slots: Vec<Slot>,
    /// How far a hash is shifted to be the number of a slot.
    shift: u32,
    used: usize,
    more: Vec<u64>,
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

impl Table {
    /// An empty table.
    pub fn new() -> Self {
        let bits = 12;
        // The first place of `more` stays unused: 0 stands for none.
        Self { slots: vec![Slot::default(); 1 << bits], shift: u64::BITS - bits, used: 0, more: vec![0] }
    }

    /// How many words it has.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Has it none?
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Its words.
    pub fn iter(&self) -> impl Iterator<Item = Word<'_>> {
        self.slots.iter().filter(|slot| slot.first != 0).map(|slot| {
            let Slot { first, count, vouched, more } = *slot;
            Word { count, vouched, first, more: further(&self.more, more) }
        })
    }

    /// Counts a word of one piece once more.
    #[inline(always)]
    pub fn count_short(&mut self, first: u64) {
        let mut at = (hash(first) >> self.shift) as usize;
        loop {
            let Some(slot) = self.slots.get_mut(at) else {
                at = 0;
                continue;
            };
            if slot.first == first && slot.more == 0 {
                slot.count += 1;
                return;
            }
            if slot.first == 0 {
                *slot = Slot { first, count: 1, vouched: 0, more: 0 };
                return self.grow();
            }
            at += 1;
        }
    }

    /// Adds `count` of a word, given as its pieces, to what it has, and `vouched`. A word of no pieces is left out.
    pub fn add(&mut self, pieces: &[u64], count: u64, vouched: u64) {
        let Some((first, rest)) = pieces.split_first() else { return };
        let mut at = (hash_all(*first, rest) >> self.shift) as usize;
        loop {
            let Some(slot) = self.slots.get_mut(at) else {
                at = 0;
                continue;
            };
            if slot.first == *first && further(&self.more, slot.more) == rest {
                slot.count += count;
                slot.vouched += vouched;
                return;
            }
            if slot.first == 0 {
                let more = if rest.is_empty() { 0 } else { self.more.len() };
                *slot = Slot { first: *first, count, vouched, more };
                if more > 0 {
                    self.more.push(rest.len() as u64);
                    self.more.extend_from_slice(rest);
                }
                return self.grow();
            }
            at += 1;
        }
    }

    /// Makes room for so many more words. Whoever adds words in the order of another table does this first: they come by
    /// their hashes, and would crowd at the beginning of a table that is too small for all of them.
    pub fn reserve(&mut self, words: usize) {
        while (self.used + words) * 3 > self.slots.len() * 2 {
            self.double();
        }
    }

    /// One more slot is used: keeps a third of them free.
    fn grow(&mut self) {
        self.used += 1;
        self.reserve(0);
    }

    fn double(&mut self) {
        let twice = self.slots.len() * 2;
        let old = core::mem::replace(&mut self.slots, vec![Slot::default(); twice]);
        self.shift -= 1;
        for slot in old.into_iter().filter(|slot| slot.first != 0) {
            let mut at = (hash_all(slot.first, further(&self.more, slot.more)) >> self.shift) as usize;
            while self.slots.get(at).is_some_and(|slot| slot.first != 0) {
                at = (at + 1) & (twice - 1);
            }
            self.slots[at] = slot;
        }
    }
}

impl Word<'_> {
    /// How many bytes it has.
    pub fn bytes(&self) -> usize {
        let last = self.more.last().copied().unwrap_or(self.first);
        self.more.len() * 8 + width(last)
    }

    /// Writes it.
    pub fn put(&self, into: &mut Vec<u8>) {
        for piece in core::iter::once(&self.first).chain(self.more) {
            into.extend_from_slice(&piece.to_le_bytes()[..width(*piece)]);
        }
    }
}

/// Bytes of a piece before the zeros.
fn width(piece: u64) -> usize {
    8 - piece.leading_zeros() as usize / 8
}

/// The pieces of a word.
pub fn pieces(word: &[u8], into: &mut Vec<u64>) {
    into.clear();
    into.extend(word.chunks(8).map(|bytes| bytes.iter().rev().fold(0, |piece, byte| piece << 8 | u64::from(*byte))));
}

fn further(more: &[u64], at: usize) -> &[u64] {
    if at == 0 {
        return &[];
    }
    let number = more.get(at).map_or(0, |number| *number as usize);
    more.get(at + 1..at + 1 + number).unwrap_or_default()
}

fn hash_all(first: u64, rest: &[u64]) -> u64 {
    hash(rest.iter().fold(first, |mixed, piece| hash(mixed).rotate_left(29) ^ piece))
}

/// Fibonacci hashing: the upper bits are good.
fn hash(mixed: u64) -> u64 {
    mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
