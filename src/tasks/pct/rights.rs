//! What Proxmox asks of the login for each key of a container; read out of its source, since the schema names only the
//! endpoints' own checks.

use super::look::{Found, Guest};
use super::{Pct, State, update};
use crate::pve::values::{self, Property, Shape};
use crate::tasks::{Decision, Right, cluster};
use std::collections::{BTreeMap, BTreeSet};

/// Privileged containers need Sys.Modify to be made.
const ASKS_SYS_MODIFY: u32 = 9;
/// Bridges are objects that have to be granted.
const ASKS_FOR_BRIDGES: u32 = 8;

pub fn needed(task: &Pct, found: &Found) -> Vec<Right> {
    let vmid = task.vmid;
    let at = format!("/vms/{vmid}");
    match (&found.guest, task.state) {
        (None, state) => {
            let mut rights = Vec::new();
            let unseen = found.hidden.is_some();
            if unseen {
                rights.push(Right::to(format!("see container {vmid}"), &at, cluster::SEES_GUEST));
            }
            if state != State::Absent {
                // One that is not shown may be there, and as described.
                let creation = creation(task, found).into_iter();
                rights.extend(creation.map(|right| if unseen { right.perhaps() } else { right }));
            }
            rights
        }
        (Some(guest), _) if guest.kind != "lxc" => Vec::new(),
        (Some(_), State::Absent) => vec![Right::to(format!("remove container {vmid}"), at, "VM.Allocate")],
        (Some(guest), _) => change(task, found, guest),
    }
}

fn creation(task: &Pct, found: &Found) -> Vec<Right> {
    let vmid = task.vmid;
    let privileged = !task.unprivileged();
    let mut rights = vec![Right::to(format!("create container {vmid}"), format!("/vms/{vmid}"), "VM.Allocate")];
    let sys_modify = Right::to("create a privileged container", "/", "Sys.Modify");
    let asked = privileged.then(|| found.pve_major.map(|major| major >= ASKS_SYS_MODIFY));
    rights.extend(asked.and_then(|asked| sys_modify.if_asked(asked)));
    let mut storages = BTreeSet::new();
    if let Some((storage, _)) = task.ostemplate.as_deref().and_then(|template| template.split_once(':')) {
        let to = format!("see the templates on storage {storage}");
        rights.push(Right::any(to, format!("/storage/{storage}"), cluster::SEES_STORAGE));
    }
    let keys: BTreeMap<String, String> = task.keys().into_iter().filter(|(_, value)| !value.is_empty()).collect();
    if !keys.contains_key("rootfs") {
        storages.insert("local".to_owned());
    }
    for (key, value) in &keys {
        rights.extend(key_rights(task, found, key, value, None, privileged));
        let volume = values::shape_of(key)
            .filter(|shape| *shape == Shape::Volume)
            .and_then(|shape| Property::parse(shape, value).ok())
            .filter(Property::is_storage_volume);
        let volume = volume.as_ref().and_then(|volume| volume.get("volume"));
        storages.extend(volume.map(|volume| volume.split(':').next().unwrap_or(volume).to_owned()));
    }
    for storage in storages {
        let to = format!("make a volume on storage {storage}");
        rights.push(Right::to(to, format!("/storage/{storage}"), "Datastore.AllocateSpace"));
    }
    rights
}

fn change(task: &Pct, found: &Found, guest: &Guest) -> Vec<Right> {
    let privileged = !values::truthy(guest.config.get("unprivileged"));
    let mut rights = Vec::new();
    for (key, wanted) in update::differing(task, guest) {
        let now = guest.config.get(&key).and_then(values::text);
        rights.extend(key_rights(task, found, &key, &wanted, now.as_deref(), privileged));
    }
    if update::power_needed(task, guest) && matches!(update::power(task, found, guest).decision, Decision::Drift(_)) {
        let to = format!("start or stop container {}", task.vmid);
        rights.push(Right::to(to, format!("/vms/{}", task.vmid), "VM.PowerMgmt"));
    }
    rights
}

/// `now`: what is set. `privileged`: what the container is or will be.
fn key_rights(task: &Pct, found: &Found, key: &str, wanted: &str, now: Option<&str>, privileged: bool) -> Vec<Right> {
    let to = format!("set `{key}` of container {}", task.vmid);
    let like_this = || vec![Right::root(format!("set `{key}` of container {} like this", task.vmid))];
    let parse = |text: &str| values::shape_of(key).and_then(|shape| Property::parse(shape, text).ok());
    let config = |privilege: &str| Right::to(&to, format!("/vms/{}", task.vmid), privilege);
    match key.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "hookscript" => like_this(),
        "features" => {
            // What `nesting` stands beside may not change.
            let others = |text: &str| {
                let mut all = parse(text).map(|features| features.values).unwrap_or_default();
                all.remove("nesting");
                all
            };
            let same = now.is_some_and(|now| parse(wanted).zip(parse(now)).is_some_and(|(w, n)| w.values == n.values))
                || others(wanted).is_empty();
            if privileged || !same { like_this() } else { vec![config("VM.Allocate")] }
        }
        "rootfs" | "mp" => {
            let is_path = |text: &str| parse(text).is_some_and(|v| v.get("volume").is_some_and(|v| v.starts_with('/')));
            if is_path(wanted) || now.is_some_and(is_path) { like_this() } else { vec![config("VM.Config.Disk")] }
        }
        "memory" | "swap" => vec![config("VM.Config.Memory")],
        "cores" => vec![config("VM.Config.CPU")],
        "nameserver" | "searchdomain" | "hostname" => vec![config("VM.Config.Network")],
        "net" => {
            let asked = found.pve_major.map(|major| major >= ASKS_FOR_BRIDGES);
            let bridge = parse(wanted).and_then(|net| {
                let tag = net.get("tag").map_or_else(String::new, |tag| format!("/{tag}"));
                let path = format!("/sdn/zones/localnetwork/{}{tag}", net.get("bridge")?);
                // A bridge may also be a network of another zone, whose name only its own configuration tells.
                Right::to(&to, path, "SDN.Use").if_asked(asked).map(Right::perhaps)
            });
            [config("VM.Config.Network")].into_iter().chain(bridge).collect()
        }
        _ => vec![config("VM.Config.Options")],
    }
}
