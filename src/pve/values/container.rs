//! The keys of a container's configuration: when two values mean the same, and how one is shown in a diff.

use super::json::{number, text};
use super::property::{Property, Shape, shape_of};
use super::{list, set};
use serde_json::Value as Json;

/// What an absent key means, as Proxmox stores it (not as `pct create` or the web interface preset it).
fn default_of(key: &str) -> &'static str {
    match key {
        "onboot" | "protection" | "template" | "unprivileged" | "debug" | "cpulimit" => "0",
        "console" => "1",
        "tty" => "2",
        "cmode" => "tty",
        "memory" | "swap" => "512",
        _ => "",
    }
}

fn is_flag(key: &str) -> bool {
    matches!(key, "onboot" | "protection" | "template" | "unprivileged" | "debug" | "console")
}

/// A form in which equal meanings are equal texts.
fn meaning(key: &str, value: Option<&Json>) -> String {
    let written = value.and_then(text).unwrap_or_default();
    let value = if written.trim().is_empty() { default_of(key).to_owned() } else { written };
    if is_flag(key) {
        return match value.to_ascii_lowercase().as_str() {
            "1" | "yes" | "on" | "true" => "1".into(),
            "0" | "no" | "off" | "false" => "0".into(),
            other => other.into(),
        };
    }
    match key {
        "tags" => set(&value.to_ascii_lowercase()).into_iter().collect::<Vec<_>>().join(";"),
        "nameserver" | "searchdomain" => list(&value).join(" "),
        // Proxmox adds one line end when it reads the comment lines back.
        "description" => {
            let unix = value.replace("\r\n", "\n");
            unix.strip_suffix('\n').unwrap_or(&unix).to_owned()
        }
        "memory" | "swap" | "cores" | "cpuunits" | "cpulimit" | "tty" => {
            number(&Json::String(value.clone())).map_or(value, |n| n.to_string())
        }
        _ => value.trim().to_owned(),
    }
}

/// Whether a container whose configuration has `actual` under `key` (`None`: the key is absent) is what `wanted` asks.
pub fn same(key: &str, wanted: &str, actual: Option<&Json>) -> bool {
    if let Some(shape) = shape_of(key) {
        let actual = match actual.and_then(text) {
            Some(actual) => actual,
            // Features are a set of switches: none at all is a description of it, too.
            None if shape == Shape::Features => String::new(),
            None => return wanted.trim().is_empty(),
        };
        return match (Property::parse(shape, wanted), Property::parse(shape, &actual)) {
            (Ok(wanted), Ok(actual)) => wanted.differing(&actual).is_empty(),
            _ => wanted == actual,
        };
    }
    meaning(key, Some(&Json::String(wanted.to_owned()))) == meaning(key, actual)
}

/// The value for people, one line a line; property strings in Proxmox's order.
pub fn shown(key: &str, value: &str) -> String {
    match shape_of(key).map(|shape| Property::parse(shape, value)) {
        Some(Ok(property)) => property.to_string(),
        _ => meaning(key, Some(&Json::String(value.to_owned()))),
    }
}
