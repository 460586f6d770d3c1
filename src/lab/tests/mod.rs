mod faults;
mod programs;

use super::world::Place;
use super::{Lab, guest};
use crate::host::{Action, Host, LookError, Probe, Step, StepError};
use std::path::Path;

fn lab() -> (tempfile::TempDir, Lab) {
    let dir = tempfile::tempdir().expect("a directory");
    let lab = Lab::open(dir.path().join("lab")).expect("a lab");
    (dir, lab)
}

#[test]
fn a_file_written_on_a_node_is_read_there_and_nowhere_else() {
    let (_dir, lab) = lab();
    let (one, two) = (lab.node("pve1").unwrap(), lab.node("pve2").unwrap());
    one.perform(&Step::write("/etc/motd", "hello\n")).unwrap();
    assert_eq!(one.read(Path::new("/etc/motd")).unwrap(), Some(b"hello\n".to_vec()));
    assert_eq!(two.read(Path::new("/etc/motd")).unwrap(), None);
    let stat = one.stat(Path::new("/etc/motd")).unwrap().unwrap();
    assert_eq!((stat.mode, stat.owner.as_str()), (0o644, "root"));
}

#[test]
fn etc_pve_is_shared_and_refuses_modes() {
    let (_dir, lab) = lab();
    let (one, two) = (lab.node("pve1").unwrap(), lab.node("pve2").unwrap());
    one.perform(&Step::write("/etc/pve/local/x", "1")).unwrap();
    assert_eq!(two.read(Path::new("/etc/pve/nodes/pve1/x")).unwrap(), Some(b"1".to_vec()));
    assert_eq!(two.read(Path::new("/etc/pve/local/x")).unwrap(), None);
    let chmod = Action::SetAttributes { path: "/etc/pve/local/x".into(), mode: Some(0o644), owner: None, group: None };
    let error = one.perform(&chmod.into()).unwrap_err();
    assert!(matches!(&error, StepError::Failed { why, .. } if why.contains("Operation not permitted")), "{error}");
    let big = vec![0; 1024 * 1024 + 1];
    assert!(one.perform(&Step::write("/etc/pve/local/big", big)).is_err());
}

#[test]
fn links_stay_inside_the_tree() {
    let (dir, lab) = lab();
    std::fs::write(dir.path().join("secret"), "outside").unwrap();
    let one = lab.node("pve1").unwrap();
    let link = Action::Symlink { path: "/root/up".into(), target: "../../../../../../secret".into() };
    one.perform(&link.into()).unwrap();
    assert_eq!(one.read(Path::new("/root/up")).unwrap(), None);
    let circle = Action::Symlink { path: "/root/self".into(), target: "self".into() };
    one.perform(&circle.into()).unwrap();
    assert!(matches!(one.read(Path::new("/root/self")), Err(LookError::CannotTell { .. })));
}

#[test]
fn a_node_that_is_off_answers_nothing() {
    let (_dir, lab) = lab();
    let two = lab.node("pve2").unwrap();
    lab.with(|w| w.node_mut("pve2").off = true).unwrap();
    assert!(matches!(two.read(Path::new("/etc/hostname")), Err(LookError::Unreachable { .. })));
    assert!(matches!(lab.container(101).read(Path::new("/")), Err(LookError::Unreachable { .. })));
}

#[test]
fn without_quorum_etc_pve_is_read_only() {
    let (_dir, lab) = lab();
    lab.with(|w| w.node_mut("pve3").cut_from_cluster = true).unwrap();
    let (one, three) = (lab.node("pve1").unwrap(), lab.node("pve3").unwrap());
    one.perform(&Step::write("/etc/pve/local/x", "1")).unwrap();
    assert!(three.perform(&Step::write("/etc/pve/local/x", "1")).is_err());
    assert!(three.read(Path::new("/etc/pve/storage.cfg")).unwrap().is_some());
}

#[test]
fn looking_does_not_rewrite_the_state_and_changes_are_kept() {
    let (dir, lab) = lab();
    let state = dir.path().join("lab/state.json");
    let before = std::fs::metadata(&state).unwrap().modified().unwrap();
    lab.node("pve1").unwrap().stat(Path::new("/etc")).unwrap();
    lab.look(|w| assert_eq!(w.nodes.len(), 3)).unwrap();
    assert_eq!(std::fs::metadata(&state).unwrap().modified().unwrap(), before);
    lab.with(|w| w.node_mut("pve1").secure_boot = true).unwrap();
    let other = Lab::open(dir.path().join("lab")).unwrap();
    assert!(other.look(|w| w.node("pve1").secure_boot).unwrap());
    // The handle that was there first sees what the second changed.
    other.with(|w| w.node_mut("pve1").secure_boot = false).unwrap();
    assert!(!lab.look(|w| w.node("pve1").secure_boot).unwrap());
}

#[test]
fn a_panic_in_a_transaction_changes_nothing() {
    let (_dir, lab) = lab();
    let clone = lab.clone();
    let joined = std::thread::spawn(move || {
        let _ = clone.with(|w| {
            w.node_mut("pve1").off = true;
            panic!("half way");
        });
    })
    .join();
    assert!(joined.is_err());
    assert!(!lab.look(|w| w.node("pve1").off).unwrap());
}

#[test]
fn a_directory_with_other_things_is_no_lab() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.txt"), "").unwrap();
    assert!(Lab::open(dir.path()).is_err());
}

#[test]
fn virtual_files_tell_the_state() {
    let (_dir, lab) = lab();
    let one = lab.node("pve1").unwrap();
    let link = one.stat(Path::new("/dev/disk/by-partuuid/0d9b1a10-0001-4a6e-9d6e-000000000001")).unwrap().unwrap();
    assert_eq!(link.link_target.as_deref(), Some("../../nvme0n1p1"));
    assert_eq!(one.read_text(Path::new("/etc/hostname")).unwrap().as_deref(), Some("pve1\n"));
    assert_eq!(one.read_text(Path::new("/proc/sys/vm/swappiness")).unwrap().as_deref(), Some("60\n"));
    assert_eq!(one.read(Path::new("/proc/drbd")).unwrap(), None);
    assert!(one.list(Path::new("/dev/disk")).unwrap().unwrap().contains(&"by-partuuid".to_owned()));
    assert!(one.list(Path::new("/")).unwrap().unwrap().contains(&"etc".to_owned()));
}

#[test]
fn a_guest_config_is_found_by_its_owner() {
    let (_dir, lab) = lab();
    lab.node("pve2")
        .unwrap()
        .perform(&Step::write("/etc/pve/lxc/101.conf", "rootfs: /dev/drbd100,shared=1\n"))
        .unwrap();
    lab.with(|w| {
        let (node, text) = guest::config(w, lab.files(), 101).unwrap();
        assert_eq!((node.as_str(), guest::rootfs_device(&text)), ("pve2", Some("/dev/drbd100")));
        assert!(guest::start(w, lab.files(), 101, "pve2").unwrap_err().contains("special device"));
        assert!(w.system(&Place::Container(101)).is_none());
    })
    .unwrap();
    let elsewhere = lab.node("pve1").unwrap().perform(&Step::write("/etc/pve/lxc/101.conf", "")).unwrap_err();
    assert!(elsewhere.to_string().contains("File exists"), "{elsewhere}");
}
