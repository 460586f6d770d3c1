//! `hookscript`: converge's hook, on every node that may run a container, and then in the container's configuration.
//!
//! Refuses to make a container use a hook that would keep it from starting somewhere.

use super::args::OneOrMany;
use super::cluster::{self, Nodes, Row, field};
use super::{ArgFault, Observation, Right, Task, Touches, Trail, Verdict, diff};
use crate::host::{ApiGet, LookError, Method, Probe, Step, own_program};
use installed::OnNode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;

mod installed;

/// Guards a container on DRBD: before a start `converge hook` verifies that DRBD may be promoted on that node, and
/// refuses the start otherwise; after a stop it sees that the device was let go, and says who keeps it.
///
/// Puts the script and the program, a copy of this converge, on every node that may run the container, and only then
/// makes the container use it: where one of them is missing, Proxmox VE refuses every start. The program lies below
/// `/usr/local/lib/converge`, under its SHA-256; a node with another version drifts. Nothing needs to be configured;
/// `/etc/converge/hook.yml` on a node may. `converge hook --explain VMID` on a node shows the verdict and its reasons.
/// Setting it needs the login of root@pam itself.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hookscript {
    /// The container's number.
    pub vmid: u32,
    /// A storage of type `dir`; its content list need not have `snippets`.
    #[serde(default = "local")]
    pub storage: String,
    /// Where that storage lies on the nodes.
    #[serde(default = "local_path")]
    pub storage_path: String,
    /// File name among the snippets.
    #[serde(default = "hook_name")]
    pub name: String,
    /// Nodes that may run the container; without it, every node of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<OneOrMany>,
    /// Make the container use it. `false` puts everything in place and leaves the container as it is.
    #[serde(default = "yes")]
    pub activate: bool,
}

fn local() -> String {
    "local".into()
}
fn local_path() -> String {
    "/var/lib/vz".into()
}
fn hook_name() -> String {
    "converge-hook".into()
}
fn yes() -> bool {
    true
}

/// What the API says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    nodes: cluster::Members,
    /// The storage's path, if it is defined and has one.
    path: Option<String>,
    /// Node and configuration of the container.
    guest: Option<(String, Row)>,
    /// Where it is not shown: why it may be there all the same.
    hidden_guest: Option<String>,
}

impl Hookscript {
    fn volid(&self) -> String {
        format!("{}:snippets/{}", self.storage, self.name)
    }

    fn directory(&self) -> String {
        format!("{}/snippets", self.storage_path.trim_end_matches('/'))
    }

    fn path(&self) -> String {
        format!("{}/{}", self.directory(), self.name)
    }

    fn judge(&self, found: &Found, nodes: &Nodes<'_, OnNode>) -> Verdict {
        match &found.path {
            Some(path) if path.trim_end_matches('/') == self.storage_path.trim_end_matches('/') => {}
            Some(path) => {
                let (storage, given) = (&self.storage, &self.storage_path);
                return Verdict::blocked(format!("storage {storage} lies at {path}, `storage_path` says {given}"));
            }
            None => {
                return Verdict::blocked(format!(
                    "there is no storage {} with a path, or the account lacks Datastore.Audit on it",
                    self.storage
                ));
            }
        }
        let asked: Vec<&str> = self.nodes.iter().flat_map(OneOrMany::words).collect();
        if let Some(unknown) = asked.iter().find(|name| !found.nodes.iter().any(|n| n.name == **name)) {
            return Verdict::blocked(format!("no node of the cluster is named {unknown}"));
        }
        let targets: Vec<&str> =
            found.nodes.iter().map(|n| n.name.as_str()).filter(|n| asked.is_empty() || asked.contains(n)).collect();
        if let Some(verdict) = self.install(&targets, nodes) {
            return verdict;
        }
        let silent: Vec<String> = targets
            .iter()
            .filter_map(|name| match nodes.get(name) {
                Some(Ok(_)) => None,
                // Its words begin with the host.
                Some(Err(error @ LookError::Unreachable { .. })) => Some(error.to_string()),
                Some(Err(error)) => Some(format!("{name}: {error}")),
                None => Some(format!("{name}: no host of the inventory")),
            })
            .collect();
        if !silent.is_empty() {
            return Verdict::blocked(format!(
                "cannot tell whether the hook is in place everywhere, and HA may start the container there ({})",
                silent.join("; ")
            ));
        }
        self.use_it(found, &targets, nodes)
    }

    /// Puts script and program where they are missing or different.
    fn install(&self, targets: &[&str], nodes: &Nodes<'_, OnNode>) -> Option<Verdict> {
        let own = match own_program() {
            Ok(own) => own,
            Err(why) => return Some(Verdict::blocked(format!("this program cannot be copied: {why}"))),
        };
        let (mut steps, mut on, mut difference) = (Vec::new(), Vec::new(), String::new());
        for name in targets {
            let Some(Ok(seen)) = nodes.get(name) else { continue };
            match installed::work(self, name, seen, own) {
                Err(what) => return Some(Verdict::blocked(what)),
                Ok(work) if work.steps.is_empty() => {}
                Ok(mut work) => {
                    work.why.sort_unstable();
                    work.why.dedup();
                    on.push(if work.why.is_empty() {
                        (*name).to_owned()
                    } else {
                        format!("{name} ({})", work.why.join(", "))
                    });
                    difference.push_str(&work.diff);
                    steps.extend(work.steps);
                }
            }
        }
        let summary = format!("put the hookscript and its program on {}", on.join(", "));
        (!steps.is_empty()).then(|| Verdict::stage(summary, difference, steps))
    }

    fn use_it(&self, found: &Found, targets: &[&str], nodes: &Nodes<'_, OnNode>) -> Verdict {
        let everywhere = format!("the hookscript is on {}", targets.join(", "));
        if !self.activate {
            return Verdict::ok(format!("{everywhere}; container {} is not made to use it", self.vmid));
        }
        let Some((node, config)) = &found.guest else {
            return Verdict::blocked(match &found.hidden_guest {
                Some(why) => format!("cannot tell whether container {} exists: {why}", self.vmid),
                None => format!("there is no container {}: create it first", self.vmid),
            });
        };
        let now = field(config, "hookscript");
        let unfit: Vec<String> = targets
            .iter()
            .filter_map(|name| Some(format!("{name}: {}", nodes.get(name)?.as_ref().ok()?.unfit()?)))
            .collect();
        if !unfit.is_empty() {
            let state = if now == self.volid() { "cannot start" } else { "is not made to use it: it could not start" };
            return Verdict::blocked(format!(
                "{everywhere}, but container {} {state} on these nodes ({})",
                self.vmid,
                unfit.join("; ")
            ));
        }
        if now == self.volid() {
            return Verdict::ok(format!("{everywhere}, and container {} uses it", self.vmid));
        }
        let lock = field(config, "lock");
        if !lock.is_empty() {
            return Verdict::blocked(format!(
                "container {} is locked ({lock}); `pct unlock {}` on {node} if no task works on it any more",
                self.vmid, self.vmid
            ));
        }
        let place = format!("/nodes/{node}/lxc/{}/config", self.vmid);
        let mut params = cluster::Params::default();
        params.put("hookscript", &self.volid());
        let after = cluster::written(config, &params);
        let line = |value: &str| cluster::lines([("hookscript", value.to_owned())]);
        let difference = diff::unified(&place, &line(&now), &line(&self.volid()));
        let step = Step::api(Method::Put, place.clone(), params.update(&field(config, "digest")));
        let step = cluster::will_answer(step, ApiGet::new(place), Json::Object(after));
        Verdict::drift(format!("make container {} use the hookscript", self.vmid), difference, vec![step])
    }

    fn cluster(&self, host: &dyn Probe) -> Result<Found, LookError> {
        let storages = cluster::rows(host, &cluster::storages())?;
        let path = cluster::find(&storages, "storage", &self.storage).map(|row| field(row, "path"));
        let guests = cluster::rows(host, &cluster::guests())?;
        let mut hidden_guest = None;
        let guest = match cluster::find(&guests, "vmid", &self.vmid.to_string()) {
            None => {
                hidden_guest = cluster::hidden_guest(host, &self.vmid.to_string())?;
                None
            }
            Some(row) => {
                let node = field(row, "node");
                let get = ApiGet::new(format!("/nodes/{node}/lxc/{}/config", self.vmid));
                let config = serde_json::from_value::<Row>(host.api(&get)?)
                    .map_err(|e| LookError::cannot_tell(format!("GET {}", get.path), e))?;
                Some((node, config))
            }
        };
        let path = path.filter(|p| !p.is_empty());
        Ok(Found { nodes: cluster::nodes(host)?, path, guest, hidden_guest })
    }
}

impl Task for Hookscript {
    const KIND: &'static str = "hookscript";
    const EXAMPLE: &'static str = "\
- name: DRBD is asked before the container starts
  hookscript:
    vmid: 101
";
    const TOUCHES: Touches = Touches::Cluster;
    type Seen = cluster::Seen<Found, OnNode>;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = Vec::new();
        if self.name.is_empty() || self.name.starts_with('.') || self.name.contains(['/', ':', ' ']) {
            faults.push(ArgFault::at("name", "a plain file name, without path"));
        }
        if !self.storage_path.starts_with('/') {
            faults.push(ArgFault::at("storage_path", "an absolute path"));
        }
        faults
    }

    fn object(&self) -> String {
        format!("ct:{}", self.vmid)
    }

    fn trails(&self) -> Vec<Trail> {
        vec![Trail::File(format!("/etc/pve/lxc/{}.conf", self.vmid))]
    }

    fn probe(&self, host: &dyn Probe) -> Result<Self::Seen, LookError> {
        if cluster::is_cluster(host) {
            self.cluster(host).map(cluster::Seen::Cluster)
        } else {
            installed::probe(self, host).map(cluster::Seen::Node)
        }
    }

    fn rights(&self, seen: &Self::Seen) -> Vec<Right> {
        let cluster::Seen::Cluster(found) = seen else { return Vec::new() };
        let mut rights = Vec::new();
        if found.path.is_none() {
            let to = format!("see storage {}", self.storage);
            rights.push(Right::any(to, format!("/storage/{}", self.storage), cluster::SEES_STORAGE));
        }
        if self.activate && found.hidden_guest.is_some() {
            let to = format!("see container {}", self.vmid);
            rights.push(Right::to(to, format!("/vms/{}", self.vmid), cluster::SEES_GUEST));
        }
        let set = found.guest.as_ref().is_some_and(|(_, config)| field(config, "hookscript") == self.volid());
        if self.activate && !set {
            let right = Right::root(format!("set the hookscript of container {}", self.vmid));
            // One that is not there, or not shown, may have it when the turn comes.
            rights.push(if found.guest.is_some() { right } else { right.perhaps() });
        }
        rights
    }

    fn decide(&self, seen: &Self::Seen) -> Verdict {
        match seen {
            cluster::Seen::Cluster(found) => self.judge(found, &BTreeMap::new()),
            cluster::Seen::Node(_) => Verdict::blocked("decided over the cluster: write `hosts: cluster`"),
        }
    }

    fn decide_all(&self, all: &BTreeMap<String, Observation<Self::Seen>>) -> BTreeMap<String, Verdict> {
        cluster::verdict(all, |found| &found.nodes, |found, nodes| self.judge(found, &nodes))
    }
}

#[cfg(test)]
mod tests;
