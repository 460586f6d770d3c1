//! converge itself on a host, for what runs there without us: hookscripts, schedules.
//!
//! Programs are kept under their SHA-256 and named by one link, so that a version is replaced in one step and what runs
//! keeps its own. Files that somebody else put at `/usr/local/bin/converge` are left alone.

use super::diff;
use crate::host::{Action, Effect, FileKind, LookError, Output, OwnProgram, Probe, Query, Stat, Step, Topic};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Where versions lie, each in a directory of its SHA-256.
pub const VERSIONS: &str = "/usr/local/lib/converge";
/// The link that others call.
pub const LINK: &str = "/usr/local/lib/converge/converge";
/// Where people find it: its sentences name commands to run.
const BINARY: &str = "/usr/local/bin/converge";

/// What a host says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Installed {
    /// Where the link points, or what is there instead of a link.
    link: Option<Result<String, String>>,
    /// The versions that are there: SHA-256, and the program's stat.
    versions: Vec<(String, Option<Stat>)>,
    has_binary: bool,
    /// Why the program that the link names does not run; `None`: it does.
    unfit: Option<String>,
}

impl Installed {
    pub fn unfit(&self) -> Option<&str> {
        self.unfit.as_deref()
    }
}

/// The question whether the program runs.
fn help() -> Query {
    Query::new(Topic::Other, [LINK, "hook", "--help"])
}

fn is_sha256(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

pub fn look(host: &dyn Probe) -> Result<Installed, LookError> {
    let link = host.stat(Path::new(LINK))?.map(|stat| match stat.link_target {
        Some(target) => Ok(target),
        None => Err(format!("a {:?}", stat.kind).to_lowercase()),
    });
    let mut versions = Vec::new();
    for name in host.list(Path::new(VERSIONS))?.unwrap_or_default().into_iter().filter(|name| is_sha256(name)) {
        let stat = host.stat(Path::new(&format!("{VERSIONS}/{name}/converge")))?;
        versions.push((name, stat));
    }
    let unfit = match host.query(&help()) {
        Ok(Output { rc: 0, .. }) => None,
        Ok(output) => Some(format!("{LINK} does not run: {}", output.complaint().lines().next().unwrap_or("no word"))),
        Err(LookError::NoProgram { .. }) => Some(format!("there is no {LINK}")),
        Err(error) => return Err(error),
    };
    Ok(Installed { link, versions, has_binary: host.stat(Path::new(BINARY))?.is_some(), unfit })
}

/// What is to be done on one host.
pub struct Work {
    /// The host's name, where others' steps stand beside.
    node: Option<String>,
    pub steps: Vec<Step>,
    pub diff: String,
    /// What is wrong: "missing", "old".
    pub why: Vec<&'static str>,
}

impl Work {
    /// `node`: for a change that is decided over the cluster.
    pub fn new(node: Option<&str>) -> Self {
        Self { node: node.map(str::to_owned), steps: Vec::new(), diff: String::new(), why: Vec::new() }
    }

    pub fn add(&mut self, action: Action) {
        let step = Step::from(action);
        self.steps.push(match &self.node {
            Some(node) => step.on(node),
            None => step,
        });
    }

    /// A path as people are told of it.
    pub fn shown(&self, path: &str) -> String {
        match &self.node {
            Some(node) => format!("{node}:{path}"),
            None => path.to_owned(),
        }
    }
}

/// Puts the program in place.
///
/// # Errors
/// What is there that must not be replaced.
pub fn install(work: &mut Work, seen: &Installed, own: &OwnProgram) -> Result<(), String> {
    let path = format!("{VERSIONS}/{}/converge", own.sha256);
    let shown = work.shown(LINK);
    let there = seen.versions.iter().find(|(name, _)| *name == own.sha256).and_then(|(_, stat)| stat.as_ref());
    let whole = there.is_some_and(|s| s.kind == FileKind::File && s.size_bytes == own.size_bytes);
    let executable = there.is_some_and(|s| s.mode == 0o755);
    if !whole || seen.unfit.is_some() && executable {
        let folder = format!("{VERSIONS}/{}", own.sha256);
        for path in [VERSIONS.to_owned(), folder] {
            work.add(Action::CreateDirectory { path, mode: Some(0o755), owner: None, group: None });
        }
        let (sha256, size_bytes) = (own.sha256.clone(), own.size_bytes);
        work.add(Action::InstallSelf { path: path.clone(), sha256, size_bytes });
        let before = if there.is_some() { vec!["broken".to_owned()] } else { Vec::new() };
        let after = [format!("this program, sha256 {}", own.sha256)];
        work.diff.push_str(&diff::lines(&work.shown(&path), &before, &after));
        work.why.push(match (&seen.link, there) {
            (_, Some(_)) => "broken",
            (Some(_), None) => "old",
            (None, None) => "missing",
        });
    } else if !executable {
        let mode = Some(0o755);
        work.add(Action::SetAttributes { path: path.clone(), mode, owner: None, group: None });
        let line = |mode: u32| [format!("mode {mode:04o}")];
        let before = there.map_or(0, |s| s.mode);
        work.diff.push_str(&diff::lines(&work.shown(&path), &line(before), &line(0o755)));
        work.why.push("not executable");
    }
    let target = format!("{}/converge", own.sha256);
    match &seen.link {
        Some(Ok(now)) if *now == target => {}
        Some(Err(what)) => return Err(format!("{shown} is {what}, not a link")),
        now => {
            let before: Vec<String> = now.iter().flatten().map(|now| format!("-> {now}")).collect();
            work.diff.push_str(&diff::lines(&shown, &before, &[format!("-> {target}")]));
            work.add(Action::Symlink { path: LINK.into(), target });
        }
    }
    if !seen.has_binary {
        let target = "../lib/converge/converge".to_owned();
        work.diff.push_str(&diff::lines(&work.shown(BINARY), &[] as &[&str], &[format!("-> {target}")]));
        work.add(Action::Symlink { path: BINARY.into(), target });
    }
    if let Some(last) = work.steps.last_mut() {
        last.effects.push(Effect::Answers { query: help(), output: Output::ok("") });
    }
    Ok(())
}

/// Takes earlier versions away. Last of all: what the link named until now may be running.
pub fn clear(work: &mut Work, seen: &Installed, own: &OwnProgram) {
    for (old, _) in seen.versions.iter().filter(|(name, _)| *name != own.sha256) {
        let path = format!("{VERSIONS}/{old}");
        work.diff.push_str(&diff::lines(&work.shown(&path), &["an old version"], &[] as &[&str]));
        work.add(Action::Remove { path, recursive: true });
        work.why.push("with an old version");
    }
}
