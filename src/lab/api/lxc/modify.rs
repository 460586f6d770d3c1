//! What create and update share: who may set which key, and how values are re-printed before they are stored.
//! It stores nothing itself.

use super::{option_of, volume_of};
use crate::lab::api::call::Call;
use crate::lab::api::formats::{self, split_list};
use crate::lab::api::request::Fault;
use std::collections::{BTreeMap, BTreeSet};

/// Names a number follows: `net0`, `mp3`.
pub fn is_indexed(key: &str, stem: &str) -> bool {
    key.strip_prefix(stem).is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit()))
}

/// Whether the caller may set or remove these keys; `current` is what is set now, `unprivileged` what holds after.
pub fn check_permissions(
    call: &Call,
    vmid: u32,
    set: &BTreeMap<String, String>,
    delete: &[String],
    current: &BTreeMap<String, String>,
    unprivileged: bool,
) -> Result<(), Fault> {
    if call.who.is_root() {
        return Ok(());
    }
    let path = format!("/vms/{vmid}");
    let keys: BTreeSet<&String> = set.keys().chain(delete).collect();
    for key in keys {
        let value = set.get(key).map_or("", String::as_str);
        match key.as_str() {
            "rootfs" => mount_point(call, &path, value, current.get(key))?,
            key if is_indexed(key, "mp") => mount_point(call, &path, value, current.get(key))?,
            "memory" | "swap" => call.need(&path, "VM.Config.Memory")?,
            "cores" | "cpulimit" | "cpuunits" => call.need(&path, "VM.Config.CPU")?,
            "nameserver" | "searchdomain" | "hostname" => call.need(&path, "VM.Config.Network")?,
            key if is_indexed(key, "net") => call.need(&path, "VM.Config.Network")?,
            key if is_indexed(key, "dev") => {
                return Err(Fault::forbidden("configuring device passthrough is only allowed for root@pam"));
            }
            "hookscript" => {
                return Err(Fault::forbidden("changing the hookscript is only allowed for root@pam"));
            }
            "features" => {
                call.need(&path, "VM.Allocate")?;
                if !unprivileged {
                    let text = "changing feature flags for privileged container is only allowed for root@pam";
                    return Err(Fault::forbidden(text));
                }
                let words = |text: &str| -> BTreeSet<String> {
                    text.split(',').filter(|w| !w.is_empty() && !w.starts_with("nesting")).map(str::to_string).collect()
                };
                if words(value) != words(current.get("features").map_or("", String::as_str)) {
                    let text = "changing feature flags (except nesting) is only allowed for root@pam";
                    return Err(Fault::forbidden(text));
                }
            }
            _ => call.need(&path, "VM.Config.Options")?,
        }
    }
    Ok(())
}

fn mount_point(call: &Call, path: &str, value: &str, current: Option<&String>) -> Result<(), Fault> {
    call.need(path, "VM.Config.Disk")?;
    for text in [Some(value), current.map(String::as_str)].into_iter().flatten() {
        let kind = match volume_of(text) {
            volume if volume.starts_with("/dev/") => "device",
            volume if volume.starts_with('/') => "bind",
            _ => continue,
        };
        return Err(Fault::forbidden(format!("mount point type {kind} is only allowed for root@pam")));
    }
    Ok(())
}

/// The value as PVE stores it. `created` re-prints root file systems too, an update keeps them as sent.
pub fn normalise(call: &mut Call, key: &str, value: &str, created: bool) -> String {
    if is_indexed(key, "net") {
        return network(call, value);
    }
    match key {
        "tags" => {
            let tags: BTreeSet<String> = split_list(value).map(str::to_lowercase).collect();
            tags.into_iter().collect::<Vec<_>>().join(";")
        }
        "nameserver" | "searchdomain" => split_list(value).collect::<Vec<_>>().join(" "),
        "rootfs" if !created => value.to_string(),
        "rootfs" => volume(value),
        key if is_indexed(key, "mp") => volume(value),
        _ => value.to_string(),
    }
}

/// The volume first and without its key, the rest by name.
pub fn volume(value: &str) -> String {
    let mut rest: Vec<String> = value
        .split(',')
        .filter_map(|part| part.split_once('='))
        .filter(|(key, _)| *key != "volume")
        .map(|(key, text)| match key {
            "size" => format!("size={}", formats::size_bytes(text).map_or(text.into(), formats::print_size)),
            _ => format!("{key}={}", formats::boolean(text).map_or(text.to_string(), |b| u8::from(b).to_string())),
        })
        .collect();
    rest.sort();
    rest.insert(0, volume_of(value).to_string());
    rest.join(",")
}

fn network(call: &mut Call, value: &str) -> String {
    let mut parts: BTreeMap<String, String> = value
        .split(',')
        .filter_map(|part| part.trim().split_once('='))
        .map(|(key, text)| (key.to_string(), text.to_string()))
        .collect();
    if option_of(value, "hwaddr").is_none() {
        parts.insert("hwaddr".into(), call.cluster.next_mac());
    }
    parts.entry("type".into()).or_insert("veth".into());
    let name = parts.remove("name").unwrap_or_default();
    let rest: String = parts.iter().map(|(key, text)| format!(",{key}={text}")).collect();
    format!("name={name}{rest}")
}

/// The bridges that networks of these keys name and that the node does not have.
pub fn missing_bridge(call: &Call, keys: &BTreeMap<String, String>) -> Option<String> {
    let networks = keys.iter().filter(|(key, _)| is_indexed(key, "net"));
    let mut bridges = networks.filter_map(|(_, net)| option_of(net, "bridge"));
    bridges.find(|bridge| !call.site.has_bridge(&call.node, bridge)).map(str::to_string)
}
