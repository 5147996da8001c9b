//! Inputs that lie in a stored object: whoever runs a task reads it, now and then cannot, and the owner helps out.

use crate::{
    node::{Cast, In, Node, Out},
    task,
};
use pangea_compute::{
    api::{News, Report, Spec},
    coordinator,
};
use pangea_protocols::{JobId, receipt_job::Verification};
use pangea_simulations::lab::{Lab, NodeId, ensure};
use std::time::Duration;

const CHUNKS: u32 = 60;

/// One reads nothing, others fail one time in ten, one lies; neither is asked by a user.
struct Readers;

impl Cast for Readers {
    fn stores() -> bool {
        true
    }

    fn reads(id: NodeId, chance: f64) -> bool {
        id != 4 && chance > 0.1
    }

    fn lies(id: NodeId, _: u64, _: f64) -> bool {
        id == 5
    }

    fn is_honest(id: NodeId) -> bool {
        id != 4 && id != 5
    }

    fn coordinator() -> coordinator::Limits {
        coordinator::Limits { backoff_max: Duration::from_secs(8), crashes_max: 8, ..coordinator::Limits::default() }
    }
}

fn lab(name: &str) -> Lab<Node<Readers>> {
    Lab::<Node<Readers>>::new(name)
        .nodes(9)
        .workload(|draw, asks| {
            for (job, verification) in [Verification::default(), Verification::Quorum { hosts: 3 }].into_iter().enumerate() {
                let depth = draw.below(2) as u8;
                let spec = Spec { merge: true, depth, ..task::spec(draw, CHUNKS, verification) };
                asks.tell_somebody(draw, In::Submit(JobId(job as u64), Box::new(spec)));
            }
        })
        .always("a result is the right one, and its receipt holds", |net| {
            for note in net.new_notes() {
                let Out::News(job, News::Done { outputs, receipt, .. }) = &note.what else { continue };
                let mut draw = pangea_kernel::Seed::new([0; 32]).draw();
                let spec = Spec { merge: true, ..task::spec(&mut draw, CHUNKS, receipt.terms.verification) };
                ensure!(*outputs == task::reference(*job, &spec), "node {}: {job:?} is wrong", note.node);
                receipt.verify().map_err(|error| format!("node {}: {job:?}: {error}", note.node))?;
            }
            Ok(())
        })
        .always("no honest node is banned", |net| {
            for note in net.new_notes() {
                let Out::Report(node, report) = &note.what else { continue };
                // What a liar passes on it judges by its own lies.
                let fair = !matches!(report, Report::BadProof | Report::Violation) || *node == 5 || note.node == 5;
                ensure!(fair, "{node} is banned by {}", note.node);
            }
            Ok(())
        })
        .always("no job fails because a host cannot read", |net| {
            for note in net.new_notes() {
                let Out::News(job, News::Failed(error)) = &note.what else { continue };
                ensure!(false, "node {}: {job:?} failed: {error}", note.node);
            }
            Ok(())
        })
        .eventually("every job has ended, and nothing is left of it", |net| {
            for (id, node) in net.cores() {
                let idle = node.disk.is_empty() && node.idle() == (true, true);
                ensure!(idle, "node {id} is not idle: {:?}", node.idle());
            }
            Ok(())
        })
        .sometimes("hosts read inputs themselves, one from its own disk", |net| {
            let read = |news: &News| {
                matches!(news, News::Done { progress, .. } if progress.read_bytes > progress.own_bytes && progress.own_bytes > 0)
            };
            net.new_notes().iter().any(|note| matches!(&note.what, Out::News(_, news) if read(news)))
        })
        .sometimes("an owner reads what others could not, and sends it", |net| {
            // The receipt tells by the hash of the input.
            let fed = |job: &JobId, news: &News| match news {
                News::Done { receipt, .. } => {
                    let stored: Vec<_> = (0..CHUNKS).map(|index| task::stored_hash(*job, index, CHUNKS)).collect();
                    receipt.results.iter().take(CHUNKS as usize).any(|claim| !stored.contains(&claim.receipt.input))
                }
                _ => false,
            };
            net.new_notes().iter().any(|note| matches!(&note.what, Out::News(job, news) if fed(job, news)))
        })
}

#[test]
fn whoever_cannot_read_an_input_is_helped_by_the_owner() {
    lab("stored").faults(0..=0).seeds(0..10).check();
}

#[test]
fn stored_inputs_come_to_an_end_whatever_goes_wrong() {
    lab("stored-faults").faults(6..=14).times(Duration::from_secs(60), Duration::from_secs(120)).seeds(0..30).check();
}
