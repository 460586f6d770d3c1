//! Looking at one node. Asks DRBD's tools only while a 9.x module is loaded, because asking would load one.

use super::DrbdResource;
use super::owner::{self, Owner};
use crate::drbd::gi::{self, Generation};
use crate::drbd::resource::{File, Resource};
use crate::drbd::words::Role;
use crate::drbd::{module, plan, status};
use crate::host::{LookError, Output, Probe, Query, Topic};
use crate::tasks::drbd_seen::{answer, dry_run};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What one node says. A question that got no answer is an error in its field, never a default.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seen {
    pub inventory_name: String,
    /// `uname -n`; the `on` section of this host must have this name.
    pub uname: String,
    /// `/sys/module/drbd/version`; `None` = not loaded.
    pub module: Option<String>,
    /// What modprobe would load, asked only when the module is not the right one.
    pub module_found: Option<String>,
    pub file: Option<FileSeen>,
    /// Other files in /etc/drbd.d.
    pub others: Vec<OtherFile>,
    /// Backing and metadata devices, those described and those in the file as it is.
    pub disks: BTreeMap<String, Disk>,
    /// Stable names of described disks whose own name is not stable.
    pub stable_names: BTreeMap<String, Vec<String>>,
    /// The rest only while a 9.x module is loaded.
    pub runtime: Option<Runtime>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FileSeen {
    pub text: String,
    pub mode: u32,
}

/// A `.res` file that is not ours.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OtherFile {
    pub path: String,
    pub resources: Result<Vec<Resource>, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disk {
    Missing,
    /// `blkid -p` found nothing at all.
    Blank,
    /// DRBD metadata, `v09` or older.
    Metadata {
        version: String,
    },
    /// A file system, partition table, RAID member, …; in `blkid`'s words.
    Holds(String),
    CannotTell(String),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Runtime {
    /// Of this resource; `Ok(None)` = not up.
    pub status: Result<Option<status::Resource>, String>,
    /// Minors in use by other resources that are up.
    pub minors: BTreeMap<u32, String>,
    /// By volume; the text is what `get-gi` printed, for a guard.
    pub generations: BTreeMap<u32, Result<Gi, String>>,
    /// `drbdadm -d adjust`; `None` = not asked, because the file does not describe the resource for this host.
    pub plan: Option<Result<plan::Plan, String>>,
    /// By volume: lines of the kernel's list of openers; absent = cannot be told.
    pub openers: BTreeMap<u32, usize>,
    /// Whose disk it is; asked only of a Primary.
    #[serde(default)]
    pub owner: Option<Owner>,
    /// Node-id in metadata of a disk that is not attached, where it has one.
    pub md_node_ids: BTreeMap<u32, i32>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Gi {
    pub text: String,
    pub lines: Vec<Generation>,
}

impl Gi {
    pub fn is_just_created(&self) -> bool {
        self.lines.iter().all(Generation::is_just_created)
    }
}

impl Seen {
    pub fn status(&self) -> Option<&status::Resource> {
        self.runtime.as_ref()?.status.as_ref().ok()?.as_ref()
    }

    pub fn module_is_9(&self) -> bool {
        self.module.as_deref().and_then(module::Version::parse).is_some_and(|v| v.major >= 9)
    }

    /// The resource in the file as it is, if that reads.
    pub fn described(&self, name: &str) -> Option<Result<Resource, String>> {
        let file = self.file.as_ref()?;
        Some(match File::read(&file.text) {
            Err(fault) => Err(fault.to_string()),
            Ok(read) => read.resource(name).cloned().ok_or_else(|| format!("it holds no resource {name}")),
        })
    }
}

pub fn blkid(disk: &str) -> Query {
    Query::new(Topic::Device(disk.to_owned()), ["blkid", "-p", "-o", "export", disk])
}

pub fn get_gi(name: &str, volume: &str) -> Query {
    Query::new(Topic::Drbd(name.to_owned()), ["drbdadm", "get-gi", volume])
}

pub fn probe(task: &DrbdResource, host: &dyn Probe) -> Result<Seen, LookError> {
    let module = host.read_text(Path::new("/sys/module/drbd/version"))?.map(|v| v.trim().to_owned());
    let uname = host.query(&Query::new(Topic::Other, ["uname", "-n"]))?;
    if uname.rc != 0 {
        return Err(LookError::cannot_tell("uname -n", uname.complaint()));
    }
    let uname = uname.stdout.trim().to_owned();
    let path = task.path();
    let file = match host.read_text(Path::new(&path))? {
        None => None,
        Some(text) => {
            let mode = host.stat(Path::new(&path))?.map_or(0, |s| s.mode);
            Some(FileSeen { text, mode })
        }
    };
    let mut seen = Seen {
        inventory_name: host.name().to_owned(),
        others: other_files(host, &path)?,
        uname,
        module,
        module_found: None,
        file,
        disks: BTreeMap::new(),
        stable_names: BTreeMap::new(),
        runtime: None,
    };
    let old = seen.described(&task.name).and_then(Result::ok);
    let wanted = task.resource();
    let mut paths: BTreeSet<String> = BTreeSet::new();
    for resource in old.iter().chain([&wanted]) {
        if let Some(here) = resource.host(&seen.uname) {
            paths.extend(resource.volume_numbers().into_iter().flat_map(|n| devices_of(resource, here, n)));
        }
    }
    for path in paths {
        seen.disks.insert(path.clone(), look_at_disk(host, &path)?);
    }
    if let Some(here) = wanted.host(&seen.uname) {
        for number in wanted.volume_numbers() {
            for path in devices_of(&wanted, here, number).into_iter().filter(|p| is_unstable(p)) {
                let names = stable_names(host, &path)?;
                seen.stable_names.insert(path, names);
            }
        }
    }
    if seen.module_is_9() {
        seen.runtime = Some(runtime(task, host, &seen, old.as_ref())?);
    } else {
        let query = Query::new(Topic::Module("drbd".into()), ["modinfo", "-F", "version", "drbd"]);
        seen.module_found = answer(host, &query)?.ok().map(|o| o.stdout.trim().to_owned()).filter(|v| !v.is_empty());
    }
    Ok(seen)
}

/// The disk and, where it is elsewhere, the metadata device of a volume.
pub fn devices_of(resource: &Resource, host: &crate::drbd::resource::OnHost, number: u32) -> Vec<String> {
    let volume = resource.volume_on(host, number);
    let Some(disk) = volume.disk.as_ref().and_then(|d| d.path()) else { return Vec::new() };
    let mut all = vec![disk.to_owned()];
    if let Some(crate::drbd::resource::MetaDisk::External { path, .. }) = volume.meta_disk {
        all.push(path);
    }
    all
}

fn other_files(host: &dyn Probe, own: &str) -> Result<Vec<OtherFile>, LookError> {
    let mut all = Vec::new();
    for name in host.list(Path::new("/etc/drbd.d"))?.unwrap_or_default() {
        let path = format!("/etc/drbd.d/{name}");
        if !name.ends_with(".res") || name.starts_with('.') || path == own {
            continue;
        }
        let Some(text) = host.read_text(Path::new(&path))? else { continue };
        let resources = File::read(&text).map(|f| f.resources).map_err(|fault| fault.to_string());
        all.push(OtherFile { path, resources });
    }
    Ok(all)
}

/// Names that the kernel gives out in the order in which it finds devices.
pub fn is_unstable(path: &str) -> bool {
    let Some(name) = path.strip_prefix("/dev/") else { return false };
    let starts = ["sd", "vd", "xvd", "hd", "nvme", "mmcblk", "md", "dm-", "loop"];
    !name.contains('/') && starts.iter().any(|s| name.strip_prefix(s).is_some_and(|rest| !rest.is_empty()))
}

/// Links under /dev/disk that lead to a device, those by partition or serial number first.
fn stable_names(host: &dyn Probe, path: &str) -> Result<Vec<String>, LookError> {
    let wanted = path.rsplit('/').next().unwrap_or(path);
    let mut found = Vec::new();
    for dir in ["by-partuuid", "by-id", "by-partlabel", "by-path"] {
        let dir = format!("/dev/disk/{dir}");
        for name in host.list(Path::new(&dir))?.unwrap_or_default() {
            let link = format!("{dir}/{name}");
            let target = host.stat(Path::new(&link))?.and_then(|s| s.link_target);
            if target.is_some_and(|t| t.rsplit('/').next() == Some(wanted)) {
                found.push(link);
            }
        }
    }
    Ok(found)
}

fn look_at_disk(host: &dyn Probe, path: &str) -> Result<Disk, LookError> {
    if host.stat(Path::new(path))?.is_none() {
        return Ok(Disk::Missing);
    }
    match host.query(&blkid(path)) {
        Ok(output) => Ok(read_blkid(&output)),
        Err(error @ (LookError::NoProgram { .. } | LookError::Timeout { .. })) => {
            Ok(Disk::CannotTell(error.to_string()))
        }
        Err(error) => Err(error),
    }
}

/// `blkid -p -o export`. Exit 2 means "nothing found" and also "could not open": only silence is blank.
pub fn read_blkid(output: &Output) -> Disk {
    let pairs: BTreeMap<&str, &str> = output.stdout.lines().filter_map(|l| l.split_once('=')).collect();
    let get = |key: &str| pairs.get(key).copied().unwrap_or_default();
    if output.rc == 2 && output.stdout.trim().is_empty() && output.stderr.trim().is_empty() {
        return Disk::Blank;
    }
    if output.rc == 8 {
        return Disk::Holds("several contradicting signatures".into());
    }
    if output.rc != 0 {
        return Disk::CannotTell(format!("blkid ended with {}: {}", output.rc, output.complaint()));
    }
    if get("TYPE") == "drbd" {
        return Disk::Metadata { version: get("VERSION").to_owned() };
    }
    let mut words: Vec<String> = Vec::new();
    for (key, what) in [("TYPE", ""), ("PTTYPE", "partition table "), ("LABEL", "labelled "), ("UUID", "UUID ")] {
        if !get(key).is_empty() {
            words.push(format!("{what}{}", get(key)));
        }
    }
    if words.is_empty() {
        return Disk::CannotTell("blkid found something and does not say what".into());
    }
    Disk::Holds(words.join(", "))
}

fn runtime(
    task: &DrbdResource,
    host: &dyn Probe,
    seen: &Seen,
    described: Option<&Resource>,
) -> Result<Runtime, LookError> {
    let topic = || Topic::Drbd(task.name.clone());
    let query = Query::new(topic(), ["drbdsetup", "status", "--json"]);
    let all = answer(host, &query)?.and_then(|o| status::parse(&o.stdout));
    let mut minors = BTreeMap::new();
    let status = all.map(|all| {
        for other in all.iter().filter(|r| r.name != task.name) {
            minors.extend(other.devices.iter().map(|d| (d.minor, other.name.clone())));
        }
        all.into_iter().find(|r| r.name == task.name)
    });
    let mut found = Runtime {
        status,
        minors,
        generations: BTreeMap::new(),
        plan: None,
        openers: BTreeMap::new(),
        owner: None,
        md_node_ids: BTreeMap::new(),
    };
    // drbdadm knows the resource only by a file that names this host.
    let Some((described, here)) = described.and_then(|d| Some((d, d.host(&seen.uname)?))) else { return Ok(found) };
    found.plan = Some(answer(host, &dry_run(&task.name))?.map(|o| plan::parse(&o.stdout)));
    let numbers = described.volume_numbers();
    for number in &numbers {
        let volume = if numbers == [0] { task.name.clone() } else { format!("{}/{number}", task.name) };
        let devices = devices_of(described, here, *number);
        // Without metadata there is nothing to ask, and without a disk no place for it.
        if !devices.iter().any(|d| matches!(seen.disks.get(d), Some(Disk::Metadata { .. }))) {
            continue;
        }
        let gi = answer(host, &get_gi(&task.name, &volume))?
            .and_then(|o| Ok(Gi { lines: gi::parse_get_gi(&o.stdout)?, text: o.stdout }));
        found.generations.insert(*number, gi);
        let is_up = !matches!(&found.status, Ok(None));
        // An attached disk refuses dump-md, and its node-id is the kernel's anyway.
        if !is_up {
            let dump = answer(host, &Query::new(topic(), ["drbdadm", "dump-md", &volume]))?;
            if let Some(id) = dump.ok().and_then(|o| gi::parse_dump_md(&o.stdout)).and_then(|md| md.node_id) {
                found.md_node_ids.insert(*number, id);
            }
        }
    }
    if let Ok(Some(resource)) = &found.status {
        if resource.role == Role::Primary {
            let by_name =
                |(number, device): (u32, String)| [device, format!("/dev/drbd/by-res/{}/{number}", task.name)];
            let devices: Vec<String> = task.devices().into_iter().flat_map(by_name).collect();
            found.owner = owner::look(host, &devices)?;
        }
        for device in &resource.devices {
            let path = format!("/sys/kernel/debug/drbd/resources/{}/volumes/{}/openers", task.name, device.volume);
            // debugfs may not be mounted; that tells nothing.
            if let Ok(Some(text)) = host.read_text(Path::new(&path)) {
                found.openers.insert(device.volume, text.lines().filter(|l| !l.trim().is_empty()).count());
            }
        }
    }
    Ok(found)
}
