//! Losing power and booting: what a node forgets, and what a boot does in which order.

use super::commands::{Ctx, apt, modules, systemctl};
use super::files::{Files, Writer};
use super::world::{Place, World};
use super::{base, drbd, guest};

/// Power is cut. Containers that ran there are gone without a stop; file systems are left unclean.
pub fn off(world: &mut World, node: &str) {
    if world.node(node).off {
        return;
    }
    drbd::node_off(world, node);
    let lost: Vec<u32> = world
        .guests
        .iter()
        .filter(|(_, g)| g.running.as_ref().is_some_and(|r| r.node == node))
        .map(|(vmid, _)| *vmid)
        .collect();
    for vmid in lost {
        systemctl::halt(world, &Place::Container(vmid));
        world.guests.entry(vmid).or_default().running = None;
    }
    let mounted: Vec<_> = world.node(node).mounts.iter().filter_map(|m| m.fs.clone()).collect();
    for fs in mounted {
        if let Some(state) = world.filesystems.get_mut(&fs) {
            state.clean = false;
        }
    }
    systemctl::halt(world, &Place::node(node));
    let state = world.node_mut(node);
    state.off = true;
    state.mounts.clear();
    state.modules.clear();
    state.sysctl.clear();
}

/// Power is back: the newest kernel, modules, kernel parameters, profiles, mounts, units; then DRBD's peers.
///
/// # Errors
/// When the node's files cannot be read or written.
pub fn on(world: &mut World, files: &Files, node: &str) -> Result<(), String> {
    if !world.node(node).off {
        return Ok(());
    }
    let now = world.now_s();
    let state = world.node_mut(node);
    state.off = false;
    state.booted_at_s = now;
    state.kernel = state.kernels.last().cloned().unwrap_or_default();
    state.modules = base::boot_modules();
    state.system.units.retain(|_, u| u.active.is_some());
    let place = Place::node(node);
    let mut writer = Writer { world, files, place: &place };
    for dir in ["/run", "/tmp"] {
        for name in writer.view().list(dir).ok().flatten().unwrap_or_default() {
            writer.remove(&format!("{dir}/{name}"), true).map_err(|e| e.to_string())?;
        }
    }
    writer.create_dir_all("/run/lock").map_err(|e| e.to_string())?;
    let mut ctx = Ctx::on_node(world, files, node);
    for module in modules_to_load(&ctx) {
        // What cannot be loaded is a line in the journal; the boot goes on.
        let _ = modules::load(&mut ctx, &module);
    }
    ctx.run(&["sysctl", "-q", "-e", "--system"]);
    let profile = ctx.text("/etc/apparmor.d/lxc/lxc-default-cgns");
    ctx.node_mut().apparmor_loaded = profile;
    ctx.run(&["mount", "-a"]);
    drbd::node_on(ctx.world, node);
    systemctl::boot(ctx.world, files, &place);
    Ok(())
}

/// `/etc/modules`, and `modules-load.d` of administrators and packages; a file in `/etc` hides one of the same name.
fn modules_to_load(ctx: &Ctx) -> Vec<String> {
    let view = ctx.view();
    let mut files = std::collections::BTreeMap::new();
    for dir in ["/usr/lib/modules-load.d", "/etc/modules-load.d"] {
        for name in view.list(dir).ok().flatten().unwrap_or_default() {
            files.insert(name.clone(), format!("{dir}/{name}"));
        }
    }
    let texts = files.values().chain([&"/etc/modules".to_owned()]).filter_map(|p| view.text(p)).collect::<Vec<_>>();
    texts
        .iter()
        .flat_map(|t| t.lines())
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with(['#', ';']))
        .filter_map(|l| l.split_whitespace().next().map(str::to_owned))
        .collect()
}

/// Off and on again.
///
/// # Errors
/// As [`on`].
pub fn cycle(world: &mut World, files: &Files, node: &str) -> Result<(), String> {
    off(world, node);
    on(world, files, node)
}

/// The newest kernel is installed, to be booted next. Without `headers` those of that kernel are removed first, with
/// the meta packages that bring them, so that DKMS has nothing to build with.
pub fn install_kernel(world: &mut World, files: &Files, node: &str, headers: bool) -> Result<String, String> {
    let debian = world.node(node).system.debian;
    let kernel = apt::universe::newest_kernel(debian).to_owned();
    if world.node(node).kernel == kernel {
        return Err(format!("{node} runs the newest kernel already"));
    }
    let mut ctx = Ctx::on_node(world, files, node);
    ctx.run(&["apt-get", "update"]);
    let mut names = vec![format!("proxmox-kernel-{kernel}-signed")];
    let its_headers = format!("proxmox-headers-{kernel}");
    if headers {
        names.push(its_headers);
    } else if apt::installed_version(&ctx, &its_headers).is_some() {
        let said = ctx.run(&["apt-get", "-y", "remove", &its_headers]);
        if said.rc != 0 {
            return Err(said.complaint().to_owned());
        }
    }
    for name in names {
        let said = ctx.run(&["apt-get", "-y", "install", &name]);
        if said.rc != 0 {
            return Err(said.complaint().to_owned());
        }
    }
    Ok(kernel)
}

/// Every container with its node and its configuration.
pub fn containers(world: &World, files: &Files) -> Vec<(u32, String, String)> {
    let mut list = Vec::new();
    for node in world.nodes.keys() {
        for entry in std::fs::read_dir(files.pve().join("nodes").join(node).join("lxc")).into_iter().flatten().flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(vmid) = name.strip_suffix(".conf").and_then(|v| v.parse().ok()) else { continue };
            if let Some((owner, text)) = guest::config(world, files, vmid) {
                list.push((vmid, owner, text));
            }
        }
    }
    list.sort();
    list
}
