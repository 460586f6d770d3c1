//! What a change of the file would cut, and whether somebody would lose quorum by it. Decides before anything is written.

use super::State;
use super::decide::{Node, Picture};
use crate::drbd::compare::{differences, interrupted_peers};
use crate::drbd::plan;
use crate::drbd::words::{ConnectionState, DiskState, Role};

/// Why the new file could not take effect once it is written, on whichever node: known before any node has it.
pub fn refused_activation(picture: &Picture<'_>) -> Option<String> {
    if picture.task.state == State::Down {
        return None;
    }
    let mut cut = Vec::new();
    let mut awaited = false;
    for node in &picture.nodes {
        let planned = planned_cuts(node);
        let Some(Ok(old)) = &node.described else { continue };
        if differences(old, &picture.wanted).is_empty() {
            cut.extend(planned.into_iter().map(|id| (node.name.to_owned(), id)));
            continue;
        }
        if node.status().is_none() {
            continue;
        }
        for peer in interrupted_peers(old, &picture.wanted, node.name) {
            let Some(id) = old.host(&peer).and_then(|h| h.node_id) else { continue };
            // What runs differs from the file as it is: the new file may well be what runs.
            if !planned.contains(&id) {
                awaited = true;
                cut.push((node.name.to_owned(), id));
            }
        }
    }
    if awaited && let Some(why) = interruption(picture, &cut) {
        return Some(why);
    }
    picture.nodes.iter().find_map(|node| {
        let Some(Ok(old)) = &node.described else { return None };
        let sets_quorum = old.options.get("quorum") != picture.wanted.options.get("quorum");
        quorum_for_lonely_primary(picture, node).filter(|_| sets_quorum)
    })
}

/// Node-ids of peers whose connection a node's own plan takes down.
pub fn planned_cuts(node: &Node<'_>) -> Vec<u32> {
    let Some(Some(Ok(plan))) = node.ok().and_then(|s| s.runtime.as_ref()).map(|r| r.plan.as_ref()) else {
        return Vec::new();
    };
    let id = |line: &plan::Line| {
        let words: Vec<&str> = line.text.split_whitespace().collect();
        match &words[..] {
            ["drbdsetup", "disconnect" | "del-path", _, id, ..] => id.parse().ok(),
            _ => None,
        }
    };
    plan.lines.iter().filter_map(id).collect()
}

/// Connections that the plans of all nodes would take down, as (node, peer's node-id).
pub fn interrupted(picture: &Picture<'_>) -> Vec<(String, u32)> {
    let of = |node: &Node<'_>| planned_cuts(node).into_iter().map(|id| (node.name.to_owned(), id)).collect::<Vec<_>>();
    picture.nodes.iter().flat_map(of).collect()
}

/// Why connections must not be interrupted now: somebody uses the resource and would be left without quorum or data.
pub fn interruption(picture: &Picture<'_>, cut: &[(String, u32)]) -> Option<String> {
    let silent = picture.unreachable();
    if !silent.is_empty() {
        return Some(format!(
            "connections would be interrupted, and {} cannot be asked whether it is Primary",
            silent.join(", ")
        ));
    }
    let id_of = |name: &str| picture.task.on.get(name).map(|h| h.node_id);
    for node in &picture.nodes {
        let Some(status) = node.status().filter(|s| s.role == Role::Primary) else { continue };
        let stays = |peer: &str, peer_id: u32| {
            let from_here = cut.iter().any(|(n, id)| n == node.name && *id == peer_id);
            let from_there = cut.iter().any(|(n, id)| n == peer && Some(*id) == id_of(node.name));
            !from_here && !from_there
        };
        let left: Vec<_> = status
            .connections
            .iter()
            .filter(|c| c.connection_state == ConnectionState::Connected && stays(&c.name, c.peer_node_id))
            .collect();
        if picture.task.has_quorum() && (left.len() + 1) * 2 <= picture.task.on.len() {
            return Some(format!(
                "{} is Primary and would lose quorum when these connections are interrupted: stop what uses {} first",
                node.name, picture.task.name
            ));
        }
        let good = |number| {
            status.device(number).is_some_and(|d| d.disk_state == DiskState::UpToDate)
                || left
                    .iter()
                    .flat_map(|c| &c.peer_devices)
                    .any(|d| d.volume == number && d.peer_disk_state == DiskState::UpToDate)
        };
        if let Some(device) = status.devices.iter().find(|d| !good(d.volume)) {
            return Some(format!(
                "{} is Primary without an UpToDate disk of its own for volume {}, and would lose the last connection to one",
                node.name, device.volume
            ));
        }
    }
    None
}

/// Switching quorum on under a Primary that has too few peers stops its I/O at once.
pub fn quorum_for_lonely_primary(picture: &Picture<'_>, node: &Node<'_>) -> Option<String> {
    let status = node.status().filter(|s| s.role == Role::Primary)?;
    let connected = status.connections.iter().filter(|c| c.connection_state == ConnectionState::Connected).count();
    (picture.task.has_quorum() && (connected + 1) * 2 <= picture.task.on.len()).then(|| {
        format!(
            "{} is Primary and sees {connected} of {} peers: with quorum its I/O would stop at once; reconnect first",
            node.name,
            picture.task.on.len() - 1
        )
    })
}
