//! Two descriptions of a resource: what differs in meaning, and what of it must never happen to a live resource.

use super::limits;
use super::resource::{MetaDisk, OnHost, Options, Resource};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One difference in a person's words, with how far it reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    pub text: String,
    pub reach: Reach,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// An option; takes effect while everything runs.
    Option,
    /// A connection has to be taken down and made again.
    Network,
    /// Node-ids, disks, minors: the metadata on disk was written for the old ones.
    Identity,
}

/// What changes from `old` to `new`. Empty: the same meaning, however the files look.
pub fn differences(old: &Resource, new: &Resource) -> Vec<Difference> {
    let mut all = Vec::new();
    let mut say = |reach, text: String| all.push(Difference { text, reach });
    if old.name != new.name {
        say(Reach::Identity, format!("resource {} is renamed to {}", old.name, new.name));
    }
    for (section, a, b) in [
        ("options", &old.options, &new.options),
        ("net", &old.net, &new.net),
        ("disk", &old.disk, &new.disk),
        ("startup", &old.startup, &new.startup),
        ("handlers", &old.handlers, &new.handlers),
    ] {
        for text in option_differences(section, a, b) {
            say(Reach::Option, text);
        }
    }
    for host in &old.hosts {
        match new.host(host.name()) {
            None => say(Reach::Identity, format!("host {} is taken out", host.name())),
            Some(now) => host_differences(old, host, new, now, &mut say),
        }
    }
    for host in new.hosts.iter().filter(|h| old.host(h.name()).is_none()) {
        say(Reach::Network, format!("host {} is added", host.name()));
    }
    let (old_pairs, new_pairs) = (old.pairs(), new.pairs());
    for (a, b) in old_pairs.iter().filter(|p| !new_pairs.contains(p)) {
        say(Reach::Network, format!("{a} and {b} are no longer connected"));
    }
    for (a, b) in new_pairs.iter().filter(|p| !old_pairs.contains(p)) {
        say(Reach::Network, format!("{a} and {b} are connected"));
    }
    if old.meshes.iter().map(|m| &m.net).ne(new.meshes.iter().map(|m| &m.net)) {
        say(Reach::Option, "options of the mesh change".into());
    }
    let nets = |r: &Resource| r.connections.iter().map(|c| (c.ends.clone(), c.net.clone())).collect::<Vec<_>>();
    if old.meshes.is_empty() == new.meshes.is_empty() && nets(old) != nets(new) {
        say(Reach::Network, "options or addresses of a connection change".into());
    }
    if old.other != new.other && !same_words(&old.other, &new.other) {
        say(Reach::Option, "other sections change".into());
    }
    all
}

/// The peers of a host to which the connection has to be taken down, or made anew, on the way from `old` to `new`.
pub fn interrupted_peers(old: &Resource, new: &Resource, host: &str) -> Vec<String> {
    let address = |r: &Resource, name: &str, peer: &str| {
        let ends =
            r.connections.iter().map(|c| &c.ends).find(|e| [name, peer].iter().all(|n| e.iter().any(|(h, _)| h == n)));
        let own = ends.and_then(|e| e.iter().find(|(h, _)| h == name)?.1.clone());
        own.or_else(|| r.host(name).and_then(|h| h.address.clone()))
    };
    let path = |r: &Resource, peer: &str| (address(r, host, peer), address(r, peer, host));
    let new_pairs = new.pairs();
    let mut peers = Vec::new();
    for (a, b) in old.pairs() {
        let peer = match (a == host, b == host) {
            (true, _) => &b,
            (_, true) => &a,
            _ => continue,
        };
        let stays = new_pairs.iter().any(|(x, y)| (x == &a && y == &b) || (x == &b && y == &a));
        if !stays || path(old, peer) != path(new, peer) {
            peers.push(peer.clone());
        }
    }
    peers
}

fn host_differences(
    old: &Resource,
    before: &OnHost,
    new: &Resource,
    after: &OnHost,
    say: &mut impl FnMut(Reach, String),
) {
    let name = before.name();
    if before.node_id != after.node_id {
        say(Reach::Identity, format!("{name}: node-id {} becomes {}", id(before), id(after)));
    }
    if before.address != after.address {
        let show = |h: &OnHost| h.address.as_ref().map_or("none".into(), ToString::to_string);
        say(Reach::Network, format!("{name}: address {} becomes {}", show(before), show(after)));
    }
    let numbers: BTreeSet<u32> = old.volume_numbers().into_iter().chain(new.volume_numbers()).collect();
    for number in numbers {
        let (a, b) = (old.volume_on(before, number), new.volume_on(after, number));
        let show = |v: &super::resource::Volume| match &v.disk {
            Some(disk) => disk.path().unwrap_or("none").to_owned(),
            None => "none".into(),
        };
        if a.disk != b.disk {
            say(Reach::Identity, format!("{name}: disk of volume {number} {} becomes {}", show(&a), show(&b)));
        }
        let minor = |v: &super::resource::Volume| v.device.as_ref().and_then(super::resource::Device::minor);
        if minor(&a) != minor(&b) {
            let show = |m: Option<u32>| m.map_or("none".into(), |m| m.to_string());
            let text = format!("{name}: minor of volume {number} {} becomes {}", show(minor(&a)), show(minor(&b)));
            say(Reach::Identity, text);
        }
        if a.meta_disk != b.meta_disk {
            let show = |m: &Option<MetaDisk>| match m {
                Some(MetaDisk::External { path, .. }) => path.clone(),
                _ => "internal".into(),
            };
            let text = format!("{name}: metadata {} moves to {}", show(&a.meta_disk), show(&b.meta_disk));
            say(Reach::Identity, text);
        }
        for text in option_differences("disk", &a.disk_options, &b.disk_options) {
            say(Reach::Option, format!("{name}: volume {number}: {text}"));
        }
    }
}

fn id(host: &OnHost) -> String {
    host.node_id.map_or("none".into(), |id| id.to_string())
}

/// Options that differ in meaning; values of a secret are not told.
pub fn option_differences(section: &str, old: &Options, new: &Options) -> Vec<String> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let show = |name: &str, value: Option<&String>| match value {
        None => "(default)".to_owned(),
        Some(_) if is_secret(name) => "(hidden)".to_owned(),
        Some(value) if value.is_empty() => "yes".to_owned(),
        Some(value) => value.clone(),
    };
    names
        .into_iter()
        .filter(|name| {
            let normal = |o: &Options| o.get(*name).map(|v| limits::normal(section, name, v));
            normal(old) != normal(new)
        })
        .map(|name| format!("{section} {name}: {} becomes {}", show(name, old.get(name)), show(name, new.get(name))))
        .collect()
}

/// Options whose value must not be shown.
pub fn is_secret(name: &str) -> bool {
    matches!(name, "shared-secret" | "tls-privkey")
}

fn same_words(a: &[super::res::Statement], b: &[super::res::Statement]) -> bool {
    super::res::render(a) == super::res::render(b)
}
