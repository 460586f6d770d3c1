//! One request on its way through a handler: who asks what of which node, and the way to files and tasks.
//! It carries and helps; every decision about an endpoint is in that endpoint's file.

use super::acl::{self, Identity};
use super::auth::Secrets;
use super::request::Fault;
use super::site::Site;
use super::state::{Cluster, Task};
use crate::lab::world::Flavour;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a handler answers: the value under `data`.
pub type Outcome = Result<Value, Fault>;

pub struct Call<'a> {
    pub cluster: &'a mut Cluster,
    pub site: &'a mut dyn Site,
    pub secrets: &'a Secrets,
    pub flavour: Flavour,
    pub who: Identity,
    /// Body, query and path parameters.
    pub params: BTreeMap<String, String>,
    /// The node that handles the request: the path's, or the one that was asked.
    pub node: String,
    /// Set by paged lists; goes out beside `data`.
    pub total: Option<usize>,
    /// The file of a multipart upload: name and content.
    pub upload: Option<(String, Vec<u8>)>,
}

impl Call<'_> {
    /// A parameter that verification has made sure of.
    pub fn param(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }

    pub fn flag(&self, name: &str) -> bool {
        self.get(name) == Some("1")
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    pub fn vmid(&self) -> u32 {
        self.param("vmid").parse().unwrap_or_default()
    }

    pub fn now_s(&self) -> i64 {
        self.site.now_ms() / 1000
    }

    pub fn need(&self, path: &str, privilege: &str) -> Result<(), Fault> {
        acl::need(self.cluster, &self.who, path, privilege)
    }

    pub fn may(&self, path: &str, privilege: &str) -> bool {
        acl::has(self.cluster, &self.who, path, privilege)
    }

    /// Whether the node sees more than half of the cluster.
    pub fn quorate(&self) -> bool {
        self.site.quorate(&self.node)
    }

    /// Whether a node counts as online where this is asked: a majority does not see who was cut off from it.
    pub fn sees(&self, node: &super::site::SiteNode) -> bool {
        node.online && (node.name == self.node || !self.quorate() || self.site.quorate(&node.name))
    }

    pub fn need_quorum(&self) -> Result<(), Fault> {
        if self.quorate() { Ok(()) } else { Err(Fault::die("cluster not ready - no quorum?")) }
    }

    /// The lock that PVE takes around a change of a cluster-wide file.
    pub fn need_file_lock(&self, lock: &str) -> Result<(), Fault> {
        if self.quorate() { Ok(()) } else { Err(Fault::die(format!("cfs-lock '{lock}' error: no quorum!"))) }
    }

    /// A file under `/etc/pve` as text; empty when missing.
    pub fn etc(&self, path: &str) -> String {
        etc(self.site, &self.node, path)
    }

    pub fn write_etc(&mut self, path: &str, content: &str) -> Result<(), Fault> {
        write_etc(self.cluster, self.site, &self.node, path, content).map_err(Fault::die)
    }

    /// Records a finished piece of work as a task and returns its UPID.
    pub fn task(&mut self, kind: &str, id: &str, log: Vec<String>, result: Result<(), String>) -> Value {
        let (node, who) = (self.node.clone(), self.who.clone());
        json!(record(self.cluster, self.site.now_ms(), &node, &who, kind, id, log, result))
    }
}

pub fn etc(site: &dyn Site, node: &str, path: &str) -> String {
    site.read(node, &format!("/etc/pve/{path}"))
        .map_or_else(String::new, |bytes| String::from_utf8_lossy(&bytes).into())
}

/// Writes a file of the cluster file system, which is read-only without quorum.
pub fn write_etc(cluster: &Cluster, site: &mut dyn Site, node: &str, path: &str, content: &str) -> Result<(), String> {
    if !site.quorate(node) {
        return Err(format!("unable to open file '/etc/pve/{path}.tmp.{}' - Permission denied", 2000 + cluster.serial));
    }
    site.write(node, &format!("/etc/pve/{path}"), content.as_bytes())
}

/// Enters a task into the list. One that ended in success takes the configured time, one that died is over at once.
#[allow(clippy::too_many_arguments)]
pub fn record(
    cluster: &mut Cluster,
    now_ms: i64,
    node: &str,
    who: &Identity,
    kind: &str,
    id: &str,
    log: Vec<String>,
    result: Result<(), String>,
) -> String {
    let pid = 1000 + cluster.next_serial() as u32;
    let start_s = now_ms / 1000;
    let pstart = (now_ms as u64 / 10) & 0xFFFF_FFFF;
    let upid = format!("UPID:{node}:{pid:08X}:{pstart:08X}:{start_s:08X}:{kind}:{id}:{}:", who.full());
    let takes = if result.is_ok() { cluster.task_ms as i64 } else { 0 };
    cluster.tasks.push(Task {
        upid: upid.clone(),
        node: node.into(),
        pid,
        pstart,
        start_s,
        kind: kind.into(),
        id: id.into(),
        user: who.user.clone(),
        token: who.token.clone(),
        ends_ms: now_ms + takes,
        log,
        exit: result.err().unwrap_or_else(|| "OK".into()),
    });
    // PVE's index keeps about a thousand.
    if cluster.tasks.len() > 1000 {
        cluster.tasks.remove(0);
    }
    upid
}
