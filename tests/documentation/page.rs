//! [`Page`]: a Markdown page as this test sees it. Not a Markdown parser: it knows the forms that our pages use.

use super::root;
use std::{fs, path::PathBuf};

/// A page.
pub struct Page {
    /// Path relative to the repository.
    pub name: String,
    /// Fenced blocks, in order.
    pub blocks: Vec<Block>,
    /// Lines outside of blocks, with their numbers.
    prose: Vec<(usize, String)>,
}

/// A fenced block.
pub struct Block {
    pub language: String,
    /// Number of its first line.
    pub line: usize,
    pub lines: Vec<String>,
}

/// A command, and what the page shows as its output; nothing shown means that nothing is compared.
#[derive(Clone, Debug)]
pub struct Step {
    pub line: usize,
    pub command: String,
    pub expected: Vec<String>,
}

impl Page {
    /// `README.md` and everything below `docs`.
    pub fn all() -> Vec<Self> {
        let (mut files, mut queue) = (vec![root().join("README.md")], vec![root().join("docs")]);
        while let Some(dir) = queue.pop() {
            let entries = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
            let (dirs, pages): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
            queue.extend(dirs);
            files.extend(pages.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")));
        }
        files.sort();
        files.into_iter().map(Self::read).collect()
    }

    fn read(path: PathBuf) -> Self {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let (mut blocks, mut prose, mut open) = (Vec::new(), Vec::new(), None::<Block>);
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            match (line.strip_prefix("```"), open.take()) {
                (Some(_), Some(block)) => blocks.push(block),
                (Some(language), None) => {
                    open = Some(Block { language: language.to_owned(), line: number + 2, lines: Vec::new() });
                }
                (None, Some(mut block)) => {
                    block.lines.push(line.to_owned());
                    open = Some(block);
                }
                (None, None) => prose.push((number + 1, line.to_owned())),
            }
        }
        assert!(open.is_none(), "{name}: a block is not closed");
        Self { name, blocks, prose }
    }

    /// Targets of links and images that are not on the web.
    pub fn links(&self) -> Vec<(usize, String)> {
        let mut links = Vec::new();
        for (line, text) in &self.prose {
            for rest in text.split("](").skip(1) {
                let link = rest.split(')').next().unwrap_or_default();
                if !link.contains("://") {
                    links.push((*line, link.to_owned()));
                }
            }
        }
        links
    }

    /// The words after `pangea` wherever it is used as a command: in inline code and in blocks that are run.
    pub fn invocations(&self) -> Vec<(usize, Vec<String>)> {
        let inline = self.prose.iter().flat_map(|(line, text)| {
            text.split('`')
                .skip(1)
                .step_by(2)
                .filter(|code| code.starts_with("pangea "))
                .map(|code| (*line, code.to_owned()))
        });
        let run = self.blocks.iter().flat_map(Block::steps).map(|step| (step.line, step.command));
        inline
            .chain(run)
            .flat_map(|(line, code)| invocations_in(&code).into_iter().map(move |words| (line, words)))
            .collect()
    }
}

fn invocations_in(code: &str) -> Vec<Vec<String>> {
    let simple = code.split(['|', ';', '&', '(', ')', '<', '>']);
    let after_pangea = simple.filter_map(|part| {
        let words: Vec<String> = part.split_whitespace().map(str::to_owned).collect();
        let at = words.iter().position(|word| word == "pangea")?;
        Some(words[at + 1..].to_vec())
    });
    after_pangea.filter(|words| !words.is_empty()).collect()
}

impl Block {
    /// In a `console` block lines with `$ ` are commands and the others output; in an `sh` block all are commands, and a
    /// document that follows one in place (`<<'WORD'`) belongs to it.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        let mut document: Option<&str> = None;
        for (offset, text) in self.lines.iter().enumerate() {
            if let (Some(word), Some(step)) = (document, steps.last_mut()) {
                step.command += &format!("\n{text}");
                document = document.filter(|_| text != word);
                continue;
            }
            let command = match self.language.as_str() {
                "sh" => Some(text.as_str()).filter(|text| !text.trim().is_empty()),
                "console" => text.strip_prefix("$ "),
                _ => return Vec::new(),
            };
            match (command, steps.last_mut()) {
                (Some(command), _) => {
                    document = command.split_once("<<'").and_then(|(_, rest)| rest.strip_suffix('\''));
                    steps.push(Step { line: self.line + offset, command: command.to_owned(), expected: Vec::new() });
                }
                (None, Some(step)) => step.expected.push(text.clone()),
                (None, None) => panic!("line {}: output without a command", self.line + offset),
            }
        }
        steps
    }
}

/// Is `printed` what is shown? `…` stands for anything in a line, and for any lines when it stands alone; runs of
/// spaces count as one. Progress is left out: on a terminal it is gone when the command ends.
pub fn matches(shown: &[String], printed: &str) -> Result<(), String> {
    if shown.is_empty() {
        return Ok(());
    }
    let progress = |line: &&str| line.starts_with(['█', '▒', '·']);
    let printed: Vec<&str> = printed.lines().filter(|line| !progress(line)).collect();
    if lines_match(shown, &printed) { Ok(()) } else { Err("something else was printed".to_owned()) }
}

fn lines_match(shown: &[String], printed: &[&str]) -> bool {
    match (shown.split_first(), printed.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((first, shown)), _) if first == "…" => {
            (0..=printed.len()).any(|skip| lines_match(shown, &printed[skip..]))
        }
        (Some(_), None) => false,
        (Some((first, shown)), Some((line, printed))) => line_matches(first, line) && lines_match(shown, printed),
    }
}

fn line_matches(shown: &str, line: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (shown, line) = (words(shown), words(line));
    let mut parts = shown.split('…').map(str::trim);
    let Some(rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    let mut rest = rest;
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}
