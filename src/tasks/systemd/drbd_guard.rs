//! Whether one of DRBD's units may be stopped on this host now.
//!
//! Their stop downs the resource: this node's copy is gone from the cluster until it is brought up again.

use crate::drbd::health;
use crate::drbd::status::{self, Resource};
use crate::drbd::words::{ConnectionState, Role};
use crate::host::{LookError, Probe, Query, Topic};
use std::path::Path;

/// Units whose stop takes every resource down.
const ALL: &[&str] = &["drbd.service", "drbd-configured.target", "drbd-graceful-shutdown.service"];

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

/// Why `unit` must not be stopped; `None`: nothing speaks against it, or it is not one of DRBD's.
pub fn look(host: &dyn Probe, unit: &str) -> Result<Option<String>, LookError> {
    let resource = resource_of(unit);
    if resource.is_none() && !ALL.contains(&unit) {
        return Ok(None);
    }
    // `drbdsetup status` would load the module; without it nothing is up.
    if host.stat(Path::new("/sys/module/drbd/version"))?.is_none() {
        return Ok(None);
    }
    let topic = Topic::Drbd(resource.clone().unwrap_or_default());
    let query = Query::new(topic, ["drbdsetup", "status", "--json"]);
    let answer = host.query(&query)?;
    let resources = match answer.rc {
        0 => status::parse(&answer.stdout).map_err(|why| LookError::cannot_tell("DRBD's state", why))?,
        _ => return Err(LookError::cannot_tell("DRBD's state", answer.complaint())),
    };
    let touched = resources.iter().filter(|r| resource.as_ref().is_none_or(|name| r.name == *name));
    Ok(touched.filter_map(|r| why_not(r).map(|why| format!("{}: {why}", r.name))).next())
}

fn why_not(resource: &Resource) -> Option<String> {
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
