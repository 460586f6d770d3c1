//! `shell`: a command line for a shell.

use super::command::old_style_option;
use super::program::{Program, Seen, ten_minutes};
use super::{ArgFault, Observation, Task, Touches, Verdict, drbd_guard};
use crate::host::{LookError, Output, Probe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// Runs a command line through a shell, with pipes and expansion. It counts as a change each time, unless `creates` or
/// `removes` tells that there is nothing to do. In check nothing is run and later tasks on the host are provisional.
/// A `drbdadm down` or `systemctl stop drbd@…` written out in it is refused where the quorum or the last good copy
/// would go. Quote what comes from variables: `{{ name | quote }}`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shell {
    /// The command line. A bare string (`shell: a | b`) means this.
    pub cmd: String,
    /// The shell.
    #[serde(default = "bin_sh")]
    pub executable: String,
    /// A path or glob; if it exists, the command is not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creates: Option<String>,
    /// A path or glob; if it does not exist, the command is not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removes: Option<String>,
    /// Working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chdir: Option<String>,
    /// Text for standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Append a line end to `stdin`.
    #[serde(default = "super::copy::yes")]
    pub stdin_add_newline: bool,
    /// Seconds after which the shell is killed and the task fails.
    #[serde(default = "ten_minutes")]
    pub timeout_s: u64,
}

fn bin_sh() -> String {
    "/bin/sh".into()
}

impl Shell {
    fn program(&self) -> Program<'_> {
        Program {
            argv: vec![self.executable.clone(), "-c".into(), self.cmd.clone()],
            line: self.cmd.trim().to_owned(),
            stops: drbd_guard::of_line(&self.cmd),
            creates: self.creates.as_deref(),
            removes: self.removes.as_deref(),
            chdir: self.chdir.as_deref(),
            stdin: self.stdin.as_deref(),
            stdin_add_newline: self.stdin_add_newline,
            timeout_s: self.timeout_s,
        }
    }
}

impl Task for Shell {
    const KIND: &'static str = "shell";
    const EXAMPLE: &'static str = "\
- name: Note the kernel once
  shell:
    cmd: uname -r | tr -d '\\n' > /etc/first-kernel
    creates: /etc/first-kernel
";
    const FREE_FORM: Option<&'static str> = Some("cmd");
    type Seen = Seen;

    fn touches(&self) -> Touches {
        self.program().touches()
    }

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = Vec::new();
        match self.cmd.split_whitespace().next() {
            None => faults.push(ArgFault::at("cmd", "there is no command to run")),
            Some(first) => faults.extend(old_style_option(first)),
        }
        faults.extend(super::managed::path_fault("executable", &self.executable));
        faults
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        self.program().probe(host)
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        self.program().decide(seen)
    }

    fn decide_among(
        &self,
        all: &BTreeMap<String, Observation<Seen>>,
        acting: &BTreeSet<String>,
    ) -> BTreeMap<String, Verdict> {
        self.program().decide_among(all, acting)
    }

    fn finish(&self, data: Json, outputs: &[Output]) -> (Json, Result<(), String>) {
        let (mut data, result) = self.program().finish(data, outputs);
        // Ansible registers the line, not the shell's argv.
        if data.is_object() {
            data["cmd"] = self.cmd.clone().into();
        }
        (data, result)
    }
}
