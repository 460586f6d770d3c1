//! `tls` in the text of a `cluster.yml`: its value replaced, or the key put after `endpoints`.
//!
//! Everything else of the text stays as it is written, comments and line ends included. What comes out is read by the
//! real reader, and an edit that would say anything but what was meant is refused.

use super::cluster::{self, Tls};
use crate::diagnostic::Sources;
use crate::yaml::{self, Node, Value};
use std::path::Path;

/// A fingerprint to be written, and the comment beside it: whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    pub fingerprint: String,
    pub note: String,
}

/// Whom to believe from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewTls {
    CaFile(String),
    Fingerprints(Vec<Pin>),
}

impl NewTls {
    fn means(&self) -> Tls {
        match self {
            Self::CaFile(path) => Tls::CaFile(path.into()),
            Self::Fingerprints(pins) => Tls::Fingerprints(pins.iter().map(|pin| pin.fingerprint.clone()).collect()),
        }
    }

    /// On one line, where a mapping in braces may stand.
    fn in_braces(&self) -> String {
        match self {
            Self::CaFile(path) => format!("{{ ca_file: {} }}", word(path)),
            Self::Fingerprints(pins) => {
                let pins: Vec<String> = pins.iter().map(|pin| format!("'{}'", pin.fingerprint)).collect();
                format!("{{ fingerprints: [{}] }}", pins.join(", "))
            }
        }
    }
}

/// The text with `tls` as wanted. The error says why it cannot be edited.
pub fn with_tls(text: &str, path: &Path, wanted: &NewTls) -> Result<String, String> {
    let before = read(text, path)?;
    let edited = Edit { text, root: &before, end: if text.contains("\r\n") { "\r\n" } else { "\n" } }.with(wanted)?;
    let odd = |why: &str| {
        format!(
            "{}: it is written in a way that cannot be edited safely ({why}); put this in it yourself: tls: {}",
            path.display(),
            wanted.in_braces()
        )
    };
    let after = read(&edited, path).map_err(|_| odd("the edited text could not be read"))?;
    let cluster = cluster::read(&after, path).map_err(|_| odd("the edited text could not be read"))?;
    let same = match (&cluster.tls, &wanted.means()) {
        // In whatever order: they are a set.
        (Tls::Fingerprints(are), Tls::Fingerprints(meant)) => {
            are.len() == meant.len() && meant.iter().all(|pin| are.contains(pin))
        }
        (are, meant) => are == meant,
    };
    if !same {
        return Err(odd("its `tls` would not be what was meant"));
    }
    if others(&before) != others(&after) {
        return Err(odd("something beside `tls` would change"));
    }
    Ok(edited)
}

fn read(text: &str, path: &Path) -> Result<Node, String> {
    let mut sources = Sources::default();
    let file = sources.add(path, text);
    yaml::parse(&sources, file).map_err(|faults| sources.show(&faults, false))
}

/// What stands beside `tls`, in its order.
fn others(root: &Node) -> Vec<(String, serde_json::Value)> {
    let entries = root.entries().unwrap_or_default().iter();
    let name = |key: &Node| key.as_str().unwrap_or_default().to_owned();
    entries.filter(|(key, _)| key.as_str() != Some("tls")).map(|(key, value)| (name(key), value.to_json())).collect()
}

/// A word of YAML: quoted unless it can only be read as itself.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '.'));
    if starts && text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

struct Edit<'a> {
    text: &'a str,
    root: &'a Node,
    /// How lines end.
    end: &'static str,
}

impl Edit<'_> {
    fn with(&self, wanted: &NewTls) -> Result<String, String> {
        let entries = self.root.entries().ok_or("it is no mapping")?;
        let entry = |name: &str| entries.iter().find(|(key, _)| key.as_str() == Some(name));
        let in_braces = self.text[self.root.span.start..].starts_with('{');
        match entry("tls") {
            Some((key, value)) => {
                let colon = self.text[key.span.end..].find(':').ok_or("`tls` has no colon")? + key.span.end + 1;
                Ok(self.replace(self.column(key.span.start), colon, value, wanted, in_braces))
            }
            None => {
                let (key, value) = entry("endpoints").ok_or("it has no `endpoints`")?;
                let at = self.end_of(value);
                if in_braces {
                    return Ok(self.splice(at, at, &format!(", tls: {}", wanted.in_braces())));
                }
                let (at, indent) = (self.line_end(at), self.column(key.span.start));
                let lines = match wanted {
                    NewTls::CaFile(_) => format!("{}{indent}tls: {}", self.end, wanted.in_braces()),
                    NewTls::Fingerprints(pins) => format!("{}{indent}tls:{}", self.end, self.list(&indent, pins)),
                };
                Ok(self.splice(at, at, &lines))
            }
        }
    }

    fn replace(&self, indent: String, colon: usize, value: &Node, wanted: &NewTls, in_braces: bool) -> String {
        let empty = value.span.start == value.span.end || value.span.start < colon;
        let (start, end) = if empty { (colon, colon) } else { (value.span.start, self.end_of(value)) };
        let space = if empty { " " } else { "" };
        let same_line = !self.text[colon..start].contains('\n');
        let NewTls::Fingerprints(pins) = wanted else {
            return self.on_one_line(colon, start, end, same_line, &format!("{space}{}", wanted.in_braces()));
        };
        if in_braces {
            return self.splice(start, end, &format!("{space}{}", wanted.in_braces()));
        }
        if let Some(edited) = self.by_lines(value, pins) {
            return edited;
        }
        let list = self.list(&indent, pins);
        if same_line {
            let rest = self.text[end..self.line_end(end)].trim_start();
            let comment = if rest.is_empty() { String::new() } else { format!("  {rest}") };
            return self.splice(colon, self.line_end(end), &format!("{comment}{list}"));
        }
        // From the end of the line before, so that comments between key and value stay.
        self.splice(self.line_start(start) - self.end.len().min(start), self.line_end(end), &list)
    }

    /// Behind the key; a value that began on a later line leaves the comments in front of it where they are.
    fn on_one_line(&self, colon: usize, start: usize, end: usize, same_line: bool, value: &str) -> String {
        if same_line {
            return self.splice(start, end, value);
        }
        let kept = self.text[colon..self.line_start(start)].trim_end_matches(['\n', '\r']);
        format!("{} {value}{kept}{}", &self.text[..colon], &self.text[self.line_end(end)..])
    }

    /// A list with a line for each pin: lines go and come, the others stay, with the comments beside them.
    fn by_lines(&self, value: &Node, pins: &[Pin]) -> Option<String> {
        let [(key, list)] = value.entries()? else { return None };
        let items = list.items().filter(|items| !items.is_empty() && key.as_str() == Some("fingerprints"))?;
        let line = |item: &Node| (self.line_start(item.span.start), self.line_end(item.span.end));
        let alone = |item: &Node| {
            self.text[line(item).0..item.span.start].trim() == "-" && matches!(item.value, Value::Scalar { .. })
        };
        if !items.iter().all(alone) {
            return None;
        }
        let wanted = |item: &&Node| pins.iter().any(|pin| item.as_str() == Some(pin.fingerprint.as_str()));
        let first = &items[0];
        let before = &self.text[line(first).0..first.span.start];
        let new = pins.iter().filter(|pin| !items.iter().any(|item| item.as_str() == Some(pin.fingerprint.as_str())));
        let new: Vec<String> = new.map(|pin| format!("{before}{}", beside(pin))).collect();
        let after = items.iter().rfind(wanted).unwrap_or(items.last()?);
        let mut edited = String::new();
        let mut from = 0;
        for item in items {
            let (start, end) = line(item);
            edited.push_str(&self.text[from..start]);
            from = end;
            let mut lines: Vec<&str> = Vec::new();
            if wanted(&item) {
                lines.push(&self.text[start..end]);
            }
            if std::ptr::eq(item, after) {
                lines.extend(new.iter().map(String::as_str));
            }
            if lines.is_empty() {
                // The line goes with its end.
                from = (end + self.end.len()).min(self.text.len());
            }
            edited.push_str(&lines.join(self.end));
        }
        edited.push_str(&self.text[from..]);
        Some(edited)
    }

    /// Everything behind `tls:`.
    fn list(&self, indent: &str, pins: &[Pin]) -> String {
        let end = self.end;
        let lines: String = pins.iter().map(|pin| format!("{end}{indent}    - {}", beside(pin))).collect();
        format!("{end}{indent}  fingerprints:{lines}")
    }

    fn splice(&self, start: usize, end: usize, with: &str) -> String {
        format!("{}{with}{}", &self.text[..start], &self.text[end..])
    }

    /// Where the last letter of a value stands. Its span may go on over the comments that follow.
    fn end_of(&self, node: &Node) -> usize {
        let (start, first) = (node.span.start, self.text[node.span.start..].chars().next());
        let last = match &node.value {
            Value::Sequence(items) => items.last(),
            Value::Mapping(entries) => entries.last().map(|(_, value)| value),
            Value::Scalar { .. } => {
                return match first {
                    Some(quote @ ('"' | '\'')) => self.closed(start + 1, quote).unwrap_or(node.span.end),
                    _ => node.span.end,
                };
            }
        };
        match first {
            Some('[' | '{') => {
                let inside = last.map_or(start + 1, |last| self.end_of(last));
                self.bracket(inside).unwrap_or(node.span.end)
            }
            _ => last.map_or(node.span.end, |last| self.end_of(last)),
        }
    }

    /// Behind the quote that closes.
    fn closed(&self, from: usize, quote: char) -> Option<usize> {
        let mut letters = self.text[from..].char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            let doubled = quote == '\'' && letter == quote && letters.peek().is_some_and(|(_, next)| *next == quote);
            if doubled || (quote == '"' && letter == '\\') {
                letters.next();
            } else if letter == quote {
                return Some(from + at + 1);
            }
        }
        None
    }

    /// Behind the bracket that closes; before it stand blanks, a comma and comments alone.
    fn bracket(&self, from: usize) -> Option<usize> {
        let mut comment = false;
        for (at, letter) in self.text[from..].char_indices() {
            match letter {
                '\n' => comment = false,
                '#' => comment = true,
                ']' | '}' if !comment => return Some(from + at + 1),
                _ => {}
            }
        }
        None
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |n| n + 1)
    }

    /// Before what ends the line.
    fn line_end(&self, at: usize) -> usize {
        let end = self.text[at..].find('\n').map_or(self.text.len(), |n| at + n);
        if self.text[at..end].ends_with('\r') { end - 1 } else { end }
    }

    /// The blanks that a line begins with, up to here.
    fn column(&self, at: usize) -> String {
        self.text[self.line_start(at)..at].chars().map(|_| ' ').collect()
    }
}

fn beside(pin: &Pin) -> String {
    let note = if pin.note.is_empty() { String::new() } else { format!("  # {}", pin.note) };
    format!("'{}'{note}", pin.fingerprint)
}

#[cfg(test)]
mod tests;
