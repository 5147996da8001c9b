//! One task in three languages: what the host gives reaches it, what it gives reaches the host, and failures say why.

use crate::sandbox::Module;
use bytes::Bytes;
use pangea_protocols::task::{Capabilities, Capability, Input, Trap};

const LANGUAGES: [&str; 3] = ["tour", "tour-c", "tour-as"];

fn input(bytes: &'static [u8], chunks: &[&'static [u8]]) -> Input {
    Input {
        bytes: Bytes::from_static(bytes),
        chunks: chunks.iter().map(|chunk| Bytes::from_static(chunk)).collect(),
        unix_ms: 1_700_000_000_000,
        seed: [7; 32],
    }
}

#[test]
fn every_language_reaches_everything_that_is_granted() {
    let mut drawn = [0; 8];
    blake3::Hasher::new_keyed(&[7; 32]).finalize_xof().fill(&mut drawn);
    let drawn = u64::from_le_bytes(drawn);
    for name in LANGUAGES {
        let module = Module::built(name);
        assert_eq!(module.imports, Capability::ALL.into_iter().collect::<Capabilities>(), "{name}");
        let chunks: [&[&'static [u8]]; 3] = [&[b"some data", b"more"], &[b"abc"], &[]];
        for (chunks, shown) in chunks.into_iter().zip(["some ", "abc", "none"]) {
            let answer = module.call(input(b"hello", chunks));
            assert_eq!(answer.sent, [&b"hello"[..]], "{name}");
            let lines: Vec<(u8, &str)> = answer.lines.iter().map(|line| (line.level, line.text.as_str())).collect();
            assert_eq!(lines, [(2, "5 bytes of input")], "{name}");
            let expected = format!("now 1700000000000\nrandom {drawn}\nchunk {shown}\n");
            assert_eq!(String::from_utf8_lossy(&answer.output()), expected, "{name}");
        }
    }
}

#[test]
fn a_task_that_fails_says_why_and_traps() {
    for name in LANGUAGES {
        let answer = Module::built(name).call(input(b"", &[]));
        assert_eq!(answer.trap(), Trap::Unreachable, "{name}");
        let lines: Vec<(u8, &str)> = answer.lines.iter().map(|line| (line.level, line.text.as_str())).collect();
        assert_eq!(lines, [(0, "the input is empty: there is nothing to show")], "{name}");
    }
}

#[test]
fn a_panic_of_rust_is_logged_with_its_place() {
    let answer = Module::built("tour").call(input(b"panic", &[]));
    assert_eq!(answer.trap(), Trap::Unreachable);
    let text = &answer.lines.last().expect("a line").text;
    assert!(text.contains("asked to panic") && text.contains("tour/src/lib.rs"), "{text}");
}
