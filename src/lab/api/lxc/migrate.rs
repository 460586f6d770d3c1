//! Moving a container to another node: its file moves; a device must be shared, nothing is copied.
//! Of HA-managed ones only the request is noted.

use super::{check_lock, load, option_of, path_of, volume_of};
use crate::lab::api::call::{Call, Outcome};
use crate::lab::api::ha;
use crate::lab::api::request::Fault;
use crate::lab::api::site::Site;

pub fn migrate(call: &mut Call) -> Outcome {
    let (vmid, node) = (call.vmid(), call.node.clone());
    let target = call.param("target").to_string();
    let known = call.site.nodes().iter().any(|other| other.name == target);
    if target == node {
        return Err(Fault::param("target", "target is local node."));
    }
    if !known {
        return Err(Fault::die(format!("no such cluster node '{target}'")));
    }
    call.need_quorum()?;
    let (conf, _) = load(call.site, &node, vmid).map_err(Fault::die)?;
    let running = call.site.running(vmid).is_some();
    if running && !call.flag("restart") && !call.flag("online") {
        return Err(Fault::die("can't migrate running container without --online or --restart"));
    }
    let id = vmid.to_string();
    if ha::is_managed(call, vmid) {
        let log = vec![format!("Requesting HA migration for CT {vmid} to node {target}")];
        ha::request_move(call, &format!("ct:{vmid}"), &target, "migrate");
        return Ok(call.task("hamigrate", &id, log, Ok(())));
    }
    let mut log = vec![format!("starting migration of CT {vmid} to node '{target}'")];
    let result = check_lock(&conf).and_then(|()| work(call, vmid, &target, running, &mut log));
    Ok(call.task("vzmigrate", &id, log, result))
}

fn work(call: &mut Call, vmid: u32, target: &str, running: bool, log: &mut Vec<String>) -> Result<(), String> {
    let node = call.node.clone();
    if !call.site.nodes().iter().any(|other| other.name == target && other.online) {
        return Err(format!("Can't connect to destination address using public key of node '{target}'"));
    }
    let (conf, _) = load(call.site, &node, vmid)?;
    for (key, value) in &conf.main.keys {
        let mount = key == "rootfs" || super::modify::is_indexed(key, "mp");
        if mount && volume_of(value).starts_with('/') && option_of(value, "shared") != Some("1") {
            return Err(format!("cannot migrate local device mount point '{key}'"));
        }
    }
    if running {
        super::power::stop_on(call.cluster, call.site, &node, vmid, log)?;
    }
    move_config(call.site, &node, target, vmid)?;
    if running {
        log.push(format!("start container on target node '{target}'"));
        super::power::start_on(call.cluster, call.site, target, vmid, log)?;
    }
    log.push("migration finished successfully".into());
    Ok(())
}

/// The file under its new node's directory: this is what moving a container is.
pub fn move_config(site: &mut dyn Site, from: &str, to: &str, vmid: u32) -> Result<(), String> {
    // The old owner may be dead; any living node sees the same files.
    let through = if site.nodes().iter().any(|node| node.name == from && node.online) { from } else { to };
    if !site.quorate(through) {
        return Err("cluster not ready - no quorum?".into());
    }
    let path = |node: &str| format!("/etc/pve/{}", path_of(node, vmid));
    site.rename(through, &path(from), &path(to))
}
