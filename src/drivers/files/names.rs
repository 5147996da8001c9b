//! Which names are accepted, and what unfinished work is called.

use pangea_protocols::{
    JobId,
    job::{ErrorKind, JobError},
    manifest::{DirectoryIndex, EntryKind},
};

/// Longest name of a file, in bytes: the limit of nearly every file system.
pub(super) const NAME_BYTES_MAX: usize = 255;
/// Most components of an entry's path.
pub(super) const DEPTH_MAX: usize = 128;
/// Most entries of a directory object.
pub(super) const ENTRIES_MAX: usize = 1_000_000;

/// Accepts one path component of an object, and nothing that could lead elsewhere.
///
/// # Errors
/// The name is refused.
pub fn check(name: &str) -> Result<(), JobError> {
    let bad = name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']);
    if bad || name.len() > NAME_BYTES_MAX {
        let shown: String = name.chars().take(80).collect();
        let message = format!("the object contains the file name {shown:?}, which is not allowed: it is refused");
        return Err(JobError::new(ErrorKind::Integrity, message));
    }
    Ok(())
}

/// Accepts a directory index: every component is checked, paths ascend, no file has another below it, and files follow
/// each other in the stream from `start` on.
///
/// # Errors
/// What is wrong with it.
pub fn check_index(index: &DirectoryIndex, start: u64) -> Result<(), JobError> {
    let refuse = |what: &str| {
        Err(JobError::new(ErrorKind::Integrity, format!("the object's directory index {what}: it is refused")))
    };
    if index.entries.len() > ENTRIES_MAX {
        return refuse("has more than 1,000,000 entries");
    }
    let mut end = start;
    for (n, entry) in index.entries.iter().enumerate() {
        if entry.path.is_empty() || entry.path.len() > DEPTH_MAX {
            return refuse("has an entry without a path, or one that is too deep");
        }
        entry.path.iter().try_for_each(|name| check(name))?;
        if n > 0 {
            let before = &index.entries[n - 1].path;
            if *before >= entry.path || entry.path.starts_with(before) {
                return refuse("is not in order");
            }
        }
        if let EntryKind::File { offset, len, .. } = entry.kind {
            match offset.checked_add(len) {
                Some(after) if offset >= end || len == 0 => end = end.max(after),
                _ => return refuse("has files that overlap"),
            }
        }
    }
    Ok(())
}

/// What the unfinished `name` of a job is called; `n` tells it from leftovers of a crash.
pub(super) fn part(name: &str, job: JobId, n: u32) -> String {
    let suffix = if n == 0 { String::new() } else { format!("-{n}") };
    let tail = format!(".pangea-part-{}{suffix}", job.0);
    let mut head = NAME_BYTES_MAX.saturating_sub(tail.len() + 1).min(name.len());
    while !name.is_char_boundary(head) {
        head -= 1;
    }
    format!(".{}{tail}", &name[..head])
}

/// Leftovers of crashes that are stepped over before giving up.
pub(super) const PARTS_MAX: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_protocols::manifest::Entry;
    use proptest::prelude::*;

    fn file(path: &[&str], offset: u64, len: u64) -> Entry {
        let kind = EntryKind::File { offset, len, executable: false, modified_unix: 0 };
        Entry { path: path.iter().map(|name| (*name).to_owned()).collect(), kind }
    }

    fn checked(entries: Vec<Entry>) -> bool {
        check_index(&DirectoryIndex { entries }, 10).is_ok()
    }

    #[test]
    fn only_plain_names_in_order_are_accepted() {
        assert!(checked(vec![file(&["a"], 10, 5), file(&["b", "c"], 15, 0), file(&["b", "d"], 15, 1)]));
        for name in ["", ".", "..", "/", "a/b", "/etc", "../x", "a\0b", &"x".repeat(256)] {
            assert!(!checked(vec![file(&["ok", name], 10, 1)]), "{name:?}");
        }
        assert!(!checked(vec![file(&[], 10, 1)]), "no path");
        assert!(!checked(vec![file(&["a"; 129], 10, 1)]), "too deep");
        assert!(!checked(vec![file(&["b"], 10, 1), file(&["a"], 11, 1)]), "out of order");
        assert!(!checked(vec![file(&["a"], 10, 1), file(&["a"], 11, 1)]), "twice");
        assert!(!checked(vec![file(&["a"], 10, 1), file(&["a", "b"], 11, 1)]), "a file with a file below it");
        assert!(!checked(vec![file(&["a"], 10, 5), file(&["b"], 14, 1)]), "overlap");
        assert!(!checked(vec![file(&["a"], 9, 5)]), "before the start");
        assert!(!checked(vec![file(&["a"], u64::MAX, 5)]), "overflow");
    }

    proptest! {
        #[test]
        fn a_part_is_one_hidden_component_of_legal_length(name in ".{0,300}", job: u64, n in 0..64u32) {
            let part = part(&name, JobId(job), n);
            prop_assert!(part.len() <= NAME_BYTES_MAX && part.starts_with('.'));
        }
    }
}
