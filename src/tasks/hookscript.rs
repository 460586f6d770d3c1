//! `hookscript`: converge's hook, on every node that may run a container, and then in the container's configuration.
//!
//! Refuses to make a container use a hook that would keep it from starting somewhere.

use super::args::OneOrMany;
use super::cluster::{self, Node, Nodes, Row, field};
use super::{ArgFault, Observation, Task, Touches, Verdict, diff};
use crate::host::{Action, ApiGet, Bytes, FileKind, LookError, Method, Probe, Query, Step, Topic};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;

/// What every node gets.
const SCRIPT: &str = include_str!("../../hooks/converge-hook");
const BINARY: &str = "/usr/local/bin/converge";

/// Puts converge's hookscript on every node that may run a container, then makes the container use it. The script calls
/// `/usr/local/bin/converge hook`; before a start it refuses when that program is missing or too old. So the container
/// is made to use it only when the program with its `hook` command is on every one of those nodes; until then use
/// `activate: false`, which only puts the script in place. Setting it needs the login of root@pam itself.
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
    /// Make the container use it. `false` puts the script in place and leaves the container as it is.
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
    nodes: Vec<Node>,
    /// The storage's path, if it is defined and has one.
    path: Option<String>,
    /// Node and configuration of the container.
    guest: Option<(String, Row)>,
    api_user: Option<String>,
}

/// What a node says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OnNode {
    has_directory: bool,
    /// Content and mode, or what is there instead of a file.
    script: Option<Result<(String, u32), String>>,
    /// Why the program cannot serve as hook; `None`: it can.
    program: Option<String>,
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

    /// Puts the script where it is missing or different.
    fn install(&self, targets: &[&str], nodes: &Nodes<'_, OnNode>) -> Option<Verdict> {
        let (path, mut steps, mut on, mut difference) = (self.path(), Vec::new(), Vec::new(), String::new());
        for name in targets {
            let Some(Ok(seen)) = nodes.get(name) else { continue };
            let shown = format!("{name}:{path}");
            match &seen.script {
                Some(Ok((text, mode))) if text == SCRIPT && *mode == 0o755 => continue,
                Some(Err(what)) => return Some(Verdict::blocked(format!("{shown} is {what}, not a file"))),
                Some(Ok((text, mode))) => {
                    difference.push_str(&diff::unified(&shown, text, SCRIPT));
                    if *mode != 0o755 {
                        let line = |mode: u32| [format!("mode {mode:04o}")];
                        difference.push_str(&diff::lines(&shown, &line(*mode), &line(0o755)));
                    }
                }
                None => difference.push_str(&diff::created(&shown, SCRIPT)),
            }
            if !seen.has_directory {
                let directory = self.directory();
                let action = Action::CreateDirectory { path: directory, mode: Some(0o755), owner: None, group: None };
                steps.push(Step::from(action).on(*name));
            }
            let write = Action::WriteFile {
                path: path.clone(),
                content: Bytes(SCRIPT.as_bytes().to_vec()),
                mode: Some(0o755),
                owner: Some("root".into()),
                group: Some("root".into()),
                validate: None,
                backup: false,
            };
            steps.push(Step::from(write).on(*name));
            on.push(*name);
        }
        let summary = format!("put the hookscript on {}", on.join(", "));
        (!steps.is_empty()).then(|| Verdict::stage(summary, difference, steps))
    }

    fn use_it(&self, found: &Found, targets: &[&str], nodes: &Nodes<'_, OnNode>) -> Verdict {
        let everywhere = format!("the hookscript is on {}", targets.join(", "));
        if !self.activate {
            return Verdict::ok(format!("{everywhere}; container {} is not made to use it", self.vmid));
        }
        let Some((node, config)) = &found.guest else {
            return Verdict::blocked(format!("there is no container {}: create it first", self.vmid));
        };
        let now = field(config, "hookscript");
        let unfit: Vec<String> = targets
            .iter()
            .filter_map(|name| Some(format!("{name}: {}", nodes.get(name)?.as_ref().ok()?.program.as_ref()?)))
            .collect();
        if !unfit.is_empty() {
            let state = if now == self.volid() { "cannot start" } else { "is not made to use it: it could not start" };
            return Verdict::blocked(format!(
                "{everywhere}, but container {} {state} on these nodes ({}); install {BINARY}, or say `activate: false`",
                self.vmid,
                unfit.join("; ")
            ));
        }
        if now == self.volid() {
            return Verdict::ok(format!("{everywhere}, and container {} uses it", self.vmid));
        }
        if let Some(user) = found.api_user.as_deref().filter(|user| *user != "root@pam") {
            return Verdict::blocked(format!(
                "only root@pam itself may set a hookscript, and the API is asked as {user}, which it is not"
            ));
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
        let guest = match cluster::find(&guests, "vmid", &self.vmid.to_string()) {
            None => None,
            Some(row) => {
                let node = field(row, "node");
                let get = ApiGet::new(format!("/nodes/{node}/lxc/{}/config", self.vmid));
                let config = serde_json::from_value::<Row>(host.api(&get)?)
                    .map_err(|e| LookError::cannot_tell(format!("GET {}", get.path), e))?;
                Some((node, config))
            }
        };
        let path = path.filter(|p| !p.is_empty());
        Ok(Found { nodes: cluster::nodes(host)?, path, guest, api_user: host.api_user() })
    }

    fn node(&self, host: &dyn Probe) -> Result<OnNode, LookError> {
        let path = self.path();
        let script = match host.stat(Path::new(&path))? {
            None => None,
            Some(stat) if stat.kind == FileKind::File => {
                let text = host.read_text(Path::new(&path))?.unwrap_or_default();
                Some(Ok((text, stat.mode)))
            }
            Some(stat) => Some(Err(format!("a {:?}", stat.kind).to_lowercase())),
        };
        let program = if self.activate { unfit(host)? } else { None };
        Ok(OnNode { has_directory: host.stat(Path::new(&self.directory()))?.is_some(), script, program })
    }
}

/// Why `converge` on this node cannot serve as hook.
fn unfit(host: &dyn Probe) -> Result<Option<String>, LookError> {
    if host.stat(Path::new(BINARY))?.is_none() {
        return Ok(Some(format!("there is no {BINARY}")));
    }
    match host.query(&Query::new(Topic::Other, [BINARY, "hook", "--help"])) {
        Ok(output) if output.rc == 0 => Ok(None),
        Ok(_) => Ok(Some(format!("{BINARY} has no `hook` command"))),
        Err(LookError::NoProgram { .. }) => Ok(Some(format!("{BINARY} cannot be run"))),
        Err(error) => Err(error),
    }
}

impl Task for Hookscript {
    const KIND: &'static str = "hookscript";
    const EXAMPLE: &'static str = "\
- name: The hook lies on every node
  hookscript:
    vmid: 101
    activate: false
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

    fn probe(&self, host: &dyn Probe) -> Result<Self::Seen, LookError> {
        if cluster::is_cluster(host) {
            self.cluster(host).map(cluster::Seen::Cluster)
        } else {
            self.node(host).map(cluster::Seen::Node)
        }
    }

    fn decide(&self, seen: &Self::Seen) -> Verdict {
        match seen {
            cluster::Seen::Cluster(found) => self.judge(found, &BTreeMap::new()),
            cluster::Seen::Node(_) => Verdict::blocked("decided over the cluster: write `hosts: cluster`"),
        }
    }

    fn decide_all(&self, all: &BTreeMap<String, Observation<Self::Seen>>) -> BTreeMap<String, Verdict> {
        cluster::verdict(all, |found, nodes| self.judge(found, &nodes))
    }
}

#[cfg(test)]
mod tests;
