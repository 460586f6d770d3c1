//! Kinds that decide once over many hosts: look everywhere, decide here, act where the decision says, look again.

use super::flow::Scene;
use super::prepare::{Prepared, Ready};
use super::render;
use super::task::{unready, wire};
use super::{Fleet, Mode};
use crate::event::{Event, Outcome};
use crate::host::{Action, Effect, LookError, Output, Step, StepError};
use crate::link::LinkError;
use crate::playbook::TaskDef;
use crate::tasks::{After, Change, Decision, Meanwhile, Observation, Touches, Verdict};
use crate::wire::{HostResult, Request, Response, Status};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const MAX_STAGES: usize = 40;

/// Runs such a task for `acting` hosts; returns those on which it failed.
pub fn run(fleet: &mut Fleet<'_>, scene: &Scene<'_>, def: &TaskDef, name: &str, acting: &[String]) -> Vec<String> {
    let acting = &willing(fleet, scene, def, name, acting)[..];
    let Some(speaker) = acting.first().cloned() else { return Vec::new() };
    let items = match fleet.loop_items(scene, &def.common, &speaker) {
        Ok(items) => items,
        Err(fault) => {
            let message = fleet.sources.show(&[fault], false);
            return refuse(fleet, scene, def, name, acting, HostResult::new(Status::Failed, message));
        }
    };
    let mut failed = BTreeSet::new();
    for (index, item) in items.into_iter().enumerate() {
        let prepared = fleet.prepare(scene, def, &speaker, item.map(|i| (index, i)));
        let ready = match prepared {
            Prepared::Ready(ready) => ready,
            other => {
                failed.extend(refuse(fleet, scene, def, name, acting, unready(def, other)));
                continue;
            }
        };
        let mut session = Session::new(fleet, scene, def, name, acting, ready);
        session.converge();
        failed.extend(session.finish());
    }
    failed.into_iter().collect()
}

/// The hosts on which the conditions hold; the others are reported as skipped. A condition that needs a loop item or
/// cannot be evaluated is left to the preparing, which says what is wrong.
fn willing(fleet: &mut Fleet<'_>, scene: &Scene<'_>, def: &TaskDef, name: &str, hosts: &[String]) -> Vec<String> {
    let conditions: Vec<_> = scene.chain.iter().flat_map(|e| &e.when).chain(&def.common.when).cloned().collect();
    if conditions.is_empty() || def.common.loop_.is_some() {
        return hosts.to_vec();
    }
    let mut willing = Vec::new();
    for host in hosts {
        fleet.doubt_reset();
        let scope = fleet.scope(scene, host, &def.common.vars, Default::default());
        let holds = render::holds(&conditions, &scope.value());
        let known = fleet.doubt.lock().expect("no panic while holding").not_yet.is_none();
        if known && matches!(holds, Ok(false)) {
            refuse(
                fleet,
                scene,
                def,
                name,
                std::slice::from_ref(host),
                HostResult::new(Status::Skipped, "its `when` is false"),
            );
        } else {
            willing.push(host.clone());
        }
    }
    willing
}

fn refuse(
    fleet: &mut Fleet<'_>,
    scene: &Scene<'_>,
    def: &TaskDef,
    name: &str,
    hosts: &[String],
    answer: HostResult,
) -> Vec<String> {
    let bad = matches!(answer.status, Status::Failed | Status::Blocked);
    for host in hosts {
        let mut result = fleet.outcome(scene, def, host, &answer);
        result.task = name.to_owned();
        fleet.report(result);
        if bad && !def.common.ignore_errors {
            fleet.hosts.state(host).failed = true;
        }
    }
    if bad && !def.common.ignore_errors { hosts.to_vec() } else { Vec::new() }
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
    provisional: BTreeSet<String>,
}

struct Session<'f, 'a, 's, 'p> {
    fleet: &'f mut Fleet<'a>,
    scene: &'s Scene<'p>,
    def: &'s TaskDef,
    name: &'s str,
    acting: Vec<String>,
    /// Everybody who is looked at.
    watched: Vec<String>,
    ready: Ready,
    made: BTreeMap<String, Made>,
    /// Hosts that look under predictions.
    doubts: BTreeSet<String>,
    since: Instant,
}

impl<'f, 'a, 's, 'p> Session<'f, 'a, 's, 'p> {
    fn new(
        fleet: &'f mut Fleet<'a>,
        scene: &'s Scene<'p>,
        def: &'s TaskDef,
        name: &'s str,
        acting: &[String],
        ready: Ready,
    ) -> Self {
        let mut watched = scene.all.to_vec();
        if def.kind.touches == Touches::Cluster {
            watched = vec!["cluster".to_owned()];
            watched.extend(fleet.inventory.groups.get("nodes").cloned().unwrap_or_default());
        }
        let acting = acting.to_vec();
        let since = Instant::now();
        let (made, doubts) = (BTreeMap::new(), BTreeSet::new());
        Self { fleet, scene, def, name, acting, watched, ready, made, doubts, since }
    }

    /// Rounds of look, decide, act until nobody wants anything any more.
    fn converge(&mut self) {
        let mut waiting: BTreeMap<String, Instant> = BTreeMap::new();
        for _ in 0..10_000 {
            let seen = self.look();
            // Only those whose verdict is still open can be changed; a decision must not wait for the others.
            let open = |host: &&String| self.made.get(*host).is_none_or(|made| made.end.is_none());
            let acting: BTreeSet<String> = self.acting.iter().filter(open).cloned().collect();
            let verdicts = self.ready.task.decide_all_json(&seen, &acting);
            let mut acted = false;
            let mut wait: Option<u64> = None;
            for (host, verdict) in verdicts {
                if !self.acting.contains(&host) && host != "cluster" {
                    continue;
                }
                if self.made.entry(host.clone()).or_default().end.is_some() {
                    continue;
                }
                match &verdict.decision {
                    Decision::Wait { what, for_s, every_s, fraction, .. } if self.fleet.mode == Mode::Apply => {
                        let since = *waiting.entry(host.clone()).or_insert_with(Instant::now);
                        if since.elapsed() < Duration::from_secs(*for_s) {
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
            }
            if self.fleet.mode == Mode::Check || (!acted && wait.is_none()) {
                break;
            }
            // Deadlines count time in which nothing moved: another host's long step is no reason to give up.
            if acted {
                waiting.clear();
            }
            if !acted && let Some(seconds) = wait {
                std::thread::sleep(Duration::from_secs(seconds));
            }
        }
    }

    /// Looks at every watched host at the same time.
    fn look(&mut self) -> BTreeMap<String, Observation<Json>> {
        let request = Request::Probe { task: wire(self.ready.task.as_ref()) };
        let mut seen = BTreeMap::new();
        let mut asked = Vec::new();
        for host in &self.watched {
            let may_come = self.fleet.may_come();
            match self.fleet.hosts.send(host, may_come, &request) {
                Ok(()) => asked.push(host.clone()),
                Err(error) => {
                    self.fleet.hosts.lose(host, &error);
                    seen.insert(host.clone(), Err(unreachable(host, &error)));
                }
            }
        }
        for host in asked {
            let answer = match self.fleet.hosts.answer(&host, &mut |_, _| {}) {
                Ok(Response::Probe { seen, provisional }) => {
                    if !provisional.is_empty() {
                        self.doubts.extend(provisional);
                    }
                    seen
                }
                Ok(Response::Error { message }) => Err(LookError::cannot_tell(self.def.kind.name, message)),
                Ok(other) => Err(LookError::cannot_tell(self.def.kind.name, format!("unexpected answer {other:?}"))),
                Err(error) => {
                    self.fleet.hosts.lose(&host, &error);
                    Err(unreachable(&host, &error))
                }
            };
            if let Err(LookError::Unreachable { why, .. }) = &answer {
                let lost = LinkError::Lost { host: host.clone(), why: why.clone() };
                self.fleet.hosts.lose(&host, &lost);
            }
            seen.insert(host, answer);
        }
        seen
    }

    /// Performs a change for one verdict. Returns whether the world may be different now.
    fn change(&mut self, host: &str, change: &Change, verdict: &Verdict) -> bool {
        if self.fleet.mode == Mode::Apply && self.def.common.check_mode == Some(true) {
            self.end(host, Status::Drifted, change.summary.clone(), verdict);
            self.made.entry(host.to_owned()).or_default().diff.push_str(&change.diff);
            return false;
        }
        let made = self.made.entry(host.to_owned()).or_default();
        let circle = match made.last {
            Some(After::LookAgain) => Some("still not as described after the change"),
            _ if made.seen.len() >= MAX_STAGES || made.seen.contains(change) => Some("no progress"),
            _ => None,
        };
        if let Some(words) = circle {
            self.end(host, Status::Failed, format!("{words}; it still wants to: {}", change.summary), verdict);
            return false;
        }
        made.summaries.push(change.summary.clone());
        made.diff.push_str(&change.diff);
        made.seen.push(change.clone());
        made.last = Some(change.after);
        made.verdict = Some(verdict.clone());
        let notify = self.ready.notify.clone();
        match self.perform(host, &change.steps, &notify) {
            Ok(outputs) => {
                let made = self.made.entry(host.to_owned()).or_default();
                made.outputs.extend(outputs);
                if self.fleet.mode == Mode::Check {
                    let summary = change.summary.clone();
                    self.end(host, Status::Drifted, summary, verdict);
                } else if change.after == After::Done {
                    self.end(host, Status::Changed, change.summary.clone(), verdict);
                }
                true
            }
            Err(error) => {
                let first = self.made.get(host).is_some_and(|m| m.seen.len() == 1);
                let refused = matches!(error, StepError::Refused { .. });
                let status = if refused && first { Status::Blocked } else { Status::Failed };
                self.end(host, status, error.to_string(), verdict);
                true
            }
        }
    }

    /// Sends runs of steps with the same target to that target, in order. The handlers are noted on the host that the
    /// verdict is for, wherever the first step acts.
    fn perform(&mut self, host: &str, steps: &[Step], notify: &[String]) -> Result<Vec<Output>, StepError> {
        if !notify.is_empty() {
            self.send_steps(host, Vec::new(), notify.to_vec())?;
        }
        let mut outputs = Vec::new();
        for run in steps.chunk_by(|a, b| a.on == b.on) {
            let target = run[0].on.clone().unwrap_or_else(|| host.to_owned());
            let steps = run.iter().cloned().map(|s| Step { on: None, ..s }).collect();
            outputs.extend(self.send_steps(&target, steps, Vec::new())?);
        }
        Ok(outputs)
    }

    fn send_steps(&mut self, target: &str, steps: Vec<Step>, notify: Vec<String>) -> Result<Vec<Output>, StepError> {
        let may_come = self.fleet.may_come();
        let sent = self.fleet.hosts.send(target, may_come, &Request::Perform { steps, notify });
        let (reporter, task, hidden) = (&mut *self.fleet.reporter, self.name, self.def.common.no_log);
        let answer = sent.and_then(|()| {
            self.fleet.hosts.answer(target, &mut |message, fraction| {
                let (host, task) = (target.to_owned(), task.to_owned());
                let message = if hidden { "working".to_owned() } else { message };
                reporter.event(&Event::Progress { host, task, message, fraction });
            })
        });
        let failed = |why: String| StepError::Failed { what: target.to_owned(), why };
        match answer {
            Ok(Response::Perform { result, .. }) => result,
            Ok(Response::Error { message }) => Err(failed(message)),
            Ok(other) => Err(failed(format!("unexpected answer {other:?}"))),
            Err(error) => {
                self.fleet.hosts.lose(target, &error);
                Err(StepError::Look(unreachable(target, &error)))
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

    /// Tells the host's preview that this task would have done something that cannot be foretold.
    fn unsettle(&mut self, host: &str) {
        let effect = Effect::UnsettlesAll { what: self.def.kind.name.to_owned() };
        let step = Step::from(Action::Sleep { seconds: 0 }).effect(effect);
        if let Err(error) = self.perform(host, &[step], &[]) {
            self.fleet.note(format!("{host}: {error}"));
        }
    }

    fn end(&mut self, host: &str, status: Status, words: String, verdict: &Verdict) {
        let made = self.made.entry(host.to_owned()).or_default();
        made.verdict = Some(verdict.clone());
        made.end = Some((status, words));
    }

    fn progress(&mut self, host: &str, message: String, fraction: Option<f32>) {
        let (host, task) = (host.to_owned(), self.name.to_owned());
        self.fleet.reporter.event(&Event::Progress { host, task, message, fraction });
    }

    /// Reports every verdict; returns the acting hosts that failed.
    fn finish(mut self) -> Vec<String> {
        let mut failed = Vec::new();
        let made = std::mem::take(&mut self.made);
        let took_ms = self.since.elapsed().as_millis() as u64;
        for host in &self.acting {
            if made.contains_key(host) {
                continue;
            }
            let answer =
                HostResult::new(Status::Failed, format!("`{}` gave no verdict for this host", self.def.kind.name));
            failed.extend(refuse(self.fleet, self.scene, self.def, self.name, std::slice::from_ref(host), answer));
        }
        for (host, made) in made {
            let (status, words) = made.end.unwrap_or((Status::Failed, "stopped before it was converged".into()));
            let verdict = made.verdict.unwrap_or_else(|| Verdict::ok(""));
            let (data, finished) = self.ready.task.finish(verdict.data, &made.outputs);
            let summary = if status == Status::Changed { made.summaries.join("; ") } else { words };
            let mut answer = HostResult::new(status, summary);
            if let (Err(why), Status::Ok | Status::Changed) = (finished, status) {
                answer.status = Status::Failed;
                answer.summary = why;
            }
            (answer.diff, answer.warnings, answer.data) = (made.diff, verdict.warnings, data);
            answer.provisional = made.provisional.into_iter().collect();
            if self.fleet.mode == Mode::Check && !self.doubts.is_empty() {
                answer.provisional.extend(self.doubts.iter().cloned());
            }
            answer.predicted = self.fleet.mode == Mode::Check && status == Status::Drifted;
            self.fleet.overrule(self.scene, self.def, &host, &Default::default(), &mut answer);
            let mut result = self.fleet.outcome(self.scene, self.def, &host, &answer);
            result.task = self.name.to_owned();
            result.took_ms = took_ms;
            if self.fleet.hosts.state(&host).unreachable.is_some() {
                result.outcome = Outcome::Unreachable;
            }
            if let Some(register) = &self.def.common.register {
                let value = self.fleet.result_value(&self.def.name, &answer);
                self.fleet.hosts.set_var(&host, register, value);
            }
            if matches!(answer.status, Status::Changed | Status::Drifted) {
                for handler in self.fleet.resolve_notify(self.scene, self.def) {
                    self.fleet.hosts.state(&host).notified.insert(handler);
                }
            }
            let bad = matches!(answer.status, Status::Failed | Status::Blocked);
            self.fleet.report(result);
            if bad && !self.def.common.ignore_errors {
                self.fleet.hosts.state(&host).failed = true;
                failed.push(host);
            }
        }
        failed
    }
}

fn unreachable(host: &str, error: &LinkError) -> LookError {
    LookError::Unreachable { host: host.to_owned(), why: error.to_string() }
}
