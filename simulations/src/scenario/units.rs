//! What people write in scenario files: spans of time (`250ms`, `1.5s`, `30d`), sizes (`200kB`, `4MiB`), counts, and
//! ranges of them (`5s..20s`), from which a seed draws one.

use pangea_kernel::Draw;
use serde::{Deserialize, Deserializer, de::Error};
use std::marker::PhantomData;

const SPANS: [(&str, f64); 6] =
    [("ms", 1.0), ("s", 1e3), ("m", 60e3), ("h", 3_600e3), ("d", 86_400e3), ("w", 604_800e3)];
const SIZES: [(&str, f64); 8] = [
    ("B", 1.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];

/// What a number counts.
pub trait Unit {
    /// What to say of a text that is none.
    const EXAMPLE: &'static str;
    /// Names of units, and what they are worth. Empty: a plain number.
    const NAMES: &'static [(&'static str, f64)];
}

/// Virtual milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ms;

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size;

/// How many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Count;

impl Unit for Ms {
    const EXAMPLE: &'static str = "a time such as 250ms, 1.5s or 30d, or a range such as 5s..20s";
    const NAMES: &'static [(&'static str, f64)] = &SPANS;
}

impl Unit for Size {
    const EXAMPLE: &'static str = "a size such as 200kB or 4MiB, or a range such as 1kB..2MB";
    const NAMES: &'static [(&'static str, f64)] = &SIZES;
}

impl Unit for Count {
    const EXAMPLE: &'static str = "a number, or a range such as 3..8";
    const NAMES: &'static [(&'static str, f64)] = &[];
}

/// A number, or a range that a seed draws from, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range<U> {
    /// Smallest.
    pub low: f64,
    /// Largest.
    pub high: f64,
    unit: PhantomData<U>,
}

impl<U: Unit> Range<U> {
    /// A range.
    pub const fn new(low: f64, high: f64) -> Self {
        Self { low, high, unit: PhantomData }
    }

    /// One of it, uniformly.
    pub fn draw(&self, draw: &mut Draw) -> f64 {
        self.low + (self.high - self.low) * draw.unit()
    }

    /// One of it as a whole number, uniformly.
    pub fn draw_whole(&self, draw: &mut Draw) -> u64 {
        let (low, high) = (self.low.max(0.0) as u64, self.high.max(0.0) as u64);
        low + draw.below(high.saturating_sub(low) + 1)
    }

    fn parse(text: &str) -> Option<Self> {
        let (low, high) = text.split_once("..").unwrap_or((text, text));
        let (low, high) = (value::<U>(low)?, value::<U>(high)?);
        (low <= high).then(|| Self::new(low, high))
    }
}

fn value<U: Unit>(text: &str) -> Option<f64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (text[..end].parse::<f64>().ok()?, text[end..].trim());
    if U::NAMES.is_empty() {
        return unit.is_empty().then_some(number);
    }
    let factor = U::NAMES.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    factor.map(|factor| number * factor).or_else(|| (number == 0.0 && unit.is_empty()).then_some(0.0))
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Whole(u64),
    Part(f64),
    Words(String),
}

impl<'de, U: Unit> Deserialize<'de> for Range<U> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = match Text::deserialize(input)? {
            Text::Whole(number) => number.to_string(),
            Text::Part(number) => number.to_string(),
            Text::Words(words) => words,
        };
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is not {}", U::EXAMPLE)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_sizes_and_counts_are_read_as_people_write_them() {
        assert_eq!(Range::<Ms>::parse("250ms"), Some(Range::new(250.0, 250.0)));
        assert_eq!(Range::<Ms>::parse("1.5s..2m"), Some(Range::new(1_500.0, 120_000.0)));
        assert_eq!(Range::<Ms>::parse("0"), Some(Range::new(0.0, 0.0)));
        assert_eq!(Range::<Size>::parse("200kB..4MiB"), Some(Range::new(200_000.0, 4_194_304.0)));
        assert_eq!(Range::<Count>::parse("3..8"), Some(Range::new(3.0, 8.0)));
        for wrong in ["", "5", "s", "5s..1s", "-3s", "1e3s", "5s.."] {
            assert_eq!(Range::<Ms>::parse(wrong), None, "{wrong}");
        }
    }
}
