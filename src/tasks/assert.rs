//! `assert`: conditions that must hold.

use super::args::OneOrMany;
use super::{ResolveError, Task, Touches, Verdict, Workstation};
use crate::host::{LookError, Probe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// Fails unless every condition holds. Changes nothing.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assert {
    /// A condition, or a list of conditions, written as for `when`.
    pub that: OneOrMany,
    /// What to say when one does not hold.
    #[serde(default, alias = "msg", skip_serializing_if = "Option::is_none")]
    pub fail_msg: Option<String>,
    /// What to say when all hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_msg: Option<String>,
    /// Say nothing about the conditions that hold.
    #[serde(default)]
    pub quiet: bool,
    /// The first condition that does not hold; found out on the workstation, which has the variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    broken: Option<String>,
}

impl Task for Assert {
    const KIND: &'static str = "assert";
    const EXAMPLE: &'static str = "\
- name: Three nodes make a majority possible
  assert:
    that:
      - 3 >= 3
    fail_msg: DRBD's quorum needs three nodes
";
    const TOUCHES: Touches = Touches::Nothing;
    type Seen = ();

    fn resolve(&mut self, from: &dyn Workstation) -> Result<(), ResolveError> {
        self.broken = None;
        for condition in &self.that.0 {
            match from.eval(condition)? {
                Json::Bool(true) => {}
                Json::Bool(false) => {
                    self.broken = Some(condition.clone());
                    break;
                }
                // As Ansible since 2.19: a text such as "false" must not count as true.
                other => {
                    let fault = format!("`{condition}` is no condition: it gives {other}, not true or false");
                    return Err(ResolveError::Fault(fault));
                }
            }
        }
        Ok(())
    }

    fn probe(&self, _host: &dyn Probe) -> Result<(), LookError> {
        Ok(())
    }

    fn decide(&self, (): &()) -> Verdict {
        match (&self.broken, &self.fail_msg) {
            (Some(condition), Some(message)) => {
                Verdict::failed(message.clone()).data(json!({ "assertion": condition, "evaluated_to": false }))
            }
            (Some(condition), None) => Verdict::failed(format!("`{condition}` does not hold"))
                .data(json!({ "assertion": condition, "evaluated_to": false })),
            (None, _) => Verdict::ok(match &self.success_msg {
                Some(message) if !self.quiet => message.clone(),
                _ => "all assertions hold".into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::Decision;

    struct Desk;
    impl Workstation for Desk {
        fn file(&self, _: &str, _: &str) -> Result<(String, Vec<u8>), ResolveError> {
            Err(ResolveError::Fault("none".into()))
        }
        fn render(&self, _: &str, text: &str) -> Result<String, ResolveError> {
            Ok(text.into())
        }
        fn eval(&self, expression: &str) -> Result<Json, ResolveError> {
            serde_json::from_str(expression).map_err(|e| ResolveError::Fault(e.to_string()))
        }
    }

    fn decided(json: Json) -> Result<Decision, ResolveError> {
        let mut task: Assert = serde_json::from_value(json).unwrap();
        Task::resolve(&mut task, &Desk)?;
        Ok(task.decide(&()).decision)
    }

    #[test]
    fn the_first_condition_that_does_not_hold_is_named() {
        assert_eq!(decided(json!({"that": "true"})), Ok(Decision::Ok("all assertions hold".into())));
        assert_eq!(decided(json!({"that": ["true", "false"]})), Ok(Decision::Failed("`false` does not hold".into())));
        assert_eq!(decided(json!({"that": "false", "msg": "no"})), Ok(Decision::Failed("no".into())));
        assert!(matches!(decided(json!({"that": "\"false\""})), Err(ResolveError::Fault(_))), "text is no condition");
    }
}
