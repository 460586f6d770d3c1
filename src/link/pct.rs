//! Links into containers, through whichever node runs them now: `pct exec` over the node's own link.
//!
//! Where a container is, is asked anew for each link and never remembered: HA moves it at any time.

use super::reach::{Reach, Way};
use super::{LinkError, discover, ssh};
use crate::pve::Client;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A container that is just moving is asked for until it has arrived.
const MOVES: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_secs(1);
/// Every node has it, and the same.
const LIST: &str = "/etc/pve/.vmlist";
/// For a question to a node.
const QUESTION: Duration = Duration::from_secs(30);

/// The nodes that may run containers, and how they are told where one is.
pub struct Nodes<'a> {
    pub reach: &'a BTreeMap<String, Reach>,
    /// Hosts of the group `nodes`.
    pub names: &'a [String],
    pub api: Option<&'a Client>,
}

/// Opens a link by `open(node, command prefix)`, at the node where the container is.
pub fn connect<T>(
    host: &str,
    vmid: u32,
    nodes: &Nodes<'_>,
    mut open: impl FnMut(&str, &[String]) -> Result<T, LinkError>,
) -> Result<T, LinkError> {
    let until = Instant::now() + MOVES;
    let prefix = ["pct", "exec", &vmid.to_string(), "--"].map(str::to_owned);
    loop {
        let node = nodes.of(host, vmid)?;
        let error = match open(&node, &prefix) {
            Ok(link) => return Ok(link),
            Err(error) => error,
        };
        let said = error.to_string();
        if said.contains("not running") {
            let why = format!("container {vmid} is stopped on {node}");
            return Err(LinkError::NotRunning { host: host.to_owned(), why });
        }
        // Told by the node where it was: what was asked a moment ago is old already.
        let moved = said.contains(&format!("lxc/{vmid}.conf' does not exist"));
        if !moved || Instant::now() > until {
            return Err(error);
        }
        std::thread::sleep(PAUSE);
    }
}

impl Nodes<'_> {
    fn of(&self, host: &str, vmid: u32) -> Result<String, LinkError> {
        let lost = |why: String| LinkError::Lost { host: host.to_owned(), why };
        let nowhere =
            || LinkError::NotRunning { host: host.to_owned(), why: format!("the cluster has no container {vmid}") };
        // A node's own list is exact at once; the API's is some seconds old, but is there when no node can be asked.
        let mut why = Vec::new();
        for (name, reach) in self.names.iter().filter_map(|name| Some((name, self.reach.get(name)?))) {
            let answer = match &reach.way {
                Way::Ssh(target) => ssh::output(target, &reach.as_root(), &["cat", LIST], QUESTION),
                Way::Local => std::fs::read_to_string(LIST).map_err(|e| format!("{LIST}: {e}")),
                Way::PveShell(_) => continue,
            };
            match answer {
                Ok(text) => return in_list(&text, vmid).map_err(lost)?.ok_or_else(nowhere),
                Err(reason) => why.push(format!("{name}: {reason}")),
            }
        }
        if let Some(api) = self.api {
            let found = discover(api).map_err(|e| lost(e.to_string()))?;
            let container = found.containers.into_iter().find(|c| c.vmid == vmid);
            return container.map(|c| c.node).ok_or_else(nowhere);
        }
        if why.is_empty() {
            why.push("the inventory has no group `nodes` of Proxmox nodes".into());
        }
        Err(lost(format!("no node tells where container {vmid} is: {}", why.join("; "))))
    }
}

/// `/etc/pve/.vmlist`: `{"ids": {"101": {"node": "pve1", "type": "lxc"}}}`.
fn in_list(text: &str, vmid: u32) -> Result<Option<String>, String> {
    let list: Json = serde_json::from_str(text).map_err(|e| format!("/etc/pve/.vmlist: {e}"))?;
    let Some(ids) = list["ids"].as_object() else {
        return Err("/etc/pve/.vmlist has no list of guests (is pve-cluster running?)".into());
    };
    let Some(guest) = ids.get(&vmid.to_string()) else { return Ok(None) };
    if guest["type"] != "lxc" {
        return Err(format!("{vmid} is no container"));
    }
    guest["node"].as_str().map(|node| Some(node.to_owned())).ok_or_else(|| "a guest without a node".into())
}

#[cfg(test)]
mod tests {
    use super::in_list;

    #[test]
    fn the_list_of_guests_tells_the_node() {
        let text = r#"{"version": 3, "ids": {"101": {"node": "pve2", "type": "lxc", "version": 9},
                       "100": {"node": "pve1", "type": "qemu", "version": 2}}}"#;
        assert_eq!(in_list(text, 101), Ok(Some("pve2".into())));
        assert_eq!(in_list(text, 102), Ok(None));
        assert!(in_list(text, 100).is_err());
        assert!(in_list("", 100).is_err());
        assert!(in_list("{}", 100).is_err());
    }
}
