//! States that a cluster passes while everything works.

use super::bed::{Bed, NODES};

#[test]
fn up_without_metadata_leaves_a_diskless_resource_that_stands_alone() {
    let mut bed = Bed::new();
    let up = bed.run("pve1", "drbdadm up nfs1");
    assert_eq!((up.rc, up.stderr.as_str()), (1, "No valid meta data found\n"));
    let status = bed.ok("pve1", "drbdadm status nfs1").stdout;
    assert_eq!(
        status,
        "nfs1 role:Secondary\n  disk:Diskless client:no\n  pve2 connection:StandAlone\n  pve3 connection:StandAlone\n\n"
    );
    let dry = bed.ok("pve1", "drbdadm -d adjust nfs1").stdout;
    assert_eq!(
        dry,
        "drbdmeta 100 v09 /dev/disk/by-id/virtio-pve1data internal apply-al\n\
         drbdsetup attach 100 /dev/disk/by-id/virtio-pve1data /dev/disk/by-id/virtio-pve1data internal\n\
         drbdsetup connect nfs1 1\ndrbdsetup connect nfs1 2\n"
    );
    assert_eq!(bed.run("pve1", "drbdadm get-gi nfs1").rc, 1);
    bed.ok("pve1", "drbdadm down nfs1");
    bed.ok("pve1", "drbdadm down nfs1");
}

#[test]
fn from_fresh_metadata_to_a_cluster_without_a_first_sync() {
    let mut bed = Bed::new();
    bed.all("drbdadm create-md nfs1");
    let gi = bed.ok("pve1", "drbdadm get-gi nfs1").stdout;
    let line = "0000000000000004:0000000000000000:0000000000000000:0000000000000000:0:0:0:0:1:0:0:0:0:0:0:0\n";
    assert_eq!(gi, line.repeat(2));
    bed.ok("pve1", "drbdadm up nfs1");
    bed.is_as_recorded("07", &["pve1"], &[]);
    bed.ok("pve2", "drbdadm up nfs1");
    bed.ok("pve3", "drbdadm up nfs1");
    bed.is_as_recorded("08", &NODES, &[]);
    let gi = bed.ok("pve1", "drbdadm get-gi nfs1").stdout;
    let line = "0000000000000004:0000000000000000:0000000000000000:0000000000000000:0:0:0:0:0:0:0:1:1:0:0:1\n";
    assert_eq!(gi, line.repeat(2));

    let refused = bed.run("pve1", "drbdadm primary nfs1");
    assert_eq!(refused.rc, 17);
    assert_eq!(
        refused.stderr,
        "nfs1: State change failed: (-2) Need access to UpToDate data\nCommand 'drbdsetup primary nfs1' terminated with exit code 17\n"
    );
    assert_eq!(bed.fabric.open_ro(&mut bed.nodes, "pve1", 100, "dd").unwrap_err().to_string(), "No data available");
    assert_eq!(bed.fabric.open_rw(&mut bed.nodes, "pve1", 100, "mount").unwrap_err().to_string(), "No data available");
    assert_eq!(bed.ok("pve1", "drbdadm -d adjust nfs1").stdout, "");

    bed.ok("pve1", "drbdadm new-current-uuid --clear-bitmap nfs1/0");
    bed.is_as_recorded("09", &NODES, &[]);
    let again = bed.run("pve1", "drbdadm new-current-uuid --clear-bitmap nfs1/0");
    assert_eq!(again.rc, 10);
    assert_eq!(
        again.stderr,
        "100: Failure: (151) Need to be StandAlone\nCommand 'drbdsetup new-current-uuid 100 --clear-bitmap' terminated with exit code 10\n"
    );
}

#[test]
fn a_whole_first_sync_by_force_and_what_waits_meanwhile() {
    let mut bed = Bed::new();
    bed.all("drbdadm create-md nfs1");
    bed.all("drbdadm up nfs1");
    bed.ok("pve1", "drbdadm primary --force nfs1");
    bed.pass(200);
    bed.is_as_recorded("10", &NODES, &[]);
    bed.ok("pve1", "drbdadm secondary nfs1");
    bed.is_as_recorded("10b", &NODES, &[]);
    bed.ok("pve2", "drbdadm pause-sync nfs1");
    // Recording 10c, which is known by its index line only.
    let paused = |bed: &mut Bed, node: &str, peer: &str| {
        let shown = bed.shown(node);
        let row = shown["peers"][peer].as_array().expect("a row").clone();
        format!("{}({})", row[3].as_str().unwrap_or_default(), row[4].as_str().unwrap_or_default())
    };
    for (node, peer, expected) in [
        ("pve1", "pve2", "PausedSyncS(peer)"),
        ("pve1", "pve3", "SyncSource(no)"),
        ("pve2", "pve1", "PausedSyncT(user)"),
        ("pve2", "pve3", "Established(user,peer)"),
        ("pve3", "pve1", "SyncTarget(no)"),
        ("pve3", "pve2", "Established(peer,dependency)"),
    ] {
        assert_eq!(paused(&mut bed, node, peer), expected, "{node} about {peer}");
    }
    bed.ok("pve2", "drbdadm resume-sync nfs1");
    bed.pass(5_000);
    bed.is_as_recorded("11", &NODES, &[]);
    let gi = |bed: &mut Bed, node| bed.ok(node, "drbdadm get-gi nfs1").stdout.split(':').next().map(str::to_owned);
    assert_eq!(gi(&mut bed, "pve1"), gi(&mut bed, "pve3"));
}

#[test]
fn opening_promotes_and_closing_demotes_but_not_what_a_command_took() {
    let mut bed = Bed::healthy();
    bed.mount("pve1");
    bed.is_as_recorded("12", &NODES, &[]);
    bed.is_as_recorded("13", &["pve2", "pve3"], &[]);
    for line in ["drbdadm primary nfs1", "drbdadm primary --force nfs1"] {
        let refused = bed.run("pve2", line);
        assert_eq!(refused.rc, 11);
        assert!(refused.stderr.starts_with("nfs1: State change failed: (-1) Multiple primaries not allowed by config\nCommand 'drbdsetup primary nfs1"), "{refused:?}");
    }
    for reads in [true, false] {
        let opened = if reads {
            bed.fabric.open_ro(&mut bed.nodes, "pve2", 100, "blkid")
        } else {
            bed.fabric.open_rw(&mut bed.nodes, "pve2", 100, "mount")
        };
        assert_eq!(opened.unwrap_err().to_string(), "Wrong medium type");
    }
    for command in ["secondary", "down"] {
        let held = bed.run("pve1", &format!("drbdadm {command} nfs1"));
        assert_eq!(held.rc, 11);
        let lines: Vec<&str> = held.stderr.lines().collect();
        assert_eq!(lines[0], "nfs1: State change failed: (-12) Device is held open by someone");
        assert_eq!(lines[1], "additional info from kernel:");
        assert!(
            lines[2].starts_with("drbd100 opened by mount (pid ") && lines[2].contains(") at 2026-11-22 "),
            "{held:?}"
        );
        assert_eq!(lines[3], format!("Command 'drbdsetup {command} nfs1' terminated with exit code 11"));
    }
    let openers = bed.fabric.openers_text("pve1", "nfs1", bed.nodes.clock_ms + 40).unwrap();
    let rows: Vec<Vec<&str>> = openers.lines().map(|l| l.split('\t').collect()).collect();
    assert!(rows.len() == 2 && rows[0][0] == "mount" && rows[1][0] == "+mount" && rows[1][2] == "40", "{openers}");
    bed.umount("pve1");
    assert_eq!(bed.ok("pve1", "drbdadm role nfs1").stdout, "Secondary\n");

    bed.ok("pve1", "drbdadm primary nfs1");
    bed.mount("pve1");
    bed.umount("pve1");
    assert_eq!(bed.ok("pve1", "drbdadm role nfs1").stdout, "Primary\n");
    bed.ok("pve1", "drbdadm secondary nfs1");
    bed.is_as_recorded("11", &NODES, &[]);
}

#[test]
fn a_reader_makes_down_fail_half_way_and_only_adjust_repairs_it() {
    let mut bed = Bed::healthy();
    bed.fabric.open_ro(&mut bed.nodes, "pve1", 100, "bash").unwrap();
    bed.ok("pve1", "drbdadm secondary nfs1");
    bed.ok("pve1", "drbdadm primary nfs1");
    bed.ok("pve1", "drbdadm secondary nfs1");
    let down = bed.run("pve1", "drbdadm down nfs1");
    assert_eq!(down.rc, 17);
    assert!(down.stderr.starts_with("nfs1: State change failed: (-2) Need access to UpToDate data\nadditional info from kernel:\ndrbd100 opened by bash (pid "), "{down:?}");
    assert_eq!(bed.ok("pve1", "drbdadm status nfs1").stdout, "nfs1 role:Secondary\n  disk:UpToDate\n\n");
    let up = bed.run("pve1", "drbdadm up nfs1");
    assert_eq!(up.rc, 1);
    assert!(up.stderr.contains("nfs1: Failure: (161) Minor or volume exists already (delete it first)\nCommand 'drbdsetup new-minor nfs1 100 0' terminated with exit code 10\n"), "{up:?}");
    // Recording 15: somebody mounts it like this, and no peer hears of it.
    bed.mount("pve1");
    bed.is_as_recorded("15", &["pve1"], &[]);
    let dry = bed.ok("pve1", "drbdadm -d adjust nfs1").stdout;
    let options = "--after-sb-2pri=disconnect --after-sb-1pri=discard-secondary --after-sb-0pri=discard-zero-changes --protocol=C";
    assert_eq!(
        dry,
        format!(
            "drbdsetup new-peer nfs1 1 --_name=pve2 {options}\ndrbdsetup new-peer nfs1 2 --_name=pve3 {options}\n\
             drbdsetup new-path nfs1 1 ipv4:192.168.2.11:7000 ipv4:192.168.2.12:7000\n\
             drbdsetup new-path nfs1 2 ipv4:192.168.2.11:7000 ipv4:192.168.2.13:7000\n\
             drbdsetup connect nfs1 1\ndrbdsetup connect nfs1 2\n"
        )
    );
    bed.ok("pve1", "drbdadm adjust nfs1");
    bed.is_as_recorded("12", &NODES, &[]);
}

#[test]
fn demoting_by_force_fails_what_is_open_until_it_is_closed() {
    let mut bed = Bed::healthy();
    bed.mount("pve1");
    bed.ok("pve1", "drbdsetup secondary --force nfs1");
    bed.is_as_recorded("52", &["pve1"], &[]);
    assert_eq!(bed.fabric.open_rw(&mut bed.nodes, "pve1", 100, "dd").unwrap_err().to_string(), "State not recoverable");
    bed.mount("pve2");
    bed.umount("pve2");
    bed.umount("pve1");
    bed.is_as_recorded("11", &["pve1"], &[]);
}

#[test]
fn a_fresh_disk_joins_as_target_and_gets_the_data() {
    let mut bed = Bed::healthy();
    bed.mount("pve1");
    bed.write("pve1", 512, "letters");
    bed.umount("pve1");
    bed.ok("pve3", "drbdadm down nfs1");
    bed.ok("pve3", "drbdadm create-md --force nfs1");
    bed.nodes.data.remove(&("pve3".into(), "/dev/vdb".into()));
    bed.ok("pve3", "drbdadm up nfs1");
    bed.pass(1_000);
    bed.is_as_recorded("41", &NODES, &[]);
    assert_eq!(bed.data("pve3"), None);
    bed.ok("pve3", "drbdsetup wait-sync-resource nfs1");
    bed.is_as_recorded("11", &NODES, &[]);
    assert_eq!(bed.data("pve3"), Some("letters"));
}

#[test]
fn invalidate_fetches_everything_again() {
    let mut bed = Bed::healthy();
    bed.ok("pve3", "drbdadm invalidate nfs1");
    bed.pass(300);
    // pve2 had not been asked yet when it was recorded.
    bed.is_as_recorded("24", &NODES, &["pve2/pve3", "status"]);
    bed.mount("pve1");
    let refused = bed.run("pve1", "drbdadm invalidate nfs1");
    assert_eq!((refused.rc, refused.stdout.as_str()), (11, ""));
    bed.umount("pve1");
    // A target may be promoted: it reads over the network.
    bed.fabric.open_rw(&mut bed.nodes, "pve3", 100, "mount").unwrap();
    assert_eq!(bed.ok("pve3", "drbdadm role nfs1").stdout, "Primary\n");
}

#[test]
fn a_grown_disk_is_taken_by_resize() {
    let mut bed = Bed::healthy();
    for disk in bed.nodes.disks.values_mut() {
        disk.size_bytes = 192 << 20;
    }
    assert_eq!(bed.ok("pve1", "drbdadm -d resize nfs1").stdout, "drbdsetup resize 100\ndrbdsetup check-resize 100\n");
    bed.ok("pve1", "drbdadm resize nfs1");
    assert!(bed.ok("pve1", "drbdadm status nfs1").stdout.contains("replication:SyncSource peer-disk:Inconsistent"));
    bed.pass(5_000);
    assert_eq!(bed.shown("pve2")["size_kib"], 196_560);
    assert_eq!(bed.shown("pve2")["disk"], "UpToDate");
}
