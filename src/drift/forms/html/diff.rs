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
        let mut in_hunk = false;
        for (line, left) in &cut.lines {
            in_hunk |= line.starts_with("@@");
            let tag = match line.as_bytes().first() {
                _ if !in_hunk && (line.starts_with("--- ") || line.starts_with("+++ ")) => "b",
                Some(b'@') => "i",
                Some(b'+') => "ins",
                Some(b'-') => "del",
                _ => "span",
            };
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
