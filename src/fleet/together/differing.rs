//! One decision needs one description: where hosts describe different things, what and how. Decides nothing itself.

use crate::fleet::task::Lane;
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// Where hosts describe different things: which field, and what each of them says.
pub(super) fn differing(lanes: &[Lane], shared: &super::Shared) -> Option<String> {
    let all: Vec<(&str, Json)> =
        shared.iter().map(|(at, ready)| (lanes[*at].host.as_str(), ready.task.to_json())).collect();
    let (first, rest) = all.split_first()?;
    let field = rest.iter().find_map(|(_, other)| first_difference("", &first.1, other))?;
    let secret = ["secret", "password", "token"].iter().any(|word| field.contains(word));
    let said: Vec<String> = all
        .iter()
        .map(|(host, task)| match task.pointer(&field) {
            _ if secret => format!("{host}: (hidden)"),
            Some(value) => format!("{host}: {value}"),
            None => format!("{host}: nothing"),
        })
        .collect();
    let name = field.trim_start_matches('/').replace('/', ".");
    Some(format!(
        "this is decided once for all hosts, but `{name}` differs between them ({}); use values that are the same \
         everywhere, or name each host in the task",
        said.join(", ")
    ))
}

/// A JSON pointer to the first place where two values differ.
fn first_difference(at: &str, a: &Json, b: &Json) -> Option<String> {
    match (a, b) {
        (Json::Object(a), Json::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            keys.into_iter().find_map(|key| {
                let path = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => first_difference(&path, a, b),
                    _ => Some(path),
                }
            })
        }
        (Json::Array(a), Json::Array(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).enumerate();
            pairs.into_iter().find_map(|(n, (a, b))| first_difference(&format!("{at}/{n}"), a, b))
        }
        _ => (a != b).then(|| at.to_owned()),
    }
}
