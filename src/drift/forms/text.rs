//! Text of strangers made fit to be shown: what cannot be seen becomes visible, what is too long is cut and says so.
//!
//! It escapes nothing; each form does that in its own way afterwards.

use std::borrow::Cow;
use std::fmt::Write as _;

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

/// Control characters and those that are invisible or turn the direction of what follows: a file could use them to
/// show a reader another text than the machine sees.
fn is_hidden(c: char) -> bool {
    match c {
        '\n' | '\t' | ' '..='~' => false,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => true,
        '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        c => c.is_control() || u32::from(c) & 0xfffe == 0xfffe,
    }
}

/// The same text with a sign in place of each hidden character: `␛` for ESC, `⟨U+202E⟩` for what has no sign.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\0'..='\u{1f}' if is_hidden(c) => shown.extend(char::from_u32(0x2400 + u32::from(c))),
            '\u{7f}' => shown.push('\u{2421}'),
            c if is_hidden(c) => {
                let _ = write!(shown, "⟨U+{:04X}⟩", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
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
    fn what_hides_is_shown() {
        assert_eq!(visible("a\tb\nc é 漢 ✓"), "a\tb\nc é 漢 ✓");
        assert_eq!(visible("\0\u{1b}[31m\r\u{7f}"), "␀␛[31m␍␡");
        assert_eq!(
            visible("\u{85}\u{202e}exe.\u{2066}\u{feff}\u{ffff}"),
            "⟨U+0085⟩⟨U+202E⟩exe.⟨U+2066⟩⟨U+FEFF⟩⟨U+FFFF⟩"
        );
    }

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
