//! A directory of the workstation on its way to a host: which of its files and directories are missing or different
//! there, and the steps that bring them.
//!
//! Refuses to take anything away: what the host has besides is left alone, and what stands in the way is a reason.

use super::Copy;
use crate::host::{Action, Bytes, FileKind, LookError, Probe, Stat};
use crate::tasks::args::FileMode;
use crate::tasks::managed::{self, Found, Names, Plan, Wanted, kind_words};
use crate::tasks::{SourceEntry, SourceItem, Verdict, diff};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

/// Lines of all diffs together that are shown; of further files only the name is.
const MAX_DIFF_LINES: usize = 2000;

/// What is on the host where one entry belongs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Place {
    /// The path as the task means it.
    path: String,
    found: Found,
}

/// What is on the host where a directory is to be.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    /// Directories above the uppermost entry that do not exist, and the destination itself.
    missing: Vec<String>,
    /// What stands at the destination that is no directory.
    in_the_way: Option<String>,
    /// One for each entry, in their order.
    places: Vec<Place>,
    names: Names,
}

/// Where an entry goes. `dest` takes the directory itself, or with `src: name/` what it holds.
fn target(task: &Copy, entry: &str) -> String {
    let dest = task.dest.trim_end_matches('/');
    let src = task.src.as_deref().unwrap_or_default();
    let own = Path::new(src).file_name().map(|name| name.to_string_lossy().into_owned());
    match own.filter(|_| !src.ends_with('/')) {
        Some(name) if entry.is_empty() => format!("{dest}/{name}"),
        Some(name) => format!("{dest}/{name}/{entry}"),
        None if entry.is_empty() => dest.to_owned(),
        None => format!("{dest}/{entry}"),
    }
}

pub fn look(task: &Copy, host: &dyn Probe, entries: &[SourceEntry]) -> Result<Seen, LookError> {
    let names = Names::look(host, task.owner.as_deref(), task.group.as_deref(), None)?;
    let dest = task.dest.trim_end_matches('/');
    let missing = super::missing_directories(host, dest)?;
    let mut seen = Seen { missing, in_the_way: None, places: Vec::new(), names };
    if let (_, Some(stat), _) = managed::follow(host, if dest.is_empty() { "/" } else { dest })?
        && stat.kind != FileKind::Directory
    {
        seen.in_the_way = Some(format!("{dest} is {}, not a directory", kind_words(stat.kind)));
        return Ok(seen);
    }
    // Below what is missing nothing needs to be looked for.
    let mut absent: BTreeSet<String> = seen.missing.iter().cloned().collect();
    for entry in entries {
        let path = target(task, &entry.path);
        let above = Path::new(&path).parent().map(|dir| dir.to_string_lossy().into_owned()).unwrap_or_default();
        let found = match absent.contains(&above) {
            true => nothing(&path, &seen.names),
            false if matches!(entry.item, SourceItem::File { .. }) => {
                task.wanted().look_named(host, &path, seen.names.clone())?
            }
            false => at(host, &path, &seen.names, matches!(entry.item, SourceItem::Directory))?,
        };
        if found.stat.is_none() && matches!(entry.item, SourceItem::Directory) {
            absent.insert(path.clone());
        }
        seen.places.push(Place { path, found });
    }
    Ok(seen)
}

fn nothing(path: &str, names: &Names) -> Found {
    let (path, names) = (path.to_owned(), names.clone());
    Found { path, link: false, stat: None, content: None, above: Some(FileKind::Directory), names }
}

fn at(host: &dyn Probe, path: &str, names: &Names, follow: bool) -> Result<Found, LookError> {
    let (real, stat, link) = match follow {
        true => managed::follow(host, path)?,
        false => (path.to_owned(), host.stat(Path::new(path))?, false),
    };
    Ok(Found { path: real, link, stat, ..nothing(path, names) })
}

/// What has to be done, counted for the summary.
#[derive(Default)]
struct Tally {
    plan: Plan,
    directories: usize,
    created: usize,
    changed: usize,
    attributes: usize,
    links: usize,
    diff_lines: usize,
}

pub fn decide(task: &Copy, seen: &Seen, entries: &[SourceEntry]) -> Verdict {
    let dest = target(task, "");
    let files = entries.iter().filter(|e| matches!(e.item, SourceItem::File { .. })).count();
    let data = json!({ "dest": dest, "src": task.src, "state": "directory", "files": files });
    let verdict = match judge(task, seen, entries) {
        Err(why) => Verdict::blocked(why),
        Ok(tally) => tally.verdict(&dest, files),
    };
    verdict.data(data)
}

fn judge(task: &Copy, seen: &Seen, entries: &[SourceEntry]) -> Result<Tally, String> {
    seen.names.known()?;
    if let Some(why) = &seen.in_the_way {
        return Err(why.clone());
    }
    let mut tally = Tally::default();
    for path in &seen.missing {
        tally.directory(task, path, &seen.names);
    }
    for (entry, place) in entries.iter().zip(&seen.places) {
        let Place { path, found } = place;
        match &entry.item {
            SourceItem::Directory => match &found.stat {
                // The destination itself, with `src: name/`.
                None if seen.missing.contains(path) => {}
                None => tally.directory(task, path, &seen.names),
                Some(stat) if stat.kind == FileKind::Directory => {}
                Some(stat) => return Err(format!("{path} is {}, not a directory", kind_words(stat.kind))),
            },
            SourceItem::File { mode, content } => tally.file(task, place, *mode, &content.0)?,
            SourceItem::Link { target } => tally.link(task, path, target, found.stat.as_ref())?,
        }
    }
    Ok(tally)
}

impl Tally {
    fn directory(&mut self, task: &Copy, path: &str, names: &Names) {
        let wanted = Wanted { mode: task.directory_mode.as_ref(), ..task.wanted() };
        let attributes = managed::attributes_of_new(&wanted, names, true);
        self.directories += 1;
        self.show(format!("--- /dev/null\n+++ {path}/\n{attributes}"));
        self.plan.steps.push(
            Action::CreateDirectory {
                path: path.to_owned(),
                mode: wanted.mode.map(|m| m.apply(0o755, true)),
                owner: task.owner.clone(),
                group: task.group.clone(),
            }
            .into(),
        );
    }

    fn file(&mut self, task: &Copy, place: &Place, source_mode: u32, content: &[u8]) -> Result<(), String> {
        let preserved = task.mode.as_ref().filter(|mode| mode.is_preserve()).map(|_| FileMode::octal(source_mode));
        let wanted = Wanted { mode: preserved.as_ref().or(task.mode.as_ref()), ..task.wanted() };
        let Place { path, found } = place;
        let same = found.content.as_ref().is_some_and(|now| now.0 == content);
        let plan = if !task.force && found.stat.is_some() {
            wanted.attributes(found)
        } else {
            wanted.plan(found, content, (found.link && !task.follow).then_some(path.as_str()))?
        };
        if plan.is_empty() {
            return Ok(());
        }
        match &found.stat {
            None => self.created += 1,
            Some(_) if same || !task.force => self.attributes += 1,
            Some(_) => self.changed += 1,
        }
        self.plan.summary.extend(plan.summary);
        self.plan.steps.extend(plan.steps);
        self.show(plan.diff);
        Ok(())
    }

    fn link(&mut self, task: &Copy, path: &str, target: &str, now: Option<&Stat>) -> Result<(), String> {
        let before = match now {
            None => Vec::new(),
            Some(Stat { link_target: Some(now), .. }) if now == target => return Ok(()),
            Some(_) if !task.force => return Ok(()),
            Some(Stat { link_target: Some(now), .. }) => vec![format!("link to {now}")],
            Some(stat) => return Err(format!("{path} is {}, not a symbolic link", kind_words(stat.kind))),
        };
        self.links += 1;
        self.show(diff::lines(path, &before, &[format!("link to {target}")]));
        self.plan.summary.push(format!("link {path} -> {target}"));
        self.plan.steps.push(Action::Symlink { path: path.to_owned(), target: target.to_owned() }.into());
        Ok(())
    }

    /// Keeps the diff readable: what comes after the limit is named with the number of its lines.
    fn show(&mut self, diff: String) {
        let lines = diff.lines().count();
        if self.diff_lines + lines <= MAX_DIFF_LINES {
            self.diff_lines += lines;
            return self.plan.diff.push_str(&diff);
        }
        for line in diff.lines().take(2) {
            self.plan.diff.push_str(&format!("{line}\n"));
        }
        self.plan.diff.push_str(&format!("... {} more lines\n", lines.saturating_sub(2)));
    }

    fn verdict(mut self, dest: &str, files: usize) -> Verdict {
        if self.plan.summary.len() + self.directories > 3 || self.plan.summary.is_empty() {
            let counts = [
                (self.directories, "create", "directory", "directories"),
                (self.created, "create", "file", "files"),
                (self.changed, "change", "file", "files"),
                (self.attributes, "set attributes of", "file", "files"),
                (self.links, "link", "name", "names"),
            ];
            let words = counts.iter().filter(|(count, ..)| *count > 0).map(|(count, verb, one, many)| {
                let noun = if *count == 1 { one } else { many };
                format!("{verb} {count} {noun}")
            });
            self.plan.summary = vec![format!("{dest}: {}", words.collect::<Vec<_>>().join(", "))];
        }
        let noun = if files == 1 { "file" } else { "files" };
        self.plan.verdict(format!("{dest} has these {files} {noun}"))
    }
}

/// What a source file or directory came to on the workstation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Resolved {
    File { mode: u32, content: Bytes },
    Tree(Vec<SourceEntry>),
}
