//! From what the kernel holds to what the configuration wants: the list of commands in between.

use super::action::Action;
use crate::lab::drbd::config::{Wanted, WantedPeer, effective};
use crate::lab::drbd::state::{Link, Peer, Resource};

/// Everything, as for a resource of which the kernel knows nothing.
pub fn bring_up(wanted: &Wanted) -> Vec<Action> {
    let name = || wanted.name.clone();
    let mut all = vec![
        Action::NewResource {
            name: name(),
            node_id: wanted.node_id,
            minor: wanted.minor,
            options: wanted.options.clone(),
        },
        Action::NewMinor { name: name(), minor: wanted.minor },
    ];
    all.extend(wanted.peers.iter().map(|p| new_peer(wanted, p)));
    all.extend(wanted.peers.iter().map(|p| new_path(wanted, p)));
    all.extend(wanted.peers.iter().filter_map(|p| peer_device(wanted, p)));
    all.extend(attach(wanted));
    all.extend(wanted.peers.iter().map(|p| connect(wanted, p)));
    all
}

fn new_peer(wanted: &Wanted, peer: &WantedPeer) -> Action {
    Action::NewPeer { name: wanted.name.clone(), id: peer.id, peer: peer.name.clone(), net: peer.net.clone() }
}

fn new_path(wanted: &Wanted, peer: &WantedPeer) -> Action {
    Action::NewPath { name: wanted.name.clone(), id: peer.id, path: peer.path.clone() }
}

fn connect(wanted: &Wanted, peer: &WantedPeer) -> Action {
    Action::Connect { name: wanted.name.clone(), id: peer.id, discard_my_data: false }
}

fn peer_device(wanted: &Wanted, peer: &WantedPeer) -> Option<Action> {
    (!peer.device_options.is_empty()).then(|| Action::PeerDeviceOptions {
        name: wanted.name.clone(),
        id: peer.id,
        options: peer.device_options.clone(),
    })
}

pub fn attach(wanted: &Wanted) -> Vec<Action> {
    let Some(disk) = &wanted.disk else { return Vec::new() };
    vec![
        Action::ApplyAl { minor: wanted.minor, disk: disk.clone() },
        Action::Attach {
            name: wanted.name.clone(),
            minor: wanted.minor,
            disk: disk.clone(),
            options: wanted.disk_options.clone(),
        },
    ]
}

/// What `drbdadm adjust` does; empty when nothing differs.
pub fn plan(wanted: &Wanted, kernel: Option<&Resource>) -> Vec<Action> {
    let Some(kernel) = kernel else { return bring_up(wanted) };
    let name = || wanted.name.clone();
    let known = |p: &WantedPeer| kernel.peers.get(&p.id).filter(|k| k.name == p.name);
    let fresh: Vec<&WantedPeer> = wanted.peers.iter().filter(|p| known(p).is_none()).collect();
    let kept: Vec<(&WantedPeer, &Peer)> = wanted.peers.iter().filter_map(|p| Some((p, known(p)?))).collect();
    let moved: Vec<&(&WantedPeer, &Peer)> = kept.iter().filter(|(w, k)| k.path.as_ref() != Some(&w.path)).collect();
    let mut all = Vec::new();
    for (id, peer) in &kernel.peers {
        if !wanted.peers.iter().any(|w| w.id == *id && w.name == peer.name) {
            all.push(Action::DelPeer { name: name(), id: *id });
        }
    }
    let other_minor = kernel.minor != wanted.minor;
    let attached = kernel.backing.as_ref().map(|b| &b.path);
    let attach_again = attached != wanted.disk.as_ref() || other_minor;
    if attach_again && attached.is_some() {
        all.push(Action::DetachDiskless { name: name(), minor: kernel.minor });
    }
    if other_minor {
        all.push(Action::DelMinor { name: name(), minor: kernel.minor });
    }
    for (peer, _) in &moved {
        all.push(Action::Disconnect { name: name(), id: peer.id });
    }
    for (peer, kernel) in &moved {
        if let Some(path) = &kernel.path {
            all.push(Action::DelPath { name: name(), id: peer.id, path: path.clone() });
        }
    }
    if effective("options", &kernel.options) != effective("options", &wanted.options) {
        all.push(Action::ResourceOptions { name: name(), options: wanted.options.clone() });
    }
    if other_minor {
        all.push(Action::NewMinor { name: name(), minor: wanted.minor });
    }
    all.extend(fresh.iter().map(|p| new_peer(wanted, p)));
    all.extend(fresh.iter().map(|p| new_path(wanted, p)));
    all.extend(moved.iter().map(|(p, _)| new_path(wanted, p)));
    for (peer, kernel) in &kept {
        if effective("net", &kernel.net) != effective("net", &peer.net) {
            all.push(Action::NetOptions {
                name: name(),
                id: peer.id,
                peer: peer.name.clone(),
                options: peer.net.clone(),
            });
        }
    }
    all.extend(fresh.iter().filter_map(|p| peer_device(wanted, p)));
    for (peer, kernel) in &kept {
        if effective("disk", &kernel.device_options) != effective("disk", &peer.device_options) {
            all.push(Action::PeerDeviceOptions { name: name(), id: peer.id, options: peer.device_options.clone() });
        }
    }
    let disk_options = effective("disk", &wanted.disk_options);
    if !attach_again && attached.is_some() && effective("disk", &kernel.disk_options) != disk_options {
        all.push(Action::DiskOptions { name: name(), minor: wanted.minor, options: wanted.disk_options.clone() });
    }
    if attach_again {
        all.extend(attach(wanted));
    }
    for peer in &wanted.peers {
        let stands_alone = known(peer).is_none_or(|k| k.link == Link::StandAlone);
        if stands_alone || moved.iter().any(|(m, _)| m.id == peer.id) {
            all.push(connect(wanted, peer));
        }
    }
    all
}
