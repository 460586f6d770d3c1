//! What one run saw, by identity: the results of a run as findings, and what was found to be as described.

use super::collect::Traces;
use crate::event::{Outcome, TaskResult, Trace};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Everything a run says about one thing on one host.
#[derive(Debug, Clone)]
pub struct Sighting {
    pub id: String,
    /// The worst of its results.
    pub result: TaskResult,
    pub object: String,
    /// The names of all tasks that found it wrong.
    pub tasks: BTreeSet<String>,
    pub traces: Vec<Trace>,
}

/// A run, sorted by what can be remembered.
#[derive(Debug, Default)]
pub struct Sightings {
    /// In the order in which they were seen first.
    pub seen: Vec<Sighting>,
    /// Identity → names of the tasks that found it as described.
    fine: BTreeMap<String, BTreeSet<String>>,
    /// Every task that said anything, by host.
    said: BTreeSet<(String, String)>,
    /// Hosts whose tasks did not all get their turn.
    cut_short: BTreeSet<String>,
    /// Hosts that answered.
    answered: BTreeSet<String>,
}

/// What a host is called when it is itself the finding.
const HOST: &str = "host";
/// The kind of a run that could not look at all.
pub const RUN: &str = "run";

impl Sightings {
    pub fn of(results: &[TaskResult], traces: &Traces) -> Self {
        let mut all = Self::default();
        let mut at: BTreeMap<String, usize> = BTreeMap::new();
        for result in results {
            all.note(result);
            if !is_finding(result) {
                continue;
            }
            let (id, object) = identity(result);
            let key = (result.host.clone(), result.place.clone(), result.object.clone());
            let traces = traces.get(&key).cloned().unwrap_or_default();
            match at.get(&id) {
                Some(place) => all.seen[*place].add(result, traces),
                None => {
                    at.insert(id.clone(), all.seen.len());
                    let tasks = BTreeSet::from([result.task.clone()]);
                    all.seen.push(Sighting { id, result: result.clone(), object, tasks, traces });
                }
            }
        }
        all
    }

    fn note(&mut self, result: &TaskResult) {
        let host = result.host.clone();
        match result.outcome {
            Outcome::Unreachable => drop(self.cut_short.insert(host)),
            outcome => {
                self.answered.insert(host.clone());
                self.said.insert((host.clone(), result.task.clone()));
                if matches!(outcome, Outcome::Failed | Outcome::Blocked) && !result.ignored {
                    self.cut_short.insert(host);
                }
            }
        }
        // "Probably fine by then" is no sight of anything.
        if matches!(result.outcome, Outcome::Ok | Outcome::Changed) && !result.provisional {
            self.fine.entry(identity(result).0).or_default().insert(result.task.clone());
        }
    }

    /// Whether something that was found wrong by `tasks` was looked at and is as described. Every one of them must have
    /// said so; one that was renamed or taken out has no say where all others of its host had their turn.
    pub fn is_fine(&self, id: &str, host: &str, kind: &str, tasks: &BTreeSet<String>) -> bool {
        match kind {
            HOST => return self.answered.contains(host),
            // Somebody looked.
            RUN => return !self.fine.is_empty() || self.seen.iter().any(|s| s.result.kind != RUN),
            _ => {}
        }
        let Some(fine) = self.fine.get(id) else { return false };
        let absent =
            |task: &String| !self.said.contains(&(host.to_owned(), task.clone())) && !self.cut_short.contains(host);
        tasks.iter().all(|task| fine.contains(task) || absent(task))
    }
}

impl Sighting {
    /// Two tasks may keep the same thing: the worse one speaks, the diffs stand together.
    fn add(&mut self, result: &TaskResult, traces: Vec<Trace>) {
        self.tasks.insert(result.task.clone());
        let mut diff = std::mem::take(&mut self.result.diff);
        if result.outcome != Outcome::Unreachable && !diff.contains(&result.diff) {
            diff.push_str(&result.diff);
        }
        if badness(result.outcome) > badness(self.result.outcome) {
            self.result = result.clone();
        }
        self.result.diff = diff;
        self.traces.extend(traces);
        self.traces.sort_by(|a, b| b.cmp(a));
        self.traces.dedup();
    }
}

/// A handler that would run is no drift of its own, and what the playbook ignores is none at all.
fn is_finding(result: &TaskResult) -> bool {
    match result.outcome {
        Outcome::Drifted => !result.handler,
        Outcome::Blocked | Outcome::Failed | Outcome::Unreachable => !result.ignored,
        Outcome::Ok | Outcome::Changed | Outcome::Skipped => false,
    }
}

/// How bad an outcome is; what cannot be told comes before what differs.
pub fn badness(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Unreachable => 4,
        Outcome::Failed => 3,
        Outcome::Blocked => 2,
        Outcome::Drifted => 1,
        Outcome::Ok | Outcome::Changed | Outcome::Skipped => 0,
    }
}

/// The identity and the object. The texts of a result have no part in it; the task's name and loop item only where the
/// kind has no word for what it keeps.
fn identity(result: &TaskResult) -> (String, String) {
    let (kind, object) = match (result.outcome, result.object.as_str()) {
        (Outcome::Unreachable, _) => (HOST, result.host.clone()),
        (_, "") => (result.kind.as_str(), by_name(result)),
        (_, object) => (result.kind.as_str(), object.to_owned()),
    };
    let mut hash = Sha256::new();
    for part in [result.host.as_str(), kind, &object] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let id = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    (id, object)
}

fn by_name(result: &TaskResult) -> String {
    match &result.item {
        Some(item) => format!("{} ({item})", result.task),
        None => result.task.clone(),
    }
}

/// The kind that stands in a finding: that of its task, or `host`.
pub fn kind_of(result: &TaskResult) -> &str {
    if result.outcome == Outcome::Unreachable { HOST } else { &result.kind }
}

/// What a finding is called. A host that is lost has nothing to do with the task that came first.
pub fn name_of(result: &TaskResult) -> &str {
    if result.outcome == Outcome::Unreachable { "The host answers" } else { &result.task }
}

#[cfg(test)]
mod tests;
