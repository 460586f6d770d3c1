//! `file`: that a path is a file, a directory, a link or nothing, and who may do what with it.
//!
//! Refuses to remove a directory that something is mounted in, and every directory right below the root.

use super::args::FileMode;
use super::managed::{self, Names, Plan, Wanted, kind_words};
use super::{ArgFault, Task, Trail, Verdict, copy, diff};
use crate::host::{Action, Bytes, FileKind, LookError, Probe, Stat};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// More entries than this are not walked: such a tree is not described by one task.
const MAX_ENTRIES: usize = 50_000;

/// Sets what a path is (`directory`, `link`, `absent`, …) and its mode, owner and group.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Absolute path.
    #[serde(alias = "dest", alias = "name")]
    pub path: String,
    /// What it shall be. Without it: what it is now, a `link` with `src`, a `directory` with `recurse`, else a `file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// For `link`: what it points at, absolute or relative to the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<String>,
    /// Permission bits: `0755` or `u=rwx,g=rx,o=rx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FileMode>,
    /// Owner, by name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Group, by name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Set mode, owner and group of everything in the directory too. Links in it are left alone.
    #[serde(default)]
    pub recurse: bool,
    /// For `link`: replace a file that is in the way, and allow a target that does not exist.
    #[serde(default)]
    pub force: bool,
    /// Time of the last reading: only `preserve`, which is what happens without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_time: Option<String>,
    /// Time of the last change: only `preserve`, which is what happens without it. `now` would change the host in every
    /// run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modification_time: Option<String>,
    /// Follow a link at `path` to what shall have the mode, owner and group.
    #[serde(default = "super::copy::yes")]
    pub follow: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// An existing file; it is never created.
    File,
    /// A directory, created with those above it.
    Directory,
    /// A symbolic link to `src`.
    Link,
    /// Refused: a file is replaced as a whole, which leaves a hard link with the old one. Use `link`.
    Hard,
    /// An empty file if there is nothing; times are not changed.
    Touch,
    /// Nothing. A directory goes with all it holds.
    Absent,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    /// What stands at the path itself.
    stat: Option<Stat>,
    /// Where it leads, and what is there.
    real: String,
    real_stat: Option<Stat>,
    /// Directories to create, uppermost first; the path itself is the last for a directory.
    missing: Vec<String>,
    /// What stands above the path, if nothing stands at it.
    above: Option<FileKind>,
    /// With `recurse`: everything below.
    tree: Vec<(String, Stat)>,
    /// Mount points at or below the path.
    mounts: Vec<String>,
    /// For `link`: whether the target exists.
    target_exists: bool,
    /// Entries of the directory at the path, counted.
    entries: usize,
    names: Names,
}

impl File {
    fn path(&self) -> &str {
        let trimmed = self.path.trim_end_matches('/');
        if trimmed.is_empty() { "/" } else { trimmed }
    }

    fn wanted(&self) -> Wanted<'_> {
        let (owner, group) = (self.owner.as_deref(), self.group.as_deref());
        Wanted { mode: self.mode.as_ref(), owner, group, ..Wanted::default() }
    }

    fn state(&self, now: Option<&Stat>) -> State {
        self.state.unwrap_or(match now.map(|s| s.kind) {
            _ if self.src.is_some() => State::Link,
            Some(FileKind::Directory) => State::Directory,
            _ if self.recurse => State::Directory,
            _ => State::File,
        })
    }
}

impl Task for File {
    const KIND: &'static str = "file";
    const EXAMPLE: &'static str = "\
- name: Directory for exports
  file:
    path: /etc/exports.d
    state: directory
    mode: '0755'
";
    type Seen = Seen;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults: Vec<ArgFault> = managed::path_fault("path", &self.path).into_iter().collect();
        if Path::new(&self.path).components().any(|c| c == std::path::Component::ParentDir) {
            faults.push(ArgFault::at("path", "`..` in a path depends on what is a link on the host"));
        }
        if self.state == Some(State::Link) && self.src.is_none() {
            faults.push(ArgFault::at("state", "a link needs `src`"));
        }
        if self.state == Some(State::Hard) {
            let why = "hard links are not made: a file is replaced as a whole, and the other name keeps the old one";
            faults.push(ArgFault::at("state", why).help("`state: link`, or `command: ln …` with `creates`"));
        }
        let times = [("access_time", &self.access_time), ("modification_time", &self.modification_time)];
        for (field, time) in times {
            let why = match time.as_deref() {
                None | Some("preserve") => continue,
                Some("now") => "`now` is another time in every run, so this would never be in order".to_owned(),
                Some(other) => format!("times of files are not kept, so `{other}` could not be held"),
            };
            let help = "`preserve` leaves the times alone; `command: touch -d … PATH` sets them where that is needed";
            faults.push(ArgFault::at(field, why).help(help));
        }
        if self.src.is_some() && self.state.is_some_and(|s| !matches!(s, State::Link | State::Hard)) {
            faults.push(ArgFault::at("src", "`src` is for `state: link`"));
        }
        if self.recurse && self.state.is_some_and(|s| s != State::Directory) {
            faults.push(ArgFault::at("recurse", "`recurse` is for `state: directory`"));
        }
        if self.mode.as_ref().is_some_and(FileMode::is_preserve) {
            faults.push(ArgFault::at("mode", "there is no source whose mode could be preserved"));
        }
        if self.state == Some(State::Absent) && (self.mode.is_some() || self.owner.is_some() || self.group.is_some()) {
            faults.push(ArgFault::at("state", "what is absent has no mode, owner or group"));
        }
        if self.state == Some(State::Link) && self.mode.is_some() && !self.follow {
            faults.push(ArgFault::at("mode", "a symbolic link has no mode of its own"));
        }
        faults
    }

    fn object(&self) -> String {
        self.path.clone()
    }

    fn trails(&self) -> Vec<Trail> {
        vec![Trail::File(self.path.clone())]
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let path = self.path();
        let stat = host.stat(Path::new(path))?;
        let (real, real_stat) = if self.follow {
            let (real, stat, _) = managed::follow(host, path)?;
            (real, stat)
        } else {
            (path.to_owned(), stat.clone())
        };
        let state = self.state(real_stat.as_ref());
        let missing = match state {
            State::Directory if real_stat.is_none() => copy::missing_directories(host, &real)?,
            _ => Vec::new(),
        };
        let above = match Path::new(path).parent() {
            Some(dir) if stat.is_none() => managed::follow(host, &dir.to_string_lossy())?.1.map(|s| s.kind),
            _ => Some(FileKind::Directory),
        };
        let mut tree = Vec::new();
        if self.recurse && real_stat.as_ref().is_some_and(|s| s.kind == FileKind::Directory) {
            walk(host, &real, &mut tree)?;
        }
        let is_directory = stat.as_ref().is_some_and(|s| s.kind == FileKind::Directory);
        let (mut mounts, mut entries) = (Vec::new(), 0);
        if is_directory && matches!(state, State::Absent | State::Link) {
            mounts = mounts_below(host, path)?;
            entries = host.list(Path::new(path))?.map_or(0, |names| names.len());
        }
        let target_exists = match &self.src {
            Some(src) => {
                let dir = Path::new(path).parent().unwrap_or(Path::new("/"));
                managed::follow(host, &dir.join(src).to_string_lossy())?.1.is_some()
            }
            None => false,
        };
        let names = Names::look(host, self.owner.as_deref(), self.group.as_deref(), real_stat.as_ref())?;
        Ok(Seen { stat, real, real_stat, missing, above, tree, mounts, target_exists, entries, names })
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        let state = self.state(seen.real_stat.as_ref());
        let plan = match state {
            State::Absent => self.absent(seen),
            State::Link => self.link(seen),
            // `check_args` has refused it before a host is asked.
            State::Hard => Err("hard links are not made".into()),
            State::Directory => self.directory(seen),
            State::Touch => self.touch(seen),
            State::File => self.existing(seen),
        };
        let data = serde_json::json!({ "path": self.path(), "dest": self.path(), "state": state });
        match plan {
            Err(why) => Verdict::blocked(why).data(data),
            Ok(plan) => {
                let ok = match (state, &seen.stat) {
                    (State::Absent, _) => format!("{} does not exist", self.path()),
                    (_, Some(stat)) => format!("{} is {}", self.path(), kind_words(stat.kind)),
                    _ => "already as described".into(),
                };
                plan.verdict(ok).data(data)
            }
        }
    }
}

impl File {
    fn absent(&self, seen: &Seen) -> Result<Plan, String> {
        let path = self.path();
        let Some(stat) = &seen.stat else { return Ok(Plan::default()) };
        let directory = stat.kind == FileKind::Directory;
        if directory && Path::new(path).components().count() <= 2 {
            return Err(format!("{path} is a directory right below the root and is not removed"));
        }
        if let Some(mount) = seen.mounts.first() {
            return Err(format!("{mount} is a mount point: removing {path} would empty what is mounted there"));
        }
        let what = match seen.entries {
            0 => String::new(),
            n => format!(" with {n} entries"),
        };
        Ok(Plan {
            summary: vec![format!("remove {path}{what}")],
            diff: format!("--- {path}\n+++ /dev/null\n-{}{what}\n", kind_words(stat.kind)),
            steps: vec![Action::Remove { path: path.to_owned(), recursive: directory }.into()],
        })
    }

    fn link(&self, seen: &Seen) -> Result<Plan, String> {
        let path = self.path();
        let target = self.src.clone().unwrap_or_default();
        if !seen.target_exists && !self.force {
            return Err(format!("the target {target} does not exist; `force: true` links to it nevertheless"));
        }
        if seen.above != Some(FileKind::Directory) {
            return Err(format!("the directory of {path} does not exist"));
        }
        let mut steps = Vec::new();
        let before = match &seen.stat {
            None => None,
            Some(Stat { link_target: Some(now), .. }) if *now == target => {
                if !self.follow || !seen.target_exists {
                    return Ok(Plan::default());
                }
                seen.names.known()?;
                let stat = seen.real_stat.as_ref();
                return Ok(stat
                    .map(|stat| managed::attributes_of(&seen.real, stat, &seen.names, &self.wanted()))
                    .unwrap_or_default());
            }
            Some(Stat { link_target: Some(now), .. }) => Some(format!("link to {now}")),
            Some(stat) if stat.kind == FileKind::Directory && seen.entries > 0 => {
                return Err(format!("{path} is a directory that is not empty"));
            }
            Some(stat) if !self.force => {
                return Err(format!("{path} is {}; `force: true` replaces it", kind_words(stat.kind)));
            }
            Some(stat) => {
                if let Some(mount) = seen.mounts.first() {
                    return Err(format!("{mount} is a mount point"));
                }
                steps.push(Action::Remove { path: path.to_owned(), recursive: false }.into());
                Some(kind_words(stat.kind).to_owned())
            }
        };
        steps.push(Action::Symlink { path: path.to_owned(), target: target.clone() }.into());
        let before: Vec<String> = before.into_iter().collect();
        let text = diff::lines(path, &before, &[format!("link to {target}")]);
        Ok(Plan { summary: vec![format!("link {path} -> {target}")], diff: text, steps })
    }

    fn directory(&self, seen: &Seen) -> Result<Plan, String> {
        seen.names.known()?;
        let wanted = self.wanted();
        match &seen.real_stat {
            Some(stat) if stat.kind == FileKind::Directory => {
                let mut plan = managed::attributes_of(&seen.real, stat, &seen.names, &wanted);
                for (path, stat) in &seen.tree {
                    let more = managed::attributes_of(path, stat, &seen.names, &wanted);
                    plan.summary.extend(more.summary);
                    plan.diff.push_str(&more.diff);
                    plan.steps.extend(more.steps);
                }
                if plan.summary.len() > 3 {
                    plan.summary = vec![format!("set attributes of {} entries of {}", plan.steps.len(), seen.real)];
                }
                Ok(plan)
            }
            Some(stat) => Err(format!("{} is {}, not a directory", seen.real, kind_words(stat.kind))),
            None => {
                let mut plan = Plan::default();
                let attributes = managed::attributes_of_new(&wanted, &seen.names, true);
                for path in &seen.missing {
                    let mode = self.mode.as_ref().map(|m| m.apply(0o755, true));
                    let (owner, group) = (self.owner.clone(), self.group.clone());
                    plan.steps.push(Action::CreateDirectory { path: path.clone(), mode, owner, group }.into());
                    plan.diff.push_str(&format!("--- /dev/null\n+++ {path}/\n{attributes}"));
                }
                plan.summary.push(format!("create directory {}", seen.real));
                Ok(plan)
            }
        }
    }

    fn touch(&self, seen: &Seen) -> Result<Plan, String> {
        seen.names.known()?;
        if let Some(stat) = &seen.real_stat {
            return Ok(managed::attributes_of(&seen.real, stat, &seen.names, &self.wanted()));
        }
        if seen.above != Some(FileKind::Directory) {
            return Err(format!("the directory of {} does not exist", self.path()));
        }
        let action = Action::WriteFile {
            path: seen.real.clone(),
            content: Bytes::default(),
            mode: self.mode.as_ref().map(|m| m.apply(0o644, false)),
            owner: self.owner.clone(),
            group: self.group.clone(),
            validate: None,
            backup: false,
        };
        let attributes = managed::attributes_of_new(&self.wanted(), &seen.names, false);
        Ok(Plan {
            summary: vec![format!("create {}", seen.real)],
            diff: format!("{}{attributes}", diff::created(&seen.real, "")),
            steps: vec![action.into()],
        })
    }

    fn existing(&self, seen: &Seen) -> Result<Plan, String> {
        seen.names.known()?;
        match &seen.real_stat {
            None => Err(format!("{} does not exist; `state: touch` or `copy` would create it", seen.real)),
            Some(stat) if stat.kind == FileKind::Directory && self.state == Some(State::File) => {
                Err(format!("{} is a directory, not a file", seen.real))
            }
            Some(stat) => Ok(managed::attributes_of(&seen.real, stat, &seen.names, &self.wanted())),
        }
    }
}

fn walk(host: &dyn Probe, dir: &str, tree: &mut Vec<(String, Stat)>) -> Result<(), LookError> {
    for name in host.list(Path::new(dir))?.unwrap_or_default() {
        let path = format!("{}/{name}", dir.trim_end_matches('/'));
        let Some(stat) = host.stat(Path::new(&path))? else { continue };
        if tree.len() >= MAX_ENTRIES {
            return Err(LookError::cannot_tell(dir, format!("more than {MAX_ENTRIES} entries; use `command`")));
        }
        let directory = stat.kind == FileKind::Directory;
        if stat.kind != FileKind::Symlink {
            tree.push((path.clone(), stat));
        }
        if directory {
            walk(host, &path, tree)?;
        }
    }
    Ok(())
}

/// Mount points at or below a path. A host without `/proc` (a directory that stands for one) has none.
fn mounts_below(host: &dyn Probe, path: &str) -> Result<Vec<String>, LookError> {
    let text = host.read(Path::new("/proc/self/mountinfo"))?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    // proc(5): the fifth field is the mount point, with white space and backslashes as octal.
    let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    Ok(points.filter(|point| Path::new(point).starts_with(path)).collect())
}

fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(field.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

#[cfg(test)]
mod tests;
