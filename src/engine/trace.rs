//! Who changed what a task keeps, as far as the host can say. What it cannot say is left out: a guess at a person would be
//! worse than none.

use crate::event::{Trace, TraceSource};
use crate::host::{ApiGet, Probe};
use crate::tasks::Trail;
use serde_json::Value as Json;
use std::path::Path;

/// How many entries of the task log a trail shows, newest first.
const ENTRIES: usize = 3;
/// Tasks that change nothing about a guest.
const HARMLESS: &[&str] = &["vzdump", "vncproxy", "vncshell", "termproxy", "spiceproxy", "aptupdate"];

/// What each trail tells, with its place in the list.
pub fn follow(host: &dyn Probe, trails: &[Trail]) -> Vec<(usize, Trace)> {
    // Asked for once, and only if a trail leads there. A host without the API knows no tasks.
    let leads_there = trails.iter().any(|trail| !matches!(trail, Trail::File(_)));
    let log = if leads_there { task_log(host) } else { Vec::new() };
    let mut found = Vec::new();
    for (at, trail) in trails.iter().enumerate() {
        match trail {
            Trail::File(path) => found.extend(file(host, path).map(|trace| (at, trace))),
            Trail::Guest(vmid) => found.extend(tasks(&log, &vmid.to_string(), "vz").map(|trace| (at, trace))),
            Trail::Service(unit) => {
                let name = unit.strip_suffix(".service").unwrap_or(unit);
                found.extend(tasks(&log, name, "srv").map(|trace| (at, trace)));
            }
        }
    }
    found
}

fn file(host: &dyn Probe, path: &str) -> Option<Trace> {
    let stat = host.stat(Path::new(path)).ok()??;
    // pmxcfs gives every file to root, whoever wrote it.
    let by = if path.starts_with("/etc/pve/") { String::new() } else { stat.owner };
    Some(Trace { at: stat.modified_s, source: TraceSource::File, by, what: path.to_owned() })
}

/// The newest tasks of all nodes, as the API lists them.
fn task_log(host: &dyn Probe) -> Vec<Json> {
    match host.api(&ApiGet::new("/cluster/tasks")) {
        Ok(Json::Array(tasks)) => tasks,
        _ => Vec::new(),
    }
}

/// Tasks with this id whose type begins so, or is one of the HA manager's; newest first.
fn tasks(log: &[Json], id: &str, types: &str) -> impl Iterator<Item = Trace> {
    let text = |task: &Json, key: &str| task.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
    let mut found: Vec<Trace> = log
        .iter()
        .filter(|task| task.get("id").and_then(Json::as_str) == Some(id))
        .filter_map(|task| {
            let kind = text(task, "type");
            let concerns = kind.starts_with(types) || (types == "vz" && kind.starts_with("ha"));
            if !concerns || HARMLESS.contains(&kind.as_str()) {
                return None;
            }
            let user = text(task, "user");
            let by = match text(task, "tokenid") {
                token if token.is_empty() || user.contains('!') => user,
                token => format!("{user}!{token}"),
            };
            let at = task.get("starttime").and_then(Json::as_i64)?;
            Some(Trace { at, source: TraceSource::TaskLog, by, what: format!("{kind} {id}") })
        })
        .collect();
    found.sort_by_key(|trace| std::cmp::Reverse(trace.at));
    found.truncate(ENTRIES);
    found.into_iter()
}
