//! One task on many hosts: loops, retries, results.

use super::flow::Scene;
use super::prepare::{Nth, Prepared, loop_vars};
use super::vars::Vars;
use super::{Fleet, Mode, ahead, together};
use crate::event::{Event, Outcome, TaskResult};
use crate::fleet::render;
use crate::link::LinkError;
use crate::playbook::TaskDef;
use crate::tasks::cluster::CLUSTER;
use crate::tasks::{AnyTask, Touches};
use crate::wire::{HostResult, Request, Response, Status, WireTask};
use minijinja::value::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One host's way through one task.
pub(super) struct Lane {
    pub host: String,
    /// Where the task really runs (`delegate_to`).
    pub target: String,
    items: Arc<Vec<Option<Value>>>,
    pub(super) results: Vec<(Option<Value>, HostResult)>,
    /// The host was lost, and the task ignores that: later tasks try it again.
    let_go: bool,
}

impl Lane {
    pub(super) fn nth(&self, index: usize) -> Option<Nth> {
        let item = self.items[index].clone()?;
        Some(Nth { index, item, all: self.items.clone() })
    }
}

impl Fleet<'_> {
    /// Runs a task on hosts; returns the hosts that are still fine.
    pub(super) fn task(&mut self, scene: &Scene<'_>, def: &TaskDef, hosts: Vec<String>) -> Vec<String> {
        let hosts: Vec<String> = hosts.into_iter().filter(|h| !self.hosts.state(h).ended).collect();
        if hosts.is_empty() || !self.selected(scene, &def.common.tags, Some(&def.name)) {
            return hosts;
        }
        let name = self.task_name(scene, def, &hosts[0]);
        let once = def.common.run_once || def.kind.touches == Touches::Cluster;
        let asked = if once { vec![hosts[0].clone()] } else { hosts.clone() };
        self.reporter.event(&Event::TaskStarted {
            play: scene.play.name.clone(),
            task: name.clone(),
            kind: def.kind.name.to_owned(),
            hosts: asked.clone(),
            handler: scene.handler,
        });
        // A decision over all hosts is made once, and then acted on one host after another.
        let step = match def.kind.touches {
            Touches::AllHosts | Touches::Cluster => asked.len(),
            Touches::Host | Touches::Nothing => {
                let limits = [def.common.throttle.unwrap_or(0) as usize, self.options.forks];
                limits.into_iter().filter(|n| *n > 0).min().unwrap_or(asked.len())
            }
        };
        let mut failed = Vec::new();
        for some in asked.chunks(step.min(asked.len())) {
            failed.extend(self.each(scene, def, &name, some));
        }
        if once && let Some(register) = &def.common.register {
            // What ran once is known to everybody.
            if let Some(value) = self.hosts.vars(&asked[0], self.inventory).1.get(register).cloned() {
                for host in &hosts {
                    self.hosts.set_var(host, register, value.clone());
                }
            }
        }
        let fatal = def.common.any_errors_fatal && !failed.is_empty();
        if fatal {
            self.fatal = true;
            self.note(format!("nobody goes on: `{name}` did not succeed everywhere and says any_errors_fatal"));
        }
        let everybody = (once || fatal) && !failed.is_empty();
        if everybody {
            // What had to happen once, or for all, did not: nobody goes on, and a rescue sees everybody.
            for host in &hosts {
                let state = self.hosts.state(host);
                state.failed = state.unreachable.is_none();
            }
        }
        hosts.into_iter().filter(|h| !everybody && !failed.contains(h) && !self.hosts.is_out(h)).collect()
    }

    /// Runs a task on each host by itself. Returns the hosts that failed.
    fn each(&mut self, scene: &Scene<'_>, def: &TaskDef, name: &str, hosts: &[String]) -> Vec<String> {
        let mut lanes: Vec<Lane> = Vec::new();
        for host in hosts {
            let mut lane = Lane {
                host: host.clone(),
                target: host.clone(),
                items: Arc::new(vec![None]),
                results: Vec::new(),
                let_go: false,
            };
            if let Err(mut refusal) = self.enter(scene, def, &mut lane) {
                self.cannot_foresee(def, &mut refusal);
                lane.items = Arc::default();
                let result = self.outcome(scene, def, host, &refusal);
                self.end_item(scene, def, name, &mut lane, None, refusal, result);
            }
            lanes.push(lane);
        }
        let rounds = lanes.iter().map(|l| l.items.len()).max().unwrap_or(0);
        for round in 0..rounds {
            if round > 0 && def.common.loop_control.pause_s > 0 && self.mode == Mode::Apply {
                std::thread::sleep(Duration::from_secs(def.common.loop_control.pause_s));
            }
            self.round(scene, def, name, &mut lanes, round);
        }
        let mut failed = Vec::new();
        for lane in &mut lanes {
            if self.leave(def, lane) && !def.common.ignore_errors && !lane.let_go {
                // A host that was lost is no failure that a rescue could mend.
                let state = self.hosts.state(&lane.host);
                state.failed = state.unreachable.is_none();
                failed.push(lane.host.clone());
            }
        }
        failed
    }

    /// Finds a lane's loop items and target.
    fn enter(&mut self, scene: &Scene<'_>, def: &TaskDef, lane: &mut Lane) -> Result<(), HostResult> {
        let wrong = |fleet: &Self, fault| HostResult::new(Status::Failed, fleet.sources.show(&[fault], false));
        if def.common.loop_.is_some() {
            self.doubt_reset();
            // Enclosing conditions come before the loop: what it names may exist only where they hold.
            let chain: Vec<_> = scene.chain.iter().flat_map(|e| &e.when).cloned().collect();
            let scope = self.scope(scene, &lane.host, &def.common.vars, Vars::new());
            if let Ok(false) = render::holds(&chain, &scope.value()) {
                return Ok(());
            }
            let items = self.loop_items(scene, &def.common, &lane.host);
            if let Some(why) = self.doubt.lock().expect("no panic while holding").not_yet.take() {
                let mut result = HostResult::new(Status::Drifted, "would be changed; its loop is not known yet");
                result.provisional.push(why);
                result.predicted = true;
                return Err(result);
            }
            lane.items = Arc::new(items.map_err(|fault| wrong(self, fault))?);
        }
        if let Some(node) = &def.common.delegate_to {
            let scope = self.scope(scene, &lane.host, &def.common.vars, Vars::new());
            let rendered = render::render(node, &scope.value()).map_err(|fault| wrong(self, fault))?;
            if let Some(target) = rendered.as_ref().and_then(|n| n.as_str()) {
                lane.target = target.to_owned();
            }
        }
        // Who is asked for another's play does no more than that play says.
        let of_play = scene.play.way.becomes.is_some_and(|(becomes, _)| becomes);
        let implied = def.common.delegate_to.as_ref().filter(|_| !of_play && lane.target != lane.host);
        if let Some((wanted, span)) = def.common.becomes.or_else(|| Some((false, implied?.span)))
            && let Err(why) = self.hosts.becomes(&lane.target, wanted)
        {
            let why = format!("{}: {why}", self.sources.place(span));
            return Err(HostResult { outright: true, ..HostResult::new(Status::Failed, why) });
        }
        Ok(())
    }

    /// One loop item on all lanes that have it, with retries.
    fn round(&mut self, scene: &Scene<'_>, def: &TaskDef, name: &str, lanes: &mut [Lane], round: usize) {
        let mut open: Vec<usize> = (0..lanes.len()).filter(|at| lanes[*at].items.len() > round).collect();
        let tries = if self.mode == Mode::Apply { 1 + def.common.retries() } else { 1 };
        for attempt in 1..=tries {
            let answers = self.ask(scene, def, name, lanes, &open, round);
            let mut again = Vec::new();
            for (at, mut answer, took) in answers {
                let lane = &mut lanes[at];
                let item = lane.items[round].clone();
                let fixed = loop_vars(&def.common, lane.nth(round));
                let before = answer.status;
                if answer.status != Status::Skipped {
                    self.overrule(scene, def, &lane.host, &fixed, &mut answer);
                }
                if before == Status::Changed && answer.status == Status::Ok {
                    answer.touched = false;
                    self.forgive(scene, def, &lane.host);
                }
                let hopeless = answer.status == Status::Skipped
                    || answer.outright
                    || self.hosts.state(&lane.target).unreachable.is_some();
                if hopeless {
                    let mut result = self.outcome(scene, def, &lane.host, &answer);
                    result.took_ms = took.as_millis() as u64;
                    self.end_item(scene, def, name, lane, item, answer, result);
                    continue;
                }
                if attempt < tries && !self.until_holds(scene, def, &lane.host, &fixed, &answer) {
                    again.push(at);
                    continue;
                }
                if tries > 1 && !self.until_holds(scene, def, &lane.host, &fixed, &answer) {
                    answer.status = Status::Failed;
                    let what = if def.common.until.is_some() { "`until` does not hold" } else { "not done" };
                    answer.summary = format!("{what} after {tries} tries; last: {}", answer.summary);
                }
                let mut result = self.outcome(scene, def, &lane.host, &answer);
                result.took_ms = took.as_millis() as u64;
                self.end_item(scene, def, name, lane, item, answer, result);
            }
            if again.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_secs(def.common.delay_s));
            open = again;
        }
    }

    /// Sends the task to every open lane, then collects: the hosts work at the same time.
    fn ask(
        &mut self,
        scene: &Scene<'_>,
        def: &TaskDef,
        name: &str,
        lanes: &[Lane],
        open: &[usize],
        round: usize,
    ) -> Vec<(usize, HostResult, Duration)> {
        let mut answers = Vec::new();
        let mut sent = Vec::new();
        let mut shared = together::Shared::new();
        for at in open.iter().copied() {
            let lane = &lanes[at];
            let item = lane.nth(round);
            let since = Instant::now();
            if self.hosts.is_ahead(&lane.target, ahead::key(def)) {
                sent.push((at, since));
                continue;
            }
            let ready = match self.prepare(scene, def, &lane.host, item) {
                Prepared::Ready(ready) => ready,
                other => {
                    let mut answer = unready(def, other);
                    self.cannot_foresee(def, &mut answer);
                    answers.push((at, answer, since.elapsed()));
                    continue;
                }
            };
            if matches!(ready.task.touches(), Touches::AllHosts | Touches::Cluster) {
                shared.push((at, ready));
                continue;
            }
            let look_only = def.common.check_mode == Some(true);
            let (mut notify, environment) = (ready.notify, ready.environment);
            if lane.target != lane.host && !notify.is_empty() {
                // The handler is this host's, wherever the task acts.
                let owed = Request::Perform { steps: Vec::new(), notify: std::mem::take(&mut notify) };
                let host = lane.host.clone();
                let noted = self
                    .hosts
                    .send(&host, self.may_come(), &owed)
                    .and_then(|()| self.hosts.answer(&host, &mut |_, _| {}));
                if let Err(error) = noted {
                    answers.push((at, self.lost(&host, &error), since.elapsed()));
                    continue;
                }
            }
            let request = Request::Run { task: wire(ready.task.as_ref()), notify, environment, look_only };
            match self.hosts.send(&lane.target, self.may_come(), &request) {
                Ok(()) => sent.push((at, since)),
                Err(error) => answers.push((at, self.lost(&lane.target, &error), since.elapsed())),
            }
        }
        for (at, since) in sent {
            let answer = self.collect(def, name, &lanes[at].target, since);
            answers.push((at, answer, since.elapsed()));
        }
        if !shared.is_empty() {
            answers.extend(together::run(self, scene, def, name, lanes, shared));
        }
        answers.sort_by_key(|(at, ..)| *at);
        answers
    }

    fn collect(&mut self, def: &TaskDef, name: &str, target: &str, since: Instant) -> HostResult {
        let hidden = def.common.no_log;
        let reporter = &mut *self.reporter;
        let left = def.common.timeout_s.map(|all| Duration::from_secs(all).saturating_sub(since.elapsed()));
        let mut progress = |message, fraction| {
            let (host, task) = (target.to_owned(), name.to_owned());
            let message = if hidden { "working".to_owned() } else { message };
            reporter.event(&Event::Progress { host, task, message, fraction });
        };
        let answer = if self.hosts.is_ahead(target, ahead::key(def)) {
            self.hosts.answer_ahead(target, &mut progress)
        } else {
            self.hosts.answer_within(target, left, &mut progress)
        };
        match answer {
            Ok(Response::Run(result)) => {
                if let Some(why) = &result.unreachable {
                    let error = LinkError::Lost { host: target.to_owned(), why: why.clone() };
                    self.hosts.lose(target, &error);
                }
                self.hosts.predict(result.elsewhere.iter().cloned());
                self.anything_done |= result.does_anything;
                result
            }
            Ok(Response::Error { message }) => {
                HostResult { outright: true, ..HostResult::new(Status::Failed, message) }
            }
            Ok(other) => {
                let words = format!("unexpected answer {other:?}");
                HostResult { outright: true, ..HostResult::new(Status::Failed, words) }
            }
            Err(LinkError::Late { .. }) => {
                let words = format!("not done within its timeout of {} s", def.common.timeout_s.unwrap_or_default());
                HostResult { outright: true, ..HostResult::new(Status::Failed, words) }
            }
            Err(error) => self.lost(target, &error),
        }
    }

    /// A container may still be coming: because it is only predicted (check) or just being started (apply).
    pub(super) fn may_come(&self) -> bool {
        self.cluster_changes
    }

    pub(super) fn lost(&mut self, host: &str, error: &LinkError) -> HostResult {
        self.hosts.lose(host, error);
        let unreachable = (!matches!(error, LinkError::Stopped { .. })).then(|| error.to_string());
        HostResult { outright: true, unreachable, ..HostResult::new(Status::Failed, error.to_string()) }
    }

    fn until_holds(&mut self, scene: &Scene<'_>, def: &TaskDef, host: &str, fixed: &Vars, answer: &HostResult) -> bool {
        let Some(until) = &def.common.until else {
            return !matches!(answer.status, Status::Failed | Status::Blocked);
        };
        let mut fixed = fixed.clone();
        if let Some(register) = &def.common.register {
            fixed.insert(register.clone(), self.result_value(&def.name, answer));
        }
        let scope = self.scope(scene, host, &def.common.vars, fixed);
        render::holds(until, &scope.value()).unwrap_or(false)
    }

    #[allow(clippy::too_many_arguments)] // One call per result; a struct would only rename the parameters.
    fn end_item(
        &mut self,
        scene: &Scene<'_>,
        def: &TaskDef,
        name: &str,
        lane: &mut Lane,
        item: Option<Value>,
        mut answer: HostResult,
        mut result: TaskResult,
    ) {
        result.task = name.to_owned();
        result.delegated_to = (lane.target != lane.host).then(|| lane.target.clone());
        if self.hosts.state(&lane.target).unreachable.is_some() {
            result.outcome = Outcome::Unreachable;
            if !matches!(answer.status, Status::Failed | Status::Blocked) {
                // Lost after it was decided that there is nothing to do for it.
                result.summary = self.hosts.state(&lane.target).unreachable.clone().unwrap_or_default();
            }
            result.ignored = def.common.ignore_unreachable;
            if def.common.ignore_unreachable {
                lane.let_go = true;
                self.hosts.state(&lane.target).unreachable = None;
            }
        }
        let on_cluster = lane.target == CLUSTER || def.kind.touches == Touches::Cluster;
        self.cluster_changes |= on_cluster && matches!(result.outcome, Outcome::Drifted | Outcome::Changed);
        if let Some(item) = &item {
            result.item = Some(self.item_label(scene, def, lane, item));
        }
        if matches!(answer.status, Status::Changed | Status::Drifted) || answer.touched {
            for handler in self.resolve_notify(scene, def) {
                self.hosts.state(&lane.host).notified.insert(handler);
            }
        }
        self.keep_trails(&result, &answer);
        self.keep_lacks(def, &result, &mut answer);
        self.report(result);
        lane.results.push((item, answer));
    }
}

pub(super) fn wire(task: &dyn AnyTask) -> WireTask {
    WireTask { kind: task.kind().to_owned(), args: task.to_json() }
}

/// The result of a task that never got to its host.
pub(super) fn unready(def: &TaskDef, prepared: Prepared) -> HostResult {
    match prepared {
        Prepared::Skip(why) => HostResult::new(Status::Skipped, why),
        Prepared::Fault(why) => HostResult { outright: true, ..HostResult::new(Status::Failed, why) },
        Prepared::NotYet(why) => {
            let reads_only = def.kind.touches == Touches::Nothing;
            let (status, words) = if reads_only {
                (Status::Skipped, "cannot be known yet")
            } else {
                (Status::Drifted, "would be changed")
            };
            let mut result = HostResult::new(status, format!("{words}: {why}"));
            result.provisional.push(why);
            result.predicted = true;
            result
        }
        Prepared::Ready(_) => HostResult::new(Status::Failed, "was ready"),
    }
}
