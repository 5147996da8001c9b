//! `new --actor`: a crate to begin with: an actor and its lab, in one file. What it is made of are the files in
//! `simulations/templates/actor`.

use super::{CliError, Show, Verdict, write_file};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Name in the crate, and content.
const FILES: [(&str, &str); 3] = [
    ("src/main.rs", include_str!("../../templates/actor/src/main.rs")),
    ("Cargo.toml", include_str!("../../templates/actor/Cargo.toml")),
    (".gitignore", include_str!("../../templates/actor/gitignore")),
];

/// Where this program was built.
const SIMULATIONS: &str = env!("CARGO_MANIFEST_DIR");

pub(super) fn new(name: &str, output: Option<&Path>, show: Show) -> Verdict {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) {
        return Err(CliError::Usage(
            "a crate's name consists of lower-case letters, digits, `-` and `_`, and begins with a letter".to_owned(),
        ));
    }
    let dir = output.map_or_else(|| PathBuf::from(name), Path::to_path_buf);
    if dir.exists() {
        return Err(CliError::Usage(format!("{} is there already; choose another --output", dir.display())));
    }
    let pangea = pangea();
    for (file, text) in FILES {
        write_file(&dir.join(file), text.replace("NAME", name).replace("PANGEA", &pangea))?;
    }
    // The versions that Pangea is tested with.
    if let Ok(lock) = fs::read_to_string(Path::new(SIMULATIONS).join("../Cargo.lock")) {
        write_file(&dir.join("Cargo.lock"), lock)?;
    }
    show.result(format!("{}\n", dir.display()))?;
    show.say(format!("read it: {}", dir.join("src/main.rs").display()));
    show.say(format!("run it:  cd {} && cargo run -- sweep", dir.display()));
    Ok(true)
}

/// Where cargo finds Pangea: in the sources that this program was built from, if they are still there.
fn pangea() -> String {
    if Path::new(SIMULATIONS).join("Cargo.toml").exists() {
        format!("path = {SIMULATIONS:?}")
    } else {
        format!("git = {:?}", env!("CARGO_PKG_REPOSITORY"))
    }
}
