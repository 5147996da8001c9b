//! [`View`]: what oracles see of a network.

use super::{Member, place::Place};
use crate::record::NodeId;
use pangea_kernel::Core;
use pangea_protocols::time::Time;

/// What an oracle says: all is well, or what is wrong.
pub type Verdict = Result<(), String>;

/// Something that an actor told those who watch ([`super::Route::Note`]).
#[derive(Clone, Debug)]
pub struct Note<O> {
    /// When.
    pub at: Time,
    /// Where.
    pub node: NodeId,
    /// What.
    pub what: O,
}

/// A network at one moment.
pub struct View<'a, C: Member> {
    pub(super) now: Time,
    pub(super) node: Option<NodeId>,
    pub(super) places: &'a [Place<C>],
    pub(super) notes: &'a [Note<C::Out>],
    pub(super) seen: usize,
}

impl<'a, C: Member> View<'a, C> {
    /// Virtual time since the run began.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The node to which something has just happened; `None` if it was the network.
    pub fn node(&self) -> Option<NodeId> {
        self.node
    }

    /// The actors that run, by node.
    pub fn cores(&self) -> impl Iterator<Item = (NodeId, &'a C)> + use<'a, C> {
        self.places.iter().filter_map(|place| Some((place.id, place.core.as_ref()?)))
    }

    /// The actor of a node, if it runs.
    pub fn core(&self, node: NodeId) -> Option<&'a C> {
        self.cores().find(|(id, _)| *id == node).map(|(_, core)| core)
    }

    /// Everything that actors have noted so far.
    pub fn notes(&self) -> &'a [Note<<C as Core>::Out>] {
        self.notes
    }

    /// What has been noted since the oracles were last asked.
    pub fn new_notes(&self) -> &'a [Note<<C as Core>::Out>] {
        &self.notes[self.seen..]
    }
}

/// Ends an oracle with what is wrong, unless a condition holds.
///
/// ```
/// # use pangea_simulations::lab::{ensure, Verdict};
/// fn even(number: u32) -> Verdict {
///     ensure!(number % 2 == 0, "{number} is odd");
///     Ok(())
/// }
/// assert_eq!(even(3), Err("3 is odd".to_owned()));
/// ```
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}
