//! `drbdsetup status --json` as types, of utils 9.22 to 9.34. Fields that are not read here are ignored, words that
//! are not known are kept.

use super::words::{ConnectionState, DiskState, ReplicationState, Role};
use serde::{Deserialize, Serialize};

/// One resource as the kernel has it on one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Resource {
    pub name: String,
    pub node_id: u32,
    pub role: Role,
    #[serde(default)]
    pub suspended: bool,
    #[serde(default)]
    pub suspended_user: bool,
    #[serde(default)]
    pub suspended_no_data: bool,
    #[serde(default)]
    pub suspended_fencing: bool,
    #[serde(default)]
    pub suspended_quorum: bool,
    #[serde(default)]
    pub force_io_failures: bool,
    pub devices: Vec<Device>,
    /// Empty is a bad state of a resource that has peers in its file: half configured.
    pub connections: Vec<Connection>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Device {
    pub volume: u32,
    pub minor: u32,
    pub disk_state: DiskState,
    /// Diskless on purpose.
    #[serde(default)]
    pub client: bool,
    /// Of utils 9.29 and later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<bool>,
    /// Always true where quorum is not configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<bool>,
    /// KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Connection {
    pub peer_node_id: u32,
    /// The peer's host name.
    pub name: String,
    pub connection_state: ConnectionState,
    #[serde(default)]
    pub congested: bool,
    pub peer_role: Role,
    #[serde(default, rename = "peer_devices")]
    pub peer_devices: Vec<PeerDevice>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PeerDevice {
    pub volume: u32,
    pub replication_state: ReplicationState,
    pub peer_disk_state: DiskState,
    #[serde(default)]
    pub peer_client: bool,
    /// `no`, or a comma list of `user`, `peer`, `dependency`.
    #[serde(default = "no")]
    pub resync_suspended: String,
    /// KiB. Not a measure of health: bits stay set towards a third node after a sync from the second.
    #[serde(default)]
    pub out_of_sync: u64,
    /// 0–100.
    #[serde(default)]
    pub percent_in_sync: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_seconds_to_finish: Option<u64>,
}

fn no() -> String {
    "no".into()
}

/// The whole answer of `drbdsetup status --json`, called without a name.
pub fn parse(stdout: &str) -> Result<Vec<Resource>, String> {
    serde_json::from_str(stdout).map_err(|e| format!("drbdsetup status --json: {e}"))
}

impl Resource {
    pub fn connection(&self, name: &str) -> Option<&Connection> {
        self.connections.iter().find(|c| c.name == name)
    }

    pub fn device(&self, volume: u32) -> Option<&Device> {
        self.devices.iter().find(|d| d.volume == volume)
    }

    /// Words that this program does not know, with where they stand. Health is never claimed over them.
    pub fn unknown_words(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut see = |known: bool, what: String| {
            if !known {
                all.push(what);
            }
        };
        see(self.role.is_known(), format!("role {}", self.role));
        for d in &self.devices {
            see(d.disk_state.is_known(), format!("disk state {} of volume {}", d.disk_state, d.volume));
        }
        for c in &self.connections {
            see(c.connection_state.is_known(), format!("connection state {} to {}", c.connection_state, c.name));
            see(c.peer_role.is_known(), format!("role {} of {}", c.peer_role, c.name));
            for d in &c.peer_devices {
                see(d.replication_state.is_known(), format!("replication {} with {}", d.replication_state, c.name));
                see(d.peer_disk_state.is_known(), format!("disk state {} of {}", d.peer_disk_state, c.name));
            }
        }
        all
    }
}
