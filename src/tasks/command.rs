//! `command`: a program with arguments, without a shell.

use super::args::split_words;
use super::program::{Program, Seen, ten_minutes};
use super::{ArgFault, Observation, Task, Touches, Verdict, drbd_guard};
use crate::host::{LookError, Output, Probe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// Runs a program without a shell. It counts as a change each time, unless `creates` or `removes` tells that there
/// is nothing to do. In check nothing is run and later tasks on the host are provisional. What stops DRBD
/// (`drbdadm down`, `systemctl stop drbd@…`) is refused where the quorum or the last good copy would go.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Program and arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<String>,
    /// Program and arguments as one line, split at white space; quotes keep words together. Nothing is expanded:
    /// pipes, `$` and `*` need `shell`. A bare string (`command: uname -r`) means this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<String>,
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
    /// Seconds after which the program is killed and the task fails.
    #[serde(default = "ten_minutes")]
    pub timeout_s: u64,
}

impl Command {
    fn program(&self) -> Program<'_> {
        let argv = match &self.cmd {
            // `check_args` has refused what cannot be split.
            Some(line) => split_words(line).unwrap_or_default(),
            None => self.argv.clone(),
        };
        Program {
            line: argv.join(" "),
            stops: drbd_guard::of_command(&argv),
            argv,
            creates: self.creates.as_deref(),
            removes: self.removes.as_deref(),
            chdir: self.chdir.as_deref(),
            stdin: self.stdin.as_deref(),
            stdin_add_newline: self.stdin_add_newline,
            timeout_s: self.timeout_s,
        }
    }
}

impl Task for Command {
    const KIND: &'static str = "command";
    const EXAMPLE: &'static str = "\
- name: Initialise once
  command:
    argv: [touch, /etc/initialised]
    creates: /etc/initialised
";
    const FREE_FORM: Option<&'static str> = Some("cmd");
    type Seen = Seen;

    fn touches(&self) -> Touches {
        self.program().touches()
    }

    fn check_args(&self) -> Vec<ArgFault> {
        let Some(line) = &self.cmd else {
            let nothing = self.argv.first().is_none_or(String::is_empty);
            return if nothing { vec![ArgFault::task("there is no program to run")] } else { Vec::new() };
        };
        if !self.argv.is_empty() {
            return vec![ArgFault::at("cmd", "`argv` and `cmd` exclude each other")];
        }
        match split_words(line) {
            Err(why) => vec![ArgFault::at("cmd", why)],
            Ok(words) => match words.first() {
                None => vec![ArgFault::at("cmd", "there is no program to run")],
                Some(first) => old_style_option(first).into_iter().collect(),
            },
        }
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
        self.program().finish(data, outputs)
    }
}

/// `command: creates=/x touch /x`: Ansible's oldest form, which would run a program named `creates=/x` here.
pub(super) fn old_style_option(first: &str) -> Option<ArgFault> {
    let (name, _) = first.split_once('=')?;
    ["creates", "removes", "chdir", "executable", "stdin"].contains(&name).then(|| {
        ArgFault::task(format!("`{first}` in front of the command is not read as an option"))
            .help(format!("write `{name}` as a field of its own"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::shell::Shell;
    use super::*;
    use crate::engine::apply;
    use crate::tasks::fake::{Fake, faults, idle, task};
    use crate::wire::Status;
    use serde_json::json;

    #[test]
    fn a_line_is_split_into_argv() {
        let command: Command = task(json!({"cmd": "install -m 0600 'a b' /x"}));
        assert_eq!(command.program().argv, ["install", "-m", "0600", "a b", "/x"]);
        let shell: Shell = task(json!({"cmd": "echo $HOME | cat", "executable": "/bin/bash"}));
        let host = Fake::with(&[]);
        apply(&shell, &host, &[], &mut |_, _| {});
        assert_eq!(*host.done.borrow(), ["/bin/bash -c echo $HOME | cat"]);
    }

    #[test]
    fn markers_say_whether_there_is_something_to_do() {
        let host = Fake::with(&[("/etc/drbd.d/nfs1.res", "")]);
        idle(&task::<Command>(json!({"cmd": "x", "creates": "/etc/drbd.d/*.res"})), &host);
        idle(&task::<Command>(json!({"cmd": "x", "creates": "drbd.d", "chdir": "/etc"})), &host);
        idle(&task::<Shell>(json!({"cmd": "x", "removes": "/etc/*.conf"})), &host);
        for args in [json!({"cmd": "x", "creates": "/etc/[a-c]*"}), json!({"cmd": "x", "removes": "/etc/drbd.d"})] {
            let result = apply(&task::<Command>(args), &host, &[], &mut |_, _| {});
            assert_eq!(result.status, Status::Changed);
        }
    }

    #[test]
    fn the_outcome_is_registered_and_a_bad_exit_is_a_failure() {
        let command: Command = task(json!({"argv": ["false"]}));
        let output = Output { rc: 3, stdout: "a\nb\n".into(), stderr: "no\n".into() };
        let (data, result) = Task::finish(&command, Json::Null, &[output]);
        assert_eq!(data["stdout"], "a\nb");
        assert_eq!(data["stdout_lines"], json!(["a", "b"]));
        assert_eq!(data["rc"], 3);
        assert_eq!(result.unwrap_err(), "`false` ended with 3: no");
    }

    #[test]
    fn faults_are_found_without_a_host() {
        assert!(faults::<Command>(json!({})).contains("no program"));
        assert!(faults::<Command>(json!({"cmd": "  "})).contains("no program"));
        assert!(faults::<Command>(json!({"cmd": "echo 'x"})).contains("not closed"));
        assert!(faults::<Command>(json!({"cmd": "a", "argv": ["b"]})).contains("exclude"));
        assert!(faults::<Command>(json!({"cmd": "creates=/x touch /x"})).contains("not read as an option"));
        assert!(faults::<Shell>(json!({"cmd": " "})).contains("no command"));
    }
}
