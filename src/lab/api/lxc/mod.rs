//! `/nodes/{node}/lxc`: containers, one file an endpoint family.
//! A container is its configuration file: nothing about it is remembered elsewhere, except whether it runs.

pub mod config;
pub mod create;
pub mod destroy;
pub mod migrate;
pub mod modify;
pub mod power;
pub mod status;

use super::call::{Call, Outcome};
use super::conf::GuestConf;
use super::formats::{parse_volume_id, size_bytes};
use super::request::Fault;
use super::site::{Rootfs, Site};
use super::{content, storage};
use serde_json::json;

/// A container with the node that owns its file.
#[derive(Debug, Clone)]
pub struct Guest {
    pub vmid: u32,
    pub node: String,
    pub conf: GuestConf,
}

/// Every container of the cluster, by id.
pub fn all(site: &dyn Site) -> Vec<Guest> {
    let mut guests = Vec::new();
    let nodes = site.nodes();
    let Some(through) = nodes.iter().find(|node| node.online).or(nodes.first()) else { return guests };
    for node in &nodes {
        for name in site.list(&through.name, &format!("/etc/pve/nodes/{}/lxc", node.name)) {
            let Some(vmid) = name.strip_suffix(".conf").and_then(|id| id.parse().ok()) else { continue };
            let path = format!("/etc/pve/{}", path_of(&node.name, vmid));
            if let Some(text) = site.read(&through.name, &path) {
                let conf = GuestConf::parse(&String::from_utf8_lossy(&text));
                guests.push(Guest { vmid, node: node.name.clone(), conf });
            }
        }
    }
    guests.sort_by_key(|guest| guest.vmid);
    guests
}

pub fn find(site: &dyn Site, vmid: u32) -> Option<Guest> {
    all(site).into_iter().find(|guest| guest.vmid == vmid)
}

/// Below `/etc/pve`.
pub fn path_of(node: &str, vmid: u32) -> String {
    format!("nodes/{node}/lxc/{vmid}.conf")
}

/// The container on the node that was asked, with its file's text; PVE's text where it is not there.
pub fn load(site: &dyn Site, node: &str, vmid: u32) -> Result<(GuestConf, String), String> {
    let path = path_of(node, vmid);
    let bytes = site.read(node, &format!("/etc/pve/{path}"));
    let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.ok_or_else(|| format!("Configuration file '{path}' does not exist"))?;
    Ok((GuestConf::parse(&text), text))
}

pub fn save(call: &mut Call, vmid: u32, conf: &GuestConf) -> Result<(), Fault> {
    let node = call.node.clone();
    call.write_etc(&path_of(&node, vmid), &conf.render())
}

pub fn check_lock(conf: &GuestConf) -> Result<(), String> {
    conf.main.get("lock").map_or(Ok(()), |word| Err(format!("CT is locked ({word})")))
}

/// The parts of a property string whose default key is `volume`.
pub fn volume_of(value: &str) -> &str {
    let first = value.split(',').next().unwrap_or_default();
    first.strip_prefix("volume=").unwrap_or(first)
}

pub fn option_of<'a>(value: &'a str, key: &str) -> Option<&'a str> {
    value.split(',').filter_map(|part| part.split_once('=')).find(|(name, _)| *name == key).map(|(_, value)| value)
}

/// Where the root file system lies, from the configuration's `rootfs`.
pub fn rootfs(site: &dyn Site, node: &str, conf: &GuestConf) -> Result<Rootfs, String> {
    let value = conf.main.get("rootfs").ok_or("missing rootfs configuration")?;
    let volume = volume_of(value);
    if volume.starts_with('/') {
        return Ok(Rootfs::Device(volume.into()));
    }
    let (id, name) = parse_volume_id(volume)?;
    let entry = storage::get(site, node, id)?;
    Ok(Rootfs::Volume(match storage::directory(&entry) {
        Some(base) => format!("{}/images/{name}", base.trim_end_matches('/')),
        None => format!("/dev/{id}/{name}"),
    }))
}

/// Bytes of the root file system as lists show them; 4 GiB where nobody said.
fn disk_bytes(conf: &GuestConf) -> u64 {
    let size = conf.main.get("rootfs").and_then(|value| option_of(value, "size")).and_then(size_bytes);
    size.filter(|bytes| *bytes > 0).unwrap_or(4 << 30)
}

pub fn index(_: &mut Call) -> Outcome {
    let words = "config pending status vncproxy termproxy vncwebsocket spiceproxy migrate clone rrd rrddata firewall \
                 snapshot resize interfaces";
    Ok(words.split(' ').map(|word| json!({ "subdir": word })).collect())
}

pub fn status_index(_: &mut Call) -> Outcome {
    let words = ["current", "start", "stop", "shutdown", "suspend", "resume", "reboot"];
    Ok(words.iter().map(|word| json!({ "subdir": word })).collect())
}

/// Snapshots are impossible on a device; the list holds the present state alone.
pub fn snapshots(call: &mut Call) -> Outcome {
    let (_, text) = load(call.site, &call.node, call.vmid()).map_err(Fault::die)?;
    let running = u8::from(call.site.running(call.vmid()).is_some());
    Ok(json!([{
        "name": "current", "description": "You are here!", "running": running, "digest": super::conf::digest(&text),
    }]))
}

pub fn snapshot(call: &mut Call) -> Outcome {
    let vmid = call.vmid();
    let result = load(call.site, &call.node, vmid).and_then(|(conf, _)| {
        check_lock(&conf)?;
        Err("snapshot feature is not available".into())
    });
    Ok(call.task("vzsnapshot", &vmid.to_string(), Vec::new(), result))
}

pub fn resize(call: &mut Call) -> Outcome {
    let (conf, _) = load(call.site, &call.node, call.vmid()).map_err(Fault::die)?;
    check_lock(&conf).map_err(Fault::die)?;
    let disk = call.param("disk");
    let value = conf.main.get(disk).ok_or_else(|| Fault::die(format!("no such disk '{disk}'")))?;
    parse_volume_id(volume_of(value)).map_err(Fault::die)?;
    Err(Fault::die("the lab does not resize volumes"))
}

/// The path of the hookscript, checked on this node; `None` without one.
pub fn hookscript(site: &dyn Site, node: &str, conf: &GuestConf) -> Result<Option<String>, String> {
    conf.main.get("hookscript").map(|volume| content::check_hookscript(site, node, volume)).transpose()
}
