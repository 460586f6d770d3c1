//! What the kinds share that describe objects of a Proxmox cluster: the questions they all ask, in one spelling, so
//! that a change predicted by one is what the next one sees.
//!
//! An error is never read as "there is none": lists are asked for and searched, single objects are not.

use super::{Decision, Observation, Right, Verdict};
use crate::host::{Action, ApiGet, Effect, LookError, Probe, Step};
use crate::pve::values;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::ops::Deref;

/// The name of the host that is the cluster.
pub const CLUSTER: &str = "cluster";

pub type Row = Map<String, Json>;

/// What a kind saw: of the cluster through the API, or of one node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen<C, N = ()> {
    Cluster(C),
    Node(N),
}

/// What each node answered, or why it did not.
pub type Nodes<'a, N> = BTreeMap<&'a str, Result<&'a N, &'a LookError>>;

/// Takes the observations apart; without the cluster's there is nothing to decide on.
pub fn split<C, N>(all: &BTreeMap<String, Observation<Seen<C, N>>>) -> Result<(&C, Nodes<'_, N>), Verdict> {
    let cluster = match all.get(CLUSTER) {
        Some(Ok(Seen::Cluster(seen))) => seen,
        Some(Err(error)) => return Err(Verdict::blocked(error.to_string())),
        _ => return Err(Verdict::blocked("this kind describes the cluster: write `hosts: cluster`")),
    };
    let nodes = all.iter().filter_map(|(name, seen)| match seen {
        Ok(Seen::Node(seen)) => Some((name.as_str(), Ok(seen))),
        Err(error) if name != CLUSTER => Some((name.as_str(), Err(error))),
        _ => None,
    });
    Ok((cluster, nodes.collect()))
}

/// The one verdict, where it belongs. A change that needs a quorum is not tried without one, so that a check says it, too.
pub fn verdict<C, N>(
    all: &BTreeMap<String, Observation<Seen<C, N>>>,
    members: impl FnOnce(&C) -> &Members,
    judge: impl FnOnce(&C, Nodes<'_, N>) -> Verdict,
) -> BTreeMap<String, Verdict> {
    let verdict = match split(all) {
        Ok((cluster, nodes)) => {
            let verdict = judge(cluster, nodes);
            match &verdict.decision {
                Decision::Drift(change) if members(cluster).without_quorum && change.steps.iter().any(needs_quorum) => {
                    let why = format!("{NO_QUORUM}; not done: {}", change.summary);
                    Verdict { decision: Decision::Blocked(why), ..verdict }
                }
                _ => verdict,
            }
        }
        Err(verdict) => verdict,
    };
    BTreeMap::from([(CLUSTER.to_owned(), verdict)])
}

/// What is wrong, and what to do.
pub const NO_QUORUM: &str = "the cluster has no quorum, as the node says that was asked: Proxmox changes nothing, and \
                             /etc/pve is read-only (`pvecm status`). Bring the missing nodes, or the network between the \
                             nodes, back first";

/// Writes on a node's own disk, and downloads to it, need none.
fn needs_quorum(step: &Step) -> bool {
    match &step.action {
        Action::Api { path, .. } => {
            !(path.starts_with("/nodes/") && (path.contains("/aplinfo") || path.contains("/storage/")))
        }
        Action::WriteFile { path, .. } | Action::CreateDirectory { path, .. } | Action::Remove { path, .. } => {
            path.starts_with("/etc/pve/")
        }
        _ => false,
    }
}

pub fn is_cluster(host: &dyn Probe) -> bool {
    host.name() == CLUSTER
}

pub fn status() -> ApiGet {
    ApiGet::new("/cluster/status")
}

pub fn guests() -> ApiGet {
    ApiGet::new("/cluster/resources").param("type", "vm")
}

pub fn ha_resources() -> ApiGet {
    ApiGet::new("/cluster/ha/resources")
}

pub fn ha_status() -> ApiGet {
    ApiGet::new("/cluster/ha/status/current")
}

pub fn ha_rules() -> ApiGet {
    ApiGet::new("/cluster/ha/rules")
}

pub fn ha_groups() -> ApiGet {
    ApiGet::new("/cluster/ha/groups")
}

/// Either of these on a storage shows its definition and what lies on it.
pub const SEES_STORAGE: &[&str] = &["Datastore.Audit", "Datastore.AllocateSpace"];

/// Shows a guest among the cluster's resources.
pub const SEES_GUEST: &str = "VM.Audit";

/// What every write on HA needs, on every version.
pub fn writes_ha(what: &str) -> Right {
    Right::to(format!("set {what} in HA"), "/", "Sys.Console")
}

pub fn storages() -> ApiGet {
    ApiGet::new("/storage")
}

/// What each node makes of each storage, some seconds ago. Unlike a question to the node this never waits for a storage.
pub fn storage_states() -> ApiGet {
    ApiGet::new("/cluster/resources").param("type", "storage")
}

pub fn templates(node: &str, storage: &str) -> ApiGet {
    ApiGet::new(format!("/nodes/{node}/storage/{storage}/content")).param("content", "vztmpl")
}

/// A list of objects.
pub fn rows(host: &dyn Probe, get: &ApiGet) -> Result<Vec<Row>, LookError> {
    let answer = host.api(get)?;
    serde_json::from_value(answer).map_err(|e| LookError::cannot_tell(format!("GET {}", get.path), e))
}

/// A field as text, empty where it is absent.
pub fn field(row: &Row, key: &str) -> String {
    row.get(key).and_then(values::text).unwrap_or_default()
}

pub fn find<'a>(rows: &'a [Row], key: &str, value: &str) -> Option<&'a Row> {
    rows.iter().find(|row| field(row, key) == value)
}

/// A node of the cluster, as the API sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub name: String,
    pub online: bool,
}

/// Every node of the cluster, sorted by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Members {
    nodes: Vec<Node>,
    /// The node that was asked says that it does not see enough of the others.
    #[serde(default)]
    without_quorum: bool,
}

impl Deref for Members {
    type Target = [Node];

    fn deref(&self) -> &[Node] {
        &self.nodes
    }
}

/// The nodes, and whether they can agree on a change.
pub fn nodes(host: &dyn Probe) -> Result<Members, LookError> {
    // First, because it leads the client away from a node that was cut off. A node alone has no entry about the cluster,
    // and always a quorum. An account that may not see it is told by the write itself.
    let without_quorum = match rows(host, &status()) {
        Err(LookError::Api { status: 403, .. }) => false,
        answer => answer?.iter().any(|row| field(row, "type") == "cluster" && !values::truthy(row.get("quorate"))),
    };
    let rows = rows(host, &ApiGet::new("/nodes"))?;
    let mut nodes: Vec<Node> =
        rows.iter().map(|row| Node { name: field(row, "node"), online: field(row, "status") == "online" }).collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    if nodes.is_empty() {
        return Err(LookError::cannot_tell("GET /nodes", "no node at all in the answer"));
    }
    Ok(Members { nodes, without_quorum })
}

/// Why a guest that the list does not show may be there all the same: the list leaves out what an account may not see,
/// and that is decided by `VM.Audit` alone.
pub fn hidden_guest(host: &dyn Probe, vmid: &str) -> Result<Option<String>, LookError> {
    missing_right(host, &format!("/vms/{vmid}"), &[SEES_GUEST])
}

/// The same of a storage's definition.
pub fn hidden_storage(host: &dyn Probe, storage: &str) -> Result<Option<String>, LookError> {
    missing_right(host, &format!("/storage/{storage}"), SEES_STORAGE)
}

/// The same of tasks that others started on a node.
pub fn hidden_tasks(host: &dyn Probe, node: &str) -> Result<Option<String>, LookError> {
    missing_right(host, &format!("/nodes/{node}"), &["Sys.Audit"])
}

/// That the account holds none of these privileges on a path, if it does not, in words.
fn missing_right(host: &dyn Probe, path: &str, any_of: &[&str]) -> Result<Option<String>, LookError> {
    // Of this one path: the list of all paths leaves out those where a closer entry takes every right away.
    let rights = host.api(&ApiGet::new("/access/permissions").param("path", path))?;
    let granted = |path: &str, inherited: bool| {
        let privileges = rights.get(path);
        any_of.iter().any(|privilege| {
            let value = privileges.and_then(|held| held.get(privilege)).filter(|value| !value.is_null());
            // 0: held here, not below.
            value.is_some_and(|propagates| !inherited || values::truthy(Some(propagates)))
        })
    };
    let above = std::path::Path::new(path).ancestors().skip(1).any(|dir| granted(&dir.to_string_lossy(), true));
    Ok((!granted(path, false) && !above).then(|| format!("the account lacks {} on {path}", any_of.join(" or "))))
}

/// How this cluster holds HA resources to nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Up to PVE 8, and in a cluster that is being upgraded.
    Groups(Vec<Row>),
    Rules(Vec<Row>),
}

/// Asked, not derived from a version: in a cluster that is being upgraded nodes of both kinds answer, and groups hold
/// until the cluster itself has turned them into rules.
pub fn placement(host: &dyn Probe) -> Result<Placement, LookError> {
    match rows(host, &ha_rules()) {
        Err(LookError::Api { status: 501, .. }) => Ok(Placement::Groups(rows(host, &ha_groups())?)),
        Err(error) => Err(error),
        Ok(rules) => match rows(host, &ha_groups()) {
            Ok(groups) => Ok(Placement::Groups(groups)),
            Err(LookError::Api { message, .. }) if message.contains("ha groups have been migrated to rules") => {
                Ok(Placement::Rules(rules))
            }
            Err(error) => Err(error),
        },
    }
}

/// The list as it will be with `row` in it, in place of the one that has the same `key`.
pub fn with_row(rows: &[Row], key: &str, row: Row) -> Json {
    let name = field(&row, key);
    let mut all: Vec<Row> = rows.iter().filter(|r| field(r, key) != name).cloned().collect();
    all.push(row);
    Json::from(all.into_iter().map(Json::Object).collect::<Vec<_>>())
}

pub fn without_row(rows: &[Row], key: &str, name: &str) -> Json {
    Json::from(rows.iter().filter(|r| field(r, key) != name).cloned().map(Json::Object).collect::<Vec<_>>())
}

/// A later look at `get` will find `data`.
pub fn will_answer(step: Step, get: ApiGet, data: Json) -> Step {
    step.effect(Effect::ApiAnswers { get, data: Some(data) })
}

/// An object as lines of `key: value`, for a diff.
pub fn lines<'a>(entries: impl IntoIterator<Item = (&'a str, String)>) -> String {
    entries
        .into_iter()
        .filter(|(_, v)| !v.is_empty())
        .map(|(k, v)| format!("{k}: {}\n", v.replace('\n', "\n  ")))
        .collect()
}

/// `key=value` pairs of a write, and the keys to delete with it.
#[derive(Debug, Clone, Default)]
pub struct Params {
    pub set: BTreeMap<String, String>,
    pub delete: Vec<String>,
}

impl Params {
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.delete.is_empty()
    }

    /// An empty value is said by deleting the key: many options do not accept an empty string.
    pub fn put(&mut self, key: &str, value: &str) {
        if value.is_empty() {
            self.delete.push(key.to_owned());
        } else {
            self.set.insert(key.to_owned(), value.to_owned());
        }
    }

    /// What a PUT needs. The digest refuses the write if somebody else wrote since we looked.
    pub fn update(mut self, digest: &str) -> BTreeMap<String, String> {
        if !self.delete.is_empty() {
            self.set.insert("delete".into(), self.delete.join(","));
        }
        if !digest.is_empty() {
            self.set.insert("digest".into(), digest.to_owned());
        }
        self.set
    }
}

/// A row as it will read after `params` were written.
pub fn written(row: &Row, params: &Params) -> Row {
    let mut row = row.clone();
    for (key, value) in &params.set {
        row.insert(key.clone(), Json::from(value.as_str()));
    }
    for key in &params.delete {
        row.remove(key);
    }
    row
}

pub fn flag(value: bool) -> String {
    if value { "1" } else { "0" }.into()
}
