//! Reading answers leniently: the same field comes as a number or as a string, a boolean as 0, 1, "0" or "1".

use serde_json::Value as Json;

/// The value as text, as it would stand in a configuration file; `None` for null and for structures.
pub fn text(value: &Json) -> Option<String> {
    match value {
        Json::String(s) => Some(s.clone()),
        Json::Number(n) => Some(n.to_string()),
        Json::Bool(b) => Some(if *b { "1" } else { "0" }.into()),
        _ => None,
    }
}

pub fn number(value: &Json) -> Option<f64> {
    match value {
        Json::Number(n) => n.as_f64(),
        Json::String(s) => s.trim().parse().ok(),
        _ => None,
    }
}

/// A flag; absent is false.
pub fn truthy(value: Option<&Json>) -> bool {
    match value {
        Some(Json::Bool(b)) => *b,
        Some(Json::Number(n)) => n.as_f64() != Some(0.0),
        Some(Json::String(s)) => matches!(s.to_ascii_lowercase().as_str(), "1" | "yes" | "on" | "true"),
        _ => false,
    }
}
