//! Sizes (`50GiB`, `500 MB`, `4096`) and spans of time (`90d`, `12h`, `30s`) as people write them.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "String")]
pub struct Bytes(pub u64);

/// A span of time, in whole seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "String")]
pub struct Span(pub Duration);

/// TOML may hold a number or a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Number(u64),
    Words(String),
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        match text {
            Text::Number(number) => number.to_string(),
            Text::Words(words) => words,
        }
    }
}

const SIZES: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
    ("", 1),
];
const SPANS: [(&str, u64); 6] = [("y", 31_536_000), ("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// Splits `text` into number and unit and multiplies them.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (text[..digits].parse::<u64>().ok()?, text[digits..].trim());
    let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*factor)
}

/// The largest unit that divides `value`.
fn print(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    let fits = |(_, factor): &&(&str, u64)| value >= *factor && value.is_multiple_of(*factor);
    match units.iter().find(fits) {
        Some((unit, factor)) => write!(f, "{}{unit}", value / factor),
        None => write!(f, "{value}{}", units[units.len() - 1].0),
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, &SIZES).map(Self).ok_or_else(|| format!("`{text}` is not a size such as 50GiB, 500MB or 4096"))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seconds = parse(text, &SPANS);
        seconds
            .map(|seconds| Self(Duration::from_secs(seconds)))
            .ok_or_else(|| format!("`{text}` is not a time such as 90d, 12h or 30s"))
    }
}

impl Span {
    /// So many days.
    pub const fn days(days: u64) -> Self {
        Self(Duration::from_secs(days * 86_400))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, self.0, &SIZES[..9])
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, self.0.as_secs(), &SPANS[2..])
    }
}

impl TryFrom<Text> for Bytes {
    type Error = String;

    fn try_from(text: Text) -> Result<Self, String> {
        String::from(text).parse()
    }
}

impl TryFrom<Text> for Span {
    type Error = String;

    fn try_from(text: Text) -> Result<Self, String> {
        String::from(text).parse()
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.to_string()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_read_back_as_they_print() {
        for text in ["50GiB", "500MB", "4096TiB", "1KiB", "7B"] {
            assert_eq!(text.parse::<Bytes>().map(|bytes| bytes.to_string()), Ok(text.to_owned()));
        }
        for text in ["90d", "12h", "30s", "5m"] {
            assert_eq!(text.parse::<Span>().map(|span| span.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("1000 kb".parse(), Ok(Bytes(1_000_000)));
        assert_eq!("2w".parse(), Ok(Span::days(14)));
    }

    #[test]
    fn nonsense_and_overflow_are_refused_with_an_example() {
        for text in ["", "GiB", "-1", "1.5GiB", "99999999999TiB", "5 parsecs"] {
            assert!(text.parse::<Bytes>().is_err_and(|error| error.contains("50GiB")), "{text}");
        }
        assert!("90".parse::<Span>().is_err_and(|error| error.contains("90d")));
    }
}
