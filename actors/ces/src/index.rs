//! A directory's index: is it sound, and which bytes of the object does a selection need.
//!
//! The index comes from whoever made the object, who may be malicious: everything that leads to a path or an offset is
//! checked here, once, before the sink hears of it. Not here: what the local file system makes of a name (reserved
//! names, letter case), which is the files driver's to know.

use pangea_protocols::{
    codec::{self, Limit},
    files::Layout,
    manifest::{DirectoryIndex, Entry, EntryKind},
};
use std::ops::Range;

/// Longest encoded index.
pub const INDEX_BYTES_MAX: u64 = codec::LOCAL_BYTES_MAX as u64;
/// Most entries of a directory object.
pub const ENTRIES_MAX: usize = 1_000_000;

/// Why an index was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Not the encoding of an index.
    #[error("its directory index cannot be read")]
    Malformed,
    /// More than [`ENTRIES_MAX`].
    #[error("its directory index has {0} entries, more than {ENTRIES_MAX}")]
    Entries(usize),
    /// A path that could lead out of the directory.
    #[error("its directory index has an entry that is not a plain relative path: `{0}`")]
    Path(String),
    /// Not in ascending order, twice, or below a file.
    #[error("its directory index lists `{0}` twice, below a file or out of order")]
    Order(String),
    /// Files must follow one another without gap or overlap up to the index.
    #[error("its directory index puts `{0}` at the wrong place")]
    Offset(String),
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Name for the sink.
    pub name: String,
    /// How the sink divides the bytes. Offsets in it are offsets of the object's stream, not of the selection.
    pub layout: Layout,
    /// Bytes of the object's stream; `start` of the sink is the first.
    pub range: Range<u64>,
}

/// One path component that names something below its directory: not empty, `.` or `..`, without NUL or separators.
pub fn is_component(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(|c| c == '\0' || c == '/' || std::path::is_separator(c))
}

/// Decodes and checks an index; `content` is the number of bytes in front of it.
///
/// # Errors
/// See [`IndexError`].
pub fn read(bytes: &[u8], content: u64) -> Result<DirectoryIndex, IndexError> {
    let index: DirectoryIndex = codec::decode(bytes, Limit::Local).map_err(|_| IndexError::Malformed)?;
    if index.entries.len() > ENTRIES_MAX {
        return Err(IndexError::Entries(index.entries.len()));
    }
    let mut end = 0u64;
    let mut before: &[String] = &[];
    for entry in &index.entries {
        if entry.path.is_empty() || !entry.path.iter().all(|component| is_component(component)) {
            return Err(IndexError::Path(shown(&entry.path)));
        }
        // Paths ascend, so what lies below an entry would follow it directly.
        if entry.path.as_slice() <= before || (!before.is_empty() && entry.path.starts_with(before)) {
            return Err(IndexError::Order(shown(&entry.path)));
        }
        if let EntryKind::File { offset, len, .. } = entry.kind {
            let next = offset.checked_add(len).filter(|next| offset == end && *next <= content);
            end = next.ok_or_else(|| IndexError::Offset(shown(&entry.path)))?;
        }
        before = &entry.path;
    }
    if end == content { Ok(index) } else { Err(IndexError::Offset("the index itself".to_owned())) }
}

/// The whole directory.
pub fn select_all(name: String, index: DirectoryIndex, content: u64) -> Selected {
    Selected { name, layout: Layout::Directory(index), range: 0..content }
}

/// One entry: a file as a file, a directory with its entries' paths relative to it. `None` if there is none.
pub fn select(index: DirectoryIndex, path: &[String]) -> Option<Selected> {
    let name = path.last()?.clone();
    let first = index.entries.partition_point(|entry| entry.path.as_slice() < path);
    let below = index.entries[first..].iter().take_while(|entry| entry.path.starts_with(path)).count();
    let found = &index.entries[first..first + below];
    if let [Entry { path: own, kind: EntryKind::File { offset, len, executable, modified_unix } }] = found
        && own == path
    {
        let layout = Layout::File { executable: *executable, modified_unix: *modified_unix };
        return Some(Selected { name, layout, range: *offset..offset + len });
    }
    if found.is_empty() {
        return None;
    }
    let files = found.iter().filter_map(|entry| match entry.kind {
        EntryKind::File { offset, len, .. } => Some(offset..offset + len),
        EntryKind::Directory => None,
    });
    // Files are contiguous, so the first and the last give the range.
    let range = files.reduce(|all, file| all.start..file.end).unwrap_or(0..0);
    let relative = found.iter().filter(|entry| entry.path.len() > path.len());
    let entries = relative.map(|entry| Entry { path: entry.path[path.len()..].to_vec(), kind: entry.kind }).collect();
    Some(Selected { name, layout: Layout::Directory(DirectoryIndex { entries }), range })
}

/// A path for a message: bounded, without control characters.
fn shown(path: &[String]) -> String {
    path.join("/").chars().take(120).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> Vec<String> {
        text.split('/').map(str::to_owned).collect()
    }

    fn file(at: &str, offset: u64, len: u64) -> Entry {
        Entry { path: path(at), kind: EntryKind::File { offset, len, executable: false, modified_unix: 7 } }
    }

    fn directory(at: &str) -> Entry {
        Entry { path: path(at), kind: EntryKind::Directory }
    }

    fn read_entries(entries: Vec<Entry>, content: u64) -> Result<DirectoryIndex, IndexError> {
        read(&codec::encode(&DirectoryIndex { entries }, Limit::Local).unwrap(), content)
    }

    fn sample() -> Vec<Entry> {
        vec![
            file("a", 0, 10),
            file("b/c", 10, 0),
            file("b/d", 10, 5),
            directory("b/e"),
            file("b-x", 15, 1),
            directory("z"),
        ]
    }

    #[test]
    fn a_sound_index_is_read() {
        assert_eq!(read_entries(sample(), 16).unwrap().entries, sample());
        assert_eq!(read_entries(Vec::new(), 0).unwrap().entries, []);
    }

    #[test]
    fn an_index_that_lies_is_refused() {
        for bad in ["", ".", "..", "a/../b", "a//b", "a/nul\0", "/a"] {
            assert!(matches!(read_entries(vec![file(bad, 0, 1)], 1), Err(IndexError::Path(_))), "{bad:?}");
        }
        let slash = Entry { path: vec!["a/b".to_owned()], kind: EntryKind::Directory };
        assert!(matches!(read_entries(vec![slash], 0), Err(IndexError::Path(_))));
        for entries in [
            vec![file("a", 0, 1), file("a", 1, 0)],
            vec![file("b", 0, 1), file("a", 1, 0)],
            vec![file("a", 0, 1), file("a/b", 1, 0)],
            vec![directory("a"), file("a/b", 0, 1)],
        ] {
            assert!(matches!(read_entries(entries, 1), Err(IndexError::Order(_))));
        }
        for (entries, content) in [
            (vec![file("a", 0, 2)], 1),
            (vec![file("a", 0, 1)], 2),
            (vec![file("a", 1, 1)], 2),
            (vec![file("a", 0, 2), file("b", 1, 1)], 2),
            (vec![file("a", 0, u64::MAX)], 5),
            (vec![file("a", 0, 1), file("b", 1, u64::MAX)], 5),
        ] {
            assert!(matches!(read_entries(entries, content), Err(IndexError::Offset(_))));
        }
        assert_eq!(read(&[1, 2, 3], 0), Err(IndexError::Malformed));
    }

    #[test]
    fn an_entry_is_found_with_the_bytes_it_needs() {
        let index = read_entries(sample(), 16).unwrap();
        let found = select(index.clone(), &path("b/d")).unwrap();
        assert_eq!((found.name.as_str(), found.range), ("d", 10..15));
        assert_eq!(found.layout, Layout::File { executable: false, modified_unix: 7 });
        let found = select(index.clone(), &path("b")).unwrap();
        assert_eq!((found.name.as_str(), found.range), ("b", 10..15));
        let entries = vec![file("c", 10, 0), file("d", 10, 5), directory("e")];
        assert_eq!(found.layout, Layout::Directory(DirectoryIndex { entries }));
        let found = select(index.clone(), &path("z")).unwrap();
        assert_eq!((found.range, found.layout), (0..0, Layout::Directory(DirectoryIndex { entries: Vec::new() })));
        for missing in ["c", "b/", "b/d/e", "zz", "b-"] {
            assert_eq!(select(index.clone(), &path(missing)), None, "{missing}");
        }
        assert_eq!(select(index, &[]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_index_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), content in 0u64..100) {
            if let Ok(index) = read(&bytes, content) {
                prop_assert!(index.entries.iter().all(|entry| !entry.path.is_empty()));
            }
        }
    }
}
