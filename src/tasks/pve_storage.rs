//! `pve_storage`: a storage definition of the cluster.

use super::args::OneOrMany;
use super::cluster::{self, Params, Row, field, flag};
use super::{ArgFault, Decision, Meanwhile, Observation, Right, Task, Touches, Trail, Verdict, diff};
use crate::host::{LookError, Method, Probe, Step};
use crate::pve::values;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// A storage of the cluster: a directory, an NFS export, a volume group. Only what is stated is compared; lists are
/// compared as sets. What Proxmox cannot change in place (type, path, server, export) is never changed by deleting and
/// making anew: that is for a person to decide. Removing a definition removes no data. A storage that is defined as
/// described, and that Proxmox cannot use on a node because its server is gone or hangs, is not ok.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PveStorage {
    /// The storage's name.
    pub storage: String,
    /// `present` or `absent`. Absent removes the definition and leaves the data alone.
    #[serde(default)]
    pub state: Presence,
    /// `dir`, `nfs`, `btrfs`, `lvm`, `lvmthin`, `zfspool`. Needed to make one.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// What may lie there: `images`, `rootdir`, `vztmpl`, `iso`, `backup`, `snippets`, `import`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<OneOrMany>,
    /// The nodes that use it; an empty list means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<OneOrMany>,
    /// Directory on the nodes (`dir`, `btrfs`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Name or address of the NFS server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Exported path on the NFS server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<String>,
    /// Mount options, separated by commas: `vers=3,soft`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<String>,
    /// Every node finds the same content under the path (`dir`). NFS always is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<bool>,
    /// Defined, and not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable: Option<bool>,
    /// Volume group (`lvm`, `lvmthin`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vgname: Option<String>,
    /// Thin pool (`lvmthin`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinpool: Option<String>,
    /// Pool or dataset (`zfspool`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    #[default]
    Present,
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Dir,
    Nfs,
    Btrfs,
    Lvm,
    Lvmthin,
    Zfspool,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Dir => "dir",
            Self::Nfs => "nfs",
            Self::Btrfs => "btrfs",
            Self::Lvm => "lvm",
            Self::Lvmthin => "lvmthin",
            Self::Zfspool => "zfspool",
        }
    }

    /// What a new one cannot do without.
    fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Dir | Self::Btrfs => &["path"],
            Self::Nfs => &["server", "export"],
            Self::Lvm => &["vgname"],
            Self::Lvmthin => &["vgname", "thinpool"],
            Self::Zfspool => &["pool"],
        }
    }
}

/// The definitions that the API shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    storages: Vec<Row>,
    nodes: cluster::Members,
    /// Where it is not listed: why it may be there all the same.
    hidden: Option<String>,
    /// A row for each storage on each node.
    #[serde(default)]
    states: Vec<Row>,
}

/// Until every node has looked at a storage that was just defined: each does so every ten seconds.
const SEEN_S: u64 = 30;

/// Keys that Proxmox refuses to change.
const FIXED: &[&str] = &["type", "path", "server", "export", "vgname", "thinpool", "pool"];

impl PveStorage {
    /// Everything stated, as Proxmox's keys and texts.
    fn stated(&self) -> BTreeMap<&'static str, String> {
        let text = |value: &Option<String>| value.clone();
        let list = |value: &Option<OneOrMany>| value.as_ref().map(|v| v.words().join(","));
        [
            ("type", self.kind.map(|k| k.name().to_owned())),
            ("content", list(&self.content)),
            ("nodes", list(&self.nodes)),
            ("path", text(&self.path)),
            ("server", text(&self.server)),
            ("export", text(&self.export)),
            ("options", text(&self.options)),
            ("shared", self.shared.map(flag)),
            ("disable", self.disable.map(flag)),
            ("vgname", text(&self.vgname)),
            ("thinpool", text(&self.thinpool)),
            ("pool", text(&self.pool)),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
    }

    fn judge(&self, found: &Found) -> Verdict {
        let name = self.storage.as_str();
        let unknown: Vec<&str> = self
            .nodes
            .iter()
            .flat_map(OneOrMany::words)
            .filter(|word| !found.nodes.iter().any(|node| node.name == *word))
            .collect();
        if !unknown.is_empty() {
            return Verdict::blocked(format!("no node of the cluster is named {}", unknown.join(", ")));
        }
        match (cluster::find(&found.storages, "storage", name), self.state) {
            (None, Presence::Absent) => match &found.hidden {
                Some(why) => Verdict::blocked(format!("cannot tell whether storage {name} exists: {why}")),
                None => Verdict::ok(format!("there is no storage {name}")),
            },
            (Some(row), Presence::Absent) => self.remove(found, row),
            (None, Presence::Present) => self.create(found),
            (Some(row), Presence::Present) => self.update(found, row),
        }
    }

    fn place(&self) -> String {
        format!("/storage/{}", self.storage)
    }

    fn remove(&self, found: &Found, row: &Row) -> Verdict {
        let step = Step::api::<String, String>(Method::Delete, self.place(), []);
        let step = cluster::will_answer(
            step,
            cluster::storages(),
            cluster::without_row(&found.storages, "storage", &self.storage),
        );
        let before =
            cluster::lines(row.iter().filter(|(k, _)| *k != "digest").map(|(k, _)| (k.as_str(), field(row, k))));
        Verdict::drift(
            format!("remove the definition of storage {} (its data stay)", self.storage),
            diff::removed(&self.place(), &before),
            vec![step],
        )
    }

    fn create(&self, found: &Found) -> Verdict {
        if let Some(why) = &found.hidden {
            return Verdict::blocked(format!("cannot tell whether storage {} exists: {why}", self.storage));
        }
        let Some(kind) = self.kind else {
            return Verdict::blocked(format!("there is no storage {}; say its `type` to make it", self.storage));
        };
        let stated = self.stated();
        if let Some(missing) = kind.needs().iter().find(|key| !stated.contains_key(*key)) {
            return Verdict::blocked(format!("a storage of type {} needs `{missing}`", kind.name()));
        }
        let given: BTreeMap<String, String> =
            stated.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        let mut params = given.clone();
        params.insert("storage".into(), self.storage.clone());
        let row: Row = params.iter().map(|(k, v)| (k.clone(), Json::from(v.as_str()))).collect();
        let step = Step::api(Method::Post, "/storage", params);
        let step = cluster::will_answer(step, cluster::storages(), cluster::with_row(&found.storages, "storage", row));
        let after = cluster::lines(given.iter().map(|(k, v)| (k.as_str(), v.clone())));
        Verdict::drift(
            format!("define storage {} ({})", self.storage, kind.name()),
            diff::created(&self.place(), &after),
            vec![step],
        )
    }

    /// Defined as described: can the nodes use it?
    fn usable(&self, found: &Found, row: &Row) -> Verdict {
        let name = &self.storage;
        let fine = Verdict::ok(format!("storage {name} is as described"));
        if values::truthy(row.get("disable")) {
            return fine;
        }
        let online = |row: &&Row| found.nodes.iter().any(|node| node.online && node.name == field(row, "node"));
        let of_nodes: Vec<&Row> =
            found.states.iter().filter(|row| field(row, "storage") == *name).filter(online).collect();
        // Proxmox has one word for one that can be used. Where it says nothing, nothing is known.
        let (apart, words): (Vec<String>, BTreeSet<String>) = of_nodes
            .iter()
            .filter(|row| !matches!(field(row, "status").as_str(), "" | "available"))
            .map(|row| (field(row, "node"), field(row, "status")))
            .unzip();
        if apart.is_empty() {
            return fine;
        }
        let words = words.into_iter().collect::<Vec<_>>().join(", ");
        let what = format!("Proxmox cannot use storage {name} on {} (status {words})", apart.join(", "));
        let look = format!("look there with `pvesm status --storage {name}`");
        let network = matches!(field(row, "type").as_str(), "nfs" | "cifs" | "cephfs" | "glusterfs" | "pbs");
        if !network && apart.len() < of_nodes.len() {
            return fine.warn(format!("{what}: {look}, or name in `nodes` where it is to be used"));
        }
        let server = field(row, "server");
        let server = if server.is_empty() { "what it lies on".to_owned() } else { format!("its server {server}") };
        // A storage that was just defined is looked at by each node within some seconds.
        Verdict::wait(
            format!("{what}, though it is defined as described: {server} does not answer, or hangs; {look}"),
            SEEN_S,
            3,
            None,
        )
        .meanwhile(Meanwhile::Trouble)
    }

    fn update(&self, found: &Found, row: &Row) -> Verdict {
        let stated = self.stated();
        let differing: Vec<&str> =
            stated.iter().filter(|(key, wanted)| !same(key, wanted, row)).map(|(key, _)| *key).collect();
        let fixed: Vec<String> = differing
            .iter()
            .filter(|key| FIXED.contains(key))
            .map(|key| format!("{key} is `{}`, described as `{}`", field(row, key), stated[key]))
            .collect();
        if !fixed.is_empty() {
            return Verdict::blocked(format!(
                "Proxmox cannot change this of storage {}: {}. Move what lies on it, remove the definition \
                 (`state: absent`, the data stay), and define it anew",
                self.storage,
                fixed.join("; ")
            ));
        }
        if differing.is_empty() {
            return self.usable(found, row);
        }
        let mut params = Params::default();
        for key in &differing {
            params.put(key, &stated[key]);
        }
        let now = |row: &Row| cluster::lines(differing.iter().map(|key| (*key, shown(key, &field(row, key)))));
        let after = cluster::written(row, &params);
        let text = diff::unified(&self.place(), &now(row), &now(&after));
        let step = Step::api(Method::Put, self.place(), params.update(&field(row, "digest")));
        let step =
            cluster::will_answer(step, cluster::storages(), cluster::with_row(&found.storages, "storage", after));
        Verdict::drift(format!("set {} of storage {}", differing.join(", "), self.storage), text, vec![step])
    }
}

fn same(key: &str, wanted: &str, row: &Row) -> bool {
    let actual = field(row, key);
    match key {
        "content" | "nodes" => values::set(wanted) == values::set(&actual),
        "options" => {
            let words = |text: &str| {
                text.split(',').map(|w| w.trim().to_owned()).filter(|w| !w.is_empty()).collect::<BTreeSet<_>>()
            };
            words(wanted) == words(&actual)
        }
        // A network storage is always shared, stated or not.
        "shared" if field(row, "type") == "nfs" => wanted == "1",
        "shared" | "disable" => (wanted == "1") == values::truthy(row.get(key)),
        "path" | "export" => wanted.trim_end_matches('/') == actual.trim_end_matches('/'),
        _ => wanted == actual,
    }
}

fn shown(key: &str, value: &str) -> String {
    match key {
        "content" | "nodes" => values::set(value).into_iter().collect::<Vec<_>>().join(","),
        _ => value.to_owned(),
    }
}

impl Task for PveStorage {
    const KIND: &'static str = "pve_storage";
    const EXAMPLE: &'static str = "\
- name: Guests may use the export
  pve_storage:
    storage: nfs1
    type: nfs
    server: 192.168.1.11
    export: /data
    content: [images, rootdir]
    options: vers=3
";
    const TOUCHES: Touches = Touches::Cluster;
    type Seen = cluster::Seen<Found>;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = Vec::new();
        let named = self.storage.starts_with(|c: char| c.is_ascii_alphabetic())
            && self.storage.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && self.storage.len() > 1;
        if !named {
            faults.push(ArgFault::at("storage", "a storage's name is a letter, then letters, digits, `-`, `_`, `.`"));
        }
        if let (Some(kind), Presence::Present) = (self.kind, self.state) {
            let stated = self.stated();
            for missing in kind.needs().iter().filter(|key| !stated.contains_key(*key)) {
                faults.push(ArgFault::at("type", format!("a storage of type {} needs `{missing}`", kind.name())));
            }
        }
        if self.kind == Some(Kind::Nfs) && self.shared == Some(false) {
            faults.push(ArgFault::at("shared", "an NFS storage is always shared"));
        }
        faults
    }

    fn object(&self) -> String {
        self.storage.clone()
    }

    fn trails(&self) -> Vec<Trail> {
        vec![Trail::File("/etc/pve/storage.cfg".into())]
    }

    fn probe(&self, host: &dyn Probe) -> Result<Self::Seen, LookError> {
        if !cluster::is_cluster(host) {
            return Ok(cluster::Seen::Node(()));
        }
        let storages = cluster::rows(host, &cluster::storages())?;
        let hidden = match cluster::find(&storages, "storage", &self.storage) {
            Some(_) => None,
            None => cluster::hidden_storage(host, &self.storage)?,
        };
        let (nodes, states) = (cluster::nodes(host)?, cluster::rows(host, &cluster::storage_states())?);
        Ok(cluster::Seen::Cluster(Found { storages, nodes, hidden, states }))
    }

    fn rights(&self, seen: &Self::Seen) -> Vec<Right> {
        let cluster::Seen::Cluster(found) = seen else { return Vec::new() };
        let name = &self.storage;
        let there = cluster::find(&found.storages, "storage", name).is_some();
        let write = Right::to(format!("define storage {name}"), "/storage", "Datastore.Allocate");
        match self.judge(found).decision {
            Decision::Drift(_) => vec![write],
            // One that is not shown may be there, and as described.
            Decision::Blocked(_) if !there && found.hidden.is_some() => {
                vec![Right::any(format!("see storage {name}"), self.place(), cluster::SEES_STORAGE), write.perhaps()]
            }
            Decision::Blocked(_) if !there && self.state == Presence::Present => vec![write.perhaps()],
            _ => Vec::new(),
        }
    }

    fn decide(&self, seen: &Self::Seen) -> Verdict {
        match seen {
            cluster::Seen::Cluster(found) => self.judge(found),
            cluster::Seen::Node(()) => Verdict::blocked("a storage belongs to the cluster: write `hosts: cluster`"),
        }
        .data(json!({ "storage": self.storage }))
    }

    fn decide_all(&self, all: &BTreeMap<String, Observation<Self::Seen>>) -> BTreeMap<String, Verdict> {
        cluster::verdict(all, |found| &found.nodes, |found, _| self.judge(found))
    }
}

#[cfg(test)]
mod tests;
