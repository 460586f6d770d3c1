//! `/nodes/{node}/lxc/{vmid}/config` and `/pending`.
//! Raw `lxc.*` lines are shown and kept, never set: PVE offers no way either.

use super::modify::{self, is_indexed};
use super::{check_lock, load, save};
use crate::lab::api::call::{Call, Outcome};
use crate::lab::api::cluster::need_digest;
use crate::lab::api::conf::{GuestConf, Keys, digest};
use crate::lab::api::formats::split_list;
use crate::lab::api::request::Fault;
use crate::lab::api::schema::{self, Route};
use crate::lab::api::{content, verify};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

fn update_route(call: &Call) -> Option<&'static Route> {
    let route = "PUT /nodes/{node}/lxc/{vmid}/config";
    schema::routes(call.flavour).iter().find(|entry| entry.route == route)
}

/// Numbers and flags are numbers in answers.
fn typed(call: &Call, key: &str, value: &str) -> Value {
    let kind = update_route(call).and_then(|route| verify::lookup(&route.properties, key)).map(|p| p.kind.as_str());
    match kind {
        Some("integer" | "boolean" | "number") => value.parse::<i64>().map_or_else(|_| json!(value), |n| json!(n)),
        _ if matches!(key, "unprivileged" | "template") => json!(u8::from(value == "1")),
        _ => json!(value),
    }
}

pub fn read(call: &mut Call) -> Outcome {
    let (conf, text) = load(call.site, &call.node, call.vmid()).map_err(Fault::die)?;
    if let Some(name) = call.get("snapshot") {
        return Err(Fault::die(format!("snapshot '{name}' does not exist")));
    }
    let keys = if call.flag("current") { conf.main } else { conf.merged() };
    let mut data: Map<String, Value> =
        keys.iter().map(|(key, value)| (key.to_string(), typed(call, key, value))).collect();
    if !keys.lxc.is_empty() {
        data.insert("lxc".into(), json!(keys.lxc));
    }
    data.insert("digest".into(), json!(digest(&text)));
    Ok(Value::Object(data))
}

pub fn pending(call: &mut Call) -> Outcome {
    let (conf, text) = load(call.site, &call.node, call.vmid()).map_err(Fault::die)?;
    let mut out = vec![json!({"key": "digest", "value": digest(&text)})];
    for (key, value) in conf.main.iter() {
        let mut entry = json!({"key": key, "value": typed(call, key, value)});
        if let Some(new) = conf.pending.get(key) {
            entry["pending"] = typed(call, key, new);
        }
        if conf.pending_delete.iter().any(|name| name == key) {
            entry["delete"] = json!(1);
        }
        out.push(entry);
    }
    for (key, value) in conf.pending.iter().filter(|(key, _)| conf.main.get(key).is_none()) {
        out.push(json!({"key": key, "pending": typed(call, key, value)}));
    }
    Ok(Value::Array(out))
}

/// What a running container takes at once; everything else waits for the next start.
fn takes_at_once(conf: &Keys, key: &str) -> bool {
    let at_once = [
        "description",
        "onboot",
        "startup",
        "protection",
        "hostname",
        "hookscript",
        "cores",
        "tags",
        "lock",
        "memory",
        "swap",
        "cpulimit",
        "cpuunits",
    ];
    at_once.contains(&key)
        || is_indexed(key, "net")
        || is_indexed(key, "dev")
        || (is_indexed(key, "mp") && conf.get(key).is_none())
}

pub fn update(call: &mut Call) -> Outcome {
    let vmid = call.vmid();
    let words = |key: &str| split_list(call.get(key).unwrap_or_default()).map(str::to_string).collect::<Vec<_>>();
    let (delete, revert) = (words("delete"), words("revert"));
    let control = ["node", "vmid", "digest", "delete", "revert"];
    let set: BTreeMap<String, String> = call
        .params
        .iter()
        .filter(|(key, _)| !control.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if delete.is_empty() && revert.is_empty() && set.is_empty() {
        return Err(Fault::die("no options specified"));
    }
    for key in &delete {
        if set.contains_key(key) {
            let text = format!("you can't use '-{key}' and -delete {key}' at the same time");
            return Err(Fault::param("delete", text));
        }
        let known = update_route(call).is_some_and(|route| verify::lookup(&route.properties, key).is_some());
        if !known || control.contains(&key.as_str()) {
            return Err(Fault::param("delete", format!("unknown option '{key}'")));
        }
    }
    let (mut conf, text) = load(call.site, &call.node, vmid).map_err(Fault::die)?;
    let privileged = conf.main.get("unprivileged") != Some("1");
    modify::check_permissions(call, vmid, &set, &delete, &conf.main.keys, !privileged)?;
    if let Some(volume) = set.get("hookscript") {
        content::check_hookscript(call.site, &call.node, volume).map_err(Fault::die)?;
    }
    check_lock(&conf).map_err(Fault::die)?;
    need_digest(call, &text)?;
    change(call, &mut conf, &set, &delete, &revert)?;
    save(call, vmid, &conf)?;
    if call.site.running(vmid).is_none()
        && let Some(bridge) = modify::missing_bridge(call, &conf.main.keys)
    {
        // The file is written by then: an error here is not "nothing happened".
        return Err(Fault::die(format!("bridge '{bridge}' does not exist")));
    }
    Ok(Value::Null)
}

fn change(
    call: &mut Call,
    conf: &mut GuestConf,
    set: &BTreeMap<String, String>,
    delete: &[String],
    revert: &[String],
) -> Result<(), Fault> {
    let running = call.site.running(call.vmid()).is_some();
    for key in revert {
        conf.pending.remove(key);
        conf.pending_delete.retain(|name| name != key);
    }
    for key in delete {
        if matches!(key.as_str(), "rootfs" | "memory" | "ostype") {
            return Err(Fault::die(format!("unable to delete required option '{key}'")));
        }
        if key == "unprivileged" {
            return Err(Fault::die(format!("unable to delete read-only option '{key}'")));
        }
        conf.pending.remove(key);
        if running && !takes_at_once(&conf.main, key) {
            if conf.main.get(key).is_some() && !conf.pending_delete.contains(key) {
                conf.pending_delete.push(key.clone());
            }
        } else {
            conf.main.remove(key);
        }
    }
    for (key, value) in set {
        if matches!(key.as_str(), "unprivileged" | "ostype") {
            return Err(Fault::die(format!("unable to modify read-only option: '{key}'")));
        }
        if key == "rootfs" && !super::volume_of(value).starts_with('/') {
            crate::lab::api::formats::parse_volume_id(super::volume_of(value)).map_err(Fault::die)?;
        }
        let value = modify::normalise(call, key, value, false);
        conf.pending_delete.retain(|name| name != key);
        conf.pending.remove(key);
        if running && !takes_at_once(&conf.main, key) {
            if conf.main.get(key) != Some(&value) {
                conf.pending.set(key, &value);
            }
        } else if value.is_empty() {
            conf.main.remove(key);
        } else {
            conf.main.set(key, &value);
        }
    }
    Ok(())
}
