//! What the demo stores when the user names nothing: a mixed file, the same on every machine.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

const WORDS: [&str; 24] = [
    "shard", "peer", "stripe", "holder", "ticket", "lease", "receipt", "manifest", "parity", "frame", "the", "of",
    "and", "to", "a", "in", "network", "actor", "driver", "message", "node", "disk", "proof", "key",
];
/// Bytes of one kind before the next kind follows.
const SECTION_BYTES: usize = 256 << 10;

/// Writes `bytes` bytes of text, records, noise and zeros in turn.
///
/// # Errors
/// The file system's.
pub fn write_mixed(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut chance = ChaCha8Rng::seed_from_u64(1);
    let (mut left, mut kind) = (bytes, 0u32);
    let mut section = Vec::with_capacity(SECTION_BYTES + 64);
    while left > 0 {
        section.clear();
        match kind % 4 {
            0 => text(&mut section, &mut chance),
            1 => records(&mut section, &mut chance),
            2 => {
                section.resize(SECTION_BYTES, 0);
                chance.fill_bytes(&mut section);
            }
            _ => section.resize(SECTION_BYTES, 0),
        }
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(SECTION_BYTES);
        file.write_all(&section[..length])?;
        left -= length as u64;
        kind += 1;
    }
    file.flush()
}

fn text(section: &mut Vec<u8>, chance: &mut ChaCha8Rng) {
    while section.len() < SECTION_BYTES {
        let number = chance.next_u32() as usize;
        section.extend_from_slice(WORDS[number % WORDS.len()].as_bytes());
        section.push(if number.is_multiple_of(17) { b'\n' } else { b' ' });
    }
}

fn records(section: &mut Vec<u8>, chance: &mut ChaCha8Rng) {
    let mut id = chance.next_u32();
    while section.len() < SECTION_BYTES {
        id = id.wrapping_add(chance.next_u32() % 7);
        section.extend_from_slice(&id.to_le_bytes());
        section.extend_from_slice(&[0, 0, 1, (chance.next_u32() % 5) as u8]);
    }
}
