//! What an installation or removal comes to, and carrying it out: files, units, kernel modules.

use super::universe::Offer;
use super::{all_offers, candidate, candidates, compare, installed, installed_version};
use crate::host::Output;
use crate::lab::commands::options::Options;
use crate::lab::commands::{Ctx, dkms, systemctl};
use crate::lab::world::Package;
use std::cmp::Ordering;
use std::collections::BTreeSet;

pub enum Wish<'a> {
    Install(&'a [String]),
    Remove { names: &'a [String], purge: bool },
    Upgrade { may_add: bool },
    AutoRemove { purge: bool },
}

#[derive(Default)]
pub struct Plan {
    /// In order, dependencies first; the flag says "only because another needs it".
    pub install: Vec<(&'static Offer, bool)>,
    pub remove: BTreeSet<String>,
    pub purge: bool,
    pub kept_back: Vec<String>,
    pub held_touched: Vec<String>,
    pub downgrades: Vec<String>,
    /// Named packages that are there only as somebody's dependency become wanted for themselves.
    pub now_manual: Vec<String>,
    pub notes: Vec<String>,
}

/// # Errors
/// apt's own text.
pub fn plan(ctx: &Ctx, wish: &Wish, options: &Options) -> Result<Plan, String> {
    let mut plan = Plan::default();
    match wish {
        Wish::Install(names) => {
            for name in *names {
                plan_install(ctx, &mut plan, name, options)?;
            }
        }
        Wish::Remove { names, purge } => {
            plan.purge = *purge;
            for name in *names {
                plan_remove(ctx, &mut plan, name)?;
            }
        }
        Wish::Upgrade { may_add } => plan_upgrade(ctx, &mut plan, *may_add)?,
        Wish::AutoRemove { purge } => plan.purge = *purge,
    }
    Ok(plan)
}

fn plan_install(ctx: &Ctx, plan: &mut Plan, wanted: &str, options: &Options) -> Result<(), String> {
    // `NAME-` removes, `NAME+` installs, `NAME=VERSION` and `NAME/SUITE` choose.
    if let Some(name) = wanted.strip_suffix('-').filter(|n| installed_version(ctx, n).is_some()) {
        return plan_remove(ctx, plan, name);
    }
    let (name, version) = match wanted.split_once('=') {
        Some((name, version)) => (name, Some(version)),
        None => (wanted.split('/').next().unwrap_or(wanted), None),
    };
    let now = installed_version(ctx, name);
    let offer = match version {
        Some(version) => {
            let matcher = globset::Glob::new(version).map(|g| g.compile_matcher());
            let fits = |v: &str| v == version || matcher.as_ref().is_ok_and(|m| m.is_match(v));
            let found = candidates(ctx, name).into_iter().map(|(o, _)| o).find(|o| fits(&o.version));
            match found {
                Some(offer) => Some(offer),
                None if now.as_deref().is_some_and(fits) => None,
                None if candidates(ctx, name).is_empty() && now.is_none() => {
                    return Err(format!("E: Unable to locate package {name}\n"));
                }
                None => return Err(format!("E: Version '{version}' for '{name}' was not found\n")),
            }
        }
        None => match candidate(ctx, name) {
            Some((offer, _)) => Some(offer),
            None if now.is_some() => None,
            None if super::get::known(ctx, name) && !candidates(ctx, name).is_empty() => {
                return Err(format!("E: Package '{name}' has no installation candidate\n"));
            }
            None => return Err(format!("E: Unable to locate package {name}\n")),
        },
    };
    let same = |offer: &Offer| now.as_deref() == Some(offer.version.as_str());
    match offer {
        Some(offer) if !same(offer) || options.has(&["reinstall"]) => {
            if now.is_none() && options.has(&["only-upgrade"]) {
                plan.notes.push(format!("Skipping {name}, it is not installed and only upgrades are requested.\n"));
                return Ok(());
            }
            if now.is_some() && options.has(&["no-upgrade"]) {
                return Ok(());
            }
            if ctx.system().held.contains(name) {
                plan.held_touched.push(name.to_owned());
            }
            if now.as_ref().is_some_and(|v| compare(&offer.version, v) == Ordering::Less) {
                plan.downgrades.push(name.to_owned());
            }
            add(ctx, plan, offer, false, !options.has(&["no-install-recommends"]))
        }
        _ => {
            plan.notes.push(format!("{name} is already the newest version ({}).\n", now.unwrap_or_default()));
            plan.now_manual.push(name.to_owned());
            Ok(())
        }
    }
}

/// Adds an offer with what it needs, dependencies first.
fn add(ctx: &Ctx, plan: &mut Plan, offer: &'static Offer, auto: bool, recommends: bool) -> Result<(), String> {
    if plan.install.iter().any(|(o, _)| o.name == offer.name) {
        return Ok(());
    }
    for (needed, hard) in offer
        .depends
        .iter()
        .map(|d| (d, true))
        .chain(offer.recommends.iter().filter(|_| recommends).map(|d| (d, false)))
    {
        if installed_version(ctx, needed).is_some() || plan.install.iter().any(|(o, _)| o.name == *needed) {
            continue;
        }
        match candidate(ctx, needed) {
            Some((dependency, _)) => add(ctx, plan, dependency, true, recommends)?,
            None if hard => {
                return Err(format!(
                    "Some packages could not be installed. This may mean that you have\nrequested an impossible situation or if you are using the unstable\ndistribution that some required packages have not yet been created\nor been moved out of Incoming.\nThe following information may help to resolve the situation:\n\nThe following packages have unmet dependencies:\n {} : Depends: {needed} but it is not installable\nE: Unable to correct problems, you have held broken packages.\n",
                    offer.name
                ));
            }
            None => {}
        }
    }
    plan.install.push((offer, auto));
    Ok(())
}

fn plan_remove(ctx: &Ctx, plan: &mut Plan, name: &str) -> Result<(), String> {
    let all = installed(ctx.system());
    if all.get(name).is_none_or(|p| p.config_only && !plan.purge) {
        if !all.contains_key(name) && !super::get::known(ctx, name) {
            return Err(format!("E: Unable to locate package {name}\n"));
        }
        plan.notes.push(format!("Package '{name}' is not installed, so not removed\n"));
        return Ok(());
    }
    if ctx.system().held.contains(name) {
        plan.held_touched.push(name.to_owned());
    }
    // Whoever depends on it goes too.
    let mut todo = vec![name.to_owned()];
    while let Some(next) = todo.pop() {
        if !plan.remove.insert(next.clone()) {
            continue;
        }
        for (other, package) in all.iter().filter(|(_, p)| !p.config_only) {
            let needs = all_offers(ctx.system().debian)
                .iter()
                .any(|o| o.name == *other && o.version == package.version && o.depends.contains(&next));
            if needs {
                todo.push(other.clone());
            }
        }
    }
    Ok(())
}

fn plan_upgrade(ctx: &Ctx, plan: &mut Plan, may_add: bool) -> Result<(), String> {
    for (name, package) in installed(ctx.system()) {
        if package.config_only {
            continue;
        }
        let Some((offer, _)) = candidate(ctx, &name) else { continue };
        if compare(&offer.version, &package.version) != Ordering::Greater {
            continue;
        }
        let adds = offer.depends.iter().any(|d| installed_version(ctx, d).is_none());
        if ctx.system().held.contains(&name) || (adds && !may_add) {
            plan.kept_back.push(name);
        } else {
            add(ctx, plan, offer, package.auto, true)?;
        }
    }
    Ok(())
}

impl Plan {
    /// Adds packages that nothing needs any more.
    pub fn add_unneeded(&mut self, ctx: &Ctx) {
        loop {
            let all = installed(ctx.system());
            let stays: Vec<_> = all.iter().filter(|(n, p)| !p.config_only && !self.remove.contains(*n)).collect();
            let needed = |name: &str| {
                stays.iter().any(|(other, p)| {
                    all_offers(ctx.system().debian).iter().any(|o| {
                        o.name == **other
                            && o.version == p.version
                            && (o.depends.iter().chain(&o.recommends)).any(|d| d == name)
                    })
                })
            };
            let idle: Vec<String> =
                stays.iter().filter(|(n, p)| p.auto && !needed(n)).map(|(n, _)| (*n).clone()).collect();
            if idle.is_empty() {
                return;
            }
            self.remove.extend(idle);
        }
    }
}

/// Does it: packages, files, units; then DKMS for every kernel with headers.
pub fn carry_out(ctx: &mut Ctx, plan: &Plan) -> Output {
    let mut output = Output::default();
    for name in &plan.remove {
        output.stdout.push_str(&format!("Removing {name} ...\n"));
        remove(ctx, name, plan.purge);
    }
    for name in &plan.now_manual {
        if let Some(Some(package)) = ctx.system().packages.get(name)
            && package.auto
            && let Some(Some(package)) = ctx.system_mut().packages.get_mut(name)
        {
            package.auto = false;
        }
    }
    for (offer, auto) in &plan.install {
        output.stdout.push_str(&format!("Setting up {} ({}) ...\n", offer.name, offer.version));
        if let Err(e) = install(ctx, offer, *auto) {
            output.stderr.push_str(&format!("dpkg: error processing package {} (--configure):\n {e}\nE: Sub-process /usr/bin/dpkg returned an error code (1)\n", offer.name));
            output.rc = 100;
            return output;
        }
    }
    let builds = plan.install.iter().any(|(o, _)| triggers_dkms(&o.name));
    if builds && !ctx.in_container() {
        for kernel in ctx.node().kernels.clone() {
            if !dkms::has_headers(ctx, &kernel) {
                continue;
            }
            let built = dkms::autoinstall(ctx, &kernel);
            output.stdout.push_str(&built.stdout);
            output.stderr.push_str(&built.stderr);
            // LINBIT's package reports a failed build and is set up all the same.
        }
    }
    output
}

/// Module sources build when they arrive; kernels and their headers run `dkms` by /etc/kernel/{postinst,header_postinst}.d.
fn triggers_dkms(package: &str) -> bool {
    let of_a_kernel = ["proxmox-kernel-", "pve-kernel-", "proxmox-headers-", "pve-headers-"];
    package == "drbd-dkms" || of_a_kernel.iter().any(|start| package.starts_with(start))
}

fn install(ctx: &mut Ctx, offer: &Offer, auto: bool) -> Result<(), String> {
    let before = installed(ctx.system()).get(&offer.name).cloned();
    let keep_auto = before.as_ref().filter(|p| !p.config_only).map_or(auto, |p| p.auto && auto);
    for path in &offer.programs {
        ctx.writer()
            .ship(
                path,
                format!("#!/bin/true\n# {} {}, played by the lab\n", offer.name, offer.version).as_bytes(),
                0o755,
            )
            .map_err(|e| e.to_string())?;
    }
    for (path, text, mode) in &offer.files {
        if path.ends_with('/') {
            ctx.writer().create_dir_all(path).map_err(|e| e.to_string())?;
            continue;
        }
        // Configuration that is there stays, as dpkg keeps what an administrator changed or left.
        if path.starts_with("/etc/") && ctx.exists(path) {
            continue;
        }
        ctx.writer().ship(path, text.as_bytes(), *mode).map_err(|e| e.to_string())?;
    }
    if offer.name == "drbd-dkms" && !ctx.in_container() {
        // Builds of another version of the source are gone with it.
        let stale = ctx.node().dkms.iter().any(|b| b.version != offer.version);
        if stale {
            ctx.node_mut().dkms.retain(|b| b.version == offer.version);
        }
    }
    if let Some(kernel) = offer.name.strip_prefix("proxmox-kernel-").and_then(|n| n.strip_suffix("-signed"))
        && !ctx.node().kernels.iter().any(|k| k == kernel)
    {
        ctx.node_mut().kernels.push(kernel.to_owned());
    }
    let package = Package { version: offer.version.clone(), config_only: false, auto: keep_auto };
    ctx.system_mut().packages.insert(offer.name.clone(), Some(package));
    let upgrade = before.is_some_and(|p| !p.config_only);
    for unit in &offer.starts {
        if !upgrade {
            ctx.run(&["systemctl", "enable", unit]);
        }
        // A service that cannot start does not make the installation fail (invoke-rc.d || true).
        ctx.run(&["systemctl", if upgrade { "try-restart" } else { "start" }, unit]);
    }
    Ok(())
}

fn remove(ctx: &mut Ctx, name: &str, purge: bool) {
    let all = installed(ctx.system());
    let Some(package) = all.get(name) else { return };
    let offer = all_offers(ctx.system().debian).iter().find(|o| o.name == *name && o.version == package.version);
    let mut keeps_config = false;
    if let Some(offer) = offer {
        for unit in &offer.starts {
            ctx.run(&["systemctl", "stop", unit]);
            if let Some(file) = systemctl::find(&ctx.view(), unit) {
                let name = file.name.clone();
                if purge {
                    ctx.run(&["systemctl", "disable", &name]);
                }
            }
        }
        for path in offer.programs.iter().chain(offer.files.iter().map(|(p, _, _)| p)) {
            if path.starts_with("/etc/") && !purge {
                keeps_config = true;
            } else {
                let _ = ctx.writer().remove(path, false);
            }
        }
    }
    if name == "drbd-dkms" && !ctx.in_container() {
        ctx.node_mut().dkms.retain(|b| b.module != "drbd");
    }
    if let Some(kernel) = name.strip_prefix("proxmox-kernel-").and_then(|n| n.strip_suffix("-signed")) {
        ctx.node_mut().kernels.retain(|k| k != kernel);
    }
    let rest = Package { version: package.version.clone(), config_only: true, auto: false };
    let change = (keeps_config && !purge).then_some(rest);
    ctx.system_mut().packages.insert(name.to_owned(), change);
}
