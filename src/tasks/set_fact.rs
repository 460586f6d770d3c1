//! `set_fact`: variables of a host for later tasks.

use super::{ArgFault, Task, Touches, Verdict};
use crate::host::{LookError, Probe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

/// Sets variables of the host for the rest of the run: every key is the name of a variable. Changes nothing on the
/// host. `cacheable` is accepted; facts are not kept between runs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SetFact {
    facts: Map<String, Json>,
}

impl Task for SetFact {
    const KIND: &'static str = "set_fact";
    const EXAMPLE: &'static str = "\
- name: Name the resource once
  set_fact:
    resource: nfs1
    minor: 100
";
    const TOUCHES: Touches = Touches::Nothing;
    const GIVES_FACTS: bool = true;
    type Seen = ();

    fn check_args(&self) -> Vec<ArgFault> {
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        self.facts
            .keys()
            .filter(|name| !is_name(name))
            .map(|name| {
                ArgFault::task(format!("`{name}` cannot be the name of a variable"))
                    .help("letters, digits and `_`, no digit first")
            })
            .collect()
    }

    fn probe(&self, _host: &dyn Probe) -> Result<(), LookError> {
        Ok(())
    }

    fn decide(&self, (): &()) -> Verdict {
        let mut facts = self.facts.clone();
        facts.shift_remove("cacheable");
        let names: Vec<&str> = facts.keys().map(String::as_str).collect();
        Verdict::ok(format!("set {}", names.join(", "))).data(json!({ "ansible_facts": facts }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_keep_their_types_and_order() {
        let task: SetFact = serde_json::from_value(json!({"b": 1, "cacheable": true, "a": ["x"], "t": "01"})).unwrap();
        let verdict = task.decide(&());
        assert_eq!(verdict, Verdict::ok("set b, a, t").data(verdict.data.clone()));
        assert_eq!(verdict.data["ansible_facts"], json!({"b": 1, "a": ["x"], "t": "01"}));
    }

    #[test]
    fn names_must_be_names() {
        let task: SetFact = serde_json::from_value(json!({"1a": 1, "a-b": 1, "_ok": 1})).unwrap();
        assert_eq!(Task::check_args(&task).len(), 2);
    }
}
