//! One regular file as a task wants it: what is there, what differs in content and attributes, and the step that
//! makes it so. Shared by every kind that writes a file.
//!
//! Refuses to guess: a directory in the file's place, a missing directory above it or an unknown owner is a reason,
//! not something to create on the way.

use super::args::{FileMode, split_words};
use super::{ArgFault, Verdict, diff};
use crate::host::{Action, Bytes, FileKind, LookError, Probe, Query, Stat, Step, Topic};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::path::{Component, Path, PathBuf};

/// What a task says about a file besides its content.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    pub mode: Option<&'a FileMode>,
    pub owner: Option<&'a str>,
    pub group: Option<&'a str>,
    pub validate: Option<&'a str>,
    pub backup: bool,
}

/// [`Wanted`] of a kind that has Ansible's fields for files under Ansible's names.
macro_rules! wanted {
    ($task:expr) => {
        $crate::tasks::managed::Wanted {
            mode: $task.mode.as_ref(),
            owner: $task.owner.as_deref(),
            group: $task.group.as_deref(),
            validate: $task.validate.as_deref(),
            backup: $task.backup,
        }
    };
}
pub(super) use wanted;

/// A path as it was found, links followed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    /// Where the path leads.
    pub path: String,
    /// The path as written is a symbolic link.
    pub link: bool,
    pub stat: Option<Stat>,
    /// Content of a regular file.
    pub content: Option<Bytes>,
    /// What stands at the directory above; `None`: nothing.
    pub above: Option<FileKind>,
    pub names: Names,
}

/// What the wanted owner and group are called on this host.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Names {
    owner: Option<String>,
    group: Option<String>,
    /// "no user `x` on this host"
    unknown: Vec<String>,
}

/// How to get from what is to what shall be.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub summary: Vec<String>,
    pub diff: String,
    pub steps: Vec<Step>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub fn verdict(self, ok: impl Into<String>) -> Verdict {
        if self.is_empty() { Verdict::ok(ok) } else { Verdict::drift(self.summary.join(", "), self.diff, self.steps) }
    }
}

impl Wanted<'_> {
    pub fn faults(&self) -> Vec<ArgFault> {
        let mut faults = Vec::new();
        if let Some(validate) = self.validate {
            if !validate.contains("%s") {
                let fault = ArgFault::at("validate", "the command does not name the file to validate");
                faults.push(fault.help("write %s where the path of the new file belongs"));
            }
            if let Err(why) = split_words(validate) {
                faults.push(ArgFault::at("validate", why));
            }
        }
        faults
    }

    /// Looks at the file, content included.
    pub fn look(&self, host: &dyn Probe, path: &str) -> Result<Found, LookError> {
        let mut found = self.look_named(host, path, Names::default())?;
        found.names = Names::look(host, self.owner, self.group, found.stat.as_ref())?;
        Ok(found)
    }

    /// As [`Self::look`], with owner and group looked up already: one question for many files.
    pub fn look_named(&self, host: &dyn Probe, path: &str, names: Names) -> Result<Found, LookError> {
        let (real, stat, link) = follow(host, path)?;
        let content = match &stat {
            Some(stat) if stat.kind == FileKind::File => host.read(Path::new(&real))?.map(Bytes),
            _ => None,
        };
        let above = match Path::new(&real).parent() {
            Some(dir) if stat.is_none() => follow(host, &dir.to_string_lossy())?.1.map(|s| s.kind),
            _ => Some(FileKind::Directory),
        };
        Ok(Found { path: real, link, stat, content, above, names })
    }

    /// The change that gives `found` this content and these attributes; `Err` says why it must not be made.
    /// `at`: the path to write to, where a link shall be replaced and not followed.
    pub fn plan(&self, found: &Found, content: &[u8], at: Option<&str>) -> Result<Plan, String> {
        found.names.known()?;
        let path = at.unwrap_or(&found.path);
        let same = found.content.as_ref().is_some_and(|now| now.0 == content);
        if same {
            return Ok(self.attributes(found));
        }
        match (&found.stat, found.above) {
            (Some(stat), _) if stat.kind != FileKind::File => {
                return Err(format!("{path} is {}, not a file", kind_words(stat.kind)));
            }
            (None, None) => return Err(format!("the directory of {path} does not exist")),
            (None, Some(FileKind::Directory)) | (Some(_), _) => {}
            (None, Some(_)) => return Err(format!("what stands above {path} is not a directory")),
        }
        let before = found.content.as_ref().map(|b| b.0.as_slice());
        let mut text = diff::bytes(path, before, content);
        let (attributes, _) = self.attribute_lines(found.stat.as_ref(), &found.names, false);
        text.push_str(&attributes);
        let mode = self.mode.map(|m| m.apply(found.stat.as_ref().map_or(0o644, |s| s.mode), false));
        // Writing goes through a link, so one that shall be replaced is taken away first; what it led to lends its
        // attributes, as with Ansible.
        let mut steps = Vec::new();
        let lent = found.stat.as_ref().filter(|_| at.is_some());
        if at.is_some() {
            steps.push(Action::Remove { path: path.to_owned(), recursive: false }.into());
        }
        let step = Action::WriteFile {
            path: path.to_owned(),
            content: Bytes(content.to_vec()),
            mode: mode.or(lent.map(|s| s.mode)),
            owner: self.owner.map(str::to_owned).or(lent.map(|s| s.owner.clone())),
            group: self.group.map(str::to_owned).or(lent.map(|s| s.group.clone())),
            // `faults` has refused what cannot be split.
            validate: self.validate.map(|line| split_words(line).unwrap_or_default()),
            backup: self.backup && found.stat.is_some(),
        };
        let verb = if found.stat.is_some() { "change" } else { "create" };
        steps.push(step.into());
        Ok(Plan { summary: vec![format!("{verb} {path}")], diff: text, steps })
    }

    /// The change of mode, owner and group alone; empty where there is nothing to change or nothing at all.
    pub fn attributes(&self, found: &Found) -> Plan {
        let Some(stat) = &found.stat else { return Plan::default() };
        attributes_of(&found.path, stat, &found.names, self)
    }

    /// Lines `-mode 0644` / `+mode 0600` for what differs, under a hunk header, and the names of what differs.
    /// A file that is not there yet shows only what the task asks for.
    fn attribute_lines(&self, now: Option<&Stat>, names: &Names, directory: bool) -> (String, Vec<&'static str>) {
        let fresh = if directory { 0o755 } else { 0o644 };
        let current = now.map_or(fresh, |s| s.mode);
        let mode = self.mode.map(|m| m.apply(current, directory));
        let mut text = String::new();
        let mut changed = Vec::new();
        let mut compare = |what: &'static str, was: Option<String>, shall: Option<String>| {
            let Some(shall) = shall else { return };
            if was.as_ref() == Some(&shall) {
                return;
            }
            if let Some(was) = was {
                text.push_str(&format!("-{what} {was}\n"));
            }
            text.push_str(&format!("+{what} {shall}\n"));
            changed.push(what);
        };
        compare("mode", now.map(|s| format!("{:04o}", s.mode)), mode.map(|m| format!("{m:04o}")));
        compare("owner", now.map(|s| s.owner.clone()), self.owner.map(|o| names.owner_or(o)));
        compare("group", now.map(|s| s.group.clone()), self.group.map(|g| names.group_or(g)));
        if !text.is_empty() {
            text.insert_str(0, "@@ attributes @@\n");
        }
        (text, changed)
    }
}

/// The change of attributes of anything that has them.
pub fn attributes_of(path: &str, stat: &Stat, names: &Names, wanted: &Wanted) -> Plan {
    let directory = stat.kind == FileKind::Directory;
    let (lines, changed) = wanted.attribute_lines(Some(stat), names, directory);
    if changed.is_empty() {
        return Plan::default();
    }
    let has = |what| changed.contains(&what);
    let step = Action::SetAttributes {
        path: path.to_owned(),
        mode: wanted.mode.filter(|_| has("mode")).map(|m| m.apply(stat.mode, directory)),
        owner: wanted.owner.filter(|_| has("owner")).map(str::to_owned),
        group: wanted.group.filter(|_| has("group")).map(str::to_owned),
    };
    Plan {
        summary: vec![format!("set {} of {path}", changed.join(", "))],
        diff: format!("--- {path}\n+++ {path}\n{lines}"),
        steps: vec![step.into()],
    }
}

/// The lines for attributes of something that will be created.
pub fn attributes_of_new(wanted: &Wanted, names: &Names, directory: bool) -> String {
    wanted.attribute_lines(None, names, directory).0
}

impl Names {
    /// Asks only where the answer matters: for numbers, and for names that the file does not have already.
    pub fn look(
        host: &dyn Probe,
        owner: Option<&str>,
        group: Option<&str>,
        stat: Option<&Stat>,
    ) -> Result<Self, LookError> {
        let mut names = Self::default();
        let ask = |database: &str, wanted: &str, has: Option<&str>| -> Result<Option<String>, LookError> {
            if has == Some(wanted) || wanted == "root" {
                return Ok(Some(wanted.to_owned()));
            }
            let number = wanted.bytes().all(|b| b.is_ascii_digit());
            let query = Query::new(Topic::Other, ["getent", database, wanted]);
            match host.query(&query) {
                Ok(answer) if answer.rc == 0 => Ok(answer.stdout.split(':').next().map(|name| name.trim().to_owned())),
                // 2: not in the database. A number needs no name.
                Ok(answer) if answer.rc == 2 => Ok(number.then(|| wanted.to_owned())),
                Ok(answer) => Err(LookError::cannot_tell(format!("{database} entry of {wanted}"), answer.complaint())),
                // A host without getent: the step will say whether the name is known.
                Err(LookError::NoProgram { .. }) => Ok(Some(wanted.to_owned())),
                Err(error) => Err(error),
            }
        };
        if let Some(owner) = owner {
            names.owner = ask("passwd", owner, stat.map(|s| s.owner.as_str()))?;
            if names.owner.is_none() {
                names.unknown.push(format!("there is no user `{owner}` on this host"));
            }
        }
        if let Some(group) = group {
            names.group = ask("group", group, stat.map(|s| s.group.as_str()))?;
            if names.group.is_none() {
                names.unknown.push(format!("there is no group `{group}` on this host"));
            }
        }
        Ok(names)
    }

    pub fn known(&self) -> Result<(), String> {
        if self.unknown.is_empty() { Ok(()) } else { Err(self.unknown.join("; ")) }
    }

    fn owner_or(&self, written: &str) -> String {
        self.owner.clone().unwrap_or_else(|| written.to_owned())
    }

    fn group_or(&self, written: &str) -> String {
        self.group.clone().unwrap_or_else(|| written.to_owned())
    }
}

/// Follows a final symbolic link, and those it leads to. Returns where it ends, what is there, and whether the path
/// was a link at all.
pub fn follow(host: &dyn Probe, path: &str) -> Result<(String, Option<Stat>, bool), LookError> {
    let mut at = PathBuf::from(path);
    for hops in 0..40 {
        let stat = host.stat(&at)?;
        match stat.as_ref().map(|s| (s.kind, s.link_target.clone())) {
            Some((FileKind::Symlink, Some(target))) => {
                let base = at.parent().unwrap_or(Path::new("/"));
                at = tidy(host, &base.join(target))?;
            }
            Some((FileKind::Symlink, None)) => return Err(LookError::cannot_tell(path, "a link without a target")),
            _ => return Ok((at.to_string_lossy().into_owned(), stat, hops > 0)),
        }
    }
    Err(LookError::cannot_tell(path, "too many levels of symbolic links"))
}

/// Takes `x/..` out where `x` is no link, so that one file has one name in a preview.
fn tidy(host: &dyn Probe, path: &Path) -> Result<PathBuf, LookError> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                let link = host.stat(&clean)?.is_some_and(|s| s.kind == FileKind::Symlink);
                if link || !clean.pop() {
                    clean.push("..");
                }
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    Ok(clean)
}

pub fn kind_words(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "a regular file",
        FileKind::Directory => "a directory",
        FileKind::Symlink => "a symbolic link",
        FileKind::BlockDevice => "a block device",
        FileKind::Other => "a special file",
    }
}

/// What `register` gets about a file.
pub fn data(path: &str, found: &Found, content: Option<&[u8]>) -> Json {
    let mut data = json!({ "dest": path, "path": path, "state": "file" });
    if let Some(stat) = &found.stat {
        data["mode"] = format!("{:04o}", stat.mode).into();
        data["owner"] = stat.owner.clone().into();
        data["group"] = stat.group.clone().into();
    }
    if let Some(content) = content {
        data["size"] = content.len().into();
        data["sha256"] = diff::sha256(content).into();
    }
    data
}

/// A path a task may act on: absolute, and not empty.
pub fn path_fault(field: &'static str, path: &str) -> Option<ArgFault> {
    if path.starts_with('/') && !path.contains('\0') {
        return None;
    }
    let fault = ArgFault::at(field, format!("`{path}` is not an absolute path"));
    Some(fault.help("write the path from the root: /etc/…"))
}

/// `https://user:password@host/…`: what stands in argv is seen by everybody on the host.
pub fn url_has_credentials(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default().contains('@')
}
