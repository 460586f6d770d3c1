//! Everything that must not happen, each with the words a person gets.

use super::*;

/// Applies as far as it goes and expects that `host` is blocked with `says`, and that nothing forbidden was run.
#[track_caller]
fn refused(task: &DrbdResource, cluster: &mut Cluster, host: &str, says: &str) {
    let end = cluster.converge(task, 20);
    let words = &end[host];
    assert!(words.starts_with("blocked: ") && words.contains(says), "{end:#?}\n{:#?}", cluster.log);
    let forbidden = |l: &&String| l.contains("--force") || l.contains("new-current-uuid");
    assert_eq!(cluster.log.iter().filter(forbidden).count(), 0, "{:#?}", cluster.log);
}

#[test]
fn metadata_is_never_created_over_anything() {
    let task = task(json!({}));
    for (disk, says) in [
        (Disk::Holds("ext4, UUID 1".into()), "is not empty: it holds ext4, UUID 1"),
        (Disk::Holds("partition table gpt".into()), "it holds partition table gpt"),
        (Disk::Holds("LVM2_member".into()), "it holds LVM2_member"),
        (Disk::CannotTell("blkid ended with 2: No medium".into()), "cannot be told: blkid ended with 2"),
        (Disk::Metadata { version: "v08".into() }, "metadata v08"),
        (Disk::Missing, "is not there"),
    ] {
        let mut cluster = Cluster::virgin();
        cluster.node("pve2").disk = disk;
        refused(&task, &mut cluster, "pve2", says);
        // Without the third nobody can become the source: nothing is begun on the others either.
        assert_eq!(cluster.log, Vec::<String>::new());
        let others = cluster.verdicts(&task);
        for host in ["pve1", "pve3"] {
            assert!(others[host].starts_with("blocked: no first source is chosen"), "{others:#?}");
            assert!(others[host].contains("pve2 cannot tell (") && others[host].contains(says), "{others:#?}");
        }
    }
}

#[test]
fn metadata_of_another_host_is_not_taken() {
    let task = task(json!({}));
    let cluster = Cluster::healthy(&task);
    let mut all = cluster.seen(&task);
    let seen = all.get_mut("pve2").unwrap().as_mut().unwrap();
    let runtime = seen.runtime.as_mut().unwrap();
    runtime.status = Ok(None);
    runtime.md_node_ids.insert(0, 7);
    let words = told(&task.decide_all(&all)["pve2"]);
    assert!(words.contains("was written for node-id 7, not 1"), "{words}");
}

#[test]
fn no_first_source_while_a_node_is_silent_or_may_have_data() {
    let task = task(json!({}));
    let mut cluster = Cluster::virgin();
    cluster.node("pve3").reachable = false;
    refused(
        &task,
        &mut cluster,
        "pve1",
        "no first source is chosen for nfs1, because a host may have newer data: pve3",
    );

    // One with data: the others join it, whoever is elected.
    let mut cluster = Cluster::virgin();
    let node = cluster.node("pve3");
    (node.disk, node.uuid) = (Disk::Metadata { version: "v09".into() }, 0xABCD);
    let end = cluster.converge(&task, 20);
    assert!(!cluster.log.iter().any(|l| l.contains("--force")), "{:#?}", cluster.log);
    assert!(end["pve1"].contains("syncing from pve3"), "{end:#?}");

    // One whose generation cannot be read.
    let mut ready = Cluster::virgin();
    ready.converge(&super::task(json!({ "first_sync": "none" })), 20);
    let mut all = ready.seen(&task);
    let seen = all.get_mut("pve2").unwrap().as_mut().unwrap();
    seen.runtime.as_mut().unwrap().generations.insert(0, Err("get-gi printed nothing".into()));
    let words = told(&task.decide_all(&all)["pve1"]);
    assert!(words.contains("pve2 cannot tell (get-gi printed nothing)"), "{words}");
}

#[test]
fn no_first_source_before_all_are_connected() {
    let task = task(json!({}));
    let mut cluster = Cluster::virgin();
    cluster.converge(&super::task(json!({ "first_sync": "none" })), 20);
    cluster.link("pve2", "pve3", ["Connecting", "Connecting"]);
    let words = cluster.verdicts(&task);
    assert_eq!(words["pve1"], "wait Trouble: pve2 is not connected to pve3 (Connecting)");
    cluster.links.clear();
    cluster.node("pve2").role = "Primary";
    cluster.node("pve2").openers = 1;
    assert!(cluster.verdicts(&task)["pve1"].contains("pve2 is Primary though nobody has data"));
    cluster.node("pve2").role = "Secondary";
    assert!(cluster.verdicts(&task)["pve1"].starts_with("drift: make pve1 the first source"));
    assert!(cluster.verdicts(&task)["pve2"].starts_with("wait Fine"));
}

#[test]
fn first_sync_none_leaves_it_to_a_person() {
    let task = task(json!({ "first_sync": "none" }));
    let mut cluster = Cluster::virgin();
    let end = cluster.converge(&task, 20);
    assert!(end.values().all(|v| v.starts_with("ok: up and connected, without data")), "{end:#?}");
    let verdicts = task.decide_all(&cluster.seen(&task));
    assert!(verdicts["pve1"].warnings.iter().any(|w| w.contains("until somebody makes one host the first source")));
}

#[test]
fn a_live_resource_keeps_its_identity() {
    let old = task(json!({}));
    for (change, says) in [
        (json!({ "on": { "pve1": { "node_id": 1 }, "pve2": { "node_id": 0 } } }), "pve1: node-id 0 becomes 1"),
        (
            json!({ "on": { "pve1": { "disk": "/dev/disk/by-id/d2" }, "pve2": { "disk": "/dev/disk/by-id/d1" } } }),
            "disk of volume 0 /dev/disk/by-id/d1 becomes /dev/disk/by-id/d2",
        ),
        (json!({ "device": "/dev/drbd101" }), "minor of volume 0 100 becomes 101"),
        (json!({ "meta_disk": "/dev/vg/md" }), "metadata internal moves to /dev/vg/md"),
    ] {
        let new = task(change);
        let mut cluster = Cluster::healthy(&old);
        refused(&new, &mut cluster, "pve1", says);
        assert_eq!(cluster.log, Vec::<String>::new());
        // Also when it is down on all nodes: the data is still there.
        for node in cluster.nodes.values_mut() {
            node.up = false;
        }
        refused(&new, &mut cluster, "pve1", says);
        // And when one node cannot be asked whether it is.
        let mut cluster = Cluster::virgin();
        cluster.node("pve1").file = Some(old.text());
        cluster.node("pve3").reachable = false;
        refused(&new, &mut cluster, "pve1", "pve3 cannot be asked");
        assert_eq!(cluster.log, Vec::<String>::new());
    }
    // With blank disks and nothing up, the file was only a plan.
    let new = task(json!({ "on": { "pve1": { "node_id": 1 }, "pve2": { "node_id": 0 } } }));
    let mut cluster = Cluster::virgin();
    for node in cluster.nodes.values_mut() {
        node.file = Some(old.text());
    }
    let verdicts = cluster.verdicts(&new);
    assert!(verdicts["pve1"].starts_with("drift: change"), "{verdicts:#?}");
    let end = cluster.converge(&new, 20);
    assert!(end["pve1"].starts_with("ok:") || end["pve1"].contains("Secondary"), "{end:#?}");
}

#[test]
fn a_lost_file_is_checked_against_the_running_resource() {
    let old = task(json!({}));
    let mut cluster = Cluster::healthy(&old);
    cluster.node("pve2").file = None;
    assert_eq!(cluster.verdicts(&old)["pve2"], "drift: write /etc/drbd.d/nfs1.res");
    for node in cluster.nodes.values_mut() {
        node.file = None;
    }
    let moved = task(json!({ "device": "/dev/drbd101" }));
    refused(&moved, &mut cluster, "pve1", "minor of volume 0 100 becomes 101");
}

#[test]
fn split_brain_is_for_a_person() {
    let task = task(json!({}));
    let mut cluster = Cluster::healthy(&task);
    cluster.link("pve1", "pve2", ["StandAlone", "StandAlone"]);
    for (name, uuid) in [("pve1", 0x8ECE_64FF_E530_7A67), ("pve2", 0x7809_DE0B_B93C_24F1)] {
        (cluster.node(name).uuid, cluster.node(name).past) = (uuid, [0x4AC3_A4F8_7455_32CA, 0]);
    }
    refused(&task, &mut cluster, "pve1", "split brain between pve1 and pve2");
    refused(&task, &mut cluster, "pve2", "drbdadm connect --discard-my-data nfs1");
    assert_eq!(cluster.log, Vec::<String>::new());
    // No common past at all.
    cluster.node("pve2").past = [0x1234_5678, 0];
    refused(&task, &mut cluster, "pve1", "no common past");
    // The other side is silent.
    cluster.node("pve2").reachable = false;
    refused(&task, &mut cluster, "pve1", "it may be a split brain");
}

#[test]
fn a_lost_handshake_is_reconnected() {
    let task = task(json!({}));
    let mut cluster = Cluster::healthy(&task);
    cluster.link("pve3", "pve1", ["StandAlone", "Connecting"]);
    let verdicts = cluster.verdicts(&task);
    assert_eq!(verdicts["pve3"], "drift: complete nfs1: connect");
    let end = cluster.converge(&task, 20);
    assert!(end.values().all(|v| v.starts_with("ok:")), "{end:#?}");
}

#[test]
fn connections_are_not_cut_under_a_primary() {
    let old = task(json!({}));
    // Only the link to pve3 is cut: two of three stay together.
    let new = task(json!({ "on": { "pve3": { "address": "192.168.2.23:7000" } } }));
    let mut cluster = Cluster::healthy(&old);
    (cluster.node("pve1").role, cluster.node("pve1").openers) = ("Primary", 1);
    for node in cluster.nodes.values_mut() {
        node.file = Some(new.text());
    }
    assert!(cluster.verdicts(&new)["pve1"].starts_with("drift: adjust nfs1, interrupting"));
    // With pve2 away nothing would be left.
    cluster.link("pve1", "pve2", ["Connecting", "Connecting"]);
    refused(&new, &mut cluster, "pve1", "pve1 is Primary and would lose quorum");
    // A silent node may be the Primary.
    cluster.node("pve2").reachable = false;
    refused(&new, &mut cluster, "pve1", "cannot be asked whether it is Primary");
    // The Primary reads over the network from pve3 alone.
    let no_quorum =
        task(json!({ "options": { "quorum": "off" }, "on": { "pve3": { "address": "192.168.2.23:7000" } } }));
    let mut cluster = Cluster::healthy(&no_quorum);
    for node in cluster.nodes.values_mut() {
        node.running = Some(no_quorum.text().replace("192.168.2.23", "192.168.2.13"));
    }
    (cluster.node("pve1").role, cluster.node("pve1").state) = ("Primary", "Inconsistent");
    cluster.node("pve2").state = "Inconsistent";
    let words = cluster.verdicts(&no_quorum);
    assert!(words["pve1"].contains("lose the last connection to one"), "{words:#?}");
}

/// What cannot take effect is not written either: neither a check nor an apply gets as far as the file.
#[test]
fn a_file_that_must_not_take_effect_is_not_written() {
    let old = task(json!({}));
    let port = |name: &str| json!({ name: { "address": format!("192.168.2.1{}:7007", &name[3..]) } });
    let all = ["pve1", "pve2", "pve3"].map(port).into_iter().fold(json!({}), |mut all, one| {
        merge(&mut all, one);
        all
    });
    for change in [port("pve1"), all] {
        let new = task(json!({ "on": change }));
        let mut cluster = Cluster::healthy(&old);
        (cluster.node("pve1").role, cluster.node("pve1").openers) = ("Primary", 1);
        let words = cluster.verdicts(&new);
        for host in ["pve1", "pve2", "pve3"] {
            assert!(words[host].starts_with("blocked: pve1 is Primary and would lose quorum"), "{words:#?}");
        }
        refused(&new, &mut cluster, "pve1", "stop what uses nfs1 first");
        assert_eq!(cluster.log, Vec::<String>::new());
        // Once nobody uses it, it is written and takes effect.
        (cluster.node("pve1").role, cluster.node("pve1").openers) = ("Secondary", 0);
        let end = cluster.converge(&new, 20);
        assert!(end.values().all(|v| v.starts_with("ok:")), "{end:#?}");
    }
    // Two of three stay together: pve3 may move.
    let mut cluster = Cluster::healthy(&old);
    (cluster.node("pve1").role, cluster.node("pve1").openers) = ("Primary", 1);
    let words = cluster.verdicts(&task(json!({ "on": port("pve3") })));
    assert!(words["pve1"].starts_with("drift: change"), "{words:#?}");
    // A port edited in the file alone is put right under a Primary: nothing that runs has it.
    let mut cluster = Cluster::healthy(&old);
    (cluster.node("pve1").role, cluster.node("pve1").openers) = ("Primary", 1);
    for node in cluster.nodes.values_mut() {
        node.file = Some(old.text().replace(":7000", ":7007"));
    }
    let mut all = cluster.seen(&old);
    for seen in all.values_mut().map(|seen| seen.as_mut().unwrap()) {
        let cut: String = (0..3).map(|id| format!("drbdsetup disconnect nfs1 {id}\n")).collect();
        seen.runtime.as_mut().unwrap().plan = Some(Ok(plan::parse(&cut)));
    }
    let words = told(&old.decide_all(&all)["pve1"]);
    assert!(words.starts_with("drift: change"), "{words}");
    // Quorum under a Primary that is alone.
    let old = task(json!({ "options": { "quorum": "off" } }));
    let mut cluster = Cluster::healthy(&old);
    cluster.node("pve1").role = "Primary";
    for peer in ["pve2", "pve3"] {
        cluster.link("pve1", peer, ["Connecting", "Connecting"]);
    }
    refused(&task(json!({})), &mut cluster, "pve1", "with quorum its I/O would stop at once");
    assert_eq!(cluster.log, Vec::<String>::new());
}

#[test]
fn quorum_is_not_switched_on_under_a_lonely_primary() {
    let old = task(json!({ "options": { "quorum": "off" } }));
    let new = task(json!({}));
    let cluster = Cluster::healthy(&old);
    let mut all = cluster.seen(&new);
    let seen = all.get_mut("pve1").unwrap().as_mut().unwrap();
    seen.file.as_mut().unwrap().text = new.text();
    let runtime = seen.runtime.as_mut().unwrap();
    runtime.plan = Some(Ok(plan::parse("drbdsetup resource-options nfs1 --set-defaults --quorum=majority\n")));
    let status = runtime.status.as_mut().unwrap().as_mut().unwrap();
    status.role = crate::drbd::words::Role::Primary;
    for connection in &mut status.connections {
        connection.connection_state = crate::drbd::words::ConnectionState::Connecting;
    }
    let words = told(&new.decide_all(&all)["pve1"]);
    assert!(words.contains("with quorum its I/O would stop at once"), "{words}");
}

#[test]
fn dangerous_adjustments_are_shown_and_not_made() {
    let task = task(json!({}));
    let mut cluster = Cluster::healthy(&task);
    cluster.node("pve1").running = Some(task.text().replace("drbd100", "drbd101"));
    refused(&task, &mut cluster, "pve1", "drbdsetup del-minor 100");
    assert_eq!(cluster.log, Vec::<String>::new());
}

#[test]
fn down_is_refused_while_in_use_or_unknown() {
    let down = task(json!({ "state": "down" }));
    let mut cluster = Cluster::healthy(&down);
    cluster.node("pve2").role = "Primary";
    refused(&down, &mut cluster, "pve1", "pve2 is Primary");
    cluster.node("pve2").role = "Secondary";
    cluster.node("pve3").reachable = false;
    refused(&down, &mut cluster, "pve1", "may be in use on pve3");
    assert_eq!(cluster.log, Vec::<String>::new());
}

#[test]
fn what_is_wrong_with_a_running_resource_is_named() {
    let task = task(json!({}));
    // A link that stays cut.
    let mut cluster = Cluster::healthy(&task);
    cluster.link("pve1", "pve3", ["Connecting", "Connecting"]);
    let words = cluster.verdicts(&task);
    assert!(words["pve1"].starts_with("wait Trouble: pve1 is not connected to pve3"), "{words:#?}");
    assert!(words["pve2"].starts_with("ok:"), "{words:#?}");
    // A node that is off: the others say so and are fine.
    let mut cluster = Cluster::healthy(&task);
    cluster.node("pve3").reachable = false;
    let verdicts = task.decide_all(&cluster.seen(&task));
    assert!(told(&verdicts["pve1"]).starts_with("ok:"));
    assert!(verdicts["pve1"].warnings.iter().any(|w| w.contains("pve3 is not connected")), "{:?}", verdicts["pve1"]);
    assert!(told(&verdicts["pve3"]).contains("no route to host"));
    // Two nodes off: no quorum.
    cluster.node("pve2").reachable = false;
    refused(&task, &mut cluster, "pve1", "has no quorum here");
    // A disk that failed.
    let mut cluster = Cluster::healthy(&task);
    cluster.node("pve2").state = "Failed";
    refused(&task, &mut cluster, "pve2", "the disk of volume 0 failed");
    // A word of tomorrow.
    let mut cluster = Cluster::healthy(&task);
    cluster.node("pve2").state = "HalfFull";
    refused(&task, &mut cluster, "pve2", "does not know");
}

#[test]
fn a_drift_elsewhere_hides_no_trouble() {
    let task = task(json!({}));
    let edited = task.text().replace("io-error", "suspend-io");
    for host in ["pve1", "pve2"] {
        let mut cluster = Cluster::healthy(&task);
        cluster.link("pve1", "pve3", ["Connecting", "Connecting"]);
        let alone = cluster.verdicts(&task);
        cluster.node(host).file = Some(edited.clone());
        let verdicts = task.decide_all(&cluster.seen(&task));
        let words = cluster.verdicts(&task);
        assert!(words[host].starts_with("drift: change"), "{words:#?}");
        assert_eq!(words["pve3"], alone["pve3"]);
        if host == "pve1" {
            let what = alone["pve1"].trim_start_matches("wait Trouble: ");
            assert!(verdicts["pve1"].warnings.iter().any(|w| w == what), "{:?}", verdicts["pve1"].warnings);
            assert!(words["pve2"].starts_with("wait Fine"), "{words:#?}");
        } else {
            assert_eq!(words["pve1"], alone["pve1"]);
        }
    }
    // A disk that is attached again brings no other host up to date.
    let mut cluster = Cluster::healthy(&task);
    cluster.node("pve3").state = "Outdated";
    cluster.node("pve2").state = "Diskless";
    let words = cluster.verdicts(&task);
    assert!(words["pve2"].starts_with("drift: "), "{words:#?}");
    assert!(words["pve3"].starts_with("wait Trouble: nfs1: "), "{words:#?}");
}

#[test]
fn names_minors_addresses_and_disks_of_others() {
    let mine = task(json!({}));
    let other = |change: Json| {
        let mut other = task(change);
        other.name = "other".into();
        other.text()
    };
    let apart = json!({ "device": "/dev/drbd7", "on": {
        "pve1": { "address": "192.168.2.11:7007", "disk": "/dev/x1" },
        "pve2": { "address": "192.168.2.12:7007", "disk": "/dev/x2" },
        "pve3": { "address": "192.168.2.13:7007", "disk": "/dev/x3" } } });
    let with = |change: Json| {
        let mut all = apart.clone();
        merge(&mut all, change);
        other(all)
    };
    for (text, says) in [
        (with(json!({})), ""),
        (with(json!({ "device": "/dev/drbd100" })), "minor 100 is used by resource other (/etc/drbd.d/other.res)"),
        (
            with(json!({ "on": { "pve1": { "address": "192.168.2.11:7000" } } })),
            "address ipv4 192.168.2.11:7000 is used by",
        ),
        (with(json!({ "on": { "pve1": { "disk": "/dev/disk/by-id/d1" } } })), "/dev/disk/by-id/d1 is used by"),
        (
            with(json!({})).replace("resource other", "resource nfs1"),
            "nfs1 is defined in /etc/drbd.d/other.res already",
        ),
    ] {
        let mut cluster = Cluster::virgin();
        cluster.node("pve1").others = vec![("/etc/drbd.d/other.res".into(), text.clone())];
        let words = cluster.verdicts(&mine);
        if says.is_empty() {
            assert!(words["pve1"].starts_with("drift: write"), "{words:#?}");
        } else {
            assert!(words["pve1"].starts_with("blocked: ") && words["pve1"].contains(says), "{words:#?}");
        }
    }
    let mut cluster = Cluster::healthy(&mine);
    cluster.node("pve1").others = vec![("/etc/drbd.d/bad.res".into(), "resource x {".into())];
    let verdicts = mine.decide_all(&cluster.seen(&mine));
    assert!(verdicts["pve1"].warnings[0].contains("/etc/drbd.d/bad.res"), "{:?}", verdicts["pve1"].warnings);
}

#[test]
fn the_host_is_who_the_file_says() {
    let task = task(json!({}));
    let mut all = Cluster::virgin().seen(&task);
    all.get_mut("pve2").unwrap().as_mut().unwrap().uname = "pve2.example.org".into();
    let words = told(&task.decide_all(&all)["pve2"]);
    assert!(words.contains("uname -n says pve2.example.org"), "{words}");
    let mut all = Cluster::virgin().seen(&task);
    all.remove("pve3");
    let words = told(&task.decide_all(&all)["pve1"]);
    assert!(words.contains("pve3 is in `on` of nfs1, but not among the hosts of this play"), "{words}");
}

#[test]
fn without_drbd_9_it_says_what_must_come_first() {
    let task = task(json!({}));
    for (module, says) in [(None, "is not loaded"), (Some("8.4.11"), "DRBD 8.4.11 is loaded, and 9 is needed")] {
        let mut cluster = Cluster::virgin();
        for node in cluster.nodes.values_mut() {
            (node.module, node.file) = (module.map(str::to_owned), Some(task.text()));
        }
        refused(&task, &mut cluster, "pve1", says);
    }
}

#[test]
fn stable_names_are_offered() {
    let task = task(json!({ "on": { "pve1": { "disk": "/dev/nvme0n1p1" } } }));
    let mut all = Cluster::virgin().seen(&task);
    let seen = all.get_mut("pve1").unwrap().as_mut().unwrap();
    seen.stable_names
        .insert("/dev/nvme0n1p1".into(), vec!["/dev/disk/by-partuuid/1".into(), "/dev/disk/by-id/2".into()]);
    let warnings = &task.decide_all(&all)["pve1"].warnings;
    let wanted =
        "/dev/nvme0n1p1 may be another disk after the next boot; use /dev/disk/by-partuuid/1 or /dev/disk/by-id/2";
    assert!(warnings.iter().any(|w| w == wanted), "{warnings:?}");
}
