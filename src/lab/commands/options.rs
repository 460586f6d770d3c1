//! Command line options of the lab's programs, as getopt reads them.

use super::not_simulated;
use crate::host::Output;

/// What was given, in order.
#[derive(Debug, Default)]
pub struct Options {
    given: Vec<(String, String)>,
    pub rest: Vec<String>,
}

impl Options {
    /// `short`: letters, with `:` after those that take a value. `long`: names, with `=` at the end of those that
    /// take a value, `=?` where the value is optional and only after `=`.
    ///
    /// # Errors
    /// The program's output for an option that the lab does not know.
    pub fn parse(argv: &[String], short: &str, long: &[&str]) -> Result<Self, Output> {
        Self::parse_until(argv, short, long, false)
    }

    /// As [`Options::parse`], but the first operand ends the options (`sh`, `env`, `pct`).
    pub fn parse_until(argv: &[String], short: &str, long: &[&str], stop: bool) -> Result<Self, Output> {
        let mut options = Self::default();
        let mut words = argv.iter().skip(1);
        while let Some(word) = words.next() {
            if word == "--" {
                options.rest.extend(words.by_ref().cloned());
            } else if let Some(name) = word.strip_prefix("--") {
                options.long(argv, name, long, &mut words)?;
            } else if word.len() > 1 && word.starts_with('-') {
                options.short(argv, &word[1..], short, &mut words)?;
            } else {
                options.rest.push(word.clone());
                if stop {
                    options.rest.extend(words.by_ref().cloned());
                }
            }
        }
        Ok(options)
    }

    fn long<'a>(
        &mut self,
        argv: &[String],
        name: &str,
        known: &[&str],
        words: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), Output> {
        let (name, inline) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        let spec = known.iter().find(|k| k.trim_end_matches('?').trim_end_matches('=') == name);
        let Some(spec) = spec else { return Err(not_simulated(argv, &format!("the option --{name}"))) };
        let value = if spec.ends_with("=?") {
            inline.unwrap_or_default()
        } else if spec.ends_with('=') {
            match inline.or_else(|| words.next().cloned()) {
                Some(value) => value,
                None => {
                    return Err(Output::failed(1, format!("{}: option '--{name}' requires an argument\n", argv[0])));
                }
            }
        } else {
            inline.unwrap_or_default()
        };
        self.given.push((name.to_owned(), value));
        Ok(())
    }

    fn short<'a>(
        &mut self,
        argv: &[String],
        cluster: &str,
        known: &str,
        words: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), Output> {
        for (at, letter) in cluster.char_indices() {
            let Some(found) = known.find(letter).filter(|_| letter != ':') else {
                return Err(not_simulated(argv, &format!("the option -{letter}")));
            };
            if known[found + 1..].starts_with(':') {
                let inline = &cluster[at + letter.len_utf8()..];
                let value = if inline.is_empty() { words.next().cloned() } else { Some(inline.to_owned()) };
                let Some(value) = value else {
                    return Err(Output::failed(1, format!("{}: option requires an argument -- '{letter}'\n", argv[0])));
                };
                self.given.push((letter.to_string(), value));
                return Ok(());
            }
            self.given.push((letter.to_string(), String::new()));
        }
        Ok(())
    }

    /// Whether any of the names was given (`&["n", "noheadings"]`).
    pub fn has(&self, names: &[&str]) -> bool {
        self.given.iter().any(|(n, _)| names.contains(&n.as_str()))
    }

    /// The last value of any of the names.
    pub fn value(&self, names: &[&str]) -> Option<&str> {
        self.given.iter().rev().find(|(n, _)| names.contains(&n.as_str())).map(|(_, v)| v.as_str())
    }

    pub fn values(&self, names: &[&str]) -> Vec<&str> {
        self.given.iter().filter(|(n, _)| names.contains(&n.as_str())).map(|(_, v)| v.as_str()).collect()
    }

    pub fn count(&self, name: &str) -> usize {
        self.given.iter().filter(|(n, _)| n == name).count()
    }
}
