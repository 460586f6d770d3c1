//! YAML text → a tree that remembers where every word stands, and trees → typed values with every fault placed.
//!
//! Knows nothing of playbooks. Scalars are kept as written: `1.10`, `0644`, `no`.

mod access;
mod collect;
mod de;
mod error;
mod json;
mod key;
mod parse;
mod scalar;
mod stand_in;
mod syntax;
mod text;

#[cfg(test)]
mod tests;

pub use parse::{is_vault, parse_all};
pub use text::{MAX_BYTES, read};

use crate::diagnostic::{Fault, Sources, Span};
use serde::de::DeserializeOwned;

/// A piece of YAML and the place it was written at.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub value: Value,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A scalar as written. `plain`: neither quoted nor a block, so that `yes`, `3` and `~` may mean more than text.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<Node>),
    /// Keys are scalars and unique.
    Mapping(Vec<(Node, Node)>),
}

impl Node {
    pub fn scalar(text: impl Into<String>, plain: bool, span: Span) -> Self {
        Self { value: Value::Scalar { text: text.into(), plain }, span }
    }

    /// The value of a key, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries()?.iter().find(|(k, _)| k.as_str() == Some(key)).map(|(_, v)| v)
    }

    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub fn entries(&self) -> Option<&[(Node, Node)]> {
        match &self.value {
            Value::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    pub fn items(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// Nothing was written, or `~` or `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if scalar::is_null(text))
    }

    /// A scalar that holds a template: `{{ … }}` or `{% … %}`.
    pub fn is_template(&self) -> bool {
        self.as_str().is_some_and(scalar::has_template)
    }

    /// A plain or quoted `true`, `yes`, `on`, `false`, `no`, `off`.
    pub fn as_bool(&self) -> Option<bool> {
        scalar::boolean(self.as_str()?)
    }

    /// What it is, for messages: "a list", "text".
    pub fn what(&self) -> &'static str {
        match &self.value {
            Value::Mapping(_) => "a mapping",
            Value::Sequence(_) => "a list",
            Value::Scalar { .. } if self.is_null() => "nothing",
            Value::Scalar { text, plain } => scalar::what(text, *plain),
        }
    }

    /// The value with plain `yes`, `3`, `0.5` and `~` read as boolean, number and null where that loses nothing.
    pub fn to_json(&self) -> serde_json::Value {
        json::from_node(self)
    }

    /// A tree in which everything stands at one place. Text comes back as quoted, so it never turns into a number.
    pub fn from_json(json: &serde_json::Value, span: Span) -> Self {
        json::to_node(json, span)
    }
}

/// Reads a file of one YAML document; every syntax fault and duplicate key with its place.
pub fn parse(sources: &Sources, file: u32) -> Result<Node, Vec<Fault>> {
    match parse_all(sources, file) {
        (Some(node), faults) if faults.is_empty() => Ok(node),
        (_, faults) => Err(faults),
    }
}

/// A typed value; all unknown fields, and every wrong type that can be told in one run.
pub fn decode<T: DeserializeOwned>(node: &Node) -> Result<T, Vec<Fault>> {
    decode_as(node, None)
}

/// [`decode`], with the name under which people know the value (`copy`) for the messages.
pub fn decode_as<T: DeserializeOwned>(node: &Node, name: Option<&str>) -> Result<T, Vec<Fault>> {
    match collect::run(node, name, false) {
        (Some(value), faults) if faults.is_empty() => Ok(value),
        (_, faults) => Err(faults),
    }
}

/// Like [`decode`], before templates are rendered: a scalar that holds `{{ … }}` fits any type.
/// `Ok(None)`: no fault found, but templates keep the whole value from being known.
pub fn check<T: DeserializeOwned>(node: &Node) -> Result<Option<T>, Vec<Fault>> {
    check_as(node, None)
}

/// [`check`], with the name under which people know the value (`copy`) for the messages.
pub fn check_as<T: DeserializeOwned>(node: &Node, name: Option<&str>) -> Result<Option<T>, Vec<Fault>> {
    let (value, faults) = collect::run(node, name, true);
    if faults.is_empty() { Ok(value) } else { Err(faults) }
}
