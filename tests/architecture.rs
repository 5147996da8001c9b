//! The rules of `docs/ARCHITECTURE.md` that a machine can check. Each test names the rule and the file that breaks it.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below `dir`, with their text.
fn sources(dir: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut queue = vec![root().join(dir)];
    while let Some(dir) = queue.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                queue.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push((path.strip_prefix(root()).unwrap().to_owned(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

fn everything() -> Vec<(PathBuf, String)> {
    ["protocols", "actors", "src", "simulations", "tests", "benches", "guests"]
        .iter()
        .flat_map(|dir| sources(dir))
        .collect()
}

fn manifest(dir: &str) -> toml::Table {
    fs::read_to_string(root().join(dir).join("Cargo.toml")).unwrap().parse().unwrap()
}

/// Our own crates that `dir` depends on, without `dev-dependencies`.
fn own_dependencies(dir: &str) -> Vec<String> {
    let manifest = manifest(dir);
    let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    dependencies.keys().filter(|name| name.starts_with("pangea")).cloned().collect()
}

fn actors() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root().join("actors"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "kernel")
        .collect();
    names.sort();
    names
}

#[test]
fn an_actor_depends_on_protocols_and_the_kernel_only() {
    assert!(actors().len() >= 4);
    for actor in actors() {
        for dependency in own_dependencies(&format!("actors/{actor}")) {
            assert!(
                ["pangea-protocols", "pangea-kernel"].contains(&dependency.as_str()),
                "actors/{actor} depends on {dependency}: actors do not see each other"
            );
        }
    }
    assert_eq!(own_dependencies("actors/kernel"), ["pangea-protocols"]);
    assert!(own_dependencies("protocols").is_empty());
}

/// Files in which `word` stands, outside of comments.
fn files_with(word: &str, among: &[(PathBuf, String)]) -> Vec<PathBuf> {
    let uses = |text: &String| {
        text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains(word)
        })
    };
    among.iter().filter(|(_, text)| uses(text)).map(|(path, _)| path.clone()).collect()
}

#[test]
fn actix_is_named_in_the_kernel_only() {
    for path in files_with("actix::", &everything()) {
        assert!(path.starts_with("actors/kernel") || path.ends_with("tests/architecture.rs"), "{}", path.display());
    }
}

#[test]
fn bincode_is_named_in_one_module() {
    let files = files_with("bincode::", &everything());
    let others: Vec<_> = files.iter().filter(|path| !path.ends_with("tests/architecture.rs")).collect();
    assert_eq!(others, [Path::new("protocols/src/codec.rs")]);
}

#[test]
fn a_core_cannot_reach_clock_chance_threads_or_sockets() {
    let banned = [
        "Instant::now",
        "SystemTime",
        "getrandom",
        "rand::rng",
        "tokio::",
        "std::thread",
        "std::fs",
        "std::net::Udp",
        "std::net::Tcp",
        "do_send",
        "allow(clippy::disallowed_methods)",
        "libp2p",
        "quinn",
    ];
    for actor in actors() {
        let files = sources(&format!("actors/{actor}/src"));
        for word in banned {
            let found = files_with(word, &files);
            assert!(found.is_empty(), "`{word}` in {found:?}: it belongs into a driver");
        }
    }
}

#[test]
fn a_core_never_iterates_in_an_order_that_depends_on_the_machine() {
    for actor in actors() {
        let found = files_with("std::collections::HashMap", &sources(&format!("actors/{actor}/src")));
        assert!(found.is_empty(), "HashMap in {found:?}: use BTreeMap, so that a seed replays");
    }
}

/// What stands in quotes behind each `before` in `text`.
fn quoted<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next()).collect()
}

#[test]
fn no_build_plants_a_bug_by_default() {
    for dir in [
        "",
        "protocols",
        "actors/kernel",
        "actors/peers",
        "actors/ces",
        "actors/chunks",
        "actors/transfer",
        "actors/sandbox",
        "actors/compute",
        "actors/plugins",
        "simulations",
    ] {
        let manifest = manifest(dir);
        let features = manifest.get("features").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        let default = features.get("default").map(ToString::to_string).unwrap_or_default();
        assert!(
            ["", "[\"node\"]"].contains(&default.as_str()),
            "`{dir}` has new default features: does one plant bugs?"
        );
        let node = features.get("node").map(ToString::to_string).unwrap_or_default();
        assert!(!node.contains("planted-bugs"), "`{dir}` plants bugs in every build");
        let text = manifest.get("dependencies").map(ToString::to_string).unwrap_or_default();
        assert!(!text.contains("planted-bugs"), "a dependency of `{dir}` plants bugs in every build");
    }
}

#[test]
fn the_planted_bugs_are_those_that_are_published() {
    let mut planted: Vec<String> = Vec::new();
    for (path, text) in sources("actors").into_iter().chain(sources("src")) {
        if !path.ends_with("kernel/src/planted.rs") {
            planted.extend(quoted(&text, "planted!(").into_iter().map(str::to_owned));
        }
    }
    planted.sort();
    let mut once = planted.clone();
    once.dedup();
    assert_eq!(planted, once, "a bug has one site");
    let list = fs::read_to_string(root().join("simulations/src/mutants.rs")).unwrap();
    let mut listed = quoted(&list, " mutant(");
    listed.sort_unstable();
    assert_eq!(planted, listed);
    let page = fs::read_to_string(root().join("docs/simulation.md")).unwrap();
    let rows = page.split("<!-- mutants -->").nth(1).unwrap().split("<!-- /mutants -->").next().unwrap();
    let mut shown: Vec<&str> = rows.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
    shown.sort_unstable();
    assert_eq!(shown, listed, "run `pangea-sim mutants --update docs/simulation.md`");
}

#[test]
fn every_file_tells_its_job_in_its_first_line() {
    for (path, text) in everything() {
        let generated = path.ends_with("control_capnp.rs");
        assert!(generated || text.starts_with("//!"), "{} has no //! header", path.display());
    }
}

#[test]
fn the_top_level_stays_easy_to_read() {
    let known = [
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "actors",
        "benches",
        "clippy.toml",
        "deny.toml",
        "docs",
        "guests",
        "protocols",
        "rustfmt.toml",
        "simulations",
        "src",
        "tests",
        "fuzz",
    ];
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let hidden = name.starts_with('.') || name == "target";
        assert!(hidden || known.contains(&name.as_str()), "`{name}` is new at the top level: is there a room for it?");
    }
}
