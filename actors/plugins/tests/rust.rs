//! The template in Rust, with the crate that it brings along: built as `pangea actor build` does, by cargo, and then tried as
//! `pangea actor test` does. Skipped, by name, where nothing compiles Rust for WebAssembly.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use pangea_plugins::{Manifest, template};
use pangea_simulations::lab::site::{self, Setup, Tried};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

const TARGET: &str = "wasm32-unknown-unknown";

/// What the template is compiled with: a compiler that has the target, or its own source, of which the library is made
/// then. `PANGEA_GUESTS_RUSTC` may name it.
fn compiler() -> Option<Vec<(&'static str, String)>> {
    let rustc = std::env::var("PANGEA_GUESTS_RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let asked = Command::new(&rustc).args(["--print", "sysroot"]).output().ok()?;
    let rustlib = Path::new(String::from_utf8_lossy(&asked.stdout).trim()).join("lib/rustlib");
    let mut environment = vec![("RUSTC", rustc)];
    if !rustlib.join(TARGET).join("lib").exists() {
        if !rustlib.join("src/rust/library/core").exists() {
            return None;
        }
        environment.push(("RUSTC_BOOTSTRAP", "1".to_owned()));
        environment.push(("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort".to_owned()));
    }
    Some(environment)
}

/// Writes the template, runs the command that its manifest names, and returns the path of that.
fn built(environment: Vec<(&str, String)>) -> PathBuf {
    // Where it stays, so that the library is made once.
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rust-plugin");
    for (path, text) in template::files("rust", "word").unwrap() {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let manifest = dir.join("word.toml");
    let build = Manifest::parse(&std::fs::read_to_string(&manifest).unwrap()).unwrap().build;
    let mut command = Command::new("sh");
    // Of the cargo that runs this test nothing is passed on.
    let inherited = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_"));
    inherited.filter(|(name, _)| name != "CARGO_HOME").for_each(|(name, _)| _ = command.env_remove(name));
    let ended = command.args(["-c", &build]).current_dir(&dir).envs(environment).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    manifest
}

static SETUP: OnceLock<Setup> = OnceLock::new();

struct Word;

impl Tried for Word {
    fn setup() -> &'static Setup {
        SETUP.get().expect("it is built")
    }
}

#[test]
fn the_template_in_rust_agrees_on_the_greatest_word_whatever_goes_wrong() {
    let Some(environment) = compiler() else {
        return println!("skipped: no rustc here has {TARGET} (rustup target add {TARGET}), or its own source");
    };
    assert!(SETUP.set(site::read(&built(environment)).unwrap()).is_ok());
    site::lab::<Word>().seeds(0..2).check();
}
