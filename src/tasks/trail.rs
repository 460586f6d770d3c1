//! Where it may be read who changed something.

use serde::{Deserialize, Serialize};

/// A place that may know who changed what a task keeps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trail {
    /// Owner and time of a file. Those below `/etc/pve` are the same on every node.
    File(String),
    /// Proxmox VE's task log: a container or VM.
    Guest(u32),
    /// Proxmox VE's task log: a service of the host, started or stopped through the API.
    Service(String),
}
