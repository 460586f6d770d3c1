//! `ha_group`: the nodes that HA resources may run on. Groups up to PVE 8, rules and `failback` from PVE 9 on.
//!
//! Why this is placed after `ha_resource`, and lists its resources: `docs/design/ha.md`.

mod groups;
mod rules;

use super::args::OneOrMany;
use super::cluster::{self, Placement, Row, field};
use super::pve_storage::Presence;
use super::{ArgFault, Decision, Observation, Right, Task, Touches, Trail, Verdict};
use crate::host::{LookError, Probe};
use crate::pve::values;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The nodes that HA resources may run on, with priorities. One description for every version: up to PVE 8 it becomes an
/// HA group that the resources belong to, from PVE 9 on a node affinity rule, and `nofailback` becomes `failback: 0` of
/// the resources. A rule of any name that holds a resource already is taken over. Place it after `ha_resource`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HaGroup {
    /// Name of the group, and of the rule that is made where none holds the resources.
    pub name: String,
    /// The HA resources that are held: `ct:101`. Others that the group or rule has are left in it.
    pub resources: OneOrMany,
    /// Nodes, each with an optional priority: `[pve1:2, pve2:1, pve3]` or `pve1,pve2,pve3`. Higher is preferred.
    #[serde(default)]
    pub nodes: OneOrMany,
    /// On no other node, also when none of these is left.
    #[serde(default)]
    pub restricted: bool,
    /// Stays where it is when a preferred node returns.
    #[serde(default)]
    pub nofailback: bool,
    /// A comment, shown by Proxmox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// `absent` removes the group or rule and leaves the resources in HA.
    #[serde(default)]
    pub state: Presence,
}

/// What the API says of HA.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    placement: Placement,
    resources: Vec<Row>,
    nodes: cluster::Members,
}

impl HaGroup {
    fn sids(&self) -> BTreeSet<String> {
        self.resources.words().into_iter().map(str::to_owned).collect()
    }

    fn wanted_nodes(&self) -> Result<BTreeMap<String, u32>, String> {
        values::node_priorities(&self.nodes.words().join(","))
    }

    fn judge(&self, found: &Found) -> Verdict {
        let nodes = match self.wanted_nodes() {
            Ok(nodes) => nodes,
            Err(why) => return Verdict::blocked(why),
        };
        let unknown: Vec<&str> =
            nodes.keys().filter(|name| !found.nodes.iter().any(|n| n.name == **name)).map(String::as_str).collect();
        if !unknown.is_empty() {
            return Verdict::blocked(format!("no node of the cluster is named {}", unknown.join(", ")));
        }
        if self.state == Presence::Present {
            let missing: Vec<String> =
                self.sids().into_iter().filter(|s| cluster::find(&found.resources, "sid", s).is_none()).collect();
            if !missing.is_empty() {
                return Verdict::blocked(format!(
                    "{} is no HA resource yet: place the `ha_resource` task before this one",
                    missing.join(", ")
                ));
            }
        }
        match &found.placement {
            Placement::Groups(all) => groups::judge(self, found, all, &nodes),
            Placement::Rules(all) => rules::judge(self, found, all, &nodes),
        }
    }

    /// The resources of ours, as the API has them.
    fn rows<'a>(&self, found: &'a Found) -> Vec<&'a Row> {
        let sids = self.sids();
        found.resources.iter().filter(|row| sids.contains(&field(row, "sid"))).collect()
    }
}

/// A group or rule as lines, with what both have under one name.
fn text(name: &str, nodes: &str, restricted: bool, nofailback: Option<bool>, comment: &str) -> String {
    let nodes = values::node_priorities(nodes).map_or_else(|_| nodes.to_owned(), |n| values::print_node_priorities(&n));
    cluster::lines([
        ("name", name.to_owned()),
        ("nodes", nodes),
        ("restricted", cluster::flag(restricted)),
        ("nofailback", nofailback.map(cluster::flag).unwrap_or_default()),
        ("comment", comment.trim_end().to_owned()),
    ])
}

impl Task for HaGroup {
    const KIND: &'static str = "ha_group";
    const EXAMPLE: &'static str = "\
- name: The cluster keeps the NFS server running
  ha_resource:
    sid: ct:101
    state: started
- name: Only the nodes that have the replicated device may run it
  ha_group:
    name: nfs1
    resources: [ct:101]
    nodes: [pve1, pve2, pve3]
    restricted: true
    nofailback: true
";
    const TOUCHES: Touches = Touches::Cluster;
    type Seen = cluster::Seen<Found>;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = Vec::new();
        let named = self.name.starts_with(|c: char| c.is_ascii_alphabetic())
            && self.name.len() > 1
            && self.name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if !named {
            faults.push(ArgFault::at("name", "a name is a letter, then letters, digits, `-` and `_`"));
        }
        if self.sids().is_empty() {
            let fault = ArgFault::at("resources", "no HA resource is named");
            faults.push(fault.help("a rule of PVE 9 cannot be empty, and the same description must hold there"));
        }
        for sid in self.sids() {
            faults.extend(super::ha_resource::sid_fault(&sid).map(|why| ArgFault::at("resources", why)));
        }
        match self.wanted_nodes() {
            Err(why) => faults.push(ArgFault::at("nodes", why)),
            Ok(nodes) if nodes.is_empty() && self.state == Presence::Present => {
                faults.push(ArgFault::at("nodes", "no node is named"));
            }
            Ok(_) => {}
        }
        faults
    }

    fn object(&self) -> String {
        self.name.clone()
    }

    fn trails(&self) -> Vec<Trail> {
        vec![Trail::File("/etc/pve/ha/groups.cfg".into()), Trail::File("/etc/pve/ha/rules.cfg".into())]
    }

    fn probe(&self, host: &dyn Probe) -> Result<Self::Seen, LookError> {
        if !cluster::is_cluster(host) {
            return Ok(cluster::Seen::Node(()));
        }
        Ok(cluster::Seen::Cluster(Found {
            placement: cluster::placement(host)?,
            resources: cluster::rows(host, &cluster::ha_resources())?,
            nodes: cluster::nodes(host)?,
        }))
    }

    fn rights(&self, seen: &Self::Seen) -> Vec<Right> {
        let cluster::Seen::Cluster(found) = seen else { return Vec::new() };
        match self.judge(found).decision {
            Decision::Drift(_) => vec![cluster::writes_ha(&self.name)],
            // Its resources may be there when the turn comes.
            Decision::Blocked(_) if self.state == Presence::Present => vec![cluster::writes_ha(&self.name).perhaps()],
            _ => Vec::new(),
        }
    }

    fn decide(&self, seen: &Self::Seen) -> Verdict {
        match seen {
            cluster::Seen::Cluster(found) => self.judge(found),
            cluster::Seen::Node(()) => Verdict::blocked("HA belongs to the cluster: write `hosts: cluster`"),
        }
    }

    fn decide_all(&self, all: &BTreeMap<String, Observation<Self::Seen>>) -> BTreeMap<String, Verdict> {
        cluster::verdict(all, |found| &found.nodes, |found, _| self.judge(found))
    }
}

#[cfg(test)]
mod tests;
