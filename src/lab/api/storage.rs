//! `/storage` and `/nodes/{node}/storage`: the definitions in `storage.cfg` and what a node makes of them.
//! Directories and NFS are played through; other types can be defined and are shown, nothing more.

use super::call::{Call, Outcome, etc};
use super::cluster::need_digest;
use super::conf::{Section, Sections, digest};
use super::formats::split_list;
use super::request::Fault;
use super::site::Site;
use super::state::Cluster;
use super::{acl, lxc};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const FILE: &str = "storage.cfg";
const FIRST: [&str; 5] = ["path", "server", "export", "vgname", "thinpool"];
const GIB: u64 = 1 << 30;

fn read(call: &Call) -> (Sections, String) {
    let text = call.etc(FILE);
    (Sections::parse(&text), text)
}

/// Every storage, `local` among them even where the file does not name it.
pub fn config(call: &Call) -> Vec<Section> {
    of_site(call.site, &call.node)
}

pub fn of_site(site: &dyn Site, node: &str) -> Vec<Section> {
    let mut list = Sections::parse(&etc(site, node, FILE)).list;
    if !list.iter().any(|section| section.id == "local") {
        let keys = [
            ("path", "/var/lib/vz"),
            ("content", "rootdir,images,backup,iso,snippets,vztmpl"),
            ("prune-backups", "keep-all=1"),
            ("priority", "0"),
        ];
        let keys = keys.into_iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        list.push(Section { kind: "dir".into(), id: "local".into(), keys });
    }
    list
}

/// The storage of that name, or PVE's text.
pub fn get(site: &dyn Site, node: &str, id: &str) -> Result<Section, String> {
    let found = of_site(site, node).into_iter().find(|section| section.id == id);
    found.ok_or_else(|| format!("storage '{id}' does not exist"))
}

pub fn on_node(entry: &Section, node: &str) -> bool {
    entry.keys.get("nodes").is_none_or(|nodes| split_list(nodes).any(|name| name == node))
}

pub fn holds(entry: &Section, content: &str) -> bool {
    let default = if entry.kind == "dir" { "images,rootdir,vztmpl,iso,backup,snippets" } else { "images,rootdir" };
    split_list(entry.keys.get("content").map_or(default, String::as_str)).any(|word| word == content)
}

fn is_network(kind: &str) -> bool {
    matches!(kind, "nfs" | "cifs" | "cephfs" | "rbd" | "iscsi" | "glusterfs" | "pbs")
}

fn is_shared(entry: &Section) -> bool {
    is_network(&entry.kind) || entry.keys.get("shared").is_some_and(|word| word == "1")
}

fn is_enabled(entry: &Section) -> bool {
    entry.keys.get("disable").is_none_or(|word| word != "1")
}

/// Where a file-based storage is mounted or lies.
pub fn directory(entry: &Section) -> Option<String> {
    match entry.kind.as_str() {
        "nfs" | "cifs" | "cephfs" => Some(format!("/mnt/pve/{}", entry.id)),
        _ => entry.keys.get("path").cloned(),
    }
}

/// Whether an NFS server answers: a running container with that address does, nothing else in the lab exports.
fn is_online(site: &dyn Site, entry: &Section) -> bool {
    let Some(server) = entry.keys.get("server") else { return true };
    lxc::all(site).iter().any(|guest| {
        let nets = guest.conf.main.keys.iter().filter(|(key, _)| key.starts_with("net"));
        let mut addresses = nets.flat_map(|(_, net)| net.split(',')).filter_map(|part| part.strip_prefix("ip="));
        site.running(guest.vmid).is_some()
            && addresses.any(|ip| ip.split('/').next().is_some_and(|address| address == server))
    })
}

pub fn may_see(call: &Call, id: &str) -> bool {
    let held = acl::privileges(call.cluster, &call.who, &format!("/storage/{id}"));
    held.contains("Datastore.Audit") || held.contains("Datastore.AllocateSpace")
}

fn show(entry: &Section, digest: &str) -> Value {
    let mut map = Map::new();
    for (key, value) in &entry.keys {
        let number = matches!(key.as_str(), "disable" | "shared" | "priority" | "is_mountpoint" | "mkdir");
        map.insert(
            key.clone(),
            match value.parse::<i64>() {
                Ok(number_value) if number => json!(number_value),
                _ => json!(value),
            },
        );
    }
    if is_network(&entry.kind) && entry.kind == "nfs" {
        map.insert("path".into(), json!(directory(entry)));
    }
    map.insert("storage".into(), json!(entry.id));
    map.insert("type".into(), json!(entry.kind));
    map.insert("digest".into(), json!(digest));
    Value::Object(map)
}

pub fn list(call: &mut Call) -> Outcome {
    let (_, text) = read(call);
    let kind = call.get("type");
    let wanted = |entry: &&Section| kind.is_none_or(|kind| entry.kind == kind) && may_see(call, &entry.id);
    Ok(config(call).iter().filter(wanted).map(|entry| show(entry, &digest(&text))).collect())
}

pub fn read_one(call: &mut Call) -> Outcome {
    let (_, text) = read(call);
    let entry = get(call.site, &call.node, call.param("storage")).map_err(Fault::die)?;
    Ok(show(&entry, &digest(&text)))
}

pub fn create(call: &mut Call) -> Outcome {
    let (id, kind) = (call.param("storage").to_string(), call.param("type").to_string());
    let needed: &[&str] = match kind.as_str() {
        "dir" | "btrfs" => &["path"],
        "nfs" => &["server", "export"],
        "lvm" => &["vgname"],
        "lvmthin" => &["vgname", "thinpool"],
        "zfspool" => &["pool"],
        _ => &[],
    };
    if let Some(missing) = needed.iter().find(|key| call.get(key).is_none()) {
        return Err(Fault::die(format!("missing value for required option '{missing}'")));
    }
    let fail = |text: String| Fault::die(format!("create storage failed: {text}"));
    call.need_file_lock("file-storage_cfg").map_err(|fault| fail(fault.text()))?;
    let (mut all, _) = read(call);
    if get(call.site, &call.node, &id).is_ok() && (all.get(&id).is_some() || id == "local") {
        return Err(fail(format!("storage ID '{id}' already defined")));
    }
    let skip = ["storage", "type", "digest"];
    let keys = call.params.iter().filter(|(key, _)| !skip.contains(&key.as_str()));
    let entry =
        Section { kind: kind.clone(), id: id.clone(), keys: keys.map(|(k, v)| (k.clone(), v.clone())).collect() };
    if is_enabled(&entry) && on_node(&entry, &call.node) && !is_online(call.site, &entry) {
        return Err(fail(format!("storage '{id}' is not online")));
    }
    all.list.push(entry);
    write(call, all)?;
    Ok(json!({"storage": id, "type": kind}))
}

/// Whatever is written, `local` is written with it.
fn write(call: &mut Call, mut all: Sections) -> Result<(), Fault> {
    if all.get("local").is_none()
        && let Ok(mut local) = get(call.site, &call.node, "local")
    {
        local.keys.remove("priority");
        all.list.push(local);
    }
    call.write_etc(FILE, &all.render(&FIRST))
}

pub fn update(call: &mut Call) -> Outcome {
    let id = call.param("storage").to_string();
    change(call, &id).map_err(|fault| fault.within("update storage failed"))
}

fn change(call: &mut Call, id: &str) -> Outcome {
    call.need_file_lock("file-storage_cfg")?;
    let (mut all, text) = read(call);
    need_digest(call, &text)?;
    if all.get(id).is_none() {
        // The built-in `local` becomes a written one with its first change.
        let mut entry = get(call.site, &call.node, id).map_err(Fault::die)?;
        entry.keys.remove("priority");
        all.list.push(entry);
    }
    let skip = ["storage", "digest", "delete"];
    let set: Vec<(String, String)> =
        call.params.iter().filter(|(k, _)| !skip.contains(&k.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect();
    let delete: Vec<String> = split_list(call.get("delete").unwrap_or_default()).map(str::to_string).collect();
    let mut kind = String::new();
    if let Some(entry) = all.get_mut(id) {
        for key in delete {
            if FIRST.contains(&key.as_str()) {
                return Err(Fault::param("delete", format!("unable to delete required option '{key}'")));
            }
            entry.keys.remove(&key);
        }
        entry.keys.extend(set);
        kind.clone_from(&entry.kind);
    }
    write(call, all)?;
    Ok(json!({"storage": id, "type": kind}))
}

pub fn delete(call: &mut Call) -> Outcome {
    let id = call.param("storage").to_string();
    let fail = |text: String| Fault::die(format!("delete storage failed: {text}"));
    call.need_file_lock("file-storage_cfg").map_err(|fault| fail(fault.text()))?;
    let (mut all, _) = read(call);
    let before = all.list.len();
    all.list.retain(|entry| entry.id != id);
    if all.list.len() == before {
        return Err(fail(format!("storage '{id}' does not exist")));
    }
    write(call, all)?;
    Ok(Value::Null)
}

/// What a node reports of a storage. Sizes are constant.
fn figures(site: &dyn Site, entry: &Section, node: &str) -> Map<String, Value> {
    let enabled = is_enabled(entry) && on_node(entry, node);
    let active = enabled && is_online(site, entry);
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| map.insert(key.into(), value);
    put("type", json!(entry.kind));
    put("content", json!(entry.keys.get("content").map_or("images,rootdir", String::as_str)));
    put("enabled", json!(u8::from(enabled)));
    put("active", json!(u8::from(active)));
    put("shared", json!(u8::from(is_shared(entry))));
    let (total, used) = if active { (100 * GIB, 8 * GIB) } else { (0, 0) };
    put("total", json!(total));
    put("used", json!(used));
    put("avail", json!(total - used));
    map
}

pub fn of_node(call: &mut Call) -> Outcome {
    let node = call.get("target").unwrap_or(&call.node).to_string();
    let mut out = Vec::new();
    for entry in config(call) {
        let wanted = call.get("content").is_none_or(|content| split_list(content).any(|word| holds(&entry, word)))
            && call.get("storage").is_none_or(|id| entry.id == id)
            && on_node(&entry, &node)
            && (!call.flag("enabled") || is_enabled(&entry))
            && may_see(call, &entry.id);
        if !wanted {
            continue;
        }
        let mut map = figures(call.site, &entry, &node);
        map.insert("storage".into(), json!(entry.id));
        let used = map["used"].as_u64().unwrap_or(0) as f64;
        if let Some(total) = map["total"].as_u64().filter(|total| *total > 0) {
            map.insert("used_fraction".into(), json!(used / total as f64));
        }
        out.push(Value::Object(map));
    }
    Ok(Value::Array(out))
}

pub fn index(_: &mut Call) -> Outcome {
    Ok(["content", "status", "upload"].iter().map(|word| json!({ "subdir": word })).collect())
}

pub fn status(call: &mut Call) -> Outcome {
    let node = call.node.clone();
    let entry =
        get(call.site, &node, call.param("storage")).map_err(|_| Fault::param("storage", "No such storage."))?;
    Ok(Value::Object(figures(call.site, &entry, &node)))
}

/// As pvestatd saw it last: what is not active has no figures and the status `unknown`.
pub fn as_resource(cluster: &Cluster, site: &dyn Site, entry: &Section, node: &str) -> Value {
    let active = is_online(site, entry) && !cluster.hung_storages.contains(&entry.id);
    let mut row = json!({
        "type": "storage", "id": format!("storage/{node}/{}", entry.id), "storage": entry.id, "node": node,
        "plugintype": entry.kind, "status": if active { "available" } else { "unknown" },
        "shared": u8::from(is_shared(entry)),
        "content": entry.keys.get("content").map_or("images,rootdir", String::as_str),
    });
    if active {
        (row["disk"], row["maxdisk"]) = (json!(8 * GIB), json!(100 * GIB));
    }
    row
}

/// Whether a call waits for a storage that hangs: whatever asks a node of what it makes of a storage.
pub fn hangs(cluster: &Cluster, site: &dyn Site, node: &str, route: &str, params: &BTreeMap<String, String>) -> bool {
    if cluster.hung_storages.is_empty() || !route.contains("/nodes/{node}/storage") {
        return false;
    }
    let asked = params.get("storage");
    let mut hung = of_site(site, node).into_iter().filter(|entry| cluster.hung_storages.contains(&entry.id));
    hung.any(|entry| asked.is_none_or(|id| *id == entry.id) && is_enabled(&entry) && on_node(&entry, node))
}
