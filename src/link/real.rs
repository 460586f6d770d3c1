//! Ways to the hosts of an inventory: this machine, the cluster's API, and what the inventory says of each host.

use super::lock::{Claim, Held, LockError};
use super::reach::{Reach, Reaches, SshTarget, Way};
use super::{ApiHost, Connect, Link, LinkError, in_process, lock, pct, pve_shell, ssh};
use crate::event::Mode;
use crate::host::{Host, Local};
use crate::inventory::Inventory;
use crate::pve::Client;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// This machine, under a name.
type Here = Arc<dyn Fn(&str) -> Box<dyn Host> + Send + Sync>;

/// Knows the way to every host of an inventory.
#[derive(Default)]
pub struct InventoryHosts {
    cluster: Option<(Client, PathBuf)>,
    /// This machine is a node of the cluster, and asked in place of a login.
    here: Option<(Here, PathBuf)>,
    reaches: Reaches,
    nodes: Vec<String>,
    /// Who logs in, where only ssh knows.
    logins: Mutex<BTreeMap<String, Result<String, String>>>,
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

    /// A host of which nonsense is said cannot be reached; the others can.
    pub fn with_inventory(mut self, inventory: &Inventory, reaches: Reaches) -> Self {
        self.nodes = inventory.groups.get("nodes").cloned().unwrap_or_default();
        self.reaches = reaches;
        // This machine is asked first: it is there.
        self.nodes.sort_by_key(|name| self.reaches.hosts.get(name).is_none_or(|reach| reach.way != Way::Local));
        self
    }

    /// Whether a host is this very machine.
    pub fn is_here(&self, host: &str) -> bool {
        self.reaches.hosts.get(host).is_some_and(|reach| reach.way == Way::Local)
    }

    /// Whether a host is reached by ssh.
    pub fn is_by_ssh(&self, host: &str) -> bool {
        self.reaches.hosts.get(host).is_some_and(|reach| matches!(reach.way, Way::Ssh(_)))
    }

    fn container(&self, host: &str, vmid: u32, mode: Mode) -> Result<Link, LinkError> {
        let api = self.cluster.as_ref().map(|(client, _)| client);
        let nodes = pct::Nodes { reach: &self.reaches.hosts, names: &self.nodes, api };
        let folder = self.reaches.inside.get(host).or(self.reaches.everywhere.as_ref()).map(String::as_str);
        pct::connect(host, vmid, &nodes, |node, prefix| match self.reaches.hosts.get(node) {
            Some(reach) => self.through((host, node), reach, folder, prefix, mode),
            None => {
                let why = match self.reaches.wrong.get(node) {
                    Some(wrong) => format!("it is on {node}: {wrong}"),
                    None => format!("it is on {node}, which the inventory does not name"),
                };
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
        let mut words = reach.as_root();
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

    /// Asked once for each host: it is a program to run.
    fn login(&self, host: &str, target: &SshTarget) -> Result<String, String> {
        let mut known = self.logins.lock().expect("no panic while holding");
        if let Some(login) = known.get(host) {
            return login.clone();
        }
        let login = ssh::login(target).map_err(|why| format!("who logs in to {host} cannot be told: {why}"));
        known.insert(host.to_owned(), login.clone());
        login
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
        if let Some(why) = self.reaches.wrong.get(host) {
            return Err(LinkError::Lost { host: host.to_owned(), why: why.clone() });
        }
        if host == "cluster" {
            return self.cluster(host, mode);
        }
        if let Some(vmid) = host.strip_prefix("ct:").and_then(|id| id.parse().ok()) {
            return self.container(host, vmid, mode);
        }
        match self.reaches.hosts.get(host) {
            Some(reach) => self.through((host, host), reach, reach.agent_dir.as_deref(), &[], mode),
            None => {
                let why = "no inventory names it (`-i`, or `--lab` for the embedded cluster)".to_owned();
                Err(LinkError::Lost { host: host.to_owned(), why })
            }
        }
    }

    fn api_user(&self) -> Option<String> {
        // On a node nobody logs in: `pvesh` is root@pam.
        let (client, _) = self.cluster.as_ref().filter(|_| self.here.is_none())?;
        Some(client.user().to_owned())
    }

    fn becomes(&self, host: &str, wanted: bool) -> Result<(), String> {
        let Some(reach) = self.reaches.hosts.get(host) else { return Ok(()) };
        if reach.by_variable || wanted == reach.sudo || reach.is_root() == Some(true) {
            return Ok(());
        }
        let login = match &reach.way {
            Way::Ssh(target) => self.login(host, target)?,
            _ => "this user".to_owned(),
        };
        if login == "root" {
            return Ok(());
        }
        let (is, help) = match wanted {
            true => (login.as_str(), "say `become: true` of the whole play, or `ansible_become=true` of the host"),
            false => ("root", "say `become: true` here, too, or run it in a run without `become`"),
        };
        let wanted = if wanted { "`become: true`" } else { "`become: false`" };
        Err(format!("{wanted}: the tasks of a run are all run by one user, on {host} by {is}\n  = help: {help}"))
    }

    fn divided(&self, host: &str) -> Option<String> {
        let why = self.reaches.divided.get(host)?;
        let Way::Ssh(target) = &self.reaches.hosts.get(host)?.way else { return Some(why.clone()) };
        match self.login(host, target) {
            Ok(login) if login == "root" => None,
            Ok(_) => Some(why.clone()),
            Err(unknown) => Some(format!("{why}\n  = help: {unknown}")),
        }
    }

    /// At the first node that can be asked. Hosts that are no Proxmox nodes share nothing.
    fn lock(&self, claim: &Claim, tell: &mut dyn FnMut(String)) -> Result<Option<Held>, LockError> {
        let wrong = self.nodes.iter().filter_map(|name| self.reaches.wrong.get(name));
        let mut why: Vec<String> = wrong.cloned().collect();
        for (name, reach) in self.nodes.iter().filter_map(|name| Some((name, self.reaches.hosts.get(name)?))) {
            let line = lock::script("/etc/pve", claim, &reach.as_root());
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
