//! Trees to JSON and back.

use super::{Node, Value, scalar};
use crate::diagnostic::Span;
use serde_json::{Map, Value as Json};

pub fn from_node(node: &Node) -> Json {
    match &node.value {
        Value::Scalar { text, plain: true } => scalar::untyped(text),
        Value::Scalar { text, plain: false } => Json::String(text.clone()),
        Value::Sequence(items) => Json::Array(items.iter().map(from_node).collect()),
        Value::Mapping(entries) => {
            let mut map = Map::with_capacity(entries.len());
            for (key, value) in entries {
                map.insert(key.as_str().unwrap_or_default().to_owned(), from_node(value));
            }
            Json::Object(map)
        }
    }
}

pub fn to_node(json: &Json, span: Span) -> Node {
    let value = match json {
        Json::Null => Value::Scalar { text: "null".to_owned(), plain: true },
        Json::Bool(truth) => Value::Scalar { text: truth.to_string(), plain: true },
        Json::Number(number) => Value::Scalar { text: number.to_string(), plain: true },
        Json::String(text) => Value::Scalar { text: text.clone(), plain: false },
        Json::Array(items) => Value::Sequence(items.iter().map(|item| to_node(item, span)).collect()),
        Json::Object(map) => Value::Mapping(
            map.iter().map(|(key, value)| (Node::scalar(key.clone(), false, span), to_node(value, span))).collect(),
        ),
    };
    Node { value, span }
}
