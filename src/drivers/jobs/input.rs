//! An input file in chunks. It is read while the job runs, so it must stay as it was: its length and time are compared.

use super::record::Source;
use pangea_compute::split::{self, Cut, CutError, Input};
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// Most chunks of a job.
pub const CHUNKS_MAX: usize = 65_536;

/// An open input.
#[derive(Debug)]
pub struct Chunks {
    file: File,
    source: Source,
    ends: Vec<u64>,
}

struct Whole<'a>(&'a File, u64);

impl Input for Whole<'_> {
    fn len(&self) -> u64 {
        self.1
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }
}

impl Chunks {
    /// Opens and cuts a file; `before` is how it was in an earlier run.
    ///
    /// # Errors
    /// What is wrong with it, for its user.
    pub fn open(path: &Path, how: Cut, before: Option<&Source>) -> Result<Self, String> {
        let said = |error: io::Error| format!("cannot read {}: {error}", path.display());
        let file = File::open(path).map_err(said)?;
        if !file.metadata().map_err(said)?.is_file() {
            return Err(format!("{} is not a file: an input is one file, or a stream", path.display()));
        }
        let source = describe(&file, path).map_err(said)?;
        if before.is_some_and(|before| *before != source) {
            return Err(changed(path));
        }
        let ends = split::cut(&Whole(&file, source.len), how, CHUNKS_MAX).map_err(|error| match error {
            CutError::Io(error) => said(error),
            other => format!("{}: {other}", path.display()),
        })?;
        Ok(Self { file, source, ends })
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    /// The file as it was when it was opened.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// One of them.
    ///
    /// # Errors
    /// What is wrong, for the user.
    pub fn read(&self, index: u32) -> Result<Vec<u8>, String> {
        let path = &self.source.path;
        let said = |error: io::Error| format!("cannot read {}: {error}", path.display());
        let at = index as usize;
        let end = *self.ends.get(at).ok_or_else(|| format!("{} has no chunk {index}", path.display()))?;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        let mut bytes = vec![0; (end - start) as usize];
        let read = self.file.read_exact_at(&mut bytes, start);
        // First whether it is still the same: a file that was cut short cannot be read, but that is not what is wrong.
        if describe(&self.file, path).map_err(said)? != self.source {
            return Err(changed(path));
        }
        read.map_err(said)?;
        Ok(bytes)
    }
}

fn describe(file: &File, path: &Path) -> io::Result<Source> {
    let metadata = file.metadata()?;
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let modified_ns = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    Ok(Source { path: path.to_owned(), len: metadata.len(), modified_ns })
}

fn changed(path: &Path) -> String {
    format!("{} has changed since the job was submitted: submit it again, and leave the input alone", path.display())
}
