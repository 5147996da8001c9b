//! Word count: how often each word of a text occurs, most frequent first.
//!
//! Cut the text by lines. A word is a run of letters of any script, in lower case.
//!
//! ```text
//! execute   a chunk of text ─▶ "words in all, different ones, most of one left out", then "count word" per line
//! merge     those of all chunks ─▶ the 100 most frequent words, readable
//! ```
//! All outputs together must fit into the input of the merge, so the rarest words of a chunk are left out if they do not
//! fit into its share. How often a word left out of some chunks may have occurred there is known: the merge says so.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

pub mod table;
pub mod words;

use alloc::{format, string::String, vec::Vec};
use core::fmt::Write;
use pangea_guest::{Chunk, Parts, execute, merge};
use table::{Table, Word};

/// How many words the result names.
pub const TOP: usize = 100;
/// What the outputs of all chunks may take together: a megabyte below the most that a merge can be given.
const OUTPUTS_BYTES: usize = 15 << 20;
/// What the first line of an output and its place in a list take at most.
const HEAD_BYTES: usize = 72;
/// Counts above this are never left out.
const RARE: usize = 1024;

#[execute]
pub fn count(chunk: Chunk) -> Vec<u8> {
    let mut table = Table::new();
    let words = words::count(chunk.bytes, &mut table);
    let room = (OUTPUTS_BYTES / (chunk.total as usize).max(1)).saturating_sub(HEAD_BYTES);
    let left_out = rarest_that_fits(&table, room) - 1;
    let mut output = format!("{words} {} {left_out}\n", table.len()).into_bytes();
    for word in table.iter().filter(|word| word.count > left_out) {
        put_number(&mut output, word.count);
        output.push(b' ');
        word.put(&mut output);
        output.push(b'\n');
    }
    output
}

/// The lowest count for which all words that occur as often or more fit into `room` bytes.
fn rarest_that_fits(table: &Table, room: usize) -> u64 {
    // By count, what the words take that occur as often.
    let mut sizes = [0; RARE + 1];
    for word in table.iter() {
        sizes[word.count.min(RARE as u64) as usize] += word.bytes() + digits(word.count) + 2;
    }
    let mut left = room;
    for (count, size) in sizes.iter().enumerate().skip(1).rev() {
        match left.checked_sub(*size) {
            Some(rest) => left = rest,
            None => return (count + 1) as u64,
        }
    }
    1
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

fn put_number(into: &mut Vec<u8>, number: u64) {
    let mut text = [0; 20];
    let mut start = text.len();
    let mut rest = number;
    loop {
        start -= 1;
        text[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    into.extend_from_slice(&text[start..]);
}

#[merge]
pub fn sum(counts: Parts) -> Result<String, String> {
    let mut table = Table::new();
    let (mut words, mut different, mut left_out) = (0, 0, 0);
    for (index, part) in counts.enumerate() {
        let read =
            add(part, &mut table).ok_or_else(|| format!("the output of chunk {index} is not one of this job"))?;
        words += read.words;
        left_out += read.left_out;
        different = read.different.max(different);
    }
    different = different.max(table.len() as u64);
    Ok(told(&table, words, different, left_out))
}

/// The first line of a chunk's output.
struct Head {
    words: u64,
    different: u64,
    left_out: u64,
}

fn add(part: &[u8], table: &mut Table) -> Option<Head> {
    let mut lines = part.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut numbers = lines.next()?.split(|byte| *byte == b' ').map(number);
    let (words, different, left_out) = (numbers.next()??, numbers.next()??, numbers.next()??);
    // A line has at least four bytes.
    table.reserve((different as usize).min(part.len() / 4));
    let mut pieces = Vec::new();
    for line in lines {
        let space = line.iter().position(|byte| *byte == b' ')?;
        // What a chunk that has the word at all adds to the certainty about it.
        table::pieces(&line[space + 1..], &mut pieces);
        table.add(&pieces, number(&line[..space])?, left_out);
    }
    Some(Head { words, different, left_out })
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

fn told(table: &Table, words: u64, different: u64, left_out: u64) -> String {
    // The most frequent, in order; of equally frequent ones those first that come first in the alphabet.
    let mut top: Vec<(Word, Vec<u8>)> = Vec::with_capacity(TOP + 1);
    let mut text = Vec::new();
    for word in table.iter() {
        if top.len() == TOP && top.last().is_some_and(|(last, _)| word.count < last.count) {
            continue;
        }
        text.clear();
        word.put(&mut text);
        let at = top.partition_point(|(other, name)| (other.count, &text) > (word.count, name));
        if at < TOP {
            top.truncate(TOP - 1);
            top.insert(at, (word, text.clone()));
        }
    }
    let least = if left_out == 0 { "" } else { "at least " };
    let mut result = format!("{words} words, {least}{different} different ones\n");
    for (word, text) in &top {
        let text = String::from_utf8_lossy(text);
        // In a chunk that does not name it, it may have occurred as often as what was left out there.
        let more = left_out - word.vouched;
        let _ = match more {
            0 => writeln!(result, "{:>12} {text}", word.count),
            _ => writeln!(result, "{:>12} {text} (up to {more} more)", word.count),
        };
    }
    result
}
