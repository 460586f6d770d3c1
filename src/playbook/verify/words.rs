//! Templates and expressions: do they parse, and is everything they name known?

use super::Verifier;
use crate::diagnostic::{Fault, Span, did_you_mean};
use crate::playbook::jinja::{Analysis, Unknown};
use crate::playbook::read::within;
use crate::template::has_template;
use crate::yaml::{Node, Value};
use std::collections::HashSet;

impl Verifier<'_, '_> {
    /// Every template in a piece of YAML.
    pub(super) fn node(&mut self, node: &Node, later: bool) {
        match &node.value {
            Value::Scalar { text, .. } => self.text(text, node.span, later),
            Value::Sequence(items) => items.iter().for_each(|item| self.node(item, later)),
            Value::Mapping(entries) => {
                for (key, value) in entries {
                    self.node(key, later);
                    self.node(value, later);
                }
            }
        }
    }

    pub(super) fn text(&mut self, text: &str, span: Span, later: bool) {
        if has_template(text) {
            let found = self.analyser.template(text);
            self.analysed(&found, text, span, later, false);
        }
    }

    /// A bare expression; returns the names it asks for with `is defined`.
    pub(super) fn expression(&mut self, text: &str, span: Span) -> HashSet<String> {
        let inner = match crate::template::sole_expression(text) {
            Some(inner) => {
                let fault =
                    Fault::new(span, "an expression stands here without `{{ }}`").label("the braces are needless");
                self.tell(fault.warning());
                inner
            }
            None => text,
        };
        let found = self.analyser.expression(inner);
        self.analysed(&found, inner, span, false, false);
        found.guarded.clone()
    }

    /// `exact`: offsets are bytes of the file as they stand.
    pub(super) fn analysed(&mut self, found: &Analysis, text: &str, span: Span, later: bool, exact: bool) {
        let place = |this: &Self, part: std::ops::Range<usize>| match exact {
            true => Span { start: span.start + part.start, end: span.start + part.end, ..span },
            false => within(this.loader.sources, span, text, part),
        };
        if let Some((range, why)) = &found.error {
            let at = place(self, range.clone());
            self.tell(Fault::new(at, format!("this is no Jinja: {why}")));
            return;
        }
        for (what, name, at) in &found.unknown {
            let at = place(self, *at..at + name.len());
            let word = if *what == Unknown::Filter { "filter" } else { "test" };
            let fault = Fault::new(at, format!("unknown {word} `{name}`"));
            let help = self.analyser.suggest(*what, name);
            self.tell(fault.hint(help));
        }
        for (name, at) in &found.names {
            if self.names.knows(name) || (later && self.names.set_by(name).is_some()) {
                continue;
            }
            let end = if text[*at..].starts_with(name.as_str()) { at + name.len() } else { *at };
            let at = place(self, *at..end);
            let fault = Fault::new(at, format!("undefined variable `{name}`"));
            let fault = match self.names.set_by(name) {
                Some(setter) if setter != at => {
                    fault.label("not set yet").also(setter, "set by this task, which runs later")
                }
                _ => {
                    let fault = fault.label("nothing defines it");
                    fault.hint(did_you_mean(name, self.names.all()))
                }
            };
            self.tell(fault);
        }
    }
}
