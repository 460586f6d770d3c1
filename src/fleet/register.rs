//! What a task leaves behind for later ones: registered results, facts.

use super::Fleet;
use super::flow::Scene;
use super::prepare::loop_vars;
use super::task::{Lane, wire};
use super::vars::{Predicted, Vars, from_json};
use crate::playbook::TaskDef;
use crate::tasks::registry;
use crate::wire::{Request, Response, Status};
use minijinja::value::Value;
use serde_json::Value as Json;
use std::collections::BTreeMap;

impl Fleet<'_> {
    pub(super) fn item_label(&mut self, scene: &Scene<'_>, def: &TaskDef, lane: &Lane, item: &Value) -> String {
        if def.common.no_log {
            return "(hidden)".into();
        }
        if let Some(label) = &def.common.loop_control.label {
            let fixed = loop_vars(&def.common, lane.nth(lane.results.len()));
            let scope = self.scope(scene, &lane.host, &def.common.vars, fixed);
            if let Ok(value) = super::vars::to_value(label, &scope.value()) {
                return value.to_string();
            }
        }
        item.to_string()
    }

    /// Registers the lane's result and keeps facts. Returns whether the task failed on this host.
    pub(super) fn leave(&mut self, def: &TaskDef, lane: &mut Lane) -> bool {
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
            self.hosts.send(host, self.may_come(), &request).and_then(|()| self.hosts.answer(host, &mut |_, _| {}));
        if let Err(error) = &answer {
            let error = error.clone();
            self.lost(host, &error);
        }
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
    match value.downcast_object_ref::<Predicted>() {
        Some(predicted) => {
            let mut known = predicted.known.clone();
            known.insert("item".into(), item);
            let (task, doubt) = (predicted.task.clone(), predicted.doubt.clone());
            Value::from_object(Predicted { known, task, doubt })
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
