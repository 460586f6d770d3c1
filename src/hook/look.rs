//! One look at a node: which resources a container stands on, and what the kernel says about them.
//!
//! Loads no module: without one `drbdsetup` is not run. What was not answered is kept as such, never as absent.

use super::config::Settings;
use super::container::{self, Origin};
use super::holders;
use super::observation::{Held, Module, Observation, Quorum, Seen, State};
use super::stack::{self, Stack};
use crate::drbd::module::Version;
use crate::drbd::resource;
use crate::drbd::status::{self, Resource};
use crate::drbd::words::{ConnectionState, ReplicationState, Role};
use crate::host::{LookError, Output, Probe, Query, Topic};
use std::path::Path;

/// What a container needs of DRBD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// `rootfs`, `mp0`; `hook.yml` for a resource named there.
    pub key: String,
    /// The path, or the resource's name.
    pub what: String,
    pub stack: Stack,
}

/// Everything the container stands on.
///
/// # Errors
/// When its configuration or sysfs cannot be read: then nothing is known.
pub fn needed(host: &dyn Probe, vmid: u32, settings: &Settings) -> Result<Vec<Needed>, LookError> {
    let text = configuration(host, vmid)?;
    let mut all = Vec::new();
    for mounted in container::mounted(&text) {
        let device = match mounted.from {
            Origin::Device(path) => Some(path),
            Origin::Directory(_) => None,
            Origin::Volume { storage, name } => {
                let storages = host.read_text(Path::new("/etc/pve/storage.cfg"))?.unwrap_or_default();
                container::device_of_volume(&storages, &storage, &name)
            }
        };
        let Some(what) = device else { continue };
        let stack = stack::of_path(host, &what)?;
        if !stack.is_empty() {
            all.push(Needed { key: mounted.key, what, stack });
        }
    }
    for name in &settings.resources {
        let stack = Stack { resource: Some(name.clone()), ..Stack::default() };
        all.push(Needed { key: "hook.yml".into(), what: name.clone(), stack });
    }
    Ok(all)
}

/// The container's file: this node's, or that of the node that owns it now.
fn configuration(host: &dyn Probe, vmid: u32) -> Result<String, LookError> {
    let own = format!("/etc/pve/lxc/{vmid}.conf");
    if let Some(text) = host.read_text(Path::new(&own))? {
        return Ok(text);
    }
    for node in host.list(Path::new("/etc/pve/nodes"))?.unwrap_or_default() {
        if let Some(text) = host.read_text(Path::new(&format!("/etc/pve/nodes/{node}/lxc/{vmid}.conf")))? {
            return Ok(text);
        }
    }
    Err(LookError::cannot_tell(own, "there is no such file; is pve-cluster.service running?"))
}

pub fn module(host: &dyn Probe) -> Module {
    match host.read_text(Path::new("/sys/module/drbd/version")) {
        Ok(Some(text)) => match Version::parse(&text) {
            Some(version) => Module::Loaded(version),
            None => Module::Untold(format!("/sys/module/drbd/version says `{}`", text.trim())),
        },
        Ok(None) => Module::Absent,
        Err(error) => Module::Untold(error.to_string()),
    }
}

/// Looks at everything needed, once.
pub fn look(host: &dyn Probe, needed: &[Needed], settings: &Settings) -> Observation {
    let module = module(host);
    let known = matches!(&module, Module::Loaded(version) if version.major == 9);
    if needed.is_empty() || !known {
        let unseen = |n: &Needed| Seen { name: name_of(host, n, None), state: State::NotUp };
        return Observation { module, resources: needed.iter().map(unseen).collect() };
    }
    let all = status(host, settings);
    let mut resources: Vec<Seen> = Vec::new();
    for one in needed {
        for seen in seen(host, one, &all, settings) {
            if !resources.iter().any(|r| r.name == seen.name) {
                resources.push(seen);
            }
        }
    }
    Observation { module, resources }
}

fn ask(host: &dyn Probe, settings: &Settings, argv: &[&str]) -> Result<String, String> {
    let query = Query::new(Topic::Other, argv.iter().copied()).timeout_s(settings.command_timeout_s);
    match host.query(&query) {
        Ok(Output { rc: 0, stdout, .. }) => Ok(stdout),
        Ok(output) => {
            let said = output.complaint().lines().next_back().unwrap_or("it said nothing").trim().to_owned();
            Err(format!("`{}` ended with {}: {said}", argv.join(" "), output.rc))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Every resource that is up.
pub fn status(host: &dyn Probe, settings: &Settings) -> Result<Vec<Resource>, String> {
    status::parse(&ask(host, settings, &["drbdsetup", "status", "--json"])?)
}

/// One state for each resource below a device: LVM may lie on several.
fn seen(host: &dyn Probe, needed: &Needed, all: &Result<Vec<Resource>, String>, settings: &Settings) -> Vec<Seen> {
    let all = match all {
        Ok(all) => all,
        Err(why) => return vec![Seen { name: name_of(host, needed, None), state: State::Untold(why.clone()) }],
    };
    let mut found = Vec::new();
    if let Some(name) = &needed.stack.resource {
        found.push((name.clone(), all.iter().find(|r| r.name == *name)));
    }
    for minor in &needed.stack.minors {
        let up = all.iter().find(|r| r.devices.iter().any(|d| d.minor == *minor));
        if !found.iter().any(|(_, known)| known.is_some_and(|k| up.is_some_and(|u| u.name == k.name))) {
            found.push((up.map_or_else(|| name_of(host, needed, Some(*minor)), |r| r.name.clone()), up));
        }
    }
    let state = |(name, status): (String, Option<&Resource>)| match status {
        None => Seen { name, state: State::NotUp },
        Some(status) => {
            let quorum = if all_linked(status) { Quorum::NotAsked } else { quorum(host, settings, &name) };
            let held = match status.role {
                Role::Primary => holders::held(host, status, &needed.stack.above),
                _ => Held::NotAsked,
            };
            Seen { name, state: State::Up { status: Box::new(status.clone()), quorum, held } }
        }
    };
    found.into_iter().map(state).collect()
}

fn all_linked(status: &Resource) -> bool {
    status.connections.iter().all(|c| {
        c.connection_state == ConnectionState::Connected
            && c.peer_devices.iter().any(|d| d.replication_state != ReplicationState::Off)
    })
}

/// Whether the kernel has a quorum configured for it; only what differs from the default (`off`) is shown.
fn quorum(host: &dyn Probe, settings: &Settings, name: &str) -> Quorum {
    let text = match ask(host, settings, &["drbdsetup", "show", "--json"]) {
        Ok(text) => text,
        Err(why) => return Quorum::Untold(why),
    };
    let read = |why: &str| Quorum::Untold(format!("drbdsetup show --json: {why}"));
    let all: serde_json::Value = match serde_json::from_str(&text) {
        Ok(all) => all,
        Err(error) => return read(&error.to_string()),
    };
    let one = all.as_array().and_then(|all| all.iter().find(|r| r["resource"] == name));
    match one {
        None => read("it does not name the resource"),
        Some(one) => match one.pointer("/options/quorum") {
            None => Quorum::Off,
            Some(value) if value == "off" => Quorum::Off,
            Some(serde_json::Value::String(_) | serde_json::Value::Number(_)) => Quorum::Configured,
            Some(_) => read("its quorum does not read"),
        },
    }
}

/// The resource's name for a sentence: as the path says, as a file below `/etc/drbd.d` says, or the path itself.
fn name_of(host: &dyn Probe, needed: &Needed, minor: Option<u32>) -> String {
    if let Some(name) = &needed.stack.resource {
        return name.clone();
    }
    let wanted = minor.or(needed.stack.minors.first().copied());
    let files = host.list(Path::new("/etc/drbd.d")).ok().flatten().unwrap_or_default();
    for file in files.iter().filter(|f| f.ends_with(".res")) {
        let Ok(Some(text)) = host.read_text(&Path::new("/etc/drbd.d").join(file)) else { continue };
        let Ok(read) = resource::File::read(&text) else { continue };
        let has = |r: &&resource::Resource| {
            let hosts = r.hosts.iter().flat_map(|h| h.volumes.values());
            let mut volumes = r.volumes.values().chain(hosts);
            volumes.any(|v| v.device.as_ref().and_then(resource::Device::minor).is_some_and(|m| Some(m) == wanted))
        };
        if let Some(found) = read.resources.iter().find(has) {
            return found.name.clone();
        }
    }
    minor.map_or_else(|| needed.what.clone(), |minor| format!("/dev/drbd{minor}"))
}
