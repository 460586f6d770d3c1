//! `command`: a program with arguments, without a shell.

use super::{After, ArgFault, Change, Decision, Task, Verdict};
use crate::host::{Action, Bytes, Effect, LookError, Output, Probe, Step};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Runs a program without a shell. It counts as a change each time, unless `creates` or `removes` tells that there
/// is nothing to do. In check nothing is run and later tasks on the host are provisional.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// A path; if it exists, the command is not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creates: Option<String>,
    /// A path; if it does not exist, the command is not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removes: Option<String>,
    /// Working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chdir: Option<String>,
    /// Text for standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Seconds after which the program is killed and the task fails.
    #[serde(default = "ten_minutes")]
    pub timeout_s: u64,
}

fn ten_minutes() -> u64 {
    600
}

/// Whether the marker paths exist.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    creates_exists: bool,
    removes_exists: bool,
}

impl Task for Command {
    const KIND: &'static str = "command";
    const EXAMPLE: &'static str = "\
- name: Initialise once
  command:
    argv: [touch, /etc/initialised]
    creates: /etc/initialised
";
    type Seen = Seen;

    fn check_args(&self) -> Vec<ArgFault> {
        if self.argv.is_empty() {
            return vec![ArgFault::at("argv", "there is no program to run")];
        }
        Vec::new()
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let exists = |path: &Option<String>| match path {
            Some(path) => host.stat(Path::new(path)).map(|s| s.is_some()),
            None => Ok(false),
        };
        Ok(Seen { creates_exists: exists(&self.creates)?, removes_exists: exists(&self.removes)? })
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        if let (Some(path), true) = (&self.creates, seen.creates_exists) {
            return Verdict::ok(format!("{path} exists"));
        }
        if let (Some(path), false) = (&self.removes, seen.removes_exists) {
            return Verdict::ok(format!("{path} does not exist"));
        }
        let line = self.argv.join(" ");
        let action = Action::Run {
            argv: self.argv.clone(),
            stdin: self.stdin.clone().map(|text| Bytes(text.into_bytes())),
            env: BTreeMap::new(),
            cwd: self.chdir.clone(),
            timeout_s: self.timeout_s,
            ok_codes: Vec::new(),
        };
        let step = Step::from(action).effect(Effect::UnsettlesAll { what: line.clone() });
        Decision::Drift(Change {
            summary: format!("run `{line}`"),
            diff: String::new(),
            steps: vec![step],
            after: After::Done,
        })
        .into()
    }

    fn finish(&self, data: Json, outputs: &[Output]) -> (Json, Result<(), String>) {
        let Some(output) = outputs.last() else { return (data, Ok(())) };
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let data = json!({
            "cmd": self.argv, "rc": output.rc,
            "stdout": output.stdout.trim_end(), "stdout_lines": lines(&output.stdout),
            "stderr": output.stderr.trim_end(), "stderr_lines": lines(&output.stderr),
        });
        let result = if output.rc == 0 {
            Ok(())
        } else {
            Err(format!("`{}` ended with {}: {}", self.argv.join(" "), output.rc, output.complaint()))
        };
        (data, result)
    }
}
