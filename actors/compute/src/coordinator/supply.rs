//! Where the input of a task comes from: chunks from files, one at a time and again when they are needed again; the whole
//! for a split; the outputs for a merge. An input is held from when somebody is to run it until nobody is.

use super::{Env, cache::Cache, job::Job};
use crate::{api::coordinator::Out, envelope};
use bytes::{Bytes, BytesMut};
use pangea_protocols::{
    job::ErrorKind,
    receipt_job::{Place, Stage},
    task::{self, input_hash},
    wire::compute::{DATA_PARTS_MAX, PART_BYTES},
};
use std::collections::{BTreeMap, BTreeSet};

/// Most bytes of an input, envelope included.
pub const INPUT_BYTES_MAX: usize = DATA_PARTS_MAX as usize * PART_BYTES;
/// Pieces of an input to be split that are asked for at once.
const PIECES_AT_ONCE: usize = 4;

/// Inputs of a job.
#[derive(Debug, Default)]
pub struct Supply {
    /// What the split has made.
    pub pieces: Vec<Bytes>,
    /// In their envelopes.
    here: BTreeMap<Place, Bytes>,
    here_bytes: usize,
    largest: usize,
    wanted: BTreeSet<u32>,
    /// Pieces for the split.
    whole: BTreeMap<u32, Bytes>,
}

impl Supply {
    /// Nobody is to run it any more.
    pub fn forget(&mut self, place: Place) {
        if let Some(bytes) = self.here.remove(&place) {
            self.here_bytes -= bytes.len();
        }
    }

    fn has_room(&self, window_bytes: usize) -> bool {
        let coming = self.wanted.len() * self.largest.max(1);
        self.here.is_empty() && self.wanted.is_empty() || self.here_bytes + coming + self.largest <= window_bytes
    }
}

impl Job {
    /// The input of a task, in its envelope; asks for it if it is not here.
    pub fn input(&mut self, place: Place, env: &mut Env<'_, '_>) -> Option<Bytes> {
        if let Some(bytes) = self.supply.here.get(&place) {
            return Some(bytes.clone());
        }
        match place.stage {
            Stage::Split => self.want_pieces(env),
            Stage::Execute if self.spec.split => {
                let piece = self.supply.pieces.get(usize::try_from(place.index).ok()?)?.clone();
                self.take(place, &piece, env);
            }
            Stage::Execute => {
                if self.supply.has_room(env.limits.window_bytes) && self.supply.wanted.insert(place.index) {
                    env.cx.emit(Out::Want { job: self.id, index: place.index });
                }
            }
            Stage::Merge => {
                let outputs: Vec<&Bytes> =
                    self.tasks.of(Stage::Execute).filter_map(|(_, task)| task.output()).collect();
                if u32::try_from(outputs.len()).ok() != self.totals.get(&Stage::Execute).copied() {
                    // A liar was caught meanwhile: some are made again.
                    return None;
                }
                let list = envelope::list(outputs.into_iter());
                self.take(place, &list, env);
            }
        }
        // What was made here and now, unless the cache knew what comes of it.
        self.supply.here.get(&place).cloned().filter(|_| self.tasks.is_open(place))
    }

    fn want_pieces(&mut self, env: &mut Env<'_, '_>) {
        let supply = &mut self.supply;
        let missing = (0..self.spec.chunks).filter(|index| !supply.whole.contains_key(index));
        let missing: Vec<u32> = missing.take(PIECES_AT_ONCE).collect();
        for index in &missing {
            if supply.wanted.insert(*index) {
                env.cx.emit(Out::Want { job: self.id, index: *index });
            }
        }
        if missing.is_empty() {
            let mut whole = BytesMut::new();
            std::mem::take(&mut supply.whole).values().for_each(|piece| whole.extend_from_slice(piece));
            self.take(Place { stage: Stage::Split, index: 0 }, &whole, env);
        }
    }

    /// A chunk that was wanted.
    pub fn on_input(&mut self, index: u32, bytes: Bytes, env: &mut Env<'_, '_>) {
        if !self.supply.wanted.remove(&index) {
            return;
        }
        if self.spec.split {
            // Also in a later stage: who has split it may have been caught meanwhile.
            if self.tasks.is_open(Place { stage: Stage::Split, index: 0 }) {
                self.supply.whole.insert(index, bytes);
            }
            if self.supply.whole.values().map(Bytes::len).sum::<usize>() > INPUT_BYTES_MAX {
                self.fail(
                    ErrorKind::Usage,
                    format!("a module splits at most {INPUT_BYTES_MAX} bytes: cut the input beforehand"),
                );
            }
            return;
        }
        self.take(Place { stage: Stage::Execute, index }, &bytes, env);
    }

    fn take(&mut self, place: Place, payload: &[u8], env: &mut Env<'_, '_>) {
        let bytes = match self.spec.passed_on {
            Some(_) => Bytes::copy_from_slice(payload),
            None => envelope::call(place, self.totals.get(&place.stage).copied().unwrap_or(0), payload),
        };
        if bytes.len() > INPUT_BYTES_MAX {
            let what = if place.stage == Stage::Merge { "all outputs together" } else { "a chunk" };
            let text = format!("{what} ({} bytes) is more than the {INPUT_BYTES_MAX} bytes of an input", payload.len());
            return self.fail(ErrorKind::Usage, text);
        }
        let hash = input_hash(&task::Input { bytes: bytes.clone(), ..task::Input::default() });
        let Some(known) = self.tasks.change(place, self.me, |task| task.input.replace(hash)) else { return };
        if known.is_some_and(|known| known != hash) {
            let text = format!("{place:?} was another input when it was read before: it must not change meanwhile");
            return self.fail(ErrorKind::Failed, text);
        }
        if let Some((receipt, output)) = env.cache.get(Cache::key(self.terms.module, hash, &self.spec.limits)) {
            return self.vouch(place, receipt, output, env);
        }
        if !self.tasks.is_open(place) {
            return;
        }
        self.supply.largest = self.supply.largest.max(bytes.len());
        self.supply.here_bytes += bytes.len();
        if let Some(before) = self.supply.here.insert(place, bytes) {
            self.supply.here_bytes -= before.len();
        }
    }
}
