//! What happens when a unit starts, reloads or stops: its `Exec…` lines run as programs of the lab.

use super::systemctl::UnitFile;
use super::{Ctx, drbd_present, shell};
use crate::host::Output;
use crate::lab::{device, guest};

/// # Errors
/// What failed, as the journal would name it.
pub fn started(ctx: &mut Ctx, unit: &UnitFile) -> Result<(), String> {
    if unit.name.ends_with(".mount") {
        return mount_unit(ctx, unit);
    }
    for key in ["ExecStartPre", "ExecStart"] {
        run_lines(ctx, unit, key)?;
    }
    Ok(())
}

pub fn stopped(ctx: &mut Ctx, unit: &UnitFile) {
    for key in ["ExecStop", "ExecStopPost"] {
        // A stop goes on whatever its programs say.
        let _ = run_lines(ctx, unit, key);
    }
}

/// # Errors
/// As [`started`].
pub fn reloaded(ctx: &mut Ctx, unit: &UnitFile) -> Result<(), String> {
    run_lines(ctx, unit, "ExecReload")
}

fn run_lines(ctx: &mut Ctx, unit: &UnitFile, key: &str) -> Result<(), String> {
    for line in unit.values("Service", key) {
        let (line, may_fail) = match line.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (line.as_str(), false),
        };
        let argv = shell::words(line).map_err(|why| format!("{key}: {why}"))?;
        let Some(program) = argv.first() else { continue };
        // Signals to the main process; there is none.
        if program.ends_with("/kill") {
            continue;
        }
        // A daemon that the lab's packages shipped but the lab does not play: it runs when its program is there.
        let shipped = ctx.text(program).is_some_and(|t| t.starts_with("#!/bin/true"));
        if shipped && !super::plays(program) {
            continue;
        }
        let result = match super::run(ctx, &argv, None) {
            Ok(output) if output.rc == 0 => Ok(()),
            Ok(output) => Err(format!("{line}: exit code {}: {}", output.rc, output.complaint())),
            // A program of the base system.
            Err(_) if unit.text.contains("X-Lab-Base=yes") => Ok(()),
            Err(_) => Err(format!("{program}: status=203/EXEC: No such file or directory")),
        };
        if !may_fail {
            result?;
        }
    }
    Ok(())
}

/// Kernel file systems that NFS needs; in a container AppArmor decides.
fn mount_unit(ctx: &mut Ctx, unit: &UnitFile) -> Result<(), String> {
    let fstype = unit.value("Mount", "Type").unwrap_or_default();
    let module = match fstype.as_str() {
        "nfsd" => Some("nfsd"),
        "rpc_pipefs" => Some("sunrpc"),
        _ => None,
    };
    if let super::Place::Container(vmid) = ctx.place {
        if !guest::may_mount(ctx.world, vmid, &fstype) {
            return Err(format!("mount: permission denied (AppArmor: operation=\"mount\" fstype=\"{fstype}\" DENIED)"));
        }
        if let Some(module) = module
            && !ctx.node().modules.contains_key(module)
        {
            return Err(format!(
                "mount: unknown filesystem type '{fstype}' (module {module} is not loaded on the host)"
            ));
        }
        return Ok(());
    }
    match module {
        Some(module) => match super::modules::load(ctx, module) {
            Output { rc: 0, .. } => Ok(()),
            output => Err(output.complaint().to_owned()),
        },
        None => Ok(()),
    }
}

/// `rpc.nfsd`: the kernel's NFS server starts when its control file system is mounted.
pub fn rpc_nfsd(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    if argv.get(1).is_some_and(|n| n == "0") {
        return Output::default();
    }
    if !ctx.node().modules.contains_key("nfsd") {
        return Output::failed(
            1,
            "rpc.nfsd: Unable to access /proc/fs/nfsd errno 2 (No such file or directory).\nPlease try, as root, 'mount -t nfsd nfsd /proc/fs/nfsd' and then restart rpc.nfsd to correct the problem\n",
        );
    }
    Output::default()
}

/// `drbd-service-shim.sh`, what `drbd.service` runs. Its stop unmounts every DRBD file system and downs everything.
pub fn drbd_service(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    match argv.get(1).map(String::as_str) {
        Some("start") => ctx.run(&["drbdadm", "adjust", "all"]),
        Some("stop") => {
            let node = ctx.node_name();
            let targets: Vec<String> = ctx
                .node()
                .mounts
                .iter()
                .filter(|m| m.guest.is_none() && m.source.starts_with("/dev/drbd"))
                .map(|m| m.target.clone())
                .collect();
            for target in targets.iter().rev() {
                device::unmount(ctx.world, &node, target, None);
            }
            if !drbd_present(ctx) {
                return Output::default();
            }
            let down = ctx.run(&["drbdadm", "down", "all"]);
            ctx.run(&["rmmod", "drbd_transport_tcp"]);
            ctx.run(&["rmmod", "drbd"]);
            down
        }
        _ => super::not_simulated(argv, "this use of the DRBD service script"),
    }
}
