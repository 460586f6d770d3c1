//! The Proxmox API from a node, through `pvesh`. Refuses to put a secret on a command line.

use crate::host::{ApiGet, LookError, Method, Output, Query, StepError, Topic};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// `pvesh` takes parameters by argv only, which everybody on the node can read.
const SECRETS: &[&str] = &["password", "keyring", "encryption-key", "token", "secret"];

pub fn get_query(get: &ApiGet) -> Query {
    Query::new(Topic::Other, argv("get", &get.path, &get.params))
}

fn argv(verb: &str, path: &str, params: &BTreeMap<String, String>) -> Vec<String> {
    let mut argv: Vec<String> = ["pvesh", verb, path].map(str::to_owned).to_vec();
    for (key, value) in params {
        argv.extend([format!("--{key}"), value.clone()]);
    }
    argv.extend(["--output-format".into(), "json".into()]);
    argv
}

/// The command line of a write, and its deadline: `pvesh` itself follows a task to its end.
pub fn write_argv(
    method: Method,
    path: &str,
    params: &BTreeMap<String, String>,
    wait_s: Option<u64>,
) -> Result<(Vec<String>, u64), StepError> {
    if let Some(key) = params.keys().find(|key| SECRETS.contains(&key.as_str())) {
        let reason = format!("`{key}` would stand on the command line of pvesh; use the REST API for this");
        return Err(StepError::Refused { reason });
    }
    let verb = match method {
        Method::Post => "create",
        Method::Put => "set",
        Method::Delete => "delete",
    };
    Ok((argv(verb, path, params), wait_s.unwrap_or(60)))
}

/// What stands under `data`; a task's log before it is skipped.
pub fn answer(path: &str, output: &Output) -> Result<Json, LookError> {
    if output.rc != 0 {
        let message = output.complaint().to_owned();
        // "400 Parameter verification failed."; most failures carry no number.
        let status = message.get(..3).and_then(|s| s.parse().ok()).filter(|s| (400..600).contains(s)).unwrap_or(500);
        return Err(LookError::Api { path: path.into(), status, message });
    }
    let text = output.stdout.trim();
    if text.is_empty() {
        return Ok(Json::Null);
    }
    serde_json::from_str(text)
        .or_else(|e| text.lines().last().and_then(|line| serde_json::from_str(line).ok()).ok_or(e))
        .map_err(|e| LookError::cannot_tell(format!("pvesh {path}"), e))
}
