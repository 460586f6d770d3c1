//! `sysctl`: kernel parameters, now and at boot.

use super::{ArgFault, Task, Trail, Verdict, diff};
use crate::host::{Effect, LookError, Probe, Step};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Sets a kernel parameter in a file that is read at boot, and in the running kernel.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sysctl {
    /// Parameter, as `net.ipv4.ip_forward` or `net/ipv4/ip_forward`.
    #[serde(alias = "key")]
    pub name: String,
    /// Value; several numbers are separated by spaces.
    #[serde(default, alias = "val", skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// `absent` takes the line out of the file; the running kernel keeps its value.
    #[serde(default)]
    pub state: State,
    /// The file. Not `/etc/sysctl.conf`, which Ansible has as default: systemd of Debian 13 (Proxmox VE 9) no longer
    /// reads it.
    #[serde(default = "own_file")]
    pub sysctl_file: String,
    /// Set the running kernel's value, too.
    #[serde(default = "yes")]
    pub reload: bool,
    /// Set the running kernel's value also with `reload: false`.
    #[serde(default)]
    pub sysctl_set: bool,
    /// Write the file also when the running kernel does not know the parameter.
    #[serde(default)]
    pub ignoreerrors: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Present,
    Absent,
}

fn own_file() -> String {
    "/etc/sysctl.d/99-converge.conf".into()
}

fn yes() -> bool {
    true
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    /// The file's text.
    file: Option<String>,
    /// The running kernel's value; `None`: it has no such parameter. Asked only where it matters.
    live: Option<String>,
    /// A file that is read later and sets the parameter to something else.
    overridden: Option<String>,
}

/// Directories that systemd-sysctl reads; the same name in an earlier one hides the others.
const DIRS: &[&str] = &["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"];

/// `net.ipv4.conf.eth0/100.x` and `net/ipv4/conf/eth0.100/x` are the same: the first separator decides.
fn proc_path(name: &str) -> String {
    let swapped = |c: char| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let relative: String = match name.find(['.', '/']).map(|at| &name[at..=at]) {
        Some("/") => name.to_owned(),
        _ => name.chars().map(swapped).collect(),
    };
    format!("/proc/sys/{relative}")
}

/// Tabs and spaces between numbers mean the same.
fn normal(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Parameter and value of a line; `None` for comments and blank lines.
fn entry(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (key, value) = line.split_once('=')?;
    // A leading minus: a failure to set it is ignored.
    Some((key.trim().trim_start_matches('-'), value.trim()))
}

impl Sysctl {
    fn is_same(&self, key: &str) -> bool {
        proc_path(key) == proc_path(&self.name)
    }

    fn sets_live(&self) -> bool {
        self.state == State::Present && (self.reload || self.sysctl_set)
    }

    /// The file as it shall be: one line for the parameter where the last one was, all else untouched.
    fn wanted(&self, text: &str) -> String {
        let is_ours = |line: &str| entry(line).is_some_and(|(key, _)| self.is_same(key));
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let last = lines.iter().rposition(|line| is_ours(line));
        let value = self.value.as_deref().unwrap_or_default();
        let mut wanted = String::new();
        for (number, line) in lines.iter().enumerate() {
            if !is_ours(line) {
                wanted.push_str(line);
            } else if Some(number) == last && self.state == State::Present {
                let same = entry(line).is_some_and(|(_, now)| normal(now) == normal(value));
                if same { wanted.push_str(line) } else { wanted.push_str(&format!("{} = {value}\n", self.name)) }
            }
        }
        if last.is_none() && self.state == State::Present {
            if !wanted.is_empty() && !wanted.ends_with('\n') {
                wanted.push('\n');
            }
            wanted.push_str(&format!("{} = {value}\n", self.name));
        }
        wanted
    }

    /// The last file after ours, in the order of names, that sets it to another value.
    fn overridden(&self, host: &dyn Probe) -> Result<Option<String>, LookError> {
        let path = Path::new(&self.sysctl_file);
        let own = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let in_order = DIRS.contains(&path.parent().unwrap_or(path).to_string_lossy().as_ref());
        if !in_order {
            return Ok(None);
        }
        let mut later: Vec<(String, String)> = Vec::new();
        for dir in DIRS {
            for name in host.list(Path::new(dir))?.unwrap_or_default() {
                if name.ends_with(".conf") && name > own && !later.iter().any(|(known, _)| *known == name) {
                    later.push((name.clone(), format!("{dir}/{name}")));
                }
            }
        }
        later.sort();
        let wanted = normal(self.value.as_deref().unwrap_or_default());
        for (_, path) in later.iter().rev() {
            let text = host.read_text(Path::new(path))?.unwrap_or_default();
            let last = text.lines().filter_map(entry).rfind(|(key, _)| self.is_same(key));
            if let Some((_, value)) = last {
                return Ok((normal(value) != wanted).then(|| path.clone()));
            }
        }
        Ok(None)
    }
}

impl Task for Sysctl {
    const KIND: &'static str = "sysctl";
    const EXAMPLE: &'static str = "\
- name: Room for DRBD's send buffers
  sysctl:
    name: net.core.wmem_max
    value: \"4194304\"
";
    type Seen = Seen;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = Vec::new();
        let bad = |c: char| c.is_whitespace() || c == '=' || c == '*' || c == '#';
        if self.name.is_empty()
            || self.name.contains(bad)
            || self.name.contains("..")
            || self.name.starts_with(['-', '/'])
        {
            faults.push(ArgFault::at("name", format!("`{}` is no name of a kernel parameter", self.name)));
        }
        match (&self.value, self.state) {
            (None, State::Present) => faults.push(ArgFault::task("`value` is missing")),
            (Some(value), _) if value.contains('\n') => faults.push(ArgFault::at("value", "a value is one line")),
            _ => {}
        }
        if !self.sysctl_file.starts_with('/') {
            faults.push(ArgFault::at("sysctl_file", "the path is not absolute"));
        }
        faults
    }

    fn object(&self) -> String {
        self.name.clone()
    }

    fn trails(&self) -> Vec<Trail> {
        vec![Trail::File(self.sysctl_file.clone())]
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let file = host.read_text(Path::new(&self.sysctl_file))?;
        let live = if self.sets_live() { host.read_text(Path::new(&proc_path(&self.name)))? } else { None };
        let overridden = if self.state == State::Present { self.overridden(host)? } else { None };
        Ok(Seen { file, live, overridden })
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        let value = self.value.as_deref().unwrap_or_default();
        let mut summary = Vec::new();
        let mut steps = Vec::new();
        let mut text = String::new();

        let before = seen.file.as_deref().unwrap_or_default();
        let after = self.wanted(before);
        if after != before {
            text = match &seen.file {
                Some(before) => diff::unified(&self.sysctl_file, before, &after),
                None => diff::created(&self.sysctl_file, &after),
            };
            steps.push(Step::write(&self.sysctl_file, after));
            summary.push(match self.state {
                State::Present => format!("set {} = {value} at boot", self.name),
                State::Absent => format!("take {} out of {}", self.name, self.sysctl_file),
            });
        }
        let mut unknown = None;
        match &seen.live {
            _ if !self.sets_live() => {}
            Some(now) if normal(now) == normal(value) => {}
            Some(now) => {
                let path = proc_path(&self.name);
                text.push_str(&diff::unified(&path, &format!("{}\n", normal(now)), &format!("{}\n", normal(value))));
                let set = Step::run(["sysctl", "-w", &format!("{}={value}", self.name)]);
                steps.push(set.effect(Effect::Reads { path, content: Some(format!("{value}\n")) }));
                summary.push(format!("set {} = {value} now (was {})", self.name, normal(now)));
            }
            None if self.ignoreerrors => unknown = Some(format!("the running kernel has no parameter {}", self.name)),
            None => {
                return Verdict::blocked(format!(
                    "the running kernel has no parameter {}; is the module loaded that brings it?",
                    self.name
                ));
            }
        }
        let mut verdict = if steps.is_empty() {
            Verdict::ok(match self.state {
                State::Present => format!("{} = {value}", self.name),
                State::Absent => format!("{} does not set {}", self.sysctl_file, self.name),
            })
        } else {
            Verdict::drift(summary.join(", "), text, steps)
        };
        if let Some(path) = &seen.overridden {
            verdict = verdict.warn(format!("{path} is read later at boot and sets {} otherwise", self.name));
        }
        match unknown {
            Some(warning) => verdict.warn(warning),
            None => verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::Decision;
    use serde_json::{Value as Json, json};

    fn task(json: Json) -> Sysctl {
        let task: Sysctl = serde_json::from_value(json).unwrap();
        assert_eq!(Task::check_args(&task), []);
        task
    }

    #[test]
    fn both_spellings_name_one_file() {
        for (name, path) in [
            ("vm.swappiness", "/proc/sys/vm/swappiness"),
            ("vm/swappiness", "/proc/sys/vm/swappiness"),
            ("net.ipv4.conf.eth0/100.forwarding", "/proc/sys/net/ipv4/conf/eth0.100/forwarding"),
            ("net/ipv4/conf/eth0.100/forwarding", "/proc/sys/net/ipv4/conf/eth0.100/forwarding"),
        ] {
            assert_eq!(proc_path(name), path);
        }
    }

    #[test]
    fn the_file_is_edited_without_loss() {
        let set = task(json!({"name": "vm.swappiness", "value": "10"}));
        let absent = task(json!({"name": "vm.swappiness", "state": "absent"}));
        for (before, after, without) in [
            ("", "vm.swappiness = 10\n", ""),
            ("# vm.swappiness = 1\n", "# vm.swappiness = 1\nvm.swappiness = 10\n", "# vm.swappiness = 1\n"),
            ("a=1\nvm/swappiness=60\nb = 2\n", "a=1\nvm.swappiness = 10\nb = 2\n", "a=1\nb = 2\n"),
            ("vm.swappiness=1\nx=1\n-vm.swappiness=2\n", "x=1\nvm.swappiness = 10\n", "x=1\n"),
            ("  vm.swappiness=10", "  vm.swappiness=10", ""),
            ("x=1", "x=1\nvm.swappiness = 10\n", "x=1"),
        ] {
            assert_eq!(set.wanted(before), after, "{before:?}");
            assert_eq!(set.wanted(after), after, "idle on {after:?}");
            assert_eq!(absent.wanted(before), without, "{before:?}");
        }
    }

    #[test]
    fn tabs_are_no_difference_and_unknown_parameters_no_success() {
        let three = task(json!({"name": "net.ipv4.tcp_rmem", "value": "4096 131072 6291456"}));
        let file = Some("net.ipv4.tcp_rmem = 4096 131072 6291456\n".to_owned());
        let seen = Seen { file, live: Some("4096\t131072\t6291456\n".into()), overridden: None };
        assert!(matches!(three.decide(&seen).decision, Decision::Ok(_)));
        let unknown = Seen { live: None, ..seen };
        assert!(matches!(three.decide(&unknown).decision, Decision::Blocked(_)));
        let lenient = task(json!({"name": "net.ipv4.tcp_rmem", "value": "1", "ignoreerrors": true}));
        let verdict = lenient.decide(&unknown);
        assert!(matches!(verdict.decision, Decision::Drift(_)));
        assert_eq!(verdict.warnings.len(), 1);
    }

    #[test]
    fn a_later_file_that_says_otherwise_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("etc/sysctl.d/99-z.conf", "vm.swappiness=1\n"),
            ("etc/sysctl.d/10-a.conf", "vm.swappiness=2\n"),
            ("proc/sys/vm/swappiness", "10\n"),
        ] {
            std::fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            std::fs::write(dir.path().join(path), text).unwrap();
        }
        let host = crate::host::Local::rooted("pve1", dir.path());
        let seen = task(json!({"name": "vm.swappiness", "value": "10"})).probe(&host).unwrap();
        assert_eq!(seen.overridden.as_deref(), Some("/etc/sysctl.d/99-z.conf"));
        let seen = task(json!({"name": "vm.swappiness", "value": "1"})).probe(&host).unwrap();
        assert_eq!(seen.overridden, None);
    }
}
