//! What happens in a run, as one stream that every reporter reads. A recorded stream replays.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Check,
    Apply,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    Drifted,
    Changed,
    Skipped,
    Blocked,
    Failed,
    Unreachable,
}

impl Outcome {
    /// The word of the contract, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Drifted => "drifted",
            Self::Changed => "changed",
            Self::Skipped => "skipped",
            Self::Blocked => "blocked",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
        }
    }
}

/// One task on one host, done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    pub play: String,
    pub task: String,
    pub kind: String,
    pub host: String,
    /// The loop item, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    pub outcome: Outcome,
    pub summary: String,
    /// Unified diff; empty when there is none, or when `no_log` hides it.
    pub diff: String,
    /// The outcome rests on predicted changes and may turn out otherwise; the text says why.
    pub provisional: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisional_reason: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    pub took_ms: u64,
    /// `file:line` of the task.
    pub place: String,
    /// The host that was really asked (`delegate_to`), where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegated_to: Option<String>,
    /// What the task keeps: a path, a unit, a resource; empty where its kind has no such word.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// A handler, run because something notified it.
    #[serde(default)]
    pub handler: bool,
    /// The playbook said `ignore_errors`, or a `rescue` took over: the failure does not count for the exit code.
    #[serde(default)]
    pub ignored: bool,
}

/// Who changed something and when, in the words of the place that knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Trace {
    /// Seconds since the epoch.
    pub at: i64,
    pub source: TraceSource,
    /// A user (`root`, `root@pam`, `admin@pve!token`); empty where the place does not say.
    pub by: String,
    /// What was done or touched: `vzstop 101`, `/etc/exports`.
    pub what: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceSource {
    /// Owner and time of a file: who owns it, not certainly who wrote it.
    File,
    /// Proxmox VE's task log.
    TaskLog,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub ok: usize,
    pub drifted: usize,
    pub changed: usize,
    pub skipped: usize,
    pub blocked: usize,
    pub failed: usize,
    pub unreachable: usize,
}

impl Totals {
    pub fn count(&mut self, outcome: Outcome) {
        let field = match outcome {
            Outcome::Ok => &mut self.ok,
            Outcome::Drifted => &mut self.drifted,
            Outcome::Changed => &mut self.changed,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Blocked => &mut self.blocked,
            Outcome::Failed => &mut self.failed,
            Outcome::Unreachable => &mut self.unreachable,
        };
        *field += 1;
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "nearly all events are results, and none is kept in a list")]
pub enum Event {
    RunStarted {
        mode: Mode,
        playbooks: Vec<String>,
        tasks: usize,
        hosts: Vec<String>,
    },
    PlayStarted {
        play: String,
        hosts: Vec<String>,
    },
    TaskStarted {
        play: String,
        task: String,
        kind: String,
        hosts: Vec<String>,
        handler: bool,
    },
    /// A task on a host that takes its time; `fraction` 0.0–1.0 where it is known.
    Progress {
        host: String,
        task: String,
        message: String,
        fraction: Option<f32>,
    },
    Result(TaskResult),
    /// Who changed what the task at `place` keeps on a host, asked for after the results.
    Traced {
        host: String,
        place: String,
        object: String,
        traces: Vec<Trace>,
    },
    /// Something a person should know that belongs to no task.
    Note {
        message: String,
    },
    RunEnded {
        totals: Totals,
        exit: u8,
        took_ms: u64,
        /// What failed and has no result: handlers that a host is owed and cannot be read, plays that were not run.
        #[serde(default)]
        untold: usize,
    },
}

/// Where a run's events go.
pub trait Reporter {
    fn event(&mut self, event: &Event);
}
