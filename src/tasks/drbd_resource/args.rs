//! The arguments: their faults, and the resource they describe.

use super::DrbdResource;
use crate::drbd::res;
use crate::drbd::resource::{
    Address, Backing, Device, Mesh, MetaDisk, OnHost, Options, Resource, Volume, minor_of_path,
};
use crate::tasks::ArgFault;
use crate::tasks::drbd_options;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One host of a resource.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// `IP:PORT` of the replication network; IPv6 as `[IP]:PORT`.
    pub address: String,
    /// The backing disk of volume 0, by a name that stays: /dev/disk/by-partuuid/…, by-id/…, an LV. `none` for a host
    /// that takes part without a disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// 0 to 31, different on every host, never changed again.
    pub node_id: u32,
    /// Where this host keeps metadata, if not as the resource says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta_disk: Option<String>,
    /// Disks of further volumes by number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, HostVolume>,
}

/// A volume's disk on one host.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostVolume {
    /// The backing disk, or `none`.
    pub disk: String,
    /// Where its metadata is kept, if not as the resource says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta_disk: Option<String>,
}

/// A volume of the resource.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VolumeArgs {
    /// As `/dev/drbd101`.
    pub device: String,
}

/// Where the first data comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FirstSync {
    /// The first source is copied to all others.
    #[default]
    Full,
    /// All copies are declared equal.
    Skip,
    /// Nobody is made the source.
    None,
}

/// Whether the resource is to run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Configured in the kernel, connected, with its device.
    #[default]
    Up,
    /// Not configured in the kernel; file and metadata stay.
    Down,
}

pub fn internal() -> String {
    "internal".into()
}
pub fn seven() -> u32 {
    7
}
pub fn one_day() -> u64 {
    86_400
}
pub fn one_minute() -> u64 {
    60
}

pub fn faults(task: &DrbdResource) -> Vec<ArgFault> {
    let mut faults = Vec::new();
    if !res::is_bare(&task.name) || task.name.contains(['/', '.']) || matches!(task.name.as_str(), "all" | "common") {
        let message = format!("`{}` is no name for a resource: letters, digits, `_` and `-`", task.name);
        faults.push(ArgFault::at("name", message));
    }
    device_faults(task, &mut faults);
    host_faults(task, &mut faults);
    for (field, options) in
        [("options", &task.options), ("net", &task.net), ("disk", &task.disk), ("handlers", &task.handlers)]
    {
        faults.extend(drbd_options::check(field, field, &options.0));
    }
    let most = task.on.len().saturating_sub(1) as u32;
    if task.max_peers < most.max(1) || task.max_peers > 31 {
        let message = format!("max_peers {} is not within {}..31", task.max_peers, most.max(1));
        faults.push(ArgFault::at("max_peers", message));
    }
    if let Some(source) = &task.first_source {
        match task.on.get(source) {
            None => faults.push(ArgFault::at("first_source", format!("`{source}` is not one of the hosts in `on`"))),
            Some(host) if host.disk.as_deref() == Some("none") => {
                faults.push(ArgFault::at("first_source", format!("`{source}` has no disk")));
            }
            Some(_) => {}
        }
    }
    faults
}

fn device_faults(task: &DrbdResource, faults: &mut Vec<ArgFault>) {
    let mut minors: BTreeMap<u32, String> = BTreeMap::new();
    let mut take = |field, device: &str, faults: &mut Vec<ArgFault>| match minor_of_path(device) {
        Some(minor) if device.starts_with("/dev/drbd") && minor < 1 << 20 => {
            if let Some(other) = minors.insert(minor, device.to_owned()) {
                faults.push(ArgFault::at(field, format!("{other} is used for two volumes")));
            }
        }
        _ => faults.push(ArgFault::at(field, format!("`{device}` is not /dev/drbdNUMBER"))),
    };
    match (&task.device, task.minor, task.volumes.is_empty()) {
        (None, None, true) => faults.push(ArgFault::task("`device` is missing").help("as `device: /dev/drbd100`")),
        (Some(device), minor, true) => {
            take("device", device, faults);
            if minor.is_some_and(|m| minor_of_path(device) != Some(m)) {
                faults.push(ArgFault::at("minor", format!("{device} has another minor")));
            }
        }
        (None, Some(minor), true) => take("minor", &format!("/dev/drbd{minor}"), faults),
        (_, _, false) if task.device.is_some() || task.minor.is_some() => {
            faults.push(ArgFault::at("volumes", "`volumes` excludes `device` and `minor`"));
        }
        (_, _, false) => {
            for (number, volume) in &task.volumes {
                if number.parse::<u16>().is_err() {
                    faults.push(ArgFault::at("volumes", format!("`{number}` is not a volume number")));
                }
                take("volumes", &volume.device, faults);
            }
        }
    }
}

fn host_faults(task: &DrbdResource, faults: &mut Vec<ArgFault>) {
    if task.on.len() < 2 {
        faults.push(ArgFault::at("on", "a replicated resource has at least two hosts"));
    }
    let mut ids: BTreeMap<u32, &str> = BTreeMap::new();
    let mut addresses: BTreeMap<String, &str> = BTreeMap::new();
    let mut with_disk = 0;
    for (name, host) in &task.on {
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')) {
            faults.push(ArgFault::at("on", format!("`{name}` is no host name")));
        }
        if host.node_id > 31 {
            faults.push(ArgFault::at("on", format!("{name}: node_id {} is not within 0..31", host.node_id)));
        }
        if let Some(other) = ids.insert(host.node_id, name) {
            let message = format!("{other} and {name} both have node_id {}", host.node_id);
            faults.push(ArgFault::at("on", message));
        }
        match Address::parse(None, &host.address) {
            Err(why) => faults.push(ArgFault::at("on", format!("{name}: address: {why}"))),
            Ok(address) => {
                if let Some(other) = addresses.insert(address.ip.clone(), name) {
                    faults.push(ArgFault::at("on", format!("{other} and {name} both have address {}", address.ip)));
                }
            }
        }
        let numbers: Vec<&String> = host.volumes.keys().collect();
        if task.volumes.is_empty() {
            if !numbers.is_empty() {
                faults.push(ArgFault::at("on", format!("{name}: `volumes` needs `volumes` in the resource")));
            }
            if host.disk.is_none() {
                faults.push(ArgFault::at("on", format!("{name}: `disk` is missing (`none` for a host without one)")));
            }
        } else if host.disk.is_some() || numbers != task.volumes.keys().collect::<Vec<_>>() {
            let message =
                format!("{name}: `volumes` must name a disk for each volume of the resource, and `disk` none");
            faults.push(ArgFault::at("on", message));
        }
        let mut disks = BTreeMap::new();
        for (path, meta) in host_disks(host) {
            if path == "none" {
                continue;
            }
            with_disk += 1;
            for path in [Some(path), meta].into_iter().flatten().filter(|p| *p != "internal") {
                let printable = path.chars().all(|c| !c.is_control()) && path.chars().count() <= res::MAX_QUOTED_CHARS;
                if !path.starts_with("/dev/") || path.contains("/../") || !printable {
                    faults.push(ArgFault::at("on", format!("{name}: `{path}` is no path of a device under /dev")));
                }
            }
            if disks.insert(path, ()).is_some() {
                faults.push(ArgFault::at("on", format!("{name}: {path} is used for two volumes")));
            }
        }
    }
    if with_disk == 0 && !task.on.is_empty() {
        faults.push(ArgFault::at("on", "no host has a disk"));
    }
    if task.meta_disk != "internal" && !task.meta_disk.starts_with("/dev/") {
        faults.push(ArgFault::at("meta_disk", format!("`{}` is neither internal nor a device", task.meta_disk)));
    }
}

fn host_disks(host: &Host) -> Vec<(&str, Option<&str>)> {
    let own = host.disk.as_deref().map(|d| (d, host.meta_disk.as_deref()));
    let more = host.volumes.values().map(|v| (v.disk.as_str(), v.meta_disk.as_deref()));
    own.into_iter().chain(more).collect()
}

impl DrbdResource {
    pub fn path(&self) -> String {
        format!("/etc/drbd.d/{}.res", self.name)
    }

    /// Volume number → device path, as the arguments say it.
    pub fn devices(&self) -> BTreeMap<u32, String> {
        if self.volumes.is_empty() {
            let device = self.device.clone().or_else(|| self.minor.map(|m| format!("/dev/drbd{m}")));
            return device.map(|d| (0, d)).into_iter().collect();
        }
        self.volumes.iter().filter_map(|(n, v)| Some((n.parse().ok()?, v.device.clone()))).collect()
    }

    /// Names for drbdadm: `NAME` where there is one volume, `NAME/0`, `NAME/1` where there are more.
    pub fn volume_name(&self, number: u32) -> String {
        if self.volumes.is_empty() { self.name.clone() } else { format!("{}/{number}", self.name) }
    }

    pub fn has_quorum(&self) -> bool {
        self.options.get("quorum").is_some_and(|q| q != "off")
    }

    /// What the arguments describe. They have been checked.
    pub fn resource(&self) -> Resource {
        let meta = |text: &str| match text {
            "internal" => MetaDisk::Internal,
            path => MetaDisk::External { path: path.to_owned(), index: None },
        };
        let volumes = self.devices().into_iter().map(|(number, device)| {
            let device = Device { minor: minor_of_path(&device), path: Some(device) };
            let meta_disk = Some(meta(&self.meta_disk));
            (number, Volume { device: Some(device), meta_disk, ..Volume::default() })
        });
        let mut hosts: Vec<OnHost> = self
            .on
            .iter()
            .map(|(name, host)| {
                let volume = |disk: &str, meta_disk: Option<&str>| Volume {
                    disk: Some(if disk == "none" { Backing::None } else { Backing::Path(disk.to_owned()) }),
                    meta_disk: meta_disk.map(meta),
                    ..Volume::default()
                };
                let first = host.disk.iter().map(|d| (0, volume(d, host.meta_disk.as_deref())));
                let more = host
                    .volumes
                    .iter()
                    .filter_map(|(n, v)| Some((n.parse().ok()?, volume(&v.disk, v.meta_disk.as_deref()))));
                OnHost {
                    names: vec![name.clone()],
                    node_id: Some(host.node_id),
                    address: Address::parse(None, &host.address).ok(),
                    volumes: first.chain(more).collect(),
                    ..OnHost::default()
                }
            })
            .collect();
        hosts.sort_by_key(|h| h.node_id);
        let mesh = Mesh { hosts: hosts.iter().map(|h| h.name().to_owned()).collect(), ..Mesh::default() };
        let sections = |o: &drbd_options::DrbdOptions| -> Options { o.0.clone() };
        Resource {
            name: self.name.clone(),
            options: sections(&self.options),
            net: sections(&self.net),
            disk: sections(&self.disk),
            handlers: sections(&self.handlers),
            volumes: volumes.collect(),
            hosts,
            meshes: vec![mesh],
            ..Resource::default()
        }
    }

    /// The file as it shall be.
    pub fn text(&self) -> String {
        let mut text =
            String::from("# Written by converge from a playbook; a change here is a drift and will be undone.\n");
        text.push_str(&res::render(&[self.resource().to_statement()]));
        text
    }

    pub fn has_secret(&self) -> bool {
        self.net.0.keys().any(|k| crate::drbd::compare::is_secret(k))
    }

    /// What is worth a warning in the description itself.
    pub fn warnings(&self) -> Vec<String> {
        let mut all = Vec::new();
        let policies: Vec<String> = ["after-sb-0pri", "after-sb-1pri", "after-sb-2pri"]
            .iter()
            .filter_map(|name| {
                let value = self.net.get(name)?;
                (value != "disconnect").then(|| format!("{name} {value}"))
            })
            .collect();
        if !self.has_quorum() {
            let mut text = format!(
                "resource {} has no quorum: an isolated node may be promoted and written to, and that ends in split brain; \
                 set options {{quorum: majority, on-no-quorum: io-error}}",
                self.name
            );
            if !policies.is_empty() {
                text.push_str(&format!(
                    "; without quorum {} throws one side's data away silently",
                    policies.join(", ")
                ));
            }
            all.push(text);
        } else if self.on.len() == 2 {
            all.push(format!(
                "resource {} has two hosts: majority of two is both, so one lost node stops the other; \
                 add a third host (disk: none is enough)",
                self.name
            ));
        }
        if self.net.get("shared-secret").is_some() && self.net.get("cram-hmac-alg").is_none() {
            all.push("shared-secret does nothing without cram-hmac-alg (as sha256)".into());
        }
        all
    }
}
