//! `converge lab break`: faults to be caused on nodes and in containers. DRBD's own are in `drbd`, the
//! cluster's in `api`.
//!
//! A fault changes the world as the real one would; it never touches what a check looks at only to be found.

use super::commands::{Ctx, apt};
use super::files::Files;
use super::world::{LoadedModule, Place, World};
use super::{api, drbd, guest, power};

/// One fault.
pub struct Fault {
    pub name: &'static str,
    /// What is done.
    pub what: &'static str,
    /// What a check should report, and what an apply does about it.
    pub check_says: &'static str,
    cause: fn(&mut World, &Files) -> Result<String, String>,
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "in-tree-module",
        what: "On the last node DRBD is taken down and the kernel's own 8.4 is loaded, though 9 is installed.",
        check_says: "drbd_module drifts: 8.4 is loaded. Apply unloads it, loads 9 and brings the resource up.",
        cause: in_tree_module,
    },
    Fault {
        name: "new-kernel",
        what: "On the last node the newest kernel's headers were removed, with the meta packages; it was installed and booted. DKMS built nothing: 8.4 is loaded.",
        check_says: "apt drifts: the headers of the running kernel are missing. Apply installs them, DKMS builds, 9 is loaded.",
        cause: new_kernel,
    },
    Fault {
        name: "dkms-failed",
        what: "The last node booted a new kernel on which DRBD's module does not build: 8.4 is loaded.",
        check_says: "drbd_module is blocked and names the cause: not built for this kernel, see make.log.",
        cause: dkms_failed,
    },
    Fault {
        name: "secure-boot",
        what: "Secure Boot was switched on on the last node; DKMS's key is not enrolled, so the module is refused.",
        check_says: "drbd_module is blocked: Secure Boot refuses the module; enrol /var/lib/dkms/mok.pub.",
        cause: secure_boot,
    },
    Fault {
        name: "edited-res",
        what: "Somebody edited the resource file on the last node.",
        check_says: "drbd_resource drifts on that node with a diff. Apply writes the file again.",
        cause: edited_res,
    },
    Fault {
        name: "service-disabled",
        what: "The resource's target is disabled on the last node: it would not come up at boot.",
        check_says: "systemd drifts there. Apply enables it.",
        cause: service_disabled,
    },
    Fault {
        name: "node-down",
        what: "The last node loses power.",
        check_says: "It is unreachable, the others are checked. `converge lab mend` switches it on again.",
        cause: node_down,
    },
    Fault {
        name: "node-cut-off",
        what: "The last node is cut off from corosync's network: /etc/pve is read-only there.",
        check_says: "ha_resource is blocked: the node runs, and HA cannot use it; pct warns. Only its network can heal it. `converge lab mend` reconnects it.",
        cause: node_cut_off,
    },
    Fault {
        name: "apparmor-line-removed",
        what: "The mount rules are taken out of lxc-default-cgns on the last node.",
        check_says: "apparmor_lines drifts there. Apply writes them and reloads the profile.",
        cause: apparmor_line_removed,
    },
    Fault {
        name: "container-locked",
        what: "A backup died and left its lock on the container.",
        check_says: "pct is blocked: the container can neither be started nor moved, and no task works on it. Only a person knows that no backup runs: `pct unlock`.",
        cause: container_locked,
    },
    Fault {
        name: "hookscript-missing",
        what: "The hookscript is gone from the last node, so that the container could not start there.",
        check_says: "hookscript drifts there. Apply installs it.",
        cause: hookscript_missing,
    },
    Fault {
        name: "package-held",
        what: "drbd-utils is held on the last node.",
        check_says: "apt reports the hold where it wants another version; it does not override it.",
        cause: package_held,
    },
    Fault {
        name: "repository-gone",
        what: "LINBIT's package source was deleted on the last node.",
        check_says: "apt_repository drifts there. Apply writes source and key.",
        cause: repository_gone,
    },
    Fault {
        name: "export-removed",
        what: "The export is taken out of /etc/exports in the container, and exports are refreshed.",
        check_says: "lineinfile drifts in the container. Apply writes the line and the handler exports it again.",
        cause: export_removed,
    },
    Fault {
        name: "nfs-stopped",
        what: "The NFS server in the container is stopped and disabled.",
        check_says: "systemd drifts in the container. Apply starts and enables it.",
        cause: nfs_stopped,
    },
    Fault {
        name: "foreign-disk",
        what: "The backing device of a node that does not use it yet holds somebody's ext4.",
        check_says: "drbd_resource is blocked: the device is not blank. Nothing is overwritten.",
        cause: foreign_disk,
    },
];

/// Every fault that can be caused: name, what is done, what a check says.
pub fn list() -> Vec<(&'static str, &'static str, &'static str)> {
    let own = FAULTS.iter().map(|f| (f.name, f.what, f.check_says));
    own.chain(drbd::BREAKS.iter().map(|b| (b.name, b.what, b.check_says))).chain(api::faults::list()).collect()
}

/// Causes a fault; the text says what was done.
///
/// # Errors
/// Why it cannot be caused in the lab as it is.
pub fn cause(world: &mut World, files: &Files, name: &str) -> Result<String, String> {
    if let Some(fault) = FAULTS.iter().find(|f| f.name == name) {
        return (fault.cause)(world, files);
    }
    if let Some(fault) = drbd::BREAKS.iter().find(|b| b.name == name) {
        let done = (fault.cause)(world)?;
        return Ok(format!("{done}\nonly a person may decide: {}", fault.only_a_person));
    }
    if let Some(caused) = api::faults::cause(world, files, name) {
        return caused;
    }
    let names: Vec<&str> = list().iter().map(|(n, _, _)| *n).collect();
    let near = names.iter().max_by(|a, b| strsim::jaro(a, name).total_cmp(&strsim::jaro(b, name)));
    let hint =
        near.filter(|n| strsim::jaro(n, name) > 0.7).map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default();
    Err(format!("there is no fault `{name}`{hint}; there are: {}", names.join(", ")))
}

/// Brings back what no apply can: power and cables.
///
/// # Errors
/// When a node's files cannot be read or written.
pub fn mend(world: &mut World, files: &Files) -> Result<Vec<String>, String> {
    let mut done = api::faults::mend(world);
    let names: Vec<String> = world.nodes.keys().cloned().collect();
    for node in &names {
        if world.node(node).cut_from_cluster {
            world.node_mut(node).cut_from_cluster = false;
            done.push(format!("{node} is back in the cluster's network"));
        }
        if world.node(node).secure_boot {
            world.node_mut(node).secure_boot = false;
            done.push(format!("Secure Boot is off on {node}"));
        }
        if !world.node(node).dkms_broken_for.is_empty() {
            world.node_mut(node).dkms_broken_for.clear();
            done.push(format!("DRBD's module builds again on {node}: run `dkms autoinstall` there, then apply"));
        }
    }
    for (at, a) in names.iter().enumerate() {
        for b in &names[at + 1..] {
            if world.drbd.is_cut(a, b) {
                drbd::cut_link(world, a, b, false);
                done.push(format!("the replication cable between {a} and {b} is mended"));
            }
        }
    }
    for node in &names {
        if world.node(node).off {
            power::on(world, files, node)?;
            done.push(format!("{node} is on"));
        }
    }
    Ok(done)
}

/// The last node that is on and runs no container, so that a fault there does not stop the service.
fn last_idle(world: &World) -> Result<String, String> {
    let busy = |node: &str| world.guests.values().any(|g| g.running.as_ref().is_some_and(|r| r.node == node));
    let on: Vec<&str> = world.nodes_on().collect();
    let idle = on.iter().rev().find(|n| !busy(n));
    idle.map(|n| (*n).to_owned()).ok_or_else(|| "every node that is on runs a container".to_owned())
}

fn ran(ctx: &mut Ctx, argv: &[&str]) -> Result<(), String> {
    let said = ctx.run(argv);
    if said.rc == 0 { Ok(()) } else { Err(format!("`{}`: {}", argv.join(" "), said.complaint())) }
}

fn needs_drbd(ctx: &Ctx) -> Result<(), String> {
    match apt::installed_version(ctx, "drbd-dkms") {
        Some(_) => Ok(()),
        None => Err(format!("drbd-dkms is not installed on {} yet: apply a playbook first", ctx.node_name())),
    }
}

fn in_tree_module(world: &mut World, files: &Files) -> Result<String, String> {
    let node = last_idle(world)?;
    let mut ctx = Ctx::on_node(world, files, &node);
    needs_drbd(&ctx)?;
    if ctx.node().modules.contains_key("drbd") {
        ran(&mut ctx, &["drbdadm", "down", "all"])?;
    }
    for module in ["drbd_transport_tcp", "drbd"] {
        ctx.run(&["rmmod", module]);
    }
    if ctx.node().modules.contains_key("drbd") {
        return Err(format!("DRBD is in use on {node}"));
    }
    let module = LoadedModule { version: Some("8.4.11".into()), in_tree: true };
    ctx.node_mut().modules.insert("drbd".into(), module);
    Ok(format!("{node}: DRBD 8.4.11 of the kernel is loaded"))
}

fn new_kernel(world: &mut World, files: &Files) -> Result<String, String> {
    let node = last_idle(world)?;
    needs_drbd(&Ctx::on_node(world, files, &node))?;
    let kernel = power::install_kernel(world, files, &node, false)?;
    power::cycle(world, files, &node)?;
    Ok(format!("{node} booted {kernel}; there are no headers for it"))
}

fn dkms_failed(world: &mut World, files: &Files) -> Result<String, String> {
    let node = last_idle(world)?;
    needs_drbd(&Ctx::on_node(world, files, &node))?;
    let debian = world.node(&node).system.debian;
    let newest = apt::universe::newest_kernel(debian).to_owned();
    world.node_mut(&node).dkms_broken_for.insert(newest);
    let kernel = power::install_kernel(world, files, &node, true)?;
    power::cycle(world, files, &node)?;
    Ok(format!("{node} booted {kernel}, on which DRBD's module does not build"))
}

fn secure_boot(world: &mut World, files: &Files) -> Result<String, String> {
    let node = last_idle(world)?;
    needs_drbd(&Ctx::on_node(world, files, &node))?;
    world.node_mut(&node).secure_boot = true;
    power::cycle(world, files, &node)?;
    Ok(format!("{node} booted with Secure Boot; the key in /var/lib/dkms/mok.pub is not enrolled"))
}

fn edited_res(world: &mut World, files: &Files) -> Result<String, String> {
    let node = last_idle(world)?;
    let mut ctx = Ctx::on_node(world, files, &node);
    let names = ctx.view().list("/etc/drbd.d").ok().flatten().unwrap_or_default();
    let Some(name) = names.iter().find(|n| n.ends_with(".res")) else {
        return Err(format!("there is no resource file on {node} yet: apply a playbook first"));
    };
    let path = format!("/etc/drbd.d/{name}");
    let text = ctx.text(&path).unwrap_or_default();
    let (from, to) = ("discard-zero-changes", "disconnect");
    let edited = if text.contains(from) { text.replacen(from, to, 1) } else { format!("# edited by hand\n{text}") };
    ctx.write(&path, edited.as_bytes()).map_err(|e| e.to_string())?;
    Ok(format!("{node}: {path} was edited"))
}

fn service_disabled(world: &mut World, files: &Files) -> Result<String, String> {
    let node = last_idle(world)?;
    let mut ctx = Ctx::on_node(world, files, &node);
    let links = ["multi-user.target.wants", "drbd-configured.target.wants"]
        .iter()
        .flat_map(|dir| ctx.view().list(&format!("/etc/systemd/system/{dir}")).ok().flatten().unwrap_or_default())
        .find(|n| n.starts_with("drbd@"));
    let Some(unit) = links else {
        return Err(format!("no DRBD target is enabled on {node} yet: apply a playbook first"));
    };
    ran(&mut ctx, &["systemctl", "disable", &unit])?;
    Ok(format!("{node}: {unit} is disabled"))
}

fn node_down(world: &mut World, _files: &Files) -> Result<String, String> {
    let Some(node) = world.nodes_on().last().map(str::to_owned) else { return Err("every node is off".into()) };
    power::off(world, &node);
    Ok(format!("{node} is off; `converge lab mend` switches it on again"))
}

fn node_cut_off(world: &mut World, _files: &Files) -> Result<String, String> {
    let node = last_idle(world)?;
    if world.node(&node).cut_from_cluster {
        return Err(format!("{node} is cut off already"));
    }
    world.node_mut(&node).cut_from_cluster = true;
    Ok(format!("{node} sees only itself"))
}

fn apparmor_line_removed(world: &mut World, files: &Files) -> Result<String, String> {
    let node = last_idle(world)?;
    let path = "/etc/apparmor.d/lxc/lxc-default-cgns";
    let mut ctx = Ctx::on_node(world, files, &node);
    let text = ctx.text(path).unwrap_or_default();
    let ours = |l: &str| l.trim().starts_with("mount fstype=nfs") || l.trim().starts_with("mount fstype=rpc_pipefs");
    if !text.lines().any(ours) {
        return Err(format!("{path} on {node} has no such line yet"));
    }
    let kept: String = text.lines().filter(|l| !ours(l)).map(|l| format!("{l}\n")).collect();
    ctx.write(path, kept.as_bytes()).map_err(|e| e.to_string())?;
    ran(&mut ctx, &["apparmor_parser", "-r", path])?;
    Ok(format!("{node}: the NFS rules are gone from {path}"))
}

fn first_container(world: &World, files: &Files) -> Result<(u32, String, String), String> {
    power::containers(world, files)
        .into_iter()
        .next()
        .ok_or_else(|| "there is no container yet: apply a playbook first".to_owned())
}

fn container_locked(world: &mut World, files: &Files) -> Result<String, String> {
    let (vmid, node, text) = first_container(world, files)?;
    if guest::config_value(&text, "lock").is_some() {
        return Err(format!("container {vmid} is locked already"));
    }
    let path = format!("/etc/pve/nodes/{node}/lxc/{vmid}.conf");
    Ctx::on_node(world, files, &node)
        .write(&path, format!("lock: backup\n{text}").as_bytes())
        .map_err(|e| e.to_string())?;
    Ok(format!("container {vmid} is locked (backup)"))
}

fn hookscript_missing(world: &mut World, files: &Files) -> Result<String, String> {
    let (vmid, _, text) = first_container(world, files)?;
    let Some(name) = guest::config_value(&text, "hookscript").and_then(|v| v.rsplit('/').next()).map(str::to_owned)
    else {
        return Err(format!("container {vmid} has no hookscript"));
    };
    let node = last_idle(world)?;
    let path = format!("/var/lib/vz/snippets/{name}");
    Ctx::on_node(world, files, &node).writer().remove(&path, false).map_err(|e| e.to_string())?;
    Ok(format!("{node}: {path} is gone"))
}

fn package_held(world: &mut World, files: &Files) -> Result<String, String> {
    let node = last_idle(world)?;
    let mut ctx = Ctx::on_node(world, files, &node);
    needs_drbd(&ctx)?;
    ran(&mut ctx, &["apt-mark", "hold", "drbd-utils"])?;
    Ok(format!("{node}: drbd-utils is held"))
}

fn repository_gone(world: &mut World, files: &Files) -> Result<String, String> {
    let node = last_idle(world)?;
    let mut ctx = Ctx::on_node(world, files, &node);
    let dir = "/etc/apt/sources.list.d";
    let names = ctx.view().list(dir).ok().flatten().unwrap_or_default();
    let found =
        names.iter().map(|n| format!("{dir}/{n}")).find(|p| ctx.text(p).is_some_and(|t| t.contains("linbit.com")));
    let Some(path) = found else { return Err(format!("LINBIT's source is not configured on {node} yet")) };
    ctx.writer().remove(&path, false).map_err(|e| e.to_string())?;
    Ok(format!("{node}: {path} is gone"))
}

/// The first container that runs.
fn inside<'a>(world: &'a mut World, files: &'a Files) -> Result<(u32, Ctx<'a>), String> {
    let vmid = world.guests.iter().find(|(_, g)| g.running.is_some()).map(|(vmid, _)| *vmid);
    let vmid = vmid.ok_or("no container runs")?;
    Ok((vmid, Ctx::new(world, files, Place::Container(vmid))))
}

fn export_removed(world: &mut World, files: &Files) -> Result<String, String> {
    let (vmid, mut ctx) = inside(world, files)?;
    let text = ctx.text("/etc/exports").unwrap_or_default();
    if !text.lines().any(|l| l.starts_with('/')) {
        return Err(format!("container {vmid} exports nothing"));
    }
    let kept: String = text.lines().filter(|l| !l.starts_with('/')).map(|l| format!("{l}\n")).collect();
    ctx.write("/etc/exports", kept.as_bytes()).map_err(|e| e.to_string())?;
    ran(&mut ctx, &["exportfs", "-ra"])?;
    Ok(format!("container {vmid} exports nothing any more"))
}

fn nfs_stopped(world: &mut World, files: &Files) -> Result<String, String> {
    let (vmid, mut ctx) = inside(world, files)?;
    ran(&mut ctx, &["systemctl", "disable", "--now", "nfs-server.service"])?;
    Ok(format!("the NFS server in container {vmid} is stopped and disabled"))
}

fn foreign_disk(world: &mut World, files: &Files) -> Result<String, String> {
    let free = world.nodes.keys().rev().find(|node| {
        !drbd::has_metadata(world, node, "nvme0n1p1") && !drbd::holds_backing(world, node, "/dev/nvme0n1p1")
    });
    let Some(node) = free.cloned() else {
        return Err("every node's device carries DRBD already: `converge lab reset` first".into());
    };
    let mut ctx = Ctx::on_node(world, files, &node);
    super::commands::put_foreign_filesystem(&mut ctx, "nvme0n1p1").map_err(|e| e.to_string())?;
    Ok(format!("{node}: /dev/nvme0n1p1 holds somebody's ext4"))
}
