//! Text of strangers made fit to be shown: what is too long is cut and says so. What hides is [`crate::visible`]'s.
//!
//! It escapes nothing; each form does that in its own way afterwards.

use std::borrow::Cow;

/// How much of one diff a form shows. The whole stands in `report.json`.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub lines: usize,
    /// Characters of one line.
    pub line: usize,
    /// Bytes in all.
    pub bytes: usize,
}

impl Limits {
    pub const DIFF: Self = Self { lines: 500, line: 2000, bytes: 64 * 1024 };
}

/// At most `max` characters, with `…` where something was cut.
pub fn short(text: &str, max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

/// What of a diff is shown.
#[derive(Debug)]
pub struct Cut<'a> {
    /// Each line without its end, and how many of its characters were left away.
    pub lines: Vec<(&'a str, usize)>,
    pub lines_left: usize,
}

impl<'a> Cut<'a> {
    pub fn of(diff: &'a str, limits: Limits) -> Self {
        let (mut lines, mut lines_left, mut bytes) = (Vec::new(), 0, 0);
        for line in diff.split_terminator('\n') {
            if lines.len() == limits.lines || bytes >= limits.bytes {
                lines_left += 1;
                continue;
            }
            let end = line.char_indices().nth(limits.line).map_or(line.len(), |(end, _)| end);
            bytes += end + 1;
            lines.push((&line[..end], line[end..].chars().count()));
        }
        Self { lines, lines_left }
    }

    /// What a reader must know who would take this for the whole; `None`: it is the whole.
    pub fn note(&self) -> Option<String> {
        let long = self.lines.iter().filter(|(_, left)| *left > 0).count();
        let mut cut = Vec::new();
        if self.lines_left > 0 {
            cut.push(format!("{} more lines are not shown", self.lines_left));
        }
        if long > 0 {
            cut.push(format!("{long} long {} cut", if long == 1 { "line is" } else { "lines are" }));
        }
        (!cut.is_empty()).then(|| format!("{}; the whole diff is in report.json.", cut.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_is_said() {
        let limits = Limits { lines: 3, line: 4, bytes: 1000 };
        let cut = Cut::of("+äöüß12\n a\n\n-b\n-c\n", limits);
        assert_eq!(cut.lines, [("+äöü", 3), (" a", 0), ("", 0)]);
        assert_eq!(
            cut.note().as_deref(),
            Some("2 more lines are not shown, 1 long line is cut; the whole diff is in report.json.")
        );
        assert_eq!(Cut::of("-a\n+b", limits).note(), None);
        let three = "+xyz\n".repeat(3);
        let wide = Cut::of(&three, Limits { bytes: 5, ..limits });
        assert_eq!((wide.lines.len(), wide.lines_left), (1, 2));
        assert_eq!(short("äöü", 2), "äö…");
        assert_eq!(short("äöü", 3), "äöü");
    }
}
