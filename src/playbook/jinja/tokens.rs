//! The words and signs of expressions, and where in a text expressions stand. Knows no grammar.

use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Word<'t> {
    Name(&'t str),
    Literal,
    Sign(char),
}

#[derive(Debug, Clone, Copy)]
pub struct Token<'t> {
    pub word: Word<'t>,
    pub at: usize,
}

/// The insides of `{{ }}` and `{% %}`, without comments and raw blocks.
pub fn regions(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find('{').map(|n| at + n) {
        let close = match text.as_bytes().get(open + 1) {
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            Some(b'#') => "#}",
            _ => {
                at = open + 1;
                continue;
            }
        };
        let start = open + 2;
        let end = end_of(text, start, close);
        match close {
            "#}" => {}
            // The first word says what kind of statement it is.
            "%}" => {
                let inside = text[start..end].trim_start_matches(['-', '+']).trim_start();
                let word = inside.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inside.len());
                found.push(end - inside.len() + word..end);
            }
            _ => found.push(start..end),
        }
        at = (end + 2).min(text.len());
        if close == "%}" && text[start..end].trim_matches(['-', '+', ' ', '\n', '\t']) == "raw" {
            at = text[at..].find("endraw").map_or(text.len(), |n| at + n);
        }
        at = text.ceil_char_boundary(at);
    }
    found
}

/// Where a block closes, not counting quotes.
fn end_of(text: &str, start: usize, close: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (n, c) in text[start..].char_indices() {
        match (quote, c) {
            (Some(_), '\\') if !escaped => {
                escaped = true;
                continue;
            }
            (Some(open), c) if c == open && !escaped => quote = None,
            (None, '"' | '\'') if close != "#}" => quote = Some(c),
            (None, _) if text[start + n..].starts_with(close) => return start + n,
            _ => {}
        }
        escaped = false;
    }
    text.len()
}

pub fn tokens(text: &str, region: Range<usize>) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut at = region.start;
    while at < region.end {
        let rest = &text[at..region.end];
        let Some(first) = rest.chars().next() else { break };
        let (word, len) = if first.is_alphabetic() || first == '_' {
            let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            (Some(Word::Name(&rest[..len])), len)
        } else if first.is_ascii_digit() {
            let len = rest.find(|c: char| !c.is_alphanumeric() && c != '.').unwrap_or(rest.len());
            (Some(Word::Literal), len)
        } else if first == '"' || first == '\'' {
            let mut escaped = false;
            let close = rest[1..].find(|c: char| {
                let closes = c == first && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            });
            (Some(Word::Literal), close.map_or(rest.len(), |n| n + 2))
        } else if first.is_whitespace() {
            (None, first.len_utf8())
        } else {
            (Some(Word::Sign(first)), first.len_utf8())
        };
        if let Some(word) = word {
            found.push(Token { word, at });
        }
        at += len;
    }
    found
}
