//! Start, stop, shutdown, reboot of containers, as tasks; of HA-managed ones only the wish is noted.
//! Hookscripts are checked and called as PVE does; every call is recorded.

use super::{check_lock, hookscript, load, path_of, rootfs};
use crate::lab::api::call::{Call, Outcome, write_etc};
use crate::lab::api::request::Fault;
use crate::lab::api::site::Site;
use crate::lab::api::state::{Cluster, HookCall};
use crate::lab::api::{conf::GuestConf, ha};

/// One phase of the hookscript. What it prints goes to `log`; the error is the text that PVE's task shows.
fn hook(
    cluster: &mut Cluster,
    site: &mut dyn Site,
    node: &str,
    vmid: u32,
    (conf, phase): (&GuestConf, &str),
    log: &mut Vec<String>,
) -> Result<(), String> {
    let failed = |why: String| format!("hookscript error for {vmid} on {phase}: {why}\n");
    let Some(script) = hookscript(site, node, conf).map_err(failed)? else { return Ok(()) };
    let at_s = site.now_ms() / 1000;
    let (rc, said) = site.run_hook(node, vmid, phase, &script);
    log.extend(said.iter().cloned());
    let (node, phase_of_call) = (node.to_owned(), phase.to_owned());
    let command = format!("command '{script} {vmid} {phase}' failed: exit code {rc}");
    cluster.hook_calls.push(HookCall { at_s, node, vmid, phase: phase_of_call, script, rc, said });
    let surplus = cluster.hook_calls.len().saturating_sub(1000);
    cluster.hook_calls.drain(..surplus);
    if rc == 0 { Ok(()) } else { Err(failed(command)) }
}

/// A container ended without being told to: PVE cleans up and calls the last phase alone, and nobody hears it.
pub fn ended(cluster: &mut Cluster, site: &mut dyn Site, node: &str, vmid: u32) {
    let Ok((mut conf, before)) = load(site, node, vmid) else { return };
    conf.apply_pending();
    if conf.render() != before {
        // As in PVE a write that fails here is a line in a log.
        let _ = write_etc(cluster, site, node, &path_of(node, vmid), &conf.render());
    }
    let _ = hook(cluster, site, node, vmid, (&conf, "post-stop"), &mut Vec::new());
}

/// Starts a container on the node that owns it; the text of a failure is what its task ends with.
pub fn start_on(
    cluster: &mut Cluster,
    site: &mut dyn Site,
    node: &str,
    vmid: u32,
    log: &mut Vec<String>,
) -> Result<(), String> {
    let (mut conf, before) = load(site, node, vmid)?;
    check_lock(&conf)?;
    if site.running(vmid).is_some() {
        return Err(format!("CT {vmid} already running"));
    }
    if !site.quorate(node) {
        return Err("cluster not ready - no quorum?".into());
    }
    conf.apply_pending();
    if conf.render() != before {
        write_etc(cluster, site, node, &path_of(node, vmid), &conf.render())?;
    }
    hook(cluster, site, node, vmid, (&conf, "pre-start"), log)?;
    let rootfs = rootfs(site, node, &conf)?;
    site.start_guest(node, vmid, &rootfs, log)?;
    if let Err(text) = hook(cluster, site, node, vmid, (&conf, "post-start"), log) {
        log.push(text.trim_end().to_string());
    }
    Ok(())
}

/// Stops a container and applies what waited for that.
pub fn stop_on(
    cluster: &mut Cluster,
    site: &mut dyn Site,
    node: &str,
    vmid: u32,
    log: &mut Vec<String>,
) -> Result<(), String> {
    let (mut conf, before) = load(site, node, vmid)?;
    check_lock(&conf)?;
    if let Err(text) = hook(cluster, site, node, vmid, (&conf, "pre-stop"), log) {
        log.push(text.trim_end().to_string());
    }
    let rootfs = rootfs(site, node, &conf)?;
    site.stop_guest(node, vmid, &rootfs, log)?;
    conf.apply_pending();
    if conf.render() != before {
        write_etc(cluster, site, node, &path_of(node, vmid), &conf.render())?;
    }
    // PVE runs it outside of the task: what it says reaches no log.
    let _ = hook(cluster, site, node, vmid, (&conf, "post-stop"), &mut Vec::new());
    Ok(())
}

fn task(call: &mut Call, kind: &str, work: impl FnOnce(&mut Call, &mut Vec<String>) -> Result<(), String>) -> Outcome {
    let mut log = Vec::new();
    let result = work(call, &mut log);
    let id = call.vmid().to_string();
    Ok(call.task(kind, &id, log, result))
}

pub fn start(call: &mut Call) -> Outcome {
    let (vmid, node) = (call.vmid(), call.node.clone());
    if call.site.running(vmid).is_some_and(|running| running.node == node) {
        return Err(Fault::die(format!("CT {vmid} already running")));
    }
    if ha::is_managed(call, vmid) {
        return task(call, "hastart", |call, log| {
            log.push(format!("Requesting HA start for CT {vmid}"));
            ha::request_state(call, vmid, "started")
        });
    }
    task(call, "vzstart", |call, log| start_on(call.cluster, call.site, &node, vmid, log))
}

fn end(call: &mut Call, kind: &str) -> Outcome {
    let (vmid, node) = (call.vmid(), call.node.clone());
    if call.site.running(vmid).is_none_or(|running| running.node != node) {
        return Err(Fault::die(format!("CT {vmid} not running")));
    }
    if ha::is_managed(call, vmid) {
        return task(call, "hastop", |call, log| {
            log.push(format!("Requesting HA stop for CT {vmid}"));
            ha::request_state(call, vmid, "stopped")
        });
    }
    task(call, kind, |call, log| stop_on(call.cluster, call.site, &node, vmid, log))
}

pub fn stop(call: &mut Call) -> Outcome {
    end(call, "vzstop")
}

pub fn shutdown(call: &mut Call) -> Outcome {
    end(call, "vzshutdown")
}

pub fn reboot(call: &mut Call) -> Outcome {
    let (vmid, node) = (call.vmid(), call.node.clone());
    if call.site.running(vmid).is_none_or(|running| running.node != node) {
        return Err(Fault::die(format!("VM {vmid} not running")));
    }
    task(call, "vzreboot", |call, log| {
        stop_on(call.cluster, call.site, &node, vmid, log)?;
        start_on(call.cluster, call.site, &node, vmid, log)
    })
}
