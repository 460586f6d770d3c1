//! Removing a container: its file, its volumes, on request its traces elsewhere.
//! What lies on a device stays where it is.

use super::{check_lock, load, path_of, rootfs};
use crate::lab::api::call::{Call, Outcome};
use crate::lab::api::ha;
use crate::lab::api::request::Fault;
use crate::lab::api::site::Rootfs;

pub fn destroy(call: &mut Call) -> Outcome {
    let (vmid, node) = (call.vmid(), call.node.clone());
    let (conf, _) = load(call.site, &node, vmid).map_err(Fault::die)?;
    if conf.main.get("protection") == Some("1") {
        return Err(Fault::die(format!("can't remove CT {vmid} - protection mode enabled")));
    }
    check_lock(&conf).map_err(Fault::die)?;
    let purge = call.flag("purge");
    if !purge && ha::is_managed(call, vmid) {
        return Err(Fault::die(format!(
            "unable to remove CT {vmid} - used in HA resources and purge parameter not set."
        )));
    }
    let force = call.flag("force");
    if !force && call.site.running(vmid).is_some() {
        return Err(Fault::die(format!("unable to destroy CT {vmid} - container is running")));
    }
    let mut log = Vec::new();
    let result = remove(call, vmid, purge, &mut log);
    Ok(call.task("vzdestroy", &vmid.to_string(), log, result))
}

fn remove(call: &mut Call, vmid: u32, purge: bool, log: &mut Vec<String>) -> Result<(), String> {
    let node = call.node.clone();
    if !call.site.quorate(&node) {
        return Err("cluster not ready - no quorum?".into());
    }
    let (conf, _) = load(call.site, &node, vmid)?;
    let place = rootfs(call.site, &node, &conf)?;
    if call.site.running(vmid).is_some() {
        super::power::stop_on(call.cluster, call.site, &node, vmid, log)?;
    }
    if let Rootfs::Volume(path) = &place {
        call.site.remove(&node, path)?;
    }
    if purge {
        log.push(format!("purging CT {vmid} from related configurations.."));
        ha::purge(call, vmid).map_err(|fault| fault.text())?;
    }
    call.site.remove(&node, &format!("/etc/pve/{}", path_of(&node, vmid)))
}
