//! The documentation is true: what it tells to type is typed, what it shows is what comes, what it names exists.
//!
//! | file | checks |
//! |---|---|
//! | `page` | reads a page: its blocks, commands, links and the settings it shows |
//! | `session` | runs the commands of one page as a user would, in one shell |
//!
//! Every `console` and `sh` block of `README.md` and `docs/**/*.md` is run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod page;
mod session;

use clap::CommandFactory;
use page::{Page, Step};
use pangea::{cli::Cli, config::Layers};
use session::Session;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every command of a page, in the order of the page.
fn steps(page: &Page) -> Vec<Step> {
    page.blocks.iter().flat_map(page::Block::steps).collect()
}

#[test]
fn every_command_that_is_documented_does_what_the_page_shows() {
    let mut commands = 0;
    for page in Page::all() {
        let steps = steps(&page);
        if steps.is_empty() {
            continue;
        }
        let outcomes = Session::new().run(&steps);
        for (step, outcome) in steps.iter().zip(outcomes) {
            let place = format!("{}:{}: `{}`", page.name, step.line, step.command);
            let outcome = outcome.unwrap_or_else(|| panic!("{place} was not reached, or did not end"));
            assert_eq!(outcome.code, 0, "{place} failed:\n{}", outcome.output);
            if let Err(why) = page::matches(&step.expected, &outcome.output) {
                panic!(
                    "{place}: {why}\nthe page shows:\n{}\nit printed:\n{}",
                    step.expected.join("\n"),
                    outcome.output
                );
            }
            commands += 1;
        }
    }
    assert!(commands > 20, "only {commands} commands were found: are the blocks still called `console`?");
}

/// The tests, builds and downloads that pages tell to start are not started from within a test: it is checked that
/// they name what exists. The shell of [`Session`] skips them.
#[test]
fn every_cargo_command_that_is_documented_is_one_that_works() {
    let manifest: toml::Table = std::fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let packages = [
        "",
        "protocols",
        "simulations",
        "actors/kernel",
        "actors/peers",
        "actors/ces",
        "actors/chunks",
        "actors/transfer",
        "actors/compute",
        "actors/plugins",
    ];
    let packages: Vec<String> = packages
        .iter()
        .map(|dir| {
            std::fs::read_to_string(root().join(dir).join("Cargo.toml")).unwrap().parse::<toml::Table>().unwrap()
        })
        .map(|manifest| manifest["package"]["name"].as_str().unwrap().to_owned())
        .collect();
    let repository = manifest["workspace"]["package"]["repository"].as_str().unwrap();
    let mut tested = false;
    for page in Page::all() {
        let mut has_a_crate = false;
        for Step { command, line, .. } in steps(&page) {
            has_a_crate |= command.starts_with("pangea-sim new --actor ");
            let words: Vec<&str> = command.split_whitespace().collect();
            let known = match words.as_slice() {
                ["cargo", "test", "--workspace"] | ["cargo", "install", "--path", "." | "simulations"] => true,
                // Those are run: see `session`.
                ["cargo", "run", "--", ..] | ["cargo", "test"] => has_a_crate,
                ["cargo", "run", "--release", "--", ..] => true,
                [
                    "cargo",
                    "run",
                    "--release",
                    "-p",
                    "pangea-simulations",
                    "--features",
                    "planted-bugs",
                    "--",
                    "mutants",
                ] => true,
                ["cargo", "test" | "bench", "-p", package, ..] => packages.iter().any(|known| known == package),
                ["git", "clone", url] => url.trim_end_matches(".git") == repository,
                ["cargo" | "git", ..] => false,
                _ => true,
            };
            assert!(known, "{}:{line}: `{command}` is not a command that this test knows", page.name);
            tested |= page.name == "README.md" && command == "cargo test --workspace";
        }
    }
    assert!(tested, "README.md tells how to run the tests, and .ci/run looks it up there");
}

/// A program for the sandbox needs a compiler that a bare machine has not got, so it is not run from the page: it stands
/// word for word in a file that the modules of `guests/built` are made of.
#[test]
fn every_program_for_the_sandbox_that_is_shown_is_part_of_one_that_is_tested() {
    let mut shown = 0;
    for page in Page::all() {
        for block in &page.blocks {
            let file = match block.language.as_str() {
                "rust" if page.name == "docs/tasks.md" => "src/lib.rs",
                "c" => "lines.c",
                "typescript" => "lines.ts",
                _ => continue,
            };
            let path = root().join("guests/examples/lines").join(file);
            let found = std::fs::read_to_string(&path).unwrap().contains(&block.lines.join("\n"));
            assert!(found, "{}:{}: not as in {}", page.name, block.line, path.display());
            shown += 1;
        }
    }
    assert_eq!(shown, 3, "one in Rust, one in C, one in AssemblyScript");
}

#[test]
fn every_relative_link_leads_to_a_file() {
    for page in Page::all() {
        for (line, link) in page.links() {
            let target = link.split('#').next().unwrap_or_default();
            let path = root().join(&page.name).parent().unwrap().join(target);
            assert!(target.is_empty() || path.exists(), "{}:{line}: nothing is at `{link}`", page.name);
        }
    }
}

#[test]
fn every_command_and_flag_that_is_named_exists() {
    let cli = Cli::command();
    let mut named = 0;
    for page in Page::all() {
        for (line, words) in page.invocations() {
            let place = format!("{}:{line}: `pangea {}`", page.name, words.join(" "));
            let mut command = &cli;
            let mut flags: Vec<String> =
                cli.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned)).collect();
            let mut descended = false;
            for word in &words {
                if let Some(flag) = word.strip_prefix("--") {
                    let flag = flag.split('=').next().unwrap_or_default();
                    let known = ["help", "version"].contains(&flag) || flags.iter().any(|known| known == flag);
                    assert!(known, "{place}: there is no --{flag}");
                } else if let Some(below) = command.find_subcommand(word) {
                    flags.extend(below.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned)));
                    (command, descended) = (below, true);
                } else if !descended
                    && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
                    && !is_value(&words, word)
                {
                    panic!("{place}: there is no command `{word}`");
                }
            }
            named += 1;
        }
    }
    assert!(named > 10, "only {named} commands were found");
}

/// Is it what a flag before it is set to?
fn is_value(words: &[String], word: &str) -> bool {
    words.windows(2).any(|pair| pair[0].starts_with("--") && pair[1] == word)
}

#[test]
fn every_settings_file_that_is_shown_is_valid() {
    let dir = tempfile::tempdir().unwrap();
    let mut shown = 0;
    for page in Page::all() {
        for block in page.blocks.iter().filter(|block| block.language == "toml") {
            let file = dir.path().join("config.toml");
            std::fs::write(&file, block.lines.join("\n")).unwrap();
            if let Err(error) = Layers::from_file(&file).and_then(|layers| layers.config()) {
                panic!("{}:{}: {error}", page.name, block.line);
            }
            shown += 1;
        }
    }
    assert!(shown > 0, "no page shows settings any more");
}

#[test]
fn what_is_printed_is_compared_to_the_end() {
    let expected = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    for (shown, printed, matches) in [
        ("", "anything", true),
        ("a … c", "a b c", true),
        ("a … c", "a b d", false),
        ("a\n…\nz", "a\nz", true),
        ("a\n…\nz", "a\nb\nc\nz", true),
        ("a\n…", "a\nb", true),
        ("a", "a\nb", false),
        ("a\nb", "a", false),
        ("a", "████···· 50%  1 MiB of 2 MiB verified\na", true),
    ] {
        assert_eq!(page::matches(&expected(shown), printed).is_ok(), matches, "{shown:?} {printed:?}");
    }
}
