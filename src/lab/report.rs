//! What `converge lab status` shows: nodes, DRBD, containers.

use super::commands::{Ctx, apt};
use super::handle::{Lab, LabError};
use super::power;
use serde::Serialize;
use std::fmt::Write as _;

/// The lab at a glance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabStatus {
    pub flavour: super::Flavour,
    pub nodes: Vec<NodeStatus>,
    pub containers: Vec<ContainerStatus>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeStatus {
    pub name: String,
    pub on: bool,
    pub quorate: bool,
    pub kernel: String,
    /// Version of the loaded DRBD module.
    pub drbd_module: Option<String>,
    pub drbd_utils: Option<String>,
    /// What `drbdsetup status` prints there.
    pub drbd: String,
    pub failed_units: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContainerStatus {
    pub vmid: u32,
    /// Owner of the configuration.
    pub node: String,
    pub running: bool,
    pub device: Option<String>,
    pub lock: Option<String>,
}

impl Lab {
    /// # Errors
    /// When the lab cannot be used.
    pub fn status(&self) -> Result<LabStatus, LabError> {
        self.with(|world| {
            let names: Vec<String> = world.nodes.keys().cloned().collect();
            let mut nodes = Vec::new();
            for name in names {
                let node = world.node(&name);
                let drbd_module = node.modules.get("drbd").and_then(|m| m.version.clone());
                let mut status = NodeStatus {
                    on: !node.off,
                    quorate: !node.off && world.quorate(&name),
                    kernel: node.kernel.clone(),
                    drbd_utils: apt::version_in(&node.system, "drbd-utils"),
                    drbd: String::new(),
                    failed_units: node.system.units.iter().filter(|(_, u)| u.failed).map(|(n, _)| n.clone()).collect(),
                    drbd_module,
                    name,
                };
                // Asking would load the module; without one there is nothing to ask.
                if status.on
                    && status.drbd_utils.is_some()
                    && status.drbd_module.as_ref().is_some_and(|v| v.starts_with('9'))
                {
                    let said = Ctx::on_node(world, self.files(), &status.name).run(&["drbdsetup", "status"]);
                    status.drbd = said.stdout;
                }
                nodes.push(status);
            }
            let containers = power::containers(world, self.files())
                .into_iter()
                .map(|(vmid, node, text)| ContainerStatus {
                    vmid,
                    running: super::guest::running_on(world, vmid).is_some(),
                    device: super::guest::rootfs_device(&text).map(str::to_owned),
                    lock: super::guest::config_value(&text, "lock").map(str::to_owned),
                    node,
                })
                .collect();
            LabStatus { flavour: world.flavour, nodes, containers }
        })
    }
}

impl LabStatus {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            let state = match (node.on, node.quorate) {
                (false, _) => "off",
                (true, true) => "on",
                (true, false) => "on, no quorum",
            };
            let module = node.drbd_module.as_ref().map_or_else(|| "no DRBD loaded".to_owned(), |v| format!("DRBD {v}"));
            let _ = writeln!(text, "{}: {state}, kernel {}, {module}", node.name, node.kernel);
            for unit in &node.failed_units {
                let _ = writeln!(text, "  failed: {unit}");
            }
            for line in node.drbd.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')) {
                let _ = writeln!(text, "  {line}");
            }
        }
        for ct in &self.containers {
            let state = if ct.running { "running" } else { "stopped" };
            let device = ct.device.as_deref().unwrap_or("no root device");
            let lock = ct.lock.as_ref().map(|l| format!(", locked ({l})")).unwrap_or_default();
            let _ = writeln!(text, "ct:{} on {}: {state}, {device}{lock}", ct.vmid, ct.node);
        }
        text
    }
}
