//! A coordinator that begins anew with what an earlier one has saved: every rule of what counts again and what does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use bytes::Bytes;
use pangea_compute::{
    Coordinator,
    api::{
        Candidate, News, Saved, Spec,
        coordinator::{In, Out},
    },
    coordinator, envelope,
};
use pangea_kernel::testbed::Testbed;
use pangea_protocols::{
    Hash, JobId, PeerId,
    receipt_job::{Batch, Claim, Place, Stage, Verification},
    task::{Input, Receipt, input_hash, list_hash},
    wire::{Frame, Message, compute::Compute},
};
use std::{collections::BTreeSet, time::Duration};
use world::{key, peer};

/// This node, and the one that lies.
const ME: u8 = 1;
const LIAR: u8 = 2;
const HONEST: u8 = 3;
/// The job that is restored, and one that it waits for.
const JOB: JobId = JobId(1);
const OTHER: JobId = JobId(2);

fn spec(chunks: u32, verification: Verification) -> Spec {
    Spec { merge: true, ..world::spec(chunks, verification) }
}

fn at(stage: Stage, index: u32) -> Place {
    Place { stage, index }
}

/// What is true: a split makes two pieces, and everything else returns what it was called with.
fn truth(place: Place, input: &Bytes) -> Bytes {
    match place.stage {
        Stage::Split => envelope::list([Bytes::from_static(b"one"), Bytes::from_static(b"two")].iter()),
        Stage::Execute | Stage::Merge => input.clone(),
    }
}

/// The same, but of a split.
fn lie(place: Place, input: &Bytes) -> Bytes {
    match place.stage {
        Stage::Split => envelope::list([Bytes::from_static(b"lie"), Bytes::from_static(b"lies")].iter()),
        Stage::Execute | Stage::Merge => truth(place, input),
    }
}

fn receipt(input: Hash, output: &[u8]) -> Receipt {
    let module = Hash::of(b"module");
    Receipt { pass_version: 1, module, input, output: Ok(Hash::of(output)), sent: list_hash([]), gas: 7 }
}

/// A lease that was given: to whom, which, the hash of the input, and the input.
type Assigned = (PeerId, Place, Hash, Bytes);

/// A coordinator whose hosts do as a test says, and take part only when it says so.
struct World {
    bed: Testbed<Coordinator>,
    job: Hash,
    assigned: Vec<Assigned>,
    saved: Vec<Saved>,
    end: Option<News>,
    request: u64,
}

impl World {
    fn of(limits: coordinator::Limits) -> Self {
        let bed = Testbed::new(Coordinator::new(peer(ME), key(ME), 1, limits));
        Self { bed, job: Hash::default(), assigned: vec![], saved: vec![], end: None, request: 0 }
    }

    fn new(spec: Spec) -> Self {
        let mut world = Self::of(coordinator::Limits::default());
        world.send(In::Submit { job: JOB, spec: Box::new(spec) });
        world
    }

    fn send(&mut self, event: In) {
        let outs = self.bed.send(event);
        self.take(outs);
    }

    fn take(&mut self, outs: Vec<Out>) {
        for out in outs {
            match out {
                Out::Want { job, index } => {
                    self.send(In::Input { job, index, bytes: Bytes::from(index.to_string()) });
                }
                Out::Send { peer, frame: Frame { message: Message::Compute(message), body }, .. } => match message {
                    Compute::Offer { job, .. } => self.job = job,
                    Compute::Assign { place, input, .. } => self.assigned.push((peer, place, input, body)),
                    _ => {}
                },
                Out::Candidates { request, .. } => self.request = request,
                Out::Save { job: JOB, saved } => self.saved.push(saved),
                Out::News { job: JOB, news: news @ (News::Done { .. } | News::Failed(_)) } => self.end = Some(news),
                _ => {}
            }
        }
    }

    fn hear(&mut self, host: u8, message: Compute, body: Bytes) {
        self.send(In::Received { peer: peer(host), frame: Frame { message: Message::Compute(message), body } });
    }

    /// A host takes part, with one slot.
    fn joins(&mut self, host: u8) {
        if host != ME {
            let candidate =
                Candidate { peer: peer(host), domain: 0, score: 0.9, rtt: None, goodput: 0.0, address: None };
            self.send(In::Candidates { request: self.request, candidates: vec![candidate] });
        }
        self.hear(host, Compute::Accept { job: self.job, slots: 1 }, Bytes::new());
    }

    /// What a host has been given comes out like this, and `sent` is what it sends.
    fn answer(&mut self, host: u8, signed: fn(Place, &Bytes) -> Bytes, sent: fn(Place, &Bytes) -> Bytes) {
        let (mine, rest): (Vec<_>, Vec<_>) = self.assigned.drain(..).partition(|(to, ..)| *to == peer(host));
        self.assigned = rest;
        for (_, place, input, bytes) in mine {
            let job = self.job;
            let claim = Claim { place, receipt: receipt(input, &signed(place, &bytes)) };
            self.hear(host, Compute::Commit { job, batch: Batch::sign(&key(host), job, vec![claim]) }, Bytes::new());
            self.hear(host, Compute::Output { job, place, part: 0, parts: 1 }, sent(place, &bytes));
        }
    }

    /// Lets this node do the rest; what came of it, how many tasks were restored and which were run.
    fn finish(&mut self) -> (Vec<Bytes>, u32, BTreeSet<Place>) {
        let mut ran = BTreeSet::new();
        self.joins(ME);
        for _ in 0..60 {
            ran.extend(self.assigned.iter().map(|(_, place, ..)| *place));
            self.answer(ME, truth, truth);
            let outs = self.bed.advance(Duration::from_secs(1));
            self.take(outs);
            if let Some(News::Done { outputs, receipt, progress }) = &self.end {
                receipt.verify().unwrap();
                assert!(self.bed.core.is_idle());
                return (outputs.clone(), progress.restored, ran);
            }
        }
        panic!("it does not end: {:?}", self.end);
    }

    fn restore(&mut self, saved: impl IntoIterator<Item = Saved>) {
        saved.into_iter().for_each(|saved| self.send(In::Restored { job: JOB, saved }));
    }

    /// What a host signed for at a place of a job of one chunk, whose input is its number.
    fn batch(&self, host: u8, place: Place, output: &'static [u8]) -> Saved {
        let bytes = envelope::call(place, 1, place.index.to_string().as_bytes());
        let claim = Claim { place, receipt: receipt(input_hash(&Input { bytes, ..Input::default() }), output) };
        Saved::Batch(Batch::sign(&key(host), self.job, vec![claim]))
    }
}

fn output(place: Place, bytes: &'static [u8]) -> Saved {
    Saved::Output { place, bytes: Bytes::from_static(bytes) }
}

/// The merge of these outputs of chunks.
fn merged(outputs: &[Bytes]) -> Vec<Bytes> {
    vec![envelope::call(at(Stage::Merge, 0), 1, &envelope::list(outputs.iter()))]
}

fn executed(pieces: [&str; 2]) -> Vec<Bytes> {
    (0..).zip(pieces).map(|(index, piece)| envelope::call(at(Stage::Execute, index), 2, piece.as_bytes())).collect()
}

const EXECUTE: Place = Place { stage: Stage::Execute, index: 0 };

#[test]
fn what_was_accepted_is_not_run_again_in_whatever_order_it_comes_back() {
    let mut world = World::new(spec(2, Verification::None));
    let (batch, output) = (world.batch(HONEST, EXECUTE, b"a"), output(EXECUTE, b"a"));
    for order in [[&batch, &output], [&output, &batch]] {
        let mut world = World::new(spec(2, Verification::None));
        world.restore(order.map(Clone::clone));
        // Twice is as good as once.
        world.restore(order.map(Clone::clone));
        let (outputs, restored, ran) = world.finish();
        assert_eq!(outputs, merged(&[Bytes::from_static(b"a"), envelope::call(at(Stage::Execute, 1), 2, b"1")]));
        assert_eq!((restored, ran), (1, [at(Stage::Execute, 1), at(Stage::Merge, 0)].into()));
    }
    world.restore([world.batch(HONEST, at(Stage::Execute, 9), b"a"), self::output(at(Stage::Execute, 9), b"a")]);
    assert_eq!(world.finish().1, 0, "there is no such chunk");
}

#[test]
fn an_output_counts_only_with_a_signature_for_it() {
    let mut world = World::new(spec(1, Verification::None));
    world.restore([output(EXECUTE, b"a")]);
    assert_eq!(world.finish().1, 0, "nobody signed");
    let mut world = World::new(spec(1, Verification::None));
    world.restore([world.batch(HONEST, EXECUTE, b"b"), output(EXECUTE, b"a")]);
    assert_eq!(world.finish().1, 0, "it was signed for another");
}

#[test]
fn who_was_caught_vouches_for_nothing_whether_that_comes_before_or_after_what_it_did() {
    let mut world = World::new(spec(1, Verification::Quorum { hosts: 2 }));
    let banned = Saved::Banned { host: peer(LIAR) };
    let done = [world.batch(LIAR, EXECUTE, b"a"), world.batch(HONEST, EXECUTE, b"a"), output(EXECUTE, b"a")];
    world.restore(done.clone());
    assert_eq!(world.finish().1, 1, "two have signed");
    for (before, after) in [(Some(banned.clone()), None), (None, Some(banned))] {
        let mut world = World::new(spec(1, Verification::Quorum { hosts: 2 }));
        world.restore(before.into_iter().chain(done[..1].to_vec()).chain([done[2].clone()]).chain(after));
        let (outputs, _, ran) = world.finish();
        assert!(ran.contains(&EXECUTE) && outputs == merged(&[envelope::call(EXECUTE, 1, b"0")]), "{outputs:?}");
        let Some(News::Done { receipt, .. }) = &world.end else { panic!("it is done") };
        assert_eq!(receipt.banned, [peer(LIAR)].into());
    }
}

#[test]
fn of_two_outputs_the_later_one_counts_and_what_was_made_of_the_other_does_not() {
    let mut world = World::new(spec(1, Verification::None));
    let merge = at(Stage::Merge, 0);
    world.restore([
        world.batch(LIAR, EXECUTE, b"lie"),
        output(EXECUTE, b"lie"),
        world.batch(HONEST, EXECUTE, b"true"),
        output(EXECUTE, b"true"),
    ]);
    let (outputs, _, ran) = world.finish();
    assert_eq!((outputs, ran), (merged(&[Bytes::from_static(b"true")]), [merge].into()));
}

#[test]
fn void_forgets_the_later_stages_and_keeps_this_one() {
    let split = at(Stage::Split, 0);
    let pieces: &[u8] = b"\x82\x43one\x43two";
    for waits in [false, true] {
        let limits = coordinator::Limits { running_max: 1, ..coordinator::Limits::default() };
        let (mut world, job) = (World::of(limits), Spec { split: true, ..spec(1, Verification::None) });
        // Only for the name, which its batches are signed with.
        let named = World::new(job.clone());
        if waits {
            world.send(In::Submit {
                job: OTHER,
                spec: Box::new(Spec { nonce: [9; 16], ..spec(1, Verification::None) }),
            });
        }
        world.send(In::Submit { job: JOB, spec: Box::new(job) });
        world.restore([
            named.batch(HONEST, split, pieces),
            output(split, pieces),
            named.batch(HONEST, EXECUTE, b"of something else"),
            output(EXECUTE, b"of something else"),
            Saved::Void { after: Stage::Split },
            named.batch(HONEST, at(Stage::Execute, 1), b"kept"),
            output(at(Stage::Execute, 1), b"kept"),
        ]);
        world.send(In::Cancel { job: OTHER });
        let (outputs, _, ran) = world.finish();
        assert_eq!(ran, [EXECUTE, at(Stage::Merge, 0)].into(), "waits: {waits}");
        assert_eq!(outputs, merged(&[envelope::call(EXECUTE, 2, b"one"), Bytes::from_static(b"kept")]));
    }
}

#[test]
fn what_somebody_runs_already_is_not_taken_from_what_was_saved() {
    let mut world = World::new(spec(1, Verification::None));
    let late = [world.batch(HONEST, EXECUTE, b"a"), output(EXECUTE, b"a")];
    world.joins(ME);
    world.restore(late);
    let (outputs, restored, _) = world.finish();
    assert_eq!((outputs, restored), (merged(&[envelope::call(EXECUTE, 1, b"0")]), 0));
}

/// A split that was a lie, found out when chunks had been made of it, and everything made again.
fn history() -> Vec<Saved> {
    let mut world = World::new(Spec { split: true, ..spec(1, Verification::None) });
    world.joins(LIAR);
    world.answer(LIAR, lie, lie);
    world.joins(HONEST);
    world.answer(HONEST, truth, truth);
    world.answer(LIAR, truth, |_, _| Bytes::from_static(b"not what it signed for"));
    assert_eq!(world.finish().0, merged(&executed(["one", "two"])));
    let saved = std::mem::take(&mut world.saved);
    assert!(saved.contains(&Saved::Void { after: Stage::Split }) && saved.len() >= 12, "{saved:?}");
    saved
}

#[test]
fn wherever_a_history_with_a_voided_stage_is_cut_the_job_ends_with_what_follows_from_it() {
    let saved = history();
    for (cut, waits) in (0..=saved.len()).flat_map(|cut| [(cut, false), (cut, true)]) {
        let limits = coordinator::Limits { running_max: 1, ..coordinator::Limits::default() };
        let mut world = World::of(limits);
        if waits {
            world.send(In::Submit {
                job: OTHER,
                spec: Box::new(Spec { nonce: [9; 16], ..spec(1, Verification::None) }),
            });
        }
        let job = Spec { split: true, ..spec(1, Verification::None) };
        world.send(In::Submit { job: JOB, spec: Box::new(job) });
        world.restore(saved[..cut].to_vec());
        world.send(In::Cancel { job: OTHER });
        let caught = saved[..cut].contains(&Saved::Banned { host: peer(LIAR) });
        let split = |saved: &Saved| matches!(saved, Saved::Output { place, .. } if place.stage == Stage::Split);
        let believed = !caught && saved[..cut].iter().any(split);
        let expected = merged(&executed(if believed { ["lie", "lies"] } else { ["one", "two"] }));
        let (outputs, ..) = world.finish();
        assert_eq!(outputs, expected, "cut at {cut}, waits: {waits}, after {:?}", saved[..cut].last());
    }
}
