//! Creating a container: what is refused at once, what the task does, what it stores.
//! A device is never formatted: it must hold a file system already, as with PVE.

use super::modify;
use super::{find, rootfs, save, volume_of};
use crate::lab::api::call::{Call, Outcome};
use crate::lab::api::conf::{GuestConf, Keys};
use crate::lab::api::formats::{self, parse_volume_id};
use crate::lab::api::request::Fault;
use crate::lab::api::site::Unpack;
use crate::lab::api::{content, storage};
use crate::lab::world::Flavour;
use std::collections::BTreeMap;

/// Parameters that are no configuration.
const CREATE_ONLY: [&str; 17] = [
    "node",
    "vmid",
    "ostemplate",
    "password",
    "ssh-public-keys",
    "start",
    "pool",
    "unique",
    "force",
    "bwlimit",
    "storage",
    "restore",
    "ignore-unpack-errors",
    "unprivileged",
    "ha-managed",
    "digest",
    "rootfs",
];

pub fn create(call: &mut Call) -> Outcome {
    let (vmid, node) = (call.vmid(), call.node.clone());
    call.need_quorum()?;
    if let Some(guest) = find(call.site, vmid) {
        return Err(Fault::die(format!("CT {vmid} already exists on node '{}'", guest.node)));
    }
    call.need(&format!("/vms/{vmid}"), "VM.Allocate")
        .map_err(|_| Fault::Text(403, "Permission check failed".into()))?;
    let unprivileged = match call.get("unprivileged") {
        Some(word) => word == "1",
        // The default changed with 9.0.
        None => call.flavour == Flavour::Pve9,
    };
    let mut asked: BTreeMap<String, String> = call
        .params
        .iter()
        .filter(|(key, _)| !CREATE_ONLY.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let has_mount_points = asked.keys().any(|key| modify::is_indexed(key, "mp"));
    let place = match call.get("rootfs") {
        Some(value) => value.to_string(),
        None if has_mount_points => {
            return Err(Fault::die("mount points configured, but 'rootfs' not set - aborting"));
        }
        None => format!("{}:4", call.get("storage").unwrap_or("local")),
    };
    let mut checked = asked.clone();
    checked.insert("rootfs".into(), place.clone());
    modify::check_permissions(call, vmid, &checked, &[], &BTreeMap::new(), unprivileged)?;
    if let Some(volume) = asked.get("hookscript") {
        content::check_hookscript(call.site, &node, volume).map_err(Fault::die)?;
    }
    may_create(call, &place, unprivileged)?;
    let place = Place::parse(call, vmid, &place)?;
    for (key, value) in std::mem::take(&mut asked) {
        let value = modify::normalise(call, &key, &value, true);
        asked.insert(key, value);
    }
    asked.entry("hostname".into()).or_insert_with(|| format!("CT{vmid}"));
    for key in ["memory", "swap"] {
        asked.entry(key.into()).or_insert_with(|| "512".into());
    }
    if unprivileged {
        asked.insert("unprivileged".into(), "1".into());
    }
    asked.insert("rootfs".into(), place.stored.clone());
    let mut conf = GuestConf::default();
    asked.iter().filter(|(_, value)| !value.is_empty()).for_each(|(key, value)| conf.main.set(key, value));
    let mut log = Vec::new();
    let result = work(call, vmid, conf, &place, unprivileged, &mut log);
    let result = result.map_err(|text| format!("unable to create CT {vmid} - {text}"));
    if result.is_err() {
        let path = format!("/etc/pve/{}", super::path_of(&node, vmid));
        call.site.remove(&node, &path).map_err(Fault::die)?;
    }
    let ok = result.is_ok();
    let upid = call.task("vzcreate", &vmid.to_string(), log, result);
    if ok && call.flag("start") {
        super::power::start(call)?;
    }
    Ok(upid)
}

/// What is asked beside the keys: the storages of volume and template, and what privileged containers need from 9 on.
fn may_create(call: &Call, rootfs: &str, unprivileged: bool) -> Result<(), Fault> {
    if let Ok((storage, _)) = parse_volume_id(volume_of(rootfs)) {
        call.need(&format!("/storage/{storage}"), "Datastore.AllocateSpace")?;
    }
    if let Ok((storage, _)) = parse_volume_id(call.param("ostemplate")) {
        let path = format!("/storage/{storage}");
        if !call.may(&path, "Datastore.Audit") {
            call.need(&path, "Datastore.AllocateSpace")?;
        }
    }
    if !unprivileged && call.flavour == Flavour::Pve9 {
        call.need("/", "Sys.Modify")?;
    }
    Ok(())
}

/// Where the root file system goes, and how the configuration names it.
struct Place {
    stored: String,
    /// Path, format and bytes of a volume that is to be made.
    volume: Option<(String, u64)>,
}

impl Place {
    fn parse(call: &Call, vmid: u32, asked: &str) -> Result<Self, Fault> {
        let volume = volume_of(asked);
        if volume.starts_with('/') {
            return Ok(Self { stored: modify::volume(asked), volume: None });
        }
        let (id, name) = parse_volume_id(volume).map_err(Fault::die)?;
        let entry = storage::get(call.site, &call.node, id).map_err(Fault::die)?;
        if !storage::holds(&entry, "rootdir") {
            return Err(Fault::die(format!("storage '{id}' does not support container directories")));
        }
        let Ok(gib) = name.parse::<f64>() else {
            return Ok(Self { stored: modify::volume(asked), volume: None });
        };
        let bytes = ((gib * 1024.0) as u64) << 20;
        let disk = format!("vm-{vmid}-disk-0");
        let name = match storage::directory(&entry) {
            Some(_) => format!("{vmid}/{disk}.raw"),
            None => disk,
        };
        let rest: String = asked.split(',').skip(1).map(|part| format!(",{part}")).collect();
        let stored = modify::volume(&format!("{id}:{name}{rest},size={}", formats::print_size(bytes)));
        let path = storage::directory(&entry).map(|base| format!("{}/images/{name}", base.trim_end_matches('/')));
        Ok(Self { stored, volume: path.map(|path| (path, bytes)) })
    }
}

fn work(
    call: &mut Call,
    vmid: u32,
    mut conf: GuestConf,
    place: &Place,
    unprivileged: bool,
    log: &mut Vec<String>,
) -> Result<(), String> {
    let node = call.node.clone();
    let mut early = GuestConf { main: Keys::default(), ..GuestConf::default() };
    early.main.set("lock", "create");
    save(call, vmid, &early).map_err(|fault| fault.text())?;
    if let Some((path, bytes)) = &place.volume {
        log.push(format!("Formatting '{path}', fmt=raw size={bytes} preallocation=off"));
        mkfs_log(*bytes, &call.cluster.next_uuid(), log);
    }
    let template = call.param("ostemplate").to_string();
    let file =
        if template.starts_with('/') { template.clone() } else { content::path_of(call.site, &node, &template)?.0 };
    let template_there = call.site.stat(&node, &file).is_some();
    if !template_there && place.volume.is_some() {
        let text = format!("volume '{template}' does not exist");
        log.push(text.clone());
        return Err(text);
    }
    let rootfs = rootfs(call.site, &node, &conf)?;
    if !template_there {
        return Err(format!("volume '{template}' does not exist"));
    }
    let what = Unpack { vmid, rootfs, template: file, unprivileged, conf: conf.render() };
    let found = call.site.unpack(&node, &what, log)?;
    conf.main.keys.entry("ostype".into()).or_insert(found.ostype);
    if !conf.main.keys.contains_key("arch") {
        if call.flavour == Flavour::Pve9 {
            log.push(format!("Detected container architecture: {}", found.arch));
        }
        conf.main.set("arch", &found.arch);
    }
    save(call, vmid, &conf).map_err(|fault| fault.text())
}

/// What mke2fs says: small file systems have small blocks; copies of the super block lie in groups 1 and the powers
/// of 3, 5 and 7.
fn mkfs_log(bytes: u64, uuid: &str, log: &mut Vec<String>) {
    let (size, word, first) = if bytes < 512 << 20 { (1024, "1k", 1) } else { (4096, "4k", 0) };
    let blocks = bytes / size;
    let per_group = size * 8;
    let groups = (blocks - first).div_ceil(per_group).max(1);
    let bytes_per_inode = if size == 1024 { 4096 } else { 16_384 };
    let inodes = bytes / bytes_per_inode / groups / 8 * 8 * groups;
    let power = |of: u64, mut n: u64| {
        while n > 1 && n.is_multiple_of(of) {
            n /= of;
        }
        n == 1
    };
    let copies = (1..groups).filter(|group| [3, 5, 7].iter().any(|of| power(*of, *group)));
    let copies: Vec<String> = copies.map(|group| (group * per_group + first).to_string()).collect();
    log.push(format!("Creating filesystem with {blocks} {word} blocks and {inodes} inodes"));
    log.push(format!("Filesystem UUID: {uuid}"));
    log.push("Superblock backups stored on blocks: ".into());
    log.push(format!("\t{}", copies.join(", ")));
}
