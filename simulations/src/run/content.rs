//! What users store: a function of the seed and the operation's id, so that it can be made again to be compared.

use super::plugins;
use crate::plan::Content;
use bytes::Bytes;
use pangea_kernel::{Draw, Seed};
use pangea_protocols::manifest::FRAME_BYTES;
use std::path::PathBuf;

/// Stands in all text that users store: the secrecy oracle looks for it where it must not be.
pub const MARKER: &[u8] = b"the quick brown pangolin keeps its secrets";
/// Bytes of one run of a mixed content.
const RUN_BYTES: u64 = 64 << 10;

/// The bytes of the put `operation`.
pub fn bytes(seed: &Seed, operation: u32, content: Content, length: u64) -> Bytes {
    if content == Content::Plugin {
        return Bytes::from_static(plugins::MODULE);
    }
    let mut draw = seed.derive(&operation.to_string()).draw();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        if content == Content::Repeated {
            append(&mut bytes, Content::Text, FRAME_BYTES.min(length), &mut seed.derive("frame").draw());
            bytes.truncate(length);
            continue;
        }
        let kind = match content {
            Content::Mixed => [Content::Random, Content::Text, Content::Zeros][draw.below(3) as usize],
            kind => kind,
        };
        let run = usize::try_from(1 + draw.below(RUN_BYTES)).unwrap_or(1).min(length - bytes.len());
        append(&mut bytes, kind, run, &mut draw);
    }
    bytes.into()
}

fn append(bytes: &mut Vec<u8>, kind: Content, run: usize, draw: &mut Draw) {
    let end = bytes.len() + run;
    match kind {
        Content::Random => {
            let start = bytes.len();
            bytes.resize(end, 0);
            draw.fill(&mut bytes[start..]);
        }
        Content::Zeros | Content::Plugin => bytes.resize(end, 0),
        Content::Text | Content::Mixed | Content::Repeated => {
            while bytes.len() < end {
                bytes.extend_from_slice(MARKER);
                bytes.extend_from_slice(format!(" {}\n", draw.u64()).as_bytes());
            }
            bytes.truncate(end);
        }
    }
}

/// The files of a directory: parts of the bytes, in ascending order of path.
pub fn files(all: &Bytes, count: u32) -> Vec<(PathBuf, Bytes)> {
    let count = count.max(1) as usize;
    let part = all.len() / count;
    (0..count)
        .map(|number| {
            let end = if number + 1 == count { all.len() } else { (number + 1) * part };
            (PathBuf::from(format!("dir-{}/file-{number:04}", number % 3)), all.slice(number * part..end))
        })
        .collect()
}
