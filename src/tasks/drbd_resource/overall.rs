//! What concerns all nodes at once: the first source, the connections, the health of what runs.

use super::data::{Data, data, may_hold_data};
use super::decide::{Node, Picture};
use super::local::Next;
use super::look::{Disk, get_gi};
use super::{FirstSync, State, words};
use crate::drbd::health::{self, Health, Level, What};
use crate::drbd::status::Resource as Status;
use crate::drbd::words::{ConnectionState, DiskState, ReplicationState, Role};
use crate::host::{Effect, Guard, LookError, Step, Topic};
use crate::tasks::{Decision, Meanwhile, Verdict};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// The host that is to be the first source.
fn elected(picture: &Picture<'_>) -> Option<String> {
    if let Some(name) = &picture.task.first_source {
        return Some(name.clone());
    }
    let with_disk = |name: &&String| {
        picture.wanted.host(name).is_some_and(|h| {
            picture.wanted.volume_numbers().iter().all(|n| !super::look::devices_of(&picture.wanted, h, *n).is_empty())
        })
    };
    picture.task.on.iter().filter(|(name, _)| with_disk(name)).min_by_key(|(_, h)| h.node_id).map(|(n, _)| n.clone())
}

/// While nodes are still being prepared: who will be the first source, if it is plain that nobody has data.
pub fn foreseen_source(picture: &Picture<'_>, nexts: &[(&Node<'_>, Next)]) -> Option<String> {
    if picture.task.first_sync == FirstSync::None || picture.task.state == State::Down {
        return None;
    }
    let nobody = nexts.iter().all(|(node, next)| {
        !matches!(next, Next::Stop(_)) && node.ok().is_some_and(|seen| may_hold_data(seen).is_none())
    });
    elected(picture).filter(|_| nobody)
}

/// Why nothing of a resource that has no data anywhere is begun: one that cannot get its first source would be left half
/// made. A resource that has data, or may have it on a disk nobody refuses, is not held up by one node.
pub fn no_beginning(picture: &Picture<'_>, stopped: &BTreeMap<String, String>) -> Option<String> {
    let task = picture.task;
    if stopped.is_empty() || task.first_sync == FirstSync::None || task.state == State::Down {
        return None;
    }
    // What an earlier task is still to bring about is no answer yet.
    if picture.nodes.iter().any(|n| matches!(n.seen, Err(LookError::NotYet { .. })) || has_or_may_have_data(picture, n))
    {
        return None;
    }
    let doubts: Vec<String> = stopped.iter().map(|(host, why)| format!("{host} cannot tell ({why})")).collect();
    Some(format!("{}; until then no host gets metadata or is brought up", no_source(&task.name, &doubts)))
}

fn has_or_may_have_data(picture: &Picture<'_>, node: &Node<'_>) -> bool {
    let Some(seen) = node.ok() else { return false };
    let holds = |state: &DiskState| matches!(state, DiskState::UpToDate | DiskState::Consistent | DiskState::Outdated);
    if let Some(status) = seen.status() {
        let theirs = status.connections.iter().flat_map(|c| &c.peer_devices).map(|d| &d.peer_disk_state);
        if status.devices.iter().map(|d| &d.disk_state).chain(theirs).any(holds) {
            return true;
        }
    }
    let metadata = seen.disks.values().any(|disk| matches!(disk, Disk::Metadata { .. }));
    metadata && super::refuse::bad_disk(picture, node, seen).is_none() && may_hold_data(seen).is_some()
}

fn no_source(name: &str, doubts: &[String]) -> String {
    format!("no first source is chosen for {name}, because a host may have newer data: {}", doubts.join("; "))
}

/// What is wrong with a node of a resource that has data, as [`decide`] will say it unless something changes.
/// Connections to the nodes in `aside` are not counted.
pub fn trouble(picture: &Picture<'_>, node: &Node<'_>, aside: &BTreeMap<String, String>) -> Option<String> {
    let status = node.status()?;
    if picture.task.state == State::Down || !matches!(first_source(picture, aside), Election::NotNeeded) {
        return None;
    }
    match running(picture, node, status, aside).decision {
        Decision::Blocked(why) => Some(why),
        Decision::Wait { what, meanwhile: Meanwhile::Trouble, .. } => Some(what),
        _ => None,
    }
}

/// All nodes are settled or cannot go on (`stopped`, with the reason).
pub fn decide(picture: &Picture<'_>, stopped: &BTreeMap<String, String>) -> BTreeMap<String, Verdict> {
    if picture.task.state == State::Down {
        return each(picture, stopped, |_, _| Verdict::ok("down"));
    }
    match first_source(picture, stopped) {
        Election::NotNeeded => each(picture, stopped, |node, status| running(picture, node, status, stopped)),
        Election::Wait(what) => each(picture, stopped, |_, _| wait(picture, &what)),
        Election::Refused(why) => each(picture, stopped, |_, _| Verdict::blocked(&why)),
        Election::LeftToYou => each(picture, stopped, |_, status| {
            Verdict::ok("up and connected, without data yet").data(told(status)).warn(format!(
                "{} is Inconsistent everywhere until somebody makes one host the first source (first_sync: none)",
                picture.task.name
            ))
        }),
        Election::Source(name, verdict) => each(picture, stopped, |node, _| {
            if node.name == name { verdict.clone() } else { wait_fine(&format!("{name} becomes the first source")) }
        }),
    }
}

fn each(
    picture: &Picture<'_>,
    stopped: &BTreeMap<String, String>,
    verdict: impl Fn(&Node<'_>, &Status) -> Verdict,
) -> BTreeMap<String, Verdict> {
    let of = |node: &Node<'_>| match (stopped.get(node.name), node.status()) {
        (Some(why), _) => Verdict::blocked(why),
        (None, Some(status)) => verdict(node, status),
        (None, None) if picture.task.state == State::Down => Verdict::ok("down"),
        (None, None) => Verdict::blocked(format!("{} is not up", picture.task.name)),
    };
    picture.nodes.iter().map(|node| (node.key.to_owned(), of(node))).collect()
}

fn wait(picture: &Picture<'_>, what: &str) -> Verdict {
    Verdict::wait(what, picture.task.connect_timeout_s, 1, None).meanwhile(Meanwhile::Trouble)
}

fn wait_fine(what: &str) -> Verdict {
    Verdict::wait(what, 600, 1, None)
}

enum Election {
    /// Somebody has data; whoever is fresh takes it.
    NotNeeded,
    Wait(String),
    Refused(String),
    LeftToYou,
    Source(String, Verdict),
}

/// Exactly once in the life of a volume, and only when every node says that it never held data.
fn first_source(picture: &Picture<'_>, stopped: &BTreeMap<String, String>) -> Election {
    let name = &picture.task.name;
    let mut fresh = Vec::new();
    let mut with_data = Vec::new();
    for number in picture.wanted.volume_numbers() {
        let all: Vec<(&str, Data)> =
            picture.nodes.iter().map(|n| (n.name, data(picture, n, number, stopped))).collect();
        if all.iter().any(|(_, d)| matches!(d, Data::Has(_))) {
            with_data.push(number);
            continue;
        }
        if let Some(what) = all.iter().find_map(|(_, d)| if let Data::NotYet(what) = d { Some(what) } else { None }) {
            return Election::Wait(what.clone());
        }
        let doubts: Vec<String> = all
            .iter()
            .filter_map(|(host, d)| match d {
                Data::CannotTell(why) => Some(format!("{host} cannot tell ({why})")),
                _ => None,
            })
            .collect();
        if !doubts.is_empty() {
            return Election::Refused(no_source(name, &doubts));
        }
        fresh.push(number);
    }
    if fresh.is_empty() {
        return Election::NotNeeded;
    }
    if picture.task.first_sync == FirstSync::None {
        return if with_data.is_empty() { Election::LeftToYou } else { Election::NotNeeded };
    }
    if !with_data.is_empty() && picture.task.first_sync == FirstSync::Full {
        return Election::Refused(format!(
            "volume {} of {name} is new while others hold data, and a full first sync would force all of them: \
             use first_sync: skip for it, or sync it by hand",
            fresh.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
        ));
    }
    if let Some(what) = not_ready(picture, &fresh) {
        return Election::Wait(what);
    }
    if let Some(primary) = picture.nodes.iter().find(|n| n.status().is_some_and(|s| s.role == Role::Primary)) {
        return Election::Refused(format!("{} is Primary though nobody has data of {name}: look why", primary.name));
    }
    let Some(source) = elected(picture) else {
        return Election::Refused(format!("no host of {name} has a disk"));
    };
    if picture.node(&source).is_some_and(|n| !n.acts) {
        let why = stopped.get(&source).cloned().unwrap_or_else(|| words::out_of_run(picture, &source));
        return Election::Refused(format!("{source} is to be the first source, but: {why}"));
    }
    match source_verdict(picture, &source, &fresh) {
        Some(verdict) => Election::Source(source, verdict),
        None => Election::Refused(format!("{source} is to be the first source, and cannot be asked")),
    }
}

/// What is missing until every node is connected with every other and says so of fresh, attached disks.
fn not_ready(picture: &Picture<'_>, fresh: &[u32]) -> Option<String> {
    for (a, b) in picture.wanted.pairs() {
        for (here, there) in [(&a, &b), (&b, &a)] {
            let Some(status) = picture.node(here).and_then(|n| n.status()) else {
                return Some(format!("{here} is not up"));
            };
            let Some(connection) = status.connection(there) else {
                return Some(format!("{here} has no connection to {there}"));
            };
            if connection.connection_state != ConnectionState::Connected {
                return Some(format!("{here} is not connected to {there} ({})", connection.connection_state));
            }
            for device in connection.peer_devices.iter().filter(|d| fresh.contains(&d.volume)) {
                let diskless = picture
                    .wanted
                    .host(there)
                    .is_some_and(|h| super::look::devices_of(&picture.wanted, h, device.volume).is_empty());
                let right = if diskless { DiskState::Diskless } else { DiskState::Inconsistent };
                if device.replication_state != ReplicationState::Established || device.peer_disk_state != right {
                    return Some(format!(
                        "{here} sees {there} as {}, {}",
                        device.replication_state, device.peer_disk_state
                    ));
                }
            }
        }
    }
    None
}

fn source_verdict(picture: &Picture<'_>, source: &str, fresh: &[u32]) -> Option<Verdict> {
    let task = picture.task;
    let name = &task.name;
    let runtime = picture.node(source)?.ok()?.runtime.as_ref()?;
    let mut guards = Vec::new();
    for number in fresh {
        let gi = runtime.generations.get(number)?.as_ref().ok()?;
        guards.push(Guard {
            query: get_gi(name, &task.volume_name(*number)),
            rc: 0,
            // Exactly what the decision was made upon: fresh, and every peer connected.
            stdout: Some(gi.text.clone()),
            reason: format!("{name} on {source} is not as fresh as it was a moment ago"),
        });
    }
    let (summary, mut steps) = match task.first_sync {
        FirstSync::Skip => {
            let of = |number: &u32| {
                let volume = format!("{name}/{number}");
                Step::run(["drbdadm", "new-current-uuid", "--clear-bitmap", &volume])
            };
            let summary = format!("declare the blank disks of {name} equal (no first sync), from {source}");
            (summary, fresh.iter().map(of).collect::<Vec<_>>())
        }
        _ => {
            let steps = ["primary", "secondary"].map(|verb| match verb {
                "primary" => Step::run(["drbdadm", "primary", "--force", name]),
                verb => Step::run(["drbdadm", verb, name]),
            });
            (format!("make {source} the first source of {name}, to be copied to the others"), steps.into())
        }
    };
    // One volume's declaration changes that volume's generation only, so that each step keeps its own guard.
    for (index, step) in steps.iter_mut().enumerate() {
        match task.first_sync {
            FirstSync::Skip => step.guards.extend(guards.get(index).cloned()),
            _ if index == 0 => step.guards.clone_from(&guards),
            _ => {}
        }
        let topics = [Topic::Drbd(name.clone())].into_iter().chain(task.devices().into_values().map(Topic::Device));
        step.effects.extend(topics.map(|topic| Effect::Unsettles { topic }));
    }
    Some(Verdict::stage(summary, "", steps))
}

/// The verdict on a node of a resource that has data.
fn running(picture: &Picture<'_>, node: &Node<'_>, status: &Status, stopped: &BTreeMap<String, String>) -> Verdict {
    let health = health::judge(status, picture.task.on.len() - 1);
    let name = &picture.task.name;
    let silent = |peer: &str| stopped.contains_key(peer);
    let apart: Vec<String> = status
        .connections
        .iter()
        .filter(|c| c.connection_state != ConnectionState::Connected && !silent(&c.name))
        .map(|c| format!("{} is not connected to {} ({})", node.name, c.name, c.connection_state))
        .collect();
    let data = told(status);
    if !apart.is_empty() {
        let what = format!(
            "{}; both are there, so look at the replication network between them (here: {})",
            apart.join("; "),
            health.sentence()
        );
        return wait(picture, &what).data(data);
    }
    if let Some(verdict) = left_primary(picture, node, status) {
        return verdict.data(data);
    }
    if let Some(why) = held(picture, node, status) {
        return Verdict::blocked(why).data(data);
    }
    let bad: Vec<&health::Finding> = health.findings.iter().filter(|f| f.level == Level::Bad).collect();
    if bad.iter().any(|f| !matches!(f.what, What::Inconsistent | What::Outdated)) {
        return Verdict::blocked(format!("{name}: {}{}", health.sentence(), advice(&health, name))).data(data);
    }
    if !bad.is_empty() {
        // It has just connected, or will never get data this way; only time tells.
        return wait(picture, &format!("{name}: {}", health.sentence())).data(data);
    }
    if picture.task.wait_for_sync && health.sync_fraction.is_some() {
        let what = health.sentence();
        return Verdict::wait(what, picture.task.sync_timeout_s, 2, health.sync_fraction).data(data);
    }
    let mut verdict = Verdict::ok(summary(status, &health)).data(data);
    for finding in health.findings.iter().filter(|f| f.level == Level::Degraded) {
        verdict = verdict.warn(format!("{name}: {}", finding.text));
    }
    verdict
}

/// A role that was taken by hand or by an interrupted first sync and that nobody uses; DRBD does not give it back itself.
fn left_primary(picture: &Picture<'_>, node: &Node<'_>, status: &Status) -> Option<Verdict> {
    if status.role != Role::Primary || picture.task.options.get("auto-promote") == Some("no") {
        return None;
    }
    let runtime = node.ok()?.runtime.as_ref()?;
    let unused = status.devices.iter().all(|d| match runtime.openers.get(&d.volume) {
        Some(count) => *count == 0,
        None => d.open == Some(false),
    });
    if !unused || status.suspended {
        return None;
    }
    let name = &picture.task.name;
    let step = Step::run(["drbdadm", "secondary", name]).unsettles(Topic::Drbd(name.clone()));
    Some(Verdict::stage(format!("give back the Primary role of {name}, which nobody uses"), "", vec![step]))
}

/// Primary, and in use, where the container whose disk it is does not belong: it cannot start where it does.
fn held(picture: &Picture<'_>, node: &Node<'_>, status: &Status) -> Option<String> {
    let seen = node.ok()?;
    let owner = seen.runtime.as_ref()?.owner.as_ref()?;
    if status.role != Role::Primary || owner.node == seen.uname {
        return None;
    }
    let (name, here, super::owner::Owner { vmid, node }) = (&picture.task.name, &seen.uname, owner);
    Some(format!(
        "{here} is Primary of {name}, the disk of container {vmid}, which belongs to {node}: something on {here} still \
         holds the device, and the container cannot start on {node}. Only you can decide to end that: see who it is in \
         /sys/kernel/debug/drbd/resources/{name}/volumes/*/openers; what a container's NFS server left behind goes with \
         `killall -9 nfsd` or a reboot of {here}"
    ))
}

fn advice(health: &Health, name: &str) -> String {
    if health.has(What::IoFailuresForced) {
        format!(": close the device everywhere, then drbdadm adjust {name}")
    } else if health.has(What::Suspended) || health.has(What::QuorumLost) {
        ": bring the missing hosts or links back; with quorum it continues by itself. Do not force a role: that makes a \
         second history of the data"
            .to_owned()
    } else if health.has(What::DiskFailed) {
        ": look at the kernel log and replace the disk; with a blank disk in its place it is synced anew".to_owned()
    } else {
        String::new()
    }
}

fn summary(status: &Status, health: &Health) -> String {
    let disks: Vec<&str> = status.devices.iter().map(|d| d.disk_state.as_str()).collect();
    let peers: Vec<&str> = status
        .connections
        .iter()
        .filter(|c| c.connection_state == ConnectionState::Connected)
        .map(|c| c.name.as_str())
        .collect();
    let mut text = format!("{}, {}", status.role, disks.join("/"));
    if !peers.is_empty() {
        text.push_str(&format!(", connected to {}", words::list(&peers)));
    }
    for finding in health.findings.iter().filter(|f| f.what == What::Syncing) {
        text.push_str(&format!(", {}", finding.text));
    }
    text
}

/// What `register` gets.
fn told(status: &Status) -> Json {
    let peers: serde_json::Map<String, Json> = status
        .connections
        .iter()
        .map(|c| {
            let disks: Vec<&str> = c.peer_devices.iter().map(|d| d.peer_disk_state.as_str()).collect();
            let state = json!({ "connection": c.connection_state.as_str(), "role": c.peer_role.as_str(),
                "disk": disks.first().copied().unwrap_or_default() });
            (c.name.clone(), state)
        })
        .collect();
    json!({
        "role": status.role.as_str(),
        "disk": status.devices.first().map_or("", |d| d.disk_state.as_str()),
        "peers": peers,
    })
}
