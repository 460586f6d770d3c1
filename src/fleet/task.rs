//! One task on many hosts: loops, retries, results.

use super::flow::Scene;
use super::prepare::{Prepared, loop_vars};
use super::vars::{Vars, from_json};
use super::{Fleet, Mode, together};
use crate::event::{Event, Outcome, TaskResult};
use crate::fleet::render;
use crate::link::LinkError;
use crate::playbook::TaskDef;
use crate::tasks::{AnyTask, Touches, registry};
use crate::template;
use crate::wire::{HostResult, Request, Response, Status, WireTask};
use minijinja::value::Value;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One host's way through one task.
pub(super) struct Lane {
    pub host: String,
    /// Where the task really runs (`delegate_to`).
    pub target: String,
    items: Vec<Option<Value>>,
    results: Vec<(Option<Value>, HostResult)>,
}

impl Fleet<'_> {
    /// Runs a task on hosts; returns the hosts that are still fine.
    pub(super) fn task(&mut self, scene: &Scene<'_>, def: &TaskDef, hosts: Vec<String>) -> Vec<String> {
        let hosts: Vec<String> = hosts.into_iter().filter(|h| !self.hosts.state(h).ended).collect();
        if hosts.is_empty() || !self.selected(scene, def) {
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
        let failed = match def.kind.touches {
            Touches::AllHosts | Touches::Cluster => together::run(self, scene, def, &name, &asked),
            Touches::Host | Touches::Nothing => {
                let step = [def.common.throttle.unwrap_or(0) as usize, self.options.forks]
                    .into_iter()
                    .filter(|n| *n > 0)
                    .min()
                    .unwrap_or(usize::MAX);
                let mut failed = Vec::new();
                for some in asked.chunks(step.min(asked.len())) {
                    failed.extend(self.each(scene, def, &name, some));
                }
                failed
            }
        };
        if once && let Some(register) = &def.common.register {
            // What ran once is known to everybody.
            if let Some(value) = self.hosts.vars(&asked[0], self.inventory).1.get(register).cloned() {
                for host in &hosts {
                    self.hosts.set_var(host, register, value.clone());
                }
            }
        }
        let everybody = once && !failed.is_empty();
        hosts.into_iter().filter(|h| !everybody && !failed.contains(h) && !self.hosts.is_out(h)).collect()
    }

    /// Tags and `--start-at-task`.
    fn selected(&mut self, scene: &Scene<'_>, def: &TaskDef) -> bool {
        if scene.handler {
            return true;
        }
        if !self.started {
            match &self.options.start_at_task {
                Some(name) if *name == def.name => self.started = true,
                _ => return false,
            }
        }
        let inherited = scene.chain.iter().flat_map(|e| &e.tags);
        let tags: Vec<&str> =
            def.common.tags.iter().chain(inherited).chain(&scene.play.tags).map(String::as_str).collect();
        selected_by_tags(&tags, self.options)
    }

    fn task_name(&mut self, scene: &Scene<'_>, def: &TaskDef, host: &str) -> String {
        if !template::has_template(&def.name) {
            return def.name.clone();
        }
        let scope = self.scope(scene, host, &def.common.vars, Vars::new());
        template::render(&def.name, &scope.value()).unwrap_or_else(|_| def.name.clone())
    }

    /// Runs a task on each host by itself. Returns the hosts that failed.
    fn each(&mut self, scene: &Scene<'_>, def: &TaskDef, name: &str, hosts: &[String]) -> Vec<String> {
        let mut lanes: Vec<Lane> = Vec::new();
        for host in hosts {
            let mut lane = Lane { host: host.clone(), target: host.clone(), items: vec![None], results: Vec::new() };
            if let Err(refusal) = self.enter(scene, def, &mut lane) {
                lane.items.clear();
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
            if self.leave(def, lane) && !def.common.ignore_errors {
                self.hosts.state(&lane.host).failed = true;
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
            lane.items = items.map_err(|fault| wrong(self, fault))?;
        }
        if let Some(node) = &def.common.delegate_to {
            let scope = self.scope(scene, &lane.host, &def.common.vars, Vars::new());
            let rendered = render::render(node, &scope.value()).map_err(|fault| wrong(self, fault))?;
            if let Some(target) = rendered.as_ref().and_then(|n| n.as_str()) {
                lane.target = target.to_owned();
            }
        }
        Ok(())
    }

    /// One loop item on all lanes that have it, with retries.
    fn round(&mut self, scene: &Scene<'_>, def: &TaskDef, name: &str, lanes: &mut [Lane], round: usize) {
        let mut open: Vec<usize> = (0..lanes.len()).filter(|at| lanes[*at].items.len() > round).collect();
        let tries = if def.common.until.is_some() && self.mode == Mode::Apply { def.common.retries.max(1) } else { 1 };
        for attempt in 1..=tries {
            let answers = self.ask(scene, def, name, lanes, &open, round);
            let mut again = Vec::new();
            for (at, mut answer, took) in answers {
                let lane = &mut lanes[at];
                let item = lane.items[round].clone();
                let fixed = loop_vars(&def.common, item.clone().map(|i| (round, i)));
                if answer.status != Status::Skipped {
                    self.overrule(scene, def, &lane.host, &fixed, &mut answer);
                }
                if attempt < tries && !self.until_holds(scene, def, &lane.host, &fixed, &answer) {
                    again.push(at);
                    continue;
                }
                if tries > 1 && !self.until_holds(scene, def, &lane.host, &fixed, &answer) {
                    answer.status = Status::Failed;
                    answer.summary = format!("`until` does not hold after {tries} tries; last: {}", answer.summary);
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
        for at in open.iter().copied() {
            let lane = &lanes[at];
            let item = lane.items[round].clone().map(|i| (round, i));
            let since = Instant::now();
            let ready = match self.prepare(scene, def, &lane.host, item) {
                Prepared::Ready(ready) => ready,
                other => {
                    answers.push((at, unready(def, other), since.elapsed()));
                    continue;
                }
            };
            let look_only = def.common.check_mode == Some(true);
            let (notify, environment) = (ready.notify, ready.environment);
            let request = Request::Run { task: wire(ready.task.as_ref()), notify, environment, look_only };
            match self.hosts.send(&lane.target, self.may_come(&lane.target), &request) {
                Ok(()) => sent.push((at, since)),
                Err(error) => answers.push((at, self.lost(&lane.target, &error), since.elapsed())),
            }
        }
        for (at, since) in sent {
            let answer = self.collect(def, name, &lanes[at].target);
            answers.push((at, answer, since.elapsed()));
        }
        answers.sort_by_key(|(at, ..)| *at);
        answers
    }

    fn collect(&mut self, def: &TaskDef, name: &str, target: &str) -> HostResult {
        let reporter = &mut *self.reporter;
        let answer = self.hosts.answer_within(target, def.common.timeout_s, &mut |message, fraction| {
            let (host, task) = (target.to_owned(), name.to_owned());
            reporter.event(&Event::Progress { host, task, message, fraction });
        });
        match answer {
            Ok(Response::Run(result)) => result,
            Ok(Response::Error { message }) => HostResult::new(Status::Failed, message),
            Ok(other) => HostResult::new(Status::Failed, format!("unexpected answer {other:?}")),
            Err(error) => self.lost(target, &error),
        }
    }

    /// A container may still be coming: because it is only predicted (check) or just being started (apply).
    pub(super) fn may_come(&self, _host: &str) -> bool {
        self.cluster_changes || self.mode == Mode::Apply
    }

    pub(super) fn lost(&mut self, host: &str, error: &LinkError) -> HostResult {
        self.hosts.lose(host, error);
        HostResult::new(Status::Failed, error.to_string())
    }

    fn until_holds(&mut self, scene: &Scene<'_>, def: &TaskDef, host: &str, fixed: &Vars, answer: &HostResult) -> bool {
        let Some(until) = &def.common.until else { return true };
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
        answer: HostResult,
        mut result: TaskResult,
    ) {
        result.task = name.to_owned();
        if self.hosts.state(&lane.target).unreachable.is_some() {
            result.outcome = Outcome::Unreachable;
            result.ignored = def.common.ignore_unreachable;
        }
        if let Some(item) = &item {
            result.item = Some(self.item_label(scene, def, &lane.host, item));
        }
        if matches!(answer.status, Status::Changed | Status::Drifted) {
            for handler in self.resolve_notify(scene, def) {
                self.hosts.state(&lane.host).notified.insert(handler);
            }
        }
        self.report(result);
        lane.results.push((item, answer));
    }

    fn item_label(&mut self, scene: &Scene<'_>, def: &TaskDef, host: &str, item: &Value) -> String {
        if def.common.no_log {
            return "(hidden)".into();
        }
        if let Some(label) = &def.common.loop_control.label {
            let fixed = loop_vars(&def.common, Some((0, item.clone())));
            let scope = self.scope(scene, host, &def.common.vars, fixed);
            if let Ok(value) = super::vars::to_value(label, &scope.value()) {
                return value.to_string();
            }
        }
        item.to_string()
    }

    /// Registers the lane's result and keeps facts. Returns whether the task failed on this host.
    fn leave(&mut self, def: &TaskDef, lane: &mut Lane) -> bool {
        let looped = def.common.loop_.is_some();
        let failed = lane.results.iter().any(|(_, r)| matches!(r.status, Status::Failed | Status::Blocked));
        for (_, result) in &lane.results {
            if let Some(Json::Object(facts)) = result.data.get("ansible_facts") {
                for (key, value) in facts {
                    self.hosts.set_var(&lane.host, key, from_json(value));
                }
            }
        }
        let Some(register) = &def.common.register else { return failed };
        let value = if looped {
            let changed = lane.results.iter().any(|(_, r)| matches!(r.status, Status::Changed | Status::Drifted));
            let skipped = lane.results.iter().all(|(_, r)| r.status == Status::Skipped);
            let results: Vec<Value> = lane
                .results
                .iter()
                .map(|(item, result)| {
                    let value = self.result_value(&def.name, result);
                    with_item(value, item.clone().unwrap_or_default())
                })
                .collect();
            let all: Vars = BTreeMap::from([
                ("results".to_owned(), Value::from(results)),
                ("changed".to_owned(), changed.into()),
                ("failed".to_owned(), failed.into()),
                ("skipped".to_owned(), skipped.into()),
            ]);
            Value::from_object(all)
        } else {
            match lane.results.first() {
                Some((_, result)) => self.result_value(&def.name, result),
                None => return failed,
            }
        };
        self.hosts.set_var(&lane.host, register, value);
        failed
    }

    /// Facts of a host, gathered the first time a template names one.
    pub(super) fn gather_facts(&mut self, host: &str) {
        self.hosts.state(host).has_facts = true;
        let Some(kind) = registry::find("setup") else { return };
        let Ok(task) = (kind.from_json)(serde_json::json!({})) else { return };
        let request = Request::Run {
            task: wire(task.as_ref()),
            notify: Vec::new(),
            environment: BTreeMap::new(),
            look_only: true,
        };
        let answer =
            self.hosts.send(host, self.may_come(host), &request).and_then(|()| self.hosts.answer(host, &mut |_, _| {}));
        if let Ok(Response::Run(result)) = answer
            && let Some(Json::Object(facts)) = result.data.get("ansible_facts")
        {
            for (key, value) in facts {
                self.hosts.set_var(host, key, from_json(value));
            }
            let all = from_json(&Json::Object(facts.clone()));
            self.hosts.set_var(host, "ansible_facts", all);
        }
    }
}

/// A loop result with its item; what a check cannot know stays unknowable.
fn with_item(value: Value, item: Value) -> Value {
    match value.downcast_object_ref::<super::vars::Predicted>() {
        Some(predicted) => {
            let mut known = predicted.known.clone();
            known.insert("item".into(), item);
            let (task, doubt) = (predicted.task.clone(), predicted.doubt.clone());
            Value::from_object(super::vars::Predicted { known, task, doubt })
        }
        None => {
            let mut map = Vars::new();
            if let Ok(keys) = value.try_iter() {
                for key in keys {
                    if let (Some(name), Ok(inner)) = (key.as_str(), value.get_item(&key)) {
                        map.insert(name.to_owned(), inner);
                    }
                }
            }
            map.insert("item".into(), item);
            Value::from_object(map)
        }
    }
}

pub(super) fn wire(task: &dyn AnyTask) -> WireTask {
    WireTask { kind: task.kind().to_owned(), args: task.to_json() }
}

/// The result of a task that never got to its host.
pub(super) fn unready(def: &TaskDef, prepared: Prepared) -> HostResult {
    match prepared {
        Prepared::Skip(why) => HostResult::new(Status::Skipped, why),
        Prepared::Fault(why) => HostResult::new(Status::Failed, why),
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

pub fn selected_by_tags(tags: &[&str], options: &super::Options) -> bool {
    let has = |set: &std::collections::BTreeSet<String>| tags.iter().any(|t| set.contains(*t));
    let never = tags.contains(&"never");
    let wanted = if options.tags.is_empty() || options.tags.contains("all") {
        !never || has(&options.tags)
    } else {
        has(&options.tags)
            || (tags.contains(&"always") && !options.skip_tags.contains("always"))
            || (options.tags.contains("tagged") && !tags.is_empty() && !never)
            || (options.tags.contains("untagged") && tags.is_empty())
    };
    wanted && !has(&options.skip_tags)
}
