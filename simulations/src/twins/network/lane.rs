//! The queue of frames from one node to one peer: bounded as in the network driver, the most urgent class first.

use super::SILENCE;
use pangea::drivers::network::Limits;
use pangea_protocols::{net::Class, time::Time, wire::Frame};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
};

/// Streams that control frames have for themselves, beyond those of all classes.
const CONTROL_STREAMS: usize = 16;

/// Frames to one peer.
#[derive(Default)]
pub(super) struct Lane {
    /// Frames are boxed: most lanes have one, and trees and queues make room for several.
    waiting: BTreeMap<Reverse<Class>, VecDeque<(u64, Box<Flying>)>>,
    /// By their ids, which ascend.
    flying: BTreeMap<u64, Box<Flying>>,
    frames: usize,
    bytes: usize,
    writing: usize,
    next_id: u64,
}

/// A frame that has not ended.
pub(super) struct Flying {
    pub(super) tag: u64,
    pub(super) class: Class,
    pub(super) bytes: usize,
    /// None once it has arrived.
    pub(super) frame: Option<Frame>,
    pub(super) sent: Time,
}

impl Lane {
    /// Queues a frame; false if the queue is full.
    pub(super) fn push(&mut self, limits: &Limits, tag: u64, class: Class, frame: Frame, bytes: usize) -> bool {
        if self.frames >= limits.send_frames_per_peer_max || self.bytes + bytes > limits.send_bytes_per_peer_max {
            return false;
        }
        self.frames += 1;
        self.bytes += bytes;
        self.next_id += 1;
        let flying = Box::new(Flying { tag, class, bytes, frame: Some(frame), sent: Time(0) });
        self.waiting.entry(Reverse(class)).or_default().push_back((self.next_id, flying));
        true
    }

    /// The next frame that may be written: its id and its bytes. Control frames have streams that others cannot take.
    pub(super) fn next(&mut self, limits: &Limits, now: Time) -> Option<(u64, usize)> {
        let class = self.waiting.iter().find(|(_, queue)| !queue.is_empty()).map(|(class, _)| *class)?;
        let streams = limits.send_streams_per_peer_max;
        let allowed = if class.0 == Class::Control { streams + CONTROL_STREAMS } else { streams };
        if self.writing >= allowed {
            return None;
        }
        let (id, mut flying) = self.waiting.get_mut(&class)?.pop_front()?;
        let bytes = flying.bytes;
        flying.sent = now;
        self.flying.insert(id, flying);
        self.writing += 1;
        Some((id, bytes))
    }

    /// The frame is at its receiver: `None` if it has ended before, or was there before.
    pub(super) fn arrive(&mut self, id: u64) -> Option<Frame> {
        let frame = self.flying.get_mut(&id)?.frame.take()?;
        self.writing -= 1;
        Some(frame)
    }

    /// True while the frame is on its way.
    pub(super) fn flies(&self, id: u64) -> bool {
        self.flying.get(&id).is_some_and(|flying| flying.frame.is_some())
    }

    /// The frame has ended.
    pub(super) fn end(&mut self, id: u64) -> Option<Flying> {
        let flying = *self.flying.remove(&id)?;
        self.writing -= usize::from(flying.frame.is_some());
        self.forget(&flying);
        Some(flying)
    }

    /// Ends the frames with this tag.
    pub(super) fn cancel(&mut self, tag: u64) -> Vec<Flying> {
        let flying: Vec<u64> = self.flying.iter().filter(|(_, flying)| flying.tag == tag).map(|(id, _)| *id).collect();
        let mut ended: Vec<Flying> = flying.into_iter().filter_map(|id| self.end(id)).collect();
        let mut gone = Vec::new();
        for queue in self.waiting.values_mut() {
            let (out, kept): (VecDeque<_>, _) =
                std::mem::take(queue).into_iter().partition(|(_, flying)| flying.tag == tag);
            *queue = kept;
            gone.extend(out.into_iter().map(|(_, flying)| *flying));
        }
        gone.iter().for_each(|flying| self.forget(flying));
        ended.append(&mut gone);
        ended
    }

    /// Ends all frames, in the order in which they came.
    pub(super) fn fail(&mut self) -> Vec<Flying> {
        let flying = std::mem::take(&mut self.flying).into_values();
        let ended = flying.chain(self.waiting.values_mut().flat_map(std::mem::take).map(|(_, flying)| flying));
        let ended = ended.map(|flying| *flying).collect();
        *self = Self { next_id: self.next_id, ..Self::default() };
        ended
    }

    /// What was on its way is to be sent again, in its order.
    pub(super) fn rewind(&mut self) {
        let again: Vec<u64> = self.flying.iter().filter(|(_, f)| f.frame.is_some()).map(|(id, _)| *id).collect();
        for id in again.into_iter().rev() {
            if let Some(mut flying) = self.flying.remove(&id) {
                self.writing -= 1;
                flying.sent = Time(0);
                self.waiting.entry(Reverse(flying.class)).or_default().push_front((id, flying));
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames == 0
    }

    fn forget(&mut self, flying: &Flying) {
        self.frames -= 1;
        self.bytes -= flying.bytes;
    }
}

impl Flying {
    /// How long it took to be acknowledged, if that says something of the line and not of the frame's size.
    pub(super) fn round_trip(&self, now: Time) -> Option<std::time::Duration> {
        let took = now.since(self.sent);
        (self.bytes < 16 << 10 && took < SILENCE).then_some(took)
    }
}
