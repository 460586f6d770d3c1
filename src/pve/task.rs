//! How a task stands and how it ended, read from what the API says of it. Asks nobody: whoever polls brings the answers.

use super::{Error, Upid};
use serde_json::Value as Json;
use std::time::Duration;

/// Lines of a task's log that are shown.
pub const LOG_LINES: usize = 12;
/// How often an end is asked for again that may only look like one.
pub const UNCLEAR_TRIES: u32 = 5;

/// How a task ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEnd {
    Ok,
    /// It did its work and wrote warnings into its log; these are its last lines.
    Warnings(Vec<String>),
}

/// What `…/status` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Running,
    /// Its exit status, as written.
    Ended(String),
}

impl Upid {
    /// What the answer to `GET …/status` says.
    pub fn state(&self, answer: &Json) -> Result<State, Error> {
        let word = |key: &str| answer.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
        match word("status").as_str() {
            "running" => Ok(State::Running),
            "stopped" => Ok(State::Ended(word("exitstatus"))),
            other => {
                let why = format!("status `{other}`");
                Err(Error::BadAnswer { path: format!("{}/status", self.path()), why })
            }
        }
    }

    /// How the task ended, by its exit status and the last lines of its log; none where the log cannot be had, which must
    /// not hide how it ended.
    pub fn end(&self, exitstatus: &str, log: Vec<String>) -> Result<TaskEnd, Error> {
        let last = log.last().map(String::as_str).unwrap_or_default();
        let unclear = is_unclear(exitstatus) || exitstatus.starts_with("unable to ");
        if exitstatus == "OK" || unclear && last == "TASK OK" {
            return Ok(TaskEnd::Ok);
        }
        if exitstatus.starts_with("WARNINGS: ") || unclear && last.starts_with("TASK WARNINGS: ") {
            return Ok(TaskEnd::Warnings(log));
        }
        if unclear && !last.starts_with("TASK ERROR: ") {
            return Err(self.lost(if exitstatus.is_empty() { "no exit status" } else { exitstatus }));
        }
        let (node, kind, id) = (self.node.clone(), self.kind.clone(), self.id.clone());
        Err(Error::Task { node, kind, id, exitstatus: exitstatus.to_owned(), log })
    }

    /// Nobody can tell how it ended.
    pub fn lost(&self, why: impl Into<String>) -> Error {
        let (node, kind, id) = (self.node.clone(), self.kind.clone(), self.id.clone());
        Error::TaskLost { node, kind, id, upid: self.to_string(), why: why.into() }
    }

    /// It was not seen to end. `silent`: why nobody could be asked at last, if so.
    pub fn still_runs(&self, after: Duration, silent: Option<String>) -> Error {
        Error::TaskRuns {
            node: self.node.clone(),
            kind: self.kind.clone(),
            id: self.id.clone(),
            upid: self.to_string(),
            after_s: after.as_secs(),
            silent,
        }
    }
}

/// Comes also for a moment at the very end of a task that went well, and may be cached.
pub fn is_unclear(exitstatus: &str) -> bool {
    matches!(exitstatus, "unexpected status" | "")
}

/// The texts of `GET …/log`.
pub fn lines(log: &Json) -> Vec<String> {
    let lines = log.as_array().into_iter().flatten();
    lines.filter_map(|line| line.get("t").and_then(Json::as_str)).map(|t| t.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_cannot_be_told_is_not_a_failure() {
        let upid: Upid = "UPID:pve1:0000057E:000249E0:6B02A6C7:vzcreate:101:root@pam:".parse().unwrap();
        let log = |last: &str| vec!["extracting".to_owned(), last.to_owned()];
        for (status, log, end) in [
            ("OK", vec![], "Ok"),
            ("unexpected status", log("TASK OK"), "Ok"),
            ("unable to open file - No such file or directory", log("TASK WARNINGS: 2"), "Warnings"),
            ("WARNINGS: 1", vec![], "Warnings"),
            ("unexpected status", log("extracting"), "TaskLost"),
            ("", vec![], "TaskLost"),
            ("", log("TASK ERROR: no space left"), "Task {"),
            ("command 'tar' failed: exit code 2", vec![], "Task {"),
        ] {
            let said = match upid.end(status, log) {
                Ok(end) => format!("{end:?}"),
                Err(error) => format!("{error:?}"),
            };
            assert!(said.starts_with(end), "{status}: {said}");
        }
    }
}
