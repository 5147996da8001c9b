//! Built-in ways to cut an input into chunks. Pure functions; whoever reads the input calls them.

use std::ops::Range;

/// How an input is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Every so many bytes.
    Bytes(usize),
    /// Whole lines, as many as fit into so many bytes; a longer line is a chunk of its own.
    Lines(usize),
    /// Records of `record` bytes, as many as fit into `chunk` bytes, and at least one.
    Records { record: usize, chunk: usize },
}

/// Where the chunks of `input` are: they follow each other and cover it. A size of 0 counts as 1.
///
/// Of a stream, pass what has been read so far: every range but the last is final, the last may grow.
pub fn cut(input: &[u8], how: Cut) -> Vec<Range<usize>> {
    match how {
        Cut::Bytes(size) => every(input.len(), size.max(1)),
        Cut::Records { record, chunk } => {
            let record = record.max(1);
            every(input.len(), (chunk / record).max(1) * record)
        }
        Cut::Lines(size) => lines(input, size.max(1)),
    }
}

fn every(length: usize, size: usize) -> Vec<Range<usize>> {
    (0..length).step_by(size).map(|start| start..length.min(start.saturating_add(size))).collect()
}

fn lines(input: &[u8], size: usize) -> Vec<Range<usize>> {
    let (mut chunks, mut start, mut end) = (Vec::new(), 0, 0);
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        if end > start && end - start + line.len() > size {
            chunks.push(start..end);
            start = end;
        }
        end += line.len();
    }
    if end > start {
        chunks.push(start..end);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_and_records_are_never_cut_through() {
        let table: [(&str, Cut, &[&str]); 7] = [
            ("", Cut::Lines(4), &[]),
            ("a\nbb\nc", Cut::Lines(5), &["a\nbb\n", "c"]),
            ("a\nlonger than that\nc\n", Cut::Lines(4), &["a\n", "longer than that\n", "c\n"]),
            ("abcdef", Cut::Bytes(4), &["abcd", "ef"]),
            ("aabbcc", Cut::Records { record: 2, chunk: 5 }, &["aabb", "cc"]),
            ("aabbcc", Cut::Records { record: 2, chunk: 1 }, &["aa", "bb", "cc"]),
            ("abc", Cut::Bytes(0), &["a", "b", "c"]),
        ];
        for (input, how, expected) in table {
            let chunks: Vec<&str> = cut(input.as_bytes(), how).into_iter().map(|range| &input[range]).collect();
            assert_eq!(chunks, expected, "{input:?} {how:?}");
        }
    }

    proptest! {
        #[test]
        fn chunks_cover_the_input_in_order_and_keep_to_their_size(
            input in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..300), size in 1usize..40, kind in 0u8..3,
        ) {
            let how = match kind {
                0 => Cut::Bytes(size),
                1 => Cut::Lines(size),
                _ => Cut::Records { record: 3, chunk: size },
            };
            let chunks = cut(&input, how);
            let whole: Vec<u8> = chunks.iter().flat_map(|range| input[range.clone()].to_vec()).collect();
            prop_assert_eq!(whole, input.clone());
            for chunk in &chunks {
                let one_line = !input[chunk.clone()][..chunk.len() - 1].contains(&b'\n');
                prop_assert!(chunk.len() <= size.max(3) || kind == 1 && one_line);
            }
        }
    }
}
