//! A unified diff as lines whose kind is in their sign and their element, not in colour alone.
//!
//! It shows at most what the limits allow, and says what was left away.

use super::escape::text;
use crate::drift::forms::text::{Cut, Limits};
use std::fmt::Write as _;

/// How much all diffs of one page may take before each is cut to a glimpse, so that the page still opens.
const BUDGET: usize = 12 * 1024 * 1024;
const GLIMPSE: Limits = Limits { lines: 30, line: 200, bytes: 2048 };

#[derive(Debug, Default)]
pub struct Diffs {
    written: usize,
}

impl Diffs {
    pub fn write(&mut self, out: &mut String, diff: &str) {
        if diff.is_empty() {
            return;
        }
        let limits = if self.written < BUDGET { Limits::DIFF } else { GLIMPSE };
        let before = out.len();
        let cut = Cut::of(diff, limits);
        out.push_str("<pre class=\"diff\">");
        let mut open = "";
        let mut hunk = Hunk::default();
        for (line, left) in &cut.lines {
            let tag = match line.as_bytes().first() {
                _ if hunk.is_over() && (line.starts_with("--- ") || line.starts_with("+++ ")) => "b",
                Some(b'@') if hunk.is_over() => {
                    hunk = Hunk::of(line);
                    "i"
                }
                Some(b'+') => "ins",
                Some(b'-') => "del",
                _ => "span",
            };
            hunk.pass(tag);
            if tag != open {
                close(out, open);
                let _ = write!(out, "<{tag}>");
                open = tag;
            }
            body(out, line, matches!(tag, "ins" | "del"));
            if *left > 0 {
                let _ = write!(out, "<em>… cut: {left} more characters</em>");
            }
            out.push('\n');
        }
        close(out, open);
        out.push_str("</pre>");
        if let Some(note) = cut.note() {
            out.push_str("<p class=\"cut\"><span class=\"y\" aria-hidden=\"true\">✂</span> ");
            text(out, &note);
            out.push_str("</p>");
        }
        self.written += out.len() - before;
    }
}

/// How many lines of a hunk are still to come: within it, `--- x` is a removed `-- x` and not the next file's name.
#[derive(Default)]
struct Hunk {
    old: usize,
    new: usize,
}

impl Hunk {
    /// From `@@ -1,3 +1,4 @@`; what is written otherwise has no lines.
    fn of(line: &str) -> Self {
        let mut words = line.split(' ').skip(1);
        let mut lines = |sign| {
            let range = words.next()?.strip_prefix(sign)?;
            range.split_once(',').map_or(Some(1), |(_, lines)| lines.parse().ok())
        };
        Self { old: lines('-').unwrap_or(0), new: lines('+').unwrap_or(0) }
    }

    fn is_over(&self) -> bool {
        self.old == 0 && self.new == 0
    }

    fn pass(&mut self, tag: &str) {
        if matches!(tag, "del" | "span") {
            self.old = self.old.saturating_sub(1);
        }
        if matches!(tag, "ins" | "span") {
            self.new = self.new.saturating_sub(1);
        }
    }
}

fn close(out: &mut String, tag: &str) {
    if !tag.is_empty() {
        let _ = write!(out, "</{tag}>");
    }
}

/// Spaces at the end of a changed line are often the whole difference; they are marked.
fn body(out: &mut String, line: &str, changed: bool) {
    let kept = line.trim_end_matches([' ', '\t']).len().max(1).min(line.len());
    if changed && kept < line.len() {
        text(out, &line[..kept]);
        out.push_str("<u>");
        text(out, &line[kept..]);
        out.push_str("</u>");
    } else {
        text(out, line);
    }
}
