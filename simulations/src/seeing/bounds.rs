//! What a picture leaves out when there is too much, so that a browser can show a run of any length.
//!
//! Values that replace each other (what a disk holds, whether a connection is up) are thinned: of all changes within a
//! slot of time, the last one stays, so that the picture is right at the end of each slot. Frames are sampled.

use super::frames::Frame;
use std::collections::{BTreeSet, HashMap};

/// How many slots the finest thinning has; each coarser one has half as many.
const SLOTS_MAX: u64 = 1 << 14;

/// A change of the value of `key`.
pub(crate) type Change<K, V> = (u64, K, V);

/// What became of a list of changes.
pub(crate) struct Thinned<K, V> {
    pub(crate) kept: Vec<Change<K, V>>,
    /// Within so many nanoseconds only the last change of a value is kept; 0: all are.
    pub(crate) slot_ns: u64,
    /// One of so many keys is kept.
    pub(crate) one_of: usize,
}

/// Keeps at most `max` changes of a run that ended at `end_ns`.
pub(crate) fn thin<K: Copy + Ord + std::hash::Hash, V>(
    changes: Vec<Change<K, V>>,
    max: usize,
    end_ns: u64,
) -> Thinned<K, V> {
    if changes.len() <= max {
        return Thinned { kept: changes, slot_ns: 0, one_of: 1 };
    }
    let mut slot_ns = (end_ns / SLOTS_MAX).max(1);
    let mut stays = last_of_slots(&changes, slot_ns);
    while stays.len() > max && slot_ns <= end_ns {
        slot_ns *= 2;
        stays = last_of_slots(&changes, slot_ns);
    }
    let one_of = stays.len().div_ceil(max);
    let keys: BTreeSet<K> = changes.iter().map(|(_, key, _)| *key).collect();
    let keys: BTreeSet<K> = keys.into_iter().step_by(one_of).collect();
    let kept =
        changes.into_iter().enumerate().filter(|(index, (_, key, _))| stays.contains(index) && keys.contains(key));
    Thinned { kept: kept.map(|(_, change)| change).collect(), slot_ns, one_of }
}

fn last_of_slots<K: Copy + Eq + std::hash::Hash, V>(changes: &[Change<K, V>], slot_ns: u64) -> BTreeSet<usize> {
    let mut seen = HashMap::new();
    let latest_first = changes.iter().enumerate().rev();
    let last = latest_first.filter(|(_, (at_ns, key, _))| seen.insert(*key, at_ns / slot_ns) != Some(at_ns / slot_ns));
    last.map(|(index, _)| index).collect()
}

/// Frames chosen for a picture.
pub(crate) struct Sample<'a> {
    pub(crate) frames: Vec<&'a Frame>,
    /// Between these times every frame is shown.
    pub(crate) window: Option<(u64, u64)>,
}

/// Chooses at most `max` of `frames`, which are sorted by time: if there are more, half of them from around `focus_ns`,
/// without gaps, and the others from everywhere.
pub(crate) fn sample<'a>(frames: Vec<&'a Frame>, max: usize, focus_ns: Option<u64>) -> Sample<'a> {
    if frames.len() <= max {
        return Sample { frames, window: None };
    }
    let window = focus_ns.map(|focus_ns| {
        // What led to a violation tells more than what came after it.
        let focus = frames.partition_point(|frame| frame.sent_ns <= focus_ns);
        let begin = focus.saturating_sub(max * 2 / 5);
        begin..(begin + max / 2).min(frames.len())
    });
    let everywhere = if window.is_some() { max / 2 } else { max };
    let number = frames.len();
    // Of the marks that divide the list evenly, one falls on this frame.
    let evenly = |index: usize| (index + 1) * everywhere / number > index * everywhere / number;
    let bounds = window.clone().filter(|window| !window.is_empty());
    let bounds = bounds.map(|window| (frames[window.start].sent_ns, frames[window.end - 1].sent_ns));
    let inside = |index| window.as_ref().is_some_and(|window| window.contains(&index));
    let chosen = frames.into_iter().enumerate().filter(|(index, _)| evenly(*index) || inside(*index));
    Sample { frames: chosen.map(|(_, frame)| frame).collect(), window: bounds }
}

#[cfg(test)]
mod tests {
    use super::{super::frames::Fate, *};

    #[test]
    fn thinned_changes_are_right_at_the_end_of_every_slot() {
        let changes: Vec<_> = (0..100_000_u64).map(|step| (step, step % 3, step)).collect();
        let thinned = thin(changes.clone(), 1_000, 100_000);
        assert!(thinned.kept.len() <= 1_000 && thinned.kept.len() > 300, "{}", thinned.kept.len());
        for slot in 1..100_000 / thinned.slot_ns {
            let end = slot * thinned.slot_ns;
            for key in 0..3 {
                let value = |changes: &[Change<u64, u64>]| {
                    changes.iter().rev().find(|(at, of, _)| *at < end && *of == key).map(|(.., value)| *value)
                };
                assert_eq!(value(&changes), value(&thinned.kept));
            }
        }
    }

    #[test]
    fn too_many_keys_are_thinned_to_some_of_them() {
        let changes: Vec<_> = (0..9_000_u64).map(|key| (key, key, ())).collect();
        let thinned = thin(changes, 1_000, 9_000);
        assert_eq!((thinned.one_of, thinned.kept.len()), (9, 1_000));
    }

    fn frames(number: u64) -> Vec<Frame> {
        let frame = |sent_ns| Frame { sent_ns, fate: Fate::Arrived(sent_ns + 9), from: 0, to: 1, label: 0, bytes: 1 };
        (0..number).map(frame).collect()
    }

    #[test]
    fn a_sample_is_whole_around_its_focus() {
        let frames = frames(10_000);
        let sample = sample(frames.iter().collect(), 1_000, Some(5_000));
        let (begin, end) = sample.window.unwrap();
        assert!(begin < 5_000 && end > 5_000 && sample.frames.len() <= 1_000);
        let inside = sample.frames.iter().filter(|frame| (begin..=end).contains(&frame.sent_ns)).count() as u64;
        assert_eq!(inside, end - begin + 1);
    }

    #[test]
    fn a_sample_of_a_few_frames_is_all_of_them() {
        assert_eq!(sample(frames(10).iter().collect(), 10, Some(3)).frames.len(), 10);
    }
}
