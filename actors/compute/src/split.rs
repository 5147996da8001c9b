//! Built-in ways to cut an input into chunks. Whoever reads the input calls them; nothing of it is kept in memory.

use serde::{Deserialize, Serialize};
use std::{fmt, io, ops::Range, str::FromStr};

/// Most bytes of a chunk: a task's input is at most 16 MiB with its envelope.
pub const CHUNK_BYTES_MAX: u64 = (16 << 20) - crate::envelope::OVERHEAD_BYTES as u64;
/// Bytes that are looked through at once for the end of a line.
const WINDOW: u64 = 64 << 10;

/// How an input is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cut {
    /// Not at all.
    Whole,
    /// Every so many bytes.
    Bytes(u64),
    /// Whole lines, as many as fit into so many bytes; a longer line is a chunk of its own.
    Lines(u64),
    /// Records of `record` bytes, as many as fit into `chunk` bytes, and at least one.
    Records { record: u64, chunk: u64 },
}

/// An input that can be read anywhere.
pub trait Input {
    /// Its length in bytes.
    fn len(&self) -> u64;

    /// True if there is nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `into` with the bytes from `offset` on.
    ///
    /// # Errors
    /// The file system's; there are fewer bytes.
    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

impl Input for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).ok().and_then(|from| self.get(from..from.checked_add(into.len())?));
        into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Why an input cannot be cut.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line, a record or the whole is too long for one task.
    #[error("the bytes {from} to {to} cannot be cut and are more than a task's {CHUNK_BYTES_MAX}: cut the input in another way", from = .0.start, to = .0.end)]
    TooLong(Range<u64>),
    /// There are too many.
    #[error("the input has more than {0} chunks: make them larger")]
    TooMany(usize),
}

/// Where chunks end: they follow each other and cover the input, at most `max` of them. A size of 0 counts as 1.
///
/// # Errors
/// See [`CutError`].
pub fn cut(input: &(impl Input + ?Sized), how: Cut, max: usize) -> Result<Vec<u64>, CutError> {
    let (len, mut ends, mut start) = (input.len(), Vec::new(), 0);
    while start < len {
        let end = match how {
            Cut::Whole => len,
            Cut::Bytes(size) => len.min(start.saturating_add(size.max(1))),
            Cut::Records { record, chunk } => {
                let record = record.max(1);
                len.min(start.saturating_add((chunk / record).max(1).saturating_mul(record)))
            }
            Cut::Lines(size) => line_end(input, start, size.max(1))?,
        };
        if end - start > CHUNK_BYTES_MAX {
            return Err(CutError::TooLong(start..end));
        }
        if ends.len() >= max {
            return Err(CutError::TooMany(max));
        }
        ends.push(end);
        start = end;
    }
    Ok(ends)
}

/// The chunks that end there.
pub fn ranges(ends: &[u64]) -> impl Iterator<Item = Range<u64>> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, end)| start..*end)
}

/// The end of the last line that ends within `size` bytes from `start`, or of the first one if none does.
fn line_end(input: &(impl Input + ?Sized), start: u64, size: u64) -> io::Result<u64> {
    let limit = input.len().min(start.saturating_add(size));
    if limit == input.len() {
        return Ok(limit);
    }
    let mut buffer = vec![0; WINDOW as usize];
    let mut to = limit;
    while to > start {
        let from = to.saturating_sub(WINDOW).max(start);
        let window = &mut buffer[..(to - from) as usize];
        input.read(from, window)?;
        if let Some(at) = window.iter().rposition(|byte| *byte == b'\n') {
            return Ok(from + at as u64 + 1);
        }
        to = from;
    }
    let mut from = limit;
    // A line that is too long for a task is not read to its end.
    while from < input.len() && from - start <= CHUNK_BYTES_MAX {
        let to = input.len().min(from + WINDOW);
        let window = &mut buffer[..(to - from) as usize];
        input.read(from, window)?;
        if let Some(at) = window.iter().position(|byte| *byte == b'\n') {
            return Ok(from + at as u64 + 1);
        }
        from = to;
    }
    Ok(from)
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("whole"),
            Self::Bytes(size) => write!(f, "bytes:{size}"),
            Self::Lines(size) => write!(f, "lines:{size}"),
            Self::Records { record, chunk } => write!(f, "records:{record}:{chunk}"),
        }
    }
}

impl FromStr for Cut {
    type Err = String;

    /// Sizes in bytes; the command line also knows units.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let size = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is not a number of bytes"));
        Ok(match parts[..] {
            ["whole"] => Self::Whole,
            ["bytes", bytes] => Self::Bytes(size(bytes)?),
            ["lines", bytes] => Self::Lines(size(bytes)?),
            ["records", record, chunk] => Self::Records { record: size(record)?, chunk: size(chunk)? },
            _ => return Err("there are whole, bytes:SIZE, lines:SIZE and records:SIZE:CHUNK".to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(input: &[u8], how: Cut) -> Vec<Vec<u8>> {
        let ends = cut(input, how, usize::MAX).unwrap();
        ranges(&ends).map(|range| input[range.start as usize..range.end as usize].to_vec()).collect()
    }

    #[test]
    fn lines_and_records_are_never_cut_through() {
        let table: [(&str, Cut, &[&str]); 8] = [
            ("", Cut::Lines(4), &[]),
            ("a\nbb\nc", Cut::Lines(5), &["a\nbb\n", "c"]),
            ("a\nlonger than that\nc\n", Cut::Lines(4), &["a\n", "longer than that\n", "c\n"]),
            ("abcdef", Cut::Bytes(4), &["abcd", "ef"]),
            ("abcdef", Cut::Whole, &["abcdef"]),
            ("aabbcc", Cut::Records { record: 2, chunk: 5 }, &["aabb", "cc"]),
            ("aabbcc", Cut::Records { record: 2, chunk: 1 }, &["aa", "bb", "cc"]),
            ("abc", Cut::Bytes(0), &["a", "b", "c"]),
        ];
        for (input, how, expected) in table {
            assert_eq!(pieces(input.as_bytes(), how), expected.iter().map(|s| s.as_bytes()).collect::<Vec<_>>());
            assert_eq!(how.to_string().parse(), Ok(how));
        }
    }

    #[test]
    fn what_no_task_can_take_is_refused() {
        let long = vec![b'x'; CHUNK_BYTES_MAX as usize + 1];
        for how in [Cut::Whole, Cut::Lines(100), Cut::Bytes(u64::MAX)] {
            assert!(matches!(cut(&long[..], how, 10), Err(CutError::TooLong(_))), "{how}");
        }
        assert!(matches!(cut(&long[..20], Cut::Bytes(1), 19), Err(CutError::TooMany(19))));
        assert!(cut(&long[..20], Cut::Bytes(1), 20).is_ok());
    }

    #[test]
    fn lines_across_windows_are_found() {
        let window = WINDOW as usize;
        for line in [1, window - 1, window, window + 1, 3 * window] {
            let input = [vec![b'x'; line - 1], vec![b'\n']].concat().repeat(3);
            let ends = cut(&input[..], Cut::Lines(line as u64), 9).unwrap();
            assert_eq!(ends, [line as u64, 2 * line as u64, 3 * line as u64]);
            assert_eq!(cut(&input[..], Cut::Lines(1), 9).unwrap(), ends);
        }
    }

    proptest! {
        #[test]
        fn chunks_cover_the_input_in_order_and_keep_to_their_size(
            input in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..300), size in 1u64..40, kind in 0u8..3,
        ) {
            let how = match kind {
                0 => Cut::Bytes(size),
                1 => Cut::Lines(size),
                _ => Cut::Records { record: 3, chunk: size },
            };
            let pieces = pieces(&input, how);
            prop_assert_eq!(pieces.concat(), input);
            for piece in &pieces {
                let one_line = !piece[..piece.len() - 1].contains(&b'\n');
                prop_assert!(piece.len() as u64 <= size.max(3) || kind == 1 && one_line);
            }
        }
    }
}
