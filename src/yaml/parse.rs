//! Events of the YAML parser → one tree. Bounds size, depth and what aliases may multiply.
//!
//! A syntax fault ends the reading; faults that leave the tree whole (a key written twice) are gathered beside it.

use super::{Node, Value};
use crate::diagnostic::{Fault, Sources, Span};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span as Marks, StrInput, Tag};
use std::borrow::Cow;
use std::collections::HashMap;

/// Levels of nesting. The deepest playbooks seen have about 15.
const MAX_DEPTH: usize = 64;
/// Values in a file, copies made by aliases included; some 100 bytes of memory each.
const MAX_NODES: usize = 1_000_000;
/// Values that aliases may add by repeating what anchors hold, and bytes of text in them.
const MAX_COPIED_NODES: usize = 100_000;
const MAX_COPIED_BYTES: usize = 16 * 1024 * 1024;

/// The tree as far as it could be built, and every fault found on the way.
pub fn parse_all(sources: &Sources, file: u32) -> (Option<Node>, Vec<Fault>) {
    let text = sources.text(file).clone();
    let skipped = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut reader = Reader {
        parser: Parser::new_from_str(&text[skipped..]),
        places: Places::new(&text, skipped, file),
        text: &text,
        anchors: HashMap::new(),
        faults: Vec::new(),
        nodes: 0,
        copied_nodes: 0,
        copied_bytes: 0,
    };
    match reader.document() {
        Ok(node) => (Some(node), reader.faults),
        Err(fault) => {
            reader.faults.push(*fault);
            (None, reader.faults)
        }
    }
}

/// Positions counted in characters → bytes of the file.
struct Places {
    file: u32,
    skipped: usize,
    len: usize,
    /// The byte at every `EVERY`th character; empty when all characters are one byte long.
    checkpoints: Vec<u32>,
}

const EVERY: usize = 64;

impl Places {
    fn new(text: &str, skipped: usize, file: u32) -> Self {
        let body = &text[skipped..];
        let checkpoints = if body.is_ascii() {
            Vec::new()
        } else {
            body.char_indices().step_by(EVERY).map(|(byte, _)| byte as u32).collect()
        };
        Self { file, skipped, len: text.len(), checkpoints }
    }

    fn byte(&self, text: &str, mark: &Marker) -> usize {
        let index = mark.index();
        if self.checkpoints.is_empty() {
            return (index + self.skipped).min(self.len);
        }
        let Some(start) = self.checkpoints.get(index / EVERY) else { return self.len };
        let rest = &text[self.skipped + *start as usize..];
        let within = rest.char_indices().nth(index % EVERY).map_or(rest.len(), |(byte, _)| byte);
        self.skipped + *start as usize + within
    }

    fn span(&self, text: &str, marks: &Marks) -> Span {
        let start = self.byte(text, &marks.start);
        Span { file: self.file, start, end: self.byte(text, &marks.end).max(start) }
    }
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    places: Places,
    text: &'t str,
    /// What an anchor holds; `None` while it is being read.
    anchors: HashMap<usize, Option<Node>>,
    faults: Vec<Fault>,
    nodes: usize,
    copied_nodes: usize,
    copied_bytes: usize,
}

/// Boxed: faults are rare and large.
type Read<T> = Result<T, Box<Fault>>;

impl<'t> Reader<'t> {
    fn next(&mut self) -> Read<(Event<'t>, Span)> {
        match self.parser.next_event() {
            Some(Ok((event, marks))) => {
                let span = self.places.span(self.text, &marks);
                Ok((event, span))
            }
            Some(Err(error)) => {
                let fault = self.syntax(&error);
                // The same braces may have been told already, from inside.
                self.faults.retain(|told| told.message != fault.message || told.span != fault.span);
                Err(Box::new(fault))
            }
            None => Ok((Event::StreamEnd, self.end())),
        }
    }

    fn end(&self) -> Span {
        Span { file: self.places.file, start: self.text.len(), end: self.text.len() }
    }

    fn document(&mut self) -> Read<Node> {
        let node = loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
                (Event::StreamEnd, span) => {
                    return Err(Box::new(Fault::new(Span { start: 0, end: 0, ..span }, "the file is empty")));
                }
                (event, span) => break self.node(event, span, 0)?,
            }
        };
        if node.is_null() {
            return Err(Box::new(Fault::new(Span { start: 0, end: 0, ..node.span }, "the file is empty")));
        }
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(node),
                (Event::DocumentStart(_), span) => {
                    let fault = Fault::new(span, "a second document begins here")
                        .help("a file holds one document; put the rest into a file of its own");
                    // What follows is another file's worth; nothing in it can be told to be a fault of this one.
                    self.faults.push(fault);
                    return Ok(node);
                }
                _ => {}
            }
        }
    }

    fn count(&mut self, nodes: usize, span: Span) -> Read<()> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(Box::new(Fault::new(span, format!("more than {MAX_NODES} values in one file"))));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Read<Node> {
        self.count(1, span)?;
        if depth > MAX_DEPTH {
            return Err(Box::new(Fault::new(span, format!("nested more than {MAX_DEPTH} levels deep"))));
        }
        match event {
            Event::Alias(id) => self.alias(id, span),
            Event::Scalar(text, style, anchor, tag) => {
                let mut plain = style == ScalarStyle::Plain;
                if let Some(tag) = &tag {
                    plain &= !self.is_text(tag, span);
                }
                let node = Node::scalar(text, plain, self.trimmed(span));
                self.keep(anchor, &node)?;
                Ok(node)
            }
            Event::SequenceStart(anchor, tag) => {
                self.collection(anchor, tag, span);
                let mut items = Vec::new();
                let end = loop {
                    match self.next()? {
                        (Event::SequenceEnd, end) => break end,
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                };
                let node = Node { value: Value::Sequence(items), span: self.trimmed(Span { end: end.end, ..span }) };
                self.keep(anchor, &node)?;
                Ok(node)
            }
            Event::MappingStart(anchor, tag) => {
                self.collection(anchor, tag, span);
                let mut entries = Entries::default();
                let end = loop {
                    match self.next()? {
                        (Event::MappingEnd, end) => break end,
                        (event, span) => {
                            let key = self.node(event, span, depth + 1)?;
                            let (event, span) = self.next()?;
                            let value = self.node(event, span, depth + 1)?;
                            self.entry(&mut entries, key, value);
                        }
                    }
                };
                let span = self.trimmed(Span { end: end.end, ..span });
                let node = Node { value: Value::Mapping(entries.done()), span };
                self.keep(anchor, &node)?;
                Ok(node)
            }
            _ => Err(Box::new(Fault::new(span, "a value was expected here"))),
        }
    }

    /// Block collections end where the next thing begins; the fault should not underline the blank lines between.
    fn trimmed(&self, span: Span) -> Span {
        let written = self.text.get(span.start..span.end).unwrap_or_default();
        Span { end: span.start + written.trim_end().len(), ..span }
    }

    fn entry(&mut self, entries: &mut Entries, key: Node, value: Node) {
        let Value::Scalar { text, plain } = &key.value else {
            let fault = if self.text[..key.span.start].ends_with('{') && self.text[key.span.start..].starts_with('{') {
                let start = key.span.start - 1;
                let len = self.text[start..].find("}}").map_or(2, |end| end + 2);
                super::syntax::unquoted_template(Span { start, end: start + len, ..key.span })
            } else {
                Fault::new(key.span, "a key must be a word, not a list or mapping")
            };
            self.faults.push(fault);
            return;
        };
        if *plain && text == "<<" {
            self.merge(entries, value);
            return;
        }
        if let Some(first) = entries.own(text) {
            self.faults.push(
                Fault::new(key.span, format!("`{text}` is written twice"))
                    .label("again here")
                    .also(first, "first here"),
            );
            return;
        }
        entries.add(key, value);
    }

    fn merge(&mut self, entries: &mut Entries, value: Node) {
        let span = value.span;
        match value.value {
            Value::Mapping(merged) => entries.merged.push(merged),
            Value::Sequence(items) if items.iter().all(|item| item.entries().is_some()) => {
                for item in items {
                    if let Value::Mapping(merged) = item.value {
                        entries.merged.push(merged);
                    }
                }
            }
            _ => self.faults.push(Fault::new(span, "`<<` takes a mapping, or a list of mappings")),
        }
    }

    fn keep(&mut self, anchor: usize, node: &Node) -> Read<()> {
        if anchor != 0 {
            // The copy counts: anchors around anchors would otherwise hold the same values once per level.
            self.count(weight(node).0, node.span)?;
            self.anchors.insert(anchor, Some(node.clone()));
        }
        Ok(())
    }

    fn collection(&mut self, anchor: usize, tag: Option<Cow<'t, Tag>>, span: Span) {
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
        if let Some(tag) = tag {
            self.is_text(&tag, span);
        }
    }

    fn alias(&mut self, id: usize, span: Span) -> Read<Node> {
        let held = match self.anchors.get(&id) {
            Some(Some(node)) => node,
            Some(None) => return Err(Box::new(Fault::new(span, "an alias inside of what it stands for"))),
            None => return Err(Box::new(Fault::new(span, "there is no anchor of this name before"))),
        };
        let (nodes, bytes) = weight(held);
        self.nodes += nodes;
        self.copied_nodes += nodes;
        self.copied_bytes += bytes;
        if self.copied_nodes > MAX_COPIED_NODES || self.copied_bytes > MAX_COPIED_BYTES {
            let message = format!("aliases repeat more than {MAX_COPIED_NODES} values");
            return Err(Box::new(Fault::new(span, message).help("write the data out, or move it into variables")));
        }
        Ok(held.clone())
    }

    /// Whether the tag says "this is text". Tags of programs (`!vault`) are faults.
    fn is_text(&mut self, tag: &Tag, span: Span) -> bool {
        if tag.is_yaml_core_schema() {
            return tag.suffix == "str";
        }
        let name = tag.to_string();
        let fault = Fault::new(span, format!("the tag `{name}` is not understood"));
        self.faults.push(match name.as_str() {
            "!vault" | "!vault-encrypted" => Fault::new(span, VAULT)
                .help("keep secrets out of playbooks: put them into a file of mode 0600 and give it with `-e @FILE`"),
            "!unsafe" => fault.help("wrap the text in `{% raw %}…{% endraw %}` instead"),
            _ => fault,
        });
        false
    }

    fn syntax(&self, error: &ScanError) -> Fault {
        let at = self.places.byte(self.text, error.marker());
        super::syntax::fault(self.text, self.places.file, at, error.info())
    }
}

const VAULT: &str = "the tag `!vault` is not understood";

/// Whether a fault is that of a value that only `ansible-vault` can read.
pub fn is_vault(fault: &Fault) -> bool {
    fault.message == VAULT
}

/// Values and bytes of text in a tree.
fn weight(node: &Node) -> (usize, usize) {
    match &node.value {
        Value::Scalar { text, .. } => (1, text.len()),
        Value::Sequence(items) => items.iter().map(weight).fold((1, 0), |a, b| (a.0 + b.0, a.1 + b.1)),
        Value::Mapping(entries) => entries.iter().fold((1, 0), |sum, (key, value)| {
            let (key, value) = (weight(key), weight(value));
            (sum.0 + key.0 + value.0, sum.1 + key.1 + value.1)
        }),
    }
}

/// A mapping being read. Small ones are searched, large ones indexed.
#[derive(Default)]
struct Entries {
    own: Vec<(Node, Node)>,
    merged: Vec<Vec<(Node, Node)>>,
    index: HashMap<String, usize>,
}

impl Entries {
    const INDEX_FROM: usize = 16;

    fn own(&self, key: &str) -> Option<Span> {
        if self.index.is_empty() {
            return self.own.iter().find(|(k, _)| k.as_str() == Some(key)).map(|(k, _)| k.span);
        }
        self.index.get(key).map(|at| self.own[*at].0.span)
    }

    fn add(&mut self, key: Node, value: Node) {
        if !self.index.is_empty() {
            self.index.insert(key.as_str().unwrap_or_default().to_owned(), self.own.len());
        }
        self.own.push((key, value));
        if self.index.is_empty() && self.own.len() >= Self::INDEX_FROM {
            let names = self.own.iter().map(|(k, _)| k.as_str().unwrap_or_default().to_owned());
            self.index = names.zip(0..).collect();
        }
    }

    /// Own keys win, then earlier merged mappings.
    fn done(mut self) -> Vec<(Node, Node)> {
        for (key, value) in std::mem::take(&mut self.merged).into_iter().flatten() {
            if self.own(key.as_str().unwrap_or_default()).is_none() {
                self.add(key, value);
            }
        }
        self.own
    }
}
