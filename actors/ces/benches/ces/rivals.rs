//! restic and borg, each encrypting into a fresh repository on the same disk. `None` where a tool is not installed.

use crate::measure::{Run, tree_bytes, wait};
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// `restic backup` with its default compression.
pub fn restic(directory: &Path) -> Option<Run> {
    let repository = fresh(directory, "restic");
    let restic = |arguments: &[&str]| {
        let mut command = quiet("restic");
        command.env("RESTIC_PASSWORD", "bench").env("RESTIC_REPOSITORY", &repository);
        command.args(["--no-cache", "--quiet"]).args(arguments);
        command
    };
    installed("restic")?;
    wait(restic(&["init", "--repository-version", "2"]));
    let (run, _) = wait(restic(&["backup", directory.join("corpus").to_str().unwrap()]));
    Some(Run { stored: tree_bytes(&repository), ..run })
}

/// `borg create -C lz4`.
pub fn borg(directory: &Path) -> Option<Run> {
    let repository = fresh(directory, "borg");
    let home = fresh(directory, "borg-home");
    let borg = |arguments: &[&str]| {
        let mut command = quiet("borg");
        command.env("BORG_PASSPHRASE", "bench").env("BORG_BASE_DIR", &home).args(arguments);
        command
    };
    installed("borg")?;
    wait(borg(&["init", "-e", "repokey-blake2", repository.to_str().unwrap()]));
    let archive = format!("{}::one", repository.display());
    let (run, _) = wait(borg(&["create", "-C", "lz4", &archive, directory.join("corpus").to_str().unwrap()]));
    Some(Run { stored: tree_bytes(&repository), ..run })
}

fn installed(tool: &str) -> Option<()> {
    quiet(tool).arg("--version").status().ok().map(|_| ())
}

fn quiet(tool: &str) -> Command {
    let mut command = Command::new(tool);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn fresh(directory: &Path, name: &str) -> std::path::PathBuf {
    let path = directory.join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}
