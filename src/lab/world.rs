//! Everything the lab knows beside files: one value, stored as JSON.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which Proxmox VE the lab plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Flavour {
    #[default]
    Pve9,
    Pve8,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct World {
    pub flavour: Flavour,
    pub nodes: BTreeMap<String, NodeState>,
}

/// One simulated node: packages, units, modules, devices, mounts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeState {
    /// Powered off nodes answer nothing.
    pub off: bool,
}
