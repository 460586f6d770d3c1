//! Ways to the hosts of an inventory: this machine, the cluster's API, and what the inventory says of each host.

use super::reach::{Reach, Way};
use super::{ApiHost, Connect, Link, LinkError, in_process, ssh};
use crate::event::Mode;
use crate::host::Local;
use crate::inventory::Inventory;
use crate::pve::Client;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Knows the way to every host of an inventory.
#[derive(Default)]
pub struct InventoryHosts {
    cluster: Option<(Client, PathBuf)>,
    reach: BTreeMap<String, Reach>,
}

impl InventoryHosts {
    /// `state` keeps what this cluster's runs still owe.
    pub fn with_cluster(mut self, client: Client, state: &Path) -> Self {
        self.cluster = Some((client, state.to_owned()));
        self
    }

    /// What is said of how hosts are reached must make sense for every host, before one is asked.
    pub fn with_inventory(mut self, inventory: &Inventory) -> Result<Self, String> {
        for host in inventory.hosts.iter().filter(|h| *h != "cluster") {
            self.reach.insert(host.clone(), Reach::of(host, inventory.vars(host))?);
        }
        Ok(self)
    }

    fn cluster(&self, host: &str, mode: Mode) -> Result<Link, LinkError> {
        let Some((client, state)) = &self.cluster else {
            let why = "the inventory has no Proxmox cluster; a cluster.yml names one".to_owned();
            return Err(LinkError::Lost { host: host.to_owned(), why });
        };
        let (client, state) = (client.clone(), state.clone());
        in_process(host, mode, move || Box::new(ApiHost::new(client, &state)))
    }
}

impl Connect for InventoryHosts {
    fn connect(&self, host: &str, mode: Mode) -> Result<Link, LinkError> {
        if host == "cluster" {
            return self.cluster(host, mode);
        }
        let lost = |why: String| LinkError::Lost { host: host.to_owned(), why };
        let Some(reach) = self.reach.get(host) else {
            return Err(lost("the inventory does not name it".into()));
        };
        match &reach.way {
            Way::Local => {
                let name = host.to_owned();
                in_process(host, mode, move || Box::new(Local::this_machine(name)))
            }
            Way::Ssh(target) => ssh::connect(host, mode, target, reach.agent_dir.as_deref(), reach.sudo),
            Way::PveShell => Err(lost("links through the node's REST shell are not there yet".into())),
        }
    }
}
