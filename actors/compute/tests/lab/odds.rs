//! How many wrong results get through, and how often each chunk is run for it. Two of twenty nodes lie and agree on it.

use crate::{
    node::{Cast, In, Node, Out},
    task,
};
use pangea_compute::api::{News, Progress};
use pangea_protocols::{JobId, receipt_job::Verification};
use pangea_simulations::lab::{Lab, NodeId, View};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// Chunks of a job.
const CHUNKS: u32 = 400;

#[derive(Clone, Copy, Debug, Default)]
struct Odds {
    jobs: u64,
    chunks: u64,
    wrong: u64,
    runs: u64,
    banned: u64,
    audited: u64,
    speculated: u64,
    millis: u64,
}

impl Odds {
    fn wrong_share(&self) -> f64 {
        self.wrong as f64 / self.chunks as f64
    }

    fn runs_per_chunk(&self) -> f64 {
        self.runs as f64 / self.chunks as f64
    }
}

/// One job of node 0, in every seed.
fn odds<P: Cast>(name: &str, verification: Verification, seeds: u64) -> Odds {
    let odds = Arc::new(Mutex::new(Odds::default()));
    let sum = Arc::clone(&odds);
    let lab = Lab::<Node<P>>::new(name)
        .nodes(20)
        .faults(0..=0)
        .latency(Duration::from_millis(5)..=Duration::from_millis(50))
        .workload(move |draw, asks| {
            let spec = Box::new(task::spec(draw, CHUNKS, verification));
            asks.tell(Duration::from_secs(2), 0, In::Submit(JobId(1), spec));
        })
        .eventually("one job", move |net: &View<'_, Node<P>>| {
            let mut sum = sum.lock().unwrap();
            let done = net.notes().iter().find_map(|note| match &note.what {
                Out::News(job, News::Done { outputs, receipt, progress }) => {
                    Some((note.at, *job, outputs, receipt, *progress))
                }
                _ => None,
            });
            let Some((at, job, outputs, receipt, progress)) = done else { return Err("no result".into()) };
            receipt.verify().map_err(|error| error.to_string())?;
            let Progress { banned, audited, speculated, .. } = progress;
            let mut spec = task::spec(&mut pangea_kernel::Seed::new([0; 32]).draw(), CHUNKS, verification);
            spec.chunks = CHUNKS;
            let wrong = task::reference(job, &spec).iter().zip(outputs).filter(|(right, got)| right != got).count();
            sum.jobs += 1;
            sum.chunks += u64::from(CHUNKS);
            sum.wrong += wrong as u64;
            sum.runs += net.cores().map(|(_, node)| node.ran).sum::<u64>();
            sum.banned += u64::from(banned);
            sum.audited += audited;
            sum.speculated += speculated;
            sum.millis += at.0 / 1_000_000 - 2000;
            Ok(())
        });
    let tally = lab.sweep(0..seeds, 1).unwrap();
    assert!(tally.is_good(), "{:?}", tally.broken);
    let odds = *odds.lock().unwrap();
    assert_eq!(odds.jobs, seeds);
    eprintln!(
        "{name}: {:.4} % of {} chunks wrong, {:.3} runs per chunk; {:.2} of 2 liars banned, {:.1} audits, {:.1} second \
         copies, {:.1} s a job",
        odds.wrong_share() * 100.0,
        odds.chunks,
        odds.runs_per_chunk(),
        odds.banned as f64 / seeds as f64,
        odds.audited as f64 / seeds as f64,
        odds.speculated as f64 / seeds as f64,
        odds.millis as f64 / seeds as f64 / 1e3,
    );
    odds
}

fn is_liar(id: NodeId) -> bool {
    id % 10 == 3
}

/// Two nodes that always lie.
struct Always;
impl Cast for Always {
    fn keeps() -> bool {
        false
    }
    fn lies(id: NodeId, _: u64, _: f64) -> bool {
        is_liar(id)
    }
}

/// Two nodes that lie in three of ten tasks.
struct Sometimes;
impl Cast for Sometimes {
    fn keeps() -> bool {
        false
    }
    fn lies(id: NodeId, _: u64, chance: f64) -> bool {
        is_liar(id) && chance < 0.3
    }
}

/// Two nodes that lie from their sixth task on.
struct Late;
impl Cast for Late {
    fn keeps() -> bool {
        false
    }
    fn lies(id: NodeId, ran: u64, _: f64) -> bool {
        is_liar(id) && ran > 5
    }
}

/// Nobody lies.
struct Honest;
impl Cast for Honest {
    fn keeps() -> bool {
        false
    }
}

#[test]
fn one_in_ten_that_always_lies_gets_next_to_nothing_through_under_the_default_audit() {
    let odds = odds::<Always>("always", Verification::default(), 40);
    assert!(odds.wrong_share() <= 0.001, "{odds:?}");
    assert!(odds.runs_per_chunk() <= 1.25, "{odds:?}");
    assert_eq!(odds.banned, 2 * odds.jobs);
}

#[test]
fn rare_and_late_liars_are_mostly_caught_by_audits_and_always_by_a_quorum() {
    let sometimes = odds::<Sometimes>("sometimes", Verification::default(), 15);
    let late = odds::<Late>("late", Verification::default(), 15);
    for odds in [sometimes, late] {
        assert!(odds.wrong_share() <= 0.02 && odds.runs_per_chunk() <= 1.35, "{odds:?}");
    }
    let third = odds::<Late>("late, one in three audited", Verification::Audit { per_mille: 333 }, 15);
    assert!(third.wrong_share() <= late.wrong_share() && third.runs_per_chunk() <= 1.6, "{third:?}");
    let quorum = odds::<Sometimes>("sometimes, quorum of 3", Verification::Quorum { hosts: 3 }, 15);
    assert!(quorum.wrong_share() <= 0.001 && quorum.runs_per_chunk() <= 3.2, "{quorum:?}");
}

#[test]
fn without_verification_every_chunk_is_run_about_once_and_lies_get_through() {
    let honest = odds::<Honest>("honest, no verification", Verification::None, 10);
    assert!(honest.wrong == 0 && honest.runs_per_chunk() < 1.06, "{honest:?}");
    let always = odds::<Always>("always, no verification", Verification::None, 10);
    assert!(always.wrong_share() > 0.05, "{always:?}");
}
