//! `drbd_global`: /etc/drbd.d/global_common.conf, the options of all resources of a host.
//!
//! Writes the file and nothing else; what a running resource has to take over is `drbd_resource`'s to see.

use super::drbd_options::{self, DrbdOptions};
use super::drbd_seen::{answer, dry_run};
use super::{ArgFault, Task, Trail, Verdict, diff};
use crate::drbd::compare::{is_secret, option_differences};
use crate::drbd::module::Version;
use crate::drbd::res::{self, Statement};
use crate::drbd::resource::{File, Options, Resource, section, section_quoted};
use crate::drbd::status;
use crate::host::{Action, Bytes, Effect, LookError, Output, Probe, Query, Step, Topic};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

const PATH: &str = "/etc/drbd.d/global_common.conf";

/// The options that hold for all DRBD resources of a host, in /etc/drbd.d/global_common.conf. The file must exist for
/// any drbdadm command to work, so this task also makes an empty one. Values are checked against DRBD's own limits
/// before a host is touched, and the file by drbdadm before it replaces the old one. Running resources take the
/// options over with the next `drbd_resource`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrbdGlobal {
    /// Section `global`: usage-count, udev-always-use-vnr, …
    #[serde(default, skip_serializing_if = "DrbdOptions::is_empty")]
    pub global: DrbdOptions,
    /// Section `common`, by its own sections.
    #[serde(default)]
    pub common: Common,
}

/// The sections of `common`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Common {
    /// Buffers, timeouts, protocol.
    #[serde(default, skip_serializing_if = "DrbdOptions::is_empty")]
    pub net: DrbdOptions,
    /// Disks and the resync controller.
    #[serde(default, skip_serializing_if = "DrbdOptions::is_empty")]
    pub disk: DrbdOptions,
    /// Quorum, auto-promote.
    #[serde(default, skip_serializing_if = "DrbdOptions::is_empty")]
    pub options: DrbdOptions,
    /// Programs that DRBD calls.
    #[serde(default, skip_serializing_if = "DrbdOptions::is_empty")]
    pub handlers: DrbdOptions,
    /// Timeouts of the init script.
    #[serde(default, skip_serializing_if = "DrbdOptions::is_empty")]
    pub startup: DrbdOptions,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seen {
    text: Option<String>,
    mode: u32,
    directory: bool,
    /// Resources that run, as their files describe them.
    running: Vec<Running>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Running {
    resource: Resource,
    /// The kernel has the options of the files as they are; otherwise somebody edited a file and adjusted nothing.
    as_in_files: bool,
}

impl Task for DrbdGlobal {
    const KIND: &'static str = "drbd_global";
    const EXAMPLE: &'static str = "\
- name: DRBD on a 10 Gbit/s network
  drbd_global:
    global: { usage-count: \"no\", udev-always-use-vnr: true }
    common:
      disk: { c-fill-target: 10M, c-max-rate: 720M, c-plan-ahead: 10, c-min-rate: 20M }
      net: { max-buffers: 36k, sndbuf-size: 1024k, rcvbuf-size: 2048k }
";
    type Seen = Seen;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = drbd_options::check("global", "global", &self.global.0);
        for (name, options) in self.sections() {
            faults.extend(drbd_options::check("common", name, &options.0));
        }
        faults
    }

    fn object(&self) -> String {
        PATH.into()
    }

    fn trails(&self) -> Vec<Trail> {
        vec![Trail::File(PATH.into())]
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let text = host.read_text(Path::new(PATH))?;
        let mode = host.stat(Path::new(PATH))?.map_or(0, |s| s.mode);
        let names = host.list(Path::new("/etc/drbd.d"))?;
        let directory = names.is_some();
        let up = running(host)?;
        let mut running = Vec::new();
        for name in names.unwrap_or_default().iter().filter(|n| n.ends_with(".res") && !up.is_empty()) {
            let text = host.read_text(&Path::new("/etc/drbd.d").join(name))?.unwrap_or_default();
            // A file that cannot be read is for drbd_resource to complain about.
            let found = File::read(&text).map(|f| f.resources).unwrap_or_default();
            for resource in found.into_iter().filter(|r| up.contains(&r.name)) {
                let as_in_files = answer(host, &dry_run(&resource.name))?.is_ok_and(|o| o.stdout.trim().is_empty());
                running.push(Running { resource, as_in_files });
            }
        }
        Ok(Seen { text, mode, directory, running })
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        let secret = self.common.net.0.keys().any(|k| is_secret(k));
        let mode = if secret { 0o600 } else { 0o644 };
        let wanted = self.statements();
        let text = format!(
            "# Written by converge from a playbook; a change here is a drift and will be undone.\n{}",
            res::render(&wanted)
        );
        let too_open = secret && seen.text.is_some() && seen.mode & 0o077 != 0;
        let now = seen.text.as_deref().map(res::parse);
        let changes = match &now {
            Some(Ok(now)) => differences(now, &wanted),
            Some(Err(fault)) => vec![format!("the file cannot be read ({fault})")],
            None => vec!["the file does not exist".into()],
        };
        if changes.is_empty() && !too_open {
            return Verdict::ok("options as described");
        }
        let shown = drbd_options::masked(&text);
        let diff = match &seen.text {
            Some(old) => diff::unified(PATH, &drbd_options::masked(old), &shown),
            None => diff::created(PATH, &shown),
        };
        let summary = match &changes[..] {
            [] => format!("hide {PATH}, which holds a secret"),
            all => format!("write {PATH}: {}", all.iter().take(5).cloned().collect::<Vec<_>>().join("; ")),
        };
        let mut steps = Vec::new();
        if !seen.directory {
            let path = "/etc/drbd.d".into();
            steps.push(Action::CreateDirectory { path, mode: Some(0o755), owner: None, group: None }.into());
        }
        let write = Action::WriteFile {
            path: PATH.into(),
            content: Bytes(text.into_bytes()),
            mode: Some(mode),
            owner: Some("root".into()),
            group: Some("root".into()),
            validate: Some(["drbdadm", "-c", "%s", "sh-nop"].map(str::to_owned).into()),
            backup: false,
        };
        let now = now.and_then(Result::ok).unwrap_or_default();
        let mut write = Step::from(write);
        write.effects.extend(seen.running.iter().filter_map(|r| to_adjust(r, &now, &wanted)));
        steps.push(write);
        Verdict::drift(summary, diff, steps)
    }
}

impl DrbdGlobal {
    fn sections(&self) -> [(&'static str, &DrbdOptions); 5] {
        let c = &self.common;
        [
            ("options", &c.options),
            ("net", &c.net),
            ("disk", &c.disk),
            ("startup", &c.startup),
            ("handlers", &c.handlers),
        ]
    }

    fn statements(&self) -> Vec<Statement> {
        let mut global: Options = self.global.0.clone();
        // Flags of `global` take no value; to be off is not to be there.
        let flags: Vec<String> = global
            .keys()
            .filter(|name| {
                let known = crate::drbd::limits::find("global", name);
                known.is_some_and(|k| matches!(k.kind, crate::drbd::limits::Kind::Bool))
            })
            .cloned()
            .collect();
        for flag in flags {
            match global.get(&flag).map(String::as_str) {
                Some("no") => drop(global.remove(&flag)),
                _ => drop(global.insert(flag, String::new())),
            }
        }
        let mut all: Vec<Statement> = section("global", &global).into_iter().collect();
        let inner: Vec<Statement> = self
            .sections()
            .into_iter()
            .filter_map(|(name, options)| match name {
                "handlers" => section_quoted(name, &options.0),
                name => section(name, &options.0),
            })
            .collect();
        if !inner.is_empty() {
            all.push(Statement::block(["common"], inner));
        }
        all
    }
}

/// Names of resources that are up; asked only where asking loads no module.
fn running(host: &dyn Probe) -> Result<Vec<String>, LookError> {
    let loaded = host.read_text(Path::new("/sys/module/drbd/version"))?;
    if loaded.as_deref().and_then(Version::parse).is_none_or(|v| v.major < 9) {
        return Ok(Vec::new());
    }
    let query = Query::new(Topic::Module("drbd".into()), ["drbdsetup", "status", "--json"]);
    let all = answer(host, &query)?.and_then(|o| status::parse(&o.stdout));
    Ok(all.map(|all| all.into_iter().map(|r| r.name).collect()).unwrap_or_default())
}

/// What the dry run of adjust will say of a running resource for which these options are not overridden.
fn to_adjust(running: &Running, now: &[Statement], wanted: &[Statement]) -> Option<Effect> {
    let resource = &running.resource;
    let name = &resource.name;
    if !running.as_in_files {
        // The likely story: the file was edited, and the kernel still has what it gets again.
        return Some(Effect::Answers { query: dry_run(name), output: Output::ok("") });
    }
    let own = [("options", &resource.options), ("net", &resource.net), ("disk", &resource.disk)];
    let lines: String = own
        .into_iter()
        .filter_map(|(section, own)| {
            let effective = |file: &[Statement]| -> Options {
                let mut all = options(file, &["common", section]);
                all.extend(own.clone());
                all
            };
            let changes = option_differences(section, &effective(now), &effective(wanted));
            let verb = match section {
                "options" => "resource-options",
                "net" => "net-options",
                _ => "peer-device-options",
            };
            (!changes.is_empty()).then(|| format!("drbdsetup {verb} {name} --set-defaults\n"))
        })
        .collect();
    (!lines.is_empty()).then(|| Effect::Answers { query: dry_run(name), output: Output::ok(lines) })
}

/// What differs in meaning between two files of this kind.
fn differences(now: &[Statement], wanted: &[Statement]) -> Vec<String> {
    let sections = ["options", "net", "disk", "startup", "handlers"];
    let mut all = option_differences("global", &options(now, &["global"]), &options(wanted, &["global"]));
    for name in sections {
        all.extend(option_differences(name, &options(now, &["common", name]), &options(wanted, &["common", name])));
    }
    // Anything that is no plain option of these sections is not described.
    let known = |path: &[&str]| match path {
        ["global"] | ["common"] => true,
        ["common", inner] => sections.contains(inner),
        _ => false,
    };
    for statement in now {
        let outer = statement.keyword();
        if !known(&[outer]) || statement.words.len() != 1 {
            all.push(format!("`{outer}` goes"));
            continue;
        }
        if outer == "common" {
            let strange = statement.body.iter().flatten().filter(|s| !known(&[outer, s.keyword()]) || s.body.is_none());
            all.extend(strange.map(|s| format!("common `{}` goes", s.keyword())));
        }
    }
    all
}

fn options(statements: &[Statement], path: &[&str]) -> Options {
    let Some((first, rest)) = path.split_first() else {
        let pair = |s: &Statement| (s.keyword().to_owned(), s.word(1).unwrap_or_default().to_owned());
        return statements.iter().map(pair).collect();
    };
    let bodies = statements.iter().filter(|s| s.keyword() == *first).filter_map(|s| s.body.as_deref());
    bodies.flat_map(|body| options(body, rest)).collect()
}

#[cfg(test)]
#[path = "drbd_global_tests.rs"]
mod tests;
