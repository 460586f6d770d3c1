use super::*;
use crate::engine;
use crate::host::{Host, Local};
use crate::tasks::Decision;
use crate::wire::Status;
use serde_json::{Value as Json, json};
use std::path::Path;
use std::process::Command;

fn task(json: Json) -> Filesystem {
    let task: Filesystem = serde_json::from_value(json).unwrap();
    assert_eq!(Task::check_args(&task), []);
    task
}

fn on_drbd() -> Filesystem {
    task(json!({"dev": "/dev/drbd100", "fstype": "ext4", "opts": "-O mmp -E mmp_update_interval=5"}))
}

fn seen(content: Content, replica: Option<Replica>) -> Seen {
    Seen { kind: Some(FileKind::BlockDevice), resolved: "/dev/drbd100".into(), content, replica }
}

#[test]
fn what_blkid_says() {
    let output = |rc, stdout: &str, stderr: &str| Output { rc, stdout: stdout.into(), stderr: stderr.into() };
    for (answer, content) in [
        (output(2, "", ""), Content::Nothing),
        (output(0, "DEVNAME=/dev/x\nTYPE=ext4\nUSAGE=filesystem\n", ""), Content::Type("ext4".into())),
        (output(0, "DEVNAME=/dev/x\nPTUUID=1\nPTTYPE=gpt\n", ""), Content::Partitions("gpt".into())),
        (
            output(2, "", "blkid: error: /dev/drbd100: Wrong medium type\n"),
            Content::Unknown("blkid: error: /dev/drbd100: Wrong medium type".into()),
        ),
    ] {
        assert_eq!(understand(&answer), content);
    }
    assert!(matches!(understand(&output(8, "", "")), Content::Unknown(_)));
    assert!(matches!(understand(&output(4, "", "usage")), Content::Unknown(_)));
    assert!(matches!(understand(&output(0, "DEVNAME=/dev/x\n", "")), Content::Unknown(_)));
}

#[test]
fn only_certain_emptiness_is_written_on() {
    let good = Replica { obstacle: None, peers: vec!["pve2".into()], below: None };
    let not_here = Replica { obstacle: Some("pve2 uses it (Primary)".into()), peers: Vec::new(), below: None };
    let below = |content| Some(Replica { below: Some(content), ..not_here.clone() });
    let unknown = || Content::Unknown("Wrong medium type".into());
    for (content, replica, word) in [
        (Content::Nothing, None, "drift"),
        (Content::Nothing, Some(good), "drift"),
        (Content::Nothing, Some(not_here.clone()), "blocked"),
        (Content::Type("ext4".into()), None, "ok"),
        (Content::Type("xfs".into()), None, "blocked"),
        (Content::Type("LVM2_member".into()), None, "blocked"),
        (Content::Partitions("dos".into()), None, "blocked"),
        (unknown(), None, "blocked"),
        (unknown(), Some(not_here.clone()), "blocked"),
        (unknown(), below(Content::Type("ext4".into())), "ok"),
        (unknown(), below(Content::Type("xfs".into())), "blocked"),
        (unknown(), below(unknown()), "blocked"),
    ] {
        let decision = on_drbd().decide(&seen(content.clone(), replica.clone())).decision;
        let found = match decision {
            Decision::Ok(_) => "ok",
            Decision::Drift(ref change) => {
                assert_eq!(change.steps.len(), 1);
                assert_eq!(change.steps[0].describe(), "mkfs -t ext4 -O mmp -E mmp_update_interval=5 /dev/drbd100");
                assert_eq!(change.steps[0].guards.len(), 2, "opened and read once more right before");
                let there = Effect::UnsettlesOn { host: "pve2".into(), topic: Topic::Device("/dev/drbd100".into()) };
                assert_eq!(change.steps[0].effects.contains(&there), replica.is_some(), "a replica has it as well");
                "drift"
            }
            _ => "blocked",
        };
        assert_eq!(found, word, "{content:?} {replica:?}");
    }
    assert!(matches!(
        on_drbd().decide(&Seen { kind: None, ..seen(Content::Nothing, None) }).decision,
        Decision::Blocked(_)
    ));
}

#[test]
fn forcing_is_refused() {
    for args in [
        json!({"dev": "/dev/sdb", "fstype": "ext4", "force": true}),
        json!({"dev": "/dev/sdb", "fstype": "ext4", "opts": "-F"}),
        json!({"dev": "/dev/sdb", "fstype": "xfs", "opts": "-f -L x"}),
        json!({"dev": "/dev/sdb", "fstype": "../ext4"}),
        json!({"dev": "sdb", "fstype": "ext4"}),
        json!({"dev": "/dev/sdb", "fstype": "swap"}),
    ] {
        let task: Filesystem = serde_json::from_value(args.clone()).unwrap();
        assert_eq!(Task::check_args(&task).len(), 1, "{args}");
    }
}

/// A node with `/dev/drbd100` as a file that is called a device in the answers.
fn drbd_node(status: Json, blkid: Output, below: Output) -> (tempfile::TempDir, Local) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in [("sys/module/drbd/version", "9.3.3\n"), ("dev/drbd100", "")] {
        std::fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
        std::fs::write(dir.path().join(path), text).unwrap();
    }
    let host = Local::rooted("pve1", dir.path()).with_programs(Box::new(move |argv, _| {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        Some(match words.as_slice() {
            ["drbdsetup", "status", "--json"] => Output::ok(status.to_string()),
            ["drbdsetup", "show", "--json", "nfs1"] => Output::ok(
                json!([{"resource": "nfs1", "_this_host": {"node-id": 0, "volumes": [
                    {"volume_nr": 0, "device_minor": 100, "backing-disk": "/dev/sdb1", "meta-disk": "internal"}]}}])
                .to_string(),
            ),
            ["blkid", "-p", "-o", "export", "/dev/drbd100"] => blkid.clone(),
            ["blkid", "-p", "-u", "filesystem", "-o", "export", "/dev/sdb1"] => below.clone(),
            other => panic!("not expected: {other:?}"),
        })
    }));
    (dir, host)
}

fn status(disk: &str, peers: &[(&str, &str, &str, &str)]) -> Json {
    let connections: Vec<Json> = peers
        .iter()
        .enumerate()
        .map(|(n, (connection, role, disk, replication))| {
            json!({
                "peer-node-id": n + 1, "name": format!("pve{}", n + 2), "connection-state": connection,
                "peer-role": role,
                "peer_devices": [{ "volume": 0, "replication-state": replication, "peer-disk-state": disk }],
            })
        })
        .collect();
    json!([{
        "name": "nfs1", "node-id": 0, "role": "Secondary", "suspended": false,
        "devices": [{ "volume": 0, "minor": 100, "disk-state": disk, "client": false, "quorum": true }],
        "connections": connections,
    }])
}

#[test]
fn drbd_must_agree() {
    let good = ("Connected", "Secondary", "UpToDate", "Established");
    let filled = ("Connected", "Secondary", "Inconsistent", "SyncSource");
    let stale = ("Connected", "Secondary", "Inconsistent", "Established");
    let away = ("Connecting", "Unknown", "DUnknown", "Off");
    let primary = ("Connected", "Primary", "UpToDate", "Established");
    let empty = || Output::failed(2, "");
    let shut = || Output::failed(2, "blkid: error: /dev/drbd100: Wrong medium type");
    let ext4 = || Output::ok("DEVNAME=/dev/sdb1\nTYPE=ext4\n");
    for (state, blkid, below, says) in [
        (status("UpToDate", &[good, good]), empty(), empty(), "drift"),
        (status("UpToDate", &[good, filled]), empty(), empty(), "drift"),
        (status("UpToDate", &[good, stale]), empty(), empty(), "the data of pve3 is Inconsistent"),
        (status("UpToDate", &[good, away]), empty(), empty(), "pve3 is not connected"),
        (status("Inconsistent", &[good, good]), empty(), empty(), "pve2 has the data"),
        (status("UpToDate", &[primary, good]), shut(), ext4(), "ok"),
        (status("UpToDate", &[primary, good]), shut(), empty(), "pve2 uses it"),
        (status("Outdated", &[primary, good]), shut(), ext4(), "pve2 uses it"),
        (status("UpToDate", &[("Mystic", "Secondary", "UpToDate", "Off"), good]), empty(), empty(), "not known"),
        (json!([]), empty(), empty(), "no resource"),
    ] {
        let (_dir, host) = drbd_node(state.clone(), blkid, below);
        let decision = on_drbd().decide(&on_drbd().probe(&host).unwrap()).decision;
        match decision {
            Decision::Ok(_) => assert_eq!(says, "ok", "{state}"),
            Decision::Drift(_) => assert_eq!(says, "drift", "{state}"),
            Decision::Blocked(why) => assert!(why.contains(says), "{why} for {state}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_real_tools_on_a_file() {
    for tool in ["mkfs.ext4", "blkid"] {
        let found = ["/usr/sbin", "/sbin", "/usr/bin"].iter().any(|dir| Path::new(dir).join(tool).exists());
        if !found {
            eprintln!("skipped: no {tool}");
            return;
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    std::fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
    let path = image.to_str().unwrap();
    let host = Local::this_machine("here");
    let mmp = task(json!({"dev": path, "fstype": "ext4", "opts": "-q -O mmp -E mmp_update_interval=5"}));
    let apply = |task: &Filesystem, host: &dyn Host| engine::apply(task, host, &[], &mut |_, _| {});

    let preview = crate::host::Preview::new(Local::this_machine("here"));
    assert_eq!(engine::check(&mmp, &preview).status, Status::Drifted);
    assert_eq!(engine::check(&mmp, &preview).status, Status::Ok, "a later task sees the predicted file system");

    let first = apply(&mmp, &host);
    assert_eq!(first.status, Status::Changed, "{}", first.summary);
    assert_eq!(apply(&mmp, &host).status, Status::Ok);
    let other = task(json!({"dev": path, "fstype": "xfs"}));
    let refused = apply(&other, &host);
    assert_eq!(refused.status, Status::Blocked);
    assert!(refused.summary.contains("holds `ext4`"), "{}", refused.summary);

    // A decision made on an empty device meets one that is not: the guard stops it.
    let Decision::Drift(late) =
        mmp.decide(&Seen { kind: Some(FileKind::File), ..seen(Content::Nothing, None) }).decision
    else {
        panic!("it wants to")
    };
    assert!(engine::perform_guarded(&host, &late.steps[0]).is_err());

    let blank = dir.path().join("swap");
    std::fs::File::create(&blank).unwrap().set_len(8 << 20).unwrap();
    if Command::new("/sbin/mkswap").arg(&blank).output().is_ok_and(|o| o.status.success()) {
        let over = apply(&task(json!({"dev": blank.to_str().unwrap(), "fstype": "ext4"})), &host);
        assert!(over.summary.contains("holds `swap`"), "{}", over.summary);
    }
}
