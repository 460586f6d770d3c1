//! Compares a recorded answer with the lab's: shape and values, without what no two systems share.

use serde_json::Value;
use std::sync::LazyLock;

/// Measurements, times and identities: both must have a value of the same type, not the same value.
const MEASURED: [&str; 47] = [
    "cpu",
    "mem",
    "maxmem",
    "disk",
    "maxdisk",
    "uptime",
    "maxcpu",
    "cpus",
    "netin",
    "netout",
    "diskread",
    "diskwrite",
    "used",
    "avail",
    "total",
    "free",
    "used_fraction",
    "ctime",
    "size",
    "pid",
    "pstart",
    "starttime",
    "endtime",
    "timestamp",
    "ssl_fingerprint",
    "value",
    "ticket",
    "CSRFPreventionToken",
    "available",
    "kversion",
    "version",
    "release",
    "memhost",
    "ip",
    "repoid",
    "model",
    "flags",
    "mhz",
    "family",
    "vendor",
    "cores",
    "sockets",
    "saved",
    "mac_prefix",
    "hvm",
    "boot-info",
    "loadavg",
];

/// Differences, each with its place; none means the same.
pub fn differences(expected: &Value, actual: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", expected, actual, &mut found);
    found
}

fn compare(at: &str, expected: &Value, actual: &Value, found: &mut Vec<String>) {
    let key = at.rsplit('.').next().unwrap_or_default();
    // PVE writes the content list of storage.cfg in random order, and containers have random addresses.
    let random_file = key == "digest" && !at.contains("<ha>");
    let measured = MEASURED.contains(&key) || key.starts_with("pressure");
    if random_file || (measured && at != ".data.version") {
        if std::mem::discriminant(expected) != std::mem::discriminant(actual) {
            found.push(format!("{at}: {expected} and {actual} are of different types"));
        }
        return;
    }
    match (expected, actual) {
        (Value::Object(left), Value::Object(right)) => {
            // The files of HA have no such freedom: their digests must be PVE's.
            let ha = left.contains_key("sid") || left.contains_key("rule");
            let at = if ha { format!("{at}<ha>") } else { at.to_string() };
            for (key, value) in left {
                match right.get(key) {
                    Some(other) => compare(&format!("{at}.{key}"), value, other, found),
                    None => found.push(format!("{at}.{key}: missing ({value})")),
                }
            }
            for key in right.keys().filter(|key| !left.contains_key(*key)) {
                found.push(format!("{at}.{key}: not recorded ({})", right[key]));
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            if left.len() != right.len() {
                found.push(format!("{at}: {} entries recorded, {} here: {actual}", left.len(), right.len()));
                return;
            }
            let (mut left, mut right): (Vec<&Value>, Vec<&Value>) = (left.iter().collect(), right.iter().collect());
            // The order of lists is random in PVE; log lines carry their number.
            left.sort_by_key(|value| order(value));
            right.sort_by_key(|value| order(value));
            for (at_index, (one, other)) in left.into_iter().zip(right).enumerate() {
                compare(&format!("{at}[{at_index}]"), one, other, found);
            }
        }
        (Value::String(left), Value::String(right)) => {
            let (one, other) = (masked(key, left), masked(key, right));
            if one != other {
                found.push(format!("{at}: recorded {one:?}, here {other:?}"));
            }
        }
        _ if expected == actual => {}
        _ => found.push(format!("{at}: recorded {expected}, here {actual}")),
    }
}

fn order(value: &Value) -> String {
    for key in ["n", "upid", "volid", "key", "sid", "rule", "storage", "vmid", "id", "name", "tokenid", "roleid"] {
        match value.get(key) {
            Some(Value::Number(number)) => return format!("{:09}", number.as_u64().unwrap_or(0)),
            Some(Value::String(text)) => return text.clone(),
            _ => {}
        }
    }
    value.to_string()
}

fn masked(key: &str, text: &str) -> String {
    static MAC: LazyLock<regex::Regex> =
        LazyLock::new(|| regex::Regex::new("BC:24:11(:[0-9A-F]{2}){3}").expect("a regex"));
    static UPID: LazyLock<regex::Regex> =
        LazyLock::new(|| regex::Regex::new("UPID:([a-z0-9]+):[0-9A-F]{8}:[0-9A-F]{8}:[0-9A-F]{8}:").expect("a regex"));
    static UUID: LazyLock<regex::Regex> =
        LazyLock::new(|| regex::Regex::new("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").expect("a regex"));
    static DATE: LazyLock<regex::Regex> =
        LazyLock::new(|| regex::Regex::new("[A-Z][a-z]{2} [A-Z][a-z]{2} +[0-9]+ [0-9:]{8} [0-9]{4}").expect("a regex"));
    static SPEED: LazyLock<regex::Regex> = LazyLock::new(|| regex::Regex::new("[0-9]+MiB/s").expect("a regex"));
    let text = MAC.replace_all(text, "MAC");
    let text = UPID.replace_all(&text, "UPID:$1:");
    let text = UUID.replace_all(&text, "UUID");
    let text = DATE.replace_all(&text, "DATE");
    let text = SPEED.replace_all(&text, "SPEED");
    if key == "content" {
        let mut words: Vec<&str> = text.split(',').collect();
        words.sort_unstable();
        return words.join(",");
    }
    text.into_owned()
}
