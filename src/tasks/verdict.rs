//! What a kind decided, and the change it wants.

use crate::host::Step;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// The decision on one host, with what is worth telling besides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub decision: Decision,
    /// Shown also when all is ok (an unstable device name, a next kernel without a module).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What `register` sees beside `changed` and `failed`.
    #[serde(default)]
    pub data: Json,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// As described; the text says so in a few words ("already as described" is the poorest of them).
    Ok(String),
    Drift(Change),
    /// Safe or possible only after somebody decides or repairs; the text says what, why and what to do.
    Blocked(String),
    /// The task itself says no (`fail`, `assert`).
    Failed(String),
    /// Not yet so, and expected to become so without our doing: look again every `every_s` until `for_s` are over.
    Wait {
        what: String,
        for_s: u64,
        every_s: u64,
        /// 0.0–1.0, for a progress bar.
        fraction: Option<f32>,
        #[serde(default)]
        meanwhile: Meanwhile,
    },
}

/// How a check, which does not wait, judges a [`Decision::Wait`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meanwhile {
    /// Nothing is wrong, it only takes time (a sync).
    #[default]
    Fine,
    /// An apply will change this host when the wait is over.
    Changes,
    /// Not as described; only an apply finds out whether waiting helps.
    Trouble,
}

/// What would make the host as described.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// One line, in the words of the field: "install drbd-utils 9.22.0-1".
    pub summary: String,
    /// Unified diff of what is and what shall be, empty where there is no text to compare.
    pub diff: String,
    pub steps: Vec<Step>,
    pub after: After,
}

/// What the engine does when the steps are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// Looks again; still drifting is a failure.
    LookAgain,
    /// This was one stage of several: looks and decides again, and goes on as long as a new change comes.
    NextStage,
    /// There is nothing to look at (a command).
    Done,
}

impl Verdict {
    pub fn ok(why: impl Into<String>) -> Self {
        Decision::Ok(why.into()).into()
    }

    pub fn blocked(reason: impl Into<String>) -> Self {
        Decision::Blocked(reason.into()).into()
    }

    pub fn failed(reason: impl Into<String>) -> Self {
        Decision::Failed(reason.into()).into()
    }

    pub fn drift(summary: impl Into<String>, diff: impl Into<String>, steps: Vec<Step>) -> Self {
        Decision::Drift(Change { summary: summary.into(), diff: diff.into(), steps, after: After::LookAgain }).into()
    }

    /// One stage of several; the engine looks and decides again after it.
    pub fn stage(summary: impl Into<String>, diff: impl Into<String>, steps: Vec<Step>) -> Self {
        Decision::Drift(Change { summary: summary.into(), diff: diff.into(), steps, after: After::NextStage }).into()
    }

    pub fn wait(what: impl Into<String>, for_s: u64, every_s: u64, fraction: Option<f32>) -> Self {
        Decision::Wait { what: what.into(), for_s, every_s, fraction, meanwhile: Meanwhile::Fine }.into()
    }

    /// How a check shall judge this wait; other decisions stay as they are.
    pub fn meanwhile(mut self, is: Meanwhile) -> Self {
        if let Decision::Wait { meanwhile, .. } = &mut self.decision {
            *meanwhile = is;
        }
        self
    }

    pub fn warn(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }

    pub fn data(mut self, data: Json) -> Self {
        self.data = data;
        self
    }
}

impl From<Decision> for Verdict {
    fn from(decision: Decision) -> Self {
        Self { decision, warnings: Vec::new(), data: Json::Null }
    }
}
