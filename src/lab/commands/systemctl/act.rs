//! What `systemctl` changes: links that enable, and what runs.

use super::show::look;
use super::unit::{self, UnitFile};
use crate::host::Output;
use crate::lab::commands::{Ctx, services};
use crate::lab::files::Files;
use crate::lab::world::{Place, World};

pub fn act_on(ctx: &mut Ctx, verb: &str, units: &[String]) -> Output {
    let mut output = Output::default();
    for name in units {
        let one = act_on_one(ctx, verb, name);
        output.stderr.push_str(&one.stderr);
        output.rc = output.rc.max(one.rc);
    }
    output
}

fn act_on_one(ctx: &mut Ctx, verb: &str, name: &str) -> Output {
    let now = look(ctx, name);
    let Some(file) = now.file.clone() else {
        let word = if verb.contains("restart") { "restart" } else { verb };
        return Output::failed(5, format!("Failed to {word} {name}: Unit {name} not found.\n"));
    };
    let active = now.active == "active";
    if file.masked && verb != "stop" {
        return Output::failed(1, format!("Failed to {verb} {name}: Unit {name} is masked.\n"));
    }
    let (end, begin) = match verb {
        "start" => (false, !active),
        "stop" => (active || now.active == "failed", false),
        "restart" => (active, true),
        "try-restart" => (active, active),
        "reload-or-restart" | "try-reload-or-restart" | "reload" => {
            if verb == "reload" && !active {
                return Output::failed(1, format!("{} is not active, cannot reload.\n", file.name));
            }
            if !active && verb == "try-reload-or-restart" {
                return Output::default();
            }
            let reloads = file.value("Service", "ExecReload").is_some();
            if !reloads && verb == "reload" {
                return Output::failed(
                    3,
                    format!("Failed to reload {name}: Job type reload is not applicable for unit {name}.\n"),
                );
            }
            if reloads && active {
                return reload(ctx, &file);
            }
            (active, true)
        }
        _ => (false, false),
    };
    if end {
        stop(ctx, &file);
    }
    if begin && let Err(why) = start(ctx, &file) {
        return failed_job(&file.name, &why);
    }
    Output::default()
}

fn failed_job(name: &str, why: &str) -> Output {
    let text = if let Some(dependency) = why.strip_prefix("dependency: ") {
        format!("A dependency job for {name} failed. See 'journalctl -xe' for details.\n({dependency})\n")
    } else {
        format!(
            "Job for {name} failed because the control process exited with error code.\nSee \"systemctl status {name}\" and \"journalctl -xeu {name}\" for details.\n({why})\n"
        )
    };
    Output::failed(1, text)
}

/// Starts a unit with what it requires.
///
/// # Errors
/// What its journal would say; the unit is then `failed`.
pub fn start(ctx: &mut Ctx, file: &UnitFile) -> Result<(), String> {
    for needed in [file.words("Unit", "Requires"), file.words("Unit", "BindsTo")].concat() {
        let dependency = look(ctx, &needed);
        if let (Some(dependency_file), false) = (&dependency.file, dependency.active == "active") {
            start(ctx, &dependency_file.clone()).map_err(|why| format!("dependency: {needed}: {why}"))?;
        }
    }
    for wanted in file.words("Unit", "Wants") {
        let dependency = look(ctx, &wanted);
        if let (Some(dependency_file), false) = (&dependency.file, dependency.active == "active") {
            // A wanted unit that fails does not keep this one from starting.
            let _ = start(ctx, &dependency_file.clone());
        }
    }
    let result = services::started(ctx, file);
    let (now, pid) = (ctx.world.now_s(), 20_000 + ctx.world.fresh_id());
    let digest = file.digest();
    let Some(system) = ctx.world.system_mut(&ctx.place) else { return Ok(()) };
    system.unit_digests.insert(file.name.clone(), digest);
    let state = system.units.entry(file.name.clone()).or_default();
    state.failed = result.is_err();
    let ends_at_once = file.value("Service", "Type").as_deref() == Some("oneshot")
        && file.value("Service", "RemainAfterExit").as_deref() != Some("yes");
    state.active = Some(result.is_ok() && !ends_at_once);
    state.since_s = now;
    state.main_pid = pid;
    state.starts += 1;
    result
}

pub fn stop(ctx: &mut Ctx, file: &UnitFile) {
    services::stopped(ctx, file);
    let now = ctx.world.now_s();
    let Some(system) = ctx.world.system_mut(&ctx.place) else { return };
    let state = system.units.entry(file.name.clone()).or_default();
    state.active = Some(false);
    state.failed = false;
    state.main_pid = 0;
    state.since_s = now;
    // What is part of it ends with it.
    let parts: Vec<String> =
        system.units.iter().filter(|(_, u)| u.active == Some(true)).map(|(n, _)| n.clone()).collect();
    for part in parts {
        let Some(part_file) = unit::find(&ctx.view(), &part) else { continue };
        if part_file.words("Unit", "PartOf").contains(&file.name) {
            stop(ctx, &part_file);
        }
    }
}

fn reload(ctx: &mut Ctx, file: &UnitFile) -> Output {
    if let Err(why) = services::reloaded(ctx, file) {
        return failed_job(&file.name, &why);
    }
    let name = file.name.clone();
    ctx.system_mut().units.entry(name).or_default().reloads += 1;
    Output::default()
}

pub fn change_files(ctx: &mut Ctx, verb: &str, units: &[String]) -> Output {
    let mut output = Output::default();
    for name in units {
        let one = match verb {
            "enable" => enable(ctx, name),
            "disable" => disable(ctx, name),
            "reenable" => {
                let first = disable(ctx, name);
                if first.rc == 0 { enable(ctx, name) } else { first }
            }
            "mask" => mask(ctx, name),
            _ => unmask(ctx, name),
        };
        output.stderr.push_str(&one.stderr);
        output.rc = output.rc.max(one.rc);
    }
    output
}

fn not_there(verb: &str, name: &str) -> Output {
    Output::failed(1, format!("Failed to {verb} unit: Unit file {name} does not exist.\n"))
}

fn enable(ctx: &mut Ctx, name: &str) -> Output {
    let Some(file) = unit::find(&ctx.view(), name) else { return not_there("enable", name) };
    if file.masked {
        return Output::failed(1, format!("Failed to enable unit: Unit file /etc/systemd/system/{name} is masked.\n"));
    }
    if !file.has_install() {
        return Output {
            rc: 0,
            stdout: String::new(),
            stderr: "The unit files have no installation config (WantedBy=, RequiredBy=, UpheldBy=,\nAlso=, or Alias= settings in the [Install] section, and DefaultInstance= for\ntemplate units). This means they are not meant to be enabled or disabled using systemctl.\n".into(),
        };
    }
    if file.name.contains("@.") && file.value("Install", "DefaultInstance").is_none() {
        return Output::failed(1, format!("Failed to enable unit: Unit name {name} is missing the instance name.\n"));
    }
    let mut wants: Vec<String> = file.words("Install", "WantedBy").iter().map(|t| format!("{t}.wants")).collect();
    wants.extend(file.words("Install", "RequiredBy").iter().map(|t| format!("{t}.requires")));
    let mut output = Output::default();
    for dir in wants {
        let link = format!("/etc/systemd/system/{dir}/{}", file.name);
        if ctx.view().stat(&link).ok().flatten().is_some() {
            continue;
        }
        let mut writer = ctx.writer();
        let made = writer
            .create_dir_all(&format!("/etc/systemd/system/{dir}"))
            .and_then(|()| writer.symlink(&link, &file.path));
        match made {
            Ok(()) => output.stderr.push_str(&format!("Created symlink {link} → {}.\n", file.path)),
            Err(e) => return Output::failed(1, format!("Failed to enable unit: {e}\n")),
        }
    }
    for also in file.words("Install", "Also") {
        if unit::find(&ctx.view(), &also).is_some() && unit::enabling_links(&ctx.view(), &also).is_empty() {
            output.stderr.push_str(&enable(ctx, &also).stderr);
        }
    }
    output
}

fn disable(ctx: &mut Ctx, name: &str) -> Output {
    let Some(file) = unit::find(&ctx.view(), name) else { return not_there("disable", name) };
    let mut output = Output::default();
    for link in unit::enabling_links(&ctx.view(), &file.name) {
        match ctx.writer().remove(&link, false) {
            Ok(()) => output.stderr.push_str(&format!("Removed \"{link}\".\n")),
            Err(e) => return Output::failed(1, format!("Failed to disable unit: {e}\n")),
        }
    }
    output
}

fn mask(ctx: &mut Ctx, name: &str) -> Output {
    let path = format!("/etc/systemd/system/{name}");
    if ctx.view().stat(&path).ok().flatten().is_some_and(|s| s.link_target.as_deref() != Some("/dev/null")) {
        return Output::failed(1, format!("Failed to mask unit: File '{path}' already exists.\n"));
    }
    match ctx.writer().symlink(&path, "/dev/null") {
        Ok(()) => Output { stderr: format!("Created symlink {path} → /dev/null.\n"), ..Output::default() },
        Err(e) => Output::failed(1, format!("Failed to mask unit: {e}\n")),
    }
}

fn unmask(ctx: &mut Ctx, name: &str) -> Output {
    let path = format!("/etc/systemd/system/{name}");
    let masked = ctx.view().stat(&path).ok().flatten().is_some_and(|s| s.link_target.as_deref() == Some("/dev/null"));
    if !masked {
        return Output::default();
    }
    match ctx.writer().remove(&path, false) {
        Ok(()) => Output { stderr: format!("Removed \"{path}\".\n"), ..Output::default() },
        Err(e) => Output::failed(1, format!("Failed to unmask unit: {e}\n")),
    }
}

/// systemd reads every unit file again.
pub fn daemon_reload(ctx: &mut Ctx) {
    let mut names: std::collections::BTreeSet<String> = unit::enabled(ctx).into_iter().collect();
    names.extend(ctx.system().units.keys().cloned());
    let view = ctx.view();
    let digests: Vec<(String, String)> =
        names.iter().filter_map(|n| unit::find(&view, n)).map(|f| (f.name.clone(), f.digest())).collect();
    let known = &ctx.system().unit_digests;
    let news: Vec<_> = digests.into_iter().filter(|(n, d)| known.get(n) != Some(d)).collect();
    if !news.is_empty() {
        ctx.system_mut().unit_digests.extend(news);
    }
}

pub fn reset_failed(ctx: &mut Ctx, units: &[String]) -> Output {
    for (name, state) in &mut ctx.system_mut().units {
        if state.failed && (units.is_empty() || units.contains(name)) {
            state.failed = false;
            state.active = Some(false);
        }
    }
    Output::default()
}

/// Starts what is enabled, as a boot does. A unit that fails stays failed; the boot goes on.
pub fn boot(world: &mut World, files: &Files, place: &Place) {
    let mut ctx = Ctx::new(world, files, place.clone());
    for name in unit::enabled(&ctx) {
        if let Some(file) = unit::find(&ctx.view(), &name)
            && !file.masked
            && look(&ctx, &name).active != "active"
        {
            let _ = start(&mut ctx, &file);
        }
    }
}

/// Everything ends with the machine: nothing is active any more.
pub fn halt(world: &mut World, place: &Place) {
    let Some(system) = world.system_mut(place) else { return };
    for unit in system.units.values_mut() {
        unit.active = Some(false);
        unit.failed = false;
        unit.main_pid = 0;
    }
    system.unit_digests.clear();
    system.exports.clear();
}
