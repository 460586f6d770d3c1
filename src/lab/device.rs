//! Block devices of a node, what lies on them, and mounts.
//!
//! DRBD's own rules (who may open, promote, which replica is current) are `lab::drbd`'s; this asks it.

use super::drbd;
use super::files::Files;
use super::world::{Place, System, World};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Identity of a file system, which is also the name of its directory below `DIR/devices/`.
pub type FsId = String;

/// What the data area of a block device holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    #[default]
    Blank,
    Filesystem(FsId),
    /// Something else that a person put there, by blkid's name (`LVM2_member`, `ntfs`).
    Other(String),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockDevice {
    pub size_kib: u64,
    /// Names below `/dev/disk/` that link here: `by-id/nvme-…`, `by-partuuid/…`.
    pub links: Vec<String>,
    pub content: Content,
}

/// A file system: what the super block says. Its files are below `DIR/devices/ID/`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filesystem {
    /// blkid's TYPE: `ext4`.
    pub kind: String,
    pub uuid: String,
    pub label: Option<String>,
    pub size_kib: u64,
    pub features: Vec<String>,
    pub mmp_interval_s: u32,
    /// Who had it mounted last, as mmp writes it.
    pub mmp_node: Option<String>,
    pub made_at_s: i64,
    /// Unmounted cleanly; otherwise the next mount replays the journal and waits for mmp.
    pub clean: bool,
    /// Owner of the top directory, as `mkfs -E root_owner=` sets it: an unprivileged container needs 100000.
    pub root_uid: u32,
    /// The Debian system whose root this is, if one was unpacked.
    pub system: Option<System>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    pub source: String,
    pub target: String,
    pub fstype: String,
    pub options: String,
    /// `None` for pseudo file systems.
    #[serde(default)]
    pub fs: Option<FsId>,
    /// A mount that the node's own mount table does not show: a container's, in its own name space.
    #[serde(default)]
    pub guest: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    Read,
    Write,
}

/// Why a device did not open; `errno` as the kernel's name (`EMEDIUMTYPE`, `EROFS`, `ENOENT`, `EBUSY`, `ENODATA`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenError {
    pub errno: &'static str,
    pub why: String,
}

impl OpenError {
    pub fn new(errno: &'static str, why: impl Into<String>) -> Self {
        Self { errno, why: why.into() }
    }

    /// What `strerror` says.
    pub fn text(&self) -> &'static str {
        match self.errno {
            "EMEDIUMTYPE" => "Wrong medium type",
            "ENODATA" => "No data available",
            "EROFS" => "Read-only file system",
            "ENOENT" => "No such file or directory",
            "EBUSY" => "Device or resource busy",
            "EACCES" => "Permission denied",
            "EAGAIN" => "Resource temporarily unavailable",
            "ENOTRECOVERABLE" => "State not recoverable",
            "ENXIO" => "No such device or address",
            _ => "Input/output error",
        }
    }
}

/// A device after following links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceRef {
    /// Kernel name of an ordinary block device: `sdb1`.
    Plain(String),
    Drbd(u32),
}

/// Follows `/dev/disk/…` links. `None`: there is no such device on the node.
pub fn find(world: &World, node: &str, path: &str) -> Option<DeviceRef> {
    let name = path.strip_prefix("/dev/")?;
    if let Some(minor) = name.strip_prefix("drbd").and_then(|n| n.parse().ok()) {
        return drbd::minors(world, node).contains(&minor).then_some(DeviceRef::Drbd(minor));
    }
    let devices = &world.node(node).devices;
    if devices.contains_key(name) {
        return Some(DeviceRef::Plain(name.to_owned()));
    }
    let link = name.strip_prefix("disk/")?;
    let (kernel_name, _) = devices.iter().find(|(_, d)| d.links.iter().any(|l| l == link))?;
    Some(DeviceRef::Plain(kernel_name.clone()))
}

/// Opens a device for `holder` (a word for who holds it: `mount`, `mkfs.ext4`, `lxc 101`). DRBD auto-promotes on a
/// write open. Every success must be paired with [`close`].
pub fn open(world: &mut World, node: &str, path: &str, mode: OpenMode, holder: &str) -> Result<DeviceRef, OpenError> {
    let device = find(world, node, path).ok_or_else(|| OpenError::new("ENOENT", format!("{path} does not exist")))?;
    match &device {
        DeviceRef::Drbd(minor) => drbd::open(world, node, *minor, mode, holder)?,
        DeviceRef::Plain(_) if mode == OpenMode::Write && drbd::holds_backing(world, node, path) => {
            return Err(OpenError::new("EBUSY", format!("{path} is the backing device of a DRBD volume")));
        }
        DeviceRef::Plain(_) => {}
    }
    Ok(device)
}

/// Closes what [`open`] opened; DRBD auto-demotes on the last write close.
pub fn close(world: &mut World, node: &str, device: &DeviceRef, holder: &str) {
    if let DeviceRef::Drbd(minor) = device {
        drbd::close(world, node, *minor, holder);
    }
}

/// What an opened device holds, read through it.
pub fn content(world: &World, node: &str, device: &DeviceRef) -> Content {
    match device {
        DeviceRef::Plain(name) => world.node(node).devices.get(name).map(|d| d.content.clone()).unwrap_or_default(),
        DeviceRef::Drbd(minor) => drbd::content(world, node, *minor),
    }
}

/// Overwrites what an opened device holds; DRBD replicates it.
pub fn set_content(world: &mut World, node: &str, device: &DeviceRef, content: Content) {
    match device {
        DeviceRef::Plain(name) => {
            if let Some(device) = world.node_mut(node).devices.get_mut(name) {
                device.content = content;
            }
        }
        DeviceRef::Drbd(minor) => drbd::set_content(world, node, *minor, content),
    }
}

pub fn size_kib(world: &World, node: &str, device: &DeviceRef) -> u64 {
    match device {
        DeviceRef::Plain(name) => world.node(node).devices.get(name).map_or(0, |d| d.size_kib),
        DeviceRef::Drbd(minor) => drbd::size_kib(world, node, *minor),
    }
}

/// Copies a file system with its files under a new identity: two replicas that diverged hold different data.
pub fn fork(world: &mut World, files: &Files, fs: &FsId) -> std::io::Result<FsId> {
    let copy: FsId = format!("fs{}", world.fresh_id());
    super::files::copy_tree(&files.filesystem(fs), &files.filesystem(&copy))?;
    if let Some(original) = world.filesystems.get(fs).cloned() {
        world.filesystems.insert(copy.clone(), original);
    }
    Ok(copy)
}

/// Mounts that are visible at a place, longest target last.
pub fn mounts_of(world: &World, place: &Place) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = match place {
        Place::Node(name) => world.node(name).mounts.iter().filter(|m| m.guest.is_none()).cloned().collect(),
        Place::Container(_) => Vec::new(),
    };
    mounts.sort_by_key(|m| m.target.len());
    mounts
}

/// Mount a file system at a target on a node: opens the device for writing (DRBD auto-promotes) and keeps it open.
/// `guest`: for a container's root, invisible in the node's own table.
pub fn mount(
    world: &mut World,
    node: &str,
    source: &str,
    target: &str,
    options: &str,
    guest: Option<u32>,
) -> Result<FsId, OpenError> {
    let holder = holder_name(guest);
    let device = open(world, node, source, OpenMode::Write, &holder)?;
    let Content::Filesystem(fs) = content(world, node, &device) else {
        close(world, node, &device, &holder);
        return Err(OpenError::new("EINVAL", format!("{source} holds no file system")));
    };
    let now_node = node.to_owned();
    let kind = match world.filesystems.get_mut(&fs) {
        Some(state) => {
            state.clean = false;
            state.mmp_node = Some(now_node);
            state.kind.clone()
        }
        None => "ext4".to_owned(),
    };
    world.node_mut(node).mounts.push(Mount {
        source: source.to_owned(),
        target: target.to_owned(),
        fstype: kind,
        options: options.to_owned(),
        fs: Some(fs.clone()),
        guest,
    });
    Ok(fs)
}

/// Takes the last mount at a target away and closes its device. `false`: nothing is mounted there.
pub fn unmount(world: &mut World, node: &str, target: &str, guest: Option<u32>) -> bool {
    let mounts = &world.node(node).mounts;
    let Some(at) = mounts.iter().rposition(|m| m.target == target && m.guest == guest) else { return false };
    let mount = world.node_mut(node).mounts.remove(at);
    if let Some(state) = mount.fs.as_ref().and_then(|fs| world.filesystems.get_mut(fs)) {
        state.clean = true;
    }
    if let Some(device) = find(world, node, &mount.source) {
        close(world, node, &device, &holder_name(guest));
    }
    true
}

fn holder_name(guest: Option<u32>) -> String {
    guest.map_or_else(|| "mount".to_owned(), |vmid| format!("lxc-{vmid}"))
}

/// Every stable name of a device on a node: `/dev/disk/…` → `/dev/sdb1`.
pub fn links(world: &World, node: &str) -> BTreeMap<String, String> {
    let devices = &world.node(node).devices;
    devices
        .iter()
        .flat_map(|(name, d)| d.links.iter().map(move |l| (format!("/dev/disk/{l}"), format!("/dev/{name}"))))
        .collect()
}
