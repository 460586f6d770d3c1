//! The Proxmox API from a node, through `pvesh`: command lines, and what they print. Refuses to put a secret on a command
//! line.

use super::{ApiGet, LookError, Method, Output, Query, StepError, Topic};
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

/// What a `pvesh` that failed says.
pub fn refusal(path: &str, output: &Output) -> LookError {
    let message = output.complaint();
    // "400 Parameter verification failed."; most failures carry no number.
    let status = message.get(..3).and_then(|s| s.parse().ok()).filter(|s| (400..600).contains(s));
    // What this version does not know is found by pvesh itself, before the API is asked.
    let is_unknown = message.lines().any(|line| line.starts_with("No '") && line.contains("' handler defined for '"));
    let message = match status {
        Some(_) => message[3..].trim_start(),
        None => message,
    };
    let status = status.unwrap_or(if is_unknown { 501 } else { 500 });
    LookError::Api { path: path.into(), status, message: message.to_owned() }
}

/// What stands under `data`; a task's log before it is skipped.
pub fn answer(path: &str, output: &Output) -> Result<Json, LookError> {
    if output.rc != 0 {
        return Err(refusal(path, output));
    }
    let text = output.stdout.trim();
    if text.is_empty() {
        return Ok(Json::Null);
    }
    serde_json::from_str(text)
        .or_else(|e| text.lines().last().and_then(|line| serde_json::from_str(line).ok()).ok_or(e))
        .map_err(|e| LookError::cannot_tell(format!("pvesh {path}"), e))
}
