//! Programs of the nodes, as the reference scenario uses them.

use super::lab;
use crate::host::{Action, Host, Output, Probe, Query, Step, Topic};
use crate::lab::{Lab, guest};
use std::path::Path;

pub(super) fn run(lab: &Lab, host: &str, line: &str) -> Output {
    lab.run_line(host, line).expect("the lab works")
}

pub(super) fn ok(lab: &Lab, host: &str, line: &str) -> String {
    let output = run(lab, host, line);
    assert_eq!(output.rc, 0, "{host}: {line}: {}{}", output.stdout, output.stderr);
    output.stdout
}

/// LINBIT's source with its key, as the reference playbook sets it up.
pub(super) fn with_linbit(lab: &Lab, host: &str) {
    ok(lab, host, "curl -fsSL -o /etc/apt/keyrings/linbit.asc https://packages.linbit.com/package-signing-pubkey.asc");
    let source = "Types: deb\nURIs: http://packages.linbit.com/proxmox/\nSuites: proxmox-9\nComponents: drbd-9\nSigned-By: /etc/apt/keyrings/linbit.asc\n";
    lab.node(host).unwrap().perform(&Step::write("/etc/apt/sources.list.d/linbit.sources", source)).unwrap();
    ok(lab, host, "apt-get update");
}

pub(super) fn with_drbd(lab: &Lab, host: &str) {
    with_linbit(lab, host);
    ok(lab, host, "apt-get -y install proxmox-headers-6.17.4-1-pve drbd-dkms drbd-utils");
}

#[test]
fn packages_come_from_sources_that_are_configured_and_signed() {
    let (_dir, lab) = lab();
    let missing = run(&lab, "pve1", "apt-get -y install drbd-dkms");
    assert_eq!(missing.rc, 100);
    assert!(missing.stderr.contains("E: Unable to locate package drbd-dkms"), "{}", missing.stderr);

    let source = "deb [signed-by=/etc/apt/keyrings/linbit.asc] http://packages.linbit.com/proxmox/ proxmox-9 drbd-9\n";
    lab.node("pve1").unwrap().perform(&Step::write("/etc/apt/sources.list.d/linbit.list", source)).unwrap();
    let unsigned = run(&lab, "pve1", "apt-get update");
    assert_eq!(unsigned.rc, 100);
    assert!(unsigned.stderr.contains("NO_PUBKEY 85199550B5A00F07"), "{}", unsigned.stderr);
    ok(&lab, "pve1", "rm /etc/apt/sources.list.d/linbit.list");

    with_linbit(&lab, "pve1");
    let policy = ok(&lab, "pve1", "apt-cache policy drbd-utils");
    assert!(policy.contains("  Installed: (none)\n  Candidate: 9.34.0-1\n"), "{policy}");
    let rows = run(&lab, "pve1", "dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\\n' bash drbd-dkms");
    assert_eq!((rows.rc, rows.stdout.as_str()), (1, "bash 5.2.37-2+b5 installed\n"));
    assert_eq!(rows.stderr, "dpkg-query: no packages found matching drbd-dkms\n");
    let simulated = ok(&lab, "pve1", "apt-get -s install drbd-dkms");
    assert!(simulated.contains("Inst drbd-dkms (9.3.3-1 LINBIT:stable [all])"), "{simulated}");
    assert_eq!(run(&lab, "pve1", "dpkg-query -W drbd-dkms").rc, 1, "a simulation changes nothing");
}

#[test]
fn dkms_builds_where_there_are_headers_and_the_module_follows() {
    let (_dir, lab) = lab();
    assert_eq!(ok(&lab, "pve1", "modinfo -F version drbd"), "8.4.11\n");
    with_linbit(&lab, "pve1");
    ok(&lab, "pve1", "apt-get -y install drbd-dkms");
    assert_eq!(ok(&lab, "pve1", "dkms status"), "drbd/9.3.3-1: added\n");
    assert_eq!(run(&lab, "pve1", "dkms install drbd/9.3.3-1").rc, 21);
    ok(&lab, "pve1", "apt-get -y install proxmox-headers-6.17.4-1-pve drbd-utils");
    assert_eq!(
        ok(&lab, "pve1", "dkms status"),
        "drbd/9.3.3-1, 6.17.4-1-pve, x86_64: installed (Original modules exist)\n"
    );
    assert_eq!(ok(&lab, "pve1", "modinfo -F version drbd"), "9.3.3\n");
    assert_eq!(ok(&lab, "pve1", "modinfo -F intree drbd"), "");
    ok(&lab, "pve1", "modprobe drbd");
    assert_eq!(ok(&lab, "pve1", "cat /sys/module/drbd/version"), "9.3.3\n");
    assert!(ok(&lab, "pve1", "cat /proc/drbd").starts_with("version: 9.3.3 (api:2/proto:"));
    let node = lab.node("pve1").unwrap();
    assert!(node.stat(Path::new("/lib/modules/6.17.4-1-pve/build")).unwrap().is_some());
    assert_eq!(node.list(Path::new("/lib/modules/6.17.4-1-pve/updates/dkms")).unwrap().unwrap()[0], "drbd.ko");
    ok(&lab, "pve1", "rmmod drbd");
    assert_eq!(run(&lab, "pve1", "rmmod drbd").stderr, "rmmod: ERROR: Module drbd is not currently loaded\n");
}

#[test]
fn secure_boot_refuses_what_nobody_enrolled() {
    let (_dir, lab) = lab();
    with_drbd(&lab, "pve1");
    lab.with(|w| w.node_mut("pve1").secure_boot = true).unwrap();
    assert_eq!(ok(&lab, "pve1", "mokutil --sb-state"), "SecureBoot enabled\n");
    let refused = run(&lab, "pve1", "modprobe drbd");
    assert_eq!(
        (refused.rc, refused.stderr.as_str()),
        (1, "modprobe: ERROR: could not insert 'drbd': Key was rejected by service\n")
    );
}

#[test]
fn units_are_files_and_links() {
    let (_dir, lab) = lab();
    assert_eq!(ok(&lab, "pve1", "systemctl is-active pve-ha-lrm"), "active\n");
    assert_eq!(ok(&lab, "pve1", "systemctl is-enabled pve-ha-lrm"), "enabled\n");
    let none = run(&lab, "pve1", "systemctl start nosuch");
    assert_eq!(
        (none.rc, none.stderr.as_str()),
        (5, "Failed to start nosuch.service: Unit nosuch.service not found.\n")
    );
    let shown = ok(&lab, "pve1", "systemctl show -p LoadState,ActiveState,UnitFileState nosuch");
    assert_eq!(shown, "LoadState=not-found\nActiveState=inactive\nUnitFileState=\n");
    let node = lab.node("pve1").unwrap();
    let unit = "[Unit]\nDescription=own\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/touch /run/ran\n[Install]\nWantedBy=multi-user.target\n";
    node.perform(&Step::write("/etc/systemd/system/own.service", unit)).unwrap();
    ok(&lab, "pve1", "systemctl enable --now own");
    assert!(node.stat(Path::new("/run/ran")).unwrap().is_some());
    let link = node.stat(Path::new("/etc/systemd/system/multi-user.target.wants/own.service")).unwrap().unwrap();
    assert_eq!(link.link_target.as_deref(), Some("/etc/systemd/system/own.service"));
    assert_eq!(ok(&lab, "pve1", "systemctl show -p NeedDaemonReload --value own"), "no\n");
    node.perform(&Step::write("/etc/systemd/system/own.service", unit.replace("own\n", "other\n"))).unwrap();
    assert_eq!(ok(&lab, "pve1", "systemctl show -p NeedDaemonReload --value own"), "yes\n");
    ok(&lab, "pve1", "systemctl daemon-reload");
    assert_eq!(ok(&lab, "pve1", "systemctl show -p NeedDaemonReload --value own"), "no\n");
    ok(&lab, "pve1", "systemctl disable --now own");
    assert_eq!(run(&lab, "pve1", "systemctl is-enabled own").stdout, "disabled\n");
    assert_eq!(run(&lab, "pve1", "systemctl is-active own").rc, 3);
    ok(&lab, "pve1", "systemctl mask own.service || true");
}

#[test]
fn file_systems_on_plain_devices() {
    let (_dir, lab) = lab();
    let blank = run(&lab, "pve1", "blkid -p -o export /dev/nvme0n1p1");
    assert_eq!((blank.rc, blank.stdout.as_str(), blank.stderr.as_str()), (2, "", ""));
    ok(&lab, "pve1", "mkfs.ext4 -O mmp -E mmp_update_interval=5 /dev/nvme0n1p1");
    let found = ok(&lab, "pve1", "blkid -p -o export /dev/nvme0n1p1");
    assert!(found.starts_with("DEVNAME=/dev/nvme0n1p1\nUUID="), "{found}");
    assert!(found.ends_with("TYPE=ext4\nUSAGE=filesystem\n"), "{found}");
    let header = ok(&lab, "pve1", "dumpe2fs -h /dev/nvme0n1p1");
    assert!(header.contains("MMP update interval:      5\n"), "{header}");
    assert_eq!(
        ok(&lab, "pve1", "debugfs -R 'ls -p /' /dev/nvme0n1p1").lines().nth(2),
        Some("/11/040700/0/0/lost+found//")
    );
    ok(&lab, "pve1", "mount /dev/nvme0n1p1 /mnt && echo kept > /mnt/file && umount /mnt");
    assert_eq!(run(&lab, "pve1", "cat /mnt/file").rc, 1);
    ok(&lab, "pve1", "mount /dev/disk/by-partuuid/0d9b1a10-0001-4a6e-9d6e-000000000001 /mnt");
    assert_eq!(ok(&lab, "pve1", "cat /mnt/file"), "kept\n");
    assert_eq!(ok(&lab, "pve1", "findmnt -n -o FSTYPE -M /mnt"), "ext4\n");
    assert_eq!(run(&lab, "pve1", "findmnt -n -o FSTYPE -M /srv").rc, 1);
    let busy = run(&lab, "pve1", "mount /dev/nosuch /mnt");
    assert_eq!(busy.rc, 32);
}

#[test]
fn a_small_shell_and_an_honest_one() {
    let (_dir, lab) = lab();
    let node = lab.node("pve1").unwrap();
    ok(&lab, "pve1", "sh -c \"uname -r | tr -d '\\n' > /etc/first-kernel\"");
    assert_eq!(node.read_text(Path::new("/etc/first-kernel")).unwrap().as_deref(), Some("6.17.4-1-pve"));
    assert_eq!(ok(&lab, "pve1", "false || echo no; test -f /etc/hostname && echo yes"), "no\nyes\n");
    assert_eq!(run(&lab, "pve1", "nosuch").rc, 127);
    assert_eq!(run(&lab, "pve1", "sh -c 'nosuch'").rc, 127);
    let refused = run(&lab, "pve1", "for x in a b; do echo $(reboot); done");
    assert_eq!(refused.rc, 125);
    assert!(refused.stderr.contains("does not simulate"), "{}", refused.stderr);
    assert_eq!(run(&lab, "pve1", "blkid --nosuch /dev/sda").rc, 125);
    let query = Query::new(Topic::Other, ["nosuch"]);
    assert!(matches!(node.query(&query), Err(crate::host::LookError::NoProgram { .. })));
}

#[test]
fn a_container_on_a_plain_device_serves_nfs_only_when_allowed() {
    let (_dir, lab) = lab();
    ok(&lab, "pve1", "mkfs.ext4 -q /dev/nvme0n1p1");
    let config = "arch: amd64\nhostname: nfs1\nnet0: name=eth0,bridge=vmbr0,ip=192.168.1.11/24,gw=192.168.1.1\nrootfs: /dev/nvme0n1p1,shared=1\n";
    lab.node("pve1").unwrap().perform(&Step::write("/etc/pve/lxc/101.conf", config)).unwrap();
    lab.with(|w| {
        guest::create(w, lab.files(), "pve1", 101, config, "debian-13-standard_13.1-2_amd64.tar.zst").unwrap();
        guest::start(w, lab.files(), 101, "pve1").unwrap();
    })
    .unwrap();
    assert_eq!(ok(&lab, "ct:101", "hostname"), "nfs1\n");
    assert_eq!(ok(&lab, "pve1", "pct exec 101 -- cat /etc/hostname"), "nfs1\n");
    ok(&lab, "ct:101", "apt-get update && apt-get -y install nfs-kernel-server");
    let denied = run(&lab, "ct:101", "systemctl start nfs-server");
    assert_eq!(denied.rc, 1);
    assert!(denied.stderr.contains("AppArmor"), "{}", denied.stderr);
    // The right features and the module on the host.
    let config = format!("{config}features: mount=nfsd;rpc_pipefs\n");
    lab.node("pve1").unwrap().perform(&Step::write("/etc/pve/lxc/101.conf", config)).unwrap();
    ok(&lab, "pve1", "modprobe nfsd");
    lab.with(|w| {
        guest::stop(w, 101).unwrap();
        guest::start(w, lab.files(), 101, "pve1").unwrap();
    })
    .unwrap();
    assert_eq!(ok(&lab, "ct:101", "systemctl is-active nfs-server"), "active\n", "enabled by its package");
    ok(&lab, "ct:101", "mkdir /data");
    lab.container(101).perform(&Step::write("/etc/exports", "/data *(rw,no_root_squash,no_subtree_check)\n")).unwrap();
    ok(&lab, "ct:101", "exportfs -ra");
    assert_eq!(ok(&lab, "ct:101", "exportfs"), "/data          \t<world>\n");
    ok(&lab, "pve2", "mount -t nfs 192.168.1.11:/data /mnt");
    ok(&lab, "pve3", "bash -c 'exec 3<>\"/dev/tcp/$1/$2\"' wait_for 192.168.1.11 2049 || true");
    // Packages and files are on the device, not in the container's memory.
    lab.with(|w| guest::stop(w, 101).unwrap()).unwrap();
    assert_eq!(run(&lab, "ct:101", "true").rc, 255);
    lab.with(|w| guest::start(w, lab.files(), 101, "pve1").unwrap()).unwrap();
    assert!(ok(&lab, "ct:101", "dpkg-query -W nfs-kernel-server").contains("2.8.3"));
}

#[test]
fn attributes_of_a_plain_user_are_kept() {
    let (_dir, lab) = lab();
    let node = lab.node("pve1").unwrap();
    let action = Action::WriteFile {
        path: "/etc/secret".into(),
        content: crate::host::Bytes(b"x".to_vec()),
        mode: Some(0o600),
        owner: Some("www-data".into()),
        group: None,
        validate: None,
        backup: false,
    };
    node.perform(&action.into()).unwrap();
    let stat = node.stat(Path::new("/etc/secret")).unwrap().unwrap();
    assert_eq!((stat.mode, stat.owner.as_str(), stat.group.as_str()), (0o600, "www-data", "root"));
    node.perform(&Step::write("/etc/secret", "y")).unwrap();
    assert_eq!(node.stat(Path::new("/etc/secret")).unwrap().unwrap().mode, 0o600);
    assert_eq!(ok(&lab, "pve1", "stat -c '%a %U' /etc/secret"), "600 www-data\n");
}
