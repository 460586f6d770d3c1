//! What lies on one node: the script among the snippets, the program that it calls, and what is to be done about both.

use super::Hookscript;
use crate::host::{Action, Bytes, FileKind, LookError, OwnProgram, Probe};
use crate::tasks::diff;
use crate::tasks::own_program::{self, Installed, Work};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What every node gets.
pub const SCRIPT: &str = include_str!("../../../hooks/converge-hook");

/// What a node says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OnNode {
    has_directory: bool,
    /// Content and mode, or what is there instead of a file.
    script: Option<Result<(String, u32), String>>,
    program: Installed,
}

impl OnNode {
    pub fn unfit(&self) -> Option<&str> {
        self.program.unfit()
    }
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
    let has_directory = host.stat(Path::new(&hook.directory()))?.is_some();
    Ok(OnNode { has_directory, script, program: own_program::look(host)? })
}

/// # Errors
/// What is there that must not be replaced.
pub fn work(hook: &Hookscript, node: &str, seen: &OnNode, own: &OwnProgram) -> Result<Work, String> {
    let mut work = Work::new(Some(node));
    own_program::install(&mut work, &seen.program, own)?;
    script(&mut work, hook, seen)?;
    own_program::clear(&mut work, &seen.program, own);
    Ok(work)
}

fn script(work: &mut Work, hook: &Hookscript, seen: &OnNode) -> Result<(), String> {
    let path = hook.path();
    let shown = work.shown(&path);
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
        work.add(Action::CreateDirectory { path, mode: Some(0o755), owner: None, group: None });
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
    work.add(write);
    Ok(())
}
