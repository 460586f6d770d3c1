//! Runs one task on one host: look, decide, act, look again. The only caller of `Host::perform`.
//!
//! Check and apply are two functions, not a flag: `check` has no host it could change in scope.

pub mod journal;
mod quorum;
pub mod trace;

use crate::host::{Action, Effect, Host, LookError, Output, Preview, Probe, Step, StepError};
use crate::tasks::{After, AnyTask, Change, Decision, Touches, Verdict};
use crate::wire::{HostResult, Status};
use serde_json::Value as Json;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A task that still wants something new after this many stages is going in circles.
const MAX_STAGES: usize = 12;

/// Judges a task on the preview and predicts what it would do, so that later tasks see it.
pub fn check<P: Probe>(task: &dyn AnyTask, preview: &Preview<P>) -> HostResult {
    preview.begin();
    let verdict = task.look_and_decide(preview);
    let mut reasons = preview.reasons();
    if let Err(LookError::NotYet { why }) = &verdict
        && !reasons.contains(why)
    {
        reasons.push(why.clone());
    }
    let mut result = judge(task, verdict, &reasons, preview);
    result.provisional = reasons;
    result.predicted = matches!(result.status, Status::Drifted | Status::Skipped);
    result
}

/// What a look under predictions says: a verdict that rests on doubts and is no plain yes or drift becomes
/// "would change, provisionally", because an apply gets further than this preview can see.
fn judge<P: Probe>(
    task: &dyn AnyTask,
    verdict: Result<Verdict, LookError>,
    reasons: &[String],
    preview: &Preview<P>,
) -> HostResult {
    let doubtful = !reasons.is_empty();
    match verdict {
        Ok(Verdict { decision: Decision::Drift(change), warnings, data }) => {
            if let Some(why) = quorum::missing(preview.real(), &change) {
                let blocked = HostResult::new(Status::Blocked, why);
                return HostResult { diff: change.diff, warnings, data, ..blocked };
            }
            for step in &change.steps {
                // A preview only predicts: it has nothing that could fail.
                let _ = preview.perform(step);
            }
            let mut result = HostResult::new(Status::Drifted, change.summary);
            result.elsewhere = change.steps.iter().flat_map(elsewhere).collect();
            let anything = |effect: &Effect| matches!(effect, Effect::UnsettlesAll { .. });
            result.does_anything = change.steps.iter().flat_map(|step| &step.effects).any(anything);
            (result.diff, result.warnings, result.data) = (change.diff, warnings, data);
            result
        }
        Ok(Verdict { decision: Decision::Ok(why), warnings, data }) => {
            let mut result = HostResult::new(Status::Ok, why);
            (result.warnings, result.data) = (warnings, data);
            result
        }
        Ok(verdict) if !doubtful => HostResult::of(verdict),
        // No prediction brings back a host that does not answer.
        Err(error @ (LookError::Unreachable { .. } | LookError::Timeout { .. })) => HostResult {
            outright: true,
            unreachable: unreachable(&error),
            ..HostResult::new(Status::Blocked, error.to_string())
        },
        Err(error) if !doubtful => HostResult { outright: true, ..HostResult::new(Status::Blocked, error.to_string()) },
        uncertain => {
            let now = match uncertain {
                Ok(verdict) => format!(" (now: {})", HostResult::of(verdict).summary),
                // The reason stands in `provisional`.
                Err(LookError::NotYet { .. }) => String::new(),
                Err(error) => format!(" (now: {error})"),
            };
            if task.touches() == Touches::Nothing {
                HostResult::new(Status::Skipped, format!("cannot be known yet{now}"))
            } else if task.expects_change() {
                preview.unsettle_all(task.kind());
                HostResult::new(Status::Drifted, format!("would be changed{now}"))
            } else {
                HostResult::new(Status::Ok, format!("probably fine by then{now}"))
            }
        }
    }
}

/// What a predicted step means for other hosts, as steps for their previews.
fn elsewhere(step: &Step) -> impl Iterator<Item = Step> {
    step.effects.iter().filter_map(|effect| {
        let Effect::UnsettlesOn { host, topic } = effect else { return None };
        Some(Step::from(Action::Sleep { seconds: 0 }).unsettles(topic.clone()).on(host))
    })
}

/// Why the host behind the agent is lost, if that is what the error says.
fn unreachable(error: &LookError) -> Option<String> {
    match error {
        LookError::Unreachable { why, .. } => Some(why.clone()),
        _ => None,
    }
}

/// Why the host went away in the middle of a step, if that is what the error says.
pub(crate) fn step_lost(error: &StepError) -> Option<String> {
    match error {
        StepError::Look(error) => unreachable(error),
        _ => None,
    }
}

/// What a task's surroundings in the playbook mean for its change.
pub struct Terms<'a> {
    /// Journalled before the first change.
    pub notify: &'a [String],
    /// Added to the environment of the programs that change something.
    pub environment: &'a BTreeMap<String, String>,
}

/// [`apply_on`] without an environment of its own.
pub fn apply(
    task: &dyn AnyTask,
    host: &dyn Host,
    notify: &[String],
    progress: &mut dyn FnMut(&str, Option<f32>),
) -> HostResult {
    apply_on(task, host, &Terms { notify, environment: &BTreeMap::new() }, progress)
}

/// Converges a task on a host. `notify` is journalled on the host before the first change, so that a run that
/// dies in between still owes its handlers.
pub fn apply_on(
    task: &dyn AnyTask,
    host: &dyn Host,
    terms: &Terms<'_>,
    progress: &mut dyn FnMut(&str, Option<f32>),
) -> HostResult {
    let mut made = Made::default();
    let mut waiting_since: Option<Instant> = None;
    loop {
        let verdict = match task.look_and_decide(host) {
            Ok(verdict) => verdict,
            Err(error) => {
                let unreachable = unreachable(&error);
                let ended = made.end(task, Status::Blocked, error.to_string(), Verdict::ok(""));
                return HostResult { outright: true, unreachable, ..ended };
            }
        };
        match verdict.decision {
            Decision::Ok(ref why) => {
                let status = if made.any() { Status::Changed } else { Status::Ok };
                return made.end(task, status, why.clone(), verdict);
            }
            Decision::Blocked(ref why) => return made.end(task, Status::Blocked, why.clone(), verdict),
            Decision::Failed(ref why) => return made.end(task, Status::Failed, why.clone(), verdict),
            Decision::Wait { ref what, for_s, every_s, fraction, .. } => {
                let since = *waiting_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= Duration::from_secs(for_s) {
                    return made.end(task, Status::Failed, format!("after {for_s} s still: {what}"), verdict);
                }
                progress(what, fraction);
                std::thread::sleep(Duration::from_secs(every_s.max(1)));
            }
            Decision::Drift(ref change) => {
                waiting_since = None;
                if let Some(why) = made.goes_in_circles(change) {
                    return made.end(task, Status::Failed, why, verdict);
                }
                if let Some(why) = quorum::missing(host, change) {
                    return made.end(task, Status::Blocked, why, verdict);
                }
                if !made.any()
                    && let Err(error) = journal::owe(host, terms.notify)
                {
                    let why = format!("the handlers to run could not be noted, nothing was changed: {error}");
                    let ended = made.end(task, Status::Failed, why, verdict);
                    return HostResult { unreachable: step_lost(&error), ..ended };
                }
                if let Err((status, why, unreachable)) = made.perform(change, host, terms.environment, progress) {
                    return HostResult { unreachable, ..made.end(task, status, why, verdict) };
                }
                if change.after == After::Done {
                    return made.end(task, Status::Changed, change.summary.clone(), verdict);
                }
            }
        }
    }
}

/// What a task did so far on its host.
#[derive(Default)]
struct Made {
    summaries: Vec<String>,
    diffs: String,
    outputs: Vec<Output>,
    last: Option<After>,
    seen: Vec<Change>,
}

impl Made {
    fn any(&self) -> bool {
        self.last.is_some()
    }

    /// Still drifting after the change that should have been the last, or the same stage wanted again.
    fn goes_in_circles(&self, change: &Change) -> Option<String> {
        if self.last == Some(After::LookAgain) {
            return Some(format!("still not as described after the change; it still wants to: {}", change.summary));
        }
        (self.seen.len() >= MAX_STAGES || self.seen.contains(change))
            .then(|| format!("no progress: after {} stages it still wants to: {}", self.seen.len(), change.summary))
    }

    fn perform(
        &mut self,
        change: &Change,
        host: &dyn Host,
        environment: &BTreeMap<String, String>,
        progress: &mut dyn FnMut(&str, Option<f32>),
    ) -> Result<(), (Status, String, Option<String>)> {
        self.summaries.push(change.summary.clone());
        self.diffs.push_str(&change.diff);
        self.seen.push(change.clone());
        for (done, step) in change.steps.iter().enumerate() {
            progress(&step.describe(), None);
            match perform_guarded(host, &in_environment(step, environment)) {
                Ok(output) => self.outputs.push(output),
                Err(error) => {
                    self.summaries.pop();
                    let refused = matches!(error, StepError::Refused { .. });
                    let status = if refused && !self.any() && done == 0 { Status::Blocked } else { Status::Failed };
                    let mut why = error.to_string();
                    if done > 0 {
                        why.push_str(&format!(" (after {done} of {} steps)", change.steps.len()));
                    }
                    return Err((status, why, step_lost(&error)));
                }
            }
            self.last = Some(change.after);
        }
        self.last = Some(change.after);
        Ok(())
    }

    fn end(self, task: &dyn AnyTask, status: Status, why: String, verdict: Verdict) -> HostResult {
        let why = if self.any() { with_done(status, why, &self.summaries) } else { why };
        let (data, finished) = task.finish(verdict.data, &self.outputs);
        let (status, why) = match finished {
            Err(failure) if matches!(status, Status::Ok | Status::Changed) => (Status::Failed, failure),
            _ => (status, why),
        };
        let touched = self.any();
        let summary = if status == Status::Changed { self.summaries.join("; ") } else { why };
        HostResult { diff: self.diffs, warnings: verdict.warnings, data, touched, ..HostResult::new(status, summary) }
    }
}

/// The words of a result; one that ends badly says what was changed before, so that nobody takes it for untouched.
pub(crate) fn with_done(status: Status, why: String, done: &[String]) -> String {
    match status {
        Status::Blocked | Status::Failed if !done.is_empty() => format!("{why}; done before that: {}", done.join("; ")),
        _ => why,
    }
}

/// The step with these variables for its program; what the step itself sets wins.
pub(crate) fn in_environment<'s>(step: &'s Step, environment: &BTreeMap<String, String>) -> Cow<'s, Step> {
    let mut step = Cow::Borrowed(step);
    if !environment.is_empty()
        && let Action::Run { env, .. } = &mut step.to_mut().action
    {
        for (name, value) in environment {
            env.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    step
}

/// Asks every guard again, then performs. This is the last look before something may be lost.
pub fn perform_guarded(host: &dyn Host, step: &Step) -> Result<Output, StepError> {
    for guard in &step.guards {
        let answer = host.query(&guard.query)?;
        let same_text = guard.stdout.as_ref().is_none_or(|text| text.trim_end() == answer.stdout.trim_end());
        if answer.rc != guard.rc || !same_text {
            let reason = format!(
                "{} (`{}` answered {}: {})",
                guard.reason,
                guard.query.argv.join(" "),
                answer.rc,
                answer.complaint()
            );
            return Err(StepError::Refused { reason });
        }
    }
    host.perform(step)
}

/// The data of a result that has none of its own, so that `register` always finds an object.
pub fn registered(result: &HostResult) -> Json {
    let mut data = match &result.data {
        Json::Object(map) => map.clone(),
        Json::Null => serde_json::Map::new(),
        other => serde_json::Map::from_iter([("value".to_owned(), other.clone())]),
    };
    let changed = matches!(result.status, Status::Changed | Status::Drifted);
    data.entry("changed").or_insert(changed.into());
    data.entry("failed").or_insert(matches!(result.status, Status::Failed | Status::Blocked).into());
    data.entry("skipped").or_insert((result.status == Status::Skipped).into());
    if result.unreachable.is_some() {
        data.entry("unreachable").or_insert(true.into());
    }
    data.entry("msg").or_insert(result.summary.clone().into());
    Json::Object(data)
}

#[cfg(test)]
mod tests;
