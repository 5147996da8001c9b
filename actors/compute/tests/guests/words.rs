//! Word count against a `HashMap` of strings, over the project's own pages and made-up texts.

use crate::sandbox::{Module, folder};
use bytes::Bytes;
use pangea_compute::split::{Cut, cut, ranges};
use pangea_protocols::{receipt_job::Stage, task::Capabilities};
use proptest::prelude::*;
use std::{collections::HashMap, ops::Range};

fn chunks(text: &[u8], size: usize) -> Vec<Bytes> {
    let ends = cut(text, Cut::Lines(size as u64), usize::MAX).unwrap();
    let chunk = |range: Range<u64>| Bytes::copy_from_slice(&text[range.start as usize..range.end as usize]);
    ranges(&ends).map(chunk).collect()
}

/// Words in all, and how often each occurs.
fn plainly(text: &[u8]) -> (u64, HashMap<String, u64>) {
    let (mut all, mut words) = (0, HashMap::<String, u64>::new());
    for chunk in text.utf8_chunks() {
        for word in chunk.valid().split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()) {
            // Letter by letter: `str::to_lowercase` knows that a sigma at the end of a word is another one.
            *words.entry(word.chars().flat_map(char::to_lowercase).collect()).or_default() += 1;
            all += 1;
        }
    }
    (all, words)
}

/// What the merge prints if nothing was left out.
fn expected(text: &[u8]) -> String {
    let (all, words) = plainly(text);
    let mut top: Vec<_> = words.iter().collect();
    top.sort_by(|(a, x), (b, y)| y.cmp(x).then(a.cmp(b)));
    let lines: String = top.iter().take(word_count::TOP).map(|(word, count)| format!("{count:>12} {word}\n")).collect();
    format!("{all} words, {} different ones\n{lines}", words.len())
}

/// Real text: the pages and the sources of this project.
fn pages() -> Vec<u8> {
    let mut text = Vec::new();
    for file in ["../README.md", "../CHANGELOG.md", "../docs/operations.md", "../docs/simulation.md", "../Cargo.toml"] {
        text.extend(std::fs::read(folder().join(file)).unwrap());
    }
    text
}

#[test]
fn the_words_of_the_project_are_counted_over_many_chunks() {
    let module = Module::built("word-count");
    assert_eq!(module.imports, Capabilities::NONE);
    let text = pages();
    let result = module.merge(&module.execute(&chunks(&text, 10_000)));
    assert_eq!(String::from_utf8(result.to_vec()).unwrap(), expected(&text));
}

#[test]
fn texts_of_any_script_and_broken_ones_are_counted_alike() {
    let module = Module::built("word-count");
    let table: [&[u8]; 10] = [
        b"",
        b"a",
        b" , \n\n",
        b"eightlet eightlet eightlets eightlet",
        "Élan élan ÉLAN, naïve\u{2014}naïve Straße".as_bytes(),
        "Слово слово СЛОВО ещё\nδΣΣ Δσς".as_bytes(),
        "日本語 日本語、x".as_bytes(),
        b"broken \xff\xfe utf\xc38 end\xe2\x80",
        b"sixteenlettershe sixteenlettersh sixteenlettershe seventeenlettersh",
        "\u{130}stanbul \u{1f600}smile a\u{301}".as_bytes(),
    ];
    for text in table {
        let result = module.merge(&module.execute(&chunks(text, 1 << 20)));
        assert_eq!(String::from_utf8(result.to_vec()).unwrap(), expected(text), "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn what_does_not_fit_is_left_out_and_the_result_says_how_often_it_may_have_occurred() {
    let module = Module::built("word-count");
    // 3,000 words that occur once or twice, and one that occurs often, in chunks of which each has room for some.
    let word = |n: usize| -> String { (0..4).map(|at| (b'a' + (n / 26usize.pow(at) % 26) as u8) as char).collect() };
    let text: String = (0..4000).map(|n| format!("{} often {}\n", word(n % 3000), word(n % 997))).collect();
    let chunks = chunks(text.as_bytes(), text.len() / 3);
    let total = 1_000;
    let outputs: Vec<Bytes> =
        (0..).zip(&chunks).map(|(index, chunk)| module.entry(Stage::Execute, (index, total), chunk).output()).collect();
    let room = (15 << 20) / total as usize;
    assert!(outputs.iter().all(|output| output.len() <= room), "{:?}", outputs.iter().map(Bytes::len).max());
    let result = String::from_utf8(module.merge(&outputs).to_vec()).unwrap();
    let (all, words) = plainly(text.as_bytes());
    let mut lines = result.lines();
    let first = lines.next().unwrap();
    assert!(first.starts_with(&format!("{all} words, at least ")), "{first}");
    assert_eq!(lines.next().unwrap().trim(), "4000 often", "it is in every chunk: exact");
    for line in lines {
        let (count, rest) = line.trim().split_once(' ').unwrap();
        let (word, more) = rest.split_once(" (up to ").unwrap_or((rest, "0 more)"));
        let (count, more) = (count.parse::<u64>().unwrap(), more.trim_end_matches(" more)").parse::<u64>().unwrap());
        assert!((count..=count + more).contains(&words[word]), "{line}: it occurs {} times", words[word]);
    }
}

#[test]
fn gas_is_in_proportion_to_the_text_even_if_words_come_by_their_hashes() {
    let module = Module::built("word-count");
    let mut state = 1u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + (state >> 33) as u8 % 26)
    };
    let word = |_| (0..7).map(|_| letter()).chain([' ']).collect::<String>();
    let text = (0..20_000).map(word).collect::<String>();
    let execute = module.entry(Stage::Execute, (0, 1), text.as_bytes());
    assert!(execute.gas < 300 * text.len() as u64, "{} gas for {} bytes", execute.gas, text.len());
    // An output has the words in the order of the table that they were in.
    let list = pangea_compute::envelope::list([execute.output()].iter());
    let merge = module.entry(Stage::Merge, (0, 1), &list);
    assert!(merge.gas < 200 * list.len() as u64, "{} gas for {} bytes", merge.gas, list.len());
}

#[test]
fn a_merge_of_something_else_traps() {
    let module = Module::built("word-count");
    for part in [&b"not a count"[..], b"1 2 3\nx", b"1 2 3\n99999999999999999999999 a", b""] {
        let list = pangea_compute::envelope::list([Bytes::copy_from_slice(part)].iter());
        module.entry(Stage::Merge, (0, 1), &list).trap();
    }
    module.entry(Stage::Split, (0, 1), b"text").trap();
    module.run(b"no envelope").trap();
}

proptest! {
    /// The crate as native code: the same as the module, and faster to try.
    #[test]
    fn any_text_is_counted_as_by_a_hash_map(text in any_text(), size in 1usize..200) {
        let outputs: Vec<Bytes> = {
            let chunks = chunks(&text, size);
            let total = u32::try_from(chunks.len()).unwrap();
            (0..).zip(&chunks)
                .map(|(index, chunk)| word_count::count(pangea_guest::Chunk { index, total, bytes: chunk }).into())
                .collect()
        };
        let list = pangea_compute::envelope::list(outputs.iter());
        let result = word_count::sum(pangea_guest::Parts::read(&list).unwrap()).unwrap();
        prop_assert_eq!(result, expected(&text));
    }
}

fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let piece =
        prop_oneof!["[a-cA-C]{1,18}[ \n]", "[a-zäöüßéÉЖж日ΑΣςİ'0-9 ,.\n\u{2019}]{0,12}",].prop_map(String::into_bytes);
    let broken = proptest::collection::vec(any::<u8>(), 0..4);
    proptest::collection::vec(prop_oneof![9 => piece, 1 => broken], 0..30).prop_map(|pieces| pieces.concat())
}
