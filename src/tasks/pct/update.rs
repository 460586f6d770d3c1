//! Where there is a container: what differs, what may be changed, and whether it runs as asked.

use super::look::{Found, Guest, OnNode, config_of, file_of, status_of};
use super::{Pct, State};
use crate::host::{Guard, Method, Query, Step, Topic};
use crate::pve::lxc_conf;
use crate::pve::values::{self, Property};
use crate::tasks::cluster::{self, Nodes, Params, field};
use crate::tasks::{Meanwhile, Verdict, diff};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// HA takes ten to twenty seconds to act, and a mount with multiple mount protection most of a minute.
const FOLLOW_S: u64 = 300;

pub fn judge(task: &Pct, found: &Found, guest: &Guest, nodes: &Nodes<'_, OnNode>) -> Verdict {
    let verdict = decide(task, found, guest, nodes);
    let mut verdict = verdict.data(json!({
        "vmid": task.vmid, "node": guest.node, "status": field(&guest.status, "status"),
    }));
    if !guest.pending.is_empty() {
        let keys = guest.pending.join(", ");
        verdict = verdict.warn(format!("{keys} of container {} take effect only when it is restarted", task.vmid));
    }
    let profile = |(key, _): &(String, String)| key == "lxc.apparmor.profile";
    if task.features.is_some() && guest.raw().iter().chain(&task.raw()).any(profile) {
        verdict = verdict.warn("lxc.apparmor.profile overrides what `features` allows");
    }
    verdict
}

fn decide(task: &Pct, found: &Found, guest: &Guest, nodes: &Nodes<'_, OnNode>) -> Verdict {
    if guest.lock().as_deref() == Some("create") {
        return Verdict::blocked(format!(
            "container {} on {} is half made (lock: create): an earlier creation was cut off. Look at its device and its \
             task log; then `pct unlock {}` or `pct destroy {}` on {} (it leaves a device's content alone)",
            task.vmid, guest.node, task.vmid, task.vmid, guest.node
        ));
    }
    if let Some(why) = fixed(task, guest) {
        return Verdict::blocked(why);
    }
    let differing = differing(task, guest);
    let raw_differs = lxc_conf::differs(&task.raw(), &guest.raw());
    let power_needed = power_needed(task, guest);
    if let Some(lock) = guest.lock() {
        let wants_something = !differing.is_empty() || raw_differs || power_needed;
        let unlock = format!(
            "container {} on {} is locked ({lock}), and no task that can be seen works on it: it can neither be started \
             nor moved. Only you can know whether that is over: then `pct unlock {}` on {}",
            task.vmid, guest.node, task.vmid, guest.node
        );
        if let (true, Some(why)) = (guest.worked_on_by.is_empty(), &guest.work_hidden) {
            return Verdict::blocked(format!(
                "container {} is locked ({lock}), and whether a task works on it cannot be told: {why}",
                task.vmid
            ));
        }
        if guest.worked_on_by.is_empty() {
            // HA can neither start nor move it, so that it is not as described, whatever its configuration says.
            return Verdict::blocked(unlock);
        }
        let work = guest.worked_on_by.join(", ");
        if wants_something {
            return Verdict::blocked(format!("container {} is locked ({lock}): {work} works on it", task.vmid));
        }
        return Verdict::ok(format!("container {} on {} is as described", task.vmid, guest.node))
            .warn(format!("it is locked ({lock}): {work} works on it"));
    }
    if !differing.is_empty() {
        return put(task, guest, &differing);
    }
    if raw_differs {
        return write_raw(task, guest, nodes);
    }
    if power_needed {
        return power(task, found, guest);
    }
    let word = if guest.is_running() { "runs" } else { "is stopped" };
    Verdict::ok(format!("container {} {word} on {} as described", task.vmid, guest.node))
}

/// The keys whose value is not the one that is stated.
pub fn differing(task: &Pct, guest: &Guest) -> BTreeMap<String, String> {
    task.keys().into_iter().filter(|(key, wanted)| !values::same(key, wanted, guest.config.get(key))).collect()
}

/// It does not run and shall, or the other way round.
pub fn power_needed(task: &Pct, guest: &Guest) -> bool {
    match task.state {
        State::Started => !guest.is_running(),
        State::Stopped => guest.is_running(),
        State::Present | State::Absent => false,
    }
}

/// What cannot be changed, or not without somebody's data.
fn fixed(task: &Pct, guest: &Guest) -> Option<String> {
    let is_unprivileged = values::truthy(guest.config.get("unprivileged"));
    if task.unprivileged.is_some_and(|wanted| wanted != is_unprivileged) {
        let word = |unprivileged: bool| if unprivileged { "unprivileged" } else { "privileged" };
        return Some(format!(
            "container {} is {}, described as {}: Proxmox fixes that on creation, because every file on it has the \
             shifted or unshifted owner; backup and restore is the way",
            task.vmid,
            word(is_unprivileged),
            word(!is_unprivileged)
        ));
    }
    for (_, key, wanted) in task.properties() {
        let (Some(shape), Some(actual)) = (values::shape_of(&key), guest.config.get(&key).and_then(values::text))
        else {
            continue;
        };
        let (Ok(wanted), Ok(actual)) = (Property::parse(shape, &wanted), Property::parse(shape, &actual)) else {
            continue;
        };
        if shape == values::Shape::Volume && wanted.differing(&actual).contains(&"volume") {
            return Some(format!(
                "{key} of container {} is `{}`, described as `{}`: what a container stands on is moved by a person \
                 (or this is another container: is the vmid right?)",
                task.vmid,
                actual.get("volume").unwrap_or_default(),
                wanted.get("volume").unwrap_or_default()
            ));
        }
    }
    None
}

fn put(task: &Pct, guest: &Guest, differing: &BTreeMap<String, String>) -> Verdict {
    let mut params = Params::default();
    for (key, wanted) in differing {
        let actual = guest.config.get(key).and_then(values::text);
        let merged = values::shape_of(key).and_then(|shape| {
            let wanted = Property::parse(shape, wanted).ok().filter(|p| !p.values.is_empty())?;
            // A stated `firewall=0` where nothing is stored is sent as it stands.
            let actual = Property::parse(shape, &actual.clone()?).ok()?;
            Some(wanted.over(&actual).to_string())
        });
        params.put(key, &merged.unwrap_or_else(|| wanted.clone()));
    }
    // These have a value always; an empty one cannot be meant.
    params.delete.retain(|key| guest.config.contains_key(key));
    let after = cluster::written(&guest.config, &params);
    let keys: Vec<&str> = differing.keys().map(String::as_str).collect();
    let lines =
        |config: &cluster::Row| cluster::lines(keys.iter().map(|key| (*key, values::shown(key, &field(config, key)))));
    let difference = diff::unified(&file_of(&guest.node, task.vmid), &lines(&guest.config), &lines(&after));
    let step = Step::api(
        Method::Put,
        format!("/nodes/{}/lxc/{}/config", guest.node, task.vmid),
        params.update(&field(&guest.config, "digest")),
    );
    let step = cluster::will_answer(step, config_of(&guest.node, task.vmid), Json::Object(after));
    Verdict::stage(format!("set {} of container {}", keys.join(", "), task.vmid), difference, vec![step])
}

fn write_raw(task: &Pct, guest: &Guest, nodes: &Nodes<'_, OnNode>) -> Verdict {
    let node = guest.node.as_str();
    let path = file_of(node, task.vmid);
    let file = match nodes.get(node) {
        Some(Ok(OnNode { file: Some((owner, text)), .. })) if owner == node => text,
        Some(Ok(_)) => return Verdict::blocked(format!("{node} does not show {path}; did the container just move?")),
        Some(Err(error)) => {
            return Verdict::blocked(format!(
                "raw lxc lines are written into {path} on {node}, which cannot be reached: {error}"
            ));
        }
        None => {
            return Verdict::blocked(format!(
                "raw lxc lines are written into {path}, and {node} is no host of the inventory"
            ));
        }
    };
    if let Some(lock) = lxc_conf::value(file, "lock") {
        return Verdict::blocked(format!("container {} is locked ({lock})", task.vmid));
    }
    let after = lxc_conf::with_raw(file, &task.raw());
    let mut step = Step::write(path.clone(), after.clone()).on(node);
    step.guards.push(Guard {
        query: Query::new(Topic::Container(task.vmid), ["cat", path.as_str()]),
        rc: 0,
        stdout: Some(file.clone()),
        reason: format!("{path} was changed since it was looked at"),
    });
    let verdict = Verdict::stage(
        format!("write raw lxc lines of container {}", task.vmid),
        diff::unified(&path, file, &after),
        vec![step],
    );
    if guest.is_running() {
        return verdict.warn(format!("raw lxc lines of container {} take effect only when it is restarted", task.vmid));
    }
    verdict
}

pub fn power(task: &Pct, found: &Found, guest: &Guest) -> Verdict {
    let (verb, wanted) = if task.state == State::Started { ("start", "running") } else { ("shutdown", "stopped") };
    // An HA resource is only asked for: the manager acts some seconds later, and the task's OK says nothing.
    if let Some(asked) = guest.ha() {
        let asked_for = match task.state {
            State::Started => asked == "started" || asked == "enabled" || asked.is_empty(),
            _ => matches!(asked.as_str(), "stopped" | "disabled" | "request_stop"),
        };
        if asked == "error" {
            return Verdict::blocked(format!("HA gave up on container {} (state error); see `ha_resource`", task.vmid));
        }
        if asked_for {
            let what = format!("HA has container {} not yet {wanted} on {}", task.vmid, guest.node);
            return Verdict::wait(what, FOLLOW_S, 3, None).meanwhile(Meanwhile::Trouble);
        }
    }
    let path = format!("/nodes/{}/lxc/{}/status/{verb}", guest.node, task.vmid);
    let step = Step::api::<String, String>(Method::Post, path, []);
    let mut status = guest.status.clone();
    status.insert("status".into(), wanted.into());
    let step = cluster::will_answer(step, status_of(&guest.node, task.vmid), Json::Object(status));
    let row = cluster::find(&found.guests, "vmid", &task.vmid.to_string()).cloned().map(|mut row| {
        row.insert("status".into(), wanted.into());
        row
    });
    let step = match row {
        Some(row) => cluster::will_answer(step, cluster::guests(), cluster::with_row(&found.guests, "vmid", row)),
        None => step,
    };
    let words = if verb == "start" { "start" } else { "shut down" };
    Verdict::stage(format!("{words} container {} on {}", task.vmid, guest.node), "", vec![step])
}

pub fn remove(task: &Pct, found: &Found, guest: &Guest) -> Verdict {
    let vmid = task.vmid;
    let blocked = |why: String| Verdict::blocked(format!("container {vmid} on {} is not removed: {why}", guest.node));
    if let Some(lock) = guest.lock() {
        return blocked(format!("it is locked ({lock}); `pct unlock {vmid}` on its node if no task works on it"));
    }
    if values::truthy(guest.config.get("protection")) {
        return blocked("it is protected; set `protection: false` first".into());
    }
    if guest.ha().is_some() {
        return blocked("it is an HA resource; take it out of HA first (`ha_resource` with `state: absent`)".into());
    }
    if guest.is_running() {
        return blocked("it runs; shut it down first (`state: stopped`)".into());
    }
    let volumes: Vec<String> = guest
        .config
        .iter()
        .filter(|(key, _)| *key == "rootfs" || key.starts_with("mp") || key.starts_with("unused"))
        .filter_map(|(_, value)| Property::parse(values::Shape::Volume, &values::text(value)?).ok())
        .filter(Property::is_storage_volume)
        .filter_map(|volume| volume.get("volume").map(str::to_owned))
        .collect();
    if !volumes.is_empty() && !task.destroy_volumes {
        return blocked(format!("that destroys {}; say `destroy_volumes: true` if that is meant", volumes.join(", ")));
    }
    let step = Step::api(Method::Delete, format!("/nodes/{}/lxc/{vmid}", guest.node), [("purge", "1")]);
    let list = cluster::without_row(&found.guests, "vmid", &vmid.to_string());
    let step = cluster::will_answer(step, cluster::guests(), list);
    let before = cluster::lines(
        guest
            .config
            .iter()
            .filter(|(k, _)| !matches!(k.as_str(), "digest" | "lxc"))
            .map(|(k, v)| (k.as_str(), values::text(v).unwrap_or_default())),
    );
    let stays = if volumes.is_empty() { " (what lies on its device stays)" } else { "" };
    Verdict::drift(
        format!("remove container {vmid} on {}{stays}", guest.node),
        diff::removed(&file_of(&guest.node, vmid), &before),
        vec![step],
    )
}
