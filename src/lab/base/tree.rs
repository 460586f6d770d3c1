//! The file trees that an installer leaves: a node's own and `/etc/pve`.
//!
//! Texts only: what packages bring later is not here, and nothing is read from this machine.

use super::{cluster_address, drbd_address, os_release, unit_files};
use crate::lab::commands::apt::units;
use crate::lab::world::{Flavour, World};
use std::collections::BTreeMap;

pub(super) const NODE_DIRS: &[&str] = &[
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

pub(super) fn cluster_files(world: &World) -> BTreeMap<String, String> {
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

pub(super) fn node_files(world: &World, name: &str) -> BTreeMap<String, String> {
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

/// The links with which systemd knows that a unit is enabled.
pub(super) fn enable_units(root: &std::path::Path, list: &[(&str, &str, &str, bool)]) -> std::io::Result<()> {
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
