//! What every form of a drift report is made from: JSON, page, metrics, JUnit, messages.

pub use crate::event::{Trace, TraceSource};

use crate::event::{Outcome, TaskResult, Totals};
use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01 00:00 UTC.
pub type Time = i64;

/// One look at everything, with the memory of the looks before. As JSON it is the object of `-o json` with more fields:
/// an interface, fields are added at times, never renamed or removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Always `drift`.
    pub mode: String,
    pub exit: u8,
    pub totals: Totals,
    pub run: Run,
    /// What is not as described, worst first, and what has gone since the run before.
    pub findings: Vec<Finding>,
    /// Every task on every host, in the order of the playbooks.
    pub results: Vec<TaskResult>,
    #[serde(default)]
    pub notes: Vec<String>,
    /// Messages that could not be handed over yet.
    #[serde(default)]
    pub undelivered: Vec<Undelivered>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Counts the runs of one history; unique within it.
    pub id: i64,
    pub started: Time,
    pub ended: Time,
    pub took_ms: u64,
    pub playbooks: Vec<String>,
    /// Every host of the inventory, in its order.
    pub hosts: Vec<String>,
    /// The version of the program.
    pub version: String,
    /// The machine that looked.
    pub by: String,
    /// When the run before this one ended.
    #[serde(default)]
    pub previous: Option<Time>,
}

/// Something that is not as described, or whose state could not be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// 12 hexadecimal digits, the same in every run, whatever its texts say.
    pub id: String,
    pub play: String,
    pub task: String,
    pub kind: String,
    pub host: String,
    /// What the task keeps: a path, a unit, a resource; the task's name where its kind has no such word.
    pub object: String,
    /// `file:line` of the task.
    pub place: String,
    /// Drifted, blocked, failed or unreachable; for a finding that is gone, what it was.
    pub outcome: Outcome,
    pub summary: String,
    /// Unified diff; may be empty.
    pub diff: String,
    pub provisional: bool,
    pub standing: Standing,
    /// The very first time.
    pub first_seen: Time,
    /// Since when it is there now, or was until it was gone.
    pub since: Time,
    pub last_seen: Time,
    /// In how many runs it was seen.
    pub seen: u64,
    /// Since when it is gone.
    #[serde(default)]
    pub gone_since: Option<Time>,
    /// The spells before this one, oldest first: from the first sight to the run that found it gone.
    #[serde(default)]
    pub earlier: Vec<(Time, Time)>,
    /// An acknowledgement or mute that is in force.
    #[serde(default)]
    pub mark: Option<Mark>,
    /// Who or what changed it, as far as the host can say.
    #[serde(default)]
    pub traces: Vec<Trace>,
    /// The command that converges it; empty where only a person can decide.
    pub heal: String,
}

/// How a finding stands against the runs before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Never seen before.
    New,
    /// It was gone and is there again.
    Back,
    Still,
    /// Nobody looked: its host was away, or this run did not reach its task. It counts as there.
    NotLooked,
    /// Looked at, and as described again.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// Known: still counted, no longer told.
    Acknowledged,
    /// Neither counted nor told.
    Muted,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    pub kind: MarkKind,
    pub reason: String,
    pub by: String,
    pub at: Time,
    /// Without one, until it is gone.
    #[serde(default)]
    pub until: Option<Time>,
}

/// A message that could not be handed over; it is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Undelivered {
    /// The channel's name in the configuration; never its address, which may hold a secret.
    pub channel: String,
    pub since: Time,
    pub tries: u32,
    pub error: String,
}

impl Finding {
    /// Not as described now, as far as is known.
    pub fn is_open(&self) -> bool {
        self.standing != Standing::Gone
    }

    pub fn is_muted(&self) -> bool {
        self.mark.as_ref().is_some_and(|mark| mark.kind == MarkKind::Muted)
    }
}

/// A word as it is typed in a shell: quoted only where it must be, because people read it.
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
