//! What a freshly installed Proxmox node has: files, devices, kernel, packages. Addresses: 192.168.1.20+N for the
//! cluster and its clients, 192.168.2.10+N for DRBD.

use super::commands::apt::units;
use super::device::BlockDevice;
use super::files::{Files, Writer};
use super::world::{Flavour, LoadedModule, NodeState, Place, System, World};
use std::collections::BTreeMap;

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

const NODE_DIRS: &[&str] = &[
    "etc/apt/keyrings",
    "etc/apt/sources.list.d",
    "etc/apt/preferences.d",
    "etc/apt/trusted.gpg.d",
    "etc/apparmor.d/lxc",
    "etc/modprobe.d",
    "etc/modules-load.d",
    "etc/sysctl.d",
    "etc/systemd/system",
    "etc/cron.d",
    "etc/default",
    "etc/exports.d",
    "root",
    "run",
    "run/lock",
    "tmp",
    "mnt",
    "usr/bin",
    "usr/sbin",
    "usr/local/bin",
    "usr/local/sbin",
    "usr/lib/systemd/system",
    "usr/share/keyrings",
    "var/lib/vz/snippets",
    "var/lib/vz/template/cache",
    "var/lib/converge",
    "var/log",
    "var/tmp",
    "home",
    "opt",
    "srv",
    "var/lib/dpkg",
    "var/lib/lxc",
    "etc/pve",
];

fn cluster_files(world: &World) -> BTreeMap<String, String> {
    let nodes: String = world
        .nodes
        .iter()
        .map(|(name, n)| {
            format!(
                "  node {{\n    name: {name}\n    nodeid: {0}\n    quorum_votes: 1\n    ring0_addr: {1}\n  }}\n",
                n.index,
                cluster_address(n.index)
            )
        })
        .collect();
    let text = |s: &str| s.to_owned();
    BTreeMap::from([
        (
            text("corosync.conf"),
            format!(
                "logging {{\n  debug: off\n  to_syslog: yes\n}}\n\nnodelist {{\n{nodes}}}\n\nquorum {{\n  provider: corosync_votequorum\n}}\n\ntotem {{\n  cluster_name: lab\n  config_version: {}\n  interface {{\n    linknumber: 0\n  }}\n  ip_version: ipv4-6\n  link_mode: passive\n  secauth: on\n  version: 2\n}}\n",
                world.nodes.len()
            ),
        ),
        (
            text("storage.cfg"),
            text(
                "dir: local\n\tpath /var/lib/vz\n\tcontent backup,vztmpl,iso,snippets\n\nlvmthin: local-lvm\n\tthinpool data\n\tvgname pve\n\tcontent rootdir,images\n",
            ),
        ),
        (text("datacenter.cfg"), text("keyboard: en-us\n")),
        (text("user.cfg"), text("user:root@pam:1:0:::root@lab.example:::\n")),
    ])
}

fn node_files(world: &World, name: &str) -> BTreeMap<String, String> {
    let node = world.node(name);
    let debian = world.flavour.debian();
    let code = world.flavour.codename();
    let text = |s: &str| s.to_owned();
    // Every node knows every other; a lab of hundreds keeps to what a hosts file would hold anyway.
    let hosts: String =
        world.nodes.iter().map(|(n, s)| format!("{} {n}.lab.example {n}\n", cluster_address(s.index))).collect();
    let mut files = BTreeMap::from([
        (text("etc/hostname"), format!("{name}\n")),
        (text("etc/hosts"), format!("127.0.0.1 localhost.localdomain localhost\n{hosts}")),
        (text("etc/os-release"), os_release(debian)),
        (text("usr/lib/os-release"), os_release(debian)),
        (text("etc/debian_version"), text(if debian == 12 { "12.12\n" } else { "13.2\n" })),
        (
            text("etc/passwd"),
            text(
                "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
            ),
        ),
        (
            text("etc/group"),
            text("root:x:0:\ndaemon:x:1:\nadm:x:4:\ndisk:x:6:\nshadow:x:42:\nwww-data:x:33:\nnogroup:x:65534:\n"),
        ),
        (text("etc/shadow"), text("root:*:20000:0:99999:7:::\n")),
        (
            text("etc/fstab"),
            text(
                "# <file system> <mount point> <type> <options> <dump> <pass>\n/dev/pve/root / ext4 errors=remount-ro 0 1\nproc /proc proc defaults 0 0\n",
            ),
        ),
        (text("etc/modules"), text("# /etc/modules: kernel modules to load at boot time.\n")),
        (text("etc/lvm/lvm.conf"), text("devices {\n\tglobal_filter=[\"r|/dev/zd.*|\",\"r|/dev/rbd.*|\"]\n}\n")),
        (text("etc/machine-id"), format!("{:032x}\n", 0x5f1e_1ab0_u64 + u64::from(node.index))),
        (
            text("etc/network/interfaces"),
            format!(
                "auto lo\niface lo inet loopback\n\niface eno1 inet manual\n\nauto vmbr0\niface vmbr0 inet static\n\taddress {}/24\n\tgateway 192.168.1.1\n\tbridge-ports eno1\n\tbridge-stp off\n\tbridge-fd 0\n\nauto eno2\niface eno2 inet static\n\taddress {}/24\n",
                cluster_address(node.index),
                drbd_address(node.index)
            ),
        ),
        (text("etc/apparmor.d/lxc/lxc-default-cgns"), text(LXC_DEFAULT_CGNS)),
        (text("etc/apparmor.d/lxc/lxc-default"), text(LXC_DEFAULT_CGNS).replace("-cgns", "")),
        (
            text("etc/apparmor.d/abstractions/lxc/container-base"),
            text("  network,\n  capability,\n  file,\n  umount,\n"),
        ),
        (text("usr/share/keyrings/debian-archive-keyring.gpg"), text("lab: Debian archive keyring\n")),
        (text("usr/share/perl5/PVE/HA/Resources/PVECT.pm"), text(PVECT_PM)),
    ]);
    files.extend(apt_sources(world.flavour, code).into_iter().map(|(p, t)| (p.to_owned(), t)));
    let shipped = units::CHRONY.iter().chain(units::NFS_COMMON);
    files.extend(shipped.map(|(p, t)| (p.trim_start_matches('/').to_owned(), (*t).to_owned())));
    files.extend(unit_files(units::NODE_UNITS));
    files
}

fn unit_files(list: &[(&str, &str, &str, bool)]) -> BTreeMap<String, String> {
    let path = |name: &str| format!("usr/lib/systemd/system/{name}");
    list.iter().map(|(name, what, kind, boots)| (path(name), units::base_unit(name, what, kind, *boots))).collect()
}

/// The links with which systemd knows that a unit is enabled.
fn enable_units(root: &std::path::Path, list: &[(&str, &str, &str, bool)]) -> std::io::Result<()> {
    for (name, _, _, _) in list.iter().filter(|(_, _, _, boots)| *boots) {
        let target = if name.ends_with(".socket") { "sockets" } else { "multi-user" };
        let dir = root.join(format!("etc/systemd/system/{target}.target.wants"));
        std::fs::create_dir_all(&dir)?;
        let link = dir.join(name);
        if link.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(format!("/usr/lib/systemd/system/{name}"), link)?;
        }
    }
    Ok(())
}

pub fn os_release(debian: u32) -> String {
    let code = codename(debian);
    let minor = if debian == 12 { "12" } else { "13.2" };
    format!(
        "PRETTY_NAME=\"Debian GNU/Linux {debian} ({code})\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"{debian}\"\nVERSION=\"{debian} ({code})\"\nVERSION_CODENAME={code}\nDEBIAN_VERSION_FULL={minor}\nID=debian\nHOME_URL=\"https://www.debian.org/\"\nSUPPORT_URL=\"https://www.debian.org/support\"\nBUG_REPORT_URL=\"https://bugs.debian.org/\"\n"
    )
}

/// Debian and Proxmox without subscription, as deb822 on 9 and as one-line lists on 8.
fn apt_sources(flavour: Flavour, code: &str) -> Vec<(&'static str, String)> {
    let debian_key = "/usr/share/keyrings/debian-archive-keyring.gpg";
    match flavour {
        Flavour::Pve9 => vec![
            (
                "etc/apt/sources.list.d/debian.sources",
                format!(
                    "Types: deb\nURIs: http://deb.debian.org/debian/\nSuites: {code} {code}-updates\nComponents: main contrib non-free-firmware\nSigned-By: {debian_key}\n\nTypes: deb\nURIs: http://security.debian.org/debian-security/\nSuites: {code}-security\nComponents: main contrib non-free-firmware\nSigned-By: {debian_key}\n"
                ),
            ),
            (
                "etc/apt/sources.list.d/proxmox.sources",
                format!(
                    "Types: deb\nURIs: http://download.proxmox.com/debian/pve\nSuites: {code}\nComponents: pve-no-subscription\nSigned-By: /usr/share/keyrings/proxmox-archive-keyring.gpg\n"
                ),
            ),
            ("usr/share/keyrings/proxmox-archive-keyring.gpg", "lab: Proxmox archive keyring\n".to_owned()),
        ],
        Flavour::Pve8 => vec![
            (
                "etc/apt/sources.list",
                format!(
                    "deb http://deb.debian.org/debian {code} main contrib\ndeb http://deb.debian.org/debian {code}-updates main contrib\ndeb http://security.debian.org/debian-security {code}-security main contrib\n"
                ),
            ),
            (
                "etc/apt/sources.list.d/pve-no-subscription.list",
                format!("deb http://download.proxmox.com/debian/pve {code} pve-no-subscription\n"),
            ),
            ("etc/apt/trusted.gpg.d/proxmox-release-bookworm.gpg", "lab: Proxmox release key\n".to_owned()),
        ],
    }
}

pub const LXC_DEFAULT_CGNS: &str = "# Do not load this file.  Rather, load /etc/apparmor.d/lxc-containers, which
# will source all profiles under /etc/apparmor.d/lxc

profile lxc-container-default-cgns flags=(attach_disconnected,mediate_deleted) {
  #include <abstractions/lxc/container-base>

  # the container may never be allowed to mount devpts.  If it does, it
  # will remount the host's devpts.  We could allow it to do it with
  # the newinstance option (but, right now, we don't).
  deny mount fstype=devpts,
  mount fstype=cgroup -> /sys/fs/cgroup/**,
  mount fstype=cgroup2 -> /sys/fs/cgroup/**,
}
";

/// The part of pve-ha-manager that the stop of a container goes through, without `forceStop` since 2.0-7.
const PVECT_PM: &str = "package PVE::HA::Resources::PVECT;

use strict;
use warnings;

sub shutdown {
    my ($class, $haenv, $id, $timeout) = @_;

    my $nodename = $haenv->nodename();
    my $shutdown_timeout = $timeout // 60;

    my $upid;
    my $params = {
        node => $nodename,
        vmid => $id,
    };

    if ($shutdown_timeout) {
        $params->{timeout} = $shutdown_timeout;
        $upid = PVE::API2::LXC::Status->vm_shutdown($params);
    } else {
        $upid = PVE::API2::LXC::Status->vm_stop($params);
    }

    $haenv->upid_wait($upid);
}

1;
";

/// Lays a minimal Debian root tree; files that are there stay.
pub fn unpack_container(root: &std::path::Path, debian: u32, hostname: &str, config: &str) -> std::io::Result<()> {
    let net = super::guest::config_value(config, "net0").unwrap_or_default();
    let option = |key: &str| {
        net.split(',').find_map(|part| part.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default().to_owned()
    };
    let interfaces = format!(
        "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n\taddress {}\n\tgateway {}\n",
        option("ip"),
        option("gw")
    );
    let code = codename(debian);
    let text = |s: &str| s.to_owned();
    let tree = BTreeMap::from([
        (text("etc/hostname"), format!("{hostname}\n")),
        (text("etc/hosts"), format!("127.0.0.1 localhost\n127.0.1.1 {hostname}\n")),
        (text("etc/os-release"), os_release(debian)),
        (text("usr/lib/os-release"), os_release(debian)),
        (text("etc/network/interfaces"), interfaces),
        (
            text("etc/passwd"),
            text(
                "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
            ),
        ),
        (text("etc/group"), text("root:x:0:\nshadow:x:42:\nwww-data:x:33:\nnogroup:x:65534:\n")),
        (text("etc/fstab"), text("# UNCONFIGURED FSTAB FOR BASE SYSTEM\n")),
        (
            text("etc/apt/sources.list.d/debian.sources"),
            format!(
                "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: {code} {code}-updates\nComponents: main contrib\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
            ),
        ),
        (text("usr/share/keyrings/debian-archive-keyring.gpg"), text("lab: Debian archive keyring\n")),
    ]);
    let mut tree = tree;
    tree.extend(unit_files(units::CONTAINER_UNITS));
    let missing = tree.into_iter().filter(|(path, _)| !root.join(path).exists()).collect();
    write_tree(
        root.to_path_buf(),
        &missing,
        &[
            "etc/default",
            "etc/systemd/system",
            "etc/apt/keyrings",
            "root",
            "run",
            "tmp",
            "mnt",
            "srv",
            "usr/bin",
            "usr/sbin",
            "usr/lib/systemd/system",
            "var/lib/dpkg",
            "var/lib/converge",
            "var/tmp",
            "home",
        ],
    )
}
