//! [`Trail`]: what is left of a run: its digest, and records if somebody wants to see it.

use crate::record::{NodeId, Record, What};
use pangea_protocols::{
    codec::{self, Limit},
    time::Time,
};
use serde::Serialize;
use std::fmt::Debug;

/// Records that are kept; a run that does more is told up to here.
const RECORDS_MAX: usize = 1_000_000;
/// Characters of a message that a label shows.
const LABEL_CHARS: usize = 60;
/// Bytes that are hashed at once: short inputs would cost more than the run.
const BLOCK: usize = 64 << 10;

/// Collects what happens.
pub(super) struct Trail {
    hasher: blake3::Hasher,
    block: Vec<u8>,
    events: u64,
    frames: u64,
    records: Option<Vec<Record>>,
}

impl Trail {
    pub(super) fn new(records: bool) -> Self {
        Self {
            hasher: blake3::Hasher::new(),
            block: Vec::with_capacity(BLOCK),
            events: 0,
            frames: 0,
            records: records.then(Vec::new),
        }
    }

    /// Something happened at a node; `kind` and `event` say what.
    pub(super) fn event(&mut self, now: Time, node: NodeId, kind: u8, event: &(impl Serialize + Debug)) {
        self.events += 1;
        // What cannot be encoded still shows: by how it prints.
        let bytes = codec::encode(event, Limit::Local).unwrap_or_else(|_| format!("{event:?}").into_bytes());
        self.block.extend_from_slice(&now.0.to_le_bytes());
        self.block.extend_from_slice(&node.to_le_bytes());
        self.block.push(kind);
        self.block.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.block.extend_from_slice(&bytes);
        if self.block.len() >= BLOCK {
            self.flush();
        }
    }

    /// A name for a message, which pairs its departure with its arrival.
    pub(super) fn frame(&mut self) -> u64 {
        self.frames += 1;
        self.frames
    }

    /// Something that pictures show; made only if somebody looks.
    pub(super) fn record(&mut self, now: Time, node: Option<NodeId>, what: impl FnOnce() -> What) {
        if let Some(records) = &mut self.records
            && records.len() < RECORDS_MAX
        {
            records.push(Record { at_ns: now.0, node, what: what() });
        }
    }

    /// How many events there were.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// The digest, and the records.
    pub(super) fn finish(mut self) -> (String, Vec<Record>) {
        self.flush();
        (self.hasher.finalize().to_hex()[..32].to_owned(), self.records.unwrap_or_default())
    }

    fn flush(&mut self) {
        self.hasher.update(&self.block);
        self.block.clear();
    }
}

/// A message in a few words.
pub(super) fn label(message: &impl Debug) -> String {
    let text = format!("{message:?}");
    match text.char_indices().nth(LABEL_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
