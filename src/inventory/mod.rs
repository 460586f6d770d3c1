//! Which hosts there are, in which groups, with which variables. How a host is reached is the link's matter.

mod pattern;

pub use pattern::select;

use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Hosts in the order in which plays visit them.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    pub hosts: Vec<String>,
    /// Group name → hosts, in order.
    pub groups: BTreeMap<String, Vec<String>>,
    pub group_vars: BTreeMap<String, BTreeMap<String, Json>>,
    pub host_vars: BTreeMap<String, BTreeMap<String, Json>>,
}

impl Inventory {
    /// A cluster by its nodes: the hosts are the nodes, `cluster` and `localhost`; containers (`ct:101`) are always known.
    pub fn cluster(nodes: impl IntoIterator<Item = String>) -> Self {
        let nodes: Vec<String> = nodes.into_iter().collect();
        let mut hosts = nodes.clone();
        hosts.extend(["cluster".to_owned(), "localhost".to_owned()]);
        Self { hosts, groups: BTreeMap::from([("nodes".to_owned(), nodes)]), ..Self::default() }
    }

    /// This machine alone.
    pub fn localhost() -> Self {
        Self { hosts: vec!["localhost".to_owned()], ..Self::default() }
    }

    /// Variables of a host from groups (`all` first) and of its own; later wins.
    pub fn vars(&self, host: &str) -> BTreeMap<String, Json> {
        let mut vars = self.group_vars.get("all").cloned().unwrap_or_default();
        for group in self.groups_of(host) {
            vars.extend(self.group_vars.get(group).cloned().unwrap_or_default());
        }
        vars.extend(self.host_vars.get(host).cloned().unwrap_or_default());
        vars
    }

    pub fn groups_of<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a str> {
        self.groups.iter().filter(move |(_, hosts)| hosts.iter().any(|h| h == host)).map(|(name, _)| name.as_str())
    }

    /// `ct:101`: a container, wherever it runs.
    pub fn is_container(name: &str) -> bool {
        name.strip_prefix("ct:").is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
    }
}
