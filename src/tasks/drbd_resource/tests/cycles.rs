//! Whole lives of a resource, interrupted anywhere.

use super::*;

fn all_start(verdicts: &BTreeMap<String, String>, with: &str) {
    assert!(verdicts.len() == 3 && verdicts.values().all(|v| v.starts_with(with)), "{verdicts:#?}");
}

#[test]
fn from_blank_disks_to_up_to_date_without_a_sync() {
    let task = task(json!({ "first_sync": "skip" }));
    let mut cluster = Cluster::virgin();
    all_start(&cluster.verdicts(&task), "drift: write /etc/drbd.d/nfs1.res");
    let end = cluster.converge(&task, 20);
    all_start(&end, "ok: Secondary, UpToDate, connected to");
    let sources: Vec<&String> = cluster.log.iter().filter(|l| l.contains("new-current-uuid")).collect();
    assert_eq!(sources, ["pve1: drbdadm new-current-uuid --clear-bitmap nfs1/0"]);
    assert_eq!(cluster.log.iter().filter(|l| l.contains("create-md")).count(), 3);
    assert!(!cluster.log.iter().any(|l| l.contains("drbdadm up")));
    // Nothing is left to do.
    let before = cluster.log.len();
    all_start(&cluster.converge(&task, 20), "ok:");
    assert_eq!(cluster.log.len(), before);
}

/// What cannot be taken back is announced with the first stage, and is no warning any more once it is done.
#[test]
fn what_follows_is_announced() {
    for (first_sync, how) in [
        ("skip", "pve1 becomes the first source: the disks are declared equal, without a first sync"),
        ("full", "pve1 becomes the first source, to be copied to the others"),
    ] {
        let task = task(json!({ "first_sync": first_sync }));
        let mut cluster = Cluster::virgin();
        let verdicts = task.decide_all(&cluster.seen(&task));
        let then = "then: metadata is created on /dev/disk/by-id/d";
        assert_eq!(verdicts["pve1"].warnings, [format!("{then}1, which is blank; nfs1 is brought up; {how}")]);
        assert_eq!(verdicts["pve2"].warnings, [format!("{then}2, which is blank; nfs1 is brought up")]);
        cluster.converge(&task, 20);
        for verdict in task.decide_all(&cluster.seen(&task)).values() {
            assert!(!verdict.warnings.iter().any(|w| w.starts_with("then:")), "{:?}", verdict.warnings);
        }
    }
    let task = task(json!({}));
    let mut cluster = Cluster::healthy(&task);
    let node = cluster.node("pve2");
    (node.disk, node.state, node.uuid) = (Disk::Blank, "Diskless", FRESH);
    assert_eq!(task.decide_all(&cluster.seen(&task))["pve2"].warnings, ["then: the disk of nfs1 is attached"]);
}

#[test]
fn a_full_first_sync_and_the_wait_for_it() {
    let task = task(json!({ "first_sync": "full", "first_source": "pve2", "wait_for_sync": true }));
    let mut cluster = Cluster::virgin();
    let end = cluster.converge(&task, 20);
    assert_eq!(cluster.log.last().unwrap(), "pve2: drbdadm secondary nfs1");
    assert!(end["pve2"].starts_with("wait Fine: syncing to pve1: 5.0 %"), "{end:#?}");
    let verdicts = task.decide_all(&cluster.seen(&task));
    let Decision::Wait { fraction, .. } = verdicts["pve1"].decision else { panic!() };
    assert_eq!(fraction, Some(0.05));
    cluster.percent = None;
    for node in cluster.nodes.values_mut() {
        (node.uuid, node.state) = (0x1111, "UpToDate");
    }
    all_start(&cluster.converge(&task, 20), "ok:");
    // Without waiting the sync is fine as it is.
    cluster.node("pve1").state = "Inconsistent";
    cluster.percent = Some(50.0);
    let not_waiting = super::task(json!({}));
    let verdicts = cluster.verdicts(&not_waiting);
    assert!(verdicts["pve1"].contains("syncing from pve2: 50.0 %"), "{verdicts:#?}");
}

/// The process may die after any single step on any node; the next run goes on from there and ends the same.
#[test]
fn killed_after_any_step_it_ends_the_same() {
    for first_sync in ["skip", "full"] {
        let task = task(json!({ "first_sync": first_sync }));
        let mut whole = Cluster::virgin();
        whole.converge(&task, 20);
        let total = whole.log.len();
        for kill_after in 1..total {
            let mut cluster = Cluster::virgin();
            let mut left = kill_after;
            'run: for _ in 0..20 {
                let verdicts = task.decide_all(&cluster.seen(&task));
                for (host, verdict) in &verdicts {
                    for step in steps(verdict) {
                        if left == 0 {
                            break 'run;
                        }
                        cluster.perform(host, &step);
                        left -= 1;
                    }
                }
            }
            let end = cluster.converge(&task, 20);
            all_start(&end, "ok:");
            let sources = cluster.log.iter().filter(|l| l.contains("--force") || l.contains("new-current")).count();
            assert_eq!(sources, 1, "killed after {kill_after} of {total}: {:#?}", cluster.log);
            assert!(cluster.nodes.values().all(|n| n.role == "Secondary"), "{:#?}", cluster.log);
            assert_eq!(cluster.log.len(), total, "{:#?}", cluster.log);
        }
    }
}

/// What a check says in the middle of the work names exactly the hosts that an apply then changes.
#[test]
fn a_check_at_any_moment_predicts_who_changes() {
    let task = task(json!({ "first_sync": "skip" }));
    let mut cluster = Cluster::virgin();
    loop {
        let verdicts = task.decide_all(&cluster.seen(&task));
        let predicted: Vec<&String> = verdicts
            .iter()
            .filter(|(_, v)| {
                matches!(v.decision, Decision::Drift(_) | Decision::Wait { meanwhile: Meanwhile::Changes, .. })
            })
            .map(|(host, _)| host)
            .collect();
        let mut rest = cluster.clone();
        let from = rest.log.len();
        rest.converge(&task, 20);
        let changed: std::collections::BTreeSet<&str> =
            rest.log[from..].iter().map(|l| l.split(':').next().unwrap()).collect();
        assert_eq!(predicted, changed.into_iter().collect::<Vec<_>>(), "{:#?}", cluster.log);
        let Some((host, step)) =
            verdicts.iter().find_map(|(host, v)| Some((host.clone(), steps(v).into_iter().next()?)))
        else {
            break;
        };
        cluster.perform(&host, &step);
    }
    assert!(cluster.log.len() >= 10);
}

#[test]
fn a_replaced_disk_joins_as_a_target() {
    let task = task(json!({}));
    let mut cluster = Cluster::healthy(&task);
    let node = cluster.node("pve2");
    (node.disk, node.state, node.uuid) = (Disk::Blank, "Diskless", FRESH);
    let end = cluster.converge(&task, 20);
    assert_eq!(cluster.log, ["pve2: drbdadm create-md --max-peers=7 nfs1", "pve2: drbdadm adjust nfs1"]);
    assert!(end["pve2"].contains("syncing from pve1"), "{end:#?}");
}

use super::cluster::FRESH;

#[test]
fn a_node_that_was_rebooted_comes_up_by_adjust() {
    let task = task(json!({}));
    let mut cluster = Cluster::healthy(&task);
    cluster.node("pve3").up = false;
    all_start(&cluster.converge(&task, 20), "ok:");
    assert_eq!(cluster.log, ["pve3: drbdadm adjust nfs1"]);
}

/// A host that failed earlier in the run, or that `--limit` leaves out, is looked at; nobody waits for it to act.
#[test]
fn nobody_waits_for_a_host_that_cannot_act() {
    let task = task(json!({}));
    let mut cluster = Cluster::healthy(&task);
    cluster.node("pve3").up = false;
    let all = cluster.seen(&task);
    let among = |names: &[&str]| {
        let acting = names.iter().map(|n| (*n).to_owned()).collect();
        task.decide_among(&all, &acting).iter().map(|(host, v)| (host.clone(), told(v))).collect::<BTreeMap<_, _>>()
    };
    let with = among(&["pve1", "pve2", "pve3"]);
    assert!(with["pve1"].starts_with("wait Fine: pve3 is not as described yet"), "{with:#?}");
    let without = among(&["pve1", "pve2"]);
    assert!(without["pve1"].starts_with("ok: Secondary, UpToDate, connected to pve2"), "{without:#?}");
    assert!(without["pve2"].starts_with("ok: "), "{without:#?}");
    assert!(without["pve3"].contains("takes no further part in this run"), "{without:#?}");

    // No first source while it is not there, and no wait for it either.
    let mut cluster = Cluster::virgin();
    let acting: BTreeSet<String> = ["pve1", "pve2"].map(str::to_owned).into();
    for _ in 0..20 {
        for (host, verdict) in task.decide_among(&cluster.seen(&task), &acting) {
            for step in steps(&verdict).iter().filter(|_| acting.contains(&host)) {
                cluster.perform(&host, step);
            }
        }
    }
    let end = task.decide_among(&cluster.seen(&task), &acting);
    assert!(told(&end["pve1"]).starts_with("blocked: no first source is chosen"), "{}", told(&end["pve1"]));
    assert!(!cluster.log.iter().any(|l| l.contains("primary") || l.contains("new-current-uuid")));
}

#[test]
fn an_edited_file_is_put_right_and_one_that_only_looks_different_is_left() {
    let task = task(json!({}));
    let mut cluster = Cluster::healthy(&task);
    let text = task.text();
    cluster.node("pve2").file = Some(text.replace("io-error", "suspend-io"));
    let verdicts = cluster.verdicts(&task);
    assert_eq!(
        verdicts["pve2"],
        "drift: change /etc/drbd.d/nfs1.res: options on-no-quorum: suspend-io becomes io-error"
    );
    assert!(verdicts["pve1"].starts_with("wait Fine"), "{verdicts:#?}");
    all_start(&cluster.converge(&task, 20), "ok:");
    let looks_different =
        text.replace("    ", "\t").replace("on-no-quorum io-error;", "on-no-quorum    io-error; # mine");
    assert!(Cluster::diff(&text, &looks_different).contains("# mine"));
    cluster.node("pve2").file = Some(looks_different.clone());
    cluster.node("pve2").running = Some(looks_different);
    let before = cluster.log.len();
    all_start(&cluster.converge(&task, 20), "ok:");
    assert_eq!(cluster.log.len(), before);
}

#[test]
fn options_reach_the_running_resource() {
    let old = task(json!({}));
    let new = task(json!({ "net": { "max-buffers": "36k" } }));
    let mut cluster = Cluster::healthy(&old);
    all_start(&cluster.verdicts(&new), "drift: change /etc/drbd.d/nfs1.res: net max-buffers: (default) becomes 36k");
    all_start(&cluster.converge(&new, 20), "ok:");
    assert_eq!(cluster.log.iter().filter(|l| l.contains("adjust")).count(), 3);
}

#[test]
fn a_role_nobody_uses_is_given_back_and_one_in_use_is_left() {
    let task = task(json!({}));
    let mut cluster = Cluster::healthy(&task);
    cluster.node("pve1").role = "Primary";
    cluster.node("pve1").openers = 1;
    all_start(&cluster.converge(&task, 20), "ok:");
    cluster.node("pve1").openers = 0;
    all_start(&cluster.converge(&task, 20), "ok:");
    assert_eq!(cluster.log, ["pve1: drbdadm secondary nfs1"]);
}

#[test]
fn down_and_up_again() {
    let task_down = task(json!({ "state": "down" }));
    let mut cluster = Cluster::healthy(&task_down);
    all_start(&cluster.converge(&task_down, 20), "ok: down");
    assert_eq!(cluster.log.len(), 3);
    all_start(&cluster.converge(&task(json!({})), 20), "ok:");
}

#[test]
fn a_host_outside_of_the_resource_is_left_alone() {
    let task = task(json!({}));
    let mut all = Cluster::healthy(&task).seen(&task);
    let mut extra = all["pve1"].clone().unwrap();
    (extra.uname, extra.inventory_name, extra.file) = ("pve4".into(), "pve4".into(), None);
    all.insert("pve4".into(), Ok(extra));
    assert_eq!(told(&task.decide_all(&all)["pve4"]), "ok: not a host of nfs1");
}
