//! What lies on one node: the script among the snippets, the program that it calls, and what is to be done about both.
//!
//! Programs are kept under their SHA-256 and named by one link, so that a version is replaced in one step and a hook
//! that runs keeps its own. Files that somebody else put at `/usr/local/bin/converge` are left alone.

use super::Hookscript;
use crate::host::{Action, Bytes, Effect, FileKind, LookError, Output, OwnProgram, Probe, Query, Stat, Step, Topic};
use crate::tasks::diff;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What every node gets.
pub const SCRIPT: &str = include_str!("../../../hooks/converge-hook");
/// Where versions lie, each in a directory of its SHA-256.
pub const VERSIONS: &str = "/usr/local/lib/converge";
/// The link that the script calls.
pub const LINK: &str = "/usr/local/lib/converge/converge";
/// Where people find it: the hook's sentences name commands to run.
const BINARY: &str = "/usr/local/bin/converge";

/// What a node says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OnNode {
    has_directory: bool,
    /// Content and mode, or what is there instead of a file.
    script: Option<Result<(String, u32), String>>,
    /// Where the link points, or what is there instead of a link.
    link: Option<Result<String, String>>,
    /// The versions that are there: SHA-256, and the program's stat.
    versions: Vec<(String, Option<Stat>)>,
    has_binary: bool,
    /// Why the program that the link names cannot serve as hook; `None`: it can.
    unfit: Option<String>,
}

impl OnNode {
    pub fn unfit(&self) -> Option<&str> {
        self.unfit.as_deref()
    }
}

/// The question whether a program can serve as hook.
fn help() -> Query {
    Query::new(Topic::Other, [LINK, "hook", "--help"])
}

fn is_sha256(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

pub fn probe(hook: &Hookscript, host: &dyn Probe) -> Result<OnNode, LookError> {
    let path = hook.path();
    let script = match host.stat(Path::new(&path))? {
        None => None,
        Some(stat) if stat.kind == FileKind::File => {
            let text = host.read_text(Path::new(&path))?.unwrap_or_default();
            Some(Ok((text, stat.mode)))
        }
        Some(stat) => Some(Err(format!("a {:?}", stat.kind).to_lowercase())),
    };
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
    let has_directory = host.stat(Path::new(&hook.directory()))?.is_some();
    Ok(OnNode { has_directory, script, link, versions, has_binary: host.stat(Path::new(BINARY))?.is_some(), unfit })
}

/// What is to be done on one node.
#[derive(Default)]
pub struct Work {
    pub steps: Vec<Step>,
    pub diff: String,
    /// What is wrong: "missing", "old".
    pub why: Vec<&'static str>,
}

impl Work {
    fn add(&mut self, node: &str, action: Action) -> &mut Step {
        self.steps.push(Step::from(action).on(node));
        self.steps.last_mut().expect("pushed just now")
    }
}

/// # Errors
/// What is there that must not be replaced.
pub fn work(hook: &Hookscript, node: &str, seen: &OnNode, own: &OwnProgram) -> Result<Work, String> {
    let mut work = Work::default();
    program(&mut work, node, seen, own)?;
    script(&mut work, hook, node, seen)?;
    // Last: what the link named until now may be running.
    for (old, _) in seen.versions.iter().filter(|(name, _)| *name != own.sha256) {
        let path = format!("{VERSIONS}/{old}");
        work.diff.push_str(&diff::lines(&format!("{node}:{path}"), &["an old version"], &[] as &[&str]));
        work.add(node, Action::Remove { path, recursive: true });
        work.why.push("with an old version");
    }
    Ok(work)
}

fn program(work: &mut Work, node: &str, seen: &OnNode, own: &OwnProgram) -> Result<(), String> {
    let path = format!("{VERSIONS}/{}/converge", own.sha256);
    let shown = format!("{node}:{LINK}");
    let there = seen.versions.iter().find(|(name, _)| *name == own.sha256).and_then(|(_, stat)| stat.as_ref());
    let whole = there.is_some_and(|s| s.kind == FileKind::File && s.size_bytes == own.size_bytes);
    let executable = there.is_some_and(|s| s.mode == 0o755);
    if !whole || seen.unfit.is_some() && executable {
        let folder = format!("{VERSIONS}/{}", own.sha256);
        for path in [VERSIONS.to_owned(), folder] {
            work.add(node, Action::CreateDirectory { path, mode: Some(0o755), owner: None, group: None });
        }
        let (sha256, size_bytes) = (own.sha256.clone(), own.size_bytes);
        work.add(node, Action::InstallSelf { path: path.clone(), sha256, size_bytes });
        let before = if there.is_some() { vec!["broken".to_owned()] } else { Vec::new() };
        let after = [format!("this program, sha256 {}", own.sha256)];
        work.diff.push_str(&diff::lines(&format!("{node}:{path}"), &before, &after));
        work.why.push(match (&seen.link, there) {
            (_, Some(_)) => "broken",
            (Some(_), None) => "old",
            (None, None) => "missing",
        });
    } else if !executable {
        let mode = Some(0o755);
        work.add(node, Action::SetAttributes { path: path.clone(), mode, owner: None, group: None });
        let line = |mode: u32| [format!("mode {mode:04o}")];
        let before = there.map_or(0, |s| s.mode);
        work.diff.push_str(&diff::lines(&format!("{node}:{path}"), &line(before), &line(0o755)));
        work.why.push("not executable");
    }
    let target = format!("{}/converge", own.sha256);
    match &seen.link {
        Some(Ok(now)) if *now == target => {}
        Some(Err(what)) => return Err(format!("{shown} is {what}, not a link")),
        now => {
            let before: Vec<String> = now.iter().flatten().map(|now| format!("-> {now}")).collect();
            work.diff.push_str(&diff::lines(&shown, &before, &[format!("-> {target}")]));
            work.add(node, Action::Symlink { path: LINK.into(), target });
        }
    }
    if !seen.has_binary {
        let target = "../lib/converge/converge".to_owned();
        work.diff.push_str(&diff::lines(&format!("{node}:{BINARY}"), &[] as &[&str], &[format!("-> {target}")]));
        work.add(node, Action::Symlink { path: BINARY.into(), target });
    }
    if let Some(last) = work.steps.last_mut() {
        last.effects.push(Effect::Answers { query: help(), output: Output::ok("") });
    }
    Ok(())
}

fn script(work: &mut Work, hook: &Hookscript, node: &str, seen: &OnNode) -> Result<(), String> {
    let path = hook.path();
    let shown = format!("{node}:{path}");
    match &seen.script {
        Some(Ok((text, mode))) if text == SCRIPT && *mode == 0o755 => return Ok(()),
        Some(Err(what)) => return Err(format!("{shown} is {what}, not a file")),
        Some(Ok((text, mode))) => {
            work.diff.push_str(&diff::unified(&shown, text, SCRIPT));
            work.why.push(if text == SCRIPT { "not executable" } else { "old" });
            if *mode != 0o755 {
                let line = |mode: u32| [format!("mode {mode:04o}")];
                work.diff.push_str(&diff::lines(&shown, &line(*mode), &line(0o755)));
            }
        }
        None => {
            work.diff.push_str(&diff::created(&shown, SCRIPT));
            work.why.push("missing");
        }
    }
    if !seen.has_directory {
        let path = hook.directory();
        work.add(node, Action::CreateDirectory { path, mode: Some(0o755), owner: None, group: None });
    }
    let write = Action::WriteFile {
        path,
        content: Bytes(SCRIPT.as_bytes().to_vec()),
        mode: Some(0o755),
        owner: Some("root".into()),
        group: Some("root".into()),
        validate: None,
        backup: false,
    };
    work.add(node, write);
    Ok(())
}
