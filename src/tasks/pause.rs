//! `pause`: lets time pass.

use super::{ArgFault, Task, Touches, Verdict};
use crate::host::{LookError, Probe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;
use std::time::Instant;

/// Waits for a fixed time. Prefer `wait_for`, which ends as soon as what is waited for is there.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Seconds to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Minutes to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<u64>,
    /// Not supported: a run asks nobody anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// When the first look was taken.
    #[serde(skip)]
    began: OnceLock<Instant>,
}

/// How long the pause has lasted.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    passed_s: u64,
}

impl Pause {
    fn length_s(&self) -> u64 {
        self.seconds.or(self.minutes.map(|m| m.saturating_mul(60))).unwrap_or(0)
    }
}

impl Task for Pause {
    const KIND: &'static str = "pause";
    const EXAMPLE: &'static str = "\
- name: Give the network a moment
  pause:
    seconds: 1
";
    const TOUCHES: Touches = Touches::Nothing;
    type Seen = Seen;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = Vec::new();
        if self.prompt.is_some() {
            faults.push(
                ArgFault::at("prompt", "nobody can be asked during a run")
                    .help("decide before: give a variable with `--extra-vars` and test it with `assert` or `when`"),
            );
        }
        match (self.seconds, self.minutes) {
            (Some(_), Some(_)) => faults.push(ArgFault::at("minutes", "`seconds` and `minutes` exclude each other")),
            (None, None) if self.prompt.is_none() => {
                faults.push(ArgFault::task("neither `seconds` nor `minutes` says how long"));
            }
            _ => {}
        }
        faults
    }

    fn probe(&self, _host: &dyn Probe) -> Result<Seen, LookError> {
        Ok(Seen { passed_s: self.began.get_or_init(Instant::now).elapsed().as_secs() })
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        let length_s = self.length_s();
        let left_s = length_s.saturating_sub(seen.passed_s);
        if left_s == 0 {
            return Verdict::ok(format!("paused for {length_s} s"));
        }
        let fraction = seen.passed_s as f32 / length_s as f32;
        Verdict::wait(format!("pause, {left_s} s left"), length_s.saturating_add(60), left_s.min(5), Some(fraction))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::Decision;

    #[test]
    fn it_waits_for_what_is_left() {
        let task = Pause { minutes: Some(2), ..Pause::default() };
        let Decision::Wait { every_s, fraction, .. } = task.decide(&Seen { passed_s: 30 }).decision else {
            panic!("it waits")
        };
        assert_eq!((every_s, fraction), (5, Some(0.25)));
        let Decision::Wait { every_s, .. } = task.decide(&Seen { passed_s: 118 }).decision else { panic!("it waits") };
        assert_eq!(every_s, 2);
        assert!(matches!(task.decide(&Seen { passed_s: 120 }).decision, Decision::Ok(_)));
    }

    #[test]
    fn a_prompt_is_a_fault_with_a_way_out() {
        let faults = Task::check_args(&Pause { prompt: Some("sure?".into()), ..Pause::default() });
        assert_eq!(faults.len(), 1);
        assert!(faults[0].help.is_some());
        assert_eq!(Task::check_args(&Pause::default()).len(), 1);
    }
}
