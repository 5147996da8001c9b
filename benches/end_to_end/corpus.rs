//! The file that is stored: the corpus of `benches/corpus.sh` as one file, its kinds in turn; and samples of it.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const BLOCK_BYTES: u64 = 1 << 20;

/// One file of `megabytes` 10⁶ bytes in `dir`.
pub fn make(dir: &Path, megabytes: u64) -> PathBuf {
    let parts = dir.join("corpus");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/corpus.sh");
    // The shell says "broken pipe" of its own readers: that is how they stop.
    let mut shell = Command::new("sh");
    shell.arg(script).arg(&parts).arg(megabytes.to_string());
    let status = shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{script} failed: {status}");
    let mut names: Vec<PathBuf> = fs::read_dir(&parts).unwrap().map(|entry| entry.unwrap().path()).collect();
    // `text.003` by its number, then by its kind.
    names.sort_by_key(|name| (name.extension().map(ToOwned::to_owned), name.clone()));
    let path = dir.join("corpus.bin");
    let mut file = File::create(&path).unwrap();
    for name in names {
        io::copy(&mut File::open(name).unwrap(), &mut file).unwrap();
    }
    fs::remove_dir_all(parts).unwrap();
    path
}

/// About `megabytes` 10⁶ bytes from all over `whole`. Another `round` gives another file.
pub fn sample(whole: &Path, to: &Path, megabytes: u64, round: u64) {
    let mut whole = File::open(whole).unwrap();
    let blocks = whole.metadata().unwrap().len() / BLOCK_BYTES;
    let wanted = (megabytes * 1_000_000 / BLOCK_BYTES).clamp(1, blocks.max(1));
    let mut sample = File::create(to).unwrap();
    // Equal files are stored once by whoever derives the key from the content.
    sample.write_all(&round.to_le_bytes()).unwrap();
    for number in 0..wanted {
        let at = (number * blocks / wanted + round) % blocks.max(1);
        whole.seek(SeekFrom::Start(at * BLOCK_BYTES)).unwrap();
        io::copy(&mut (&mut whole).take(BLOCK_BYTES), &mut sample).unwrap();
    }
}

/// BLAKE3 of a file.
pub fn hash(path: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).unwrap()).unwrap();
    hasher.finalize()
}

/// Length of a file in 10⁶ bytes.
pub fn megabytes(path: &Path) -> f64 {
    fs::metadata(path).unwrap().len() as f64 / 1e6
}
