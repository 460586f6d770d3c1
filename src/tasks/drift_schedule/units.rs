//! The two units of a schedule on one machine: what lies there, whose it is, and what is to be done about it.
//!
//! Refuses to write over a unit that is not ours, and takes nothing away but what it wrote.

use crate::host::{Action, Bytes, FileKind, LookError, Output, Probe, Query, Step, Topic};
use crate::schedule::systemd::{self, Shown, systemctl};
use crate::schedule::{Owner, RunAs, Schedule, owner, service, timer};
use crate::tasks::diff;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Where the units of a machine belong.
pub const FOLDER: &str = "/etc/systemd/system";
/// systemd reads them there before they replace anything.
const STAGING: &str = "/run/converge";

/// Which systemd, and where its units lie.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Target {
    pub name: String,
    pub folder: String,
    /// A user's own systemd.
    pub own: bool,
    /// It runs, and is asked and told. `false`: an image that is being made.
    pub runs: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seen {
    /// By kind (`service`, `timer`): the text, or what is there instead of a file.
    files: BTreeMap<String, Result<String, String>>,
    /// The timer is wanted by `timers.target`.
    linked: bool,
    /// `None` where no systemd runs.
    pub shown: Option<Shown>,
    /// systemd's version, where `systemd-analyze` is there to verify units.
    analyze: Option<u32>,
    has_out: bool,
    has_folder: bool,
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Work {
    pub steps: Vec<Step>,
    pub diff: String,
    pub words: Vec<String>,
    /// Worth telling besides.
    pub warnings: Vec<String>,
}

impl Target {
    pub fn path(&self, kind: &str) -> String {
        format!("{}/converge-{}.{kind}", self.folder, self.name)
    }

    fn timer(&self) -> String {
        format!("converge-{}.timer", self.name)
    }

    fn link(&self) -> String {
        format!("{}/timers.target.wants/{}", self.folder, self.timer())
    }
}

fn version_query() -> Query {
    Query::new(Topic::Other, ["systemd-analyze", "--version"])
}

/// `out`: where the reports are to go, when systemd does not make that folder.
pub fn look(host: &dyn Probe, target: &Target, out: Option<&str>) -> Result<Seen, LookError> {
    let mut files = BTreeMap::new();
    for kind in ["service", "timer"] {
        let path = target.path(kind);
        let found = match host.stat(Path::new(&path))? {
            None => continue,
            Some(stat) if stat.kind == FileKind::File => Ok(host.read_text(Path::new(&path))?.unwrap_or_default()),
            // A mask, among others.
            Some(stat) => Err(match stat.link_target {
                Some(to) => format!("a link to {to}"),
                None => format!("a {:?}", stat.kind).to_lowercase(),
            }),
        };
        files.insert(kind.to_owned(), found);
    }
    let shown = if target.runs { Some(systemd::show(host, &target.name, target.own)?) } else { None };
    let analyze = match host.query(&version_query()) {
        Ok(output) => output.stdout.split_whitespace().nth(1).and_then(|word| word.parse().ok()),
        Err(LookError::NoProgram { .. }) => None,
        Err(error) => return Err(error),
    };
    let linked = host.stat(Path::new(&target.link()))?.is_some();
    let has_out = match out {
        Some(path) => host.stat(Path::new(path))?.is_some(),
        None => true,
    };
    let has_folder = host.stat(Path::new(&target.folder))?.is_some();
    Ok(Seen { files, linked, shown, analyze, has_out, has_folder })
}

/// Makes the units what the schedule says, and the timer wait.
///
/// # Errors
/// What is there that must not be replaced.
pub fn install(schedule: &Schedule, target: &Target, seen: &Seen) -> Result<Work, String> {
    let mut work = Work::default();
    let texts = [("service", service(schedule)), ("timer", timer(schedule))];
    let mut changed = Vec::new();
    for (kind, text) in &texts {
        let path = target.path(kind);
        match ours(seen, target, kind)? {
            Some(now) if now == text => continue,
            Some(now) => {
                work.diff.push_str(&diff::unified(&path, now, text));
                work.words.push(format!("change {path}"));
            }
            None => {
                work.diff.push_str(&diff::created(&path, text));
                work.words.push(format!("write {path}"));
            }
        }
        changed.push((*kind, path, text));
    }
    if !seen.has_folder {
        let (path, mode) = (target.folder.clone(), Some(0o755));
        work.steps.push(Action::CreateDirectory { path, mode, owner: None, group: None }.into());
    }
    if !changed.is_empty() {
        verify(&mut work, target, seen, &texts);
    }
    if !seen.has_out && !schedule.has_state_directory() {
        let owner = match &schedule.run_as {
            RunAs::User(user) => Some(user.clone()),
            _ => None,
        };
        let (path, group) = (schedule.out.clone(), None);
        work.words.push(format!("create {path}"));
        work.steps.push(Action::CreateDirectory { path, mode: Some(0o700), owner, group }.into());
    }
    for (_, path, text) in &changed {
        work.steps.push(write(path, text));
    }
    let timer_changed = changed.iter().any(|(kind, ..)| *kind == "timer");
    match &seen.shown {
        Some(shown) => tell(&mut work, target, shown, !changed.is_empty(), timer_changed),
        None if !seen.linked => {
            work.diff.push_str(&diff::lines(&target.timer(), &[] as &[&str], &["at boot: enabled"]));
            work.words.push(format!("enable {}", target.timer()));
            let folder = format!("{}/timers.target.wants", target.folder);
            let (mode, owner, group) = (Some(0o755), None, None);
            work.steps.push(Action::CreateDirectory { path: folder, mode, owner, group }.into());
            work.steps.push(Action::Symlink { path: target.link(), target: format!("../{}", target.timer()) }.into());
        }
        None => {}
    }
    Ok(work)
}

fn write(path: &str, text: &str) -> Step {
    Action::WriteFile {
        path: path.to_owned(),
        content: Bytes(text.as_bytes().to_vec()),
        mode: Some(0o644),
        owner: None,
        group: None,
        validate: None,
        backup: false,
    }
    .into()
}

/// The text of our own file; `None`: there is none yet.
fn ours<'a>(seen: &'a Seen, target: &Target, kind: &str) -> Result<Option<&'a String>, String> {
    let path = target.path(kind);
    let other = "choose another name for the schedule";
    let elsewhere = |map: &BTreeMap<String, String>| {
        map.get("FragmentPath").filter(|now| !now.is_empty() && **now != path).cloned()
    };
    match seen.files.get(kind) {
        Some(Err(what)) => Err(format!("{path} is {what}, not a file of converge's; {other}")),
        Some(Ok(text)) if owner(text) == Owner::Foreign => {
            Err(format!("{path} was not written by converge, and is left alone; {other}"))
        }
        Some(Ok(text)) => Ok(Some(text)),
        None => {
            let map = seen.shown.as_ref().map(|shown| if kind == "timer" { &shown.timer } else { &shown.service });
            match map.and_then(elsewhere) {
                Some(there) => Err(format!("{there} would be hidden by {path}; {other}")),
                None => Ok(None),
            }
        }
    }
}

/// Has systemd read the units where nothing uses them.
fn verify(work: &mut Work, target: &Target, seen: &Seen, texts: &[(&str, String); 2]) {
    let Some(version) = seen.analyze else {
        work.warnings.push("there is no systemd-analyze; the units are not verified before they are used".into());
        return;
    };
    let folder = if target.own { format!("{}/.converge-verify", target.folder) } else { STAGING.to_owned() };
    let folder = format!("{folder}/verify-{}", target.name);
    let directory = Action::CreateDirectory { path: folder.clone(), mode: Some(0o755), owner: None, group: None };
    work.steps.push(directory.into());
    let paths: Vec<String> =
        texts.iter().map(|(kind, _)| format!("{folder}/converge-{}.{kind}", target.name)).collect();
    for (path, (_, text)) in paths.iter().zip(texts) {
        work.steps.push(write(path, text));
    }
    let mut argv: Vec<String> = ["systemd-analyze", "verify", "--man=no"].map(str::to_owned).to_vec();
    if version >= 250 {
        // What others' units lack is not this one's fault.
        argv.push("--recursive-errors=no".into());
    }
    argv.extend(target.own.then(|| "--user".to_owned()));
    argv.extend(paths);
    let env = BTreeMap::from([("SYSTEMD_UNIT_PATH".to_owned(), format!("{folder}:"))]);
    let run = Action::Run { argv, stdin: None, env, cwd: None, timeout_s: 60, ok_codes: vec![0] };
    work.steps.push(run.into());
    work.steps.push(Action::Remove { path: folder, recursive: true }.into());
}

/// Tells a systemd that runs.
fn tell(work: &mut Work, target: &Target, shown: &Shown, changed: bool, timer_changed: bool) {
    let timer = target.timer();
    let mut run = |words: &[&str]| work.steps.push(Step::run(systemctl(target.own, words)));
    if changed || shown.needs_reload() || !shown.is_known() {
        run(&["daemon-reload"]);
        if !changed {
            work.words.push("let systemd read the units".into());
        }
    }
    let mut run = |words: &[&str]| work.steps.push(Step::run(systemctl(target.own, words)));
    let state = |enabled: bool, waiting: bool| {
        [
            format!("at boot: {}", if enabled { "enabled" } else { "disabled" }),
            format!("active: {}", if waiting { "active" } else { "inactive" }),
        ]
    };
    let (enabled, waiting) = (shown.is_enabled(), shown.is_waiting());
    if !enabled {
        run(&["enable", &timer]);
        work.words.push(format!("enable {timer}"));
    }
    if !waiting || timer_changed {
        // Also a time that was changed counts from now on.
        run(&["restart", &timer]);
    }
    if !waiting {
        work.words.push(format!("start {timer}"));
    }
    if !enabled || !waiting {
        work.diff.push_str(&diff::unified(
            &timer,
            &(state(enabled, waiting).join("\n") + "\n"),
            &(state(true, true).join("\n") + "\n"),
        ));
    }
    if let Some(step) = work.steps.pop() {
        work.steps.push(answers(step, target, shown, true));
    }
}

/// What systemd will say then.
fn answers(mut step: Step, target: &Target, shown: &Shown, there: bool) -> Step {
    let mut then = shown.clone();
    for (kind, map) in [("timer", &mut then.timer), ("service", &mut then.service)] {
        let words = match there {
            true => [("LoadState", "loaded".to_owned()), ("FragmentPath", target.path(kind))],
            false => [("LoadState", "not-found".to_owned()), ("FragmentPath", String::new())],
        };
        map.extend(words.map(|(key, value)| (key.to_owned(), value)));
        map.insert("NeedDaemonReload".into(), "no".into());
    }
    let (state, active) = if there { ("enabled", "active") } else { ("", "inactive") };
    then.timer.insert("UnitFileState".into(), state.into());
    then.timer.insert("ActiveState".into(), active.into());
    let text = |map: &BTreeMap<String, String>| map.iter().map(|(k, v)| format!("{k}={v}\n")).collect::<String>();
    let [timer, service] = systemd::queries(&target.name, target.own);
    for (query, map) in [(timer, &then.timer), (service, &then.service)] {
        step = step.answers(query, Output::ok(text(map)));
    }
    step
}

/// Takes away what [`install`] wrote, and nothing else: reports and drop-ins stay.
///
/// # Errors
/// What is there that is not ours.
pub fn remove(target: &Target, seen: &Seen) -> Result<Work, String> {
    let mut work = Work::default();
    let mut there = Vec::new();
    for kind in ["service", "timer"] {
        let path = target.path(kind);
        match seen.files.get(kind) {
            None => {}
            Some(Err(what)) => return Err(format!("{path} is {what}, not a file of converge's, and is left alone")),
            Some(Ok(text)) if owner(text) == Owner::Foreign => {
                return Err(format!("{path} was not written by converge, and is left alone"));
            }
            Some(Ok(text)) => {
                work.diff.push_str(&diff::removed(&path, text));
                work.words.push(format!("remove {path}"));
                there.push(path);
            }
        }
    }
    let timer = target.timer();
    let mut run = |words: &[&str]| work.steps.push(Step::run(systemctl(target.own, words)));
    if there.is_empty() && !seen.linked {
        return Ok(work);
    }
    if let Some(shown) = &seen.shown {
        if shown.is_waiting() {
            run(&["stop", &timer]);
        }
        if shown.is_enabled() {
            run(&["disable", &timer]);
        }
        if shown.is_running() {
            work.warnings.push("a run is under way; it ends by itself".into());
        }
        if !shown.drop_ins().is_empty() {
            work.warnings.push(format!("drop-ins stay where they are: {}", shown.drop_ins().join(" ")));
        }
    } else if seen.linked {
        work.steps.push(Action::Remove { path: target.link(), recursive: false }.into());
    }
    for path in there {
        work.steps.push(Action::Remove { path, recursive: false }.into());
    }
    if let Some(shown) = &seen.shown {
        let step = Step::run(systemctl(target.own, &["daemon-reload"]));
        work.steps.push(answers(step, target, shown, false));
    }
    Ok(work)
}

impl Seen {
    /// The schedule that the units were written from.
    pub fn schedule(&self) -> Option<Result<Schedule, String>> {
        match owner(self.files.get("service")?.as_ref().ok()?) {
            Owner::Ours(schedule) => Some(Ok(*schedule)),
            Owner::Unclear(why) => Some(Err(why)),
            Owner::Foreign => None,
        }
    }
}
