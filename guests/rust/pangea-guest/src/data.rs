//! What a function of a task or a job may take and return, and the CBOR (RFC 8949) between it and the host.
//!
//! ```text
//! call   [entry, index, total, payload]    entry: "split" │ "execute" │ "merge"; index, total: which chunk of how many
//! list   [bytes, bytes, …]                 what a split returns, and the payload of a merge, in the order of chunks
//! ```

use crate::__alloc::{string::String, vec::Vec};
use crate::abi::Fail;
use core::fmt::Display;

/// A part of a job's input, and which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Its number, from 0.
    pub index: u32,
    /// How many chunks there are.
    pub total: u32,
    /// What it holds.
    pub bytes: &'a [u8],
}

/// The results of all chunks, in the order of chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    left: usize,
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Reads a list of byte strings in CBOR. `None` if it is anything else.
    pub fn read(list: &'a [u8]) -> Option<Self> {
        let (count, rest) = head(list, ARRAY)?;
        // All of it is looked at once, so that going through it cannot fail.
        let (mut left, mut unread) = (count, rest);
        while left > 0 {
            (_, unread) = bytes(unread)?;
            left -= 1;
        }
        unread.is_empty().then_some(Self { left: usize::try_from(count).ok()?, rest })
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let (item, rest) = bytes(self.rest)?;
        self.rest = rest;
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Parts<'_> {}

/// What a function may take: `&[u8]`, `&str`, [`Chunk`], [`Parts`] in a merge, or [`Event`](crate::plugin::Event) in a plugin.
pub trait Argument<'a>: Sized {
    /// Makes it of a chunk.
    ///
    /// # Errors
    /// Why it is not that.
    fn from_chunk(chunk: Chunk<'a>) -> Result<Self, &'static str>;
}

impl<'a> Argument<'a> for Chunk<'a> {
    fn from_chunk(chunk: Chunk<'a>) -> Result<Self, &'static str> {
        Ok(chunk)
    }
}

impl<'a> Argument<'a> for &'a [u8] {
    fn from_chunk(chunk: Chunk<'a>) -> Result<Self, &'static str> {
        Ok(chunk.bytes)
    }
}

impl<'a> Argument<'a> for &'a str {
    fn from_chunk(chunk: Chunk<'a>) -> Result<Self, &'static str> {
        core::str::from_utf8(chunk.bytes).map_err(|_| "the input is not text (UTF-8)")
    }
}

impl<'a> Argument<'a> for Parts<'a> {
    fn from_chunk(chunk: Chunk<'a>) -> Result<Self, &'static str> {
        Parts::read(chunk.bytes).ok_or("the input is not a list of byte strings in CBOR")
    }
}

/// What a function may return: `Vec<u8>`, `String`, `&'static str`, nothing, or a `Result` of them, whose error ends the
/// task.
pub trait Output {
    /// The bytes of it.
    fn into_bytes(self, fail: Fail) -> Vec<u8>;
}

impl Output for Vec<u8> {
    fn into_bytes(self, _: Fail) -> Vec<u8> {
        self
    }
}

impl Output for String {
    fn into_bytes(self, _: Fail) -> Vec<u8> {
        self.into()
    }
}

impl Output for &'static str {
    fn into_bytes(self, _: Fail) -> Vec<u8> {
        self.into()
    }
}

impl Output for () {
    fn into_bytes(self, _: Fail) -> Vec<u8> {
        Vec::new()
    }
}

impl<T: Output, E: Display> Output for Result<T, E> {
    fn into_bytes(self, fail: Fail) -> Vec<u8> {
        match self {
            Ok(output) => output.into_bytes(fail),
            Err(reason) => fail(&reason),
        }
    }
}

/// What a split may return: a vector of `Vec<u8>` or `String`, or a `Result` of it, whose error ends the task.
pub trait Chunks {
    /// The list of them in CBOR.
    fn into_list(self, fail: Fail) -> Vec<u8>;
}

impl Chunks for Vec<Vec<u8>> {
    fn into_list(self, _: Fail) -> Vec<u8> {
        list(self.iter().map(Vec::as_slice))
    }
}

impl Chunks for Vec<String> {
    fn into_list(self, _: Fail) -> Vec<u8> {
        list(self.iter().map(String::as_bytes))
    }
}

impl<T: Chunks, E: Display> Chunks for Result<T, E> {
    fn into_list(self, fail: Fail) -> Vec<u8> {
        match self {
            Ok(chunks) => chunks.into_list(fail),
            Err(reason) => fail(&reason),
        }
    }
}

pub(crate) const UINT: u8 = 0;
pub(crate) const BYTES: u8 = 2;
pub(crate) const TEXT: u8 = 3;
pub(crate) const ARRAY: u8 = 4;
pub(crate) const MAP: u8 = 5;
/// Most bytes of a head.
const HEAD_BYTES: usize = 9;

/// A list of byte strings in CBOR.
pub fn list<'a>(items: impl ExactSizeIterator<Item = &'a [u8]> + Clone) -> Vec<u8> {
    let size = items.clone().map(|item| item.len() + HEAD_BYTES).sum::<usize>();
    let mut list = Vec::with_capacity(size + HEAD_BYTES);
    put_head(&mut list, ARRAY, items.len() as u64);
    for item in items {
        put_head(&mut list, BYTES, item.len() as u64);
        list.extend_from_slice(item);
    }
    list
}

/// The input of a job's module: which function is asked for, and with what.
pub(crate) fn call(input: &[u8]) -> Option<(&[u8], Chunk<'_>)> {
    let (4, rest) = head(input, ARRAY)? else { return None };
    let (entry, rest) = string(rest, TEXT)?;
    let (index, rest) = head(rest, UINT)?;
    let (total, rest) = head(rest, UINT)?;
    let (bytes, rest) = bytes(rest)?;
    let chunk = Chunk { index: u32::try_from(index).ok()?, total: u32::try_from(total).ok()?, bytes };
    rest.is_empty().then_some((entry, chunk))
}

pub(crate) fn bytes(from: &[u8]) -> Option<(&[u8], &[u8])> {
    string(from, BYTES)
}

pub(crate) fn string(from: &[u8], major: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = head(from, major)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

pub(crate) fn head(from: &[u8], major: u8) -> Option<(u64, &[u8])> {
    let (first, rest) = from.split_first()?;
    if first >> 5 != major {
        return None;
    }
    let width = match first & 31 {
        small @ 0..24 => return Some((small.into(), rest)),
        width @ 24..28 => 1 << (width - 24),
        _ => return None,
    };
    let (digits, rest) = rest.split_at_checked(width)?;
    Some((digits.iter().fold(0, |value, digit| value << 8 | u64::from(*digit)), rest))
}

pub(crate) fn put_head(into: &mut Vec<u8>, major: u8, value: u64) {
    let digits = value.to_be_bytes();
    let (code, width) = match value {
        0..24 => (value as u8, 0),
        24..0x100 => (24, 1),
        0x100..0x1_0000 => (25, 2),
        0x1_0000..0x1_0000_0000 => (26, 4),
        _ => (27, 8),
    };
    into.push(major << 5 | code);
    into.extend_from_slice(&digits[8 - width..]);
}
