//! Where the input of a task comes from: chunks from files, one at a time and again when they are needed again; the whole
//! for a split; the outputs for a merge. An input is held from when somebody is to run it until nobody is. Of a chunk that
//! lies in a stored object only its description is; whoever runs it reads it, and if they cannot, this node does
//! (`feeding`).

use super::{Env, cache::Cache, job::Job};
use crate::{api::coordinator::Out, envelope};
use bytes::{Bytes, BytesMut};
use pangea_protocols::{
    Hash, PeerId,
    job::ErrorKind,
    receipt_job::{Place, Stage},
    stored::StoredInput,
    task::{self, input_hash},
    wire::compute::{DATA_PARTS_MAX, PART_BYTES, SMALL_BYTES},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
};

/// Most bytes of an input, envelope included.
pub const INPUT_BYTES_MAX: usize = DATA_PARTS_MAX as usize * PART_BYTES;
/// Pieces of an input to be split that are asked for at once.
const PIECES_AT_ONCE: usize = 4;
/// What the description of a stored input is counted with.
const STORED_BYTES: usize = 2048;
/// Stored inputs that this node reads for others at once, for one job.
const FEEDING_MAX: usize = 2;

/// The input of a task as it is sent.
#[derive(Clone, Debug)]
pub enum Given {
    /// In its envelope.
    Bytes(Bytes),
    /// In an object; these peers hold so many bytes of it.
    Stored { input: Box<StoredInput>, local: BTreeMap<PeerId, u64> },
}

impl Given {
    fn weight(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Stored { .. } => STORED_BYTES,
        }
    }

    /// Bytes that the guest sees.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Stored { input, .. } => input.seen_bytes(),
        }
    }

    /// Bytes that have to be moved to a host that runs it: those that the host reads itself and does not hold.
    pub fn move_bytes(&self, host: PeerId) -> u64 {
        match self {
            Self::Bytes(_) => 0,
            Self::Stored { input, local } => {
                u64::from(input.len).saturating_sub(local.get(&host).copied().unwrap_or(0))
            }
        }
    }
}

/// Inputs of a job.
#[derive(Debug, Default)]
pub struct Supply {
    /// What the split has made.
    pub pieces: Vec<Bytes>,
    here: BTreeMap<Place, Given>,
    here_bytes: usize,
    largest: usize,
    /// Bytes of the longest one, as who runs it sees it.
    longest: usize,
    wanted: BTreeSet<u32>,
    /// Pieces for the split.
    whole: BTreeMap<u32, Bytes>,
}

impl Supply {
    /// Nobody is to run it any more.
    pub fn forget(&mut self, place: Place) {
        if let Some(given) = self.here.remove(&place) {
            self.here_bytes -= given.weight();
        }
    }

    /// If it is here.
    pub fn get(&self, place: Place) -> Option<&Given> {
        self.here.get(&place)
    }

    /// Are all inputs of this stage small, as far as they are known?
    pub fn is_small(&self) -> bool {
        self.longest <= SMALL_BYTES
    }

    /// The first task beyond `last` whose input is here.
    pub fn next_here(&self, last: Option<Place>) -> Option<Place> {
        let first = last.map_or(Unbounded, Excluded);
        self.here.range((first, Unbounded)).next().map(|(place, _)| *place)
    }

    /// Is its input here, or on its way?
    pub fn is_known(&self, place: Place) -> bool {
        place.stage == Stage::Execute && self.wanted.contains(&place.index) || self.here.contains_key(&place)
    }

    /// Inputs on their way.
    pub fn coming(&self) -> usize {
        self.wanted.len()
    }

    /// Another stage begins.
    pub fn begin(&mut self) {
        (self.largest, self.longest) = (0, 0);
    }

    fn has_room(&self, window_bytes: usize) -> bool {
        let coming = self.wanted.len() * self.largest.max(1);
        self.here.is_empty() && self.wanted.is_empty() || self.here_bytes + coming + self.largest <= window_bytes
    }
}

impl Job {
    /// The input of a task, in its envelope; asks for it if it is not here.
    pub fn input(&mut self, place: Place, env: &mut Env<'_, '_>) -> Option<Given> {
        if let Some(given) = self.supply.here.get(&place) {
            return Some(given.clone());
        }
        match place.stage {
            Stage::Split => self.want_pieces(env),
            Stage::Execute if self.spec.split => {
                let piece = self.supply.pieces.get(usize::try_from(place.index).ok()?)?.clone();
                self.take(place, &piece, env);
            }
            Stage::Execute => {
                let is_fed = self.tasks.get(place).is_some_and(|task| task.fed);
                let is_coming = self.feeding.values().any(|(of, _)| *of == place);
                if is_coming || is_fed && self.feeding.len() >= FEEDING_MAX {
                    return None;
                }
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

    /// A chunk that was wanted lies in a stored object.
    pub fn on_stored(
        &mut self,
        index: u32,
        mut input: Box<StoredInput>,
        local: Vec<(PeerId, u64)>,
        env: &mut Env<'_, '_>,
    ) {
        if !self.supply.wanted.remove(&index) {
            return;
        }
        let place = Place { stage: Stage::Execute, index };
        if self.spec.passed_on.is_none() {
            let total = self.totals.get(&Stage::Execute).copied().unwrap_or(0);
            input.head = envelope::head(place, total, input.len.into()).to_vec();
        }
        if self.spec.split || !input.fits() {
            let text = format!("the stored input of chunk {index} is not one that a task can be given");
            return self.fail(ErrorKind::Failed, text);
        }
        let hash = input.hash();
        let is_fed = self.tasks.change(place, self.me, |task| {
            // Another hash is from an earlier run of the job, in which this node had to read it.
            task.fed |= task.input.is_some_and(|known| known != hash);
            if task.fed {
                task.was = Some(hash);
            } else {
                task.input = Some(hash);
            }
            task.fed
        });
        match is_fed {
            Some(true) if self.feeding.len() < FEEDING_MAX => self.feed(place, input, env),
            // It is wanted again when there is room.
            Some(true) | None => {}
            Some(false) => self.hold(place, hash, Given::Stored { input, local: local.into_iter().collect() }, env),
        }
    }

    fn take(&mut self, place: Place, payload: &[u8], env: &mut Env<'_, '_>) {
        let bytes = match self.spec.passed_on {
            Some(_) => Bytes::copy_from_slice(payload),
            None => envelope::call(place, self.totals.get(&place.stage).copied().unwrap_or(0), payload),
        };
        self.take_whole(place, bytes, env);
    }

    /// An input in its envelope.
    pub fn take_whole(&mut self, place: Place, bytes: Bytes, env: &mut Env<'_, '_>) {
        if bytes.len() > INPUT_BYTES_MAX {
            let what = if place.stage == Stage::Merge { "all outputs together" } else { "a chunk" };
            let text = format!("{what} ({} bytes) is more than the {INPUT_BYTES_MAX} bytes of an input", bytes.len());
            return self.fail(ErrorKind::Usage, text);
        }
        let hash = input_hash(&task::Input { bytes: bytes.clone(), ..task::Input::default() });
        let Some(known) = self.tasks.change(place, self.me, |task| task.input.replace(hash)) else { return };
        if known.is_some_and(|known| known != hash) {
            let text = format!("{place:?} was another input when it was read before: it must not change meanwhile");
            return self.fail(ErrorKind::Failed, text);
        }
        self.hold(place, hash, Given::Bytes(bytes), env);
    }

    fn hold(&mut self, place: Place, hash: Hash, given: Given, env: &mut Env<'_, '_>) {
        if let Some((receipt, output)) = env.cache.get(Cache::key(self.terms.module, hash, &self.spec.limits)) {
            return self.vouch(place, receipt, output, env);
        }
        if !self.tasks.is_open(place) {
            return;
        }
        self.supply.largest = self.supply.largest.max(given.weight());
        self.supply.longest = self.supply.longest.max(given.len());
        self.supply.here_bytes += given.weight();
        if let Some(before) = self.supply.here.insert(place, given) {
            self.supply.here_bytes -= before.weight();
        }
    }
}
