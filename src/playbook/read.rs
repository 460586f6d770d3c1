//! Pieces that plays and tasks are written in: words, flags, numbers, expressions, variables; each wrong one a fault.

use super::loader::Loader;
use super::model::Expr;
use crate::diagnostic::{Fault, Span, did_you_mean};
use crate::yaml::{self, Node, Value};

impl Loader<'_> {
    pub(super) fn fault(&mut self, fault: Fault) {
        if fault.severity == crate::diagnostic::Severity::Warning {
            self.warnings.push(fault);
        } else {
            self.faults.push(fault);
        }
    }

    pub(super) fn wrong_type(&mut self, node: &Node, expected: &str) {
        let found = node.what();
        self.fault(
            Fault::new(node.span, format!("wrong type: expected {expected}, found {found}"))
                .label(format!("not {expected}")),
        );
    }

    /// The entries of a mapping; anything else is a fault.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> &'n [(Node, Node)] {
        match node.entries() {
            Some(entries) => entries,
            None => {
                self.wrong_type(node, what);
                &[]
            }
        }
    }

    /// The items of a list; nothing at all is an empty one.
    pub(super) fn items<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match node.items() {
            Some(items) => items,
            None if node.is_null() => &[],
            None => {
                self.wrong_type(node, what);
                &[]
            }
        }
    }

    pub(super) fn text(&mut self, node: &Node) -> Option<String> {
        match node.as_str() {
            Some(text) if !node.is_null() => Some(text.to_owned()),
            _ => {
                self.wrong_type(node, "text");
                None
            }
        }
    }

    /// Text that must be known before anything runs.
    pub(super) fn written_out(&mut self, node: &Node) -> Option<String> {
        if node.is_template() {
            self.fault(Fault::new(node.span, "a template cannot stand here").label("must be written out"));
            return None;
        }
        self.text(node)
    }

    pub(super) fn flag(&mut self, node: &Node) -> Option<bool> {
        if node.is_template() {
            self.fault(Fault::new(node.span, "a template cannot stand here").label("write true or false"));
            return None;
        }
        let truth = node.as_bool();
        if truth.is_none() {
            self.wrong_type(node, "true or false");
        }
        truth
    }

    pub(super) fn number<T: serde::de::DeserializeOwned>(&mut self, node: &Node) -> Option<T> {
        if node.is_template() {
            self.fault(Fault::new(node.span, "a template cannot stand here").label("write the number"));
            return None;
        }
        match yaml::decode(node) {
            Ok(number) => Some(number),
            Err(faults) => {
                self.faults.extend(faults);
                None
            }
        }
    }

    /// A word, several with commas between, or a list of words.
    pub(super) fn words(&mut self, node: &Node, commas: bool) -> Vec<(String, Span)> {
        let nodes = match &node.value {
            Value::Sequence(items) => items.as_slice(),
            _ if node.is_null() => &[],
            _ => std::slice::from_ref(node),
        };
        let mut words = Vec::new();
        for item in nodes {
            let Some(text) = self.text(item) else { continue };
            if !commas || !text.contains(',') || item.is_template() {
                words.push((text, item.span));
                continue;
            }
            for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                let at = part.as_ptr() as usize - text.as_ptr() as usize;
                words.push((part.to_owned(), self.within(item, &text, at..at + part.len())));
            }
        }
        words
    }

    /// An expression, or a list of them that all must hold.
    pub(super) fn expressions(&mut self, node: &Node) -> Vec<Expr> {
        let nodes = match &node.value {
            Value::Sequence(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut found = Vec::new();
        for item in nodes {
            match &item.value {
                Value::Scalar { .. } if item.is_null() => {
                    self.fault(Fault::new(item.span, "a condition without anything in it"));
                }
                Value::Scalar { text, plain } => {
                    let text = match item.as_bool() {
                        Some(truth) if *plain => truth.to_string(),
                        _ => text.clone(),
                    };
                    found.push(Expr { text, span: item.span });
                }
                _ => self.wrong_type(item, "an expression"),
            }
        }
        found
    }

    pub(super) fn variables(&mut self, node: &Node) -> Vec<(String, Node)> {
        if node.is_null() {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (key, value) in self.entries(node, "a mapping of variables") {
            let name = key.as_str().unwrap_or_default();
            if self.is_variable(key) {
                found.push((name.to_owned(), value.clone()));
            }
        }
        found
    }

    /// Whether a word can name a variable; a fault if not.
    pub(super) fn is_variable(&mut self, node: &Node) -> bool {
        let name = node.as_str().unwrap_or_default();
        let first = name.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
        let fits = first && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        if !fits {
            let fault = Fault::new(node.span, format!("`{name}` cannot be the name of a variable"));
            self.fault(fault.label("letters, digits and `_`, not beginning with a digit"));
        }
        fits
    }

    pub(super) fn unknown_key<'k>(&mut self, key: &Node, of: &str, known: impl IntoIterator<Item = &'k str>) {
        let name = key.as_str().unwrap_or_default();
        let fault = Fault::new(key.span, format!("unknown field `{name}`")).label(format!("not a field of {of}"));
        let fault = fault.hint(did_you_mean(name, known));
        self.fault(fault);
    }

    /// The place of a part of a scalar. Escapes, folds and indentation move it, so it is looked for.
    pub(super) fn within(&self, node: &Node, text: &str, part: std::ops::Range<usize>) -> Span {
        within(self.sources, node.span, text, part)
    }
}

/// The place of `text[part]` where `text` was written at `span`.
pub fn within(sources: &crate::diagnostic::Sources, span: Span, text: &str, part: std::ops::Range<usize>) -> Span {
    let written = sources.written(span);
    // The template engine counts in its own way where a text is broken; the whole text is a place as well.
    let Some(word) = text.get(part.clone()).filter(|word| !word.is_empty()) else { return span };
    // The same word may come several times before it.
    let nth = text[..part.start].matches(word).count();
    match written.match_indices(word).nth(nth) {
        Some((at, _)) => Span { start: span.start + at, end: span.start + at + word.len(), ..span },
        None => span,
    }
}
