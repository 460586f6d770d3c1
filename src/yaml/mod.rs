//! YAML text → a tree that remembers where every word stands, and trees → typed values with every fault placed.
//!
//! Knows nothing of playbooks. Scalars are kept as written: `1.10`, `0644`, `no`.

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
}

/// Reads a file of one YAML document; every syntax fault and duplicate key with its place.
pub fn parse(_sources: &Sources, _file: u32) -> Result<Node, Vec<Fault>> {
    unreachable!("being written")
}

/// A typed value; all unknown fields, and every wrong type that can be told in one run.
pub fn decode<T: DeserializeOwned>(_node: &Node) -> Result<T, Vec<Fault>> {
    unreachable!("being written")
}

/// Like [`decode`], before templates are rendered: a scalar that holds `{{ … }}` fits any type.
/// `Ok(None)`: no fault found, but templates keep the whole value from being known.
pub fn check<T: DeserializeOwned>(_node: &Node) -> Result<Option<T>, Vec<Fault>> {
    unreachable!("being written")
}
