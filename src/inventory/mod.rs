//! Which hosts there are, in which groups, with which variables. How a host is reached is the link's matter.
//!
//! Read from Ansible's INI and YAML inventories with `group_vars` and `host_vars`, and from our own `cluster.yml`, whose
//! nodes and containers are discovered through the API. Reading asks no host and runs no program; what was discovered is
//! data, and kept apart from values that may hold templates.

mod address;
mod build;
pub mod cluster;
pub mod edit;
mod folder;
mod ini;
mod load;
mod mask;
mod pattern;
mod python;
mod secret;
mod vars_files;
mod yaml;

#[cfg(test)]
mod tests;

pub use build::Builder;
pub use load::{Loaded, load};
pub use mask::mask;
pub use pattern::select;
pub use secret::{at as path_from, credential};

use crate::diagnostic::Span;
use crate::yaml::Node;
use std::collections::{BTreeMap, BTreeSet};

/// Variables by name, each with the place it was written at; values may hold templates.
pub type Vars = BTreeMap<String, Node>;

/// Hosts in the order in which plays visit them.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    pub hosts: Vec<String>,
    /// Group name → hosts, in order; hosts of child groups included.
    pub groups: BTreeMap<String, Vec<String>>,
    /// What the group `all` says: also for hosts that are in no list (containers, this machine).
    pub all_vars: Vars,
    /// Everything that is said of a host: by its groups and of itself, the stronger over the weaker.
    pub host_vars: BTreeMap<String, Vars>,
    /// What was discovered of a host: data, never rendered. No name of these is in the host's `host_vars`.
    pub found: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
    /// Who logs in to a host of which neither variables nor plays say so.
    pub logins: BTreeMap<String, String>,
    /// What a person should know of what was discovered.
    pub notes: Vec<String>,
    /// Files of variables that cannot be read, by the hosts they are about; `""`: everybody of whom nothing else is said.
    pub sealed: BTreeMap<String, Vec<Span>>,
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

    /// Variables of a host, its groups' included.
    pub fn vars(&self, host: &str) -> &Vars {
        self.host_vars.get(host).unwrap_or(&self.all_vars)
    }

    /// Where variables of a host stand that cannot be read.
    pub fn sealed(&self, host: &str) -> &[Span] {
        let of = if self.host_vars.contains_key(host) { host } else { "" };
        self.sealed.get(of).map_or(&[], Vec::as_slice)
    }

    /// The names of all variables, of whatever host.
    pub fn var_names(&self) -> BTreeSet<String> {
        let said = self.host_vars.values().chain([&self.all_vars]).flat_map(|vars| vars.keys().cloned());
        let found = self.found.values().flat_map(|vars| vars.keys().cloned());
        // A cluster's containers have these also where they are yet to be discovered.
        let of_containers = cluster::NAMES.iter().filter(|_| self.groups.contains_key("containers"));
        said.chain(found).chain(of_containers.map(|name| (*name).to_owned())).collect()
    }

    /// Everybody of whom something is known, containers included.
    pub fn everybody(&self) -> BTreeSet<&String> {
        self.hosts.iter().chain(self.host_vars.keys()).chain(self.groups.values().flatten()).collect()
    }

    pub fn groups_of<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a str> {
        self.groups.iter().filter(move |(_, hosts)| hosts.iter().any(|h| h == host)).map(|(name, _)| name.as_str())
    }

    /// `ct:101`: a container, wherever it runs.
    pub fn is_container(name: &str) -> bool {
        name.strip_prefix("ct:").is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
    }
}

/// Splits as a shell does, without expanding anything.
pub fn shell_words(text: &str) -> Result<Vec<String>, String> {
    python::split(text).map(|words| words.into_iter().map(|word| word.text).collect())
}
