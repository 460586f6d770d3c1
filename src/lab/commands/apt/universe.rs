//! The packages that exist in the lab's archives, and what they bring.

use super::units;
use crate::lab::base::codename;

/// Which archive offers a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archive {
    Debian,
    Proxmox,
    Linbit,
}

/// One version of a package in an archive.
#[derive(Debug, Clone)]
pub struct Offer {
    pub name: String,
    pub version: String,
    pub archive: Archive,
    pub depends: Vec<String>,
    pub recommends: Vec<String>,
    /// Path, content, mode.
    pub files: Vec<(String, String, u32)>,
    /// Programs that it brings, as paths.
    pub programs: Vec<String>,
    /// Units that its script enables and starts.
    pub starts: Vec<String>,
    pub architecture: &'static str,
    /// `all` or `amd64`.
    pub summary: String,
}

impl Offer {
    fn new(archive: Archive, name: &str, version: &str) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            archive,
            depends: Vec::new(),
            recommends: Vec::new(),
            files: Vec::new(),
            programs: Vec::new(),
            starts: Vec::new(),
            architecture: "amd64",
            summary: format!("{name} (in the lab)"),
        }
    }

    fn depends(mut self, names: &[&str]) -> Self {
        self.depends = names.iter().map(|n| (*n).to_owned()).collect();
        self
    }

    fn recommends(mut self, names: &[&str]) -> Self {
        self.recommends = names.iter().map(|n| (*n).to_owned()).collect();
        self
    }

    fn programs(mut self, paths: &[&str]) -> Self {
        self.programs = paths.iter().map(|n| (*n).to_owned()).collect();
        self
    }

    fn files(mut self, files: &[(&str, &str)]) -> Self {
        self.files.extend(files.iter().map(|(p, t)| ((*p).to_owned(), (*t).to_owned(), 0o644)));
        self
    }

    fn starts(mut self, units: &[&str]) -> Self {
        self.starts = units.iter().map(|n| (*n).to_owned()).collect();
        self
    }

    fn all(mut self) -> Self {
        self.architecture = "all";
        self
    }
}

/// Kernel series and newest kernel package of a release.
fn kernels(debian: u32) -> (&'static str, &'static [&'static str]) {
    match debian {
        12 => ("6.8", &["6.8.12-17-pve", "6.8.12-18-pve"]),
        _ => ("6.17", &["6.17.4-1-pve", "6.17.4-2-pve"]),
    }
}

/// The newest kernel that the archive has: what a node boots after an upgrade.
pub fn newest_kernel(debian: u32) -> &'static str {
    kernels(debian).1.last().copied().unwrap_or_default()
}

/// Everything on offer for a Debian release.
pub fn offers(debian: u32) -> Vec<Offer> {
    let mut list = debian_offers(debian);
    list.extend(proxmox_offers(debian));
    list.extend(linbit_offers());
    list
}

fn pick(debian: u32, twelve: &'static str, thirteen: &'static str) -> &'static str {
    if debian == 12 { twelve } else { thirteen }
}

fn debian_offers(debian: u32) -> Vec<Offer> {
    let offer = |name: &str, twelve: &'static str, thirteen: &'static str| {
        Offer::new(Archive::Debian, name, pick(debian, twelve, thirteen))
    };
    let mut list = vec![
        offer("nfs-kernel-server", "1:2.6.2-4+deb12u1", "1:2.8.3-1")
            .depends(&["nfs-common", "keyutils"])
            .programs(&["/usr/sbin/exportfs", "/usr/sbin/rpc.nfsd", "/usr/sbin/rpc.mountd", "/usr/sbin/nfsdcld"])
            .files(units::NFS_KERNEL_SERVER)
            .starts(&["nfs-server.service"]),
        offer("nfs-common", "1:2.6.2-4+deb12u1", "1:2.8.3-1")
            .depends(&["rpcbind", "keyutils"])
            .programs(&["/usr/sbin/mount.nfs", "/usr/sbin/showmount"])
            .files(units::NFS_COMMON),
        offer("rpcbind", "1.2.6-6+b1", "1.2.7-1")
            .programs(&["/usr/sbin/rpcbind"])
            .files(units::RPCBIND)
            .starts(&["rpcbind.socket", "rpcbind.service"]),
        offer("keyutils", "1.6.3-2", "1.6.3-6"),
        offer("drbd-utils", "9.22.0-1", "9.22.0-1.1")
            .programs(units::DRBD_PROGRAMS)
            .files(units::DRBD_UTILS)
            .files(units::DRBD_CONFIG),
        offer("dkms", "3.0.10-8+deb12u1", "3.2.2-1~deb13u1")
            .depends(&["make", "gcc"])
            .programs(&["/usr/sbin/dkms"])
            .all(),
        offer("chrony", "4.3-2+deb12u1", "4.6.1-3")
            .programs(&["/usr/sbin/chronyd", "/usr/bin/chronyc"])
            .files(units::CHRONY)
            .starts(&["chrony.service"]),
        offer("tgt", "1:1.0.85-1", "1:1.0.85-1.2")
            .programs(&["/usr/sbin/tgtd", "/usr/sbin/tgtadm"])
            .files(units::TGT)
            .starts(&["tgt.service"]),
        offer("gnupg", "2.2.40-1.1+deb12u1", "2.4.7-21+deb13u1").programs(&["/usr/bin/gpg"]).all(),
        offer("coccinelle", "1.1.1.deb-2+b4", "1.3.0.deb-1").programs(&["/usr/bin/spatch"]),
    ];
    let plain = [
        ("make", "4.3-4.1", "4.4.1-2"),
        ("gcc", "4:12.2.0-3", "4:14.2.0-1"),
        ("htop", "3.2.2-2", "3.4.1-5"),
        ("vim", "2:9.0.1378-2+deb12u2", "2:9.1.1230-2"),
        ("tmux", "3.3a-3", "3.5a-3"),
        ("iperf3", "3.12-1+deb12u1", "3.18-2"),
        ("ethtool", "1:6.1-1", "1:6.14.2-1"),
        ("sysstat", "12.6.1-1", "12.7.5-2"),
        ("iotop", "0.6-42-ga14256a-0.1", "0.6-42-ga14256a-0.3"),
        ("tree", "2.1.0-1", "2.2.1-1"),
        ("jq", "1.6-2.1+deb12u1", "1.7.1-6"),
        ("unattended-upgrades", "2.9.1+nmu3", "2.12"),
        ("strace", "6.1-0.1", "6.13+ds-1"),
        ("libpam-tmpdir", "0.09+b1", "0.10"),
        ("hello", "2.10-3", "2.10-5"),
        ("debian-archive-keyring", "2023.3+deb12u2", "2025.1"),
    ];
    list.extend(plain.iter().map(|(name, twelve, thirteen)| offer(name, twelve, thirteen)));
    list.extend(
        base(debian, false).into_iter().chain(base(debian, true)).map(|(n, v)| Offer::new(Archive::Debian, n, v)),
    );
    list
}

fn proxmox_offers(debian: u32) -> Vec<Offer> {
    let (series, kernels) = kernels(debian);
    let newest = newest_kernel(debian);
    let newest_version = newest.trim_end_matches("-pve");
    let offer = |name: String, version: &str| Offer::new(Archive::Proxmox, &name, version);
    let mut list = vec![
        offer("proxmox-default-headers".into(), pick(debian, "1.1.0", "2.0.1"))
            .depends(&[&format!("proxmox-headers-{series}")])
            .all(),
        offer(format!("proxmox-headers-{series}"), newest_version)
            .depends(&[&format!("proxmox-headers-{newest}")])
            .all(),
        offer("proxmox-default-kernel".into(), pick(debian, "1.1.0", "2.0.1"))
            .depends(&[&format!("proxmox-kernel-{series}")])
            .all(),
        offer(format!("proxmox-kernel-{series}"), newest_version)
            .depends(&[&format!("proxmox-kernel-{newest}-signed")])
            .all(),
    ];
    for kernel in kernels {
        let version = kernel.trim_end_matches("-pve");
        list.push(offer(format!("proxmox-headers-{kernel}"), version));
        list.push(offer(format!("proxmox-kernel-{kernel}-signed"), version));
    }
    if debian == 12 {
        list.push(offer("pve-headers".into(), "8.4.0").depends(&["proxmox-default-headers"]).all());
    }
    list.extend(proxmox_base(debian).into_iter().map(|(n, v)| Offer::new(Archive::Proxmox, n, v)));
    list
}

/// Components `drbd-9` of LINBIT's suites `proxmox-8` and `proxmox-9`.
fn linbit_offers() -> Vec<Offer> {
    let offer = |name: &str, version: &str| Offer::new(Archive::Linbit, name, version);
    vec![
        offer("drbd-dkms", "9.3.3-1").depends(&["dkms"]).recommends(&["drbd-utils"]).all(),
        offer("drbd-utils", "9.34.0-1")
            .programs(units::DRBD_PROGRAMS)
            .files(units::DRBD_UTILS)
            .files(units::DRBD_CONFIG)
            .files(units::DRBD_UTILS_LINBIT),
        offer("drbdtop", "0.2.2-1").depends(&["drbd-utils"]).programs(&["/usr/bin/drbdtop"]),
        offer("drbd-reactor", "1.11.0-1").depends(&["drbd-utils"]).programs(&["/usr/sbin/drbd-reactor"]),
        offer("linstor-controller", "1.33.1-1").all(),
        offer("linstor-satellite", "1.33.1-1").depends(&["drbd-utils"]).all(),
        offer("linstor-client", "1.27.0-1").all(),
        offer("linstor-proxmox", "8.3.0-1").all(),
    ]
}

fn proxmox_base(debian: u32) -> Vec<(&'static str, &'static str)> {
    let v = |twelve, thirteen| pick(debian, twelve, thirteen);
    vec![
        ("proxmox-ve", v("8.4.0", "9.1.0")),
        ("pve-manager", v("8.4.14", "9.1.7")),
        ("pve-container", v("5.3.3", "6.1.2")),
        ("pve-ha-manager", v("4.0.7", "5.1.3")),
        ("pve-cluster", v("8.1.2", "9.0.7")),
        ("qemu-server", v("8.4.5", "9.1.4")),
        ("lxc-pve", v("6.0.0-1", "6.0.5-4")),
        ("libpve-storage-perl", v("8.3.7", "9.1.1")),
        ("proxmox-termproxy", v("1.1.0", "2.1.0")),
        ("corosync", v("3.1.9-pve1", "3.1.9-pve2")),
        ("zfsutils-linux", v("2.2.8-pve1", "2.3.4-pve1")),
        ("ifupdown2", v("3.2.0-1+pmx11", "3.3.0-1+pmx11")),
        ("proxmox-archive-keyring", v("3.2", "4.0")),
    ]
}

/// Debian's packages that are there from the start.
fn base(debian: u32, container: bool) -> Vec<(&'static str, &'static str)> {
    let v = |twelve, thirteen| pick(debian, twelve, thirteen);
    let mut list = vec![
        ("adduser", v("3.134", "3.152")),
        ("apt", v("2.6.1", "3.0.3")),
        ("base-files", v("12.4+deb12u12", "13.8+deb13u2")),
        ("bash", v("5.2.15-2+b9", "5.2.37-2+b5")),
        ("ca-certificates", v("20230311+deb12u1", "20250419")),
        ("coreutils", v("9.1-1", "9.7-3")),
        ("cron", v("3.0pl1-162", "3.0pl1-197")),
        ("curl", v("7.88.1-10+deb12u14", "8.14.1-2")),
        ("dpkg", v("1.21.22", "1.22.21")),
        ("e2fsprogs", v("1.47.0-2", "1.47.2-3+b3")),
        ("grep", v("3.8-5", "3.11-4")),
        ("iproute2", v("6.1.0-3", "6.15.0-1")),
        ("mount", v("2.38.1-5+deb12u3", "2.41-5")),
        ("openssh-server", v("1:9.2p1-2+deb12u7", "1:10.0p1-7")),
        ("postfix", v("3.7.11-0+deb12u1", "3.10.5-1~deb13u1")),
        ("procps", v("2:4.0.2-3", "2:4.0.4-9")),
        ("rsyslog", v("8.2302.0-1+deb12u1", "8.2504.0-1")),
        ("systemd", v("252.39-1~deb12u1", "257.9-1~deb13u1")),
        ("util-linux", v("2.38.1-5+deb12u3", "2.41-5")),
        ("wget", v("1.21.3-1+deb12u1", "1.25.0-2")),
    ];
    if !container {
        list.extend([
            ("apparmor", v("3.0.8-3", "4.1.0-1+pmx1")),
            ("chrony", v("4.3-2+deb12u1", "4.6.1-3")),
            ("keyutils", v("1.6.3-2", "1.6.3-6")),
            ("kmod", v("30+20221128-1", "34.2-2")),
            ("lvm2", v("2.03.16-2", "2.03.31-2+pmx1")),
            ("mokutil", v("0.6.0-2", "0.7.2-1")),
            ("nfs-common", v("1:2.6.2-4+deb12u1", "1:2.8.3-1")),
            ("open-iscsi", v("2.1.8-1+pve1", "2.1.11-1+deb13u1")),
            ("rpcbind", v("1.2.6-6+b1", "1.2.7-1")),
            ("smartmontools", v("7.3-pve1", "7.4-pve1")),
            ("udev", v("252.39-1~deb12u1", "257.9-1~deb13u1")),
        ]);
    }
    list
}

/// Name and version of every package that a fresh system has.
pub fn installed_base(debian: u32, container: bool, kernel: Option<&str>) -> Vec<(String, String)> {
    let mut list: Vec<(String, String)> =
        base(debian, container).into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    if !container {
        list.extend(proxmox_base(debian).into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())));
        let first = kernel.unwrap_or(kernels(debian).1[0]);
        list.push((format!("proxmox-kernel-{first}-signed"), first.trim_end_matches("-pve").to_owned()));
    }
    list
}

/// The line that names an archive in `apt-cache policy`, without the index file.
pub fn release_of(archive: Archive, debian: u32) -> String {
    match archive {
        Archive::Debian => format!("Debian:{debian}/{}", codename(debian)),
        Archive::Proxmox => format!("Proxmox Debian Repository:{}", codename(debian)),
        Archive::Linbit => "LINBIT:stable".to_owned(),
    }
}
