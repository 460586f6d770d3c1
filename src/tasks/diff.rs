//! Differences as text: unified diffs with a cap, words for what has no lines, attribute changes.
//!
//! Knows no task. What must stay secret is hidden by those who show a diff (`no_log`), not here.

use sha2::{Digest, Sha256};
use similar::{ChangeTag, TextDiff};
use std::fmt::Write;

/// Lines of a diff that are shown; the rest is counted.
const MAX_LINES: usize = 400;
/// Longer texts are compared by their hash alone: nobody reads that diff, and finding it may take minutes.
const MAX_BYTES: usize = 2 << 20;

/// Unified diff with three lines of context, headed `--- path` and `+++ path`. Empty if both are equal.
pub fn unified(path: &str, before: &str, after: &str) -> String {
    headed(path, path, before, after)
}

/// A file that is not there and will be.
pub fn created(path: &str, after: &str) -> String {
    let diff = headed("/dev/null", path, "", after);
    if diff.is_empty() { format!("--- /dev/null\n+++ {path}\n") } else { diff }
}

/// A file that is there and will not be.
pub fn removed(path: &str, before: &str) -> String {
    let diff = headed(path, "/dev/null", before, "");
    if diff.is_empty() { format!("--- {path}\n+++ /dev/null\n") } else { diff }
}

/// Like [`unified`] for content that may not be text; `before`: `None` where there is no file.
pub fn bytes(path: &str, before: Option<&[u8]>, after: &[u8]) -> String {
    let old = before.unwrap_or_default();
    match (std::str::from_utf8(old), std::str::from_utf8(after)) {
        (Ok(old), Ok(new)) if !old.contains('\0') && !new.contains('\0') && old.len().max(new.len()) <= MAX_BYTES => {
            if before.is_some() {
                unified(path, old, new)
            } else {
                created(path, new)
            }
        }
        _ if before == Some(after) => String::new(),
        _ => {
            let was = before.map_or("absent".to_owned(), sha256);
            format!("--- {path}\n+++ {path}\nbinary files differ (sha256 {was} -> {})\n", sha256(after))
        }
    }
}

/// Lines that go and lines that come, without context: `-drbd-utils 9.21` `+drbd-utils 9.22`.
pub fn lines<B: AsRef<str>, A: AsRef<str>>(path: &str, before: &[B], after: &[A]) -> String {
    let mut text = format!("--- {path}\n+++ {path}\n");
    for line in before {
        let _ = writeln!(text, "-{}", line.as_ref());
    }
    for line in after {
        let _ = writeln!(text, "+{}", line.as_ref());
    }
    text
}

/// Lower-case hexadecimal SHA-256.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn headed(old_path: &str, new_path: &str, before: &str, after: &str) -> String {
    if before == after {
        return String::new();
    }
    let mut text = format!("--- {old_path}\n+++ {new_path}\n");
    let diff = TextDiff::from_lines(before, after);
    let (mut shown, mut hidden) = (0, 0);
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        if shown < MAX_LINES {
            let _ = writeln!(text, "{}", hunk.header());
        }
        for change in hunk.iter_changes() {
            if shown >= MAX_LINES {
                hidden += 1;
                continue;
            }
            shown += 1;
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            let line = change.value();
            let _ = writeln!(text, "{sign}{}", line.strip_suffix('\n').unwrap_or(line));
            if !line.ends_with('\n') {
                text.push_str("\\ No newline at end of file\n");
            }
        }
    }
    if hidden > 0 {
        let _ = writeln!(text, "... {hidden} more lines");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_shows_what_changes_in_context() {
        let diff = unified("/etc/x", "a\nb\nc\n", "a\nB\nc\n");
        assert_eq!(diff, "--- /etc/x\n+++ /etc/x\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
        assert_eq!(unified("/etc/x", "a\n", "a\n"), "");
    }

    #[test]
    fn a_missing_line_end_is_shown() {
        let diff = unified("x", "a", "a\n");
        assert_eq!(diff, "--- x\n+++ x\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n");
    }

    #[test]
    fn carriage_returns_are_kept() {
        assert!(unified("x", "a\r\n", "a\n").contains("-a\r\n+a\n"));
    }

    #[test]
    fn what_is_not_text_is_named_by_its_hash() {
        let diff = bytes("x", Some(b"\xff\x00"), b"\xfe");
        assert!(diff.contains("binary files differ (sha256 "), "{diff}");
        assert!(bytes("x", None, b"a\0b").contains("absent -> "));
        assert_eq!(bytes("x", Some(b"\xff"), b"\xff"), "");
        assert!(bytes("x", None, b"").starts_with("--- /dev/null\n+++ x\n"));
    }

    #[test]
    fn a_huge_diff_is_cut_and_counted() {
        let text: String = (0..5000).map(|n| format!("{n}\n")).collect();
        let diff = created("x", &text);
        assert_eq!(diff.lines().count(), 3 + MAX_LINES + 1);
        assert!(diff.ends_with("... 4600 more lines\n"), "{}", &diff[diff.len() - 40..]);
    }
}
