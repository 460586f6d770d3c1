//! Words and values of INI inventories, which are Python's: `shlex` splits the line, `ast.literal_eval` reads values.

use serde_json::{Map, Number, Value as Json};

/// A word of a host line and the bytes it stands at.
#[derive(Debug, PartialEq)]
pub struct Word {
    pub text: String,
    pub at: std::ops::Range<usize>,
}

/// Splits as a POSIX shell does; `#` begins a comment, also inside a word.
pub fn split(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut word: Option<(String, usize)> = None;
    let mut letters = line.char_indices();
    let mut end = line.len();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '#' => {
                end = at;
                break;
            }
            c if c.is_ascii_whitespace() => {
                if let Some((text, from)) = word.take() {
                    words.push(Word { text, at: from..at });
                }
            }
            quote @ ('\'' | '"') => {
                let (text, _) = word.get_or_insert((String::new(), at));
                loop {
                    match letters.next().map(|(_, c)| c) {
                        None => return Err(format!("a {quote} is not closed")),
                        Some(c) if c == quote => break,
                        Some('\\') if quote == '"' => match letters.next().map(|(_, c)| c) {
                            Some(c @ ('"' | '\\')) => text.push(c),
                            Some(c) => text.extend(['\\', c]),
                            None => return Err(format!("a {quote} is not closed")),
                        },
                        Some(c) => text.push(c),
                    }
                }
            }
            '\\' => match letters.next() {
                Some((_, c)) => word.get_or_insert((String::new(), at)).0.push(c),
                None => return Err("the line ends with a backslash".to_owned()),
            },
            c => word.get_or_insert((String::new(), at)).0.push(c),
        }
    }
    if let Some((text, from)) = word {
        words.push(Word { text, at: from..end });
    }
    Ok(words)
}

/// A Python literal as the value it means; everything else is text as written.
pub fn literal(text: &str) -> Json {
    let mut reader = Reader { rest: text.trim_start_matches([' ', '\t']), depth: 0 };
    match reader.value() {
        Some(value) if reader.skip().is_empty() => value,
        _ => Json::String(text.to_owned()),
    }
}

struct Reader<'t> {
    rest: &'t str,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn skip(&mut self) -> &'t str {
        self.rest = self.rest.trim_start();
        self.rest
    }

    fn take(&mut self, word: &str) -> bool {
        match self.skip().strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self) -> Option<Json> {
        // Deeper than anybody writes; a hostile file must not use up the stack.
        if self.depth > 50 {
            return None;
        }
        self.depth += 1;
        let value = self.inner();
        self.depth -= 1;
        value
    }

    fn inner(&mut self) -> Option<Json> {
        match self.skip().chars().next()? {
            '[' => self.list('[', ']').map(Json::Array),
            '(' => self.tuple(),
            '{' => self.braces(),
            '\'' | '"' => self.text(),
            '-' | '+' | '.' | '0'..='9' => self.number(),
            _ => {
                for (word, value) in [("True", Json::Bool(true)), ("False", Json::Bool(false)), ("None", Json::Null)] {
                    if self.word() == word {
                        self.rest = &self.rest[word.len()..];
                        return Some(value);
                    }
                }
                self.text()
            }
        }
    }

    fn word(&self) -> &'t str {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        &self.rest[..end]
    }

    fn list(&mut self, open: char, close: char) -> Option<Vec<Json>> {
        self.rest = self.rest.strip_prefix(open)?;
        let mut items = Vec::new();
        loop {
            if let Some(rest) = self.skip().strip_prefix(close) {
                self.rest = rest;
                return Some(items);
            }
            items.push(self.value()?);
            if !self.take(",") && !self.skip().starts_with(close) {
                return None;
            }
        }
    }

    /// `(1)` is 1, `(1,)` and `(1, 2)` are lists.
    fn tuple(&mut self) -> Option<Json> {
        let before = self.rest;
        let items = self.list('(', ')')?;
        let written = &before[..before.len() - self.rest.len()];
        let single = items.len() == 1 && !written.trim_end_matches(')').trim_end().ends_with(',');
        if single { items.into_iter().next() } else { Some(Json::Array(items)) }
    }

    /// A mapping, or a set, which becomes a list.
    fn braces(&mut self) -> Option<Json> {
        self.rest = self.rest.strip_prefix('{')?;
        let (mut map, mut set) = (Map::new(), Vec::new());
        loop {
            if self.take("}") {
                return Some(if set.is_empty() { Json::Object(map) } else { Json::Array(set) });
            }
            let key = self.value()?;
            if self.take(":") {
                let key = match key {
                    Json::String(text) => text,
                    Json::Array(_) | Json::Object(_) => return None,
                    other => other.to_string(),
                };
                let value = self.value()?;
                map.insert(key, value);
            } else if !set.contains(&key) {
                set.push(key);
            }
            if !self.take(",") && !self.skip().starts_with('}') {
                return None;
            }
            if !map.is_empty() && !set.is_empty() {
                return None;
            }
        }
    }

    /// One or more texts that stand side by side, in Python's quotes and prefixes.
    fn text(&mut self) -> Option<Json> {
        let mut text = String::new();
        let mut any = false;
        loop {
            let rest = self.skip();
            let end = rest.find(['\'', '"']).filter(|end| *end <= 2);
            let prefix = end.map(|end| rest[..end].to_lowercase());
            let Some((end, prefix)) =
                end.zip(prefix).filter(|(_, p)| matches!(p.as_str(), "" | "r" | "u" | "b" | "br" | "rb"))
            else {
                return any.then_some(Json::String(text));
            };
            any = true;
            let rest = &rest[end..];
            let quote = ["'''", "\"\"\"", "'", "\""].into_iter().find(|q| rest.starts_with(q))?;
            self.quoted(&rest[quote.len()..], quote, prefix.contains('r'), &mut text)?;
        }
    }

    fn quoted(&mut self, rest: &'t str, quote: &str, raw: bool, text: &mut String) -> Option<()> {
        let mut letters = rest.char_indices();
        while let Some((at, letter)) = letters.next() {
            if rest[at..].starts_with(quote) {
                self.rest = &rest[at + quote.len()..];
                return Some(());
            }
            if letter != '\\' {
                text.push(letter);
                continue;
            }
            let (_, escaped) = letters.next()?;
            if raw {
                text.extend(['\\', escaped]);
                continue;
            }
            let digits = match escaped {
                'x' => 2,
                'u' => 4,
                'U' => 8,
                _ => 0,
            };
            if digits > 0 {
                let hex: String = letters.by_ref().take(digits).map(|(_, c)| c).collect();
                text.push(u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == digits).and_then(char::from_u32)?);
                continue;
            }
            match escaped {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                '0' => text.push('\0'),
                'a' => text.push('\x07'),
                'b' => text.push('\x08'),
                'f' => text.push('\x0c'),
                'v' => text.push('\x0b'),
                '\\' | '\'' | '"' => text.push(escaped),
                '\n' => {}
                other => text.extend(['\\', other]),
            }
        }
        None
    }

    fn number(&mut self) -> Option<Json> {
        let mut negative = false;
        loop {
            if self.take("-") {
                negative = !negative;
            } else if !self.take("+") {
                break;
            }
        }
        let rest = self.skip();
        let radix = match rest.get(..2).map(str::to_lowercase).as_deref() {
            Some("0x") => 16,
            Some("0o") => 8,
            Some("0b") => 2,
            _ => 10,
        };
        if radix != 10 {
            let end = rest[2..].find(|c: char| !c.is_alphanumeric() && c != '_').map_or(rest.len(), |n| n + 2);
            let number = i64::from_str_radix(&underscored(&rest[2..end], true)?, radix).ok()?;
            self.rest = &rest[end..];
            return Some(Json::from(if negative { -number } else { number }));
        }
        let mut end = 0;
        let bytes = rest.as_bytes();
        while end < bytes.len() {
            let sign_of_exponent =
                matches!(bytes[end], b'+' | b'-') && end > 0 && matches!(bytes[end - 1], b'e' | b'E');
            if !(bytes[end].is_ascii_alphanumeric() || matches!(bytes[end], b'.' | b'_') || sign_of_exponent) {
                break;
            }
            end += 1;
        }
        let word = &rest[..end];
        self.rest = &rest[end..];
        if word.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
            let digits = underscored(word, false)?;
            // `0644` is no number in Python, and stays text.
            if digits.len() > 1 && digits.starts_with('0') && digits.bytes().any(|b| b != b'0') {
                return None;
            }
            let number: i64 = digits.parse().ok()?;
            return Some(Json::from(if negative { -number } else { number }));
        }
        if !word.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-' | b'_')) {
            return None;
        }
        let number: f64 = underscored(word, false)?.parse().ok()?;
        Number::from_f64(if negative { -number } else { number }).map(Json::Number)
    }
}

/// Digits without Python's `_` between them; `None` if one stands elsewhere.
fn underscored(digits: &str, may_begin: bool) -> Option<String> {
    let wrong =
        digits.is_empty() || digits.ends_with('_') || digits.contains("__") || (!may_begin && digits.starts_with('_'));
    (!wrong).then(|| digits.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_are_split_as_a_shell_does() {
        let words = |line| split(line).map(|w| w.into_iter().map(|w| w.text).collect::<Vec<_>>());
        assert_eq!(words("a  b='x y' c=\"d\\\"e\" # rest").unwrap(), ["a", "b=x y", "c=d\"e"]);
        assert_eq!(words(r"a b=x\ y#c").unwrap(), ["a", "b=x y"]);
        assert!(words("a b='x").is_err());
        assert_eq!(split("ab cd").unwrap()[1].at, 3..5);
    }

    #[test]
    fn values_are_what_python_makes_of_them() {
        let cases = [
            ("7789", json!(7789)),
            ("0644", json!("0644")),
            ("1.10", json!(1.1)),
            ("1_000", json!(1000)),
            ("0x1f", json!(31)),
            ("-3", json!(-3)),
            ("True", json!(true)),
            ("true", json!("true")),
            ("yes", json!("yes")),
            ("None", json!(null)),
            ("'quoted'", json!("quoted")),
            ("'a' \"b\"", json!("ab")),
            ("[1, 'x', True]", json!([1, "x", true])),
            ("(1, 2)", json!([1, 2])),
            ("{'a': 1, 'b': [2]}", json!({"a": 1, "b": [2]})),
            ("{{ port }}", json!("{{ port }}")),
            ("-o ProxyCommand=\"x\"", json!("-o ProxyCommand=\"x\"")),
            ("192.0.2.1", json!("192.0.2.1")),
            ("a b", json!("a b")),
            ("", json!("")),
            ("1e3", json!(1000.0)),
            ("00", json!(0)),
            ("3pve", json!("3pve")),
        ];
        for (text, value) in cases {
            assert_eq!(literal(text), value, "{text}");
        }
        assert_eq!(literal(&"[".repeat(5000)), json!("[".repeat(5000)));
    }
}
