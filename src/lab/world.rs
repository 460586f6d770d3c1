//! Everything the lab knows beside files: one value, stored as JSON.
//!
//! It holds deviations from what a fresh node of the flavour has (see [`super::base`]), so that hundreds of nodes
//! stay small.

use super::device::{BlockDevice, Filesystem, FsId, Mount};
use super::{api, drbd};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};

/// Which Proxmox VE the lab plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    #[default]
    Pve9,
    Pve8,
}

/// A part of the world that notices when it is borrowed for writing, so that reading costs no write to disk.
#[derive(Debug, Clone, Default)]
pub struct Tracked<T> {
    value: T,
    touched: bool,
}

impl<T> Tracked<T> {
    pub(super) fn take_touched(&mut self) -> bool {
        std::mem::take(&mut self.touched)
    }
}

impl<T> Deref for Tracked<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Tracked<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.touched = true;
        &mut self.value
    }
}

impl<T: PartialEq> PartialEq for Tracked<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Serialize> Serialize for Tracked<T> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(s)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Tracked<T> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        T::deserialize(d).map(|value| Self { value, touched: false })
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct World {
    /// Where the files of this world are; not part of its state.
    #[serde(skip)]
    pub files: Option<super::files::Files>,
    pub flavour: Flavour,
    pub nodes: Tracked<BTreeMap<String, NodeState>>,
    /// Run time of guests by VMID. Their configuration is the file `/etc/pve/nodes/N/lxc/VMID.conf`.
    pub guests: Tracked<BTreeMap<u32, Guest>>,
    /// File systems by identity; several replicas of one DRBD volume hold the same one.
    pub filesystems: Tracked<BTreeMap<FsId, Filesystem>>,
    pub drbd: Tracked<drbd::Fabric>,
    pub cluster: Tracked<api::Cluster>,
    /// Milliseconds by which the lab's clock runs ahead of the machine's.
    pub clock_ahead_ms: Tracked<i64>,
    /// Source of fresh identities (UUIDs, MAC addresses, process ids).
    pub next_id: Tracked<u64>,
}

impl World {
    /// Milliseconds since the epoch, by the lab's clock.
    pub fn now_ms(&self) -> i64 {
        let real = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(real.as_millis()).unwrap_or(i64::MAX).saturating_add(*self.clock_ahead_ms)
    }

    pub fn now_s(&self) -> i64 {
        self.now_ms() / 1000
    }

    /// A number that was never given out before in this world.
    pub fn fresh_id(&mut self) -> u64 {
        *self.next_id += 1;
        *self.next_id
    }

    /// A fresh UUID in the usual text form; deterministic per world, so that runs can be compared.
    pub fn fresh_uuid(&mut self) -> String {
        use sha2::Digest;
        let digest = sha2::Sha256::digest(format!("lab uuid {}", self.fresh_id()));
        let hex: String = digest.iter().take(16).map(|b| format!("{b:02x}")).collect();
        format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
    }

    /// A node that is known to exist (the lab never makes up names).
    ///
    /// # Panics
    /// When there is no such node: a fault in the lab's own code.
    pub fn node(&self, name: &str) -> &NodeState {
        self.nodes.get(name).unwrap_or_else(|| panic!("the lab has no node {name}"))
    }

    /// As [`World::node`], for changing it.
    pub fn node_mut(&mut self, name: &str) -> &mut NodeState {
        self.nodes.get_mut(name).unwrap_or_else(|| panic!("the lab has no node {name}"))
    }

    /// Nodes that are powered on.
    pub fn nodes_on(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter(|(_, n)| !n.off).map(|(name, _)| name.as_str())
    }

    /// Whether the cluster has a majority from this node's view: nodes powered on and not cut off from it.
    pub fn quorate(&self, node: &str) -> bool {
        let Some(me) = self.nodes.get(node) else { return false };
        let seen = self
            .nodes
            .iter()
            .filter(|(name, n)| {
                !n.off && n.cut_from_cluster == me.cut_from_cluster && (!me.cut_from_cluster || *name == node)
            })
            .count();
        seen * 2 > self.nodes.len()
    }

    /// The packages, units and file attributes of a node or of a container's root file system.
    pub fn system(&self, place: &Place) -> Option<&System> {
        match place {
            Place::Node(name) => self.nodes.get(name).map(|n| &n.system),
            Place::Container(vmid) => {
                let fs = self.guests.get(vmid)?.running.as_ref()?.rootfs.clone();
                self.filesystems.get(&fs)?.system.as_ref()
            }
        }
    }

    pub fn system_mut(&mut self, place: &Place) -> Option<&mut System> {
        match place {
            Place::Node(name) => self.nodes.get_mut(name).map(|n| &mut n.system),
            Place::Container(vmid) => {
                let fs = self.guests.get(vmid)?.running.as_ref()?.rootfs.clone();
                self.filesystems.get_mut(&fs)?.system.as_mut()
            }
        }
    }

    /// Whether anything was borrowed for writing since the last call.
    pub(super) fn take_touched(&mut self) -> bool {
        // No short circuit: every flag is to be cleared.
        let flags = [
            self.nodes.take_touched(),
            self.guests.take_touched(),
            self.filesystems.take_touched(),
            self.drbd.take_touched(),
            self.cluster.take_touched(),
            self.clock_ahead_ms.take_touched(),
            self.next_id.take_touched(),
        ];
        flags.contains(&true)
    }
}

/// Where a path or a command is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    Node(String),
    /// Inside a running container.
    Container(u32),
}

impl Place {
    pub fn node(name: impl Into<String>) -> Self {
        Self::Node(name.into())
    }
}

/// One simulated node: what it runs and has beside its files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeState {
    /// Powered off nodes answer nothing.
    pub off: bool,
    /// Cut off from corosync's network: this node sees only itself.
    pub cut_from_cluster: bool,
    /// 1 for pve1: the last byte of its addresses is 10 + index.
    pub index: u32,
    pub system: System,
    /// `uname -r`.
    pub kernel: String,
    /// Kernels that are installed; the last is the next to boot.
    pub kernels: Vec<String>,
    /// Loaded modules; `drbd`'s version decides what DRBD speaks.
    pub modules: BTreeMap<String, LoadedModule>,
    /// DRBD modules built by DKMS.
    pub dkms: Vec<DkmsBuild>,
    /// Kernel parameters that were set, `net.ipv4.ip_forward` → `1`.
    pub sysctl: BTreeMap<String, String>,
    /// Block devices by kernel name (`sdb`, `sdb1`). DRBD's own devices are not here: see `drbd::minors`.
    pub devices: BTreeMap<String, BlockDevice>,
    pub mounts: Vec<Mount>,
    pub secure_boot: bool,
    /// The key that DKMS signs with is enrolled in the firmware.
    pub mok_enrolled: bool,
    /// Kernels for which the DRBD module does not build.
    pub dkms_broken_for: BTreeSet<String>,
    /// `/etc/apparmor.d/lxc/lxc-default-cgns` as it was last loaded; `None` = as shipped.
    pub apparmor_loaded: Option<String>,
    pub booted_at_s: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadedModule {
    pub version: Option<String>,
    /// From the kernel package rather than built outside of it.
    pub in_tree: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DkmsBuild {
    pub module: String,
    pub version: String,
    pub kernel: String,
    pub state: DkmsState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DkmsState {
    Built,
    Installed,
    /// The build failed; `dkms status` does not remember that, it only says `added`.
    Failed,
}

/// What a Debian system is beside its files: a node's, or the one on a container's root file system.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct System {
    /// Debian's release: 12 or 13.
    pub debian: u32,
    /// A container has fewer base packages and no kernel of its own.
    pub container: bool,
    /// Packages beyond the base; `None` = a base package that was removed.
    pub packages: BTreeMap<String, Option<Package>>,
    pub held: BTreeSet<String>,
    /// Units whose state is not what they are shipped with.
    pub units: BTreeMap<String, Unit>,
    /// What systemd read of each unit's files; one that differs from the disk needs a daemon-reload.
    pub unit_digests: BTreeMap<String, String>,
    /// Attributes of files that are not root:root with 0644 (files) or 0755 (directories).
    pub attrs: BTreeMap<String, Attrs>,
    /// Sources whose index `apt-get update` fetched.
    pub apt_indexes: BTreeSet<String>,
    pub apt_updated_at_s: Option<i64>,
    /// What `exportfs` last exported.
    pub exports: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Package {
    pub version: String,
    /// Removed, configuration files left (`rc`).
    #[serde(default)]
    pub config_only: bool,
    /// Installed because another package needs it.
    #[serde(default)]
    pub auto: bool,
}

/// Run time and boot time state of a unit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unit {
    /// `None` = as a boot leaves it.
    pub active: Option<bool>,
    pub failed: bool,
    pub since_s: i64,
    pub main_pid: u64,
    /// Restarts and reloads, counted so that tests can see that one happened.
    pub starts: u64,
    pub reloads: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attrs {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// Run time of a guest. Absent in `World::guests` and `running: None` both mean: not running.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Guest {
    pub running: Option<Running>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Running {
    pub node: String,
    pub rootfs: FsId,
    /// The block device that holds it, `/dev/drbd100`.
    pub device: String,
    pub since_s: i64,
    pub pid: u64,
    /// File system types that AppArmor lets it mount, as its profile stood at the start; `*` = any.
    #[serde(default)]
    pub may_mount: Vec<String>,
}
