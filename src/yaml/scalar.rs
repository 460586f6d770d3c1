//! What a scalar's text can stand for. Only readings that lose nothing: `0644`, `1.10` and `1e3` stay text.

use serde_json::{Number, Value as Json};

pub fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// `{{ … }}` or `{% … %}`; `{#` alone is more often a shell parameter than a Jinja comment.
pub fn has_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// The decimal integer that prints back as written: no leading zeros, no `+`, no `_`.
fn integer(text: &str) -> Option<Number> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) || (digits.len() > 1 && digits.starts_with('0'))
    {
        return None;
    }
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => Some(number.into()),
        Ok(_) => None,
        Err(_) => text.parse::<u64>().ok().map(Number::from),
    }
}

/// The float that prints back as written.
fn float(text: &str) -> Option<Number> {
    let first = text.strip_prefix('-').unwrap_or(text).bytes().next()?;
    if !first.is_ascii_digit() || !text.contains('.') {
        return None;
    }
    let number = Number::from_f64(text.parse().ok()?)?;
    (number.to_string() == text).then_some(number)
}

/// A plain scalar without a type to fit.
pub fn untyped(text: &str) -> Json {
    if is_null(text) {
        return Json::Null;
    }
    if let Some(truth) = boolean(text) {
        return Json::Bool(truth);
    }
    if let Some(number) = integer(text).or_else(|| float(text)) {
        return Json::Number(number);
    }
    Json::String(text.to_owned())
}

/// The kind of scalar, for messages.
pub fn what(text: &str, plain: bool) -> &'static str {
    if !plain {
        return "text";
    }
    match untyped(text) {
        Json::Null => "nothing",
        Json::Bool(_) => "a boolean",
        Json::Number(number) if number.is_f64() => "a number with a fraction",
        Json::Number(_) => "a number",
        _ => "text",
    }
}
