//! How sizes, spans of time, ages and foreign text are written, and read.

use crate::config::units::{Bytes, Span};
use std::time::Duration;

const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const SPANS: [(&str, u64); 6] = [("y", 31_536_000), ("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// `1.4 MiB`, `312 KiB`, `17 B`: three digits at most.
pub(crate) fn size(bytes: u64) -> String {
    for (unit, factor) in UNITS {
        if bytes >= factor {
            let value = bytes as f64 / factor as f64;
            return if value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") };
        }
    }
    format!("{bytes} B")
}

/// `1.4 MiB/s`.
pub(crate) fn rate(bytes_per_second: f64) -> String {
    format!("{}/s", size(bytes_per_second.max(0.0) as u64))
}

/// `45s`, `3m 20s`, `2h 5m`, `9d 3h`: the two largest units.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [("d", seconds / 86_400), ("h", seconds / 3_600 % 24), ("m", seconds / 60 % 60), ("s", seconds % 60)];
    let first = parts.iter().position(|(_, value)| *value > 0).unwrap_or(parts.len() - 1);
    let shown = parts[first..].iter().take(2).enumerate().filter(|(n, (_, value))| *n == 0 || *value > 0);
    shown.map(|(_, (unit, value))| format!("{value}{unit}")).collect::<Vec<_>>().join(" ")
}

/// `0.3 ms`, `12 ms`, `1.2 s`.
pub(crate) fn latency(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    match ms {
        ms if ms < 9.95 => format!("{ms:.1} ms"),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}

/// `just now`, `5m ago`, `3d ago`; `never` for 0.
pub(crate) fn age(then_unix: u64, now_unix: u64) -> String {
    let seconds = now_unix.saturating_sub(then_unix);
    if then_unix == 0 {
        return "never".into();
    }
    match SPANS.iter().find(|(_, factor)| seconds >= *factor) {
        Some((unit, factor)) if seconds >= 5 => format!("{}{unit} ago", seconds / factor),
        _ => "just now".into(),
    }
}

/// `1 shard`, `2 shards`.
pub(crate) fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Text from elsewhere, fit for a terminal: control characters, which could move the cursor or hide text, and the
/// invisible characters that reorder it, are shown as escapes.
pub(crate) fn printable(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().flat_map(|c| if hidden(c) { c.escape_unicode().collect() } else { vec![c] }).collect()
}

/// The same for text of several lines. Lines after the first are indented, so that none can pass for another message.
pub(crate) fn printable_lines(text: &str) -> String {
    text.trim_end().lines().map(printable).collect::<Vec<_>>().join("\n  ")
}

/// Reads `90d`, `12h`, `30s`; a number alone is seconds.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    let seconds = if text.bytes().all(|byte| byte.is_ascii_digit()) { "s" } else { "" };
    let parsed = format!("{text}{seconds}").parse::<Span>().ok().filter(|span| !span.0.is_zero());
    parsed.map(|span| span.0).ok_or_else(|| "a time is written like 30s, 5m, 12h, 90d or 2w".into())
}

/// Reads `4096`, `512KiB`, `1MiB`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let parsed = text.parse::<Bytes>();
    parsed.map(|bytes| bytes.0).map_err(|_| "a size is written like 4096, 512KiB or 1MiB".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_at_most_three_digits() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10_240, "10 KiB"),
            (1_468_006, "1.4 MiB"),
            (5 << 40, "5.0 TiB"),
        ];
        for (bytes, want) in cases {
            assert_eq!(size(bytes), want);
        }
    }

    #[test]
    fn spans_show_their_two_largest_units() {
        for (seconds, want) in
            [(0, "0s"), (45, "45s"), (60, "1m"), (200, "3m 20s"), (7500, "2h 5m"), (788_400, "9d 3h")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), want);
        }
    }

    #[test]
    fn ages_are_rounded_down() {
        for (then, want) in [(0, "never"), (999, "just now"), (1001, "just now"), (700, "5m ago"), (2000, "just now")] {
            assert_eq!(age(then, 1000), want);
        }
        assert_eq!(age(1, 86_400 * 3 + 5), "3d ago");
    }

    #[test]
    fn latencies_keep_a_useful_digit() {
        let text = |us| latency(Duration::from_micros(us));
        assert_eq!([text(300), text(12_400), text(1_200_000)], ["0.3 ms", "12 ms", "1.2 s"]);
    }

    #[test]
    fn text_from_elsewhere_cannot_drive_the_terminal() {
        assert_eq!(printable("plain ünïcödé 名"), "plain ünïcödé 名");
        assert_eq!(printable("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(printable("gpj\u{202e}exe"), "gpj\\u{202e}exe");
    }

    #[test]
    fn lines_of_an_error_stay_lines_and_cannot_pass_for_another_message() {
        assert_eq!(
            printable_lines("bad file:\n1 | x\nhelp: run rm\u{1b}[2J\n"),
            "bad file:\n  1 | x\n  help: run rm\\u{1b}[2J"
        );
    }

    #[test]
    fn spans_and_sizes_are_read_as_people_write_them() {
        assert_eq!(parse_span("90d").unwrap(), Duration::from_secs(90 * 86_400));
        assert_eq!(parse_span("30").unwrap(), Duration::from_secs(30));
        assert_eq!(parse_size("1MiB").unwrap(), 1 << 20);
        for bad in ["", "d", "0s", "5 parsecs", "-1s", "99999999999999999999y"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
        assert!(parse_size("1 XB").is_err());
    }
}
