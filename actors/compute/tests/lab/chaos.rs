//! Whatever goes wrong: lines, machines, disks, slow nodes, full nodes, and two of twenty that lie whenever they are asked.

use crate::{
    node::{Cast, In, Node, Out},
    task,
};
use pangea_compute::{
    api::{News, Report, Spec},
    coordinator, worker,
};
use pangea_protocols::{
    JobId,
    receipt_job::{Terms, Verification},
};
use pangea_simulations::lab::{Lab, NodeId, View, ensure};
use std::time::Duration;

/// Two liars, two nodes that are ten times slower, and room for one job of others.
struct Motley;

impl Cast for Motley {
    fn lies(id: NodeId, _: u64, _: f64) -> bool {
        !Self::is_honest(id)
    }

    fn is_honest(id: NodeId) -> bool {
        id % 10 != 3
    }

    fn took() -> Duration {
        Duration::from_secs(2)
    }

    fn slowness(id: NodeId) -> f64 {
        if id % 10 == 7 { 10.0 } else { 1.0 }
    }

    fn coordinator() -> coordinator::Limits {
        coordinator::Limits { backoff_max: Duration::from_secs(8), crashes_max: 8, ..coordinator::Limits::default() }
    }

    fn worker() -> worker::Limits {
        worker::Limits { jobs_max: 1, ..worker::Limits::default() }
    }
}

fn lab(name: &str, jobs: u64) -> Lab<Node<Motley>> {
    Lab::<Node<Motley>>::new(name)
        .nodes(20)
        .faults(6..=14)
        .times(Duration::from_secs(60), Duration::from_secs(120))
        .workload(move |draw, asks| {
            for job in 0..jobs {
                let verification = match draw.below(3) {
                    // Two liars that agree are enough for a quorum of two.
                    0 => Verification::Quorum { hosts: 3 },
                    _ => Verification::default(),
                };
                let (split, merge) = (draw.below(3) == 0, draw.below(2) == 0);
                let chunks = if split { 6 } else { draw.below(150) as u32 };
                let spec = Spec { split, merge, ..task::spec(draw, chunks, verification) };
                asks.tell_somebody(draw, In::Submit(JobId(job), Box::new(spec)));
            }
        })
        .always("a result is the right one, and its receipt holds", |net| {
            for note in net.new_notes() {
                let Out::News(job, News::Done { outputs, receipt, .. }) = &note.what else { continue };
                let Terms { split, merge, verification, .. } = receipt.terms;
                let chunks = receipt.results.len() - usize::from(split) - usize::from(merge);
                let chunks = if split { 6 } else { chunks as u32 };
                let mut draw = pangea_kernel::Seed::new([0; 32]).draw();
                let spec = Spec { split, merge, ..task::spec(&mut draw, chunks, verification) };
                ensure!(*outputs == task::reference(*job, &spec), "node {}: {job:?} is wrong", note.node);
                receipt.verify().map_err(|error| format!("node {}: {job:?}: {error}", note.node))?;
            }
            Ok(())
        })
        .always("no honest node is banned", |net| {
            for note in net.new_notes() {
                let Out::Report(node, report) = &note.what else { continue };
                let fair = !matches!(report, Report::BadProof | Report::Violation) || !Motley::is_honest(*node);
                ensure!(fair, "node {} says {report:?} of node {node}", note.node);
            }
            Ok(())
        })
        .always("no job fails", |net| {
            for note in net.new_notes() {
                let Out::News(job, News::Failed(error)) = &note.what else { continue };
                ensure!(false, "node {}: {job:?} failed: {error}", note.node);
            }
            Ok(())
        })
        .eventually("every job has ended, and nothing is left of it", |net| {
            for (id, node) in net.cores() {
                ensure!(node.disk.is_empty(), "node {id} still has {:?}", node.disk.keys());
            }
            for (id, node) in net.cores() {
                ensure!(node.idle() == (true, true), "node {id} is not idle: {:?}", node.idle());
            }
            Ok(())
        })
        .sometimes("a liar is caught", |net| {
            net.new_notes().iter().any(|note| matches!(note.what, Out::Report(_, Report::BadProof)))
        })
        .sometimes("a node is full", |net| {
            net.new_notes().iter().any(|note| matches!(note.what, Out::Report(_, Report::Refused)))
        })
        .sometimes("a host is lost", |net| {
            let retried = |news: &News| matches!(news, News::Done { progress, .. } if progress.retried > 0);
            net.new_notes().iter().any(|note| matches!(&note.what, Out::News(_, news) if retried(news)))
        })
        .sometimes("a late task gets a second copy", |net| {
            let copied = |news: &News| matches!(news, News::Done { progress, .. } if progress.speculated > 0);
            net.new_notes().iter().any(|note| matches!(&note.what, Out::News(_, news) if copied(news)))
        })
}

#[test]
fn every_job_ends_with_the_right_result_whatever_goes_wrong() {
    lab("compute", 4).seeds(0..60).check();
}

#[test]
fn a_job_outlives_the_crashes_of_its_coordinator() {
    lab("coordinator", 6)
        .faults(15..=25)
        .kinds(&["crash"])
        .sometimes("a coordinator goes on where it was before it crashed", |net: &View<'_, Node<Motley>>| {
            let restored = |news: &News| matches!(news, News::Done { progress, .. } if progress.restored > 0);
            net.new_notes().iter().any(|note| matches!(&note.what, Out::News(_, news) if restored(news)))
        })
        .seeds(0..20)
        .check();
}
