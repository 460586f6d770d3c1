//! `modprobe`: kernel modules, now and at boot.

use super::{ArgFault, Task, Verdict, args, diff};
use crate::host::{Effect, LookError, Probe, Query, Step, Topic};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Loads or unloads a kernel module, and has it loaded at boot. For DRBD use `drbd_module`, which knows which of the
/// two modules of that name is the right one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Modprobe {
    /// Module name.
    pub name: String,
    /// `present` loads the module, `absent` unloads it.
    #[serde(default)]
    pub state: State,
    /// Parameters for loading, as `key=value …`. A module that is loaded already is not loaded again for them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub params: String,
    /// `present`: loaded at boot by a file in `/etc/modules-load.d`, with `params` in `/etc/modprobe.d`. `absent`: the
    /// lines in `/etc` that load it at boot are taken out. `disabled`: boot is left as it is.
    #[serde(default)]
    pub persistent: Persistent,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Present,
    Absent,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Persistent {
    Present,
    Absent,
    #[default]
    Disabled,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    loaded: bool,
    /// Part of the kernel itself: always there, cannot be unloaded.
    builtin: bool,
    /// modprobe would find it. Not asked for a module that is loaded.
    available: bool,
    /// Files that load modules at boot, with their text.
    boot: Vec<(String, String)>,
    options: Option<String>,
}

const MODULES: &str = "/etc/modules";
const BOOT_DIRS: &[&str] = &["/etc/modules-load.d", "/usr/lib/modules-load.d"];

impl Modprobe {
    /// The kernel shows `-` as `_`; modprobe takes either.
    fn kernel_name(&self) -> String {
        self.name.replace('-', "_")
    }

    fn initstate(&self) -> String {
        format!("/sys/module/{}/initstate", self.kernel_name())
    }

    fn available_query(&self) -> Query {
        Query::new(Topic::Module(self.kernel_name()), ["modprobe", "--dry-run", "--quiet", &self.name])
    }

    fn is_builtin(&self, host: &dyn Probe) -> Result<bool, LookError> {
        let Some(kernel) = host.read_text(Path::new("/proc/sys/kernel/osrelease"))? else { return Ok(false) };
        let list = format!("/lib/modules/{}/modules.builtin", kernel.trim());
        let text = host.read_text(Path::new(&list))?.unwrap_or_default();
        let name = self.kernel_name();
        Ok(text.lines().any(|line| {
            let file = line.rsplit('/').next().unwrap_or_default();
            file.split('.').next().unwrap_or_default().replace('-', "_") == name
        }))
    }

    fn is_line(&self, line: &str) -> bool {
        // `/etc/modules` may give parameters behind the name.
        line.split_whitespace().next().is_some_and(|word| word.replace('-', "_") == self.kernel_name())
    }

    fn options_path(&self) -> String {
        format!("/etc/modprobe.d/{}.conf", self.name)
    }

    fn wanted_options(&self) -> String {
        format!("options {} {}\n", self.name, self.params.trim())
    }

    fn now(&self, seen: &Seen, plan: &mut Plan) -> Result<(), String> {
        let name = &self.name;
        match (self.state, seen.loaded || seen.builtin) {
            (State::Present, true) | (State::Absent, false) => {}
            (State::Present, false) if !seen.available => {
                return Err(format!("this kernel has no module {name} (`modprobe --dry-run {name}` finds none)"));
            }
            (State::Present, false) => {
                let params = args::split_words(&self.params).unwrap_or_default();
                let argv = ["modprobe".to_owned(), name.clone()].into_iter().chain(params);
                plan.summary.push(format!("load {name}"));
                plan.steps.push(
                    Step::run(argv).effect(Effect::Reads { path: self.initstate(), content: Some("live\n".into()) }),
                );
            }
            (State::Absent, true) if seen.builtin => return Err(format!("{name} is part of the kernel itself")),
            (State::Absent, true) => {
                plan.summary.push(format!("unload {name}"));
                // Refused by the kernel while something uses it.
                plan.steps.push(
                    Step::run(["modprobe", "-r", name])
                        .effect(Effect::Reads { path: self.initstate(), content: None })
                        .unsettles(Topic::Module(self.kernel_name())),
                );
            }
        }
        Ok(())
    }

    fn at_boot(&self, seen: &Seen, plan: &mut Plan) {
        match self.persistent {
            Persistent::Disabled => {}
            Persistent::Present => {
                if !seen.boot.iter().any(|(_, text)| text.lines().any(|line| self.is_line(line))) {
                    let path = format!("/etc/modules-load.d/{}.conf", self.name);
                    let old = seen.boot.iter().find(|(known, _)| *known == path).map(|(_, text)| text.as_str());
                    let mut text = old.unwrap_or_default().to_owned();
                    if !text.is_empty() && !text.ends_with('\n') {
                        text.push('\n');
                    }
                    text.push_str(&format!("{}\n", self.name));
                    plan.write(&path, old, &text, format!("load {} at boot", self.name));
                }
                let wanted = self.wanted_options();
                if !self.params.trim().is_empty() && seen.options.as_ref() != Some(&wanted) {
                    let what = format!("set the parameters of {}", self.name);
                    plan.write(&self.options_path(), seen.options.as_deref(), &wanted, what);
                }
            }
            Persistent::Absent => {
                for (path, text) in seen.boot.iter().filter(|(path, _)| path.starts_with("/etc/")) {
                    let kept: String = text.split_inclusive('\n').filter(|line| !self.is_line(line)).collect();
                    if kept != *text {
                        let what = format!("do not load {} at boot", self.name);
                        plan.write(path, Some(text), &kept, what);
                    }
                }
            }
        }
    }
}

#[derive(Default)]
struct Plan {
    summary: Vec<String>,
    diff: String,
    steps: Vec<Step>,
}

impl Plan {
    fn write(&mut self, path: &str, before: Option<&str>, after: &str, what: String) {
        self.diff.push_str(&match before {
            Some(before) => diff::unified(path, before, after),
            None => diff::created(path, after),
        });
        self.steps.push(Step::write(path, after));
        self.summary.push(what);
    }
}

impl Task for Modprobe {
    const KIND: &'static str = "modprobe";
    const EXAMPLE: &'static str = "\
- name: The NFS server of the container needs the node's module
  modprobe:
    name: nfsd
    persistent: present
";
    type Seen = Seen;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = Vec::new();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if self.name.is_empty() || self.name.starts_with('-') || !self.name.chars().all(is_name) {
            faults.push(ArgFault::at("name", format!("`{}` is no name of a module", self.name)));
        }
        if let Err(why) = args::split_words(&self.params) {
            faults.push(ArgFault::at("params", why));
        }
        if self.state == State::Absent && self.persistent == Persistent::Present {
            faults.push(ArgFault::at("persistent", "a module that shall not be loaded now is loaded at the next boot"));
        }
        faults
    }

    fn object(&self) -> String {
        self.name.clone()
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let loaded = host.read(Path::new(&self.initstate()))?.is_some();
        let builtin = !loaded && self.is_builtin(host)?;
        let available = loaded || builtin || self.state == State::Absent || {
            // It changes nothing: --dry-run only resolves the name.
            host.query(&self.available_query())?.rc == 0
        };
        let mut seen = Seen { loaded, builtin, available, boot: Vec::new(), options: None };
        if self.persistent == Persistent::Disabled {
            return Ok(seen);
        }
        let mut paths = vec![MODULES.to_owned()];
        for dir in BOOT_DIRS {
            let names = host.list(Path::new(dir))?.unwrap_or_default();
            paths.extend(names.into_iter().filter(|n| n.ends_with(".conf")).map(|name| format!("{dir}/{name}")));
        }
        for path in paths {
            if let Some(text) = host.read_text(Path::new(&path))? {
                seen.boot.push((path, text));
            }
        }
        seen.options = host.read_text(Path::new(&self.options_path()))?;
        Ok(seen)
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        let mut plan = Plan::default();
        if let Err(why) = self.now(seen, &mut plan) {
            return Verdict::blocked(why);
        }
        self.at_boot(seen, &mut plan);
        let verdict = if plan.steps.is_empty() {
            let state = match (seen.builtin, seen.loaded) {
                (true, _) => "part of the kernel",
                (false, true) => "loaded",
                (false, false) => "not loaded",
            };
            Verdict::ok(format!("{} is {state}", self.name))
        } else {
            Verdict::drift(plan.summary.join(", "), plan.diff, plan.steps)
        };
        let shipped = seen
            .boot
            .iter()
            .find(|(path, text)| path.starts_with("/usr/") && text.lines().any(|line| self.is_line(line)));
        let verdict = match (self.persistent, shipped) {
            (Persistent::Absent, Some((path, _))) => {
                verdict.warn(format!("{path}, which belongs to a package, loads {} at boot", self.name))
            }
            _ => verdict,
        };
        if self.name == "drbd" {
            return verdict.warn("modprobe drbd takes whatever DRBD the kernel finds, 8.4 or 9; use `drbd_module`");
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine;
    use crate::host::{Local, Output};
    use crate::wire::Status;
    use serde_json::{Value as Json, json};

    fn task(json: Json) -> Modprobe {
        let task: Modprobe = serde_json::from_value(json).unwrap();
        assert_eq!(Task::check_args(&task), []);
        task
    }

    /// A node whose kernel has nfsd, and ext4 built in.
    fn node() -> (tempfile::TempDir, Local) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        for path in ["etc/modules-load.d", "etc/modprobe.d", "usr/lib/modules-load.d", "sys/module", "lib/modules/6.14"]
        {
            std::fs::create_dir_all(root.join(path)).unwrap();
        }
        std::fs::create_dir_all(root.join("proc/sys/kernel")).unwrap();
        std::fs::write(root.join("proc/sys/kernel/osrelease"), "6.14\n").unwrap();
        std::fs::write(root.join("lib/modules/6.14/modules.builtin"), "kernel/fs/ext4/ext4.ko\n").unwrap();
        std::fs::write(root.join("usr/lib/modules-load.d/drbd.conf"), "# shipped\ndrbd\n").unwrap();
        let host = Local::rooted("pve1", &root).with_programs(Box::new(move |argv, _| {
            let words: Vec<&str> = argv.iter().map(String::as_str).collect();
            Some(match words.as_slice() {
                ["modprobe", "--dry-run", "--quiet", "nfsd" | "drbd"] => Output::default(),
                ["modprobe", "--dry-run", ..] => Output::failed(1, ""),
                ["modprobe", "-r", name] => {
                    std::fs::remove_dir_all(root.join("sys/module").join(name)).unwrap();
                    Output::default()
                }
                ["modprobe", name, ..] => {
                    std::fs::create_dir_all(root.join("sys/module").join(name)).unwrap();
                    std::fs::write(root.join("sys/module").join(name).join("initstate"), "live\n").unwrap();
                    Output::default()
                }
                _ => return None,
            })
        }));
        (dir, host)
    }

    fn apply(json: Json, host: &Local) -> (Status, String) {
        let result = engine::apply(&task(json), host, &[], &mut |_, _| {});
        (result.status, result.summary)
    }

    #[test]
    fn load_keep_and_unload() {
        let (dir, host) = node();
        let wanted = json!({"name": "nfsd", "persistent": "present", "params": "nfs4_disable_idmapping=0"});
        assert_eq!(apply(wanted.clone(), &host).0, Status::Changed);
        assert_eq!(apply(wanted, &host).0, Status::Ok);
        let read = |path: &str| std::fs::read_to_string(dir.path().join(path)).unwrap();
        assert_eq!(read("etc/modules-load.d/nfsd.conf"), "nfsd\n");
        assert_eq!(read("etc/modprobe.d/nfsd.conf"), "options nfsd nfs4_disable_idmapping=0\n");
        let gone = json!({"name": "nfsd", "state": "absent", "persistent": "absent"});
        assert_eq!(apply(gone.clone(), &host).0, Status::Changed);
        assert_eq!(apply(gone, &host).0, Status::Ok);
        assert_eq!(read("etc/modules-load.d/nfsd.conf"), "");
    }

    #[test]
    fn builtin_missing_and_shipped() {
        let (dir, host) = node();
        assert_eq!(apply(json!({"name": "ext4"}), &host), (Status::Ok, "ext4 is part of the kernel".into()));
        assert_eq!(apply(json!({"name": "ext4", "state": "absent"}), &host).0, Status::Blocked);
        assert_eq!(apply(json!({"name": "none"}), &host).0, Status::Blocked);
        let drbd = task(json!({"name": "drbd", "persistent": "present"}));
        let result = engine::apply(&drbd, &host, &[], &mut |_, _| {});
        assert_eq!((result.status, result.warnings.len()), (Status::Changed, 1));
        assert!(!dir.path().join("etc/modules-load.d/drbd.conf").exists(), "the package's file loads it already");
    }
}
