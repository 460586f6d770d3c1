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
        let mut turns: BTreeMap<String, usize> = BTreeMap::new();
        for result in results {
            let (id, object) = identity(result, &mut turns);
            all.note(result, &id);
            if !is_finding(result) {
                continue;
            }
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

    fn note(&mut self, result: &TaskResult, id: &str) {
        if result.outcome != Outcome::Unreachable {
            self.answered.insert(asked(result).to_owned());
        }
        // "Probably fine by then" is no sight of anything.
        if matches!(result.outcome, Outcome::Ok | Outcome::Changed) && !result.provisional {
            self.fine.entry(id.to_owned()).or_default().insert(result.task.clone());
        }
    }

    /// Whether something that was found wrong by `tasks` was looked at and is as described. Every one of them must have
    /// said so: one that said nothing may have been left out by tags, have had no turn, or stand in another playbook.
    pub fn is_fine(&self, id: &str, host: &str, kind: &str, tasks: &BTreeSet<String>) -> bool {
        match kind {
            HOST => self.answered.contains(host),
            // Somebody looked.
            RUN => !self.fine.is_empty() || self.seen.iter().any(|s| s.result.kind != RUN),
            _ => self.fine.get(id).is_some_and(|fine| tasks.is_subset(fine)),
        }
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

/// The host that was asked.
fn asked(result: &TaskResult) -> &str {
    result.delegated_to.as_ref().unwrap_or(&result.host)
}

/// The host that a finding is about.
pub fn host_of(result: &TaskResult) -> &str {
    if result.outcome == Outcome::Unreachable { asked(result) } else { &result.host }
}

/// The identity and the object. The texts of a result have no part in it; play, name, loop item and turn of the task only
/// where the kind has no word for what it keeps. `turns` counts the results of one name in this run: a task has its turn
/// also when it is skipped.
fn identity(result: &TaskResult, turns: &mut BTreeMap<String, usize>) -> (String, String) {
    let (kind, object) = (result.kind.as_str(), result.object.as_str());
    let item = result.item.as_deref().unwrap_or_default();
    let name = hash(&[&result.host, kind, &result.play, &result.task, item]);
    let turn = turns.entry(name).or_default();
    *turn += 1;
    if result.outcome == Outcome::Unreachable {
        let host = asked(result);
        return (hash(&[host, HOST]), host.to_owned());
    }
    if !object.is_empty() {
        return (hash(&[&result.host, kind, object]), object.to_owned());
    }
    let shown = match item {
        "" => result.task.clone(),
        item => format!("{} ({item})", result.task),
    };
    let shown = if *turn > 1 { format!("{shown}, the {turn}. of this name") } else { shown };
    (hash(&[&result.host, kind, &result.play, &shown]), shown)
}

/// 12 hexadecimal digits of the parts, which do not run into each other.
fn hash(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
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
