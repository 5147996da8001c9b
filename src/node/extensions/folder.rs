//! The folder that an extension may see: a list of its files, and where one of them is. Not here: reading one.
//!
//! Nothing outside of the folder is reached: symbolic links are neither listed nor followed, and a path that leaves the
//! folder is refused.

use pangea_plugins::extension::{FILES_MAX, File};
use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    time::UNIX_EPOCH,
};

/// Directories below the folder that are looked into.
const DEPTH_MAX: usize = 32;

/// All files, in order of their paths.
///
/// # Errors
/// The folder cannot be read, or has more than [`FILES_MAX`] files.
pub fn list(folder: &Path) -> Result<Vec<File>, String> {
    let mut files = Vec::new();
    let mut waiting = vec![(folder.to_owned(), String::new(), 0)];
    while let Some((dir, prefix, depth)) = waiting.pop() {
        let fail = |error: io::Error| format!("{}: {error}", dir.display());
        for entry in fs::read_dir(&dir).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            // Names that are no text cannot be spoken of.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = format!("{prefix}{name}");
            let found = entry.metadata().map_err(fail)?;
            if found.is_dir() && depth < DEPTH_MAX {
                waiting.push((entry.path(), format!("{path}/"), depth + 1));
            } else if found.is_file() {
                let modified = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                let modified_ms = modified.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
                files.push(File { path, bytes: found.len(), modified_ms });
            }
            if files.len() > FILES_MAX {
                return Err(format!("{} has more than {FILES_MAX} files", folder.display()));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Where a file of the folder is.
///
/// # Errors
/// It leaves the folder, or is no file.
pub fn file(folder: &Path, path: &str) -> Result<PathBuf, String> {
    let relative = Path::new(path);
    if path.is_empty() || !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(format!("`{path}` is no path below the folder"));
    }
    let mut place = folder.to_owned();
    for part in relative.components() {
        place.push(part);
        let found = fs::symlink_metadata(&place).map_err(|error| format!("{}: {error}", place.display()))?;
        if found.is_symlink() {
            return Err(format!("{} is a symbolic link, which is not followed", place.display()));
        }
    }
    if place.is_file() { Ok(place) } else { Err(format!("{} is no file", place.display())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_not_followed_and_nothing_outside_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        fs::create_dir_all(folder.join("a/b")).unwrap();
        fs::write(folder.join("a/b/one"), b"1").unwrap();
        fs::write(folder.join("two"), b"22").unwrap();
        fs::write(dir.path().join("secret"), b"s").unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), folder.join("link")).unwrap();
        std::os::unix::fs::symlink(dir.path(), folder.join("up")).unwrap();
        let listed: Vec<_> = list(&folder).unwrap().into_iter().map(|file| (file.path, file.bytes)).collect();
        assert_eq!(listed, [("a/b/one".to_owned(), 1), ("two".to_owned(), 2)]);
        assert_eq!(file(&folder, "a/b/one").unwrap(), folder.join("a/b/one"));
        for bad in ["", "/etc/passwd", "../secret", "a/../../secret", "link", "up/secret", "a", "none"] {
            assert!(file(&folder, bad).is_err(), "{bad}");
        }
        assert!(list(&folder.join("none")).is_err());
    }
}
