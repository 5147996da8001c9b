//! Hashes and removes what the demo stored and got back: files, and directories with all below them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// BLAKE3 over the relative paths and contents of all files below `path`, in order of path; of a file, its content.
/// Links are left out, as they are when a directory is stored.
///
/// # Errors
/// The file system's.
pub fn hash(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    for (name, file) in files(path)? {
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        let mut content = blake3::Hasher::new();
        content.update_reader(fs::File::open(file)?)?;
        hasher.update(content.finalize().as_bytes());
    }
    Ok(hasher.finalize())
}

/// All files below `root` with their names relative to it; a file has an empty name.
fn files(root: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    if !root.is_dir() {
        return Ok(vec![(String::new(), root.to_owned())]);
    }
    let (mut found, mut queue) = (Vec::new(), vec![root.to_owned()]);
    while let Some(dir) = queue.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                queue.push(entry.path());
            } else if kind.is_file() {
                let name = entry.path().strip_prefix(root).unwrap_or(&entry.path()).to_string_lossy().into_owned();
                found.push((name, entry.path()));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Removes a file or a directory with all below it.
///
/// # Errors
/// The file system's.
pub fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
