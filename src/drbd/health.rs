//! From one node's status to sentences: what is wrong with a resource, how bad it is, and how far a sync got.
//!
//! Does not advise on repairs that cost data, and never calls a state healthy that holds a word it does not know.

use super::status::Resource;
use super::words::{ConnectionState, DiskState, ReplicationState, Role};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Healthy,
    /// On its way by itself: syncing, connecting.
    Working,
    /// Serves, with less redundancy than described.
    Degraded,
    /// Does not serve, or must not be trusted.
    Bad,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    UnknownWord,
    Suspended,
    IoFailuresForced,
    QuorumLost,
    NoConnections,
    StandAlone,
    NotConnected,
    Diskless,
    DiskFailed,
    Inconsistent,
    Outdated,
    Syncing,
    SyncPaused,
    Verifying,
    PeerDisk,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub what: What,
    pub level: Level,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    pub level: Level,
    /// Worst first; empty = healthy.
    pub findings: Vec<Finding>,
    /// 0.0–1.0 of the slowest sync this node takes part in; `None` = no sync.
    pub sync_fraction: Option<f32>,
}

impl Health {
    pub fn has(&self, what: What) -> bool {
        self.findings.iter().any(|f| f.what == what)
    }

    /// One line for a person.
    pub fn sentence(&self) -> String {
        if self.findings.is_empty() {
            return "healthy".into();
        }
        self.findings.iter().map(|f| f.text.as_str()).collect::<Vec<_>>().join("; ")
    }
}

/// Judges what one node says. `peers` is how many connections the file describes.
pub fn judge(resource: &Resource, peers: usize) -> Health {
    let mut findings = Vec::new();
    let mut say = |what, level, text: String| findings.push(Finding { what, level, text });
    for word in resource.unknown_words() {
        say(What::UnknownWord, Level::Bad, format!("a state this program does not know: {word}"));
    }
    if resource.suspended {
        let why = suspended_by(resource);
        say(What::Suspended, Level::Bad, format!("I/O is suspended ({why}): readers and writers hang"));
    }
    if resource.force_io_failures {
        let text = "all I/O fails (secondary --force) until the last opener closes the device".to_owned();
        say(What::IoFailuresForced, Level::Bad, text);
    }
    for device in &resource.devices {
        let volume = device.volume;
        if device.quorum == Some(false) {
            say(What::QuorumLost, Level::Bad, format!("volume {volume} has no quorum here"));
        }
        match &device.disk_state {
            DiskState::UpToDate | DiskState::Other(_) => {}
            DiskState::Diskless if device.client => {}
            DiskState::Diskless => {
                say(What::Diskless, Level::Degraded, format!("volume {volume} runs without its local disk"));
            }
            DiskState::Failed => say(What::DiskFailed, Level::Bad, format!("the disk of volume {volume} failed")),
            state @ (DiskState::Inconsistent | DiskState::Negotiating | DiskState::Attaching) => {
                let level = if is_sync_target(resource, volume) { Level::Working } else { Level::Bad };
                say(What::Inconsistent, level, format!("volume {volume} is {state} here"));
            }
            state => say(What::Outdated, Level::Bad, format!("volume {volume} is {state} here")),
        }
    }
    if resource.connections.is_empty() && peers > 0 {
        let text = "it has no connections at all (half configured; drbdadm adjust completes it)".to_owned();
        say(What::NoConnections, Level::Bad, text);
    }
    for c in &resource.connections {
        match &c.connection_state {
            ConnectionState::Connected | ConnectionState::Other(_) => {}
            ConnectionState::StandAlone => {
                let text =
                    format!("StandAlone towards {}: no attempt to connect (split brain, or a lost handshake)", c.name);
                say(What::StandAlone, Level::Bad, text);
            }
            state => say(What::NotConnected, Level::Degraded, format!("{} is not connected ({state})", c.name)),
        }
        for d in &c.peer_devices {
            let percent = d.percent_in_sync;
            match &d.replication_state {
                ReplicationState::PausedSyncS | ReplicationState::PausedSyncT
                    if d.resync_suspended != "no" && d.resync_suspended != "dependency" =>
                {
                    let text = format!("sync with {} is paused ({}) at {percent:.1} %", c.name, d.resync_suspended);
                    say(What::SyncPaused, Level::Degraded, text);
                }
                state if state.is_sync_source() || state.is_sync_target() => {
                    let way = if state.is_sync_source() { "to" } else { "from" };
                    say(What::Syncing, Level::Working, format!("syncing {way} {}: {percent:.1} %", c.name));
                }
                ReplicationState::VerifyS | ReplicationState::VerifyT => {
                    say(What::Verifying, Level::Working, format!("verifying with {}", c.name));
                }
                _ if c.connection_state == ConnectionState::Connected
                    && !d.peer_client
                    && d.peer_disk_state.is_known()
                    && d.peer_disk_state != DiskState::UpToDate =>
                {
                    // `peer`, `dependency`: the peer is busy syncing from another node.
                    let (level, waits) = match d.resync_suspended.as_str() {
                        "no" => (Level::Degraded, ""),
                        _ => (Level::Working, " and syncs from another node"),
                    };
                    say(What::PeerDisk, level, format!("the disk of {} is {}{waits}", c.name, d.peer_disk_state));
                }
                _ => {}
            }
        }
    }
    findings.sort_by_key(|f| (std::cmp::Reverse(f.level), f.what));
    let level = findings.first().map_or(Level::Healthy, |f| f.level);
    Health { level, findings, sync_fraction: sync_fraction(resource) }
}

fn suspended_by(resource: &Resource) -> String {
    let words: Vec<&str> = [
        (resource.suspended_user, "by an administrator"),
        (resource.suspended_no_data, "no up-to-date data reachable"),
        (resource.suspended_fencing, "fencing"),
        (resource.suspended_quorum, "no quorum"),
    ]
    .into_iter()
    .filter_map(|(set, word)| set.then_some(word))
    .collect();
    if words.is_empty() { "no reason given".into() } else { words.join(", ") }
}

fn is_sync_target(resource: &Resource, volume: u32) -> bool {
    let devices = resource.connections.iter().flat_map(|c| &c.peer_devices);
    devices.filter(|d| d.volume == volume).any(|d| d.replication_state.is_sync_target())
}

/// 0.0–1.0 of the slowest running sync.
pub fn sync_fraction(resource: &Resource) -> Option<f32> {
    resource
        .connections
        .iter()
        .flat_map(|c| &c.peer_devices)
        .filter(|d| d.replication_state.is_sync_source() || d.replication_state.is_sync_target())
        .map(|d| (d.percent_in_sync / 100.0).clamp(0.0, 1.0) as f32)
        .min_by(f32::total_cmp)
}

/// Some volume here is UpToDate and no connected peer has an UpToDate copy of it: taking this node's disk or its
/// role away takes the last good copy away.
pub fn is_last_up_to_date(resource: &Resource) -> bool {
    resource.devices.iter().filter(|d| d.disk_state == DiskState::UpToDate).any(|device| {
        !resource.connections.iter().any(|c| {
            c.connection_state == ConnectionState::Connected
                && c.peer_devices.iter().any(|d| d.volume == device.volume && d.peer_disk_state == DiskState::UpToDate)
        })
    })
}

/// A peer is known to be Primary, or this node is.
pub fn primary(resource: &Resource, here: &str) -> Option<String> {
    if resource.role == Role::Primary {
        return Some(here.to_owned());
    }
    resource.connections.iter().find(|c| c.peer_role == Role::Primary).map(|c| c.name.clone())
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
