//! Argument types that several kinds share: one or many words, and file modes as people write them.
//!
//! They keep what was written. A mode is checked when it is read and applied to the mode a file has only when that
//! is known, because `u+x` means nothing without it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// A word or a list of words, as in `name: drbd-utils` and `name: [drbd-utils, drbdtop]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OneOrMany(pub Vec<String>);

impl OneOrMany {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Ansible's reading of a list of words: commas separate, too (`name: a,b`).
    pub fn words(&self) -> Vec<&str> {
        self.iter().flat_map(|item| item.split(',')).map(str::trim).filter(|word| !word.is_empty()).collect()
    }
}

impl<S: Into<String>> FromIterator<S> for OneOrMany {
    fn from_iter<I: IntoIterator<Item = S>>(items: I) -> Self {
        Self(items.into_iter().map(Into::into).collect())
    }
}

impl Serialize for OneOrMany {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![text.to_owned()]))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<OneOrMany, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<OneOrMany, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<OneOrMany, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_unit<E: Error>(self) -> Result<OneOrMany, E> {
                Ok(OneOrMany::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMany, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element::<String>()? {
                    all.push(item);
                }
                Ok(OneOrMany(all))
            }
        }
        deserializer.deserialize_any(Words)
    }
}

impl JsonSchema for OneOrMany {
    fn schema_name() -> Cow<'static, str> {
        "OneOrMany".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

/// Permission bits as written: octal (`0644`, `"644"`) or symbolic (`u=rw,go=r`, `u+x`, `a-w`, `g=u`, `o=`, `a+X`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMode {
    text: String,
    parsed: Parsed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Parsed {
    Octal(u32),
    Symbolic(Vec<Clause>),
    /// `preserve`: the mode of the source file.
    Preserve,
}

/// One `who op permissions` of a symbolic mode.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Clause {
    /// Bit 2 user, bit 1 group, bit 0 other.
    who: u32,
    op: char,
    perms: Vec<char>,
}

impl FileMode {
    /// Reads a mode; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let parsed = if trimmed == "preserve" {
            Parsed::Preserve
        } else if trimmed.starts_with(|c: char| c.is_ascii_digit()) {
            let digits = trimmed.strip_prefix("0o").unwrap_or(trimmed);
            match u32::from_str_radix(digits, 8) {
                Ok(bits) if bits <= 0o7777 => Parsed::Octal(bits),
                _ => return Err(format!("`{text}` is not an octal file mode between 0000 and 7777")),
            }
        } else {
            Parsed::Symbolic(symbolic(trimmed).ok_or_else(|| {
                format!("`{text}` is not a file mode: write octal as 0644 or symbolic as u=rw,g=r,o=r")
            })?)
        };
        Ok(Self { text: trimmed.to_owned(), parsed })
    }

    /// A fixed octal mode.
    pub fn octal(bits: u32) -> Self {
        Self { text: format!("{bits:04o}"), parsed: Parsed::Octal(bits & 0o7777) }
    }

    pub fn is_preserve(&self) -> bool {
        self.parsed == Parsed::Preserve
    }

    pub fn is_symbolic(&self) -> bool {
        matches!(self.parsed, Parsed::Symbolic(_))
    }

    /// The bits that a file of mode `current` shall have. `X` gives execution to directories and to files that
    /// somebody may execute already. `preserve` keeps `current`.
    pub fn apply(&self, current: u32, directory: bool) -> u32 {
        match &self.parsed {
            Parsed::Octal(bits) => *bits,
            Parsed::Preserve => current,
            Parsed::Symbolic(clauses) => clauses.iter().fold(current, |mode, c| c.apply(mode, directory)),
        }
    }
}

impl Clause {
    fn apply(&self, mode: u32, directory: bool) -> u32 {
        let mut bits = 0;
        for class in 0..3 {
            if self.who & (1 << class) == 0 {
                continue;
            }
            let shift = class * 3;
            for perm in &self.perms {
                bits |= match perm {
                    'r' => 4 << shift,
                    'w' => 2 << shift,
                    'x' => 1 << shift,
                    'X' if directory || mode & 0o111 != 0 => 1 << shift,
                    's' if class == 2 => 0o4000,
                    's' if class == 1 => 0o2000,
                    't' => 0o1000,
                    'u' => ((mode >> 6) & 7) << shift,
                    'g' => ((mode >> 3) & 7) << shift,
                    'o' => (mode & 7) << shift,
                    _ => 0,
                };
            }
        }
        match self.op {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => {
                let mut cleared = (0..3).filter(|c| self.who & (1 << c) != 0).fold(0, |m, c| m | (7 << (c * 3)));
                if self.who & 0b100 != 0 {
                    cleared |= 0o4000;
                }
                // As chmod: `=` keeps set-group-ID of a directory unless it is named.
                if self.who & 0b010 != 0 && !directory {
                    cleared |= 0o2000;
                }
                if self.who == 0b111 {
                    cleared |= 0o1000;
                }
                (mode & !cleared) | bits
            }
        }
    }
}

fn symbolic(text: &str) -> Option<Vec<Clause>> {
    let mut clauses = Vec::new();
    for part in text.split(',') {
        let at = part.find(['+', '-', '='])?;
        let who = match &part[..at] {
            "" => 0b111,
            letters => letters.chars().try_fold(0, |who, letter| match letter {
                'u' => Some(who | 0b100),
                'g' => Some(who | 0b010),
                'o' => Some(who | 0b001),
                'a' => Some(0b111),
                _ => None,
            })?,
        };
        let mut op = part[at..].chars().next()?;
        let mut perms = Vec::new();
        for letter in part[at + 1..].chars() {
            match letter {
                '+' | '-' | '=' => {
                    clauses.push(Clause { who, op, perms: std::mem::take(&mut perms) });
                    op = letter;
                }
                'r' | 'w' | 'x' | 'X' | 's' | 't' | 'u' | 'g' | 'o' => perms.push(letter),
                _ => return None,
            }
        }
        clauses.push(Clause { who, op, perms });
    }
    Some(clauses)
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for FileMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Mode;
        impl Visitor<'_> for Mode {
            type Value = FileMode;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a file mode such as 0644 or u=rw,g=r,o=r")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<FileMode, E> {
                FileMode::parse(text).map_err(E::custom)
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<FileMode, E> {
                // A format that has only numbers (JSON): the digits are the mode, as a person reads them.
                self.visit_str(&number.to_string())
            }
        }
        // As text: `0644` must arrive as it stands, not as the number 644 or 420.
        deserializer.deserialize_str(Mode)
    }
}

impl JsonSchema for FileMode {
    fn schema_name() -> Cow<'static, str> {
        "FileMode".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"] })
    }
}

/// Splits a command line into words as a POSIX shell would, without expanding anything: quotes and backslashes
/// are honoured, `$`, `*` and `|` are ordinary characters.
pub fn split_words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("a single quote is not closed".into()),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                            Some('\n') => {}
                            Some(c) => word.extend(['\\', c]),
                            None => return Err("a double quote is not closed".into()),
                        },
                        Some(c) => word.push(c),
                        None => return Err("a double quote is not closed".into()),
                    }
                }
            }
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err("a backslash stands at the end".into()),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(text: &str, current: u32, directory: bool) -> String {
        format!("{:04o}", FileMode::parse(text).unwrap().apply(current, directory))
    }

    #[test]
    fn modes_mean_what_chmod_means() {
        for (text, current, directory, wanted) in [
            ("0644", 0, false, "0644"),
            ("644", 0, false, "0644"),
            ("0o755", 0, false, "0755"),
            ("4755", 0, false, "4755"),
            ("u=rw,g=r,o=r", 0o777, false, "0644"),
            ("u=rw,go=", 0o644, false, "0600"),
            ("u+x", 0o644, false, "0744"),
            ("+x", 0o644, false, "0755"),
            ("a-w", 0o666, false, "0444"),
            ("a+X", 0o644, false, "0644"),
            ("a+X", 0o744, false, "0755"),
            ("a+X", 0o644, true, "0755"),
            ("g=u", 0o640, false, "0660"),
            ("u+s,g+s,+t", 0o755, false, "7755"),
            ("u=rwx", 0o4644, false, "0744"),
            ("g=rx", 0o2770, true, "2750"),
            ("u+r-w", 0o200, false, "0400"),
            ("preserve", 0o640, false, "0640"),
        ] {
            assert_eq!(applied(text, current, directory), wanted, "{text} on {current:04o}");
        }
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for text in ["", "0888", "10000", "rw", "u=q", "z+x", "-1"] {
            assert!(FileMode::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mode_and_words_survive_the_wire_as_written() {
        let mode: FileMode = serde_json::from_str("\"0644\"").unwrap();
        assert_eq!(serde_json::to_string(&mode).unwrap(), "\"0644\"");
        let one: OneOrMany = serde_json::from_str("\"a,b\"").unwrap();
        assert_eq!(one.words(), ["a", "b"]);
        assert_eq!(serde_json::to_string(&one).unwrap(), "[\"a,b\"]");
        assert_eq!(serde_json::from_str::<OneOrMany>("[\"a\"]").unwrap().0, ["a"]);
        assert!(serde_json::from_str::<OneOrMany>("{}").is_err());
    }

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        assert_eq!(split_words("a  b\tc").unwrap(), ["a", "b", "c"]);
        assert_eq!(
            split_words(r#"echo "a \"b\" $x" 'c d' e\ f "" g'h'i"#).unwrap(),
            ["echo", "a \"b\" $x", "c d", "e f", "", "ghi"]
        );
        for open in ["'a", "\"a", "a\\"] {
            assert!(split_words(open).is_err(), "{open}");
        }
        assert!(split_words(" \n ").unwrap().is_empty());
    }
}
