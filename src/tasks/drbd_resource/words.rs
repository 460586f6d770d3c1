//! Longer sentences for people: what stands in the way, and what to do.

use super::decide::Picture;
use super::look::Seen;
use crate::drbd::gi::Relation;
use crate::drbd::resource::{Device, Resource};
use crate::drbd::status;

/// `pve3 is`, `pve2 and pve3 are`.
pub fn are(names: &[&str]) -> String {
    format!("{} {}", list(names), if names.len() == 1 { "is" } else { "are" })
}

pub fn list<S: AsRef<str>>(names: &[S]) -> String {
    match names {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [rest @ .., last] => {
            let rest: Vec<&str> = rest.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", rest.join(", "), last.as_ref())
        }
    }
}

pub fn unstable_disks(seen: &Seen) -> Vec<String> {
    let advice = |(path, names): (&String, &Vec<String>)| {
        let instead = match &names[..] {
            [] => "no stable name for it was found under /dev/disk".to_owned(),
            names => format!("use {}", names.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(" or ")),
        };
        format!("{path} may be another disk after the next boot; {instead}")
    };
    seen.stable_names.iter().map(advice).collect()
}

pub fn hint_for_missing(path: &str) -> &'static str {
    match path {
        p if p.starts_with("/dev/disk/by-") => {
            ": look at `ls -l /dev/disk/by-*` and `lsblk` for the disk that is meant"
        }
        _ => ": create it, or name another disk",
    }
}

/// Where the kernel's idea of a running resource contradicts the description.
pub fn against_running(wanted: &Resource, host: &str, running: &status::Resource) -> Vec<String> {
    let mut all = Vec::new();
    let Some(here) = wanted.host(host) else { return all };
    if here.node_id != Some(running.node_id) {
        let id = here.node_id.unwrap_or_default();
        all.push(format!("{host}: node-id {} becomes {id}", running.node_id));
    }
    for device in &running.devices {
        let minor = wanted.volume_on(here, device.volume).device.as_ref().and_then(Device::minor);
        if minor != Some(device.minor) {
            let shown = minor.map_or("none".into(), |m| m.to_string());
            all.push(format!("{host}: minor of volume {} {} becomes {shown}", device.volume, device.minor));
        }
    }
    for connection in &running.connections {
        let id = wanted.host(&connection.name).and_then(|h| h.node_id);
        if id != Some(connection.peer_node_id) {
            let shown = id.map_or("none".into(), |m| m.to_string());
            all.push(format!("{}: node-id {} becomes {shown}", connection.name, connection.peer_node_id));
        }
    }
    all
}

/// What to tell about a StandAlone pair; `None` where reconnecting loses nothing.
pub fn split_brain(picture: &Picture<'_>, here: &str, peer: &str, relation: Option<Relation>) -> Option<String> {
    let name = &picture.task.name;
    let what = match relation {
        Some(Relation::Fresh | Relation::Same | Relation::Ahead | Relation::Behind) => return None,
        Some(Relation::Unrelated) => {
            return Some(format!(
                "the data of {here} and {peer} has no common past (unrelated data): {}. One of the disks belongs to \
                 another resource or was forced to be a first source. Nothing is connected or discarded. If one side may \
                 go, recreate its metadata by hand (drbdadm down {name}; drbdadm create-md --force {name}), and it will \
                 be synced from the other",
                sides(picture, here, peer)
            ));
        }
        Some(Relation::SplitBrain) => {
            format!("split brain between {here} and {peer}: both were written to while apart")
        }
        None => format!("{here} stands alone towards {peer}, and whether it is a split brain cannot be told"),
    };
    Some(format!(
        "{what}. {}. Only you can decide whose changes to keep. On the host whose changes are to be discarded: stop what \
         uses the device, then `drbdadm disconnect {name}; drbdadm secondary {name}; drbdadm connect --discard-my-data \
         {name}`; on the other: `drbdadm connect {name}`",
        sides(picture, here, peer)
    ))
}

/// Both sides in a few words: role, disk, generation.
fn sides(picture: &Picture<'_>, here: &str, peer: &str) -> String {
    let side = |host: &str| {
        let seen = picture.node(host).and_then(|n| n.ok());
        let state = seen.and_then(Seen::status).map_or("not up".to_owned(), |s| {
            let disks: Vec<&str> = s.devices.iter().map(|d| d.disk_state.as_str()).collect();
            format!("{}, {}", s.role, disks.join("/"))
        });
        let generation = seen
            .and_then(|s| s.runtime.as_ref()?.generations.values().next()?.as_ref().ok())
            .and_then(|g| Some(format!(", generation {:016X}", g.lines.first()?.current_masked())))
            .unwrap_or_default();
        format!("{host}: {state}{generation}")
    };
    format!("{}; {}", side(here), side(peer))
}

/// A host that would have to change but takes no further part.
pub fn out_of_run(picture: &Picture<'_>, name: &str) -> String {
    format!(
        "{} on {name} is not settled, and {name} takes no further part in this run: it failed earlier, or --limit leaves it out",
        picture.task.name
    )
}
