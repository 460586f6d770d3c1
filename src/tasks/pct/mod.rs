//! `pct`: a container, created once and kept as described wherever it runs.
//!
//! Never creates over data, never changes which volume a container stands on, and never touches what lies on a device.

mod args;
mod create;
mod look;
mod rights;
mod update;

pub use args::{Pct, Properties, State};

use super::cluster;
use super::{ArgFault, Observation, Right, Task, Touches, Trail, Verdict};
use crate::host::{LookError, Probe};
use crate::pve::lxc_conf;
use crate::pve::values::{self, Property};
use look::{Found, OnNode};
use std::collections::BTreeMap;

impl Pct {
    fn judge(&self, found: &Found, nodes: &cluster::Nodes<'_, OnNode>) -> Verdict {
        let away: Vec<&str> = found.nodes.iter().filter(|n| !n.online).map(|n| n.name.as_str()).collect();
        let verdict = self.judge_guest(found, nodes);
        if away.is_empty() {
            return verdict;
        }
        verdict.warn(format!("{}: offline to the cluster; no container can go there", away.join(", ")))
    }

    fn judge_guest(&self, found: &Found, nodes: &cluster::Nodes<'_, OnNode>) -> Verdict {
        match (&found.guest, self.state) {
            (None, State::Absent) => match &found.hidden {
                Some(why) => Verdict::blocked(format!("cannot tell whether container {} exists: {why}", self.vmid)),
                None => Verdict::ok(format!("there is no container {}", self.vmid)),
            },
            (None, _) => create::judge(self, found, nodes),
            (Some(guest), _) if guest.kind != "lxc" => Verdict::blocked(format!(
                "{} is a virtual machine on {}, not a container: choose another vmid",
                self.vmid, guest.node
            )),
            (Some(guest), State::Absent) => update::remove(self, found, guest),
            (Some(guest), _) => update::judge(self, found, guest, nodes),
        }
    }
}

impl Task for Pct {
    const KIND: &'static str = "pct";
    const EXAMPLE: &'static str = "\
- name: The NFS server's container
  pct:
    vmid: 101
    hostname: nfs1
    ostemplate: local:vztmpl/debian-13-standard
    rootfs: volume=/dev/drbd100,shared=1
    net0: name=eth0,bridge=vmbr0,ip=192.168.1.11/24,gw=192.168.1.1
    memory: 2048
    unprivileged: false
    features: mount=nfsd;rpc_pipefs
";
    const TOUCHES: Touches = Touches::Cluster;
    type Seen = cluster::Seen<Found, OnNode>;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = Vec::new();
        if !(100..=999_999_999).contains(&self.vmid) {
            faults.push(ArgFault::at("vmid", "a vmid is between 100 and 999999999"));
        }
        for (field, key, value) in self.properties() {
            let Some(shape) = values::shape_of(&key) else {
                faults.push(ArgFault::at(field, format!("`{key}` is no such key; write `net4`, `mp4`, …")));
                continue;
            };
            match Property::parse(shape, &value) {
                Err(why) => faults.push(ArgFault::at(field, why)),
                Ok(property) => {
                    if let Some(why) = args::incomplete(&key, &property) {
                        faults.push(ArgFault::at(field, why));
                    }
                }
            }
        }
        if self.password.as_ref().is_some_and(|word| word.reveal().chars().count() < 5) {
            faults.push(ArgFault::at("password", "Proxmox takes passwords of at least five characters"));
        }
        for line in self.lxc.iter().flat_map(|lines| lines.iter()) {
            match lxc_conf::parse_raw(line) {
                Err(why) => faults.push(ArgFault::at("lxc", why)),
                Ok((key, _)) if !lxc_conf::is_allowed(&key) => {
                    faults.push(ArgFault::at("lxc", format!("Proxmox does not pass `{key}` on to LXC")));
                }
                Ok(_) => {}
            }
        }
        faults
    }

    fn object(&self) -> String {
        format!("ct:{}", self.vmid)
    }

    fn trails(&self) -> Vec<Trail> {
        vec![Trail::Guest(self.vmid), Trail::File(format!("/etc/pve/lxc/{}.conf", self.vmid))]
    }

    fn probe(&self, host: &dyn Probe) -> Result<Self::Seen, LookError> {
        if cluster::is_cluster(host) {
            look::cluster(self, host).map(cluster::Seen::Cluster)
        } else {
            look::node(self, host).map(cluster::Seen::Node)
        }
    }

    fn rights(&self, seen: &Self::Seen) -> Vec<Right> {
        match seen {
            cluster::Seen::Cluster(found) => rights::needed(self, found),
            cluster::Seen::Node(_) => Vec::new(),
        }
    }

    fn decide(&self, seen: &Self::Seen) -> Verdict {
        match seen {
            cluster::Seen::Cluster(found) => self.judge(found, &BTreeMap::new()),
            cluster::Seen::Node(_) => Verdict::blocked("a container is the cluster's: write `hosts: cluster`"),
        }
    }

    fn decide_all(&self, all: &BTreeMap<String, Observation<Self::Seen>>) -> BTreeMap<String, Verdict> {
        cluster::verdict(all, |found| &found.nodes, |found, nodes| self.judge(found, &nodes))
    }
}

#[cfg(test)]
mod tests;
