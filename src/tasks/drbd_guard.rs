//! Whether DRBD may be stopped: on one host, and on which of several that are all to stop it.
//!
//! A stop downs the resource: this node's copy is gone from the cluster until it is brought up again. What would take
//! the last up-to-date copy or the quorum away is refused; so is a stop while a node cannot be asked.

use super::Observation;
use super::args::split_words;
use crate::drbd::health;
use crate::drbd::status::{self, Resource};
use crate::drbd::words::{ConnectionState, DiskState, Role};
use crate::host::{LookError, Probe, Query, Topic};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What a stop takes down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stops {
    All,
    Resource(String),
}

/// Units whose stop takes every resource down.
const ALL: &[&str] = &["drbd.service", "drbd-configured.target", "drbd-graceful-shutdown.service"];

/// What stopping this unit takes down; `None`: it is not one of DRBD's.
pub fn of_unit(unit: &str) -> Option<Stops> {
    match resource_of(unit) {
        Some(name) => Some(Stops::Resource(name)),
        None => ALL.contains(&unit).then_some(Stops::All),
    }
}

/// The resource of `drbd@nfs1.service`, `drbd@nfs1.target`; names are escaped as by systemd-escape.
pub fn resource_of(unit: &str) -> Option<String> {
    let instance = unit
        .strip_prefix("drbd@")?
        .strip_suffix(".service")
        .or_else(|| unit.strip_prefix("drbd@")?.strip_suffix(".target"))?;
    unescape(instance)
}

/// `\x2d` → `-`. A `-` that is not escaped stands for `/`, which no resource has in its name.
fn unescape(instance: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = instance.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let code = match tail {
            [b'x', high, low, ..] if *first == b'\\' => {
                let digits = [*high, *low];
                rest = &tail[3..];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            _ => *first,
        };
        bytes.push(code);
    }
    String::from_utf8(bytes).ok()
}

/// What a program with these arguments takes down.
pub fn of_command(argv: &[String]) -> Option<Stops> {
    let program = Path::new(argv.first()?).file_name()?.to_str()?;
    let words: Vec<&str> = argv[1..].iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let (verb, names) = words.split_first()?;
    match program {
        "drbdadm" | "drbdsetup" if *verb == "down" => match names {
            [name] if *name != "all" => Some(Stops::Resource((*name).to_owned())),
            _ => Some(Stops::All),
        },
        "systemctl" if ["stop", "restart", "try-restart", "kill"].contains(verb) => {
            let full = |name: &&str| if name.contains('.') { (*name).to_owned() } else { format!("{name}.service") };
            let found: Vec<Stops> = names.iter().filter_map(|name| of_unit(&full(name))).collect();
            // Several at once are judged as the most that they could be.
            if found.len() > 1 { Some(Stops::All) } else { found.into_iter().next() }
        }
        _ => None,
    }
}

/// What a shell's command line takes down, as far as it is written out: each simple command in it is judged.
pub fn of_line(line: &str) -> Option<Stops> {
    let found: Vec<Stops> = line
        .split(['\n', ';', '|', '&', '(', ')', '{', '}'])
        .filter_map(|part| of_command(&split_words(part.trim()).ok()?))
        .collect();
    if found.len() > 1 { Some(Stops::All) } else { found.into_iter().next() }
}

/// The resources of this host that a stop would take down, as the kernel tells; the text says why it does not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Up(Result<Vec<Resource>, String>);

impl Up {
    pub const NOTHING: Self = Self(Ok(Vec::new()));
}

pub fn look(host: &dyn Probe, stops: &Stops) -> Result<Up, LookError> {
    // `drbdsetup status` would load the module; without it nothing is up.
    if host.stat(Path::new("/sys/module/drbd/version"))?.is_none() {
        return Ok(Up::NOTHING);
    }
    let wanted = match stops {
        Stops::All => None,
        Stops::Resource(name) => Some(name.clone()),
    };
    let query = Query::new(Topic::Drbd(wanted.clone().unwrap_or_default()), ["drbdsetup", "status", "--json"]);
    let answer = match host.query(&query) {
        Ok(answer) => answer,
        Err(error @ LookError::NoProgram { .. }) => return Ok(Up(Err(error.to_string()))),
        Err(error) => return Err(error),
    };
    Ok(Up(match answer.rc {
        0 => status::parse(&answer.stdout).map(|mut resources| {
            resources.retain(|resource| wanted.as_ref().is_none_or(|name| resource.name == *name));
            resources
        }),
        _ => Err(answer.complaint().to_owned()),
    }))
}

/// Why this host's own view speaks against a stop.
pub fn why_not(up: &Up) -> Option<String> {
    match &up.0 {
        Ok(resources) => resources.iter().find_map(|r| against(r).map(|why| format!("{}: {why}", r.name))),
        Err(why) => Some(format!("DRBD's state cannot be told: {why}")),
    }
}

fn against(resource: &Resource) -> Option<String> {
    if let Some(word) = resource.unknown_words().first() {
        return Some(format!("cannot tell, {word} is not known"));
    }
    if resource.role == Role::Primary {
        return Some("it is in use on this node (Primary)".into());
    }
    if health::is_last_up_to_date(resource) {
        return Some("this node holds the last up-to-date copy in reach".into());
    }
    let syncing = resource
        .connections
        .iter()
        .find(|c| c.peer_devices.iter().any(|d| d.replication_state.is_sync_source() && !d.peer_client));
    if let Some(peer) = syncing {
        return Some(format!("{} is being synced from this node", peer.name));
    }
    // The others must keep a majority without this node. Whether quorum is configured the state does not tell, so
    // it is taken to be: DRBD of two nodes cannot have it.
    let nodes = resource.connections.len() + 1;
    let left: Vec<_> =
        resource.connections.iter().filter(|c| c.connection_state == ConnectionState::Connected).collect();
    let primary = left.iter().find(|c| c.peer_role == Role::Primary);
    if nodes >= 3 && left.len() * 2 <= nodes {
        let mut why = format!("the others would lose the quorum ({} of {nodes} nodes left)", left.len());
        if let Some(primary) = primary {
            why.push_str(&format!(", and {} is using it", primary.name));
        }
        return Some(why);
    }
    None
}

/// Whose turn it is to stop, of several hosts that are all to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    Now,
    /// Another one goes first, and comes back.
    After(String),
    /// It may go once those that went before are back; the text says what is missing.
    NotYet(String),
    Never(String),
}

/// Decides over all hosts. `wanting`: those that still are to stop DRBD. `again`: it comes up again at once (a restart),
/// so that all may go, one after another; otherwise as many go as the others can do without.
pub fn turns(all: &BTreeMap<&str, Observation<&Up>>, wanting: &BTreeSet<&str>, again: bool) -> BTreeMap<String, Turn> {
    let unknown: Vec<String> = all
        .iter()
        .filter_map(|(host, up)| match up {
            Ok(Up(Ok(_))) => None,
            Ok(Up(Err(why))) => Some(format!("{host} ({why})")),
            Err(error) => Some(format!("{host} ({error})")),
        })
        .collect();
    let up = |host: &str| match all.get(host) {
        Some(Ok(Up(Ok(resources)))) => resources.as_slice(),
        _ => &[],
    };
    let mut gone: BTreeSet<(&str, u32)> = BTreeSet::new();
    let mut first: Vec<&str> = Vec::new();
    let mut turns = BTreeMap::new();
    for host in wanting {
        let mine = up(host);
        let told = matches!(all.get(host), Some(Ok(Up(Ok(_)))));
        let turn = if told && mine.is_empty() {
            Turn::Now
        } else if !unknown.is_empty() {
            Turn::Never(format!(
                "what would be left is not known, because not every host can tell: {}",
                unknown.join("; ")
            ))
        } else if let Some(primary) = mine.iter().find(|r| r.role == Role::Primary) {
            Turn::Never(format!("{}: it is in use on this node (Primary)", primary.name))
        } else if again && !first.is_empty() {
            Turn::After(first.join(" and "))
        } else {
            match mine.iter().find_map(|r| missed(r, host, all, &gone).map(|why| format!("{}: {why}", r.name))) {
                None => {
                    gone.extend(mine.iter().map(|r| (r.name.as_str(), r.node_id)));
                    first.push(host);
                    Turn::Now
                }
                Some(why) if !first.is_empty() => {
                    Turn::Never(format!("{why}, once {} has stopped it", first.join(" and ")))
                }
                // Somebody may have had its turn and not be back yet.
                Some(why) if again && wanting.len() < all.len() => Turn::NotYet(why),
                Some(why) => Turn::Never(why),
            }
        };
        turns.insert((*host).to_owned(), turn);
    }
    turns
}

/// What the others would miss if `host` let go of this resource after those who are `gone`.
fn missed(
    resource: &Resource,
    host: &str,
    all: &BTreeMap<&str, Observation<&Up>>,
    gone: &BTreeSet<(&str, u32)>,
) -> Option<String> {
    let mut later = resource.clone();
    for connection in &mut later.connections {
        if gone.contains(&(resource.name.as_str(), connection.peer_node_id)) {
            connection.connection_state = ConnectionState::Connecting;
            connection.peer_role = Role::Unknown;
            for device in &mut connection.peer_devices {
                device.peer_disk_state = DiskState::DUnknown;
            }
        }
    }
    if let Some(why) = against(&later) {
        return Some(why);
    }
    // Those who use it must see a majority themselves: this node's view of who is connected is not theirs.
    for (other, up) in all.iter().filter(|(other, _)| **other != host) {
        let Ok(Up(Ok(resources))) = up else { continue };
        let user = resources.iter().find(|r| r.name == resource.name && r.role == Role::Primary);
        let Some(user) = user else { continue };
        let left = user.connections.iter().filter(|c| {
            c.connection_state == ConnectionState::Connected
                && c.peer_node_id != resource.node_id
                && !gone.contains(&(resource.name.as_str(), c.peer_node_id))
        });
        let (left, nodes) = (left.count() + 1, user.connections.len() + 1);
        if nodes >= 3 && left * 2 <= nodes {
            return Some(format!("{other} is using it and would lose the quorum ({left} of {nodes} nodes left)"));
        }
    }
    None
}

#[cfg(test)]
mod tests;
