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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Entries as PVE 9.1.7 lists them, recorded 2026-11-22: not in order, `saved` as number or text.
    fn recorded() -> Vec<Json> {
        vec![
            json!({"endtime": 1795333957, "upid": "UPID:pve1:000001F1:0006511A:6B029F45:vzdestroy:100:root@pam:", "node": "pve1",
                   "type": "vzdestroy", "starttime": 1795333957, "status": "OK", "id": "100", "saved": 1, "user": "root@pam"}),
            json!({"endtime": 1795338059, "saved": "1", "id": "100", "status": "OK", "user": "root@pam", "node": "pve2",
                   "upid": "UPID:pve2:0000036A:00018349:6B02AF0B:vzstart:100:root@pam:", "type": "vzstart",
                   "starttime": 1795337995}),
            json!({"type": "vzdestroy", "upid": "UPID:pve1:000001EC:000650BB:6B029F44:vzdestroy:102:root@pam:", "node": "pve1",
                   "endtime": 1795333956, "user": "root@pam", "saved": "1", "id": "102", "status": "OK",
                   "starttime": 1795333956}),
            json!({"saved": "1", "endtime": 1795336198, "node": "pve2", "starttime": 1795336197, "type": "startall", "id": "",
                   "upid": "UPID:pve2:0000046D:0000B167:6B02A805:startall::root@pam:", "status": "OK", "user": "root@pam"}),
        ]
    }

    #[test]
    fn the_task_log_says_who_did_what_to_a_guest_newest_first() {
        let found: Vec<Trace> = tasks(&recorded(), "100", "vz").collect();
        let words: Vec<(i64, &str, &str)> = found.iter().map(|t| (t.at, t.by.as_str(), t.what.as_str())).collect();
        let wanted = [(1_795_337_995, "root@pam", "vzstart 100"), (1_795_333_957, "root@pam", "vzdestroy 100")];
        assert_eq!(words, wanted);
    }

    #[test]
    fn what_changes_nothing_and_other_guests_are_no_trace() {
        let mut log = recorded();
        log.push(json!({"type": "vzdump", "id": "102", "user": "backup@pve", "starttime": 1795339000}));
        log.push(json!({"type": "hastop", "id": "102", "user": "ann@pve", "tokenid": "ci", "starttime": 1795339001}));
        let found: Vec<String> = tasks(&log, "102", "vz").map(|t| format!("{} {}", t.what, t.by)).collect();
        assert_eq!(found, ["hastop 102 ann@pve!ci", "vzdestroy 102 root@pam"]);
        assert_eq!(tasks(&log, "", "srv").count(), 0);
    }
}
