//! Mail as the bytes that `sendmail` reads from its standard input: headers, then text. It sends nothing itself.
//!
//! Refuses to let any value leave its header: what is a control character in a name or subject becomes a space.

use std::borrow::Cow;

/// Reads the recipients from the headers, and a line that is only a dot as text.
pub const SENDMAIL: [&str; 3] = ["sendmail", "-i", "-t"];

/// RFC 2047: an encoded word, its delimiters included (characters).
const MAX_WORD: usize = 75;
/// RFC 2045: a line of quoted-printable (characters).
const MAX_QUOTED: usize = 76;
/// RFC 5322: a line of anything (bytes).
const MAX_LINE: usize = 998;

#[derive(Debug, Clone, Default)]
pub struct Mail<'a> {
    /// An address as [`is_address`] takes it; `root` is one.
    pub from: &'a str,
    pub to: Vec<&'a str>,
    pub subject: &'a str,
    pub text: &'a str,
    /// Seconds since the epoch. Without it `sendmail` adds the time of its call.
    pub date: Option<i64>,
    /// Without `<` and `>`. The same for every try to send the same, so that whoever gets it twice can tell.
    pub message_id: Option<String>,
}

impl Mail<'_> {
    /// Lines end with `\n`, as a local program expects; it makes CRLF of them on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let to = self.to.iter().map(|to| plain(to)).collect::<Vec<_>>().join(",\n ");
        let mut mail = format!("From: {}\nTo: {to}\nSubject: {}\n", plain(self.from), words(self.subject, 9));
        if let Some(date) = self.date.and_then(date) {
            mail.push_str(&format!("Date: {date}\n"));
        }
        if let Some(id) = &self.message_id {
            mail.push_str(&format!("Message-ID: <{}>\n", plain(id)));
        }
        // Whoever is away does not answer a program (RFC 3834).
        mail.push_str("Auto-Submitted: auto-generated\nMIME-Version: 1.0\n");
        let text = self.text.replace("\r\n", "\n").replace('\r', "\n");
        // Legible in a mailbox without any decoding, as long as it can be.
        if text.is_ascii() && !text.contains('\0') && text.lines().all(|line| line.len() <= MAX_LINE) {
            mail.push_str("Content-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 7bit\n\n");
            mail.push_str(&text);
        } else {
            mail.push_str("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n");
            mail.push_str(&text.split('\n').map(quoted).collect::<Vec<_>>().join("\n"));
        }
        if !mail.ends_with('\n') {
            mail.push('\n');
        }
        mail.into_bytes()
    }
}

/// One address without a name: `root`, `root@pve1`, `ops+drbd@example.org`. Nothing that could be read as two, as an
/// option, or as a part of the header's grammar.
pub fn is_address(text: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_graphic() && !"()<>[]:;,\\\"".contains(c);
    !text.is_empty()
        && text.len() <= 254
        && text.chars().all(is_fine)
        && !text.starts_with(['-', '|', '/', '@'])
        && !text.ends_with('@')
        && text.matches('@').count() <= 1
}

/// `Sun, 22 Nov 2026 20:44:25 +0000`.
fn date(seconds: i64) -> Option<String> {
    let time = jiff::Timestamp::from_second(seconds).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
    jiff::fmt::rfc2822::to_string(&time).ok()
}

/// On one line, without control characters.
fn plain(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) { text.replace(char::is_control, " ").into() } else { text.into() }
}

/// A header's text: as it is where that is safe, else as encoded words (RFC 2047), folded. `column`: what stands before.
fn words(text: &str, column: usize) -> String {
    use base64::Engine;
    let text = plain(text);
    let text = text.trim();
    if text.is_ascii() && !text.contains("=?") && column + text.len() <= MAX_LINE {
        return text.to_owned();
    }
    // 3 bytes become 4 characters; no character is torn.
    let room = |column: usize| (MAX_WORD - "=?utf-8?B??=".len() - column.min(40)) / 4 * 3;
    let (mut words, mut word, mut left) = (Vec::new(), String::new(), room(column));
    for c in text.chars() {
        if word.len() + c.len_utf8() > left {
            words.push(std::mem::take(&mut word));
            left = room(1);
        }
        word.push(c);
    }
    words.push(word);
    let encode = |word: &String| format!("=?utf-8?B?{}?=", base64::engine::general_purpose::STANDARD.encode(word));
    words.iter().map(encode).collect::<Vec<_>>().join("\n ")
}

/// One line as quoted-printable (RFC 2045), soft breaks where it is too long.
fn quoted(line: &str) -> String {
    let (mut out, mut column) = (String::with_capacity(line.len() + 8), 0);
    let bytes = line.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let is_last = at + 1 == bytes.len();
        let piece = match byte {
            // White space at the end of a line is lost on the way.
            b' ' | b'\t' if !is_last => (*byte as char).to_string(),
            // `From ` at the beginning is changed by mailboxes, a lone dot by some programs.
            b'F' | b'.' if column == 0 => format!("={byte:02X}"),
            b'!'..=b'~' if *byte != b'=' => (*byte as char).to_string(),
            _ => format!("={byte:02X}"),
        };
        if column + piece.len() > MAX_QUOTED - 1 {
            out.push_str("=\n");
            column = 0;
        }
        column += piece.len();
        out.push_str(&piece);
    }
    out
}

#[cfg(test)]
mod tests;
