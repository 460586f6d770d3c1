//! Text of strangers made fit for a person's eyes: what a host, an API or a file says may hold characters that move a
//! terminal's cursor or hide what follows. It escapes nothing for any format.

use std::borrow::Cow;
use std::fmt::Write as _;

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
}
