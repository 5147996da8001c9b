//! A page: one file that a browser opens without asking anything of anyone.

use super::units;
use serde::Serialize;

/// What a page is made of, besides its data.
pub(crate) struct Parts {
    pub(crate) styles: &'static [&'static str],
    /// The body's elements, without scripts.
    pub(crate) body: &'static str,
    /// Run in this order, in one scope, when the body is there.
    pub(crate) scripts: &'static [&'static str],
}

const TITLE_CHARS_MAX: usize = 240;

/// The page's rule to itself: nothing from elsewhere, whatever it contains.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// Puts a page together. `data` is what its scripts find as `DATA`.
pub(crate) fn html(title: &str, data: &impl Serialize, parts: &Parts) -> String {
    let json = match serde_json::to_string(data) {
        Ok(json) => inert(&json),
        Err(error) => unreachable!("arrays of numbers and text are JSON: {error}"),
    };
    let (title, body) = (escaped(&units::line(title, TITLE_CHARS_MAX)), parts.body);
    let (styles, scripts) = (parts.styles.join("\n"), parts.scripts.join("\n"));
    format!(
        r#"<!doctype html>
<html lang="en" data-ready="false" data-errors="0">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{styles}
</style>
</head>
<body>
{body}
<script type="application/json" id="data">{json}</script>
<script>
"use strict";
{{
{scripts}
}}
</script>
</body>
</html>
"#
    )
}

/// JSON in which nothing is left that HTML or JavaScript gives a meaning to.
fn inert(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_data_cannot_end_its_element() {
        let data = ["</script><script>alert(1)</script>", "<!--", "&lt;", "\u{2028}"];
        let json = inert(&serde_json::to_string(&data).unwrap());
        assert!(!json.contains(['<', '>', '&', '\u{2028}']), "{json}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), data);
    }

    #[test]
    fn a_title_is_text() {
        let parts = Parts { styles: &[], body: "", scripts: &[] };
        assert!(html("</title><b>", &0, &parts).contains("<title>&lt;/title&gt;&lt;b&gt;</title>"));
    }
}
