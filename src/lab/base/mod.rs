//! What a freshly installed Proxmox node has: files, devices, kernel, packages. Addresses: 192.168.1.20+N for the
//! cluster and its clients, 192.168.2.10+N for DRBD.
//!
//! It lays out beginnings only: nothing here changes a node or a container that is in use.

mod container;
mod tree;

pub use container::unpack_container;
pub use tree::LXC_DEFAULT_CGNS;

use super::commands::apt::units;
use super::device::BlockDevice;
use super::files::{Files, Writer};
use super::world::{Flavour, LoadedModule, NodeState, Place, System, World};
use std::collections::BTreeMap;
use tree::{NODE_DIRS, cluster_files, enable_units, node_files};

impl Flavour {
    pub fn debian(self) -> u32 {
        match self {
            Self::Pve9 => 13,
            Self::Pve8 => 12,
        }
    }

    pub fn codename(self) -> &'static str {
        codename(self.debian())
    }

    pub fn kernel(self) -> &'static str {
        match self {
            Self::Pve9 => "6.17.4-1-pve",
            Self::Pve8 => "6.8.12-17-pve",
        }
    }

    pub fn pve_version(self) -> &'static str {
        match self {
            Self::Pve9 => "9.1.7",
            // The last line whose API puts error texts into the reason phrase alone.
            Self::Pve8 => "8.3.5",
        }
    }
}

pub fn codename(debian: u32) -> &'static str {
    match debian {
        12 => "bookworm",
        _ => "trixie",
    }
}

pub fn cluster_address(index: u32) -> String {
    address(1, 10 + index)
}

pub fn drbd_address(index: u32) -> String {
    address(2, index)
}

/// Up to 245 nodes fit behind .10; larger labs go on in the next networks.
fn address(net: u32, index: u32) -> String {
    let host = 10 + index;
    format!("192.{}.{net}.{}", 168 + host / 256, host % 256)
}

/// Lays out the file trees and the state of `count` nodes.
pub fn fresh_world(files: &Files, count: u32, flavour: Flavour) -> std::io::Result<World> {
    let mut world = World { flavour, ..World::default() };
    let now = world.now_s();
    for index in 1..=count {
        let name = format!("pve{index}");
        std::fs::create_dir_all(files.node_root(&name))?;
        world.nodes.insert(name, fresh_node(index, flavour, now));
    }
    std::fs::create_dir_all(files.dir().join("devices"))?;
    std::fs::create_dir_all(files.pve())?;
    let names: Vec<String> = world.nodes.keys().cloned().collect();
    let shared = cluster_files(&world);
    write_tree(files.pve(), &shared, &["priv/lock", "ha", "virtual-guest", "firewall", "sdn"])?;
    for name in &names {
        std::fs::create_dir_all(files.pve().join("nodes").join(name).join("lxc"))?;
        std::fs::create_dir_all(files.pve().join("nodes").join(name).join("qemu-server"))?;
        std::fs::create_dir_all(files.pve().join("nodes").join(name).join("priv"))?;
        let own = node_files(&world, name);
        write_tree(files.node_root(name), &own, NODE_DIRS)?;
        enable_units(&files.node_root(name), units::NODE_UNITS)?;
        let place = Place::node(name);
        let mut writer = Writer { world: &mut world, files, place: &place };
        for (path, mode, group) in
            [("/etc/shadow", 0o640, "shadow"), ("/root", 0o700, "root"), ("/tmp", 0o1777, "root")]
        {
            writer.set_attrs(path, Some(mode), None, Some(group)).map_err(|e| std::io::Error::other(e.to_string()))?;
        }
    }
    world.take_touched();
    Ok(world)
}

fn write_tree(root: std::path::PathBuf, tree: &BTreeMap<String, String>, dirs: &[&str]) -> std::io::Result<()> {
    for dir in dirs {
        std::fs::create_dir_all(root.join(dir))?;
    }
    for (path, text) in tree {
        let real = root.join(path);
        if path.ends_with('/') {
            std::fs::create_dir_all(&real)?;
            continue;
        }
        if let Some(parent) = real.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(real, text)?;
    }
    Ok(())
}

/// 8 GiB for DRBD on every node, beside the system disk.
fn fresh_node(index: u32, flavour: Flavour, now: i64) -> NodeState {
    let disk = |links: &[String], gib: u64| BlockDevice {
        size_kib: gib * 1024 * 1024,
        links: links.to_vec(),
        ..BlockDevice::default()
    };
    let serial = format!("S4EVNX0R{index:05}A");
    let id = |part: &str| {
        vec![format!("by-id/nvme-Samsung_SSD_980_{serial}{part}"), format!("by-path/pci-0000:01:00.0-nvme-1{part}")]
    };
    let mut partition = id("-part1");
    partition.push(format!("by-partuuid/{}", partuuid(index)));
    let devices = BTreeMap::from([
        ("sda".to_owned(), disk(&[format!("by-id/ata-KINGSTON_SA400_{index:08}")], 120)),
        ("nvme0n1".to_owned(), disk(&id(""), 9)),
        ("nvme0n1p1".to_owned(), disk(&partition, 8)),
    ]);
    NodeState {
        index,
        system: System { debian: flavour.debian(), ..System::default() },
        kernel: flavour.kernel().to_owned(),
        kernels: vec![flavour.kernel().to_owned()],
        modules: boot_modules(),
        devices,
        booted_at_s: now,
        ..NodeState::default()
    }
}

/// Modules that a boot loads whatever the administrator wants.
pub fn boot_modules() -> BTreeMap<String, LoadedModule> {
    let module = |name: &str| (name.to_owned(), LoadedModule { version: None, in_tree: name != "zfs" });
    ["ext4", "bridge", "zfs", "overlay"].map(module).into()
}

/// The stable name of a node's DRBD partition, also used by the reference playbook's lab inventory.
pub fn partuuid(index: u32) -> String {
    format!("0d9b1a10-{index:04x}-4a6e-9d6e-{index:012x}")
}

fn unit_files(list: &[(&str, &str, &str, bool)]) -> BTreeMap<String, String> {
    let path = |name: &str| format!("usr/lib/systemd/system/{name}");
    list.iter().map(|(name, what, kind, boots)| (path(name), units::base_unit(name, what, kind, *boots))).collect()
}

pub fn os_release(debian: u32) -> String {
    let code = codename(debian);
    let minor = if debian == 12 { "12" } else { "13.2" };
    format!(
        "PRETTY_NAME=\"Debian GNU/Linux {debian} ({code})\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"{debian}\"\nVERSION=\"{debian} ({code})\"\nVERSION_CODENAME={code}\nDEBIAN_VERSION_FULL={minor}\nID=debian\nHOME_URL=\"https://www.debian.org/\"\nSUPPORT_URL=\"https://www.debian.org/support\"\nBUG_REPORT_URL=\"https://bugs.debian.org/\"\n"
    )
}
