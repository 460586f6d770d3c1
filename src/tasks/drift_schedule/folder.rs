//! The folder of playbooks on a node: like that of the workstation, with nothing else in it, for root alone.

use super::units::Work;
use crate::host::{Action, FileKind, LookError, Probe, Stat};
use crate::tasks::copy::{self, Copy};
use crate::tasks::{Decision, Task, diff};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A folder that holds more than this is not ours.
const MOST: usize = 4000;

#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    path: String,
    /// What `copy` saw; `None` where nothing is to be brought.
    copied: Option<copy::Seen>,
    /// Everything below it, directories before what is in them, with whether it is one. `None`: there is no folder.
    there: Option<Vec<(String, bool)>>,
}

/// The task that brings the folder.
pub fn copy(src: &str, dest: &str) -> Copy {
    let args = serde_json::json!({
        "src": src, "dest": dest, "mode": "0600", "directory_mode": "0700", "owner": "root", "group": "root",
    });
    serde_json::from_value(args).expect("arguments of `copy`")
}

/// Whether a file of that path is brought.
pub fn has(copy: &Copy, path: &str) -> bool {
    copy.entries().iter().any(|entry| entry.path == path)
}

pub fn look(host: &dyn Probe, path: &str, copy: Option<&Copy>) -> Result<Seen, LookError> {
    let there = match host.stat(Path::new(path))? {
        None => None,
        Some(Stat { kind: FileKind::Directory, .. }) => {
            let mut found = Vec::new();
            walk(host, path, &mut found)?;
            Some(found)
        }
        Some(_) => return Err(LookError::cannot_tell(path, "it is no directory")),
    };
    let copied = copy.map(|copy| copy.probe(host)).transpose()?;
    Ok(Seen { path: path.to_owned(), copied, there })
}

fn walk(host: &dyn Probe, dir: &str, found: &mut Vec<(String, bool)>) -> Result<(), LookError> {
    for name in host.list(Path::new(dir))?.unwrap_or_default() {
        let path = format!("{dir}/{name}");
        let Some(stat) = host.stat(Path::new(&path))? else { continue };
        let directory = stat.kind == FileKind::Directory;
        found.push((path.clone(), directory));
        if found.len() > MOST {
            return Err(LookError::cannot_tell(dir, format!("more than {MOST} names are in it")));
        }
        if directory {
            walk(host, &path, found)?;
        }
    }
    Ok(())
}

/// Brings what is missing or different and removes what is no more in the folder of the workstation.
///
/// # Errors
/// What stands in the way.
pub fn bring(copy: &Copy, seen: &Seen) -> Result<Work, String> {
    let mut work = Work::default();
    let Some(copied) = &seen.copied else { return Err("the folder was not looked at".into()) };
    match copy.decide(copied).decision {
        Decision::Ok(_) => {}
        Decision::Drift(change) => {
            work.words.push(change.summary);
            work.diff = change.diff;
            work.steps = change.steps;
        }
        Decision::Blocked(why) | Decision::Failed(why) => return Err(why),
        Decision::Wait { what, .. } => return Err(what),
    }
    let wanted = |path: &str| {
        let below = path.strip_prefix(&seen.path).unwrap_or(path).trim_start_matches('/');
        copy.entries().iter().any(|entry| entry.path == below)
    };
    let mut gone: Vec<&str> = Vec::new();
    for (path, _) in seen.there.iter().flatten().filter(|(path, _)| !wanted(path)) {
        // With its directory.
        if gone.last().is_some_and(|dir| path.starts_with(&format!("{dir}/"))) {
            continue;
        }
        gone.push(path);
        work.diff.push_str(&format!("--- {path}\n+++ /dev/null\n"));
        work.steps.push(Action::Remove { path: path.clone(), recursive: true }.into());
    }
    if !gone.is_empty() {
        work.words.push(format!("remove {} that the workstation has no more", gone.join(" ")));
    }
    Ok(work)
}

pub fn take_away(seen: &Seen) -> Work {
    let mut work = Work::default();
    if let Some(there) = &seen.there {
        let path = seen.path.clone();
        let names: Vec<&str> =
            there.iter().filter(|(_, directory)| !directory).map(|(path, _)| path.as_str()).collect();
        work.diff = diff::lines(&path, &names, &[] as &[&str]);
        work.words.push(format!("remove {path}"));
        work.steps.push(Action::Remove { path, recursive: true }.into());
    }
    work
}
