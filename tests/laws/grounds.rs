//! The table of grounds: what each kind's example finds when the laws run on it.

use crate::stand_ins;
use converge::host::Programs;
use std::path::{Path, PathBuf};

pub enum Ground {
    /// A directory that stands for a node.
    Rooted(Rooted),
    /// A play on the embedded cluster, through the whole program: what looks at several hosts, at the API, or needs
    /// more of a node than stand-ins can play.
    Lab(Lab),
    /// Needs a file system, a container or its export on the cluster; its own tests play check, apply and apply again.
    Elsewhere,
}

pub struct Lab {
    pub hosts: &'static str,
    /// Plays that lay out what the example needs; none: a fresh cluster will do.
    pub before: &'static [&'static str],
}

pub struct Rooted {
    pub seed: fn(&Root),
    /// Gets the directory; returns what stands for the programs.
    pub programs: Option<fn(PathBuf) -> Programs>,
    /// Files of the workstation.
    pub desk: &'static [(&'static str, &'static str)],
    /// The kind is there to fail; nothing but the failure is asked of it.
    pub fails: bool,
}

/// The directory that is laid out; paths without the leading slash.
pub struct Root<'a>(pub &'a Path);

impl Root<'_> {
    pub fn dir(&self, path: &str) {
        std::fs::create_dir_all(self.0.join(path)).unwrap();
    }

    pub fn file(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

const fn rooted(seed: fn(&Root)) -> Rooted {
    Rooted { seed, programs: None, desk: &[], fails: false }
}

impl Rooted {
    const fn programs(mut self, programs: fn(PathBuf) -> Programs) -> Self {
        self.programs = Some(programs);
        self
    }

    const fn desk(mut self, files: &'static [(&'static str, &'static str)]) -> Self {
        self.desk = files;
        self
    }

    const fn fails(mut self) -> Self {
        self.fails = true;
        self
    }

    const fn ground(self) -> Ground {
        Ground::Rooted(self)
    }
}

const fn lab(hosts: &'static str, before: &'static [&'static str]) -> Ground {
    Ground::Lab(Lab { hosts, before })
}

fn etc(root: &Root) {
    root.dir("etc");
}

fn bare(_: &Root) {}

fn nfs_port_open(root: &Root) {
    let line = "   0: 00000000:0801 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1";
    root.file("proc/net/tcp", &format!("  sl  local_address rem_address   st …\n{line}\n"));
}

fn drbd_target_off(root: &Root) {
    let text = "LoadState=loaded\nActiveState=inactive\nSubState=dead\nUnitFileState=disabled\nNeedDaemonReload=no\n";
    root.file("units/drbd@nfs1.target", text);
}

fn modules(root: &Root) {
    root.dir("etc/modules-load.d");
}

fn kernel_parameters(root: &Root) {
    root.dir("etc/sysctl.d");
    root.file("proc/sys/net/core/wmem_max", "212992\n");
}

fn lxc_profile(root: &Root) {
    root.file(
        "etc/apparmor.d/lxc/lxc-default-cgns",
        "profile lxc-container-default-cgns flags=(attach_disconnected) {\n  deny mount fstype=devpts,\n}\n",
    );
    root.file("etc/apparmor.d/lxc-containers", "#include <tunables/global>\n#include <lxc>\n");
    root.file("sys/module/apparmor/parameters/enabled", "Y\n");
}

fn empty_drbd_device(root: &Root) {
    root.file("sys/module/drbd/version", "9.3.3\n");
    root.file("dev/drbd100", "");
}

fn mount_table(root: &Root) {
    root.file("etc/fstab", "# static file system information\n");
    root.file("proc/self/mountinfo", "29 1 252:1 / / rw shared:1 - ext4 /dev/mapper/pve-root rw\n");
    root.dir("mnt");
}

fn debian_13(root: &Root) {
    root.file("etc/os-release", "ID=debian\nVERSION_ID=\"13\"\n");
    root.file("usr/share/keyrings/linbit.gpg", "a key");
    root.dir("etc/apt/sources.list.d");
}

fn package_lists(root: &Root) {
    root.file("var/lib/apt/lists/deb.debian.org_debian_dists_trixie_InRelease", "");
    root.dir("var/lib/dpkg");
}

fn old_ha_manager(root: &Root) {
    root.file("usr/share/perl5/PVE/HA/Resources/PVECT.pm", "    my $params = {\n\tforceStop => 1,\n    };\n");
}

/// The lab's own archive key, as in `playbooks/vars/drbd-nfs.yml`.
const DRBD_INSTALLED: &str = "\
- hosts: nodes
  tasks:
    - apt_repository:
        name: linbit
        uris: http://packages.linbit.com/proxmox/
        suites: proxmox-9
        components: drbd-9
        key_url: https://packages.linbit.com/package-signing-pubkey.asc
        key_sha256: b01152fb16bfe54a2589bc8ec8fa360fe75d669646fe158784b753230bd06ec0
    - apt:
        name: [proxmox-default-headers, proxmox-headers-6.17.4-1-pve, drbd-dkms, drbd-utils]
        update_cache: true
";

/// DRBD 9 is in the kernel.
const DRBD_LOADED: &str = "\
- hosts: nodes
  tasks:
    - drbd_module:
        version: \"9\"
";

/// Sorted by kind.
#[rustfmt::skip]
pub static GROUNDS: &[(&str, Ground)] = &[
    ("apparmor_lines", rooted(lxc_profile).programs(stand_ins::apparmor).ground()),
    ("apt", rooted(package_lists).programs(stand_ins::apt).ground()),
    ("apt_repository", rooted(debian_13).ground()),
    ("assert", rooted(bare).ground()),
    ("blockinfile", rooted(etc).ground()),
    ("command", rooted(etc).programs(stand_ins::coreutils).ground()),
    ("copy", rooted(etc).desk(&[("exports.d/a.exports", "/a *(ro)\n"), ("exports.d/more/b", "/b *(ro)\n")]).ground()),
    ("debug", rooted(bare).ground()),
    ("drbd_global", lab("nodes", &[DRBD_INSTALLED])),
    ("drbd_module", lab("nodes", &[DRBD_INSTALLED])),
    ("drbd_resource", lab("nodes", &[DRBD_INSTALLED, DRBD_LOADED])),
    ("drift_schedule", lab("nodes", &[])),
    ("fail", rooted(bare).fails().ground()),
    ("file", rooted(etc).ground()),
    ("filesystem", rooted(empty_drbd_device).programs(stand_ins::drbd_device).ground()),
    ("get_url", rooted(etc).programs(stand_ins::downloads).ground()),
    ("ha_group", Ground::Elsewhere),
    ("ha_resource", Ground::Elsewhere),
    ("ha_stop_fix", rooted(old_ha_manager).programs(stand_ins::old_pve).ground()),
    ("hookscript", Ground::Elsewhere),
    ("lineinfile", rooted(etc).ground()),
    ("modprobe", rooted(modules).programs(stand_ins::modprobe).ground()),
    ("mount", rooted(mount_table).programs(stand_ins::mount).ground()),
    ("pause", rooted(bare).ground()),
    ("pct", Ground::Elsewhere),
    ("pve_storage", Ground::Elsewhere),
    ("pve_template", lab("cluster", &[])),
    ("replace", rooted(etc).ground()),
    ("set_fact", rooted(bare).ground()),
    ("setup", rooted(bare).programs(stand_ins::coreutils).ground()),
    ("shell", rooted(etc).programs(stand_ins::sh).ground()),
    ("stat", rooted(bare).ground()),
    ("sysctl", rooted(kernel_parameters).programs(stand_ins::sysctl).ground()),
    ("systemd", rooted(drbd_target_off).programs(stand_ins::systemctl).ground()),
    ("template", rooted(etc).desk(&[("exports.j2", "/data *(rw)\n")]).ground()),
    ("wait_for", rooted(nfs_port_open).ground()),
];
