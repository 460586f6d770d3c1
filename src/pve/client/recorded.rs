//! What a Proxmox VE 9.1.7 answered, judged as the client judges it: a selection that comes with the project, and all
//! of the recordings where they lie beside it.

use super::answer::Raw;
use crate::pve::values::{Property, node_priorities, shape_of, text};
use crate::pve::{Error, Fault, Retry, Upid, Version};
use serde_json::Value as Json;
use std::path::Path;

const SELECTION: &str = include_str!("../../../tests/captured/pve-9.1.7-2026-04-01.jsonl");

struct Exchange {
    name: String,
    method: &'static str,
    path: String,
    status: u16,
    reason: String,
    body: Option<Json>,
}

/// The exchanges that a client can meet: a whole answer to one of the four methods.
fn exchanges(lines: &str) -> Vec<Exchange> {
    let read = |line: &str| {
        let row: Json = serde_json::from_str(line).unwrap();
        let word = |place: &str, key: &str| row[place][key].as_str().map(str::to_owned);
        let method = word("request", "method")?;
        let method = ["GET", "POST", "PUT", "DELETE"].into_iter().find(|m| *m == method)?;
        Some(Exchange {
            name: format!("{} {}", row["seq"], row["name"]),
            method,
            path: word("request", "path")?.strip_prefix("/api2/json").unwrap_or_default().to_owned(),
            status: u16::try_from(row["response"]["status"].as_u64()?).ok()?,
            reason: word("response", "reason")?,
            body: row["response"].get("body").filter(|b| !b.is_null()).cloned(),
        })
    };
    lines.lines().filter_map(read).collect()
}

fn judge(exchange: &Exchange) -> Result<Json, Error> {
    let body = match &exchange.body {
        None => Vec::new(),
        Some(Json::String(text)) => text.clone().into_bytes(),
        Some(json) => serde_json::to_vec(json).unwrap(),
    };
    let raw = Raw {
        method: exchange.method,
        path: &exchange.path,
        status: exchange.status,
        reason: &exchange.reason,
        body: &body,
    };
    raw.judge().map(|envelope| envelope.data)
}

fn holds(exchange: &Exchange) {
    let Exchange { name, status, reason, body, .. } = exchange;
    match judge(exchange) {
        Ok(data) => {
            assert_eq!(*status, 200, "{name}");
            assert_eq!(Some(&data), body.as_ref().and_then(|b| b.get("data")), "{name}");
            good(exchange, &data);
        }
        Err(error) => {
            assert_ne!(*status, 200, "{name}: {error}");
            assert_eq!(error.status(), Some(*status), "{name}");
            let told = error.told().unwrap();
            let message = body.as_ref().and_then(|b| b.get("message")).and_then(Json::as_str);
            let expected = message.map_or(reason.trim(), str::trim);
            assert!(told.starts_with(expected) && !told.is_empty(), "{name}: `{told}` / `{expected}`");
            let errors = body.as_ref().and_then(|b| b.get("errors")).and_then(Json::as_object);
            for parameter in errors.into_iter().flat_map(|e| e.keys()) {
                assert!(told.contains(&format!("; {parameter}: ")), "{name}: {told}");
            }
            let fault = match status {
                400 | 501 => Fault::Request,
                401 | 403 => Fault::Rights,
                _ => Fault::Cluster,
            };
            assert_eq!(error.fault(), fault, "{name}");
            // A write that was answered 500 may have been carried out: it was, in recording 199.
            if *status == 500 && exchange.method != "GET" {
                assert_ne!(error.retry(), Retry::Never, "{name}");
            }
            assert_eq!(error.is_groups_migrated(), told.contains("migrated to rules"), "{name}");
        }
    }
}

/// What good answers hold can be read.
fn good(exchange: &Exchange, data: &Json) {
    let Exchange { name, path, .. } = exchange;
    if let Some(upid) = data.as_str().filter(|text| text.starts_with("UPID:")) {
        upid.parse::<Upid>().unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    if path.ends_with("/version") {
        assert_eq!(Version::from_answer(data).unwrap().major, 9, "{name}");
    }
    if path.contains("/lxc/") && path.contains("/config") && exchange.method == "GET" {
        for (key, value) in data.as_object().unwrap() {
            if let (Some(shape), Some(value)) = (shape_of(key), text(value)) {
                let property = Property::parse(shape, &value).unwrap_or_else(|e| panic!("{name}: {e}"));
                let again = Property::parse(shape, &property.to_string()).unwrap();
                assert!(again.differing(&property).is_empty(), "{name}: {key}");
            }
        }
    }
    if path.starts_with("/cluster/ha/rules") {
        let rules = data.as_array().cloned().unwrap_or_else(|| vec![data.clone()]);
        for nodes in rules.iter().filter_map(|rule| rule.get("nodes")?.as_str()) {
            assert!(!node_priorities(nodes).unwrap().is_empty(), "{name}");
        }
    }
}

#[test]
fn the_selection_is_judged_as_it_was_meant() {
    let all = exchanges(SELECTION);
    all.iter().for_each(holds);
    for status in [200, 400, 401, 403, 500, 501] {
        assert!(all.iter().any(|e| e.status == status), "no recording of {status}");
    }
    let migrated = all.iter().filter_map(|e| judge(e).err()).filter(Error::is_groups_migrated).count();
    assert!(migrated > 0, "no recording of groups that became rules");
}

#[test]
fn so_are_all_recordings_where_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/pve-recordings.jsonl");
    let Ok(lines) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: no {}", path.display());
        return;
    };
    let all = exchanges(&lines);
    assert!(all.len() > 250, "{} exchanges", all.len());
    all.iter().for_each(holds);
}
