//! What discovery found in a cluster, and what can be told of a container: it runs, it does not, or nobody knows.
//!
//! Refuses names and addresses that Proxmox itself would refuse: they become hosts, and words for `ssh`.

use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The variables that a discovered container has.
pub const NAMES: [&str; 3] = ["pve_name", "pve_vmid", "pve_tags"];

/// Hosts and groups that are not the cluster's to name: tasks for them must not go to a node.
const OURS: [&str; 5] = ["localhost", "cluster", "all", "nodes", "containers"];

#[derive(Debug, Clone, Default)]
pub struct Discovered {
    /// Node → its address in the cluster.
    pub nodes: BTreeMap<String, Option<String>>,
    pub containers: Vec<Container>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    pub vmid: u32,
    pub node: String,
    pub name: String,
    pub tags: Vec<String>,
    pub pool: Option<String>,
    pub status: Status,
}

/// What the cluster knows of a container. A node that is off or hung says nothing of what is on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Status {
    Running,
    Stopped,
    #[default]
    Unknown,
}

/// What a group asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Wanted {
    Running,
    Stopped,
}

impl Wanted {
    pub fn may_be(self, status: Status) -> bool {
        match status {
            Status::Running => self == Self::Running,
            Status::Stopped => self == Self::Stopped,
            Status::Unknown => true,
        }
    }
}

impl Container {
    /// The host that it is in an inventory.
    pub fn host(&self) -> String {
        format!("ct:{}", self.vmid)
    }

    pub(super) fn variables(&self) -> [(&'static str, Json); 3] {
        let [name, vmid, tags] = NAMES;
        [(name, self.name.clone().into()), (vmid, self.vmid.into()), (tags, self.tags.clone().into())]
    }
}

impl Discovered {
    /// # Errors
    /// A name or an address that Proxmox gives to nothing, or text with control characters in it; quoted so that it can
    /// be shown.
    pub fn proved(self) -> Result<Self, String> {
        for (name, address) in &self.nodes {
            if !is_node_name(name) {
                return Err(format!("{name:?} is no name of a node"));
            }
            if OURS.contains(&name.as_str()) {
                return Err(format!("a node is named {name:?}, which means something else in a playbook"));
            }
            if let Some(address) = address.as_ref().filter(|text| text.parse::<IpAddr>().is_err()) {
                return Err(format!("{address:?} is no address of the node {name}"));
            }
        }
        for container in &self.containers {
            let vmid = container.vmid;
            if !is_node_name(&container.node) {
                return Err(format!("container {vmid} is on {:?}, which is no name of a node", container.node));
            }
            let mut texts = [&container.name].into_iter().chain(&container.tags).chain(&container.pool);
            if let Some(text) = texts.find(|text| text.contains(char::is_control)) {
                return Err(format!("container {vmid} has {text:?} for a name, tag or pool"));
            }
        }
        Ok(self)
    }
}

/// Format `pve-node` of Proxmox' own schema.
fn is_node_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
    !name.is_empty() && name.chars().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, address: &str) -> Discovered {
        Discovered { nodes: [(name.to_owned(), Some(address.to_owned()))].into(), containers: Vec::new() }
    }

    fn container(node: &str, name: &str, tag: &str) -> Discovered {
        let container =
            Container { node: node.into(), name: name.into(), tags: vec![tag.into()], ..Container::default() };
        Discovered { nodes: BTreeMap::new(), containers: vec![container] }
    }

    #[test]
    fn what_proxmox_gives_to_nothing_is_refused_and_shown_harmlessly() {
        for fine in [node("pve-1", "192.0.2.1"), node("X", "fd00::1"), container("pve1", "{{ 1 }}", "a b")] {
            fine.proved().unwrap();
        }
        for wrong in [
            node("{{ lookup('file', '/etc/shadow') }}", "192.0.2.1"),
            node("-oProxyCommand=x", "192.0.2.1"),
            node("localhost", "192.0.2.1"),
            node("pve1\n", "192.0.2.1"),
            node("", "192.0.2.1"),
            node("pve1", "{{ x }}"),
            node("pve1", "-oProxyCommand=x"),
            container("pve 1", "a", "b"),
            container("pve1", "a\u{1b}[2K", "b"),
            container("pve1", "a", "b\n"),
        ] {
            let why = wrong.proved().unwrap_err();
            assert!(!why.contains(char::is_control), "{why}");
        }
    }

    #[test]
    fn a_group_by_state_keeps_what_nobody_can_tell() {
        let table = [(Status::Running, true, false), (Status::Stopped, false, true), (Status::Unknown, true, true)];
        for (status, running, stopped) in table {
            assert_eq!(
                (Wanted::Running.may_be(status), Wanted::Stopped.may_be(status)),
                (running, stopped),
                "{status:?}"
            );
        }
    }
}
