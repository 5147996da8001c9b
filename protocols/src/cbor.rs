//! The part of CBOR (RFC 8949) that guests are spoken to in: integers from 0, byte strings, texts, arrays, maps and null,
//! all of definite length. Not for frames between nodes: see [`crate::codec`].
//!
//! A [`Reader`] never allocates for a length that a stranger names, and byte strings share the buffer they are read from.

use bytes::{BufMut, Bytes, BytesMut};

const UINT: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const NULL: u8 = 0xf6;

/// Writes items one after the other.
#[derive(Debug, Default)]
pub struct Writer(BytesMut);

impl Writer {
    /// With room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(BytesMut::with_capacity(bytes))
    }

    /// An integer from 0.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        self.head(UINT, value)
    }

    /// A byte string.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(BYTES, bytes.len() as u64).0.put_slice(bytes);
        self
    }

    /// The head of a byte string: that many bytes follow.
    pub fn bytes_head(&mut self, len: u64) -> &mut Self {
        self.head(BYTES, len)
    }

    /// A text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.head(TEXT, text.len() as u64).0.put_slice(text.as_bytes());
        self
    }

    /// The head of an array: that many items follow.
    pub fn array(&mut self, items: usize) -> &mut Self {
        self.head(ARRAY, items as u64)
    }

    /// The head of a map: that many pairs of items follow.
    pub fn map(&mut self, pairs: usize) -> &mut Self {
        self.head(MAP, pairs as u64)
    }

    /// Nothing.
    pub fn null(&mut self) -> &mut Self {
        self.0.put_u8(NULL);
        self
    }

    /// All that was written.
    pub fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.0).freeze()
    }

    fn head(&mut self, major: u8, value: u64) -> &mut Self {
        let (major, out) = (major << 5, &mut self.0);
        match value {
            0..24 => out.put_u8(major | value as u8),
            24..0x100 => out.put_slice(&[major | 24, value as u8]),
            0x100..0x1_0000 => {
                out.put_u8(major | 25);
                out.put_u16(value as u16);
            }
            0x1_0000..0x1_0000_0000 => {
                out.put_u8(major | 26);
                out.put_u32(value as u32);
            }
            _ => {
                out.put_u8(major | 27);
                out.put_u64(value);
            }
        }
        self
    }
}

/// Reads items one after the other; `None` if the next one is another or is cut short.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    /// From the beginning of `bytes`.
    pub fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    /// An integer from 0.
    pub fn uint(&mut self) -> Option<u64> {
        self.head(UINT)
    }

    /// A byte string, without copying it.
    pub fn bytes(&mut self) -> Option<Bytes> {
        self.slice(BYTES)
    }

    /// A text.
    pub fn text(&mut self) -> Option<String> {
        let bytes = self.slice(TEXT)?;
        std::str::from_utf8(&bytes).ok().map(str::to_owned)
    }

    /// The head of an array: so many items follow, if they do.
    pub fn array(&mut self) -> Option<u64> {
        self.head(ARRAY)
    }

    /// The head of a map: so many pairs follow, if they do.
    pub fn map(&mut self) -> Option<u64> {
        self.head(MAP)
    }

    /// Skips a null if one is next.
    pub fn null(&mut self) -> Option<()> {
        (self.bytes.get(self.at) == Some(&NULL)).then(|| self.at += 1)
    }

    /// Is everything read?
    pub fn is_done(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn slice(&mut self, major: u8) -> Option<Bytes> {
        let before = self.at;
        let length = self.head(major).and_then(|length| usize::try_from(length).ok());
        let end = length.and_then(|length| self.at.checked_add(length)).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else {
            self.at = before;
            return None;
        };
        let start = std::mem::replace(&mut self.at, end);
        Some(self.bytes.slice(start..end))
    }

    fn head(&mut self, major: u8) -> Option<u64> {
        let first = *self.bytes.get(self.at)?;
        if first >> 5 != major {
            return None;
        }
        let width = match first & 31 {
            small @ 0..24 => {
                self.at += 1;
                return Some(small.into());
            }
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return None,
        };
        let digits = self.bytes.get(self.at + 1..self.at + 1 + width)?;
        self.at += 1 + width;
        Some(digits.iter().fold(0, |value, digit| value << 8 | u64::from(*digit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn items_have_the_bytes_of_the_rfc() {
        let mut writer = Writer::default();
        writer.array(5).uint(10).uint(1_000_000).bytes(&[1, 2]).text("IETF").null();
        assert_eq!(writer.finish(), &b"\x85\x0a\x1a\x00\x0f\x42\x40\x42\x01\x02\x64IETF\xf6"[..]);
        assert_eq!(writer.map(1).text("a").uint(0x1_0000_0000).finish(), &b"\xa1\x61a\x1b\0\0\0\x01\0\0\0\0"[..]);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(number: u64, bytes: Vec<u8>, text: String) {
            let mut writer = Writer::default();
            let all = writer.map(1).uint(number).bytes(&bytes).text(&text).array(0).null().finish();
            let mut reader = Reader::new(&all);
            prop_assert_eq!(reader.array(), None);
            prop_assert_eq!(reader.map(), Some(1));
            prop_assert_eq!(reader.uint(), Some(number));
            prop_assert_eq!(reader.text(), None);
            prop_assert_eq!(reader.bytes(), Some(Bytes::from(bytes)));
            prop_assert_eq!(reader.text(), Some(text));
            prop_assert_eq!((reader.array(), reader.null(), reader.is_done()), (Some(0), Some(()), true));
        }

        #[test]
        fn any_bytes_are_read_or_not(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            let mut reader = Reader::new(&bytes);
            while !reader.is_done() {
                let read = reader.uint().is_some() || reader.bytes().is_some() || reader.text().is_some()
                    || reader.array().is_some() || reader.map().is_some() || reader.null().is_some();
                if !read { break }
            }
        }
    }
}
