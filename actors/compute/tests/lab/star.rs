//! An owner that knows one other node, which knows the rest: what that one cannot run itself it passes on.

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

const CHUNKS: u32 = 200;
const OWNER: NodeId = 0;
const HUB: NodeId = 1;

/// Node 0 knows node 1 only; one of those that it does not know lies.
struct Star;

impl Cast for Star {
    fn knows(me: NodeId, other: NodeId) -> bool {
        if me == OWNER { other == HUB } else { other != OWNER }
    }

    fn lies(id: NodeId, _: u64, _: f64) -> bool {
        id == 5
    }

    fn coordinator() -> coordinator::Limits {
        coordinator::Limits { backoff_max: Duration::from_secs(8), crashes_max: 8, ..coordinator::Limits::default() }
    }
}

fn lab(name: &str) -> Lab<Node<Star>> {
    Lab::<Node<Star>>::new(name)
        .nodes(12)
        .workload(|draw, asks| {
            let spec = Spec { depth: 1, ..task::spec(draw, CHUNKS, Verification::default()) };
            asks.tell(Duration::from_secs(2), OWNER, In::Submit(JobId(1), Box::new(spec)));
        })
        .always("a result is the right one, and its receipt holds", |net| {
            for note in net.new_notes() {
                let Out::News(job, News::Done { outputs, receipt, .. }) = &note.what else { continue };
                let spec = task::spec(&mut pangea_kernel::Seed::new([0; 32]).draw(), CHUNKS, Verification::default());
                ensure!(*outputs == task::reference(*job, &spec), "node {}: {job:?} is wrong", note.node);
                receipt.verify().map_err(|error| format!("node {}: {job:?}: {error}", note.node))?;
            }
            Ok(())
        })
        .always("no honest node is banned", |net| {
            for note in net.new_notes() {
                let Out::Report(node, report) = &note.what else { continue };
                ensure!(!matches!(report, Report::BadProof | Report::Violation) || *node == 5, "{node} is banned");
            }
            Ok(())
        })
        .eventually("the job has ended, and nothing is left of it", |net| {
            for (id, node) in net.cores() {
                ensure!(
                    node.disk.is_empty() && node.idle() == (true, true),
                    "node {id} is not idle: {:?}",
                    node.idle()
                );
            }
            Ok(())
        })
        .sometimes("a liar is caught", |net| {
            net.new_notes().iter().any(|note| matches!(note.what, Out::Report(_, Report::BadProof)))
        })
}

#[test]
fn all_nodes_work_for_an_owner_that_knows_only_one() {
    lab("star")
        .faults(0..=0)
        .eventually("most nodes have worked", |net| {
            let worked = net.cores().filter(|(_, node)| node.ran > 0).count();
            ensure!(worked >= 10, "only {worked} nodes have run anything");
            let passed_on = net.cores().map(|(_, node)| node.passed_on).sum::<u64>();
            ensure!(passed_on > u64::from(CHUNKS) / 4, "only {passed_on} tasks were passed on");
            Ok(())
        })
        .seeds(0..10)
        .check();
}

#[test]
fn what_was_passed_on_comes_to_an_end_whatever_goes_wrong() {
    lab("star-faults")
        .faults(6..=14)
        .times(Duration::from_secs(60), Duration::from_secs(120))
        .sometimes("tasks are passed on", |net| net.cores().any(|(_, node)| node.passed_on > 0))
        .seeds(0..40)
        .check();
}
