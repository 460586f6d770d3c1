//! `copy`: a file with given content, from the playbook or from the workstation, or a whole directory of files.

mod tree;

use super::args::FileMode;
use super::managed::{self, Found, Plan, Wanted};
use super::{ArgFault, ResolveError, Source, SourceEntry, SourceItem, Task, Trail, Verdict, Workstation};
use crate::host::{Action, Bytes, FileKind, LookError, Probe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;
use tree::Resolved;

/// Puts a file on the host: text that stands in the task (`content`), a file of the workstation (`src`, searched in
/// `files/` first), or with `remote_src` a file that is on the host already. The old or the new file is there at any
/// moment, never half of it. A directory of the workstation is copied with all it holds; what the host has besides is
/// left alone.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Copy {
    /// Absolute path of the file. If it ends with `/` or is a directory, the file goes into it under its own name.
    pub dest: String,
    /// The content itself. Either this or `src`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// A file to copy, or a directory of the workstation: `name` puts the directory itself into `dest`, `name/` only
    /// what it holds. At most 2000 entries and 16 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<String>,
    /// `src` is a path on the host.
    #[serde(default)]
    pub remote_src: bool,
    /// `false`: only write the file if it does not exist.
    #[serde(default = "yes")]
    pub force: bool,
    /// Write through a symbolic link at `dest` instead of replacing it.
    #[serde(default)]
    pub follow: bool,
    /// Permission bits: `0644`, `u=rw,g=r,o=r`, or `preserve` for those of the source. Of files, in a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FileMode>,
    /// User that owns the file, by name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Group of the file, by name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Permission bits of directories that have to be created; those that exist keep theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory_mode: Option<FileMode>,
    /// In a directory of the workstation: copy what symbolic links lead to. `false`: make the same links on the host.
    #[serde(default = "yes")]
    pub local_follow: bool,
    /// Keep the old file beside the new one.
    #[serde(default)]
    pub backup: bool,
    /// Command that must succeed on the new file before it replaces the old one; `%s` is its path. No shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    resolved: Option<Resolved>,
}

pub(super) fn yes() -> bool {
    true
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    File(Box<SeenFile>),
    Tree(tree::Seen),
}

#[derive(Debug, Serialize, Deserialize)]
pub struct SeenFile {
    /// The path that the file shall have.
    path: String,
    found: Found,
    /// Directories to create, uppermost first.
    missing: Vec<String>,
    /// With `remote_src`: the source.
    source: Option<OnHost>,
}

#[derive(Debug, Serialize, Deserialize)]
struct OnHost {
    kind: Option<FileKind>,
    mode: u32,
    content: Option<Bytes>,
}

impl Copy {
    /// What is copied, once it was read on the workstation; of a file alone, nothing.
    pub(super) fn entries(&self) -> &[SourceEntry] {
        match &self.resolved {
            Some(Resolved::Tree(entries)) => entries,
            _ => &[],
        }
    }

    fn wanted(&self) -> Wanted<'_> {
        managed::wanted!(self)
    }
}

impl Task for Copy {
    const KIND: &'static str = "copy";
    const EXAMPLE: &'static str = "\
- name: Message of the day
  copy:
    dest: /etc/motd
    content: |
      Storage node. Changes are made by converge.
    mode: '0644'
- name: Everything in files/exports.d/
  copy:
    src: exports.d/
    dest: /etc/exports.d
    mode: '0644'
    directory_mode: '0755'
";
    type Seen = Seen;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = self.wanted().faults();
        faults.extend(managed::path_fault("dest", &self.dest));
        match (&self.content, &self.src) {
            (Some(_), Some(_)) => faults.push(ArgFault::at("src", "`content` and `src` exclude each other")),
            (None, None) => faults.push(ArgFault::task("neither `content` nor `src` says what to copy")),
            (Some(_), None) if self.dest.ends_with('/') => {
                faults.push(ArgFault::at("dest", "with `content`, the name of the file must be given"));
            }
            (None, Some(src)) if self.remote_src && src.ends_with('/') => faults.push(
                ArgFault::at("src", "a directory that is on the host cannot be copied")
                    .help("name the files with `loop`, or use `command: cp -a …` with `creates`"),
            ),
            _ => {}
        }
        if self.remote_src && self.src.is_none() {
            faults.push(ArgFault::at("remote_src", "`remote_src` needs `src`"));
        }
        if self.mode.as_ref().is_some_and(FileMode::is_preserve) && self.src.is_none() {
            faults.push(ArgFault::at("mode", "`preserve` needs `src`: text in a task has no mode"));
        }
        if self.directory_mode.as_ref().is_some_and(FileMode::is_preserve) {
            faults.push(ArgFault::at("directory_mode", "the modes of directories are not taken from the source"));
        }
        if self.resolved.is_some() {
            faults.push(ArgFault::at("resolved", "unknown field `resolved`"));
        }
        faults
    }

    fn resolve(&mut self, from: &dyn Workstation) -> Result<(), ResolveError> {
        if let (Some(src), false) = (&self.src, self.remote_src) {
            let Source { path, mut entries } = from.source("files", src, self.local_follow)?;
            self.resolved = Some(match entries.first() {
                Some(SourceEntry { item: SourceItem::File { .. }, path: own }) if own.is_empty() => {
                    let Some(SourceItem::File { mode, content }) = entries.pop().map(|entry| entry.item) else {
                        return Err(ResolveError::Fault(format!("{path} cannot be read")));
                    };
                    if src.ends_with('/') {
                        return Err(ResolveError::Fault(format!("{path} is a file; write `src` without the last `/`")));
                    }
                    Resolved::File { mode, content }
                }
                _ => Resolved::Tree(entries),
            });
        }
        Ok(())
    }

    fn object(&self) -> String {
        self.dest.clone()
    }

    fn trails(&self) -> Vec<Trail> {
        vec![Trail::File(self.dest.clone())]
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        if let Some(Resolved::Tree(entries)) = &self.resolved {
            return Ok(Seen::Tree(tree::look(self, host, entries)?));
        }
        let into_directory = self.src.is_some()
            && (self.dest.ends_with('/')
                || managed::follow(host, &self.dest)?.1.is_some_and(|s| s.kind == FileKind::Directory));
        let path = match &self.src {
            Some(src) if into_directory => {
                let name = Path::new(src).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                format!("{}/{name}", self.dest.trim_end_matches('/'))
            }
            _ => self.dest.clone(),
        };
        let missing = if self.dest.ends_with('/') { missing_directories(host, &self.dest)? } else { Vec::new() };
        let source = match &self.src {
            Some(src) if self.remote_src => {
                let (real, stat, _) = managed::follow(host, src)?;
                let kind = stat.as_ref().map(|s| s.kind);
                let content = if kind == Some(FileKind::File) { host.read(Path::new(&real))?.map(Bytes) } else { None };
                Some(OnHost { kind, mode: stat.map_or(0, |s| s.mode), content })
            }
            _ => None,
        };
        let found = self.wanted().look(host, &path)?;
        Ok(Seen::File(Box::new(SeenFile { path, found, missing, source })))
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        let seen = match (seen, &self.resolved) {
            (Seen::Tree(seen), Some(Resolved::Tree(entries))) => return tree::decide(self, seen, entries),
            (Seen::File(seen), None | Some(Resolved::File { .. })) => seen,
            _ => return Verdict::blocked("what was looked at is not what is to be copied"),
        };
        let content = match (&seen.source, &self.resolved, &self.content) {
            (Some(OnHost { content: Some(bytes), .. }), ..) => bytes.0.as_slice(),
            (Some(OnHost { kind, .. }), ..) => {
                let src = self.src.as_deref().unwrap_or_default();
                return Verdict::blocked(match kind {
                    None => format!("the source {src} does not exist on the host"),
                    Some(kind) => {
                        format!("the source {src} is {}; only files can be copied", managed::kind_words(*kind))
                    }
                });
            }
            (None, Some(Resolved::File { content, .. }), _) => content.0.as_slice(),
            (None, Some(Resolved::Tree(_)), _) => return Verdict::blocked("the source is a directory"),
            (None, None, Some(text)) => text.as_bytes(),
            (None, None, None) => return Verdict::blocked("the source file was not read on the workstation"),
        };
        if !self.force && seen.found.stat.is_some() {
            let plan = self.wanted().attributes(&seen.found);
            return plan.verdict(format!("{} exists and `force` is off", seen.path));
        }
        let source_mode = match (&seen.source, &self.resolved) {
            (Some(source), _) => Some(source.mode),
            (None, Some(Resolved::File { mode, .. })) => Some(*mode),
            _ => None,
        };
        let preserve = self.mode.as_ref().is_some_and(FileMode::is_preserve);
        let preserved = source_mode.filter(|_| preserve).map(FileMode::octal);
        let wanted = Wanted { mode: preserved.as_ref().or(self.mode.as_ref()), ..self.wanted() };
        let data = managed::data(&seen.path, &seen.found, Some(content));
        decide_content(&wanted, seen_of(seen), content, self.follow, self.directory_mode.as_ref()).data(data)
    }
}

fn seen_of(seen: &SeenFile) -> (&str, &Found, &[String]) {
    (&seen.path, &seen.found, &seen.missing)
}

/// The verdict on a whole file. `missing`: directories to create first.
pub(super) fn decide_content(
    wanted: &Wanted,
    (path, found, missing): (&str, &Found, &[String]),
    content: &[u8],
    follow: bool,
    directory_mode: Option<&FileMode>,
) -> Verdict {
    let mut plan = Plan::default();
    let mut found = found.clone();
    for dir in missing {
        let mode = directory_mode.map(|m| m.apply(0o755, true));
        plan.summary.push(format!("create {dir}/"));
        plan.diff.push_str(&format!("--- /dev/null\n+++ {dir}/\n"));
        let (owner, group) = (wanted.owner.map(str::to_owned), wanted.group.map(str::to_owned));
        plan.steps.push(Action::CreateDirectory { path: dir.clone(), mode, owner, group }.into());
        found.above = Some(FileKind::Directory);
    }
    // Ansible's way: a link at the destination is replaced by the file unless it shall be followed.
    let at = (found.link && !follow).then_some(path);
    match wanted.plan(&found, content, at) {
        Err(why) => Verdict::blocked(why),
        Ok(file) => {
            plan.summary.extend(file.summary);
            plan.diff.push_str(&file.diff);
            plan.steps.extend(file.steps);
            plan.verdict(format!("{path} has this content"))
        }
    }
}

/// The directories on the way to `path` (itself included) that do not exist, uppermost first.
pub(super) fn missing_directories(host: &dyn Probe, path: &str) -> Result<Vec<String>, LookError> {
    let mut missing = Vec::new();
    for dir in Path::new(path.trim_end_matches('/')).ancestors() {
        let text = dir.to_string_lossy().into_owned();
        if text.is_empty() || managed::follow(host, &text)?.1.is_some() {
            break;
        }
        missing.push(text);
    }
    missing.reverse();
    Ok(missing)
}

#[cfg(test)]
mod tests;
