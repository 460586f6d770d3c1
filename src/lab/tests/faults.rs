//! Faults of `lab break`, power, and what survives a kill.

use super::lab;
use super::programs::{ok, run, with_drbd};
use crate::lab::{Lab, breaks, power};

fn break_it(lab: &Lab, name: &str) -> Result<String, String> {
    lab.with(|w| breaks::cause(w, lab.files(), name)).expect("the lab works")
}

#[test]
fn faults_on_a_fresh_lab_say_what_is_missing() {
    let (_dir, lab) = lab();
    let before = std::fs::read(lab.dir().join("state.json")).unwrap();
    for name in [
        "in-tree-module",
        "new-kernel",
        "dkms-failed",
        "secure-boot",
        "edited-res",
        "service-disabled",
        "container-locked",
        "export-removed",
        "apparmor-line-removed",
    ] {
        let refused = break_it(&lab, name).unwrap_err();
        assert!(!refused.is_empty(), "{name}");
    }
    assert!(break_it(&lab, "node-dwon").unwrap_err().contains("did you mean `node-down`?"));
    let after = std::fs::read(lab.dir().join("state.json")).unwrap();
    assert!(before == after, "a refused fault changes nothing");
}

#[test]
fn a_new_kernel_without_headers_loads_the_old_drbd() {
    let (_dir, lab) = lab();
    with_drbd(&lab, "pve3");
    ok(&lab, "pve3", "modprobe drbd");
    assert_eq!(ok(&lab, "pve3", "cat /sys/module/drbd/version"), "9.3.3\n");
    break_it(&lab, "new-kernel").unwrap();
    assert_eq!(ok(&lab, "pve3", "uname -r"), "6.17.4-2-pve\n");
    // drbd-utils loads whatever drbd there is at boot.
    assert_eq!(ok(&lab, "pve3", "cat /sys/module/drbd/version"), "8.4.11\n");
    assert_eq!(ok(&lab, "pve3", "dkms status -k 6.17.4-2-pve"), "drbd/9.3.3-1: added\n");
    // A kernel alone builds nothing without its headers; those build.
    ok(&lab, "pve3", "apt-get -y install --reinstall proxmox-kernel-6.17.4-2-pve-signed");
    assert_eq!(ok(&lab, "pve3", "dkms status -k 6.17.4-2-pve"), "drbd/9.3.3-1: added\n");
    ok(&lab, "pve3", "apt-get -y install proxmox-headers-6.17.4-2-pve");
    assert_eq!(ok(&lab, "pve3", "modinfo -F version drbd"), "9.3.3\n");
    ok(&lab, "pve3", "rmmod drbd && modprobe drbd");
    assert_eq!(ok(&lab, "pve3", "cat /sys/module/drbd/version"), "9.3.3\n");
}

/// As the reference playbook installs it: the meta package has brought the newest headers before the kernel comes.
#[test]
fn headers_that_are_there_build_for_a_new_kernel_and_the_fault_takes_them_away() {
    let (_dir, lab) = lab();
    for node in ["pve2", "pve3"] {
        with_drbd(&lab, node);
        ok(&lab, node, "apt-get -y install proxmox-default-headers");
    }
    ok(&lab, "pve2", "apt-get -y install proxmox-kernel-6.17.4-2-pve-signed");
    assert!(ok(&lab, "pve2", "dkms status -k 6.17.4-2-pve").contains("installed"));
    break_it(&lab, "new-kernel").unwrap();
    assert_eq!(ok(&lab, "pve3", "cat /sys/module/drbd/version"), "8.4.11\n");
    assert_eq!(run(&lab, "pve3", "dpkg-query -W proxmox-default-headers").rc, 1);
    assert!(break_it(&lab, "new-kernel").unwrap_err().contains("runs the newest kernel already"));
}

#[test]
fn a_failed_build_is_not_remembered_by_dkms() {
    let (_dir, lab) = lab();
    with_drbd(&lab, "pve3");
    break_it(&lab, "dkms-failed").unwrap();
    assert_eq!(ok(&lab, "pve3", "dkms status -k 6.17.4-2-pve"), "drbd/9.3.3-1: added\n");
    assert_eq!(run(&lab, "pve3", "dkms install drbd/9.3.3-1 -k 6.17.4-2-pve").rc, 10);
    assert!(ok(&lab, "pve3", "cat /var/lib/dkms/drbd/9.3.3-1/build/make.log").contains("error:"));
}

#[test]
fn power_takes_what_is_not_on_disk() {
    let (_dir, lab) = lab();
    ok(
        &lab,
        "pve2",
        "sysctl -w vm.swappiness=10 && echo 'vm.dirty_ratio = 5' > /etc/sysctl.d/a.conf && modprobe nfsd && touch /run/x /etc/y && systemctl stop cron",
    );
    break_it(&lab, "node-down").unwrap();
    lab.with(|w| power::off(w, "pve2")).unwrap();
    assert_eq!(run(&lab, "pve2", "true").rc, 255);
    assert!(!lab.look(|w| w.quorate("pve1")).unwrap());
    let done = lab.with(|w| breaks::mend(w, lab.files())).unwrap().unwrap();
    assert_eq!(done, ["pve2 is on", "pve3 is on"]);
    assert_eq!(ok(&lab, "pve2", "sysctl -n vm.swappiness vm.dirty_ratio"), "60\n5\n");
    assert_eq!(run(&lab, "pve2", "test -e /run/x").rc, 1);
    ok(&lab, "pve2", "test -e /etc/y && systemctl is-active cron");
    assert_eq!(run(&lab, "pve2", "grep -q '^nfsd ' /proc/modules").rc, 1);
}

#[test]
fn every_fault_has_its_words() {
    for (name, what, says) in breaks::list() {
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
        assert!(what.ends_with('.') && says.ends_with('.'), "{name}");
    }
}

#[test]
fn a_killed_writer_leaves_the_last_whole_state() {
    let (_dir, lab) = lab();
    ok(&lab, "pve1", "sysctl -w vm.swappiness=10");
    // Killed while it wrote beside: the torn file is not the state.
    std::fs::write(lab.dir().join("state.json.tmp"), "{\"format\":1,\"wor").unwrap();
    let other = Lab::open(lab.dir()).unwrap();
    assert_eq!(ok(&other, "pve1", "sysctl -n vm.swappiness"), "10\n");
    // A state of another format is refused, not thrown away.
    std::fs::write(lab.dir().join("state.json"), "{\"format\":99,\"world\":{}}").unwrap();
    let refused = Lab::open(lab.dir()).err().expect("refused").to_string();
    assert!(refused.contains("format 99"), "{refused}");
    lab.reset(None, None).expect_err("nothing is read, nothing is thrown away");
}

#[test]
fn status_shows_nodes_and_faults() {
    let (_dir, lab) = lab();
    with_drbd(&lab, "pve1");
    ok(&lab, "pve1", "modprobe drbd");
    break_it(&lab, "node-down").unwrap();
    let text = lab.status().unwrap().text();
    assert!(text.contains("pve1: on, kernel 6.17.4-1-pve, DRBD 9.3.3\n"), "{text}");
    assert!(text.contains("pve3: off"), "{text}");
}

#[test]
fn nodes_stay_small() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::with_nodes(dir.path().join("lab"), 30, crate::lab::Flavour::Pve9).unwrap();
    assert_eq!(lab.host_names().unwrap().len(), 30);
    ok(&lab, "pve30", "systemctl is-active pve-ha-lrm");
    ok(&lab, "pve30", "sysctl -w vm.swappiness=1");
    let state = std::fs::metadata(lab.dir().join("state.json")).unwrap().len();
    assert!(state < 100_000, "nodes stay small: {state} bytes");
}
