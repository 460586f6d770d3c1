//! What `systemctl` tells about units.

use super::unit::{self, UnitFile};
use crate::host::Output;
use crate::lab::commands::options::Options;
use crate::lab::commands::{Ctx, clock};
use crate::lab::world::Unit;

/// A unit with its run time.
pub struct Look {
    pub file: Option<UnitFile>,
    pub name: String,
    pub active: &'static str,
    pub sub: &'static str,
    pub run: Unit,
}

pub fn look(ctx: &Ctx, name: &str) -> Look {
    let file = unit::find(&ctx.view(), name);
    let name = file.as_ref().map_or_else(|| name.to_owned(), |f| f.name.clone());
    let run = ctx.system().units.get(&name).cloned().unwrap_or_default();
    let runs = run.active.unwrap_or_else(|| file.as_ref().is_some_and(|f| runs_from_start(ctx, f)));
    let kind = name.rsplit('.').next().unwrap_or_default();
    let oneshot = file.as_ref().and_then(|f| f.value("Service", "Type")).is_some_and(|t| t == "oneshot");
    let (active, sub) = match (run.failed, runs, kind) {
        (true, _, _) => ("failed", "failed"),
        (_, true, "target") => ("active", "active"),
        (_, true, "mount") => ("active", "mounted"),
        (_, true, "timer") => ("active", "waiting"),
        (_, true, "socket") => ("active", "listening"),
        (_, true, _) if oneshot => ("active", "exited"),
        (_, true, _) => ("active", "running"),
        (_, false, _) => ("inactive", "dead"),
    };
    Look { file, name, active, sub, run }
}

/// Before anything touched it, a unit runs if a boot would have started it.
fn runs_from_start(ctx: &Ctx, file: &UnitFile) -> bool {
    let shipped = file.text.contains("X-Lab-Base=yes");
    shipped && !file.masked && unit::file_state(&ctx.view(), file) == "enabled"
}

impl Look {
    fn load_state(&self) -> &'static str {
        match &self.file {
            None => "not-found",
            Some(f) if f.masked => "masked",
            Some(_) => "loaded",
        }
    }

    fn need_reload(&self, ctx: &Ctx) -> bool {
        if self.active != "active" {
            return false;
        }
        let Some(file) = &self.file else { return false };
        let now = file.digest();
        match ctx.system().unit_digests.get(&self.name) {
            Some(read) => *read != now,
            // Running since the installation: what systemd read is what the package shipped.
            None => !file.drop_ins.is_empty() || file.path.starts_with("/etc/"),
        }
    }
}

pub fn show(ctx: &Ctx, units: &[String], options: &Options) -> Output {
    let wanted: Vec<&str> = options.values(&["p", "property"]).iter().flat_map(|v| v.split(',')).collect();
    let mut text = String::new();
    // A pattern asks about units in memory: those that run or failed.
    let mut units = units.to_vec();
    if units.iter().any(|u| u.contains('*')) {
        let mut known: std::collections::BTreeSet<String> =
            unit::all(ctx).into_iter().filter(|n| !n.contains("@.")).collect();
        known.extend(ctx.system().units.keys().cloned());
        let patterns = std::mem::take(&mut units);
        units = known.into_iter().filter(|n| matches(n, &patterns) && look(ctx, n).active != "inactive").collect();
    }
    for (n, name) in units.iter().enumerate() {
        if n > 0 {
            text.push('\n');
        }
        for (key, value) in properties(ctx, name, options.value(&["timestamp"])) {
            if !wanted.is_empty() && !wanted.contains(&key) {
                continue;
            }
            if options.has(&["value"]) {
                text.push_str(&format!("{value}\n"));
            } else {
                text.push_str(&format!("{key}={value}\n"));
            }
        }
    }
    Output::ok(text)
}

/// In systemd's order, which is not the order of the question.
fn properties(ctx: &Ctx, name: &str, timestamp: Option<&str>) -> Vec<(&'static str, String)> {
    let look = look(ctx, name);
    let view = ctx.view();
    let file = look.file.as_ref();
    let since = if look.active == "active" { started_at(ctx, &look) } else { 0 };
    let stamp = |at: i64| match (at, timestamp) {
        (0, _) => String::new(),
        (at, Some("unix")) => format!("@{at}"),
        (at, _) => clock::systemd(at),
    };
    let value = |section: &str, key: &str| file.and_then(|f| f.value(section, key)).unwrap_or_default();
    let words = |section: &str, key: &str| file.map(|f| f.words(section, key).join(" ")).unwrap_or_default();
    let mut list = Vec::new();
    if look.name.ends_with(".service") {
        let kind = value("Service", "Type");
        let pid = if look.sub == "running" { look.run.main_pid.max(900 + look.name.len() as u64) } else { 0 };
        list.extend([
            ("Type", if kind.is_empty() { "simple".to_owned() } else { kind }),
            (
                "Restart",
                if value("Service", "Restart").is_empty() { "no".to_owned() } else { value("Service", "Restart") },
            ),
            ("MainPID", pid.to_string()),
            ("Result", if look.run.failed { "exit-code" } else { "success" }.to_owned()),
            ("NRestarts", "0".to_owned()),
            ("RemainAfterExit", if value("Service", "RemainAfterExit") == "yes" { "yes" } else { "no" }.to_owned()),
            ("ExecMainStartTimestamp", stamp(since)),
            ("ExecMainStartTimestampMonotonic", (monotonic(ctx, since)).to_string()),
            ("ExecMainPID", pid.to_string()),
            ("ExecMainStatus", if look.run.failed { "1" } else { "0" }.to_owned()),
        ]);
    }
    list.extend([
        ("Id", look.name.clone()),
        ("Names", look.name.clone()),
        ("Requires", words("Unit", "Requires")),
        ("Wants", words("Unit", "Wants")),
        ("After", words("Unit", "After")),
        ("Before", words("Unit", "Before")),
        ("Description", {
            let d = value("Unit", "Description");
            if d.is_empty() { look.name.clone() } else { d }
        }),
        ("LoadState", look.load_state().to_owned()),
        ("ActiveState", look.active.to_owned()),
        ("SubState", look.sub.to_owned()),
        ("FragmentPath", file.filter(|f| !f.masked).map(|f| f.path.clone()).unwrap_or_default()),
        ("DropInPaths", file.map(|f| f.drop_ins.join(" ")).unwrap_or_default()),
        ("UnitFileState", file.map(|f| unit::file_state(&view, f)).unwrap_or_default().to_owned()),
        ("UnitFilePreset", file.map(|_| "enabled").unwrap_or_default().to_owned()),
        ("StateChangeTimestamp", stamp(since)),
        ("ActiveEnterTimestamp", stamp(since)),
        ("ActiveEnterTimestampMonotonic", monotonic(ctx, since).to_string()),
        ("CanStart", if file.is_some_and(|f| !f.masked) { "yes" } else { "no" }.to_owned()),
        ("CanReload", if value("Service", "ExecReload").is_empty() { "no" } else { "yes" }.to_owned()),
        ("NeedDaemonReload", if look.need_reload(ctx) { "yes" } else { "no" }.to_owned()),
    ]);
    if look.load_state() == "not-found" {
        list.push(("LoadError", format!("org.freedesktop.systemd1.NoSuchUnit \"Unit {} not found.\"", look.name)));
    }
    list
}

fn started_at(ctx: &Ctx, look: &Look) -> i64 {
    if look.run.since_s > 0 {
        return look.run.since_s;
    }
    if ctx.in_container() { 0 } else { ctx.node().booted_at_s + 5 }
}

/// Microseconds since the kernel started.
fn monotonic(ctx: &Ctx, at: i64) -> i64 {
    if at == 0 { 0 } else { (at - ctx.node().booted_at_s).max(0) * 1_000_000 }
}

pub fn is_state(ctx: &Ctx, units: &[String], verb: &str, quiet: bool) -> Output {
    let wanted = if verb == "is-failed" { "failed" } else { "active" };
    let looks: Vec<Look> = units.iter().map(|u| look(ctx, u)).collect();
    let text: String = looks.iter().map(|l| format!("{}\n", l.active)).collect();
    let rc = if looks.iter().any(|l| l.active == wanted) {
        0
    } else if looks.iter().all(|l| l.file.is_none()) && verb == "is-active" {
        4
    } else if verb == "is-failed" {
        1
    } else {
        3
    };
    Output { rc, stdout: if quiet { String::new() } else { text }, stderr: String::new() }
}

pub fn is_enabled(ctx: &Ctx, units: &[String], quiet: bool) -> Output {
    let mut output = Output { rc: 1, ..Output::default() };
    for name in units {
        let Some(file) = unit::find(&ctx.view(), name) else {
            if ctx.system().debian >= 13 {
                output.stdout.push_str("not-found\n");
                output.rc = 4;
            } else {
                output
                    .stderr
                    .push_str(&format!("Failed to get unit file state for {name}: No such file or directory\n"));
            }
            continue;
        };
        let mut state = unit::file_state(&ctx.view(), &file);
        if file.name != *name && state != "masked" {
            state = "alias";
        }
        output.stdout.push_str(&format!("{state}\n"));
        if ["enabled", "static", "indirect", "alias", "generated"].contains(&state) {
            output.rc = 0;
        }
    }
    if quiet {
        output.stdout.clear();
    }
    output
}

pub fn cat(ctx: &Ctx, units: &[String]) -> Output {
    let mut output = Output::default();
    for name in units {
        match unit::find(&ctx.view(), name) {
            None => {
                output.rc = 1;
                output.stderr.push_str(&format!("No files found for {name}.\n"));
            }
            Some(file) => {
                for path in std::iter::once(&file.path).chain(&file.drop_ins) {
                    output.stdout.push_str(&format!("# {path}\n{}\n", ctx.text(path).unwrap_or_default()));
                }
            }
        }
    }
    output
}

/// The head of `systemctl status`, for people at `lab shell`.
pub fn status(ctx: &Ctx, units: &[String]) -> Output {
    let mut output = Output::default();
    for name in units {
        let look = look(ctx, name);
        let Some(file) = &look.file else {
            output.stderr.push_str(&format!("Unit {name} could not be found.\n"));
            output.rc = 4;
            continue;
        };
        let mark = match look.active {
            "active" => "●",
            "failed" => "×",
            _ => "○",
        };
        let description = file.value("Unit", "Description").unwrap_or_else(|| look.name.clone());
        output.stdout.push_str(&format!(
            "{mark} {} - {description}\n     Loaded: {} ({}; {})\n     Active: {} ({})\n",
            look.name,
            look.load_state(),
            file.path,
            unit::file_state(&ctx.view(), file),
            look.active,
            look.sub
        ));
        if look.active != "active" {
            output.rc = 3;
        }
    }
    output
}

fn matches(name: &str, patterns: &[String]) -> bool {
    patterns.is_empty()
        || patterns
            .iter()
            .any(|p| globset::Glob::new(p).is_ok_and(|g| g.compile_matcher().is_match(name)) || *p == name)
}

pub fn list_unit_files(ctx: &Ctx, patterns: &[String], options: &Options) -> Output {
    let mut text = String::new();
    let mut count = 0;
    for name in unit::all(ctx).iter().filter(|n| matches(n, patterns)) {
        let Some(file) = unit::find(&ctx.view(), name) else { continue };
        let state = unit::file_state(&ctx.view(), &file);
        let preset = if state == "static" { "-" } else { "enabled" };
        text.push_str(&format!("{name:<44} {state:<12} {preset}\n"));
        count += 1;
    }
    if options.has(&["no-legend"]) {
        return Output::ok(text);
    }
    Output::ok(format!("{:<44} {:<12} PRESET\n{text}\n{count} unit files listed.\n", "UNIT FILE", "STATE"))
}

pub fn list_units(ctx: &Ctx, patterns: &[String], options: &Options) -> Output {
    let mut names: std::collections::BTreeSet<String> =
        unit::all(ctx).into_iter().filter(|n| !n.contains("@.")).collect();
    names.extend(ctx.system().units.keys().cloned());
    let states = options.value(&["state"]).map(|s| s.split(',').collect::<Vec<_>>());
    let mut text = String::new();
    for name in names.iter().filter(|n| matches(n, patterns)) {
        let look = look(ctx, name);
        let shown = match &states {
            Some(states) => states.contains(&look.active) || states.contains(&look.sub),
            None => look.active != "inactive" || options.has(&["a", "all"]),
        };
        if shown && look.file.is_some() {
            let description = look.file.as_ref().and_then(|f| f.value("Unit", "Description")).unwrap_or_default();
            text.push_str(&format!("{name} {} {} {} {description}\n", look.load_state(), look.active, look.sub));
        }
    }
    Output::ok(text)
}

pub fn is_system_running(ctx: &Ctx) -> Output {
    if ctx.system().units.values().any(|u| u.failed) {
        return Output { rc: 1, stdout: "degraded\n".into(), stderr: String::new() };
    }
    Output::ok("running\n")
}
