//! `mount`: file systems in `/etc/fstab` and in the mount table.
//!
//! Refuses to unmount or mount over what it was not told to: a mount point that something else occupies blocks.

mod fstab;
mod table;

use super::{ArgFault, Task, Trail, Verdict, diff, managed};
use crate::host::{Action, Effect, FileKind, LookError, Probe, Step};
use fstab::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;
use table::Mounted;

/// Keeps a line in `/etc/fstab` and the file system mounted, or neither. The device of a container's root belongs
/// into the container's configuration, never here.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Mount point.
    #[serde(alias = "name")]
    pub path: String,
    /// Device, `UUID=…`, `LABEL=…` or `server:/export`. Needed for `mounted` and `present`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<String>,
    /// Type of the file system. Needed for `mounted` and `present`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fstype: Option<String>,
    /// Mount options, comma separated.
    #[serde(default = "defaults")]
    pub opts: String,
    /// `mounted`: in fstab and mounted; the mount point is created. `present`: in fstab only. `unmounted`: not mounted,
    /// fstab stays. `absent`: neither; the directory stays, since it may hold files.
    pub state: State,
    /// Fifth field of fstab.
    #[serde(default)]
    pub dump: u32,
    /// Sixth field of fstab: order of checks at boot.
    #[serde(default)]
    pub passno: u32,
    /// `false`: not mounted at boot (`noauto`).
    #[serde(default = "yes")]
    pub boot: bool,
    /// Another file instead of `/etc/fstab`.
    #[serde(default = "etc_fstab")]
    pub fstab: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Mounted,
    Present,
    Unmounted,
    Absent,
}

fn defaults() -> String {
    "defaults".into()
}

fn yes() -> bool {
    true
}

fn etc_fstab() -> String {
    "/etc/fstab".into()
}

const TABLE: &str = "/proc/self/mountinfo";

#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    fstab: Option<String>,
    /// The whole mount table, to predict from.
    table: String,
    /// What is mounted there, uppermost.
    mounted: Option<Mounted>,
    /// `src` and what is mounted are the same device under different names.
    same_device: bool,
    /// What the mount point is; `None`: nothing.
    point: Option<FileKind>,
}

/// The device that a source of fstab means, links followed; other sources as they are.
fn device(host: &dyn Probe, source: &str) -> Result<String, LookError> {
    let path = match source.split_once('=') {
        Some(("UUID", id)) => format!("/dev/disk/by-uuid/{}", id.trim_matches('"')),
        Some(("LABEL", id)) => format!("/dev/disk/by-label/{}", id.trim_matches('"')),
        Some(("PARTUUID", id)) => format!("/dev/disk/by-partuuid/{}", id.trim_matches('"')),
        Some(("PARTLABEL", id)) => format!("/dev/disk/by-partlabel/{}", id.trim_matches('"')),
        _ => source.to_owned(),
    };
    if !path.starts_with("/dev/") {
        return Ok(path.trim_end_matches('/').to_owned());
    }
    Ok(managed::follow(host, &path)?.0)
}

impl Mount {
    fn wants_entry(&self) -> bool {
        matches!(self.state, State::Mounted | State::Present)
    }

    fn entry(&self) -> Entry {
        let opts = if self.boot || self.opts.split(',').any(|opt| opt == "noauto") {
            self.opts.clone()
        } else {
            format!("{},noauto", self.opts)
        };
        Entry {
            source: self.src.clone().unwrap_or_default(),
            target: self.target().to_owned(),
            fstype: self.fstype.clone().unwrap_or_default(),
            options: opts,
            dump: self.dump,
            pass: self.passno,
        }
    }

    fn target(&self) -> &str {
        let trimmed = self.path.trim_end_matches('/');
        if trimmed.is_empty() { "/" } else { trimmed }
    }

    /// Where the source of the mount table says nothing about it: a bind mount shows the device below.
    fn source_is_hidden(&self) -> bool {
        let binds = self.opts.split(',').any(|opt| matches!(opt, "bind" | "rbind"));
        let pseudo = self.src.as_deref().is_some_and(|src| !src.contains(['/', '=', ':']));
        binds || pseudo
    }

    fn mount_command(&self, verb: &[&str]) -> Vec<String> {
        let mut argv = vec!["mount".to_owned()];
        if self.fstab != etc_fstab() {
            argv.extend(["-T".into(), self.fstab.clone()]);
        }
        argv.extend(verb.iter().map(|word| (*word).to_owned()));
        argv.push(self.target().to_owned());
        argv
    }
}

#[derive(Default)]
struct Plan {
    summary: Vec<String>,
    diff: String,
    steps: Vec<Step>,
}

impl Mount {
    /// The line in fstab; returns whether an existing one changes.
    fn plan_fstab(&self, seen: &Seen, plan: &mut Plan) -> bool {
        let before = seen.fstab.as_deref().unwrap_or_default();
        let after = match self.state {
            State::Mounted | State::Present => fstab::with(before, &self.entry()),
            State::Absent => fstab::without(before, self.target()),
            State::Unmounted => before.to_owned(),
        };
        if after == before {
            return false;
        }
        plan.diff = match &seen.fstab {
            Some(before) => diff::unified(&self.fstab, before, &after),
            None => diff::created(&self.fstab, &after),
        };
        plan.steps.push(Step::write(&self.fstab, after));
        let verb = if self.wants_entry() { "describe" } else { "take out" };
        plan.summary.push(format!("{verb} {} in {}", self.target(), self.fstab));
        self.wants_entry() && fstab::has(before, self.target())
    }

    fn plan_mounted(&self, seen: &Seen, entry_changed: bool, plan: &mut Plan) -> Result<(), String> {
        let (target, source) = (self.target(), self.src.clone().unwrap_or_default());
        if let Some(there) = &seen.mounted {
            if !seen.same_device && !self.source_is_hidden() {
                return Err(format!("{} is mounted on {target}, not {source}; unmount it first", there.source));
            }
            if entry_changed {
                plan.steps.push(Step::run(self.mount_command(&["-o", "remount"])));
                plan.summary.push(format!("remount {target}"));
            }
            return Ok(());
        }
        match seen.point {
            Some(FileKind::Directory) => {}
            Some(kind) => return Err(format!("{target} is {}, not a directory", managed::kind_words(kind))),
            None => plan
                .steps
                .push(Action::CreateDirectory { path: target.to_owned(), mode: None, owner: None, group: None }.into()),
        }
        let fstype = self.fstype.as_deref().unwrap_or_default();
        let after = table::with(&seen.table, target, &source, fstype);
        plan.steps.push(
            Step::run(self.mount_command(&[])).effect(Effect::Reads { path: TABLE.into(), content: Some(after) }),
        );
        plan.summary.push(format!("mount {source} on {target}"));
        Ok(())
    }

    fn plan_unmounted(&self, seen: &Seen, plan: &mut Plan) {
        if let Some(there) = &seen.mounted {
            let after = table::without(&seen.table, self.target());
            // Fails when it is busy; nothing is torn away from those who use it.
            plan.steps.push(
                Step::run(["umount", self.target()]).effect(Effect::Reads { path: TABLE.into(), content: Some(after) }),
            );
            plan.summary.push(format!("unmount {} from {}", there.source, self.target()));
        }
    }
}

impl Task for Mount {
    const KIND: &'static str = "mount";
    const EXAMPLE: &'static str = "\
- name: Backups come from the highly available NFS server
  mount:
    path: /mnt/backup
    src: 192.168.1.11:/data
    fstype: nfs
    opts: vers=3,_netdev
    state: mounted
";
    type Seen = Seen;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = Vec::new();
        if !self.path.starts_with('/') && self.path != "none" {
            faults.push(ArgFault::at("path", "the path is not absolute"));
        }
        if self.path.split('/').any(|part| part == "..") {
            faults.push(ArgFault::at("path", "`..` does not belong into a mount point"));
        }
        if matches!(self.target(), "/" | "/usr" | "/proc" | "/sys" | "/dev" | "/etc/pve")
            && matches!(self.state, State::Unmounted | State::Absent)
        {
            faults.push(ArgFault::at("path", format!("{} must stay mounted", self.target())));
        }
        if self.wants_entry() {
            for (field, value) in [("src", &self.src), ("fstype", &self.fstype)] {
                if value.as_deref().is_none_or(str::is_empty) {
                    faults.push(ArgFault::task(format!("`{field}` is missing")));
                }
            }
        }
        if self.opts.contains(char::is_whitespace) {
            faults.push(ArgFault::at("opts", "options are separated by commas, without spaces"));
        }
        faults
    }

    fn object(&self) -> String {
        self.path.clone()
    }

    fn trails(&self) -> Vec<Trail> {
        vec![Trail::File("/etc/fstab".into())]
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let table = host
            .read_text(Path::new(TABLE))?
            .ok_or_else(|| LookError::cannot_tell(TABLE, "there is no mount table"))?;
        let mounted = table::find(&table, self.target()).map_err(|why| LookError::cannot_tell(TABLE, why))?;
        let same_device = match (&mounted, &self.src) {
            (Some(there), Some(src)) => device(host, src)? == device(host, &there.source)?,
            _ => false,
        };
        let point = managed::follow(host, self.target())?.1.map(|stat| stat.kind);
        Ok(Seen { fstab: host.read_text(Path::new(&self.fstab))?, table, mounted, same_device, point })
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        let mut plan = Plan::default();
        let entry_changed = self.plan_fstab(seen, &mut plan);
        match self.state {
            State::Mounted => {
                if let Err(why) = self.plan_mounted(seen, entry_changed, &mut plan) {
                    return Verdict::blocked(why);
                }
            }
            State::Unmounted | State::Absent => self.plan_unmounted(seen, &mut plan),
            State::Present => {}
        }
        let verdict = if plan.steps.is_empty() {
            let now = if seen.mounted.is_some() { "mounted" } else { "not mounted" };
            Verdict::ok(format!("{} is {now}", self.target()))
        } else {
            Verdict::drift(plan.summary.join(", "), plan.diff, plan.steps)
        };
        verdict.data(json!({ "name": self.path, "src": self.src, "fstype": self.fstype, "opts": self.opts }))
    }
}

#[cfg(test)]
mod tests;
