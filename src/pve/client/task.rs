//! Following a task: HTTP 200 on its start says nothing about its end, and a node that cannot be asked nothing either.

use super::send::Core;
use crate::pve::task::{LOG_LINES, State, TaskEnd, UNCLEAR_TRIES, is_unclear, lines};
use crate::pve::{Error, Upid};
use std::time::{Duration, Instant};

/// Until a node is asked again that gave no answer.
const PAUSE: Duration = Duration::from_secs(2);
/// How often in a row an answer is borne that is none: a node whose pmxcfs has just started knows no token for a moment,
/// and says many other things while it starts.
const REFUSALS: u32 = 15;

pub(super) async fn follow(core: &Core, upid: &Upid, deadline: Duration) -> Result<TaskEnd, Error> {
    let started = Instant::now();
    let left = || deadline.saturating_sub(started.elapsed());
    let mut pause = Duration::from_millis(200);
    let (mut unclear, mut refused) = (0, 0);
    loop {
        let asked = core.read(&format!("{}/status", upid.path()), "").await;
        let state = match asked.and_then(|answer| upid.state(&answer.data)) {
            Ok(state) => state,
            // A node that restarts its daemons is away for some seconds, and the proxy in between says so in many ways;
            // the task is not. Only the task's own end says how it ended.
            Err(error) => {
                refused += u32::from(!error.is_no_answer());
                let for_good = matches!(error, Error::Api { status: 400 | 403 | 404 | 501, .. });
                if for_good || refused > REFUSALS {
                    return Err(upid.lost(error.to_string()));
                }
                if left().is_zero() {
                    return Err(upid.still_runs(deadline, Some(error.to_string())));
                }
                tokio::time::sleep(PAUSE.min(left())).await;
                continue;
            }
        };
        refused = 0;
        match state {
            State::Running => {}
            State::Ended(exitstatus) if is_unclear(&exitstatus) && unclear < UNCLEAR_TRIES => {
                unclear += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            State::Ended(exitstatus) if exitstatus == "OK" => return Ok(TaskEnd::Ok),
            State::Ended(exitstatus) => return upid.end(&exitstatus, log_tail(core, upid).await),
        }
        if left().is_zero() {
            return Err(upid.still_runs(deadline, None));
        }
        tokio::time::sleep(pause.min(left())).await;
        pause = (pause * 3 / 2).min(Duration::from_secs(2));
    }
}

/// The last lines; empty when the log cannot be had.
async fn log_tail(core: &Core, upid: &Upid) -> Vec<String> {
    let path = format!("{}/log", upid.path());
    let Ok(first) = core.read(&path, "limit=1").await else { return Vec::new() };
    let total = first.beside.get("total").and_then(super::super::values::number).unwrap_or(0.0) as usize;
    let start = total.saturating_sub(LOG_LINES);
    let Ok(tail) = core.read(&path, &format!("start={start}&limit={LOG_LINES}")).await else { return Vec::new() };
    lines(&tail.data)
}
