//! [`Queue`]: what is still to happen in a lab, by time, then by the order in which it was asked for. Typed for one kind
//! of actor: no boxes, no locks.

use super::Member;
use crate::record::NodeId;
use pangea_kernel::TimerId;
use pangea_protocols::time::Time;
use std::{cmp::Ordering, collections::BinaryHeap};

/// Something that is going to happen. `at` are places of nodes in the network, `life` counts the starts of a node:
/// what was meant for a process that has ended happens to nobody.
pub(super) enum Entry<C: Member> {
    /// The plan's.
    Step(Step),
    /// A message arrives. One of a connection (`life`) does not outlive its receiver.
    Hear { at: usize, life: Option<u32>, sender: Sender, frame: u64, event: C::In },
    /// A timer is due.
    Timer { at: usize, life: u32, timer: TimerId, event: C::In },
    /// The node tells itself something: a connection broke.
    Own { at: usize, life: u32, event: C::In },
    /// A sync is done.
    Synced { at: usize, life: u32, save: u64, then: Option<C::In> },
}

/// Who sent a message, in which life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub(super) at: usize,
    pub(super) id: NodeId,
    pub(super) life: u32,
}

/// What a plan makes happen; the numbers are places in its lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// A fault is over.
    End(usize),
    /// A node is started for the first time.
    Start(usize),
    /// A fault begins.
    Begin(usize),
    /// All faults are over.
    Calm,
    /// A user asks.
    Ask(usize),
}

struct Due<C: Member> {
    time: Time,
    order: u64,
    entry: Entry<C>,
}

impl<C: Member> PartialEq for Due<C> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<C: Member> Eq for Due<C> {}

impl<C: Member> PartialOrd for Due<C> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<C: Member> Ord for Due<C> {
    /// The earliest is the greatest: that is what a heap gives first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.time, other.order).cmp(&(self.time, self.order))
    }
}

/// All that is still to happen.
pub(super) struct Queue<C: Member> {
    heap: BinaryHeap<Due<C>>,
    added: u64,
}

impl<C: Member> Queue<C> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), added: 0 }
    }

    pub(super) fn add(&mut self, time: Time, entry: Entry<C>) {
        self.heap.push(Due { time, order: self.added, entry });
        self.added += 1;
    }

    /// The next, unless it is later than `until`.
    pub(super) fn pop(&mut self, until: Time) -> Option<(Time, Entry<C>)> {
        if self.heap.peek()?.time > until {
            return None;
        }
        self.heap.pop().map(|due| (due.time, due.entry))
    }
}
