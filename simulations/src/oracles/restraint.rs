//! Restraint: a peer that does not answer, or that sends this node away, is not dialled again and again.

use crate::{
    observer::{Findings, Sight, Watch, Who},
    record::{NodeId, What},
};
use pangea_protocols::{
    PeerId,
    net::{Command, Event},
    time::Time,
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Dials in a row without a lasting answer: the quick steps of a pinned peer are nine, a node that is alone tries every minute,
/// and each read of an object dials its holders once.
const DIALS_MAX: usize = 60;
/// In this time.
const WINDOW: Duration = Duration::from_secs(600);

/// When each node has dialled each peer, since a connection ended that the peer did not want to be rid of.
#[derive(Default)]
pub struct Restraint(BTreeMap<(NodeId, PeerId), VecDeque<Time>>);

impl Watch for Restraint {
    fn name(&self) -> &'static str {
        "restraint"
    }

    fn see(&mut self, at: Time, node: Option<NodeId>, who: &Who, sight: Sight<'_>, findings: &mut Findings) {
        let Some(node) = node else { return };
        match sight {
            Sight::Network(Command::Dial { peer, .. }) => {
                let dials = self.0.entry((node, *peer)).or_default();
                dials.push_back(at);
                while dials.front().is_some_and(|first| at.since(*first) > WINDOW) {
                    dials.pop_front();
                }
                if dials.len() > DIALS_MAX {
                    let peer = who.node(*peer);
                    findings
                        .violation(format!("node {node} has dialled {peer:?} {} times in ten minutes", dials.len()));
                    dials.clear();
                }
            }
            Sight::Heard(Event::Disconnected { peer, dismissed: false, .. }) => {
                self.0.remove(&(node, *peer));
            }
            Sight::Run(What::Crashed { .. }) => self.0.retain(|(of, _), _| *of != node),
            _ => {}
        }
    }
}
