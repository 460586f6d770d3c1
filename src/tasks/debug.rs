//! `debug`: shows a message or a variable.

use super::{ArgFault, ResolveError, Task, Touches, Verdict, Workstation};
use crate::host::{LookError, Probe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// Shows a message or the value of a variable. Changes nothing.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Debug {
    /// The message: text, or a list or mapping that is shown as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msg: Option<Json>,
    /// A variable or expression (without braces) whose value is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub var: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    value: Option<Json>,
}

impl Task for Debug {
    const KIND: &'static str = "debug";
    const EXAMPLE: &'static str = "\
- name: Tell where we are
  debug:
    msg: the replicas are in place
";
    const TOUCHES: Touches = Touches::Nothing;
    type Seen = ();

    fn check_args(&self) -> Vec<ArgFault> {
        match (&self.msg, &self.var) {
            (Some(_), Some(_)) => vec![ArgFault::at("var", "`msg` and `var` exclude each other")],
            _ => Vec::new(),
        }
    }

    fn resolve(&mut self, from: &dyn Workstation) -> Result<(), ResolveError> {
        self.value = self.var.as_deref().map(|expression| from.eval(expression)).transpose()?;
        Ok(())
    }

    fn probe(&self, _host: &dyn Probe) -> Result<(), LookError> {
        Ok(())
    }

    fn decide(&self, (): &()) -> Verdict {
        if let (Some(name), Some(value)) = (&self.var, &self.value) {
            let data = Map::from_iter([(name.clone(), value.clone())]);
            return Verdict::ok(format!("{name} = {}", shown(value))).data(Json::Object(data));
        }
        let message = self.msg.clone().unwrap_or_else(|| "Hello world!".into());
        Verdict::ok(shown(&message)).data(Json::Object(Map::from_iter([("msg".to_owned(), message)])))
    }
}

/// Text as it stands, everything else as JSON that a person can read.
fn shown(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Array(_) | Json::Object(_) => serde_json::to_string_pretty(value).unwrap_or_default(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_keep_their_shape_for_register() {
        for message in [json!("text"), json!(["a", "b"]), json!({"a": 1}), json!(3)] {
            let task: Debug = serde_json::from_value(json!({ "msg": message })).unwrap();
            assert_eq!(task.decide(&()).data["msg"], message);
        }
        assert_eq!(shown(&json!("plain")), "plain");
        assert_eq!(shown(&json!(["a"])), "[\n  \"a\"\n]");
    }
}
