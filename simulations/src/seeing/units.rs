//! Numbers as a person writes them. The pages' scripts have the same in `web/base.js`.

const KIB: f64 = 1024.0;

/// A moment: seconds since the run began, to the microsecond.
pub(crate) fn moment(ns: u64) -> String {
    format!("{}.{:06}", ns / 1_000_000_000, ns / 1_000 % 1_000_000)
}

/// A duration, to about three digits: `340 µs`, `12.5 ms`, `1.20 s`, `2 m 05 s`, `3 h 07 m`.
pub(crate) fn duration(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} µs", ns / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", digits(ns as f64 / 1e6)),
        1_000_000_000..60_000_000_000 => format!("{} s", digits(ns as f64 / 1e9)),
        _ if seconds < 3_600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} m", seconds / 3_600, seconds / 60 % 60),
    }
}

/// An amount of data: `812 B`, `64.0 KiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / KIB;
    for unit in ["KiB", "MiB", "GiB"] {
        if amount < 999.5 {
            return format!("{} {unit}", digits(amount));
        }
        amount /= KIB;
    }
    format!("{} TiB", digits(amount))
}

/// A count, in groups of three digits.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `one` or `many` after its count.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// `text` on one line, cut to `chars_max`, without characters that would move what a terminal or a page shows.
pub(crate) fn line(text: &str, chars_max: usize) -> String {
    let mut chars = text.chars().map(|c| if moves(c) { ' ' } else { c });
    let mut line: String = chars.by_ref().take(chars_max).collect();
    if chars.next().is_some() {
        line.pop();
        line.push('…');
    }
    line
}

/// Control characters, line separators, and those that turn the direction of text around.
fn moves(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn digits(amount: f64) -> String {
    let decimals = match amount {
        _ if amount < 9.995 => 2,
        _ if amount < 99.95 => 1,
        _ => 0,
    };
    format!("{amount:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_about_three_digits() {
        let cases = [
            (0, "0 ns"),
            (340_000, "340 µs"),
            (12_500_000, "12.5 ms"),
            (1_200_000_000, "1.20 s"),
            (59_990_000_000, "60.0 s"),
            (125_000_000_000, "2 m 05 s"),
            (11_220_000_000_000, "3 h 07 m"),
        ];
        for (ns, text) in cases {
            assert_eq!(duration(ns), text);
        }
    }

    #[test]
    fn amounts_of_data_have_about_three_digits() {
        let cases = [
            (812, "812 B"),
            (1 << 16, "64.0 KiB"),
            (1_047_552, "1.00 MiB"),
            (5 << 30, "5.00 GiB"),
            (3 << 40, "3.00 TiB"),
        ];
        for (amount, text) in cases {
            assert_eq!(bytes(amount), text);
        }
    }

    #[test]
    fn a_line_has_no_line_breaks_and_a_bounded_length() {
        assert_eq!(line("a\nb\u{1b}[31m\u{202e}", 20), "a b [31m ");
        assert_eq!(line("abcdef", 4), "abc…");
        assert_eq!(count(1_234_567), "1,234,567");
    }
}
