//! From what a host answered to what the run reports and registers.

use super::flow::Scene;
use super::render;
use super::vars::{Predicted, Vars, from_json};
use super::{Fleet, Mode};
use crate::diagnostic::Span;
use crate::engine;
use crate::event::{Outcome, TaskResult};
use crate::playbook::{Expr, TaskDef};
use crate::wire::{HostResult, Status};
use minijinja::value::Value;
use serde_json::Value as Json;

impl Fleet<'_> {
    pub(super) fn blank_result(&self, scene: &Scene<'_>, task: &str, kind: &str, span: Span, host: &str) -> TaskResult {
        TaskResult {
            play: scene.play.name.clone(),
            task: task.to_owned(),
            kind: kind.to_owned(),
            host: host.to_owned(),
            item: None,
            outcome: Outcome::Ok,
            summary: String::new(),
            diff: String::new(),
            provisional: false,
            provisional_reason: None,
            warnings: Vec::new(),
            took_ms: 0,
            place: self.sources.place(span),
            delegated_to: None,
            object: String::new(),
            handler: scene.handler,
            ignored: false,
        }
    }

    /// Lets `changed_when` and `failed_when` have their say over a result, with the result under its registered name.
    pub(super) fn overrule(
        &mut self,
        scene: &Scene<'_>,
        def: &TaskDef,
        host: &str,
        fixed: &Vars,
        result: &mut HostResult,
    ) {
        let common = &def.common;
        if result.outright || (common.changed_when.is_none() && common.failed_when.is_none()) {
            return;
        }
        let mut fixed = fixed.clone();
        let value = self.result_value(&def.name, result);
        if let Some(name) = &common.register {
            fixed.insert(name.clone(), value);
        }
        let scope = self.scope(scene, host, &common.vars, fixed).value();
        let holds = |conditions: &[Expr]| {
            self.doubt_reset();
            let held = render::holds(conditions, &scope);
            let not_yet = self.doubt.lock().expect("no panic while holding").not_yet.take();
            (held, not_yet)
        };
        if let Some(conditions) = &common.failed_when {
            match holds(conditions) {
                (_, Some(why)) => result.provisional.push(why),
                (Ok(true), _) if matches!(result.status, Status::Ok | Status::Changed | Status::Drifted) => {
                    let words: Vec<&str> = conditions.iter().map(|c| c.text.as_str()).collect();
                    result.status = Status::Failed;
                    result.summary = format!("failed_when: {}", words.join(" and "));
                }
                (Ok(false), _) if result.status == Status::Failed => {
                    result.status = if self.mode == Mode::Check { Status::Drifted } else { Status::Changed };
                }
                (Ok(_), _) => {}
                (Err(fault), _) => {
                    result.status = Status::Failed;
                    result.summary = self.sources.show(&[fault], false);
                    return;
                }
            }
        }
        if let Some(conditions) = &common.changed_when {
            let now = result.status;
            match holds(conditions) {
                (_, Some(why)) => result.provisional.push(why),
                (Ok(changed), _) if matches!(now, Status::Ok | Status::Changed | Status::Drifted) => {
                    let yes = if self.mode == Mode::Check { Status::Drifted } else { Status::Changed };
                    result.status = if changed { yes } else { Status::Ok };
                }
                (Ok(_), _) => {}
                (Err(fault), _) => {
                    result.status = Status::Failed;
                    result.summary = self.sources.show(&[fault], false);
                }
            }
        }
    }

    /// What `register` holds: plain data, or in a check a value that knows what it cannot know.
    pub(super) fn result_value(&self, task: &str, result: &HostResult) -> Value {
        let data = engine::registered(result);
        if !result.predicted {
            return from_json(&data);
        }
        let known = match &data {
            Json::Object(map) => map.iter().map(|(k, v)| (k.clone(), from_json(v))).collect(),
            _ => Vars::new(),
        };
        Value::from_object(Predicted { known, task: task.to_owned(), doubt: self.doubt.clone() })
    }

    pub(super) fn outcome(&self, scene: &Scene<'_>, def: &TaskDef, host: &str, from: &HostResult) -> TaskResult {
        let mut result = self.blank_result(scene, &def.name, def.kind.name, def.span, host);
        result.outcome = match from.status {
            Status::Ok => Outcome::Ok,
            Status::Drifted => Outcome::Drifted,
            Status::Changed => Outcome::Changed,
            Status::Blocked => Outcome::Blocked,
            Status::Failed => Outcome::Failed,
            Status::Skipped => Outcome::Skipped,
        };
        result.summary = from.summary.clone();
        result.diff = from.diff.clone();
        result.object = from.object.clone();
        result.warnings = from.warnings.clone();
        result.provisional = !from.provisional.is_empty();
        result.provisional_reason = result.provisional.then(|| from.provisional.join("; "));
        if def.common.no_log {
            result.summary = "hidden by no_log".into();
            result.diff.clear();
            result.object.clear();
            result.warnings.clear();
            result.provisional_reason = result.provisional.then(|| "hidden by no_log".into());
        }
        result.ignored = def.common.ignore_errors || scene.rescued;
        result
    }
}
