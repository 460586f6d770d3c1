//! What is seen: of the container through the API, of its file and device on each node.

use super::Pct;
use crate::host::{ApiGet, FileKind, LookError, Output, Probe, Query, Topic};
use crate::pve::permissions::ROOT;
use crate::pve::values;
use crate::pve::{Version, lxc_conf::RawLine};
use crate::tasks::cluster::{self, Row, field};
use crate::tasks::pve_template;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    pub nodes: cluster::Members,
    /// Every guest of the cluster, as listed.
    pub guests: Vec<Row>,
    pub guest: Option<Guest>,
    /// Per node that could create it: names of templates on the storage asked for. Only where there is no container.
    pub templates: BTreeMap<String, Result<Vec<String>, String>>,
    /// Where no container is shown: why there may be one all the same.
    pub hidden: Option<String>,
    /// Asked only where it says what a login may do that is not root@pam itself.
    #[serde(default)]
    pub pve_major: Option<u32>,
    /// What is sent to the API is seen by nobody on the way.
    #[serde(default)]
    pub api_takes_secrets: bool,
}

/// The container as it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Guest {
    pub node: String,
    /// `lxc` or `qemu`.
    pub kind: String,
    /// With pending changes merged in.
    pub config: Row,
    /// Keys that wait for a restart.
    pub pending: Vec<String>,
    pub status: Row,
    /// Of a locked container: the kinds of tasks that run on it now.
    #[serde(default)]
    pub worked_on_by: Vec<String>,
    /// Why there may be more of them.
    #[serde(default)]
    pub work_hidden: Option<String>,
}

impl Guest {
    pub fn is_running(&self) -> bool {
        field(&self.status, "status") == "running"
    }

    /// The word of a lock: `backup`, `migrate`, `create`, …
    pub fn lock(&self) -> Option<String> {
        Some(field(&self.config, "lock")).filter(|l| !l.is_empty())
    }

    /// The state that HA is asked for, if HA manages it.
    pub fn ha(&self) -> Option<String> {
        let ha = self.status.get("ha")?.as_object()?;
        values::truthy(ha.get("managed")).then(|| field(ha, "state"))
    }

    pub fn raw(&self) -> Vec<RawLine> {
        let pairs = self.config.get("lxc").and_then(Json::as_array).into_iter().flatten();
        pairs.filter_map(|pair| Some((pair.get(0)?.as_str()?.to_owned(), pair.get(1)?.as_str()?.to_owned()))).collect()
    }
}

/// What a node says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OnNode {
    /// The node whose directory has the container's file, and the file. Every node sees the same cluster file system.
    pub file: Option<(String, String)>,
    /// The device for the root file system; not looked at where the container exists.
    pub device: Option<Device>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    Missing,
    /// It is there and does not open here, or what is on it cannot be told.
    Unreadable(String),
    /// Nothing that anybody knows is on it.
    Blank,
    /// Something that is no ext2, 3 or 4.
    Other(String),
    /// ext with these names in its root directory; `listing` as `debugfs` printed it.
    Ext {
        names: Vec<String>,
        listing: String,
    },
}

impl Device {
    /// The names that somebody put there.
    pub fn content(&self) -> Vec<&str> {
        let Self::Ext { names, .. } = self else { return Vec::new() };
        names.iter().map(String::as_str).filter(|n| !matches!(*n, "." | ".." | "lost+found")).collect()
    }
}

pub fn config_of(node: &str, vmid: u32) -> ApiGet {
    ApiGet::new(format!("/nodes/{node}/lxc/{vmid}/config"))
}

pub fn pending_of(node: &str, vmid: u32) -> ApiGet {
    ApiGet::new(format!("/nodes/{node}/lxc/{vmid}/pending"))
}

pub fn status_of(node: &str, vmid: u32) -> ApiGet {
    ApiGet::new(format!("/nodes/{node}/lxc/{vmid}/status/current"))
}

pub fn file_of(node: &str, vmid: u32) -> String {
    format!("/etc/pve/nodes/{node}/lxc/{vmid}.conf")
}

pub fn listing_of(device: &str) -> Query {
    Query::new(Topic::Device(device.to_owned()), ["debugfs", "-R", "ls -p /", device])
}

pub fn cluster(task: &Pct, host: &dyn Probe) -> Result<Found, LookError> {
    let nodes = cluster::nodes(host)?;
    let mut guests = cluster::rows(host, &cluster::guests())?;
    let mut guest = guest(task.vmid, host, &guests);
    if matches!(&guest, Err(LookError::Api { message, .. }) if message.contains("does not exist")) {
        // HA moved it between the two questions.
        guests = cluster::rows(host, &cluster::guests())?;
        guest = self::guest(task.vmid, host, &guests);
    }
    let guest = guest?;
    let mut templates = BTreeMap::new();
    if let (None, Some((storage, _))) = (&guest, task.ostemplate.as_deref().and_then(|t| t.split_once(':'))) {
        for node in nodes.iter().filter(|n| n.online && task.node.as_ref().is_none_or(|name| *name == n.name)) {
            let names = pve_template::present(host, &node.name, storage).map_err(|e| e.to_string());
            templates.insert(node.name.clone(), names);
        }
    }
    let hidden = match guest {
        Some(_) => None,
        None => cluster::hidden_guest(host, &task.vmid.to_string())?,
    };
    let pve_major = match host.api_user() {
        Some(user) if user != ROOT => host
            .api(&ApiGet::new("/version"))
            .ok()
            .and_then(|answer| Version::from_answer(&answer).ok())
            .map(|version| version.major),
        _ => None,
    };
    let api_takes_secrets = host.api_takes_secrets();
    Ok(Found { nodes, guests, guest, templates, hidden, pve_major, api_takes_secrets })
}

fn guest(vmid: u32, host: &dyn Probe, guests: &[Row]) -> Result<Option<Guest>, LookError> {
    let Some(row) = cluster::find(guests, "vmid", &vmid.to_string()) else { return Ok(None) };
    let (node, kind) = (field(row, "node"), field(row, "type"));
    if kind != "lxc" {
        let (config, pending, status) = (Row::new(), Vec::new(), Row::new());
        let (worked_on_by, work_hidden) = (Vec::new(), None);
        return Ok(Some(Guest { node, kind, config, pending, status, worked_on_by, work_hidden }));
    }
    let object = |get: ApiGet| {
        let answer = host.api(&get)?;
        serde_json::from_value::<Row>(answer).map_err(|e| LookError::cannot_tell(format!("GET {}", get.path), e))
    };
    let pending = cluster::rows(host, &pending_of(&node, vmid))?;
    let waiting = pending.iter().filter(|row| row.contains_key("pending") || row.contains_key("delete"));
    let mut guest = Guest {
        config: object(config_of(&node, vmid))?,
        status: object(status_of(&node, vmid))?,
        pending: waiting.map(|row| field(row, "key")).collect(),
        worked_on_by: Vec::new(),
        work_hidden: None,
        node,
        kind,
    };
    if guest.lock().is_some() {
        guest.worked_on_by = at_work(host, &guest.node, vmid)?;
        if guest.worked_on_by.is_empty() {
            guest.work_hidden = cluster::hidden_tasks(host, &guest.node)?;
        }
    }
    Ok(Some(guest))
}

/// The kinds of tasks that run on a container now. A backup of several guests names none of them.
fn at_work(host: &dyn Probe, node: &str, vmid: u32) -> Result<Vec<String>, LookError> {
    let get = ApiGet::new(format!("/nodes/{node}/tasks")).param("source", "active").param("limit", "500");
    let mine = |row: &&Row| {
        let id = field(row, "id");
        id == vmid.to_string() || (id.is_empty() && field(row, "type") == "vzdump")
    };
    Ok(cluster::rows(host, &get)?.iter().filter(mine).map(|row| field(row, "type")).collect())
}

pub fn node(task: &Pct, host: &dyn Probe) -> Result<OnNode, LookError> {
    let directory = Path::new("/etc/pve/nodes");
    let Some(names) = host.list(directory)? else {
        return Err(LookError::cannot_tell("/etc/pve", "the cluster file system is not mounted here"));
    };
    let mut file = None;
    for name in names {
        if let Some(text) = host.read_text(Path::new(&file_of(&name, task.vmid)))? {
            file = Some((name, text));
        }
    }
    let device = match (task.device(), &file) {
        (Some(device), None) => Some(look_at(&device, host)?),
        _ => None,
    };
    Ok(OnNode { file, device })
}

fn look_at(path: &str, host: &dyn Probe) -> Result<Device, LookError> {
    match host.stat(Path::new(path))? {
        None => return Ok(Device::Missing),
        Some(stat) if matches!(stat.kind, FileKind::BlockDevice | FileKind::Symlink) => {}
        Some(_) => return Ok(Device::Unreadable(format!("{path} is not a block device"))),
    }
    let topic = || Topic::Device(path.to_owned());
    let signature = host.query(&Query::new(topic(), ["blkid", "-p", "-o", "export", path]))?;
    let kind = match signature_of(&signature) {
        Ok(None) => return Ok(Device::Blank),
        Ok(Some(kind)) if !matches!(kind.as_str(), "ext2" | "ext3" | "ext4") => return Ok(Device::Other(kind)),
        Ok(Some(kind)) => kind,
        Err(why) => return Ok(Device::Unreadable(why)),
    };
    // A journal that waits to be replayed may hold the names of files that the directory does not show yet.
    let head = host.query(&Query::new(topic(), ["dumpe2fs", "-h", path]))?;
    if head.rc != 0 && head.stderr.contains("Bad magic number in super-block") {
        // blkid's word may be the prediction of a preview.
        return Ok(Device::Blank);
    }
    let features = head.stdout.lines().find_map(|line| line.strip_prefix("Filesystem features:"));
    match features.map(|words| words.split_whitespace().any(|word| word == "needs_recovery")) {
        Some(false) => {}
        Some(true) => {
            let why = format!("its {kind} was not unmounted cleanly; mount it once, look, and unmount it");
            return Ok(Device::Unreadable(why));
        }
        None => return Ok(Device::Unreadable(head.complaint().to_owned())),
    }
    let listing = host.query(&listing_of(path))?;
    // `/inode/mode/user/group/name/size/`, and rc 0 also when it could not open the device.
    let names: Vec<String> =
        listing.stdout.lines().filter_map(|line| line.split('/').nth(5)).map(str::to_owned).collect();
    if !names.iter().any(|name| name == ".") {
        return Ok(Device::Unreadable(listing.complaint().to_owned()));
    }
    Ok(Device::Ext { names, listing: listing.stdout })
}

/// What `blkid -p` recognised. It ends with 2 both when nothing is there and when the device does not open.
fn signature_of(answer: &Output) -> Result<Option<String>, String> {
    match answer.rc {
        0 => {
            let value = |key: &str| answer.stdout.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
            match value("TYPE").or_else(|| value("PTTYPE")) {
                Some(kind) => Ok(Some(kind.to_owned())),
                None => Err(format!("blkid says neither TYPE nor PTTYPE: {}", answer.stdout.trim())),
            }
        }
        2 if answer.stderr.trim().is_empty() => Ok(None),
        2 => Err(answer.complaint().to_owned()),
        8 => Err("it carries several signatures".into()),
        rc => Err(format!("blkid ended with {rc}: {}", answer.complaint())),
    }
}
