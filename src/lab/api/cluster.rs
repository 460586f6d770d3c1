//! `/`, `/version`, `/cluster/*` without HA: what the cluster as a whole says about itself.
//! Everything here is read from the nodes and their files; only the options are written.

use super::call::{Call, Outcome};
use super::lxc;
use super::request::Fault;
use super::storage;
use super::{acl, conf, formats};
use crate::lab::world::Flavour;
use serde_json::{Map, Value, json};

pub const REPOID: &str = "0307225d4bc8b3ed";

/// The release and version that a flavour plays.
pub fn release(flavour: Flavour) -> (&'static str, &'static str) {
    let version = flavour.pve_version();
    (version.rsplit_once('.').map_or(version, |(release, _)| release), version)
}

fn names(key: &str, words: &str) -> Value {
    words.split(' ').map(|word| json!({ key: word })).collect()
}

pub fn root(_: &mut Call) -> Outcome {
    Ok(names("subdir", "version cluster nodes storage access pools"))
}

pub fn version(call: &mut Call) -> Outcome {
    let (release, version) = release(call.flavour);
    Ok(json!({"release": release, "version": version, "repoid": REPOID}))
}

pub fn index(call: &mut Call) -> Outcome {
    let bulk = if call.flavour == Flavour::Pve9 { "bulk-action " } else { "" };
    let words = format!(
        "acme backup backup-info {bulk}ceph config firewall ha jobs log mapping metrics notifications nextid options \
         replication resources status tasks sdn"
    );
    Ok(names("name", &words))
}

pub fn status(call: &mut Call) -> Outcome {
    let nodes = call.site.nodes();
    let alone = call.cluster.name.is_empty();
    let mut out = Vec::new();
    if !alone {
        out.push(json!({
            "type": "cluster", "id": "cluster", "name": call.cluster.name, "nodes": nodes.len(),
            "quorate": u8::from(call.quorate()), "version": nodes.len() + 1,
        }));
    }
    for (at, node) in nodes.iter().enumerate() {
        out.push(json!({
            "type": "node", "id": format!("node/{}", node.name), "name": node.name, "ip": node.ip,
            "nodeid": if alone { 0 } else { at + 1 }, "online": u8::from(call.sees(node)),
            "local": u8::from(node.name == call.node), "level": "",
        }));
    }
    Ok(Value::Array(out))
}

pub fn config_nodes(call: &mut Call) -> Outcome {
    let nodes = call.site.nodes();
    let show = |(at, node): (usize, &super::site::SiteNode)| json!({"name": node.name, "node": node.name, "nodeid": (at + 1).to_string(), "quorum_votes": "1", "ring0_addr": node.ip});
    Ok(nodes.iter().enumerate().map(show).collect())
}

/// What a new node needs to join, with the fingerprint of each node's certificate.
pub fn join_info(call: &mut Call) -> Outcome {
    if call.cluster.name.is_empty() {
        return Err(Fault::die("node is not in a cluster, no join info available!"));
    }
    let preferred = call.get("node").unwrap_or(&call.node).to_owned();
    let nodes = call.site.nodes();
    if !nodes.iter().any(|node| node.name == preferred) {
        return Err(Fault::die(format!("unknown node '{preferred}'")));
    }
    let show = |(at, node): (usize, &super::site::SiteNode)| {
        json!({
            "name": node.name, "nodeid": (at + 1).to_string(), "quorum_votes": "1", "ring0_addr": node.ip,
            "pve_addr": node.ip, "pve_fp": call.site.fingerprint(&node.name),
        })
    };
    let list: Vec<Value> = nodes.iter().enumerate().map(show).collect();
    Ok(json!({
        "config_digest": conf::digest(&call.etc("corosync.conf")), "nodelist": list, "preferred_node": preferred,
        "totem": {
            "cluster_name": call.cluster.name, "config_version": nodes.len().to_string(), "ip_version": "ipv4-6",
            "interface": {"0": {"linknumber": "0"}}, "link_mode": "passive", "secauth": "on", "version": "2",
        },
    }))
}

pub fn next_id(call: &mut Call) -> Outcome {
    let taken = lxc::all(call.site);
    let free = |id: &u32| !taken.iter().any(|guest| guest.vmid == *id);
    if let Some(wanted) = call.get("vmid").and_then(|id| id.parse().ok()) {
        if free(&wanted) {
            return Ok(json!(wanted.to_string()));
        }
        return Err(Fault::param("vmid", format!("VM {wanted} already exists")));
    }
    let id =
        (100..1_000_000).find(free).ok_or_else(|| Fault::die("unable to get any free VMID in range [100, 1000000]"))?;
    Ok(json!(id.to_string()))
}

pub fn resources(call: &mut Call) -> Outcome {
    let kind = call.get("type").unwrap_or_default().to_string();
    let wanted = |word: &str| kind.is_empty() || kind == word;
    let mut out = Vec::new();
    if wanted("vm") {
        for guest in lxc::all(call.site) {
            if call.may(&format!("/vms/{}", guest.vmid), "VM.Audit") {
                out.push(lxc::status::as_resource(call, &guest));
            }
        }
    }
    if wanted("node") {
        let audit = call.may("/nodes", "Sys.Audit");
        for node in call.site.nodes() {
            let mut entry = json!({
                "type": "node", "id": format!("node/{}", node.name), "node": node.name, "level": "",
                "status": if call.sees(&node) { "online" } else { "offline" },
            });
            if audit && node.online {
                for (key, value) in super::nodes::figures() {
                    entry[key] = value;
                }
            }
            out.push(entry);
        }
    }
    if wanted("storage") {
        for node in call.site.nodes().into_iter().filter(|node| node.online) {
            for entry in storage::config(call).into_iter().filter(|entry| storage::on_node(entry, &node.name)) {
                if storage::may_see(call, &entry.id) {
                    out.push(storage::as_resource(call.cluster, call.site, &entry, &node.name));
                }
            }
        }
    }
    Ok(Value::Array(out))
}

/// `datacenter.cfg`: `key: value` lines.
fn datacenter(call: &Call) -> Map<String, Value> {
    let text = call.etc("datacenter.cfg");
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(key, value)| (key.trim().to_string(), json!(value.trim()))).collect()
}

pub fn options(call: &mut Call) -> Outcome {
    let mut data = datacenter(call);
    data.entry("description").or_insert(json!(""));
    data.entry("mac_prefix").or_insert(json!("BC:24:11"));
    data.insert("allowed-tags".into(), json!([]));
    Ok(Value::Object(data))
}

pub fn set_options(call: &mut Call) -> Outcome {
    call.need_file_lock("file-datacenter_cfg")?;
    let mut data = datacenter(call);
    for key in formats::split_list(call.get("delete").unwrap_or_default()) {
        data.remove(key);
    }
    for (key, value) in call.params.iter().filter(|(key, _)| !matches!(key.as_str(), "delete" | "digest")) {
        data.insert(key.clone(), json!(value));
    }
    let text: String =
        data.iter().map(|(key, value)| format!("{key}: {}\n", value.as_str().unwrap_or_default())).collect();
    call.write_etc("datacenter.cfg", &text)?;
    Ok(Value::Null)
}

/// Refuses when the file is not the one the caller has read.
pub fn need_digest(call: &Call, text: &str) -> Result<(), Fault> {
    match call.get("digest") {
        Some(digest) if digest != conf::digest(text) => {
            Err(Fault::die("detected modified configuration - file changed by other user? Try again."))
        }
        _ => Ok(()),
    }
}

/// Whether the caller may see anything of this guest; lists leave out what is not theirs.
pub fn may_see_guest(call: &Call, vmid: u32) -> bool {
    acl::has(call.cluster, &call.who, &format!("/vms/{vmid}"), "VM.Audit")
}
