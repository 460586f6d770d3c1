//! What forbids touching a node at all: a wrong name, something of another resource, a disk that is not blank.
//!
//! It changes nothing and never clears the way; each refusal names what a person may do.

use super::decide::{Node, Picture};
use super::local::{Next, stop};
use super::look::{Disk, Seen, devices_of};
use super::words;
use crate::drbd::resource::{Device, Resource};
use crate::drbd::words::DiskState;

pub fn wrong_name(picture: &Picture<'_>, node: &Node<'_>, seen: &Seen) -> Option<Next> {
    (seen.uname != node.name).then(|| {
        Next::Stop(format!(
            "`on {}` does not name this host: uname -n says {}, and drbdadm goes by that; use it in `on` of {}",
            node.name, seen.uname, picture.task.name
        ))
    })
}

/// Another resource has the name, a minor, an address or a disk that this one wants.
pub fn collision(picture: &Picture<'_>, node: &Node<'_>, seen: &Seen) -> Option<Next> {
    let wanted = &picture.wanted;
    let here = wanted.host(node.name)?;
    let minors = |r: &Resource, h| -> Vec<u32> {
        let numbers = r.volume_numbers().into_iter();
        numbers.filter_map(|n| r.volume_on(h, n).device.as_ref().and_then(Device::minor)).collect()
    };
    let disks =
        |r: &Resource, h| -> Vec<String> { r.volume_numbers().iter().flat_map(|n| devices_of(r, h, *n)).collect() };
    for other in &seen.others {
        for theirs in other.resources.iter().flatten() {
            if theirs.name == wanted.name {
                return stop(format!("resource {} is defined in {} already", wanted.name, other.path));
            }
            let Some(there) = theirs.host(node.name) else { continue };
            let by = format!("resource {} ({})", theirs.name, other.path);
            if let Some(minor) = minors(theirs, there).into_iter().find(|m| minors(wanted, here).contains(m)) {
                return stop(format!("minor {minor} is used by {by}"));
            }
            if let Some(address) = there.address.as_ref().filter(|a| here.address.as_ref() == Some(a)) {
                return stop(format!("address {address} is used by {by}"));
            }
            if let Some(disk) = disks(theirs, there).into_iter().find(|d| disks(wanted, here).contains(d)) {
                return stop(format!("{disk} is used by {by}"));
            }
        }
    }
    let running = &seen.runtime.as_ref()?.minors;
    let minor = minors(wanted, here).into_iter().find(|m| running.contains_key(m))?;
    stop(format!("minor {minor} is in use by resource {}", running[&minor]))
}

/// The volume's disk is attached, so that DRBD itself vouches for it.
pub fn is_attached(seen: &Seen, number: u32) -> bool {
    let device = seen.status().and_then(|s| s.device(number));
    device.is_some_and(|d| !matches!(d.disk_state, DiskState::Diskless | DiskState::Failed | DiskState::Detaching))
}

/// Anything on a disk that is not metadata of this resource stops everything before it begins.
pub fn bad_disk(picture: &Picture<'_>, node: &Node<'_>, seen: &Seen) -> Option<Next> {
    let here = picture.wanted.host(node.name)?;
    for number in picture.wanted.volume_numbers() {
        if is_attached(seen, number) {
            continue;
        }
        let devices = devices_of(&picture.wanted, here, number);
        for (index, path) in devices.iter().enumerate() {
            let external = devices.len() > 1;
            match seen.disks.get(path) {
                Some(Disk::Blank) => {}
                Some(Disk::Metadata { version }) if version == "v09" => {}
                Some(Disk::Metadata { version }) => {
                    return stop(format!(
                        "{path} holds DRBD metadata {version}, of an older DRBD: convert or wipe it by hand"
                    ));
                }
                // With metadata elsewhere the data of an attached resource lies bare on its disk.
                Some(Disk::Holds(_)) if external && index == 0 && has_metadata(seen, &devices) => {}
                Some(Disk::Holds(what)) => {
                    return stop(format!(
                        "{path} is not empty: it holds {what}. Metadata is never created over data; only a \
                         person can know whether it may go"
                    ));
                }
                Some(Disk::Missing) => {
                    return stop(format!("{path} is not there{}", words::hint_for_missing(path)));
                }
                Some(Disk::CannotTell(why)) => return stop(format!("what is on {path} cannot be told: {why}")),
                None => return stop(format!("{path} was not looked at")),
            }
        }
        let id = seen.runtime.as_ref().and_then(|r| r.md_node_ids.get(&number)).copied().unwrap_or(-1);
        if id >= 0 && here.node_id.is_some_and(|wanted| wanted as i32 != id) {
            return stop(format!(
                "the metadata on {} was written for node-id {id}, not {}: this disk belongs to another host or resource",
                devices.join(", "),
                here.node_id.unwrap_or_default()
            ));
        }
    }
    None
}

pub fn has_metadata(seen: &Seen, devices: &[String]) -> bool {
    devices.iter().any(|d| matches!(seen.disks.get(d), Some(Disk::Metadata { .. })))
}
