//! Ways to the hosts of an inventory: this machine, the cluster's API, and what the inventory says of each host.

use super::lock::{Claim, Held, LockError};
use super::reach::{Reach, Way};
use super::{ApiHost, Connect, Link, LinkError, in_process, lock, pct, pve_shell, ssh};
use crate::event::Mode;
use crate::host::{Host, Local};
use crate::inventory::{Inventory, Vars};
use crate::pve::Client;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// This machine, under a name.
type Here = Arc<dyn Fn(&str) -> Box<dyn Host> + Send + Sync>;

/// Knows the way to every host of an inventory.
#[derive(Default)]
pub struct InventoryHosts {
    cluster: Option<(Client, PathBuf)>,
    /// This machine is a node of the cluster, and asked in place of a login.
    here: Option<(Here, PathBuf)>,
    reach: BTreeMap<String, Reach>,
    nodes: Vec<String>,
    /// Variable `converge_agent_dir` of containers.
    inside: BTreeMap<String, String>,
    everywhere: Option<String>,
}

impl InventoryHosts {
    /// `state` keeps what this cluster's runs still owe.
    pub fn with_cluster(mut self, client: Client, state: &Path) -> Self {
        self.cluster = Some((client, state.to_owned()));
        self
    }

    /// The cluster is asked through this machine, which is one of its nodes. `here`: this machine, by its name in the
    /// cluster. `state` keeps what this cluster's runs still owe.
    pub fn on_node(
        mut self,
        here: impl Fn(&str) -> Box<dyn Host> + Send + Sync + 'static,
        state: impl Into<PathBuf>,
    ) -> Self {
        self.here = Some((Arc::new(here), state.into()));
        self
    }

    /// What is said of how hosts are reached must make sense for every host, before one is asked.
    pub fn with_inventory(mut self, inventory: &Inventory) -> Result<Self, String> {
        for host in inventory.hosts.iter().filter(|h| *h != "cluster") {
            self.reach.insert(host.clone(), Reach::of(host, inventory.vars(host))?);
        }
        self.nodes = inventory.groups.get("nodes").cloned().unwrap_or_default();
        // This machine is asked first: it is there.
        self.nodes.sort_by_key(|name| self.reach.get(name).is_none_or(|reach| reach.way != Way::Local));
        let folder = |vars: &Vars| vars.get("converge_agent_dir").and_then(|node| node.as_str()).map(str::to_owned);
        let containers = inventory.host_vars.iter().filter(|(name, _)| Inventory::is_container(name));
        self.inside = containers.filter_map(|(name, vars)| Some((name.clone(), folder(vars)?))).collect();
        self.everywhere = folder(&inventory.all_vars);
        Ok(self)
    }

    /// Whether a host is this very machine.
    pub fn is_here(&self, host: &str) -> bool {
        self.reach.get(host).is_some_and(|reach| reach.way == Way::Local)
    }

    /// Whether a host is reached by ssh.
    pub fn is_by_ssh(&self, host: &str) -> bool {
        self.reach.get(host).is_some_and(|reach| matches!(reach.way, Way::Ssh(_)))
    }

    fn container(&self, host: &str, vmid: u32, mode: Mode) -> Result<Link, LinkError> {
        let api = self.cluster.as_ref().map(|(client, _)| client);
        let nodes = pct::Nodes { reach: &self.reach, names: &self.nodes, api };
        let folder = self.inside.get(host).or(self.everywhere.as_ref()).map(String::as_str);
        pct::connect(host, vmid, &nodes, |node, prefix| match self.reach.get(node) {
            Some(reach) => self.through((host, node), reach, folder, prefix, mode),
            None => {
                let why = format!("it is on {node}, which the inventory does not name");
                Err(LinkError::Lost { host: host.to_owned(), why })
            }
        })
    }

    /// A link to a host of this reach, or to what `prefix` leads to from there.
    fn through(
        &self,
        (host, node): (&str, &str),
        reach: &Reach,
        folder: Option<&str>,
        prefix: &[String],
        mode: Mode,
    ) -> Result<Link, LinkError> {
        let lost = |why: &str| Err(LinkError::Lost { host: host.to_owned(), why: why.to_owned() });
        let mut words: Vec<String> = Vec::new();
        if reach.sudo {
            words.extend(["sudo", "-n", "--"].map(str::to_owned));
        }
        words.extend(prefix.iter().cloned());
        match &reach.way {
            Way::Ssh(target) => ssh::connect(host, mode, target, folder, &words),
            Way::Local if words.is_empty() => {
                let (name, here) = (host.to_owned(), self.here.as_ref().map(|(here, _)| here.clone()));
                in_process(host, mode, move || match here {
                    Some(here) => here(&name),
                    None => Box::new(Local::this_machine(name)),
                })
            }
            Way::Local => ssh::local(host, mode, folder, &words),
            Way::PveShell(endpoint) => match &self.cluster {
                Some((client, _)) => pve_shell::connect(host, node, mode, client, endpoint, folder, &words),
                None => lost("`pve_shell` needs the cluster's login; a cluster.yml has it"),
            },
        }
    }

    fn cluster(&self, host: &str, mode: Mode) -> Result<Link, LinkError> {
        if let Some((here, state)) = &self.here {
            let (here, state, name) = (here.clone(), state.clone(), host.to_owned());
            return in_process(host, mode, move || Box::new(ApiHost::on_node(here(&name), &state)));
        }
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
        if let Some(vmid) = host.strip_prefix("ct:").and_then(|id| id.parse().ok()) {
            return self.container(host, vmid, mode);
        }
        match self.reach.get(host) {
            Some(reach) => self.through((host, host), reach, reach.agent_dir.as_deref(), &[], mode),
            None => {
                let why = "the inventory does not name it".to_owned();
                Err(LinkError::Lost { host: host.to_owned(), why })
            }
        }
    }

    fn api_user(&self) -> Option<String> {
        // On a node nobody logs in: `pvesh` is root@pam.
        let (client, _) = self.cluster.as_ref().filter(|_| self.here.is_none())?;
        Some(client.user().to_owned())
    }

    /// At the first node that can be asked. Hosts that are no Proxmox nodes share nothing.
    fn lock(&self, claim: &Claim, tell: &mut dyn FnMut(String)) -> Result<Option<Held>, LockError> {
        let mut why = Vec::new();
        for (name, reach) in self.nodes.iter().filter_map(|name| Some((name, self.reach.get(name)?))) {
            let sudo: Vec<String> =
                if reach.sudo { ["sudo", "-n", "--"].map(str::to_owned).into() } else { Vec::new() };
            let line = lock::script("/etc/pve", claim, &sudo);
            let answer = match &reach.way {
                Way::Ssh(target) => ssh::lock(Some(target), line, &lock::busy, tell),
                Way::Local => ssh::lock(None, line, &lock::busy, tell),
                Way::PveShell(endpoint) => match &self.cluster {
                    Some((client, _)) => pve_shell::lock(name, client, endpoint, claim, tell),
                    None => continue,
                },
            };
            match answer {
                Err(LockError::Unknown(reason)) => why.push(format!("{name}: {reason}")),
                held_or_busy => return held_or_busy,
            }
        }
        if why.is_empty() { Ok(None) } else { Err(LockError::Unknown(why.join("; "))) }
    }
}
