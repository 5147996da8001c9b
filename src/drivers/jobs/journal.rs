//! What the coordinator has committed of a job, appended to one file.
//!
//! ```text
//! entry  head length u32 LE │ body length u32 LE │ CRC-32 of head and body u32 LE │ head │ body
//! ```
//! The head is a [`Head`], the body of an output its bytes. An entry that was not written to its end is cut off: its task
//! is run again. Nothing is synced, for the same reason: after a loss of power some tasks are run again.

use crc32fast::Hasher;
use pangea_compute::api::Saved;
use pangea_protocols::{
    PeerId,
    codec::{self, Limit, MESSAGE_BYTES_MAX},
    receipt_job::{Batch, Place, Stage},
    wire::compute::{DATA_PARTS_MAX, PART_BYTES},
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
};

#[derive(Serialize, Deserialize)]
enum Head {
    Batch(Batch),
    Output(Place),
    Void(Stage),
    Banned(PeerId),
}

const PRELUDE: usize = 12;
const BODY_BYTES_MAX: usize = DATA_PARTS_MAX as usize * PART_BYTES;

/// The journal of one job, open for appending.
#[derive(Debug)]
pub struct Journal(File);

impl Journal {
    /// Opens it, gives every whole entry to `each` in order, and cuts off what follows.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(path: &Path, mut each: impl FnMut(Saved)) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        let (mut reader, mut whole) = (BufReader::new(&file), 0);
        while let Some((saved, bytes)) = read(&mut reader)? {
            whole += bytes;
            each(saved);
        }
        drop(reader);
        file.set_len(whole)?;
        file.seek(SeekFrom::Start(whole))?;
        Ok(Self(file))
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// The file system's; the rest of the file may then be cut off when it is read.
    pub fn append(&mut self, saved: Saved) -> io::Result<()> {
        let (head, body) = match saved {
            Saved::Batch(batch) => (Head::Batch(batch), None),
            Saved::Output { place, bytes } => (Head::Output(place), Some(bytes)),
            Saved::Void { after } => (Head::Void(after), None),
            Saved::Banned { host } => (Head::Banned(host), None),
        };
        let head = codec::encode(&head, Limit::Message).map_err(io::Error::other)?;
        let body = body.unwrap_or_default();
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map(u32::to_le_bytes).map_err(io::Error::other);
        let mut entry = Vec::with_capacity(PRELUDE + head.len());
        entry.extend(length(&head)?);
        entry.extend(length(&body)?);
        entry.extend(checksum(&head, &body).to_le_bytes());
        entry.extend(&head);
        self.0.write_all(&entry)?;
        self.0.write_all(&body)
    }
}

fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(head);
    hasher.update(body);
    hasher.finalize()
}

/// The next entry and its bytes in the file; none if it is torn, damaged, or there is none.
fn read(from: &mut impl Read) -> io::Result<Option<(Saved, u64)>> {
    let Some(prelude) = take(from, PRELUDE)? else { return Ok(None) };
    let number = |at: usize| u32::from_le_bytes([prelude[at], prelude[at + 1], prelude[at + 2], prelude[at + 3]]);
    let (head_len, body_len) = (number(0) as usize, number(4) as usize);
    if head_len > MESSAGE_BYTES_MAX || body_len > BODY_BYTES_MAX {
        return Ok(None);
    }
    let Some(head) = take(from, head_len)? else { return Ok(None) };
    let Some(body) = take(from, body_len)? else { return Ok(None) };
    if checksum(&head, &body) != number(8) {
        return Ok(None);
    }
    let Ok(head) = codec::decode::<Head>(&head, Limit::Message) else { return Ok(None) };
    let saved = match head {
        Head::Batch(batch) => Saved::Batch(batch),
        Head::Output(place) => Saved::Output { place, bytes: body.into() },
        Head::Void(after) => Saved::Void { after },
        Head::Banned(host) => Saved::Banned { host },
    };
    Ok(Some((saved, (PRELUDE + head_len + body_len) as u64)))
}

/// So many bytes, unless the file ends before.
fn take(from: &mut impl Read, len: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; len];
    match from.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(index: u32) -> Saved {
        let place = Place { stage: Stage::Execute, index };
        Saved::Output { place, bytes: vec![index as u8; 3000].into() }
    }

    #[test]
    fn wherever_it_is_cut_or_damaged_whole_entries_before_it_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let all = [output(0), Saved::Banned { host: PeerId([7; 32]) }, Saved::Void { after: Stage::Split }, output(1)];
        let mut ends = Vec::new();
        let mut journal = Journal::open(&path, |_| panic!("it is empty")).unwrap();
        for saved in all.clone() {
            journal.append(saved).unwrap();
            ends.push(std::fs::metadata(&path).unwrap().len() as usize);
        }
        let bytes = std::fs::read(&path).unwrap();
        let reopened = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let mut found = Vec::new();
            let mut journal = Journal::open(&path, |saved| found.push(saved)).unwrap();
            journal.append(output(9)).unwrap();
            let mut again = Vec::new();
            Journal::open(&path, |saved| again.push(saved)).unwrap();
            assert_eq!(again.pop(), Some(output(9)), "an entry after the cut is read");
            assert_eq!(again, found);
            found
        };
        for cut in (0..=bytes.len()).step_by(97).chain(ends.iter().copied()) {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(reopened(&bytes[..cut]), all[..whole], "cut at {cut}");
        }
        for at in (0..bytes.len()).step_by(131) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            let whole = ends.iter().filter(|end| **end <= at).count();
            assert_eq!(reopened(&damaged), all[..whole], "damaged at {at}");
        }
    }
}
