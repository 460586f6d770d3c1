//! `fail`: ends with a message, usually under a `when`.

use super::{Task, Touches, Verdict};
use crate::host::{LookError, Probe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Fails with a message. Changes nothing.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fail {
    /// What to say.
    #[serde(default = "as_requested")]
    pub msg: String,
}

fn as_requested() -> String {
    "Failed as requested from task".into()
}

impl Task for Fail {
    const KIND: &'static str = "fail";
    const EXAMPLE: &'static str = "\
- name: Refuse a cluster that is too small
  fail:
    msg: at least three nodes are needed
  when: groups['nodes'] | length < 3
";
    const TOUCHES: Touches = Touches::Nothing;
    type Seen = ();

    fn probe(&self, _host: &dyn Probe) -> Result<(), LookError> {
        Ok(())
    }

    fn decide(&self, (): &()) -> Verdict {
        Verdict::failed(self.msg.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fails_with_its_message() {
        let task: Fail = serde_json::from_str("{}").unwrap();
        assert_eq!(task.decide(&()), Verdict::failed("Failed as requested from task"));
        let task: Fail = serde_json::from_str(r#"{"msg": "no"}"#).unwrap();
        assert_eq!(task.decide(&()), Verdict::failed("no"));
    }
}
