//! Whether a node holds data of the resource, or may hold it.
//!
//! What cannot be told is never taken for fresh.

use super::decide::{Node, Picture};
use super::look::{Disk, Seen};
use crate::drbd::words::DiskState;
use std::collections::BTreeMap;

/// Whether a node has data of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// Metadata was created and nothing was ever written: certain.
    Fresh,
    Has(String),
    /// Its disk is just being attached.
    NotYet(String),
    CannotTell(String),
    /// It has no disk for this volume.
    Diskless,
}

/// Why a node that is not up may still hold data of the resource; `None` = it certainly has none.
pub fn may_hold_data(seen: &Seen) -> Option<String> {
    for (path, disk) in &seen.disks {
        match disk {
            Disk::Blank | Disk::Missing => {}
            Disk::Holds(what) => return Some(format!("{path} holds {what}")),
            Disk::CannotTell(why) => return Some(format!("what is on {path} cannot be told: {why}")),
            Disk::Metadata { .. } => {
                let generations = seen.runtime.as_ref().map(|r| &r.generations);
                match generations {
                    Some(all) if !all.is_empty() => {
                        for gi in all.values() {
                            match gi {
                                Ok(gi) if gi.is_just_created() => {}
                                Ok(_) => return Some(format!("{path} holds data of a resource")),
                                Err(why) => return Some(format!("the generation on {path} cannot be told: {why}")),
                            }
                        }
                    }
                    _ => return Some(format!("{path} holds DRBD metadata whose generation cannot be told")),
                }
            }
        }
    }
    None
}

/// What a node that is up says about its data of a volume.
pub fn data(picture: &Picture<'_>, node: &Node<'_>, number: u32, stopped: &BTreeMap<String, String>) -> Data {
    let described = picture.wanted.host(node.name);
    if described.is_some_and(|h| super::look::devices_of(&picture.wanted, h, number).is_empty()) {
        return Data::Diskless;
    }
    let seen = match node.seen {
        Ok(seen) => seen,
        Err(error) => return Data::CannotTell(error.to_string()),
    };
    let disk = seen.status().and_then(|s| s.device(number)).map(|d| &d.disk_state);
    if let Some(state @ (DiskState::UpToDate | DiskState::Consistent | DiskState::Outdated)) = disk {
        return Data::Has(state.to_string());
    }
    match seen.runtime.as_ref().and_then(|r| r.generations.get(&number)) {
        Some(Ok(gi)) if !gi.is_just_created() => Data::Has("its generation is not that of a fresh disk".into()),
        Some(Ok(_)) if disk == Some(&DiskState::Inconsistent) => Data::Fresh,
        Some(Ok(_)) if matches!(disk, Some(DiskState::Attaching | DiskState::Negotiating)) => {
            Data::NotYet(format!("{} is attaching its disk", node.name))
        }
        Some(Ok(_)) => {
            let state = disk.map_or("not attached", DiskState::as_str);
            Data::CannotTell(format!("its disk is {state}"))
        }
        Some(Err(why)) => Data::CannotTell(why.clone()),
        None => Data::CannotTell(stopped.get(node.name).cloned().unwrap_or_else(|| "no generation was read".into())),
    }
}
