//! `pve_template`: a container template on a storage.

use super::apt::version;
use super::args::OneOrMany;
use super::cluster::{self, Row, field};
use super::{ArgFault, Decision, Observation, Right, Task, Touches, Verdict, diff};
use crate::host::{ApiGet, LookError, Method, Probe, Step};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// A container template from Proxmox's list of appliances, on a storage of one or several nodes. A file that is there
/// already is left as it is, also when the list has a newer one: pin the whole name where the version matters.
/// Registers `volid`, for `ostemplate` of `pct`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PveTemplate {
    /// File name (`debian-13-standard_13.1-2_amd64.tar.zst`), or its beginning (`debian-13-standard`): then the newest
    /// that is there, or else the newest that the list has.
    pub template: String,
    /// Storage with `vztmpl` among its content.
    #[serde(default = "local")]
    pub storage: String,
    /// Nodes that must have it. Without it, one node is enough: a template is needed only where a container is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<OneOrMany>,
}

fn local() -> String {
    "local".into()
}

/// What lies on the storage of each node, and what could be had.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    nodes: cluster::Members,
    /// Per node: file names, or why they cannot be told.
    present: BTreeMap<String, Result<Vec<String>, String>>,
    /// Per node that lacks it: file names that can be downloaded.
    available: BTreeMap<String, Result<Vec<String>, String>>,
}

/// The file that `wanted` (a name or its beginning) means among `names`; of several the newest.
pub(super) fn newest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let whole = wanted.contains(".tar");
    let version = |name: &str| name.split('_').nth(1).unwrap_or_default().to_owned();
    names
        .into_iter()
        .filter(|name| match name.strip_prefix(wanted) {
            Some("") => true,
            // `debian-1` is not the beginning of `debian-13-standard`.
            Some(rest) => !whole && (rest.starts_with(['_', '-', '.']) || wanted.ends_with(['_', '-'])),
            None => false,
        })
        .max_by(|a, b| version::compare(&version(a), &version(b)))
}

/// File names of templates on a storage, as the API sees it from a node.
pub(super) fn present(host: &dyn Probe, node: &str, storage: &str) -> Result<Vec<String>, LookError> {
    let rows = cluster::rows(host, &cluster::templates(node, storage))?;
    Ok(rows.iter().filter_map(|row| field(row, "volid").rsplit_once('/').map(|(_, name)| name.to_owned())).collect())
}

impl PveTemplate {
    /// The nodes that must have it; empty: any one.
    fn asked(&self) -> Vec<String> {
        self.nodes.iter().flat_map(OneOrMany::words).map(str::to_owned).collect()
    }

    fn on<'a>(&self, found: &'a Found, node: &str) -> Option<&'a str> {
        let names = found.present.get(node)?.as_ref().ok()?;
        newest(&self.template, names.iter().map(String::as_str))
    }

    fn judge(&self, found: &Found) -> Verdict {
        let asked = self.asked();
        if let Some(unknown) = asked.iter().find(|name| !found.nodes.iter().any(|n| n.name == **name)) {
            return Verdict::blocked(format!("no node of the cluster is named {unknown}"));
        }
        let data = |name: &str| json!({ "template": name, "volid": format!("{}:vztmpl/{name}", self.storage) });
        let mut lacking: Vec<String> = Vec::new();
        if asked.is_empty() {
            let holder = found.nodes.iter().find_map(|node| Some((node, self.on(found, &node.name)?)));
            if let Some((node, name)) = holder {
                return Verdict::ok(format!("{name} is on {}", node.name)).data(data(name));
            }
            match found.nodes.iter().find(|n| n.online) {
                Some(node) => lacking.push(node.name.clone()),
                None => return Verdict::blocked("no node of the cluster is online"),
            }
        } else {
            lacking.extend(asked.iter().filter(|node| self.on(found, node).is_none()).cloned());
        }
        if let Some((node, why)) = lacking.iter().find_map(|n| Some((n, found.present.get(n)?.as_ref().err()?))) {
            return Verdict::blocked(format!("what lies on storage {} of {node} cannot be told: {why}", self.storage));
        }
        let Some(first) = lacking.first() else {
            let name = asked.first().and_then(|node| self.on(found, node)).unwrap_or_default();
            return Verdict::ok(format!("{name} is on {}", asked.join(", "))).data(data(name));
        };
        let mut steps = Vec::new();
        let mut chosen = String::new();
        for node in &lacking {
            let available = match found.available.get(node) {
                Some(Ok(available)) => available,
                Some(Err(why)) => return Verdict::blocked(format!("the list of templates on {node}: {why}")),
                None => return Verdict::blocked(format!("{node} was not asked for its list of templates")),
            };
            let Some(name) = newest(&self.template, available.iter().map(String::as_str)) else {
                return Verdict::blocked(self.not_to_be_had(node, available));
            };
            steps.push(self.download(found, node, name));
            chosen = name.to_owned();
        }
        let place = format!("{}:vztmpl/", self.storage);
        let words = format!("download {chosen} to {} of {}", self.storage, lacking.join(", "));
        let difference = diff::lines::<&str, _>(&format!("{first}/{place}"), &[], &[chosen.as_str()]);
        Verdict::drift(words, difference, steps).data(data(&chosen))
    }

    fn download(&self, found: &Found, node: &str, name: &str) -> Step {
        let params = [("storage", self.storage.as_str()), ("template", name)];
        let step = Step::api(Method::Post, format!("/nodes/{node}/aplinfo"), params);
        let before = found.present.get(node).and_then(|names| names.as_ref().ok()).into_iter().flatten();
        let row = |name: &str| json!({ "volid": format!("{}:vztmpl/{name}", self.storage), "content": "vztmpl" });
        let rows: Vec<Json> = before.map(|n| row(n)).chain([row(name)]).collect();
        cluster::will_answer(step, cluster::templates(node, &self.storage), Json::from(rows))
    }

    fn not_to_be_had(&self, node: &str, available: &[String]) -> String {
        let system = self.template.split(['-', '_']).next().unwrap_or_default();
        let near: Vec<&str> = available.iter().map(String::as_str).filter(|n| n.starts_with(system)).collect();
        let near = if near.is_empty() { String::new() } else { format!(" (it has {})", near.join(", ")) };
        format!(
            "{} is neither on {}:vztmpl/ of a node nor in the list of templates of {node}{near}; versions leave the list \
             when newer ones come: `pveam update` on {node} refreshes it, or name another version",
            self.template, self.storage
        )
    }
}

impl Task for PveTemplate {
    const KIND: &'static str = "pve_template";
    const EXAMPLE: &'static str = "\
- name: A template for containers
  pve_template:
    template: debian-13-standard
    storage: local
";
    const TOUCHES: Touches = Touches::Cluster;
    type Seen = cluster::Seen<Found>;

    fn check_args(&self) -> Vec<ArgFault> {
        let bad = self.template.is_empty() || self.template.contains(['/', ':', ' ']);
        if bad {
            let fault = ArgFault::at("template", "a file name or its beginning, without storage and path");
            return vec![fault];
        }
        Vec::new()
    }

    fn object(&self) -> String {
        self.template.clone()
    }

    fn probe(&self, host: &dyn Probe) -> Result<Self::Seen, LookError> {
        if !cluster::is_cluster(host) {
            return Ok(cluster::Seen::Node(()));
        }
        let nodes = cluster::nodes(host)?;
        let mut found = Found { nodes, present: BTreeMap::new(), available: BTreeMap::new() };
        let asked = self.asked();
        for node in found.nodes.iter() {
            if !asked.is_empty() && !asked.contains(&node.name) {
                continue;
            }
            if !node.online {
                found.present.insert(node.name.clone(), Err("the node is offline".into()));
                continue;
            }
            let names = present(host, &node.name, &self.storage).map_err(|e| e.to_string());
            let has = matches!(&names, Ok(names) if newest(&self.template, names.iter().map(String::as_str)).is_some());
            found.present.insert(node.name.clone(), names);
            if asked.is_empty() && has {
                // One is enough.
                break;
            }
        }
        let has_any = found.nodes.iter().any(|n| self.on(&found, &n.name).is_some());
        for node in found.nodes.iter() {
            let needed = if asked.is_empty() { !has_any } else { asked.contains(&node.name) };
            if !needed || !node.online || self.on(&found, &node.name).is_some() {
                continue;
            }
            let rows = cluster::rows(host, &ApiGet::new(format!("/nodes/{}/aplinfo", node.name)));
            let names = rows.map(|rows: Vec<Row>| rows.iter().map(|row| field(row, "template")).collect());
            found.available.insert(node.name.clone(), names.map_err(|e| e.to_string()));
            if asked.is_empty() {
                break;
            }
        }
        Ok(cluster::Seen::Cluster(found))
    }

    fn rights(&self, seen: &Self::Seen) -> Vec<Right> {
        let cluster::Seen::Cluster(found) = seen else { return Vec::new() };
        let place = format!("/storage/{}", self.storage);
        let see = Right::any(format!("see what lies on storage {}", self.storage), &place, cluster::SEES_STORAGE);
        let words = format!("download a template to storage {}", self.storage);
        let download = Right::to(words, &place, "Datastore.AllocateTemplate");
        match self.judge(found).decision {
            Decision::Ok(_) | Decision::Wait { .. } => Vec::new(),
            Decision::Drift(_) => vec![see, download],
            // It may be there.
            Decision::Blocked(_) | Decision::Failed(_) => vec![see, download.perhaps()],
        }
    }

    fn decide(&self, seen: &Self::Seen) -> Verdict {
        match seen {
            cluster::Seen::Cluster(found) => self.judge(found),
            cluster::Seen::Node(()) => Verdict::blocked("asked of the cluster: write `hosts: cluster`"),
        }
    }

    fn decide_all(&self, all: &BTreeMap<String, Observation<Self::Seen>>) -> BTreeMap<String, Verdict> {
        cluster::verdict(all, |found| &found.nodes, |found, _| self.judge(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::fake::{faults, task};
    use crate::tasks::fake_cluster::{Api, FakeNodes, blocked, calls, drifts_and_predicts, ok};

    const PATH: &str = "debian-13-standard_13.1-2_amd64.tar.zst";

    fn content(node: &str, names: &[&str]) -> (ApiGet, Json) {
        let rows: Vec<Json> = names.iter().map(|n| json!({"volid": format!("local:vztmpl/{n}")})).collect();
        (cluster::templates(node, "local"), Json::from(rows))
    }

    fn api(present: [&[&str]; 3], list: &[&str]) -> Api {
        let list: Vec<Json> = list.iter().map(|t| json!({"template": t, "type": "lxc", "section": "system"})).collect();
        let mut api = Api::three_nodes();
        for (node, names) in ["pve1", "pve2", "pve3"].into_iter().zip(present) {
            let (get, data) = content(node, names);
            api = api.answer(get, data).on(&format!("/nodes/{node}/aplinfo"), json!(list));
        }
        api
    }

    fn none() -> FakeNodes {
        FakeNodes::new()
    }

    #[test]
    fn the_newest_of_a_beginning() {
        let names = ["debian-12-standard_12.7-1_amd64.tar.zst", "debian-12-standard_12.12-1_amd64.tar.zst", PATH];
        assert_eq!(newest("debian-12-standard", names), Some(names[1]));
        assert_eq!(newest("debian-12-standard_12.7-1_amd64.tar.zst", names), Some(names[0]));
        assert_eq!(newest("debian-1", names), None);
        assert_eq!(newest("debian-13-", names), Some(PATH));
    }

    #[test]
    fn it_is_downloaded_once() {
        let wanted: PveTemplate = task(json!({"template": "debian-13-standard"}));
        let list = ["debian-13-standard_13.0-1_amd64.tar.zst", PATH, "alpine-3.22-default_20250617_amd64.tar.xz"];
        let change = drifts_and_predicts(&wanted, api([&[], &[], &[]], &list), &none());
        assert_eq!(calls(&change), [format!("POST /nodes/pve1/aplinfo storage=local template={PATH}")]);
        // On any node is enough, and an older one is no drift.
        let verdict = ok(&wanted, &api([&[], &["debian-13-standard_13.0-1_amd64.tar.zst"], &[]], &list), &none());
        assert_eq!(verdict.data["volid"], "local:vztmpl/debian-13-standard_13.0-1_amd64.tar.zst");
    }

    #[test]
    fn nodes_that_are_asked_for_must_all_have_it() {
        let wanted: PveTemplate = task(json!({"template": PATH, "nodes": ["pve2", "pve3"]}));
        let change = drifts_and_predicts(&wanted, api([&[], &[PATH], &[]], &[PATH]), &none());
        assert_eq!(calls(&change), [format!("POST /nodes/pve3/aplinfo storage=local template={PATH}")]);
        let strange: PveTemplate = task(json!({"template": PATH, "nodes": "pve9"}));
        blocked(&strange, &api([&[], &[], &[]], &[PATH]), &none(), "pve9");
    }

    #[test]
    fn what_cannot_be_had_is_said() {
        let wanted: PveTemplate = task(json!({"template": "debian-13-standard_13.0-1_amd64.tar.zst"}));
        blocked(&wanted, &api([&[], &[], &[]], &[PATH]), &none(), "pveam update");
        blocked(&wanted, &api([&[], &[], &[]], &[PATH]), &none(), PATH);
        let hung = api([&[], &[], &[]], &[PATH]);
        let hung = hung.answer(cluster::templates("pve1", "local"), json!({"not": "a list"}));
        blocked(&wanted, &hung, &none(), "cannot be told");
        assert!(faults::<PveTemplate>(json!({"template": "local:vztmpl/x"})).contains("file name"));
    }
}
