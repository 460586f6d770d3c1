//! `.res` text ↔ statements: words that end in `;` or in a `{ block }`, each with its line and column.
//!
//! Knows no option names, so nothing of a file is lost; what the words mean is read by [`super::resource`].

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Where a word stands, both counted from 1; columns in characters. 0 = not read from a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// Why a text is no DRBD configuration, in the way of `drbdadm`: what was expected and what stands there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{}:{}: {message}", place.line, place.column)]
pub struct Fault {
    pub place: Place,
    pub message: String,
}

impl Fault {
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    pub text: String,
    /// Written in double quotes; `text` holds what stands between them, unescaped.
    pub quoted: bool,
    pub place: Place,
}

impl Word {
    /// A word to be written; quotes are added where the grammar needs them.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), quoted: false, place: Place::default() }
    }

    /// A word that is written in quotes even where it could stand bare.
    pub fn quoted(text: impl Into<String>) -> Self {
        Self { quoted: true, ..Self::new(text) }
    }
}

/// `words ;` or `words { body }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    pub words: Vec<Word>,
    pub body: Option<Vec<Statement>>,
}

impl Statement {
    pub fn new<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Self {
        Self { words: words.into_iter().map(Word::new).collect(), body: None }
    }

    pub fn block<S: Into<String>>(words: impl IntoIterator<Item = S>, body: Vec<Statement>) -> Self {
        Self { body: Some(body), ..Self::new(words) }
    }

    pub fn keyword(&self) -> &str {
        self.words.first().map_or("", |w| &w.text)
    }

    /// The text of the word at `index`, 0 being the keyword.
    pub fn word(&self, index: usize) -> Option<&str> {
        self.words.get(index).map(|w| w.text.as_str())
    }

    pub fn place(&self) -> Place {
        self.words.first().map_or_else(Place::default, |w| w.place)
    }
}

/// Longest string the tools take between quotes.
pub const MAX_QUOTED_CHARS: usize = 255;
/// Longest bare word.
pub const MAX_BARE_CHARS: usize = 128;

/// No configuration nests deeper than resource → connection → volume → disk; this bounds hostile input.
const MAX_DEPTH: usize = 16;

/// Characters that drbdadm's lexer takes in a bare string.
pub fn is_bare_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-')
}

pub fn is_bare(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_BARE_CHARS && text.chars().all(is_bare_char)
}

/// Characters that stand bare in addresses and indexes (`192.168.2.11:7000`, `[fe80::1]:7000`, `[0]`) and nowhere else.
fn is_address_char(c: char) -> bool {
    is_bare_char(c) || matches!(c, ':' | '[' | ']' | '%')
}

/// Reads a whole file.
pub fn parse(text: &str) -> Result<Vec<Statement>, Fault> {
    let mut reader = Reader { rest: text.chars().peekable(), place: Place { line: 1, column: 1 } };
    reader.statements(0)
}

struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    place: Place,
}

enum Token {
    Word(Word),
    Semicolon(Place),
    Open(Place),
    Close(Place),
    End(Place),
}

impl Token {
    fn place(&self) -> Place {
        match self {
            Token::Word(word) => word.place,
            Token::Semicolon(p) | Token::Open(p) | Token::Close(p) | Token::End(p) => *p,
        }
    }

    fn show(&self) -> String {
        match self {
            Token::Word(word) => format!("'{}'", word.text),
            Token::Semicolon(_) => "';'".into(),
            Token::Open(_) => "'{'".into(),
            Token::Close(_) => "'}'".into(),
            Token::End(_) => "the end of the file".into(),
        }
    }
}

impl Reader<'_> {
    fn next_char(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.place = Place { line: self.place.line + 1, column: 1 };
        } else {
            self.place.column += 1;
        }
        Some(c)
    }

    fn token(&mut self) -> Result<Token, Fault> {
        loop {
            let place = self.place;
            let Some(&c) = self.rest.peek() else { return Ok(Token::End(place)) };
            match c {
                '#' => while self.next_char().is_some_and(|c| c != '\n') {},
                c if c.is_ascii_whitespace() => drop(self.next_char()),
                ';' | '{' | '}' => {
                    self.next_char();
                    return Ok(match c {
                        ';' => Token::Semicolon(place),
                        '{' => Token::Open(place),
                        _ => Token::Close(place),
                    });
                }
                '"' => return self.quoted(place).map(Token::Word),
                c if is_address_char(c) => {
                    let mut text = String::new();
                    while let Some(&c) = self.rest.peek()
                        && is_address_char(c)
                        // `/dev/sdb[0]` is a path and an index.
                        && (c != '[' || text.is_empty())
                    {
                        text.push(c);
                        self.next_char();
                    }
                    if text.len() > MAX_BARE_CHARS {
                        return Err(Fault::new(place, format!("a word of more than {MAX_BARE_CHARS} characters")));
                    }
                    return Ok(Token::Word(Word { text, quoted: false, place }));
                }
                other => {
                    let message = format!("unexpected {other:?}; a string with such characters needs \"quotes\"");
                    return Err(Fault::new(place, message));
                }
            }
        }
    }

    fn quoted(&mut self, place: Place) -> Result<Word, Fault> {
        self.next_char();
        let mut text = String::new();
        loop {
            match self.next_char() {
                None | Some('\n') => return Err(Fault::new(place, "a string without its closing quote")),
                Some('"') => break,
                Some('\\') => match self.next_char() {
                    None => return Err(Fault::new(place, "a string without its closing quote")),
                    Some(c) => text.push(c),
                },
                Some(c) => text.push(c),
            }
        }
        if text.chars().count() > MAX_QUOTED_CHARS {
            return Err(Fault::new(place, format!("a string of more than {MAX_QUOTED_CHARS} characters")));
        }
        Ok(Word { text, quoted: true, place })
    }

    fn statements(&mut self, depth: usize) -> Result<Vec<Statement>, Fault> {
        let mut all = Vec::new();
        let mut words: Vec<Word> = Vec::new();
        loop {
            let token = self.token()?;
            match token {
                Token::Word(word) => words.push(word),
                Token::Semicolon(place) if words.is_empty() => {
                    return Err(Fault::new(place, "a keyword expected, but got ';'"));
                }
                Token::Semicolon(_) => all.push(Statement { words: std::mem::take(&mut words), body: None }),
                Token::Open(place) if words.is_empty() => {
                    return Err(Fault::new(place, "a keyword expected, but got '{'"));
                }
                Token::Open(place) => {
                    if depth >= MAX_DEPTH {
                        return Err(Fault::new(place, format!("blocks nested deeper than {MAX_DEPTH}")));
                    }
                    let body = self.statements(depth + 1)?;
                    all.push(Statement { words: std::mem::take(&mut words), body: Some(body) });
                }
                Token::Close(_) if depth > 0 && words.is_empty() => return Ok(all),
                Token::End(_) if depth == 0 && words.is_empty() => return Ok(all),
                // drbdadm takes a file without its last `}`; a file cut short by a crash looks just like that.
                Token::End(place) if words.is_empty() => {
                    return Err(Fault::new(place, "'}' expected, but the file ends"));
                }
                Token::Close(_) | Token::End(_) => {
                    let expected = if words.is_empty() { "a keyword" } else { "';'" };
                    return Err(Fault::new(token.place(), format!("{expected} expected, but got {}", token.show())));
                }
            }
        }
    }
}

/// A word as it must stand in a file.
pub fn quote(text: &str) -> String {
    if is_bare(text) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// Statements as text, four spaces a level. Reading it back gives the same words.
pub fn render(statements: &[Statement]) -> String {
    let mut out = String::new();
    render_into(&mut out, statements, 0);
    out
}

fn render_into(out: &mut String, statements: &[Statement], depth: usize) {
    for statement in statements {
        let address =
            matches!(statement.keyword(), "address" | "floating" | "host" | "meta-disk" | "flexible-meta-disk");
        let words: Vec<String> = statement
            .words
            .iter()
            .map(|word| match word {
                // An address would be refused in quotes, any other string with a colon without.
                w if !w.quoted && address && w.text.chars().all(is_address_char) && !w.text.starts_with('/') => {
                    w.text.clone()
                }
                w if w.quoted && is_bare(&w.text) => format!("\"{}\"", w.text),
                w => quote(&w.text),
            })
            .collect();
        let _ = write!(out, "{:indent$}{}", "", words.join(" "), indent = depth * 4);
        match &statement.body {
            None => out.push_str(";\n"),
            Some(body) => {
                out.push_str(" {\n");
                render_into(out, body, depth + 1);
                let _ = writeln!(out, "{:indent$}}}", "", indent = depth * 4);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_blocks_comments_and_places() {
        let text = "# top\nresource nfs1 { # here\n  device /dev/drbd100;\n  on pve1 { address ipv4 192.168.2.11:7000; disk \"/dev/disk/by-id/a:b \\\"c\\\"\"; }\n}\n";
        let all = parse(text).unwrap();
        assert_eq!(all.len(), 1);
        let body = all[0].body.as_ref().unwrap();
        assert_eq!(body[0].words[1].text, "/dev/drbd100");
        assert_eq!(body[0].words[1].place, Place { line: 3, column: 10 });
        let on = body[1].body.as_ref().unwrap();
        assert_eq!(on[0].word(2), Some("192.168.2.11:7000"));
        assert_eq!(on[1].word(1), Some("/dev/disk/by-id/a:b \"c\""));
    }

    #[test]
    fn what_is_no_configuration_says_where() {
        for (text, line, column, says) in [
            ("resource r {\n  protocol C\n}\n", 3, 1, "';' expected, but got '}'"),
            ("resource r {\n", 2, 1, "'}' expected, but the file ends"),
            ("resource r { }\n}\n", 2, 1, "a keyword expected, but got '}'"),
            ("resource \"r\n", 1, 10, "closing quote"),
            ("resource r { size 2+3; }", 1, 20, "quotes"),
            ("\u{feff}resource r { }", 1, 1, "quotes"),
            (";", 1, 1, "a keyword expected"),
            ("resource r", 1, 11, "';' expected, but got the end of the file"),
        ] {
            let fault = parse(text).unwrap_err();
            assert_eq!((fault.place.line, fault.place.column), (line, column), "{text:?}: {fault}");
            assert!(fault.message.contains(says), "{text:?}: {fault}");
        }
        assert!(parse(&"a {".repeat(100_000)).is_err());
    }

    #[test]
    fn windows_line_ends_are_taken_as_drbdadm_takes_them() {
        assert_eq!(parse("resource r {\r\n protocol C;\r\n}\r\n").unwrap()[0].body.as_ref().unwrap().len(), 1);
    }

    fn without_places(statements: &[Statement]) -> Vec<Statement> {
        let strip = |w: &Word| Word { place: Place::default(), quoted: false, text: w.text.clone() };
        statements
            .iter()
            .map(|s| Statement {
                words: s.words.iter().map(strip).collect(),
                body: s.body.as_deref().map(without_places),
            })
            .collect()
    }

    fn any_statement() -> impl Strategy<Value = Statement> {
        let word = prop_oneof!["[a-z0-9/._-]{1,20}", "[ -~]{1,40}"].prop_map(Word::new);
        let words = prop::collection::vec(word, 1..4);
        let leaf = words.clone().prop_map(|words| Statement { words, body: None });
        leaf.prop_recursive(4, 24, 4, move |inner| {
            (words.clone(), prop::collection::vec(inner, 0..4))
                .prop_map(|(words, body)| Statement { words, body: Some(body) })
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(all in prop::collection::vec(any_statement(), 0..4)) {
            let text = render(&all);
            prop_assert_eq!(without_places(&parse(&text).unwrap()), without_places(&all));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".*") {
            let _ = parse(&text);
        }

        #[test]
        fn no_near_miss_makes_the_reader_panic(text in "[a-z0-9:;{}\"\\\\# \n/\\[\\].-]{0,200}") {
            let _ = parse(&text);
        }
    }
}
