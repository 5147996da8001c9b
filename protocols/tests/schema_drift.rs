//! The committed generated code belongs to the committed schema.
//!
//! With `capnp` on PATH the code is generated anew and compared; without it, the hashes that were recorded when it was
//! last generated are. `protocols/schema/generate.sh` runs this with `PANGEA_REGENERATE_SCHEMA` set to write both.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const ADVICE: &str = "run protocols/schema/generate.sh and commit what it writes";

fn crate_path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

fn schema() -> PathBuf {
    crate_path("schema/control.capnp")
}

fn code() -> PathBuf {
    crate_path("src/generated/control_capnp.rs")
}

fn recorded_hashes() -> PathBuf {
    crate_path("src/generated/control_capnp.blake3")
}

/// One `<hash>  <file>` line for the schema and one for the code, in the format of `b3sum`.
fn hashes() -> String {
    let line = |path: PathBuf, name: &str| format!("{}  {name}\n", blake3::hash(&fs::read(path).unwrap()).to_hex());
    line(schema(), "../../schema/control.capnp") + &line(code(), "control_capnp.rs")
}

fn capnp_is_installed() -> bool {
    Command::new("capnp").arg("--version").output().is_ok_and(|output| output.status.success())
}

fn generate() -> String {
    let out = tempfile::tempdir().unwrap();
    capnpc::CompilerCommand::new()
        .src_prefix(crate_path("schema"))
        .file(schema())
        .output_path(out.path())
        .default_parent_module(vec!["generated".into()])
        .run()
        .expect("capnp compiles the schema");
    fs::read_to_string(out.path().join("control_capnp.rs")).unwrap()
}

#[test]
fn the_committed_code_was_generated_from_the_committed_schema() {
    let regenerate = std::env::var_os("PANGEA_REGENERATE_SCHEMA").is_some();
    if regenerate {
        fs::write(code(), generate()).unwrap();
        fs::write(recorded_hashes(), hashes()).unwrap();
    }
    assert_eq!(hashes(), fs::read_to_string(recorded_hashes()).unwrap(), "the schema or its code changed: {ADVICE}");
    if capnp_is_installed() {
        let fresh = generate() == fs::read_to_string(code()).unwrap();
        assert!(fresh, "the generated code is not what capnp makes of the schema: {ADVICE}");
    }
}
