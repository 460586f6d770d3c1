//! The simulated DRBD inside a whole lab: packages, files, mounts, power, and the faults that can be caused.

use crate::host::{Host, Output, Step};
use crate::lab::drbd::{self, BREAKS};
use crate::lab::{Lab, base};

const NODES: [&str; 3] = ["pve1", "pve2", "pve3"];

fn run(lab: &Lab, host: &str, line: &str) -> Output {
    lab.run_line(host, line).expect("the lab works")
}

#[track_caller]
fn ok(lab: &Lab, host: &str, line: &str) -> String {
    let output = run(lab, host, line);
    assert_eq!(output.rc, 0, "{host}: {line}: {}{}", output.stdout, output.stderr);
    output.stdout
}

fn resource() -> String {
    let on = |i: u32| {
        format!(
            "  on pve{i} {{ node-id {}; address {}:7000; disk /dev/disk/by-partuuid/{}; }}\n",
            i - 1,
            base::drbd_address(i),
            base::partuuid(i)
        )
    };
    format!(
        "resource nfs1 {{\n  device /dev/drbd100;\n  meta-disk internal;\n  options {{ quorum majority; on-no-quorum io-error; }}\n\
         {}{}{}  connection-mesh {{ hosts pve1 pve2 pve3; }}\n}}\n",
        on(1),
        on(2),
        on(3)
    )
}

/// DRBD from LINBIT on all nodes, one resource in sync, a file system on it.
fn cluster() -> (tempfile::TempDir, Lab) {
    let dir = tempfile::tempdir().expect("a directory");
    let lab = Lab::open(dir.path().join("lab")).expect("a lab");
    let source = "Types: deb\nURIs: http://packages.linbit.com/proxmox/\nSuites: proxmox-9\nComponents: drbd-9\nSigned-By: /etc/apt/keyrings/linbit.asc\n";
    for node in NODES {
        assert!(
            lab.run_line(node, "drbdadm status").is_err() || run(&lab, node, "drbdadm status").rc == 127,
            "not installed yet"
        );
        ok(
            &lab,
            node,
            "curl -fsSL -o /etc/apt/keyrings/linbit.asc https://packages.linbit.com/package-signing-pubkey.asc",
        );
        lab.node(node).unwrap().perform(&Step::write("/etc/apt/sources.list.d/linbit.sources", source)).unwrap();
        ok(&lab, node, "apt-get update");
        ok(&lab, node, "apt-get -y install proxmox-headers-6.17.4-1-pve drbd-dkms drbd-utils");
        lab.node(node).unwrap().perform(&Step::write("/etc/drbd.d/nfs1.res", resource())).unwrap();
        ok(&lab, node, "drbdadm create-md --max-peers=7 nfs1");
        ok(&lab, node, "drbdadm adjust nfs1");
    }
    (dir, lab)
}

fn synced() -> (tempfile::TempDir, Lab) {
    let (dir, lab) = cluster();
    ok(&lab, "pve1", "drbdadm primary --force nfs1");
    ok(&lab, "pve1", "drbdadm secondary nfs1");
    for node in NODES {
        ok(&lab, node, "drbdsetup wait-sync-resource nfs1");
    }
    ok(&lab, "pve1", "mkfs.ext4 -O mmp -E mmp_update_interval=5 /dev/drbd100");
    (dir, lab)
}

fn up(lab: &Lab) {
    lab.with(|world| {
        for node in NODES {
            assert_eq!(drbd::minors(world, node), [100]);
        }
    })
    .unwrap();
}

#[test]
fn from_packages_to_files_that_follow_the_role() {
    let (_dir, lab) = cluster();
    up(&lab);
    let json = ok(&lab, "pve1", "drbdsetup status --json");
    let status = crate::drbd::status::parse(&json).unwrap();
    assert_eq!(status[0].connections.len(), 2);
    assert!(
        json.contains("\"open\": false") && json.contains("\"established\": true"),
        "tools of 9.34 say more: {json}"
    );
    assert!(ok(&lab, "pve1", "drbdadm --version").contains("DRBDADM_VERSION=9.34.0\n"));
    ok(&lab, "pve1", "drbdadm primary --force nfs1");
    let progress = ok(&lab, "pve1", "drbdadm status nfs1");
    assert!(progress.contains("replication:SyncSource peer-disk:Inconsistent done:"), "{progress}");
    ok(&lab, "pve1", "drbdadm secondary nfs1");
    ok(&lab, "pve1", "drbdsetup wait-sync-resource nfs1");
    ok(&lab, "pve1", "mkfs.ext4 -O mmp -E mmp_update_interval=5 /dev/drbd100");
    ok(&lab, "pve1", "mount /dev/drbd100 /mnt");
    assert_eq!(ok(&lab, "pve1", "drbdadm role nfs1"), "Primary\n");
    lab.node("pve1").unwrap().perform(&Step::write("/mnt/letter", "from pve1\n")).unwrap();
    assert_ne!(run(&lab, "pve2", "mount /dev/drbd100 /mnt").rc, 0);
    ok(&lab, "pve1", "umount /mnt");
    ok(&lab, "pve2", "mount /dev/drbd100 /mnt");
    assert_eq!(ok(&lab, "pve2", "cat /mnt/letter"), "from pve1\n");
    assert!(ok(&lab, "pve2", "cat /sys/kernel/debug/drbd/resources/nfs1/volumes/0/openers").contains("+mount\t"));
    ok(&lab, "pve2", "umount /mnt");
    assert_eq!(ok(&lab, "pve2", "drbdadm role nfs1"), "Secondary\n");
    assert_eq!(ok(&lab, "pve3", "blkid -p -s TYPE -o value /dev/nvme0n1p1"), "drbd\n");
}

#[test]
fn looking_at_a_cluster_at_rest_writes_nothing() {
    let (dir, lab) = synced();
    let state = dir.path().join("lab/state.json");
    let inode = |p: &std::path::Path| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(p).unwrap());
    ok(&lab, "pve1", "drbdsetup status --json");
    let before = (inode(&state), std::fs::read(&state).unwrap());
    ok(&lab, "pve1", "drbdsetup status --json");
    ok(&lab, "pve2", "drbdadm -d adjust nfs1");
    assert_eq!((inode(&state), std::fs::read(&state).unwrap()), before);
}

fn status(lab: &Lab, node: &str) -> String {
    ok(lab, node, "drbdadm status nfs1")
}

fn cause(lab: &Lab, name: &str) -> String {
    let one = BREAKS.iter().find(|b| b.name == name).expect("a fault of that name");
    lab.with(one.cause).unwrap().unwrap_or_else(|why| panic!("{name}: {why}"))
}

#[test]
fn every_fault_needs_something_to_break_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::open(dir.path().join("lab")).unwrap();
    for one in BREAKS {
        let refused = lab.with(one.cause).unwrap().unwrap_err();
        assert!(refused.contains("no DRBD resource is up"), "{}: {refused}", one.name);
    }
}

#[test]
fn split_brain_leaves_both_sides_alone_with_their_own_files() {
    let (_dir, lab) = synced();
    ok(&lab, "pve1", "mount /dev/drbd100 /mnt");
    lab.node("pve1").unwrap().perform(&Step::write("/mnt/before", "shared\n")).unwrap();
    let said = cause(&lab, "split-brain");
    assert!(said.contains("pve3 and pve1 wrote"), "{said}");
    assert!(status(&lab, "pve1").contains("pve3 connection:StandAlone"), "{}", status(&lab, "pve1"));
    assert!(status(&lab, "pve3").contains("pve1 connection:StandAlone"));
    lab.node("pve1").unwrap().perform(&Step::write("/mnt/after", "pve1\n")).unwrap();
    ok(&lab, "pve3", "mount /dev/drbd100 /mnt");
    assert_eq!(ok(&lab, "pve3", "cat /mnt/before"), "shared\n");
    assert_ne!(run(&lab, "pve3", "cat /mnt/after").rc, 0, "the sides share no files any more");
    assert!(
        ok(&lab, "pve1", "drbdadm -d adjust nfs1").contains("resource-options nfs1 --set-defaults --quorum=majority")
    );
}

#[test]
fn the_other_faults_show_on_the_nodes_they_concern() {
    let (_dir, lab) = synced();
    ok(&lab, "pve1", "mount /dev/drbd100 /mnt");
    cause(&lab, "disk-failed");
    assert!(status(&lab, "pve3").contains("disk:Diskless"));
    ok(&lab, "pve3", "drbdadm adjust nfs1");
    ok(&lab, "pve3", "drbdsetup wait-sync-resource nfs1");
    assert!(status(&lab, "pve3").starts_with("nfs1 role:Secondary\n  disk:UpToDate\n"));
    cause(&lab, "peer-outdated");
    assert!(status(&lab, "pve3").contains("disk:Outdated"), "{}", status(&lab, "pve3"));
    cause(&lab, "link-cut");
    assert!(status(&lab, "pve1").contains("pve3 connection:Connecting"));
    lab.with(drbd::mend_links).unwrap();
    ok(&lab, "pve3", "drbdsetup wait-sync-resource nfs1");
    cause(&lab, "held-primary");
    ok(&lab, "pve1", "umount /mnt");
    assert_eq!(ok(&lab, "pve1", "drbdadm role nfs1"), "Primary\n");
    let held = run(&lab, "pve1", "drbdadm secondary nfs1");
    assert!(held.rc == 11 && held.stderr.contains("drbd100 opened by mount (pid "), "{held:?}");
    cause(&lab, "node-isolated");
    assert!(status(&lab, "pve1").contains("quorum:no"));
    assert!(!status(&lab, "pve2").contains("quorum:no"));
}

#[test]
fn a_node_that_boots_joins_again_when_it_is_adjusted() {
    let (_dir, lab) = synced();
    lab.with(|world| {
        world.node_mut("pve3").off = true;
        drbd::node_off(world, "pve3");
    })
    .unwrap();
    assert!(status(&lab, "pve1").contains("pve3 connection:Connecting"));
    lab.with(|world| {
        world.node_mut("pve3").off = false;
        drbd::node_on(world, "pve3");
    })
    .unwrap();
    ok(&lab, "pve3", "drbdadm adjust nfs1");
    assert!(status(&lab, "pve1").contains("pve3 role:Secondary\n    peer-disk:UpToDate"));
}
