//! Counts lines: the smallest job. The same in C (`lines.c`) and in AssemblyScript (`lines.ts`).

use pangea_guest::{Parts, execute, merge};

#[execute]
pub fn count(text: &[u8]) -> String {
    text.iter().filter(|byte| **byte == b'\n').count().to_string()
}

#[merge]
pub fn sum(counts: Parts) -> Result<String, Box<dyn std::error::Error>> {
    let mut sum = 0u64;
    for count in counts {
        sum += str::from_utf8(count)?.parse::<u64>()?;
    }
    Ok(format!("{sum}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_chunks_add_up() {
        assert_eq!(count(b"a\nb\nc"), "2");
        let counts = Parts::read(b"\x82\x412\x4240").expect("a list in CBOR");
        assert_eq!(sum(counts).expect("numbers"), "42\n");
    }
}
