//! Kinds that decide once over many hosts: look everywhere, decide here, act where the decision says, look again.
//!
//! What becomes of the results (`until`, `register`, handlers, failures) is not its matter: it answers for each host, as
//! an agent would for a task of its own.

mod differing;
mod doubt;
mod reach;
mod rights;

use super::flow::Scene;
use super::prepare::Ready;
use super::task::Lane;
use super::{Fleet, Mode};
use crate::engine::with_done;
use crate::event::Event;
use crate::host::{LookError, Output, StepError};
use crate::playbook::TaskDef;
use crate::tasks::cluster::CLUSTER;
use crate::tasks::{After, Change, Decision, Lack, Meanwhile, Observation, Touches, Verdict};
use crate::wire::{HostResult, Status};
use differing::differing;
use doubt::Doubt;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const MAX_STAGES: usize = 40;
/// How often a change is decided anew because somebody else was faster.
const MAX_OVERTAKEN: u32 = 4;

/// Lanes with what was prepared for each.
pub type Shared = Vec<(usize, Ready)>;

/// Runs such a task for the lanes it is ready for, and answers for each.
pub fn run(
    fleet: &mut Fleet<'_>,
    scene: &Scene<'_>,
    def: &TaskDef,
    name: &str,
    lanes: &[Lane],
    mut shared: Shared,
) -> Vec<(usize, HostResult, Duration)> {
    let since = Instant::now();
    // One decision needs one description. A kind that is mostly one host's own business may differ from host to host.
    if def.kind.touches != Touches::Host
        && let Some(why) = differing(lanes, &shared)
    {
        let answer = HostResult { outright: true, ..HostResult::new(Status::Failed, why) };
        return shared.into_iter().map(|(at, _)| (at, answer.clone(), since.elapsed())).collect();
    }
    let mut answers = Vec::new();
    while let Some((_, first)) = shared.first() {
        let wanted = first.task.to_json();
        let mut acting: BTreeMap<String, usize> = BTreeMap::new();
        let mut ready = None;
        let mut later = Vec::new();
        for (at, one) in shared {
            let target = if one.task.touches() == Touches::Cluster { CLUSTER } else { &lanes[at].target };
            if acting.contains_key(target) || one.task.to_json() != wanted {
                later.push((at, one));
            } else {
                acting.insert(target.to_owned(), at);
                ready.get_or_insert(one);
            }
        }
        shared = later;
        let Some(ready) = ready else { break };
        let owners = acting.iter().map(|(target, at)| (target.clone(), lanes[*at].host.clone())).collect();
        let mut session = Session::new(fleet, scene, def, name, owners, ready);
        session.converge();
        let found = session.finish();
        answers.extend(
            found
                .into_iter()
                .filter_map(|(target, answer)| acting.get(&target).map(|at| (*at, answer, since.elapsed()))),
        );
    }
    answers
}

/// What was done so far for one verdict.
#[derive(Default)]
struct Made {
    summaries: Vec<String>,
    diff: String,
    seen: Vec<Change>,
    outputs: Vec<Output>,
    last: Option<After>,
    end: Option<(Status, String)>,
    verdict: Option<Verdict>,
    /// How often somebody else was faster.
    overtaken: u32,
    /// What was waited for last.
    awaited: Option<String>,
    /// A change of which nobody knows whether it was made, until the next look.
    doubt: Option<Doubt>,
    /// What was said besides by those who carried out the changes.
    remarks: Vec<String>,
}

struct Session<'f, 'a, 's> {
    fleet: &'f mut Fleet<'a>,
    def: &'s TaskDef,
    name: &'s str,
    /// Who gets a verdict, and the host of the play that it is for.
    owners: BTreeMap<String, String>,
    /// Everybody who is looked at.
    watched: Vec<String>,
    ready: Ready,
    made: BTreeMap<String, Made>,
    /// Hosts that could not be looked at.
    blind: BTreeSet<String>,
    /// Why looks rest on predictions.
    doubts: BTreeSet<String>,
    /// What the login lacks for what is wanted by the last look.
    lacks: Vec<Lack>,
    /// The task's own `timeout`.
    until: Option<Instant>,
}

impl<'f, 'a, 's> Session<'f, 'a, 's> {
    fn new(
        fleet: &'f mut Fleet<'a>,
        scene: &Scene<'_>,
        def: &'s TaskDef,
        name: &'s str,
        owners: BTreeMap<String, String>,
        ready: Ready,
    ) -> Self {
        let mut watched = scene.all.to_vec();
        if ready.task.touches() == Touches::Cluster {
            watched = vec![CLUSTER.to_owned()];
            watched.extend(fleet.inventory.groups.get("nodes").cloned().unwrap_or_default());
        }
        watched.extend(owners.keys().filter(|host| !scene.all.contains(host) && *host != CLUSTER).cloned());
        let until = def.common.timeout_s.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let (made, doubts, blind, lacks) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new(), Vec::new());
        Self { fleet, def, name, owners, watched, ready, made, blind, doubts, lacks, until }
    }

    /// Rounds of look, decide, act until nobody wants anything any more.
    fn converge(&mut self) {
        let mut waiting: BTreeMap<String, Instant> = BTreeMap::new();
        for _ in 0..10_000 {
            let seen = self.look();
            if self.out_of_time() {
                break;
            }
            // Only those whose verdict is still open can be changed; a decision must not wait for the others.
            let open = |host: &&String| self.made.get(*host).is_none_or(|made| made.end.is_none());
            let acting: BTreeSet<String> = self.owners.keys().filter(open).cloned().collect();
            let verdicts = self.ready.task.decide_all_json(&seen, &acting);
            let mut acted = false;
            let mut wait: Option<u64> = None;
            for (host, verdict) in verdicts {
                if !acting.contains(&host) {
                    continue;
                }
                match &verdict.decision {
                    Decision::Wait { what, for_s, every_s, fraction, .. } if self.fleet.mode == Mode::Apply => {
                        let since = *waiting.entry(host.clone()).or_insert_with(Instant::now);
                        if since.elapsed() < Duration::from_secs(*for_s) {
                            self.made.entry(host.clone()).or_default().awaited = Some(what.clone());
                            self.progress(&host, what.clone(), *fraction);
                            wait = Some(wait.map_or(*every_s, |w: u64| w.min(*every_s)).max(1));
                        } else {
                            self.end(&host, Status::Failed, format!("after {for_s} s still: {what}"), &verdict);
                        }
                    }
                    Decision::Drift(change) => {
                        waiting.remove(&host);
                        acted |= self.change(&host, change, &verdict);
                    }
                    _ => self.settle(&host, verdict),
                }
                if self.out_of_time() {
                    return;
                }
            }
            if self.fleet.mode == Mode::Check || (!acted && wait.is_none()) {
                break;
            }
            // Deadlines count time in which nothing moved: another host's long step is no reason to give up.
            if acted {
                waiting.clear();
            }
            if !acted && let Some(seconds) = wait {
                let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
                let pause = Duration::from_secs(seconds);
                std::thread::sleep(left.map_or(pause, |left| left.min(pause)));
            }
        }
    }

    /// Whether the task's `timeout` is over; whoever has no verdict by then has failed.
    fn out_of_time(&mut self) -> bool {
        if self.until.is_none_or(|until| Instant::now() < until) {
            return false;
        }
        let seconds = self.def.common.timeout_s.unwrap_or_default();
        for host in self.owners.keys() {
            let made = self.made.entry(host.clone()).or_default();
            let awaited =
                made.awaited.as_ref().map_or_else(String::new, |what| format!("; it waited for this: {what}"));
            made.end.get_or_insert_with(|| {
                (Status::Failed, format!("not done within its timeout of {seconds} s{awaited}"))
            });
        }
        true
    }

    /// Performs a change for one verdict. Returns whether the world may be different now.
    fn change(&mut self, host: &str, change: &Change, verdict: &Verdict) -> bool {
        // Not on a preview either: no later task finds it done.
        if self.only_looks() {
            self.end(host, Status::Drifted, change.summary.clone(), verdict);
            self.made.entry(host.to_owned()).or_default().diff.push_str(&change.diff);
            return false;
        }
        if let Some(why) = self.forbidden(host) {
            self.end(host, Status::Blocked, why, verdict);
            return false;
        }
        let made = self.made.entry(host.to_owned()).or_default();
        let circle = match made.last {
            Some(After::LookAgain) => Some("still not as described after the change"),
            _ if made.seen.len() >= MAX_STAGES || made.seen.contains(change) => Some("no progress"),
            // What was in doubt was not done. Once is enough: whatever refused it would refuse it again.
            _ if made.doubt.is_some() && made.summaries.last() == Some(&change.summary) => Some("no progress"),
            _ => None,
        };
        if let Some(words) = circle {
            self.end(host, Status::Failed, format!("{words}; it still wants to: {}", change.summary), verdict);
            return false;
        }
        made.remarks.extend(made.doubt.take().map(Doubt::left_open));
        let before = (made.diff.len(), made.last);
        made.summaries.push(change.summary.clone());
        made.diff.push_str(&change.diff);
        made.seen.push(change.clone());
        made.last = Some(change.after);
        made.verdict = Some(verdict.clone());
        let notify = self.ready.notify.clone();
        match self.perform(host, &change.steps, &notify) {
            Ok(outputs) => {
                let made = self.made.entry(host.to_owned()).or_default();
                made.remarks.extend(doubt::remarks(&change.steps, &outputs));
                made.outputs.extend(outputs);
                if self.fleet.mode == Mode::Check {
                    let summary = change.summary.clone();
                    self.end(host, Status::Drifted, summary, verdict);
                } else if change.after == After::Done {
                    self.end(host, Status::Changed, change.summary.clone(), verdict);
                }
                true
            }
            Err(StepError::Overtaken { .. })
                if self.made.get(host).is_some_and(|made| made.overtaken < MAX_OVERTAKEN) =>
            {
                let made = self.made.entry(host.to_owned()).or_default();
                made.overtaken += 1;
                made.seen.pop();
                if change.steps.len() == 1 {
                    made.summaries.pop();
                    made.diff.truncate(before.0);
                    made.last = before.1;
                } else {
                    // Steps before the one that was refused may be done.
                    made.last = Some(After::NextStage);
                }
                // Whoever writes again and again is given room to finish.
                std::thread::sleep(Duration::from_millis(300 * u64::from(made.overtaken)));
                true
            }
            // A look settles it, if there is one.
            Err(error @ StepError::Unknown { .. }) if change.after != After::Done => {
                let made = self.made.entry(host.to_owned()).or_default();
                if change.steps.len() > 1 {
                    // Steps after the one in doubt were not tried.
                    made.last = Some(After::NextStage);
                }
                made.doubt = Some(Doubt { said: error.to_string(), change: made.summaries.len() - 1 });
                true
            }
            Err(error) => {
                let first = self.made.get(host).is_some_and(|m| m.seen.len() == 1);
                if let Some(made) = self.made.get_mut(host) {
                    made.summaries.pop();
                }
                let refused = matches!(error, StepError::Refused { .. });
                let status = if refused && first { Status::Blocked } else { Status::Failed };
                let why = match error {
                    StepError::Overtaken { what, why } => format!(
                        "somebody else changed the same thing {} times between look and change, and is left to finish; \
                         run again then ({what}: {why})",
                        MAX_OVERTAKEN + 1
                    ),
                    other => other.to_string(),
                };
                self.end(host, status, why, verdict);
                true
            }
        }
    }

    /// A verdict that wants no change.
    fn settle(&mut self, host: &str, verdict: Verdict) {
        let made = self.made.entry(host.to_owned()).or_default();
        let changed = made.last.is_some();
        let doubtful = self.fleet.mode == Mode::Check && !self.doubts.is_empty();
        let (status, words) = match &verdict.decision {
            Decision::Ok(why) if changed => (Status::Changed, why.clone()),
            Decision::Ok(why) => (Status::Ok, why.clone()),
            Decision::Blocked(why) | Decision::Failed(why) if doubtful => {
                let words = format!("would be changed (now: {why})");
                self.unsettle(host);
                (Status::Drifted, words)
            }
            Decision::Blocked(why) => (Status::Blocked, why.clone()),
            Decision::Failed(why) => (Status::Failed, why.clone()),
            Decision::Wait { what, meanwhile, .. } => match meanwhile {
                Meanwhile::Fine => (Status::Ok, format!("an apply would wait: {what}")),
                Meanwhile::Trouble if !doubtful => (Status::Blocked, what.clone()),
                Meanwhile::Changes | Meanwhile::Trouble => (Status::Drifted, what.clone()),
            },
            Decision::Drift(change) => (Status::Drifted, change.summary.clone()),
        };
        self.end(host, status, words, &verdict);
    }

    fn end(&mut self, host: &str, status: Status, words: String, verdict: &Verdict) {
        let made = self.made.entry(host.to_owned()).or_default();
        made.verdict = Some(verdict.clone());
        made.end = Some((status, words));
    }

    fn progress(&mut self, host: &str, message: String, fraction: Option<f32>) {
        let (host, task) = (host.to_owned(), self.name.to_owned());
        let message = if self.def.common.no_log { "working".to_owned() } else { message };
        self.fleet.reporter.event(&Event::Progress { host, task, message, fraction });
    }

    /// What became of each verdict.
    fn finish(mut self) -> Vec<(String, HostResult)> {
        let mut answers = Vec::new();
        for host in std::mem::take(&mut self.owners).into_keys() {
            let answer = match self.made.remove(&host) {
                Some(made) => self.answer(&host, made),
                None => {
                    HostResult::new(Status::Failed, format!("`{}` gave no verdict for this host", self.def.kind.name))
                }
            };
            answers.push((host, answer));
        }
        answers
    }

    fn answer(&self, host: &str, made: Made) -> HostResult {
        let (status, words) = made.end.unwrap_or((Status::Failed, "stopped before it was converged".into()));
        let verdict = made.verdict.unwrap_or_else(|| Verdict::ok(""));
        let (data, finished) = self.ready.task.finish(verdict.data, &made.outputs);
        let (words, remarks, done) = doubt::settle(status, words, made.summaries, made.doubt, made.remarks);
        let summary = match status {
            Status::Changed => done.join("; "),
            _ if self.fleet.mode == Mode::Apply => with_done(status, words, &done),
            _ => words,
        };
        let mut answer = HostResult::new(status, summary);
        if let (Err(why), Status::Ok | Status::Changed) = (finished, status) {
            answer.status = Status::Failed;
            answer.summary = why;
        }
        let check = self.fleet.mode == Mode::Check;
        (answer.diff, answer.warnings, answer.data) = (made.diff, verdict.warnings, data);
        answer.warnings.extend(remarks);
        answer.provisional = self.doubts.iter().filter(|_| check).cloned().collect();
        answer.predicted = check && status == Status::Drifted;
        answer.touched = !check && made.last.is_some();
        answer.outright = self.blind.contains(host);
        self.tell_lacks(host, &mut answer);
        answer.about(self.ready.task.as_ref())
    }
}

type Seen = BTreeMap<String, Observation<Json>>;

fn not_yet(answer: &Observation<Json>) -> Option<&str> {
    match answer {
        Err(LookError::NotYet { why }) => Some(why),
        _ => None,
    }
}
