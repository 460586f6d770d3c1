//! What one look at a node found about the DRBD resources of a container. Knows no verdict.

use crate::drbd::module::Version;
use crate::drbd::status::Resource;
use serde::{Deserialize, Serialize};

/// One look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    pub module: Module,
    /// One for each resource that the container stands on; empty: it needs no DRBD.
    pub resources: Vec<Seen>,
}

/// The kernel module, by `/sys/module/drbd/version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Module {
    Loaded(Version),
    Absent,
    /// Why it cannot be told.
    Untold(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The resource, or the device where no resource is known for it.
    pub name: String,
    pub state: State,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The kernel knows no such resource, or no resource has the device.
    NotUp,
    /// Why it cannot be told: no answer in time, no such program, output that does not read.
    Untold(String),
    /// Why it cannot be told on which resources the container stands at all.
    Hidden(String),
    Up {
        status: Box<Resource>,
        quorum: Quorum,
        held: Held,
    },
}

/// Whether the resource is configured to need a quorum. The status does not say: without one it reports `quorum: true`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quorum {
    Configured,
    Off,
    /// Nobody asked, because every peer is connected.
    #[default]
    NotAsked,
    /// Why it cannot be told.
    Untold(String),
}

/// Whether somebody on this node has the device open. Asked only where this node is Primary.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    #[default]
    NotAsked,
    No,
    /// By whom, in words.
    By(Vec<String>),
    /// Why it cannot be told.
    Untold(String),
}
