//! Running a program once: what `command` and `shell` have in common.
//!
//! Never looks by running: whether there is something to do is told by marker paths alone.

use super::drbd_guard::{self, Stops, Turn, Up};
use super::{After, Change, Decision, Observation, Touches, Verdict};
use crate::host::{Action, Bytes, Effect, LookError, Output, Probe, Step};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub(super) struct Program<'a> {
    pub argv: Vec<String>,
    /// As the playbook has it, for people.
    pub line: String,
    pub creates: Option<&'a str>,
    pub removes: Option<&'a str>,
    pub chdir: Option<&'a str>,
    pub stdin: Option<&'a str>,
    pub stdin_add_newline: bool,
    pub timeout_s: u64,
    /// What of DRBD it takes down, as far as that is written out.
    pub stops: Option<Stops>,
}

pub(super) fn ten_minutes() -> u64 {
    600
}

/// Whether the marker paths exist.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    creates_exists: bool,
    removes_exists: bool,
    drbd: Up,
}

impl Program<'_> {
    pub fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let base = Path::new(self.chdir.unwrap_or("/"));
        let exists = |path: Option<&str>| path.map_or(Ok(false), |path| any_exists(host, &base.join(path)));
        let drbd = self.stops.as_ref().map_or(Ok(Up::NOTHING), |stops| drbd_guard::look(host, stops))?;
        Ok(Seen { creates_exists: exists(self.creates)?, removes_exists: exists(self.removes)?, drbd })
    }

    /// One host alone cannot know who else is to stop its copy of the data at the same time.
    pub fn touches(&self) -> Touches {
        if self.stops.is_some() { Touches::AllHosts } else { Touches::Host }
    }

    fn idle(&self, seen: &Seen) -> Option<String> {
        match (self.creates, self.removes) {
            (Some(path), _) if seen.creates_exists => Some(format!("{path} exists")),
            (_, Some(path)) if !seen.removes_exists => Some(format!("{path} does not exist")),
            _ => None,
        }
    }

    /// Over all hosts: of those that are to stop DRBD only as many do as the others can do without.
    pub fn decide_among(
        &self,
        all: &BTreeMap<String, Observation<Seen>>,
        acting: &BTreeSet<String>,
    ) -> BTreeMap<String, Verdict> {
        let wants = |host: &&String| matches!(all.get(*host), Some(Ok(seen)) if self.idle(seen).is_none());
        let wanting: BTreeSet<&str> = acting.iter().filter(wants).map(String::as_str).collect();
        let up = all.iter().map(|(host, seen)| (host.as_str(), seen.as_ref().map(|s| &s.drbd).map_err(Clone::clone)));
        // What comes after a command is not known, so a restart is judged as a stop.
        let mut turns = drbd_guard::turns(&up.collect(), &wanting, false);
        let mut judge = |(host, seen): (&String, &Observation<Seen>)| {
            let verdict = match (turns.remove(host), seen) {
                (_, Err(error)) => Verdict::blocked(error.to_string()),
                (Some(Turn::Never(why) | Turn::NotYet(why) | Turn::After(why)), _) => self.refused(&why),
                (Some(Turn::Now) | None, Ok(seen)) => self.decide(seen),
            };
            (host.clone(), verdict)
        };
        all.iter().map(&mut judge).collect()
    }

    fn refused(&self, why: &str) -> Verdict {
        Verdict::blocked(format!("this stops DRBD, which must run now: {why}"))
    }

    pub fn decide(&self, seen: &Seen) -> Verdict {
        if let Some(why) = self.idle(seen) {
            return Verdict::ok(why).data(json!({
                "cmd": self.argv, "rc": 0, "stdout": "", "stdout_lines": [], "stderr": "", "stderr_lines": [],
            }));
        }
        if let Some(why) = drbd_guard::why_not(&seen.drbd) {
            return self.refused(&why);
        }
        // Only the program's name: the arguments may hold what `no_log` hides.
        let program = self.line.split_whitespace().next().unwrap_or("a command").to_owned();
        let newline = if self.stdin_add_newline { "\n" } else { "" };
        let action = Action::Run {
            argv: self.argv.clone(),
            stdin: self.stdin.map(|text| Bytes(format!("{text}{newline}").into_bytes())),
            env: BTreeMap::new(),
            cwd: self.chdir.map(str::to_owned),
            timeout_s: self.timeout_s,
            ok_codes: Vec::new(),
        };
        Decision::Drift(Change {
            summary: format!("run `{}`", self.line),
            diff: String::new(),
            steps: vec![Step::from(action).effect(Effect::UnsettlesAll { what: program })],
            after: After::Done,
        })
        .into()
    }

    pub fn finish(&self, data: Json, outputs: &[Output]) -> (Json, Result<(), String>) {
        let Some(output) = outputs.last() else { return (data, Ok(())) };
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let data = json!({
            "cmd": self.argv, "rc": output.rc,
            "stdout": output.stdout.trim_end_matches(['\r', '\n']), "stdout_lines": lines(&output.stdout),
            "stderr": output.stderr.trim_end_matches(['\r', '\n']), "stderr_lines": lines(&output.stderr),
        });
        let result = if output.rc == 0 {
            Ok(())
        } else {
            Err(format!("`{}` ended with {}: {}", self.line, output.rc, output.complaint()))
        };
        (data, result)
    }
}

/// Whether a path exists; each component may be a glob (`*`, `?`, `[…]`), as in Ansible's `creates`.
fn any_exists(host: &dyn Probe, pattern: &Path) -> Result<bool, LookError> {
    if !pattern.to_string_lossy().contains(['*', '?', '[']) {
        return Ok(host.stat(pattern)?.is_some());
    }
    let mut found = vec![PathBuf::from("/")];
    for component in pattern.components().skip(1) {
        let name = component.as_os_str().to_string_lossy();
        let mut next = Vec::new();
        if name.contains(['*', '?', '[']) {
            let glob = globset::GlobBuilder::new(&name)
                .literal_separator(true)
                .build()
                .map_err(|e| LookError::cannot_tell(pattern.display().to_string(), e))?
                .compile_matcher();
            for dir in &found {
                let names = host.list(dir)?.unwrap_or_default();
                // A leading dot must be matched by a dot, as in a shell.
                let hidden = |n: &String| n.starts_with('.') && !name.starts_with('.');
                next.extend(names.iter().filter(|n| !hidden(n) && glob.is_match(n)).map(|n| dir.join(n)));
            }
        } else {
            for dir in &found {
                let path = dir.join(&*name);
                if host.stat(&path)?.is_some() {
                    next.push(path);
                }
            }
        }
        found = next;
    }
    Ok(!found.is_empty())
}
