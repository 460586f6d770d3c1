//! Text into HTML: escaped, and with what cannot be seen made visible.
//!
//! Nothing else writes a stranger's text into the page.

use crate::visible::visible;

fn push(out: &mut String, text: &str, quotes: bool) {
    let text = visible(text);
    let mut rest: &str = &text;
    while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' if quotes => "&quot;",
            b'\'' if quotes => "&#39;",
            b'"' => "\"",
            _ => "'",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// Between tags.
pub fn text(out: &mut String, text: &str) {
    push(out, text, false);
}

/// Between double quotes.
pub fn attribute(out: &mut String, text: &str) {
    push(out, text, true);
}
