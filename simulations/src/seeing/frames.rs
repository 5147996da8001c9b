//! Pairs frames sent with frames arrived: what a run's records tell in two places becomes one [`Frame`].

use crate::record::{NodeId, Record, What};
use std::collections::{BTreeMap, HashMap};

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrived then.
    Arrived(u64),
    /// It never arrived, though every other frame sent since then would have.
    Lost,
    /// The run ended too soon to tell.
    Underway,
}

/// One frame from one node to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) sent_ns: u64,
    pub(crate) fate: Fate,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    /// Index into [`Frames::labels`].
    pub(crate) label: usize,
    pub(crate) bytes: u64,
}

/// All frames of a run, by the time they were sent.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pub(crate) all: Vec<Frame>,
    /// What frames are about, those with the most bytes first.
    pub(crate) labels: Vec<String>,
    /// The longest that a frame was underway.
    pub(crate) latency_ns_max: u64,
}

impl Frames {
    /// Pairs the frames of a run that ended at `end_ns`. A second arrival of a frame is a frame of its own; an arrival
    /// of one that was never sent is left out.
    pub(crate) fn read(records: &[Record], end_ns: u64) -> Self {
        let mut frames = Self::default();
        let mut underway = HashMap::new();
        let mut labels = BTreeMap::new();
        for record in records {
            let Some(node) = record.node else { continue };
            match &record.what {
                What::Sent { peer, frame, label, bytes } => {
                    let named = labels.len();
                    let label = *labels.entry(label.as_str()).or_insert(named);
                    underway.insert((node, *peer, *frame), frames.all.len());
                    let (sent_ns, fate) = (record.at_ns, Fate::Underway);
                    frames.all.push(Frame { sent_ns, fate, from: node, to: *peer, label, bytes: *bytes });
                }
                What::Arrived { peer, frame, .. } => {
                    let Some(index) = underway.get(&(*peer, node, *frame)) else { continue };
                    frames.arrive(*index, record.at_ns);
                }
                _ => {}
            }
        }
        frames.finish(&labels, end_ns);
        frames
    }

    fn arrive(&mut self, index: usize, at_ns: u64) {
        let frame = &mut self.all[index];
        self.latency_ns_max = self.latency_ns_max.max(at_ns.saturating_sub(frame.sent_ns));
        if frame.fate == Fate::Underway {
            frame.fate = Fate::Arrived(at_ns);
        } else {
            let again = Frame { fate: Fate::Arrived(at_ns), ..frame.clone() };
            self.all.push(again);
        }
    }

    /// Tells the lost from those underway, sorts, and numbers labels by how many bytes they have.
    fn finish(&mut self, labels: &BTreeMap<&str, usize>, end_ns: u64) {
        let mut sizes = vec![0_u64; labels.len()];
        for frame in &mut self.all {
            sizes[frame.label] = sizes[frame.label].saturating_add(frame.bytes);
            if frame.fate == Fate::Underway && frame.sent_ns + self.latency_ns_max < end_ns {
                frame.fate = Fate::Lost;
            }
        }
        let mut order: Vec<(&str, usize)> = labels.iter().map(|(name, label)| (*name, *label)).collect();
        order.sort_by_key(|(name, label)| (u64::MAX - sizes[*label], *name));
        let mut renamed = vec![0; order.len()];
        for (place, (name, label)) in order.into_iter().enumerate() {
            renamed[label] = place;
            self.labels.push(name.to_owned());
        }
        for frame in &mut self.all {
            frame.label = renamed[frame.label];
        }
        self.all.sort_by_key(|frame| frame.sent_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(at_ns: u64, node: NodeId, what: What) -> Record {
        Record { at_ns, node: Some(node), what }
    }

    fn sent(at_ns: u64, frame: u64, label: &str) -> Record {
        at(at_ns, 0, What::Sent { peer: 1, frame, label: label.into(), bytes: 9 })
    }

    fn arrived(at_ns: u64, frame: u64) -> Record {
        at(at_ns, 1, What::Arrived { peer: 0, frame, label: String::new(), bytes: 9 })
    }

    fn fates(records: &[Record], end_ns: u64) -> Vec<Fate> {
        Frames::read(records, end_ns).all.iter().map(|frame| frame.fate).collect()
    }

    #[test]
    fn a_frame_that_does_not_arrive_is_lost_unless_the_run_ended_first() {
        let records = [sent(0, 1, "a"), arrived(50, 1), sent(60, 2, "a"), sent(90, 3, "a")];
        assert_eq!(fates(&records, 120), [Fate::Arrived(50), Fate::Lost, Fate::Underway]);
    }

    #[test]
    fn a_frame_that_arrives_twice_is_two_frames() {
        assert_eq!(fates(&[sent(0, 1, "a"), arrived(5, 1), arrived(8, 1)], 9), [Fate::Arrived(5), Fate::Arrived(8)]);
    }

    #[test]
    fn an_arrival_without_a_sender_is_left_out() {
        assert_eq!(fates(&[arrived(5, 1)], 9), []);
    }

    #[test]
    fn labels_are_numbered_by_their_bytes() {
        let frames = Frames::read(&[sent(0, 1, "small"), sent(1, 2, "large"), sent(2, 3, "large")], 3);
        assert_eq!(frames.labels, ["large", "small"]);
        assert_eq!(frames.all.iter().map(|frame| frame.label).collect::<Vec<_>>(), [1, 0, 0]);
    }
}
