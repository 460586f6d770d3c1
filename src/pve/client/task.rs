//! Following a task: HTTP 200 on its start says nothing about its end.

use super::send::Core;
use crate::pve::{Error, Upid};
use serde_json::Value as Json;
use std::time::{Duration, Instant};

const LOG_LINES: usize = 12;

/// How a task ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEnd {
    Ok,
    /// It did its work and wrote warnings into its log; these are its last lines.
    Warnings(Vec<String>),
}

pub(super) async fn follow(core: &Core, upid: &Upid, deadline: Duration) -> Result<TaskEnd, Error> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(200);
    let mut unexpected = 0;
    loop {
        let answer = match core.read(&format!("{}/status", upid.path()), "").await {
            // A node that restarts its daemons is away for some seconds; the task is not.
            Err(Error::Broken { .. } | Error::Unreachable { .. } | Error::Timeout { .. })
                if started.elapsed() < deadline =>
            {
                tokio::time::sleep(Duration::from_secs(2)).await;
                continue;
            }
            answer => answer?.data,
        };
        let word = |key: &str| answer.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
        let bad = |why: String| Error::BadAnswer { path: format!("{}/status", upid.path()), why };
        match word("status").as_str() {
            "stopped" => match word("exitstatus").as_str() {
                "OK" => return Ok(TaskEnd::Ok),
                // Comes also for a moment at the very end of a task that went well, and may be cached.
                "unexpected status" | "" if unexpected < 5 => {
                    unexpected += 1;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
                exitstatus => return end(core, upid, exitstatus).await,
            },
            "running" => {}
            other => return Err(bad(format!("status `{other}`"))),
        }
        if started.elapsed() >= deadline {
            return Err(Error::TaskRuns {
                node: upid.node.clone(),
                kind: upid.kind.clone(),
                id: upid.id.clone(),
                upid: upid.to_string(),
                after_s: deadline.as_secs(),
            });
        }
        tokio::time::sleep(pause.min(deadline.saturating_sub(started.elapsed()))).await;
        pause = (pause * 3 / 2).min(Duration::from_secs(2));
    }
}

async fn end(core: &Core, upid: &Upid, exitstatus: &str) -> Result<TaskEnd, Error> {
    let log = log_tail(core, upid).await;
    let last = log.last().map(String::as_str).unwrap_or_default();
    let unclear = exitstatus.is_empty() || exitstatus == "unexpected status" || exitstatus.starts_with("unable to ");
    if unclear && last == "TASK OK" {
        return Ok(TaskEnd::Ok);
    }
    if exitstatus.starts_with("WARNINGS: ") || unclear && last.starts_with("TASK WARNINGS: ") {
        return Ok(TaskEnd::Warnings(log));
    }
    Err(Error::Task {
        node: upid.node.clone(),
        kind: upid.kind.clone(),
        id: upid.id.clone(),
        exitstatus: if exitstatus.is_empty() { "no exit status".into() } else { exitstatus.to_owned() },
        log,
    })
}

/// The last lines; empty when the log cannot be had, which must not hide how the task ended.
async fn log_tail(core: &Core, upid: &Upid) -> Vec<String> {
    let path = format!("{}/log", upid.path());
    let Ok(first) = core.read(&path, "limit=1").await else { return Vec::new() };
    let total = first.beside.get("total").and_then(super::super::values::number).unwrap_or(0.0) as usize;
    let start = total.saturating_sub(LOG_LINES);
    let Ok(tail) = core.read(&path, &format!("start={start}&limit={LOG_LINES}")).await else { return Vec::new() };
    let lines = tail.data.as_array().into_iter().flatten();
    lines.filter_map(|line| line.get("t").and_then(Json::as_str)).map(|t| t.trim_end().to_owned()).collect()
}
