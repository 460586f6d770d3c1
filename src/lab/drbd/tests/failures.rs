//! States after cut links, dead nodes, failed disks; quorum and split brain.

use super::bed::{Bed, NODES};
use crate::lab::drbd::WriteError;

#[test]
fn one_cut_link_outdates_the_node_that_the_primary_cannot_see() {
    let mut bed = Bed::healthy();
    bed.mount("pve1");
    bed.cut("pve1", "pve3", true);
    bed.write("pve1", 532, "later");
    bed.is_as_recorded("17", &NODES, &[]);
    bed.cut("pve1", "pve3", false);
    bed.pass(5_000);
    bed.is_as_recorded("12", &NODES, &[]);
    assert_eq!(bed.data("pve3"), Some("later"));
}

#[test]
fn a_node_without_power_and_its_return() {
    let mut bed = Bed::healthy();
    bed.mount("pve1");
    bed.power("pve3", false);
    bed.write("pve1", 60_000, "written without pve3");
    bed.is_as_recorded("18", &["pve1", "pve2"], &[]);
    bed.power("pve3", true);
    assert_eq!(bed.ok("pve3", "drbdsetup status --json").stdout, "[\n]\n\n");
    let unclean = bed.run("pve3", "drbdadm dump-md nfs1");
    assert_eq!(unclean.stderr.lines().next(), Some("Found meta data is \"unclean\", please apply-al first"));
    let up = bed.ok("pve3", "drbdadm up nfs1");
    assert!(up.stderr.starts_with("Marked additional "), "{up:?}");
    bed.is_as_recorded("19", &["pve3"], &[]);
    bed.pass(5_000);
    bed.is_as_recorded("12", &NODES, &[]);
    assert_eq!(bed.data("pve3"), Some("written without pve3"));
}

#[test]
fn a_disk_that_leaves_a_secondary_and_comes_back() {
    let mut bed = Bed::healthy();
    bed.mount("pve1");
    bed.ok("pve2", "drbdadm detach nfs1");
    bed.write("pve1", 8, "more");
    bed.is_as_recorded("20", &NODES, &["status"]);
    bed.ok("pve2", "drbdadm adjust nfs1");
    bed.pass(5_000);
    bed.is_as_recorded("12", &NODES, &[]);
    bed.fabric.fail_disk(&mut bed.nodes, "pve1", "/dev/vdb");
    assert_eq!(bed.shown("pve1")["disk"], "Diskless");
    bed.write("pve1", 8, "over the network");
    assert_eq!((bed.data("pve1"), bed.data("pve3")), (Some("more"), Some("over the network")));
    assert_eq!(bed.run("pve2", "drbdadm detach nfs1").rc, 0);
    assert_eq!(bed.run("pve3", "drbdadm status nfs1").stdout.matches("Diskless").count(), 2);
}

#[test]
fn a_node_that_was_told_to_disconnect_believes_itself_current() {
    let mut bed = Bed::healthy();
    bed.ok("pve2", "drbdadm disconnect nfs1");
    let outdate = bed.run("pve2", "drbdadm outdate nfs1");
    assert_eq!((outdate.rc, outdate.stderr.lines().next()), (20, Some("Device '100' is configured!")));
    bed.mount("pve2");
    bed.is_as_recorded("25", &NODES, &[]);
}

/// Recordings 27 to 29: two writers, split brain, one side gives up its data.
#[test]
fn two_writers_end_alone_and_only_a_person_decides_whose_data_stays() {
    let mut bed = Bed::healthy();
    bed.isolate("pve1", true);
    bed.mount("pve1");
    bed.write("pve1", 280, "ours");
    bed.mount("pve2");
    bed.write("pve2", 280, "theirs");
    bed.is_as_recorded("27", &NODES, &[]);
    bed.isolate("pve1", false);
    bed.is_as_recorded("28", &NODES, &[]);
    assert!(bed.fabric.log.iter().any(|l| l.node == "pve1" && l.text.contains("Split-Brain detected but unresolved")));
    assert_eq!(bed.ok("pve1", "drbdadm -d adjust nfs1").stdout, "drbdsetup connect nfs1 1\ndrbdsetup connect nfs1 2\n");

    bed.umount("pve1");
    bed.ok("pve1", "drbdadm disconnect nfs1");
    bed.ok("pve1", "drbdadm secondary nfs1");
    bed.ok("pve1", "drbdadm connect --discard-my-data nfs1");
    let survivor = bed.run("pve2", "drbdadm connect nfs1");
    assert_eq!(survivor.rc, 10);
    assert_eq!(
        survivor.stderr,
        "nfs1: Failure: (125) Device has a net-config (use disconnect first)\nCommand 'drbdsetup connect nfs1 2' terminated with exit code 10\n"
    );
    bed.run("pve3", "drbdadm connect nfs1");
    bed.pass(5_000);
    bed.is_as_recorded("29", &NODES, &[]);
    assert_eq!(NODES.map(|n| bed.data(n)), [Some("theirs"); 3]);
}

#[test]
fn the_policy_for_one_primary_throws_data_away_in_silence() {
    let mut bed = Bed::healthy();
    bed.isolate("pve1", true);
    bed.mount("pve1");
    bed.write("pve1", 4, "LOSTDATA");
    bed.umount("pve1");
    bed.mount("pve2");
    bed.write("pve2", 4, "KEPT");
    bed.isolate("pve1", false);
    bed.pass(5_000);
    bed.is_as_recorded("43", &NODES, &[]);
    assert_eq!(bed.data("pve1"), Some("KEPT"));
}

#[test]
fn a_data_set_made_by_force_in_isolation_never_joins_another() {
    let mut bed = Bed::with_quorum("suspend-io");
    bed.ok("pve3", "drbdadm down nfs1");
    bed.ok("pve3", "drbdadm create-md --force nfs1");
    bed.isolate("pve3", true);
    bed.ok("pve3", "drbdadm up nfs1");
    let status = bed.ok("pve3", "drbdadm status nfs1").stdout;
    assert!(status.starts_with("nfs1 role:Secondary suspended:quorum\n  disk:Inconsistent quorum:no\n"), "{status}");
    assert_eq!(bed.run("pve3", "drbdadm primary nfs1").rc, 17);
    bed.ok("pve3", "drbdadm primary --force nfs1");
    bed.ok("pve3", "drbdadm secondary nfs1");
    bed.isolate("pve3", false);
    bed.is_as_recorded("42", &NODES, &[]);
    assert!(bed.fabric.log.iter().any(|l| l.text.contains("Unrelated data, aborting!")));
}

#[test]
fn the_minority_loses_quorum_and_its_writes_fail() {
    let mut bed = Bed::with_quorum("io-error");
    bed.mount("pve1");
    bed.isolate("pve1", true);
    assert_eq!(bed.fabric.write(&mut bed.nodes, "pve1", 100, 4), Err(WriteError::Io));
    bed.is_as_recorded("34", &NODES, &[]);
    bed.umount("pve1");
    assert_eq!(bed.shown("pve1")["promotion_score"], 0);
    assert!(bed.fabric.open_rw(&mut bed.nodes, "pve1", 100, "mount").is_err());
    let refused = bed.run("pve1", "drbdadm primary nfs1");
    assert_eq!(refused.rc, 11);
    assert_eq!(
        refused.stderr,
        "nfs1: State change failed: (-25) No quorum\nadditional info from kernel:\n1 of 3 nodes visible, need 2 for quorum\n\
         Command 'drbdsetup primary nfs1' terminated with exit code 11\n"
    );
    // The majority goes on, and wins.
    bed.mount("pve2");
    bed.write("pve2", 64, "by the majority");
    bed.isolate("pve1", false);
    bed.pass(5_000);
    assert_eq!(bed.shown("pve1")["disk"], "UpToDate");
    assert_eq!(bed.data("pve1"), Some("by the majority"));
}

#[test]
fn force_overrides_quorum() {
    let mut bed = Bed::with_quorum("io-error");
    bed.isolate("pve1", true);
    bed.ok("pve1", "drbdadm primary --force nfs1");
    bed.is_as_recorded("32", &["pve1"], &[]);
}

#[test]
fn io_may_wait_for_quorum_until_someone_says_otherwise() {
    let mut bed = Bed::with_quorum("suspend-io");
    bed.mount("pve1");
    bed.isolate("pve1", true);
    bed.is_as_recorded("36", &NODES, &[]);
    assert_eq!(bed.fabric.write(&mut bed.nodes, "pve1", 100, 4), Err(WriteError::Suspended));
    assert_eq!(bed.run("pve1", "drbdadm secondary nfs1").rc, 11);
    bed.ok("pve1", "drbdsetup resource-options --on-no-quorum io-error nfs1");
    assert_eq!(bed.fabric.write(&mut bed.nodes, "pve1", 100, 4), Err(WriteError::Io));
    bed.umount("pve1");
    bed.is_as_recorded("37", &["pve1"], &[]);
    let dry = bed.ok("pve1", "drbdadm -d adjust nfs1").stdout;
    assert_eq!(dry, "drbdsetup resource-options nfs1 --set-defaults --quorum=majority --on-no-quorum=suspend-io\n");
}

#[test]
fn a_primary_that_lost_power_is_followed_by_another_and_comes_back_as_target() {
    let mut bed = Bed::with_quorum("io-error");
    bed.mount("pve1");
    bed.write("pve1", 512, "first");
    bed.power("pve1", false);
    bed.mount("pve2");
    bed.write("pve2", 28, "second");
    bed.is_as_recorded("45", &["pve2", "pve3"], &[]);
    bed.power("pve1", true);
    let gi = bed.ok("pve1", "drbdadm get-gi nfs1").stdout;
    assert!(gi.lines().all(|l| l.contains(":1:1:1:1:0:0:0:1:0:0:0:1")), "{gi}");
    bed.ok("pve1", "drbdadm up nfs1");
    assert!(bed.ok("pve1", "drbdadm status nfs1").stdout.contains("replication:SyncTarget"));
    bed.pass(5_000);
    assert_eq!((bed.shown("pve1")["disk"].clone(), bed.data("pve1")), ("UpToDate".into(), Some("second")));
}

#[test]
fn one_node_alone_has_no_quorum_two_have() {
    let mut bed = Bed::with_quorum("io-error");
    bed.all("drbdadm down nfs1");
    bed.ok("pve1", "drbdadm up nfs1");
    bed.is_as_recorded("47", &["pve1"], &[]);
    assert_eq!(bed.run("pve1", "drbdsetup wait-connect-resource nfs1 --wfc-timeout=3").rc, 5);
    bed.ok("pve2", "drbdadm up nfs1");
    bed.is_as_recorded("48", &["pve1", "pve2"], &[]);
}

#[test]
fn a_backing_disk_that_is_gone_leaves_half_a_resource() {
    let mut bed = Bed::with_quorum("io-error");
    bed.ok("pve3", "drbdadm down nfs1");
    bed.edit_on("pve3", "virtio-pve3data", "virtio-gone");
    let up = bed.run("pve3", "drbdadm up nfs1");
    assert_eq!(up.rc, 1);
    assert_eq!(
        up.stderr,
        "open(/dev/disk/by-id/virtio-gone) failed: No such file or directory\n\
         Command 'drbdmeta 100 v09 /dev/disk/by-id/virtio-gone internal apply-al' terminated with exit code 20\n"
    );
    bed.is_as_recorded("49", &["pve3"], &[]);
    assert_eq!(bed.run("pve3", "drbdadm adjust nfs1").rc, 1);
    bed.is_as_recorded("49", &["pve3"], &[]);
}
