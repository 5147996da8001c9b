//! Finds the words of a text: eight bytes at a time as long as they are ASCII, character by character otherwise.

use crate::table::Table;
use alloc::vec::Vec;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;

/// Counts the words of `text` into `table`: how many there were.
pub fn count(text: &[u8], table: &mut Table) -> u64 {
    let (mut at, mut words) = (0, 0);
    let mut pieces = Vec::new();
    while at < text.len() {
        let bytes = eight(text, at);
        let (lower, stops) = letters(bytes);
        // The high bit of the first byte that is no ASCII letter.
        let stop = stops & stops.wrapping_neg();
        if stop == 0 || stop & bytes != 0 {
            at = long(text, at, &mut pieces);
            words += u64::from(!pieces.is_empty());
            table.add(&pieces, 1, 0);
            continue;
        }
        let word = lower & ((stop >> 7) - 1);
        if word != 0 {
            table.count_short(word);
            words += 1;
        }
        // The next byte that may begin a word, or as far as was looked.
        let begin = !(stops & !bytes) & HIGH & (stop << 1).wrapping_neg();
        at += begin.trailing_zeros() as usize / 8;
    }
    words
}

/// Eight bytes from `at` on, zeros behind the end.
#[inline(always)]
fn eight(text: &[u8], at: usize) -> u64 {
    match text.get(at..).and_then(<[u8]>::first_chunk) {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => last(text, at),
    }
}

/// Likewise where there are fewer.
#[cold]
fn last(text: &[u8], at: usize) -> u64 {
    text.get(at..).unwrap_or_default().iter().rev().fold(0, |bytes, byte| bytes << 8 | u64::from(*byte))
}

/// The bytes with letters in lower case, and the high bit of each that is no ASCII letter.
#[inline(always)]
fn letters(bytes: u64) -> (u64, u64) {
    let lower = bytes | (0x20 * ONES);
    // Without high bits, sums of bytes do not reach their neighbours.
    let low = lower & !HIGH;
    let from_a = low + (0x80 - u64::from(b'a')) * ONES;
    let beyond_z = low + (0x7f - u64::from(b'z')) * ONES;
    (lower, !(from_a & !beyond_z & !bytes) & HIGH)
}

/// A word that is longer than eight bytes or not all ASCII: its pieces, and where to go on. No pieces if a character
/// stands there that is no letter.
fn long(text: &[u8], start: usize, pieces: &mut Vec<u64>) -> usize {
    pieces.clear();
    let mut at = start;
    loop {
        let bytes = eight(text, at);
        let (lower, stops) = letters(bytes);
        let stop = stops & stops.wrapping_neg();
        if stop & bytes != 0 {
            return other_script(text, start, pieces);
        }
        if stop != 0 {
            let last = lower & ((stop >> 7) - 1);
            if last != 0 {
                pieces.push(last);
            }
            return at + stop.trailing_zeros() as usize / 8 + 1;
        }
        pieces.push(lower);
        at += 8;
    }
}

/// Likewise of any script, character by character.
fn other_script(text: &[u8], start: usize, pieces: &mut Vec<u64>) -> usize {
    let (mut at, mut word) = (start, Vec::new());
    let end = loop {
        // Behind the end and where there is no UTF-8, the word ends and one byte is left behind.
        let Some(character) = text.get(at..).and_then(character) else { break at + 1 };
        at += character.len_utf8();
        if !character.is_alphabetic() {
            break at;
        }
        for lower in character.to_lowercase() {
            word.extend_from_slice(lower.encode_utf8(&mut [0; 4]).as_bytes());
        }
    };
    crate::table::pieces(&word, pieces);
    end
}

/// The character at the beginning; `None` if it is no UTF-8.
fn character(text: &[u8]) -> Option<char> {
    let width = match text.first()? {
        0..0x80 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0.. => 4,
        _ => return None,
    };
    core::str::from_utf8(text.get(..width)?).ok()?.chars().next()
}
