//! `docs/simulation.md` names everything there is: what it leaves out, or what it still tells of something that is gone,
//! fails here. Its commands are run by the documentation test of the workspace.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use pangea_simulations::scenario::{self, Scenario};
use std::{collections::BTreeSet, fs, path::Path};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn page() -> String {
    read("../docs/simulation.md")
}

/// The table below a heading row.
fn table<'a>(text: &'a str, head: &str) -> Vec<&'a str> {
    let rows = text.lines().map(|line| line.strip_prefix("//! ").unwrap_or(line));
    rows.skip_while(|line| !line.starts_with(head)).skip(2).take_while(|line| line.starts_with('|')).collect()
}

/// The first two cells of each row.
fn pairs(rows: &[&str]) -> Vec<(String, String)> {
    let cell = |row: &str, number| row.split('|').nth(number).unwrap_or_default().trim().to_owned();
    rows.iter().map(|row| (cell(row, 1), cell(row, 2))).collect()
}

#[test]
fn every_oracle_is_told_of_with_its_claim() {
    let (told, there) = (page(), read("src/oracles/mod.rs"));
    let (told, there) = (pairs(&table(&told, "| oracle | claim")), pairs(&table(&there, "| oracle | claim")));
    assert!(there.len() > 10);
    assert_eq!(told, there);
}

#[test]
fn every_kind_of_fault_is_told_of_and_no_other() {
    let source = read("src/scenario/faults.rs");
    let list = source.split("const KINDS: &str = \"").nth(1).unwrap().split("\";").next().unwrap().replace('\\', "");
    let there: BTreeSet<String> = list.split(',').map(|kind| kind.trim().to_owned()).collect();
    let text = page();
    let rows = pairs(&table(&text, "| fault | keys"));
    let told: BTreeSet<String> = rows.into_iter().map(|(kind, _)| kind.trim_matches('`').to_owned()).collect();
    assert_eq!(told, there);
}

#[test]
fn every_key_of_a_scenario_file_is_told_of() {
    let (source, text) = (read("src/scenario/file.rs"), page());
    let fields = source.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(": "));
    let mut keys = 0;
    for (field, _) in fields {
        let key = match field {
            "regions" | "lines" | "puts" | "gets" | "removes" | "cancels" | "computes" | "faults" | "churns"
            | "installs" | "tells" | "recalls" => {
                format!("[[{}]]", &field[..field.len() - 1])
            }
            field => field.to_owned(),
        };
        assert!(text.contains(&format!("`{key}`")), "`{key}` is not in docs/simulation.md");
        keys += 1;
    }
    assert!(keys > 40, "only {keys} keys were found");
}

#[test]
fn every_choice_of_content_fate_and_conduct_is_told_of() {
    let (source, text) = (read("src/plan.rs"), page());
    for name in ["Content", "DiskFate", "Conduct"] {
        let body = source.split(&format!("pub enum {name} {{")).nth(1).unwrap().split('}').next().unwrap();
        let variants =
            body.lines().filter_map(|line| line.trim().strip_suffix(',')).filter(|line| !line.starts_with('/'));
        let mut count = 0;
        for variant in variants {
            let small =
                |c: char| if c.is_ascii_uppercase() { format!("-{}", c.to_ascii_lowercase()) } else { c.to_string() };
            let word: String = variant.chars().map(small).collect();
            let word = word.trim_start_matches('-');
            assert!(text.contains(&format!("`{word}`")), "{name}: `{word}` is not in docs/simulation.md");
            count += 1;
        }
        assert!(count > 3, "{name}");
    }
}

#[test]
fn every_scenario_that_is_shown_makes_a_plan() {
    let text = page();
    let shown: Vec<&str> =
        text.split("```toml scenario\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!shown.is_empty());
    for text in shown {
        let scenario: Scenario = toml::from_str(text).unwrap_or_else(|error| panic!("{error}"));
        for tier in scenario.tiers.clone() {
            scenario::draw(&scenario, 1, Some(tier)).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

/// No YAML parser is a dependency. What breaks a workflow in practice is looked for: tabs, odd indentation, text that is
/// neither a key, a list item, a comment nor part of a block, and missing parts.
#[test]
fn the_workflow_to_copy_is_well_formed() {
    let text = read("../docs/ci/simulate.yml");
    let mut block = None;
    for (number, line) in text.lines().enumerate() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if content.is_empty() || block.is_some_and(|above| indent > above) {
            continue;
        }
        block = content.ends_with(": |").then_some(indent);
        assert!(!line.contains('\t') && indent % 2 == 0, "line {}: {line}", number + 1);
        let item = content.strip_prefix("- ").unwrap_or(content);
        let is_key = item.split_once(':').is_some_and(|(key, rest)| {
            !key.contains(' ') && (rest.is_empty() || rest.starts_with(' ')) && rest.matches('"').count() % 2 == 0
        });
        assert!(content.starts_with('#') || is_key, "line {}: {line}", number + 1);
    }
    let top: Vec<&str> = text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase())).collect();
    assert_eq!(top, ["name: simulate", "on:", "permissions:", "jobs:"]);
    for part in ["runs-on: ubuntu-latest", "cargo test --release", "cargo run --release -- sweep --seeds", "-- shrink "]
    {
        assert!(text.contains(part), "{part}");
    }
}
