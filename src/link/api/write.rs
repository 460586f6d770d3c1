//! A write on the API and what became of it, by REST or by a node's `pvesh`. What may have been done without our being
//! told is `Unknown`, never failed and never done: only a new look tells.

use super::with_advice;
use crate::host::{ApiGet, Host, LookError, Method, Output, Step, StepError};
use crate::pve::task::{LOG_LINES, State, TaskEnd, UNCLEAR_TRIES, is_unclear, lines};
use crate::pve::{self, Client, Retry, Upid, values};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Until work has begun of which nobody told us its name, or has not.
const BEGINS: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_secs(2);

pub struct Write<'a> {
    pub method: Method,
    pub path: &'a str,
    pub params: &'a BTreeMap<String, String>,
    pub wait_s: Option<u64>,
}

pub fn by_rest(client: &Client, write: &Write<'_>) -> Result<Output, StepError> {
    let method = match write.method {
        Method::Post => pve::Method::Post,
        Method::Put => pve::Method::Put,
        Method::Delete => pve::Method::Delete,
    };
    let answer = client.write(method, write.path, write.params).map_err(|error| match error.retry() {
        Retry::LookFirst if error.is_no_answer() => unknown(&error, wait_for_work(client, write)),
        Retry::LookFirst => unknown(&error, None),
        _ => refused(&error),
    })?;
    let upid = answer.as_str().and_then(|text| text.parse::<Upid>().ok());
    let mut output = Output::ok(values::text(&answer).unwrap_or_default());
    if let (Some(upid), Some(seconds)) = (upid, write.wait_s)
        && let TaskEnd::Warnings(lines) = client.follow(&upid, Duration::from_secs(seconds)).map_err(|e| ended(&e))?
    {
        output.stderr = lines.join("\n");
    }
    Ok(output)
}

/// By `pvesh`, which ends well whatever became of the task it ran: its name is the last thing it prints.
pub fn by_node(node: &dyn Host, step: &Step, write: &Write<'_>) -> Result<Output, StepError> {
    let since = Instant::now();
    let output = match node.perform(step) {
        Ok(output) => output,
        Err(StepError::Look(LookError::Api { path, status, message })) => {
            let method = match write.method {
                Method::Post => "POST",
                Method::Put => "PUT",
                Method::Delete => "DELETE",
            };
            let error = pve::Error::Api { method, path, status, message, errors: BTreeMap::new() };
            return Err(if error.retry() == Retry::LookFirst { unknown(&error, None) } else { refused(&error) });
        }
        Err(StepError::Look(LookError::Timeout { what, after_s })) => {
            let why = format!("no answer within {after_s} s; {MAY_BE_DONE}");
            return Err(StepError::Unknown { what, why });
        }
        Err(other) => return Err(other),
    };
    let mut answer = Output::ok(output.stdout.clone());
    answer.stderr = output.stderr.lines().filter(|l| l.starts_with("WARN")).collect::<Vec<_>>().join("\n");
    if let (Some(upid), Some(seconds)) = (printed_task(&output.stdout), write.wait_s) {
        // It went on for as long as pvesh did, and is over by now but for a node that lags.
        let deadline = since + Duration::from_secs(seconds.max(30));
        answer.stdout = upid.to_string();
        if let TaskEnd::Warnings(lines) = follow_on_node(node, &upid, since, deadline).map_err(|e| ended(&e))? {
            answer.stderr = lines.join("\n");
        }
    }
    Ok(answer)
}

/// The task that `pvesh` ran. Its log stands before the name; where another node ran it, all of it is one JSON text.
fn printed_task(stdout: &str) -> Option<Upid> {
    let end = stdout.trim_end().trim_end_matches(['"', '\\']);
    end.get(end.rfind("UPID:")?..)?.parse().ok()
}

fn follow_on_node(node: &dyn Host, upid: &Upid, since: Instant, deadline: Instant) -> Result<TaskEnd, pve::Error> {
    let mut unclear = 0;
    // As it is: `pvesh` takes paths that are not encoded.
    let place = format!("/nodes/{}/tasks/{upid}", upid.node);
    loop {
        let silent = match node.api(&ApiGet::new(format!("{place}/status"))) {
            Ok(answer) => match upid.state(&answer)? {
                State::Running => None,
                State::Ended(exitstatus) if is_unclear(&exitstatus) && unclear < UNCLEAR_TRIES => {
                    unclear += 1;
                    std::thread::sleep(Duration::from_secs(1));
                    continue;
                }
                State::Ended(exitstatus) if exitstatus == "OK" => return Ok(TaskEnd::Ok),
                State::Ended(exitstatus) => {
                    let log = node.api(&ApiGet::new(format!("{place}/log")).param("limit", "0"));
                    let mut log = lines(&log.unwrap_or(Json::Null));
                    return upid.end(&exitstatus, log.split_off(log.len().saturating_sub(LOG_LINES)));
                }
            },
            // It was understood, and there is nothing to be told.
            Err(LookError::Api { status: 400 | 501, message, .. }) => return Err(upid.lost(message)),
            Err(error) => Some(error.to_string()),
        };
        if Instant::now() >= deadline {
            return Err(upid.still_runs(since.elapsed(), silent));
        }
        std::thread::sleep(PAUSE);
    }
}

const MAY_BE_DONE: &str = "it may have been carried out or not";

fn what() -> String {
    "the Proxmox API".to_owned()
}

/// Nothing was done.
fn refused(error: &pve::Error) -> StepError {
    let (what, why) = (what(), with_advice(error.to_string(), error));
    if error.is_conflict() { StepError::Overtaken { what, why } } else { StepError::Failed { what, why } }
}

/// `became`: what is known of the work all the same.
fn unknown(error: &pve::Error, became: Option<String>) -> StepError {
    if error.is_conflict() {
        return refused(error);
    }
    let mut why = with_advice(error.to_string(), error);
    // A text of Proxmox itself says what happened, if not that nothing did.
    let is_silent = error.is_no_answer() && !matches!(error, pve::Error::UnknownOutcome { .. });
    for more in is_silent.then(|| MAY_BE_DONE.to_owned()).into_iter().chain(became) {
        why = format!("{why}; {more}");
    }
    StepError::Unknown { what: what(), why }
}

/// A task that ended badly has failed; whatever else is said while it is followed, it may yet do its work.
fn ended(error: &pve::Error) -> StepError {
    match error {
        pve::Error::Task { .. } => refused(error),
        _ => unknown(error, None),
    }
}

/// Waits for what a write may have begun without our being told its name, since a look before its end would find half of
/// it. Says how it failed, if it did.
fn wait_for_work(client: &Client, write: &Write<'_>) -> Option<String> {
    let seconds = write.wait_s?;
    let work = Work::of(write)?;
    std::thread::sleep(BEGINS);
    let path = format!("/nodes/{}/tasks", work.node);
    let active = client.get(&path, [("source", "active"), ("limit", "500")]).ok()?;
    let upid = active.as_array().into_iter().flatten().find_map(|row| work.found_in(row, client.user()))?;
    client.follow(&upid, Duration::from_secs(seconds)).err().map(|error| error.to_string())
}

/// What a task would be known by that a write began.
struct Work<'a> {
    node: &'a str,
    /// The guest it works on; of a download only its kind is known.
    vmid: Option<&'a str>,
}

impl<'a> Work<'a> {
    fn of(write: &Write<'a>) -> Option<Self> {
        let parts: Vec<&str> = write.path.trim_start_matches('/').split('/').collect();
        match (parts.as_slice(), write.method) {
            // Written at once, without a task.
            (["nodes", _, "lxc", _, "config"], _) => None,
            (["nodes", node, "lxc"], Method::Post) => {
                Some(Self { node, vmid: Some(write.params.get("vmid")?.as_str()) })
            }
            (["nodes", node, "lxc", vmid, ..], _) => Some(Self { node, vmid: Some(vmid) }),
            (["nodes", node, "aplinfo"], _) => Some(Self { node, vmid: None }),
            _ => None,
        }
    }

    fn found_in(&self, task: &Json, user: &str) -> Option<Upid> {
        let upid: Upid = task.get("upid")?.as_str()?.parse().ok()?;
        let mine = match self.vmid {
            Some(vmid) => upid.id == vmid,
            None => upid.kind == "download",
        };
        (mine && upid.user == user && task.get("endtime").is_none_or(Json::is_null)).then_some(upid)
    }
}

#[cfg(test)]
mod tests;
