//! What controller and agent say to each other, and how it is framed on a byte stream that may be a terminal.

mod codec;

pub use codec::{MARK, read_frame, write_frame};

use crate::event::Trace;
use crate::host::{LookError, Output, Step, StepError};
use crate::tasks::{AnyTask, Decision, Lack, Meanwhile, Trail, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// A task as it travels: the kind's name and its rendered, resolved arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WireTask {
    pub kind: String,
    pub args: Json,
}

/// A request, or what is said about it, with the number that ties them together: an answer that comes late is never
/// taken for the answer to something else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Numbered<T> {
    pub id: u64,
    pub body: T,
}

/// The number of an agent's first word; requests count on from there.
pub const GREETING: u64 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Request {
    /// Look, decide and (in `Apply`, unless `look_only`) act. `notify`: handlers journalled before anything is changed.
    /// `environment` is added to that of every program the task runs to change something.
    Run { task: WireTask, notify: Vec<String>, environment: BTreeMap<String, String>, look_only: bool },
    /// Look only, for a decision over all hosts.
    Probe { task: WireTask },
    /// Act on a decision made elsewhere.
    Perform { steps: Vec<Step>, notify: Vec<String> },
    /// Who changed something, as far as this host can say. Asks the host itself, also in a check.
    Trace { trails: Vec<Trail> },
    /// A handler ran to its end, or was journalled for a change that then did not happen.
    HandlerDone { handler: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Response {
    /// Comes first, as [`GREETING`] and unasked.
    Hello {
        /// Handlers that an earlier run owes this host, or why that cannot be told.
        owed: Result<Vec<String>, String>,
    },
    Run(HostResult),
    Probe {
        seen: Result<Json, LookError>,
        provisional: Vec<String>,
        /// What the login lacks for the change that is wanted by this look; only of the host `cluster`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lacks: Vec<Lack>,
    },
    Perform {
        result: Result<Vec<Output>, StepError>,
        provisional: Vec<String>,
    },
    /// Each with the place of its trail in the request.
    Trace {
        traces: Vec<(usize, Trace)>,
    },
    Done,
    /// Comes between a request and its answer.
    Progress {
        message: String,
        fraction: Option<f32>,
    },
    /// Comes at intervals while a request is worked on: silence means that the agent, or the way to it, is dead.
    Alive,
    /// The request could not be understood or served.
    Error {
        message: String,
    },
}

/// What became of one task on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostResult {
    pub status: Status,
    pub summary: String,
    pub diff: String,
    pub warnings: Vec<String>,
    /// For `register`.
    pub data: Json,
    /// Why the answer rests on predictions, if it does.
    pub provisional: Vec<String>,
    /// Check: a change was only predicted, so that `data` is not what an apply would register.
    #[serde(default)]
    pub predicted: bool,
    /// Not what the task came to, but why it never came to anything: `failed_when` has no say over it.
    #[serde(default)]
    pub outright: bool,
    /// Something was changed, whatever became of it then: its handlers are due.
    #[serde(default)]
    pub touched: bool,
    /// The host behind the agent cannot be asked (a node that is off, an API that is down).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<String>,
    /// What the task keeps ([`crate::tasks::Task::object`]).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// Where it may be read who changed that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trails: Vec<Trail>,
    /// Check: steps that the previews of other hosts (`on`) have to be told of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Step>,
    /// Check: it would run a program that may do anything, anywhere.
    #[serde(default)]
    pub does_anything: bool,
    /// What the login at the API lacks for the change that the task wants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<Lack>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Ok,
    /// Check: would be changed.
    Drifted,
    Changed,
    Blocked,
    Failed,
    /// Check: what a later apply would wait for or judge cannot be known now.
    Skipped,
}

impl HostResult {
    pub fn new(status: Status, summary: impl Into<String>) -> Self {
        Self {
            status,
            summary: summary.into(),
            diff: String::new(),
            warnings: Vec::new(),
            data: Json::Null,
            provisional: Vec::new(),
            predicted: false,
            outright: false,
            touched: false,
            unreachable: None,
            object: String::new(),
            trails: Vec::new(),
            elsewhere: Vec::new(),
            does_anything: false,
            lacks: Vec::new(),
        }
    }

    /// With what the task says of itself.
    pub fn about(mut self, task: &dyn AnyTask) -> Self {
        (self.object, self.trails) = (task.object(), task.trails());
        self
    }

    /// The result of a verdict that needs no action.
    pub fn of(verdict: Verdict) -> Self {
        let (status, summary, diff) = match verdict.decision {
            Decision::Ok(why) => (Status::Ok, why, String::new()),
            Decision::Drift(change) => (Status::Drifted, change.summary, change.diff),
            Decision::Blocked(why) => (Status::Blocked, why, String::new()),
            Decision::Failed(why) => (Status::Failed, why, String::new()),
            Decision::Wait { what, meanwhile, .. } => match meanwhile {
                Meanwhile::Fine => (Status::Skipped, format!("would wait: {what}"), String::new()),
                Meanwhile::Changes => (Status::Drifted, what, String::new()),
                Meanwhile::Trouble => (Status::Blocked, what, String::new()),
            },
        };
        Self { diff, warnings: verdict.warnings, data: verdict.data, ..Self::new(status, summary) }
    }
}
