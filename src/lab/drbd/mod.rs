//! The lab's DRBD 9: replicas over the simulated nodes, and the programs `drbdadm`, `drbdsetup`, `drbdmeta`.
//!
//! Being written: until then no resource can be up.

use super::commands::Ctx;
use super::device::{Content, OpenError, OpenMode};
use super::world::World;
use crate::host::Output;
use serde::{Deserialize, Serialize};

/// State of all resources on all nodes, and the metadata on their disks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fabric {}

/// Runs one of DRBD's programs; `None`: `argv[0]` is not one of them.
pub fn run(_ctx: &mut Ctx, _argv: &[String], _stdin: Option<&[u8]>) -> Option<Output> {
    None
}

/// Minors that exist on a node (`/dev/drbdN`), sorted.
pub fn minors(_world: &World, _node: &str) -> Vec<u32> {
    Vec::new()
}

/// A program opens `/dev/drbdN`; a write open promotes. Paired with [`close`] by the same holder.
pub fn open(_world: &mut World, _node: &str, minor: u32, _mode: OpenMode, _holder: &str) -> Result<(), OpenError> {
    Err(OpenError::new("ENXIO", format!("minor {minor} is not configured")))
}

/// The holder lets go of `/dev/drbdN`; the last write close demotes.
pub fn close(_world: &mut World, _node: &str, _minor: u32, _holder: &str) {}

/// What the volume holds as seen through this node.
pub fn content(_world: &World, _node: &str, _minor: u32) -> Content {
    Content::Blank
}

/// Overwrites what the volume holds, on every replica that is connected.
pub fn set_content(_world: &mut World, _node: &str, _minor: u32, _content: Content) {}

pub fn size_kib(_world: &World, _node: &str, _minor: u32) -> u64 {
    0
}

/// Whether a plain block device is the attached backing device of a volume.
pub fn holds_backing(_world: &World, _node: &str, _path: &str) -> bool {
    false
}

/// `blkid -p` of a backing device that carries DRBD metadata at its end answers TYPE="drbd".
pub fn has_metadata(_world: &World, _node: &str, _kernel_name: &str) -> bool {
    false
}

/// `/proc/drbd`, when the module is loaded.
pub fn proc_drbd(_world: &World, _node: &str) -> Option<String> {
    None
}

/// A file below `/sys/kernel/debug/drbd/`; `None`: there is none.
pub fn debugfs(_world: &World, _node: &str, _path: &str) -> Option<String> {
    None
}

/// The node lost power: its resources vanish from the peers' view.
pub fn node_off(_world: &mut World, _node: &str) {}

/// The node booted again; resources come up when their units say so (`drbdadm adjust` is run by systemd).
pub fn node_on(_world: &mut World, _node: &str) {}
