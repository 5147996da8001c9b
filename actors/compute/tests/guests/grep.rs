//! Grep, which is written in C, against the lines of the text one by one.

use crate::sandbox::{Module, folder};
use pangea_protocols::{
    receipt_job::Stage,
    task::{Capabilities, Trap},
};

/// What `grep -nb` would print of the lines that fit.
fn expected(text: &[u8], fits: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let (mut result, mut offset) = (Vec::new(), 0);
    for (number, line) in (1..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        if fits(bare) {
            result.extend(format!("{number}:{offset}:").into_bytes());
            result.extend(bare);
            result.push(b'\n');
        }
        offset += line.len();
    }
    result
}

fn contains(line: &[u8], what: &[u8]) -> bool {
    line.windows(what.len()).any(|window| window == what)
}

/// A pattern, and what it means to a line.
type Case = (&'static str, fn(&[u8]) -> bool);

const PATTERNS: [Case; 12] = [
    ("the", |line| contains(line, b"the")),
    ("^pub fn", |line| line.starts_with(b"pub fn")),
    ("{$", |line| line.ends_with(b"{")),
    ("^$", |line| line.is_empty()),
    ("^fn.*{$", |line| line.starts_with(b"fn") && line.ends_with(b"{")),
    ("a.c", |line| line.windows(3).any(|three| three[0] == b'a' && three[2] == b'c')),
    ("vec!\\*", |line| contains(line, b"vec!*")),
    ("\\.\\.", |line| contains(line, b"..")),
    ("xx*y", |line| contains(line, b"xy")),
    ("(.*).*(.*)", |line| {
        let mut rest = line;
        b"()()".iter().all(|wanted| match rest.iter().position(|byte| byte == wanted) {
            Some(at) => {
                rest = &rest[at + 1..];
                true
            }
            None => false,
        })
    }),
    ("", |_| true),
    ("nowhere in it, surely", |_| false),
];

#[test]
fn lines_are_found_with_their_numbers_and_offsets() {
    let module = Module::built("grep");
    assert_eq!(module.imports, Capabilities::NONE);
    let mut text = std::fs::read(folder().join("../actors/compute/tests/guests/sandbox.rs")).unwrap();
    text.extend(std::fs::read(folder().join("../docs/simulation.md")).unwrap());
    text.extend(b"the last line does not end; vec!*");
    for (pattern, fits) in PATTERNS {
        let input = [pattern.as_bytes(), b"\n", &text].concat();
        let result = module.job(&input);
        assert_eq!(String::from_utf8_lossy(&result), String::from_utf8_lossy(&expected(&text, fits)), "{pattern}");
    }
}

#[test]
fn a_large_text_is_cut_at_the_ends_of_lines() {
    let module = Module::built("grep");
    let line = |n: u32| format!("{n} {}\n", "bottles of beer on the wall, ".repeat((n % 7) as usize));
    let text: Vec<u8> = (0..9_000).map(line).collect::<String>().into_bytes();
    let pieces = module.split(&[b"^[0-9]00 \n", &text[..]].concat());
    assert!(pieces.len() > 2, "{}", pieces.len());
    assert!(pieces.iter().all(|piece| piece.ends_with(b"\n") && piece.starts_with(b"^[0-9]00 \n")));
    let whole: Vec<u8> = pieces.iter().flat_map(|piece| piece[10..].to_vec()).collect();
    assert!(whole == text, "pieces do not make up the text");
    let result = module.job(&[b"^.*00 bottles\n", &text[..]].concat());
    assert!(result == expected(&text, |line| contains(line, b"00 bottles")));
}

#[test]
fn without_a_text_nothing_is_found_and_without_an_envelope_it_traps() {
    let module = Module::built("grep");
    assert_eq!(module.job(b""), &b""[..]);
    assert_eq!(module.job(b"pattern"), &b""[..]);
    assert_eq!(module.run(b"pattern\ntext").trap(), Trap::Unreachable);
    assert_eq!(module.entry(Stage::Execute, (0, 1), b"").trap(), Trap::Unreachable);
    assert_eq!(module.entry(Stage::Merge, (0, 1), b"\x82\x41a").trap(), Trap::Unreachable);
}
