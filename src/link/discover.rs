//! Which nodes and containers a cluster has, as its API tells. An answer with names that Proxmox gives to nothing is no
//! answer.

use crate::host::{ApiGet, LookError, Probe};
use crate::inventory::cluster::{Container, Discovered, Status};
use crate::pve::{Client, Error, values};
use serde_json::Value as Json;

/// Asks for what a run needs to know of a cluster before it begins.
pub fn discover(client: &Client) -> Result<Discovered, Error> {
    let status = client.cluster_status()?;
    let resources = client.get("/cluster/resources", [("type", "vm")])?;
    let found = Discovered { nodes: nodes(&status), containers: containers(&resources) };
    found.proved().map_err(|why| Error::BadAnswer { path: "/cluster/status and /cluster/resources".into(), why })
}

/// The same, asked through a node; and the node's own name.
///
/// # Errors
/// Also where this is no node of Proxmox.
pub fn discover_on_node(node: &dyn Probe) -> Result<(String, Discovered), LookError> {
    let status = node.api(&ApiGet::new("/cluster/status"))?;
    let local = status.as_array().into_iter().flatten().find(|e| e["type"] == "node" && values::truthy(e.get("local")));
    let Some(me) = local.and_then(|entry| values::text(&entry["name"])) else {
        return Err(LookError::cannot_tell("pvesh get /cluster/status", "it does not say which node this is"));
    };
    let resources = node.api(&ApiGet::new("/cluster/resources").param("type", "vm"))?;
    let found = Discovered { nodes: nodes(&status), containers: containers(&resources) };
    let found =
        found.proved().map_err(|why| LookError::cannot_tell("pvesh get /cluster/status, /cluster/resources", why))?;
    Ok((me, found))
}

/// A standalone node has no entry of type `cluster`, but is there as a node.
fn nodes(status: &Json) -> std::collections::BTreeMap<String, Option<String>> {
    let entries = status.as_array().into_iter().flatten();
    let nodes = entries.filter(|entry| entry["type"] == "node");
    nodes
        .filter_map(|node| {
            let address = values::text(&node["ip"]).filter(|ip| !ip.is_empty());
            Some((values::text(&node["name"])?, address))
        })
        .collect()
}

fn containers(resources: &Json) -> Vec<Container> {
    let entries = resources.as_array().into_iter().flatten();
    let of_kind = entries.filter(|entry| entry["type"] == "lxc" && !values::truthy(entry.get("template")));
    let mut found: Vec<Container> = of_kind
        .filter_map(|entry| {
            let text = |key: &str| values::text(&entry[key]).filter(|text| !text.is_empty());
            Some(Container {
                vmid: values::number(&entry["vmid"])? as u32,
                node: text("node")?,
                name: text("name").unwrap_or_default(),
                tags: text("tags")
                    .map(|tags| values::list(&tags).into_iter().map(str::to_owned).collect())
                    .unwrap_or_default(),
                pool: text("pool"),
                status: match entry["status"].as_str() {
                    Some("running") => Status::Running,
                    Some("stopped") => Status::Stopped,
                    _ => Status::Unknown,
                },
            })
        })
        .collect();
    // The order of the answer changes from call to call.
    found.sort_by_key(|container| container.vmid);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_are_read_as_proxmox_writes_them() {
        let status = json!([
            {"type": "cluster", "name": "c", "nodes": 2, "quorate": 1},
            {"type": "node", "name": "pve2", "ip": "192.0.2.12", "online": 0},
            {"type": "node", "name": "pve1", "ip": "192.0.2.11", "online": 1, "local": 1},
        ]);
        let nodes = nodes(&status);
        assert_eq!(nodes.keys().collect::<Vec<_>>(), ["pve1", "pve2"]);
        assert_eq!(nodes["pve2"].as_deref(), Some("192.0.2.12"));
        let resources = json!([
            {"type": "lxc", "vmid": "102", "node": "pve2", "status": "stopped"},
            {"type": "qemu", "vmid": 100, "node": "pve1"},
            {"type": "lxc", "vmid": 101, "node": "pve1", "status": "running", "tags": "nfs;prod", "pool": "a", "name": "nfs1"},
            {"type": "lxc", "vmid": 900, "node": "pve1", "template": 1},
            {"type": "lxc", "vmid": 103, "node": "pve2", "status": "unknown"},
        ]);
        let found = containers(&resources);
        assert_eq!(found.iter().map(|c| c.vmid).collect::<Vec<_>>(), [101, 102, 103]);
        assert_eq!(
            (found[0].tags.join(","), found[0].status, found[0].pool.as_deref()),
            ("nfs,prod".into(), Status::Running, Some("a"))
        );
        assert_eq!((found[1].status, found[2].status), (Status::Stopped, Status::Unknown));
    }
}
