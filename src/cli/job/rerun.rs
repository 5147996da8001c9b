//! What a receipt says, run again on this machine: a sample of its results, or all of them. Not here: what a receipt
//! proves by itself (`verify`).

use super::run::Map;
use crate::{
    cli::{
        CliError, format,
        output::Output,
        progress::{Drawing, bar},
        task,
    },
    drivers::jobs::{CHUNKS_MAX, Chunks, stage},
};
use bytes::Bytes;
use pangea_compute::{
    coordinator::name,
    envelope,
    split::{CHUNK_BYTES_MAX, Cut},
};
use pangea_kernel::Seed;
use pangea_protocols::{
    Hash, PeerId,
    job::ErrorKind,
    receipt_job::{JobReceipt, Place, Stage},
    task::{Ending, Input, Receipt, TaskId, Trap, input_hash},
};
use pangea_sandbox::{Workshop, pass, work::Begin};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

/// Gas of a slice; nothing happens between two of them.
const SLICE_GAS: u64 = 1 << 30;
/// Most tasks at once: each holds its input, its output and the memory of its guest.
const THREADS_MAX: usize = 16;
/// Wrong results that an error names.
const NAMED_MAX: usize = 8;

/// What to run again, and how much of it.
#[derive(Debug, clap::Args)]
pub(super) struct RerunArgs {
    /// Run results again on this input, as it was when the job ran
    #[arg(long, value_name = "FILE", requires = "module")]
    input: Option<PathBuf>,
    /// How the input became chunks, as `job run` was told [default: lines]
    #[arg(long, value_name = "HOW", requires = "input", value_parser = super::run::parse_map)]
    map: Option<Map>,
    /// Run so many results again, drawn at random
    #[arg(long, value_name = "RESULTS", requires = "input", default_value_t = 16, conflicts_with = "all")]
    sample: u32,
    /// Run all results again, and the merge
    #[arg(long, requires = "input")]
    all: bool,
    /// Draw the sample with this number [default: a new one each time]
    #[arg(long, value_name = "NUMBER", requires = "input")]
    seed: Option<u64>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Rerun {
    /// Chunks that were run again.
    chunks: usize,
    /// Chunks of the job.
    of: usize,
    /// Were split and merge run again, of a job that has them?
    split: bool,
    merge: bool,
    seed: u64,
    wrong: Vec<Wrong>,
}

/// A result that is not what a host signed for.
#[derive(Clone, Debug)]
struct Wrong {
    place: Place,
    host: PeerId,
    what: String,
}

impl Rerun {
    pub(super) fn value(&self) -> Value {
        let wrong = |wrong: &Wrong| {
            let Place { stage, index } = wrong.place;
            json!({ "stage": self::stage(stage), "index": index, "host": wrong.host.to_string(), "what": wrong.what })
        };
        json!({
            "chunks": self.chunks, "of": self.of, "split": self.split, "merge": self.merge, "seed": self.seed,
            "wrong": self.wrong.iter().map(wrong).collect::<Vec<_>>(),
        })
    }

    /// For people, if nothing was wrong.
    pub(super) fn summary(&self) -> String {
        let others = match (self.split, self.merge) {
            (true, true) => ", the split and the merge",
            (true, false) => " and the split",
            (false, true) => " and the merge",
            (false, false) => "",
        };
        let ran = format!("{} of {} were run again here", self.chunks, format::count(self.of as u64, "chunk"));
        let sure = match self.chunks {
            ran if ran == self.of => String::new(),
            ran => {
                // A sample of n misses a share f of all with (1 − f)^n at most.
                let share = 1.0 - 0.05f64.powf(1.0 / ran.max(1) as f64);
                format!(
                    "; had more than {:.0}% been wrong, one had been found with 95% certainty",
                    (share * 100.0).ceil()
                )
            }
        };
        format!("{ran}{others}: all as signed for{sure}")
    }

    /// An error that names who signed for what is wrong.
    ///
    /// # Errors
    /// Something is.
    pub(super) fn verdict(&self, owner: PeerId) -> Result<(), CliError> {
        if self.wrong.is_empty() {
            return Ok(());
        }
        let line = |wrong: &Wrong| {
            let whose = if wrong.host == owner { ", the owner of the job," } else { "" };
            format!("\n{}: {}{whose} signed for {}", name(wrong.place), wrong.host, wrong.what)
        };
        let named: String = self.wrong.iter().take(NAMED_MAX).map(line).collect();
        let more = match self.wrong.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!("\nand {more} more"),
        };
        let text =
            format!("the receipt signs for {}:{named}{more}", format::count(self.wrong.len() as u64, "wrong result"));
        Err(CliError::new(ErrorKind::Integrity, text))
    }
}

/// Runs as much again as was asked for; nothing if there is no input.
///
/// # Errors
/// The input cannot be read, is another or was cut in another way; this build cannot be compared.
pub(super) fn rerun(
    args: &RerunArgs,
    receipt: &JobReceipt,
    module: &Bytes,
    output: &Output,
) -> Result<Option<Rerun>, CliError> {
    let Some(path) = &args.input else { return Ok(None) };
    let terms = &receipt.terms;
    let chunks = Chunks::open(path, how(args.map, terms.split)?, None).map_err(CliError::usage)?;
    let judge = Judge::new(receipt, module)?;
    let (source, mut wrong) = if terms.split { judge.split(&chunks)? } else { (Source::File(chunks), Vec::new()) };
    // What was made of a wrong split says nothing.
    let of = if wrong.is_empty() { judge.chunks } else { 0 };
    if wrong.is_empty() && source.count() != of {
        return Err(differs(&format!("it has {} chunks here, and {of} in the receipt", source.count())));
    }
    let seed = args.seed.map_or_else(fresh_seed, Ok)?;
    let sample = if args.all { of } else { usize::try_from(args.sample).unwrap_or(of) };
    let drawn = draw(seed, sample, of);
    let mut outputs = (terms.merge && wrong.is_empty() && drawn.len() == judge.chunks).then(Outputs::default);
    judge.run_all(&source, &drawn, output, |index, ran| {
        wrong.extend(ran.wrong);
        if let (Some(outputs), Some(bytes)) = (&mut outputs, ran.output) {
            outputs.add(index, bytes);
        }
    })?;
    let outputs = outputs.filter(|_| wrong.is_empty());
    let merge = outputs.is_some();
    if let Some(outputs) = outputs {
        wrong = judge.merge(&outputs)?;
    }
    wrong.sort_by_key(|wrong| (wrong.place, wrong.host));
    Ok(Some(Rerun { chunks: drawn.len(), of: judge.chunks, split: terms.split, merge, seed, wrong }))
}

/// How the file is read: what the module has cut is read whole.
fn how(map: Option<Map>, split: bool) -> Result<Cut, CliError> {
    match (map, split) {
        (None | Some(Map { split: true, .. }), true) => Ok(Cut::Whole),
        (None, false) => Ok(Cut::Lines(super::run::LINES_BYTES)),
        (Some(Map { split: false, cut }), false) => Ok(cut),
        (Some(_), true) => Err(CliError::usage("the module of this job has cut its input: use --map module, or none")),
        (Some(_), false) => Err(CliError::usage("the module of this job has not cut its input: tell how it was cut")),
    }
}

/// The input is not that of the receipt.
fn differs(what: &str) -> CliError {
    CliError::new(ErrorKind::Integrity, format!("the input or its cut differs: {what}"))
        .help("give the input as it was, and --map as the job was run with: its owner sees it with `pangea job show`")
}

fn fresh_seed() -> Result<u64, CliError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| CliError::failed(format!("there is no randomness: {error}")))?;
    Ok(u64::from_le_bytes(bytes))
}

/// `count` of the numbers below `of`, in order.
fn draw(seed: u64, count: usize, of: usize) -> Vec<u32> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut draw = Seed::new(bytes).derive("verify").draw();
    let mut all: Vec<u32> = (0..u32::try_from(of).unwrap_or(u32::MAX)).collect();
    let count = count.min(all.len());
    for at in 0..count {
        let left = (all.len() - at) as u64;
        all.swap(at, at + draw.below(left) as usize);
    }
    all.truncate(count);
    all.sort_unstable();
    all
}

/// Where chunks come from.
enum Source {
    File(Chunks),
    /// What the split has made.
    Pieces(Vec<Bytes>),
}

impl Source {
    fn count(&self) -> usize {
        match self {
            Self::File(chunks) => chunks.count() as usize,
            Self::Pieces(pieces) => pieces.len(),
        }
    }

    fn read(&self, index: u32) -> Result<Bytes, CliError> {
        match self {
            Self::File(chunks) => chunks.read(index).map(Bytes::from).map_err(CliError::failed),
            Self::Pieces(pieces) => Ok(pieces.get(index as usize).cloned().unwrap_or_default()),
        }
    }
}

/// Outputs for a merge.
#[derive(Default)]
struct Outputs {
    kept: BTreeMap<u32, Bytes>,
    bytes: u64,
}

impl Outputs {
    /// More than any merge takes are not kept: its input is then wrong, whatever it was.
    fn add(&mut self, index: u32, bytes: Bytes) {
        self.bytes += bytes.len() as u64;
        if self.bytes <= CHUNK_BYTES_MAX {
            self.kept.insert(index, bytes);
        }
    }
}

/// One task, run again.
struct Ran {
    wrong: Vec<Wrong>,
    output: Option<Bytes>,
}

/// What was claimed, and the means to run it again.
struct Judge<'a> {
    receipt: &'a JobReceipt,
    chunks: usize,
    accepted: BTreeMap<Place, Receipt>,
    /// By hosts that are not banned; a banned one is known to have lied.
    claims: BTreeMap<Place, Vec<(PeerId, Receipt)>>,
    workshop: Workshop,
    module: Hash,
}

impl<'a> Judge<'a> {
    fn new(receipt: &'a JobReceipt, module: &Bytes) -> Result<Self, CliError> {
        let (workshop, module, _) = task::prepare(module)?;
        let accepted: BTreeMap<_, _> = receipt.results.iter().map(|claim| (claim.place, claim.receipt)).collect();
        if let Some(other) = accepted.values().map(|receipt| receipt.pass_version).find(|it| *it != pass::VERSION) {
            let text = format!(
                "the results are of version {other} of what makes WebAssembly run alike everywhere, and this build has {}",
                pass::VERSION
            );
            return Err(CliError::failed(text).help("use a build of the time of the receipt"));
        }
        let mut claims: BTreeMap<Place, Vec<(PeerId, Receipt)>> = BTreeMap::new();
        for batch in receipt.batches.iter().filter(|batch| !receipt.banned.contains(&batch.host)) {
            for claim in &batch.claims {
                claims.entry(claim.place).or_default().push((batch.host, claim.receipt));
            }
        }
        let chunks = accepted.keys().filter(|place| place.stage == Stage::Execute).count();
        Ok(Self { receipt, chunks, accepted, claims, workshop, module })
    }

    /// What a task is called with, if that is what was signed for.
    fn input(&self, place: Place, payload: &[u8]) -> Option<Input> {
        let total = if place.stage == Stage::Execute { self.chunks } else { 1 };
        let bytes = envelope::call(place, u32::try_from(total).unwrap_or(u32::MAX), payload);
        let input = Input { bytes, ..Input::default() };
        (self.accepted.get(&place)?.input == input_hash(&input)).then_some(input)
    }

    fn run(&self, place: Place, input: Input) -> Result<Ran, CliError> {
        let id = TaskId((place.stage as u64) << 32 | u64::from(place.index));
        let (limits, granted) = (self.receipt.terms.limits, pangea_compute::worker::granted());
        let begin = Begin { task: id, module: self.module, limits, granted, input, gas: SLICE_GAS };
        let (outcome, found) = task::finish(&self.workshop, begin, |_| {})?;
        let output = match outcome.ending {
            Ending::Output(bytes) => Some(bytes),
            Ending::Trapped(_) => None,
        };
        // A claim on another input is of a time when what it was made of was another.
        let claims = self.claims.get(&place).into_iter().flatten().filter(|(_, claim)| claim.input == found.input);
        let wrong =
            claims.filter_map(|(host, claim)| Some(Wrong { place, host: *host, what: difference(claim, &found)? }));
        Ok(Ran { wrong: wrong.collect(), output })
    }

    /// A task whose input follows from what was run again, and is not what was accepted.
    fn of_another_input(&self, place: Place) -> Vec<Wrong> {
        let accepted = self.accepted.get(&place);
        let claims = self.claims.get(&place).into_iter().flatten();
        let same = claims.filter(|(_, claim)| Some(claim) == accepted);
        let what = || "another input than the job has there".to_owned();
        same.map(|(host, _)| Wrong { place, host: *host, what: what() }).collect()
    }

    /// The split, and the pieces that it makes.
    fn split(&self, whole: &Chunks) -> Result<(Source, Vec<Wrong>), CliError> {
        let place = Place { stage: Stage::Split, index: 0 };
        let payload = if whole.count() == 0 { Vec::new() } else { whole.read(0).map_err(CliError::failed)? };
        let input = self.input(place, &payload).ok_or_else(|| differs("the split was given another one"))?;
        let Ran { wrong, output } = self.run(place, input)?;
        let pieces = output.and_then(|list| envelope::read_list(&list, CHUNKS_MAX));
        Ok((Source::Pieces(pieces.unwrap_or_default()), wrong))
    }

    fn chunk(&self, source: &Source, index: u32) -> Result<Ran, CliError> {
        let place = Place { stage: Stage::Execute, index };
        match (self.input(place, &source.read(index)?), source) {
            (Some(input), _) => self.run(place, input),
            (None, Source::Pieces(_)) => Ok(Ran { wrong: self.of_another_input(place), output: None }),
            (None, Source::File(_)) => Err(differs(&format!("{} was another one", name(place)))),
        }
    }

    fn merge(&self, outputs: &Outputs) -> Result<Vec<Wrong>, CliError> {
        let place = Place { stage: Stage::Merge, index: 0 };
        match self.input(place, &envelope::list(outputs.kept.values())) {
            Some(input) => Ok(self.run(place, input)?.wrong),
            None => Ok(self.of_another_input(place)),
        }
    }

    /// Runs the chunks that were drawn, several at once, and gives each to `each` in any order.
    fn run_all(
        &self,
        source: &Source,
        drawn: &[u32],
        output: &Output,
        mut each: impl FnMut(u32, Ran),
    ) -> Result<(), CliError> {
        let (next, total) = (AtomicUsize::new(0), drawn.len() as u64);
        let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX).min(drawn.len());
        let (sender, receiver) = mpsc::sync_channel(THREADS_MAX);
        let mut drawing = Drawing::new(output, false, "running results again");
        let result = thread::scope(|scope| {
            for _ in 0..threads {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || {
                    while let Some(index) = drawn.get(next.fetch_add(1, Ordering::Relaxed))
                        && sender.send((*index, self.chunk(source, *index))).is_ok()
                    {}
                });
            }
            drop(sender);
            // The first error ends the others: nobody takes what they send.
            for (done, (index, ran)) in (1..).zip(receiver) {
                each(index, ran?);
                let line = |_| format!("{} {done} of {total} chunks", bar(done, done, total));
                let json = |_| Some(json!({ "event": "progress", "done": done, "total": total }));
                drawing.show(Some(done * 100 / total), line, json);
            }
            Ok(())
        });
        drawing.finish();
        result
    }
}

/// How a claim differs from what was found, told of the claim.
fn difference(claim: &Receipt, found: &Receipt) -> Option<String> {
    let ending = |output: &Result<Hash, Trap>| match output {
        Ok(hash) => format!("the output {hash}"),
        Err(trap) => format!("a module that {trap}"),
    };
    if claim.output != found.output {
        return Some(format!("{}; here it was {}", ending(&claim.output), ending(&found.output)));
    }
    if claim.gas != found.gas {
        return Some(format!("{} gas; here it was {}", claim.gas, found.gas));
    }
    (claim != found).then(|| "other messages than it sent here".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_drawn_without_repetition_and_by_its_seed_only() {
        let one = draw(7, 16, 1000);
        assert_eq!((one.len(), &one), (16, &draw(7, 16, 1000)));
        assert!(one.is_sorted_by(|a, b| a < b) && one.iter().all(|index| *index < 1000), "{one:?}");
        assert_ne!(one, draw(8, 16, 1000));
        assert_eq!(draw(7, 16, 5), [0, 1, 2, 3, 4]);
        assert!(draw(7, 16, 0).is_empty() && draw(7, 0, 9).is_empty());
        let mut seen: Vec<u32> = (0..200).flat_map(|seed| draw(seed, 2, 10)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 10, "every chunk may be drawn");
    }
}
