//! Frames on a pipe between two processes. Every length is checked before anything is allocated for it, in both
//! directions. Not here: what is in a frame (`message`).
//!
//! ```text
//! number u64 │ head length u32 │ body length u32 │ head │ body        little endian
//! ```
//! The head is encoded by the codec; the body is bytes that are neither copied nor looked at on their way.

use bytes::Bytes;
use std::io::{self, ErrorKind, Read, Write};

/// Number and both lengths.
const HEADER_BYTES: usize = 16;
/// Memory for bytes that have not come yet.
const AHEAD_MAX: usize = 1 << 20;

/// The most that a frame may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of the head.
    pub head: usize,
    /// Bytes of the body.
    pub body: usize,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which question it is about.
    pub number: u64,
    /// Encoded.
    pub head: Vec<u8>,
    /// As it is.
    pub body: Bytes,
}

/// Why no frame was read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The pipe failed or ended within a frame.
    #[error("the pipe failed: {0}")]
    Io(#[from] io::Error),
    /// It is about something that was not asked.
    #[error("it sent what it was not asked for")]
    Unasked,
    /// It is longer than it may be.
    #[error("it sent {found} bytes where {max} are the most")]
    TooLong { found: usize, max: usize },
}

/// Writes one frame; `body` is one body in parts.
///
/// # Errors
/// The pipe fails, or a length does not fit its field.
pub fn write(pipe: &mut impl Write, number: u64, head: &[u8], body: &[Bytes]) -> io::Result<()> {
    let length = |bytes: usize| u32::try_from(bytes).map_err(|_| io::Error::from(ErrorKind::FileTooLarge));
    // Header and head together: a small frame is one system call.
    let mut start = Vec::with_capacity(HEADER_BYTES + head.len());
    start.extend(number.to_le_bytes());
    start.extend(length(head.len())?.to_le_bytes());
    start.extend(length(body.iter().map(Bytes::len).sum())?.to_le_bytes());
    start.extend(head);
    pipe.write_all(&start)?;
    body.iter().try_for_each(|part| pipe.write_all(part))
}

/// Reads one frame; `None` if the pipe ends before it. `allowed` says what a frame of a number may have, `None` if there
/// may be none.
///
/// # Errors
/// [`FrameError`]; what follows in the pipe cannot be read any more.
pub fn read(pipe: &mut impl Read, allowed: impl FnOnce(u64) -> Option<Bounds>) -> Result<Option<Frame>, FrameError> {
    let mut header = [0; HEADER_BYTES];
    let first = loop {
        match pipe.read(&mut header) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    pipe.read_exact(&mut header[first..])?;
    let [n0, n1, n2, n3, n4, n5, n6, n7, h0, h1, h2, h3, b0, b1, b2, b3] = header;
    let number = u64::from_le_bytes([n0, n1, n2, n3, n4, n5, n6, n7]);
    let (head, body) = (u32::from_le_bytes([h0, h1, h2, h3]) as usize, u32::from_le_bytes([b0, b1, b2, b3]) as usize);
    let bounds = allowed(number).ok_or(FrameError::Unasked)?;
    for (found, max) in [(head, bounds.head), (body, bounds.body)] {
        if found > max {
            return Err(FrameError::TooLong { found, max });
        }
    }
    let (head, body) = (exactly(pipe, head)?, exactly(pipe, body)?.into());
    Ok(Some(Frame { number, head, body }))
}

/// So many bytes; memory for them is taken as they come.
fn exactly(pipe: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length.min(AHEAD_MAX));
    let read = pipe.take(length as u64).read_to_end(&mut bytes)?;
    if read < length { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { head: 10, body: 100 };

    fn written(number: u64, head: &[u8], body: &[&'static [u8]]) -> Vec<u8> {
        let parts: Vec<Bytes> = body.iter().map(|part| Bytes::from_static(part)).collect();
        let mut bytes = Vec::new();
        write(&mut bytes, number, head, &parts).unwrap();
        bytes
    }

    #[test]
    fn frames_come_back_as_they_were_written_and_end_with_the_pipe() {
        let bytes = [written(1 << 40, b"head", &[b"ab", b"", b"c"]), written(2, b"", &[])].concat();
        let mut pipe = &bytes[..];
        let body = Bytes::from_static(b"abc");
        let first = Frame { number: 1 << 40, head: b"head".to_vec(), body };
        assert_eq!(read(&mut pipe, |_| Some(BOUNDS)).unwrap(), Some(first));
        let second = Frame { number: 2, head: Vec::new(), body: Bytes::new() };
        assert_eq!(read(&mut pipe, |_| Some(BOUNDS)).unwrap(), Some(second));
        assert_eq!(read(&mut pipe, |_| Some(BOUNDS)).unwrap(), None);
    }

    #[test]
    fn what_is_unasked_too_long_or_cut_off_is_an_error() {
        let refused = |bytes: &[u8]| read(&mut &bytes[..], |number| (number == 7).then_some(BOUNDS)).unwrap_err();
        assert!(matches!(refused(&written(8, b"", &[])), FrameError::Unasked));
        assert!(matches!(refused(&written(7, &[0; 11], &[])), FrameError::TooLong { found: 11, max: 10 }));
        let mut lies = written(7, b"", &[]);
        lies[12..16].fill(255);
        assert!(matches!(refused(&lies), FrameError::TooLong { found: 0xffff_ffff, max: 100 }));
        let whole = written(7, b"head", &[b"body"]);
        for cut in 1..whole.len() {
            assert!(matches!(refused(&whole[..cut]), FrameError::Io(_)), "{cut}");
        }
    }
}
