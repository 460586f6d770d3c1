//! Where there is no container: whether, where and from what it may be made.

use super::look::{Device, Found, OnNode, config_of, file_of, listing_of, pending_of, status_of};
use super::{Pct, State};
use crate::host::{Method, Step};
use crate::pve::values;
use crate::tasks::cluster::{self, Nodes, Row, flag};
use crate::tasks::{Verdict, diff, pve_template};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

pub fn judge(task: &Pct, found: &Found, nodes: &Nodes<'_, OnNode>) -> Verdict {
    let vmid = task.vmid;
    if let Some(why) = &found.hidden {
        return Verdict::blocked(format!("cannot tell whether container {vmid} exists: {why}"));
    }
    if let Some(why) = unasked(task, found, nodes) {
        return Verdict::blocked(why);
    }
    if let Some((owner, _)) = nodes.values().find_map(|seen| seen.as_ref().ok()?.file.as_ref()) {
        return Verdict::blocked(format!(
            "{} exists, but the API does not show container {vmid}: does the account lack VM.Audit on /vms/{vmid}?",
            file_of(owner, vmid)
        ));
    }
    if task.password.is_some() && !task.adopt && !found.api_takes_secrets {
        return Verdict::blocked(
            "`password` would stand on the command line of pvesh, where everybody on the node can read it: ask the API \
             over the network, or leave it out and set it with `pct exec`"
                .to_owned(),
        );
    }
    if let Some(name) = task.node.as_ref().filter(|name| !found.nodes.iter().any(|n| n.name == **name)) {
        return Verdict::blocked(format!("no node of the cluster is named {name}"));
    }
    match data_on_device(task, nodes) {
        Some((node, _)) if task.adopt => return adopt(task, &node, nodes),
        Some((_, why)) => return Verdict::blocked(why),
        None => {}
    }
    let Some(template) = &task.ostemplate else {
        return Verdict::blocked(format!("there is no container {vmid}; say `ostemplate` to make it"));
    };
    let mut reasons = Vec::new();
    for node in found.nodes.iter().filter(|n| task.node.as_ref().is_none_or(|name| *name == n.name)) {
        match possible(task, found, nodes, &node.name, template) {
            Ok(volid) if node.online => return create(task, found, nodes, &node.name, &volid),
            Ok(_) => reasons.push(format!("{}: offline", node.name)),
            Err(why) => reasons.push(format!("{}: {why}", node.name)),
        }
    }
    Verdict::blocked(format!("no node can make container {vmid}: {}", reasons.join("; ")))
}

/// A node that was not asked may have what must not be overwritten.
fn unasked(task: &Pct, found: &Found, nodes: &Nodes<'_, OnNode>) -> Option<String> {
    let why = |node: &str, why: String| {
        format!(
            "{node} cannot be asked whether it holds container {} or its data, so it is not created: {why}",
            task.vmid
        )
    };
    if let Some((node, error)) = nodes.iter().find_map(|(node, seen)| Some((node, seen.as_ref().err()?))) {
        return Some(why(node, error.to_string()));
    }
    let missing = found.nodes.iter().find(|node| !nodes.contains_key(node.name.as_str()))?;
    // Only a device can hold data that the API knows nothing of.
    task.device().map(|_| why(&missing.name, "it is no host of the inventory".into()))
}

/// The first node that finds data on the device, and what it found.
fn data_on_device(task: &Pct, nodes: &Nodes<'_, OnNode>) -> Option<(String, String)> {
    let path = task.device()?;
    nodes.iter().find_map(|(node, seen)| {
        let device = seen.as_ref().ok()?.device.as_ref()?;
        let content = device.content();
        (!content.is_empty()).then(|| {
            let some = content.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            let why = format!(
                "{path} is not empty (on {node}: {some}{}): unpacking a template over it would mix two systems and lose \
                 data. If it is the root of this container, `adopt: true` writes a configuration for it; otherwise a \
                 person has to empty it",
                if content.len() > 5 { ", …" } else { "" }
            );
            ((*node).to_owned(), why)
        })
    })
}

/// The template to create from on a node, or why it cannot be done there.
fn possible(
    task: &Pct,
    found: &Found,
    nodes: &Nodes<'_, OnNode>,
    node: &str,
    template: &str,
) -> Result<String, String> {
    if let Some(path) = task.device() {
        let seen = nodes.get(node).and_then(|seen| seen.as_ref().ok()).and_then(|seen| seen.device.as_ref());
        match seen {
            Some(Device::Ext { .. }) => {}
            Some(Device::Missing) | None => return Err(format!("there is no {path}")),
            Some(Device::Blank) => return Err(format!("{path} has no file system yet; make one first (`filesystem`)")),
            Some(Device::Unreadable(why)) => return Err(format!("{path} cannot be read: {why}")),
            Some(Device::Other(kind)) => {
                return Err(format!("{path} carries {kind}; whether that is empty cannot be told, only for ext4"));
            }
        }
    }
    // A path on the node is root's own business.
    let Some((storage, rest)) = template.split_once(':') else { return Ok(template.to_owned()) };
    let wanted = rest.strip_prefix("vztmpl/").unwrap_or(rest);
    match found.templates.get(node) {
        Some(Ok(names)) => match pve_template::newest(wanted, names.iter().map(String::as_str)) {
            Some(name) => Ok(format!("{storage}:vztmpl/{name}")),
            None => Err(format!("{template} is not there (`pve_template` brings it)")),
        },
        Some(Err(why)) => Err(format!("the templates on {storage} cannot be told: {why}")),
        None => Err("offline".into()),
    }
}

fn create(task: &Pct, found: &Found, nodes: &Nodes<'_, OnNode>, node: &str, volid: &str) -> Verdict {
    let vmid = task.vmid;
    let mut config = task.keys();
    config.retain(|_, value| !value.is_empty());
    let after = text(&config, task.unprivileged(), task);
    let mut params = config.clone();
    params.insert("vmid".into(), vmid.to_string());
    params.insert("ostemplate".into(), volid.to_owned());
    params.insert("unprivileged".into(), flag(task.unprivileged()));
    params.extend(task.pubkey.clone().map(|keys| ("ssh-public-keys".to_owned(), keys)));
    params.extend(task.password.as_ref().map(|word| ("password".to_owned(), word.reveal().to_owned())));
    let mut steps = Vec::new();
    if let (Some(path), Some(Ok(seen))) = (task.device(), nodes.get(node)) {
        // The API's step cannot look at the device, so the node does, right before: the same empty directory or nothing.
        steps.extend(seen.device.as_ref().and_then(|device| still_so(&path, node, device)));
    }
    let step = Step::api(Method::Post, format!("/nodes/{node}/lxc"), params);
    steps.push(predict(task, step, found, node, &config));
    let summary = format!("create container {vmid} on {node} from {volid}");
    Verdict::stage(summary, diff::created(&file_of(node, vmid), &after), steps)
}

/// Looks at the device once more and refuses if its root directory is not as it was.
fn still_so(path: &str, node: &str, device: &Device) -> Option<Step> {
    let Device::Ext { listing, .. } = device else { return None };
    let mut step = Step::run(["blkid", "-p", path]).on(node);
    step.guards.push(crate::host::Guard {
        query: listing_of(path),
        rc: 0,
        stdout: Some(listing.clone()),
        reason: format!("{path} is no longer as it was looked at"),
    });
    Some(step)
}

/// What the questions of later tasks will be answered.
fn predict(task: &Pct, step: Step, found: &Found, node: &str, config: &BTreeMap<String, String>) -> Step {
    let status = if task.state == State::Started { "running" } else { "stopped" };
    let mut now: Row = config.iter().map(|(k, v)| (k.clone(), Json::from(v.as_str()))).collect();
    if task.unprivileged() {
        now.insert("unprivileged".into(), json!(1));
    }
    if task.lxc.is_some() {
        now.insert("lxc".into(), Json::from(task.raw().into_iter().map(|(k, v)| json!([k, v])).collect::<Vec<_>>()));
    }
    let row =
        json!({ "vmid": task.vmid, "id": format!("lxc/{}", task.vmid), "node": node, "type": "lxc", "status": status });
    let guests = cluster::with_row(&found.guests, "vmid", row.as_object().cloned().unwrap_or_default());
    let step = cluster::will_answer(step, cluster::guests(), guests);
    let step = cluster::will_answer(step, config_of(node, task.vmid), Json::Object(now));
    let step = cluster::will_answer(step, pending_of(node, task.vmid), json!([]));
    cluster::will_answer(step, status_of(node, task.vmid), json!({ "status": status, "vmid": task.vmid }))
}

/// The configuration as lines of its file.
fn text(config: &BTreeMap<String, String>, unprivileged: bool, task: &Pct) -> String {
    let mut out = String::new();
    for line in config.get("description").map(String::as_str).unwrap_or_default().lines() {
        out.push_str(&format!("#{}\n", comment(line)));
    }
    for (key, value) in config.iter().filter(|(key, _)| *key != "description") {
        out.push_str(&format!("{key}: {}\n", values::shown(key, value)));
    }
    if unprivileged {
        out.push_str("unprivileged: 1\n");
    }
    for (key, value) in task.raw() {
        out.push_str(&format!("{key}: {value}\n"));
    }
    out
}

/// A line of the description, as Proxmox keeps it in the file.
fn comment(line: &str) -> String {
    line.bytes()
        .map(|byte| match byte {
            b' '..=b'~' if !matches!(byte, b':' | b'%') => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Writes the file of a container whose root file system exists. No API call makes a container without unpacking
/// a template; the file is what `pct create` writes, and the cluster file system refuses a vmid that any node has.
fn adopt(task: &Pct, node: &str, nodes: &Nodes<'_, OnNode>) -> Verdict {
    let Some(Ok(OnNode { device: Some(device), .. })) = nodes.get(node) else {
        return Verdict::blocked(format!("{node} no longer shows the device"));
    };
    let content = device.content();
    if !(content.contains(&"etc") && (content.contains(&"usr") || content.contains(&"sbin"))) {
        return Verdict::blocked(format!(
            "the device holds no root file system to adopt (it has {}): /etc and /usr are missing",
            content.join(", ")
        ));
    }
    let mut config = task.keys();
    config.retain(|_, value| !value.is_empty());
    for (key, value) in [("arch", "amd64"), ("memory", "512"), ("swap", "512"), ("ostype", "unmanaged")] {
        config.entry(key.into()).or_insert_with(|| value.into());
    }
    for (key, value) in config.iter_mut().filter(|(key, _)| key.starts_with("net")) {
        // Without one the kernel would draw another at every start.
        if !value.contains("hwaddr=") {
            value.push_str(&format!(",hwaddr={}", hardware_address(task.vmid, key)));
        }
    }
    let path = task.device().unwrap_or_default();
    let file = text(&config, task.unprivileged.unwrap_or(false), task);
    let mut steps: Vec<Step> = still_so(&path, node, device).into_iter().collect();
    steps.push(Step::write(file_of(node, task.vmid), file.clone()).on(node));
    let summary = format!("adopt the root file system on {path} as container {} on {node}", task.vmid);
    Verdict::stage(summary, diff::created(&file_of(node, task.vmid), &file), steps)
}

/// Always the same for the same interface, with the prefix that Proxmox uses.
fn hardware_address(vmid: u32, key: &str) -> String {
    let hash = Sha256::digest(format!("{vmid}/{key}"));
    format!("BC:24:11:{:02X}:{:02X}:{:02X}", hash[0], hash[1], hash[2])
}
