//! What DRBD knows of a device: whether this node's data may be trusted, and what its own replica holds while
//! another node uses the device.

use super::{Content, understand};
use crate::drbd::status::{self, Resource};
use crate::drbd::words::{ConnectionState, DiskState, Role};
use crate::host::{LookError, Probe, Query, Topic};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::path::Path;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Why no file system may be made on this node now.
    pub obstacle: Option<String>,
    /// The nodes that this one is connected to, or should be.
    pub peers: Vec<String>,
    /// What the backing device holds below DRBD; looked at only when the device is in use by a peer, and trusted
    /// only when this node's replica is UpToDate.
    pub(super) below: Option<Content>,
}

/// The minor of `/dev/drbd100`, links resolved before.
pub fn minor(dev: &str) -> Option<u32> {
    dev.strip_prefix("/dev/drbd")?.parse().ok()
}

pub fn look(host: &dyn Probe, minor: u32) -> Result<Replica, LookError> {
    let blocked = |why: &str| Ok(Replica { obstacle: Some(why.to_owned()), peers: Vec::new(), below: None });
    // `drbdsetup status` would load the module.
    if host.stat(Path::new("/sys/module/drbd/version"))?.is_none() {
        return blocked("the DRBD module is not loaded");
    }
    let query = Query::new(Topic::Device(format!("/dev/drbd{minor}")), ["drbdsetup", "status", "--json"]);
    let answer = host.query(&query)?;
    if answer.rc != 0 {
        return Err(LookError::cannot_tell("DRBD's state", answer.complaint()));
    }
    let all = status::parse(&answer.stdout).map_err(|why| LookError::cannot_tell("DRBD's state", why))?;
    let found = all.iter().find_map(|r| Some((r, r.devices.iter().find(|d| d.minor == minor)?)));
    let Some((resource, device)) = found else { return blocked("no resource that is up here has this device") };
    let obstacle = obstacle(resource, device.volume);
    let in_use = resource.connections.iter().any(|c| c.peer_role == Role::Primary);
    let below = if in_use && device.disk_state == DiskState::UpToDate && resource.unknown_words().is_empty() {
        below(host, &resource.name, minor)?
    } else {
        None
    };
    let peers = resource.connections.iter().map(|c| c.name.clone()).collect();
    Ok(Replica { obstacle, peers, below })
}

/// The file system's super block lies at the start, DRBD's meta data at the end of the backing device: asked for
/// file systems only, blkid passes over the latter.
fn below(host: &dyn Probe, resource: &str, minor: u32) -> Result<Option<Content>, LookError> {
    let topic = || Topic::Device(format!("/dev/drbd{minor}"));
    let show = host.query(&Query::new(topic(), ["drbdsetup", "show", "--json", resource]))?;
    if show.rc != 0 {
        return Ok(None);
    }
    let Some(disk) = backing_disk(&show.stdout, minor) else { return Ok(None) };
    let argv = ["blkid", "-p", "-u", "filesystem", "-o", "export", &disk];
    Ok(match understand(&host.query(&Query::new(topic(), argv))?) {
        // Not "empty": a type that blkid does not call a file system would not show here.
        Content::Nothing => None,
        found => Some(found),
    })
}

fn backing_disk(show: &str, minor: u32) -> Option<String> {
    let all: Json = serde_json::from_str(show).ok()?;
    let volumes = all.as_array()?.iter().filter_map(|r| r["_this_host"]["volumes"].as_array()).flatten();
    let volume = volumes.into_iter().find(|v| v["device_minor"].as_u64() == Some(minor.into()))?;
    volume["backing-disk"].as_str().map(str::to_owned)
}

/// Why this node is not the one to write a file system, or why nobody is now.
fn obstacle(resource: &Resource, volume: u32) -> Option<String> {
    if let Some(word) = resource.unknown_words().first() {
        return Some(format!("cannot tell, {word} is not known"));
    }
    if resource.suspended || resource.force_io_failures {
        return Some("its I/O is suspended or made to fail".into());
    }
    if let Some(peer) = resource.connections.iter().find(|c| c.peer_role == Role::Primary) {
        return Some(format!("{} uses it (Primary)", peer.name));
    }
    let local = resource.device(volume)?;
    if local.quorum == Some(false) {
        return Some("it has no quorum here".into());
    }
    if local.disk_state != DiskState::UpToDate {
        let source = resource
            .connections
            .iter()
            .find(|c| c.peer_devices.iter().any(|d| d.volume == volume && d.peer_disk_state == DiskState::UpToDate));
        let hint = source.map(|c| format!("; {} has the data", c.name)).unwrap_or_default();
        return Some(format!("its data is {} on this node{hint}", local.disk_state));
    }
    for peer in &resource.connections {
        if peer.connection_state != ConnectionState::Connected {
            return Some(format!("{} is not connected ({}) and may hold other data", peer.name, peer.connection_state));
        }
        // A peer that is being filled from here will hold what is here.
        let differs = peer.peer_devices.iter().find(|d| {
            d.volume == volume
                && !d.peer_client
                && d.peer_disk_state != DiskState::UpToDate
                && !d.replication_state.is_sync_source()
        });
        if let Some(device) = differs {
            return Some(format!("the data of {} is {}", peer.name, device.peer_disk_state));
        }
    }
    None
}
