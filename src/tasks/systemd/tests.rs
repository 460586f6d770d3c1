use super::names::template_of;
use super::*;
use crate::host::Local;
use serde_json::{Value as Json, json};

fn task(json: Json) -> Systemd {
    let task: Systemd = serde_json::from_value(json).unwrap();
    assert_eq!(Task::check_args(&task), []);
    task
}

fn show(load: &str, active: &str, file: &str) -> Show {
    Show::parse(&format!("LoadState={load}\nActiveState={active}\nSubState=x\nUnitFileState={file}\n")).unwrap()
}

fn seen(unit: Show) -> Seen {
    Seen { unit: Some(unit), unread: false, stale: false, drbd: Up::NOTHING }
}

/// The steps as command lines, or the decision's word.
fn decided(task: &Systemd, seen: &Seen) -> Result<Vec<String>, String> {
    match task.decide(seen).decision {
        Decision::Drift(change) => Ok(change.steps.iter().map(Step::describe).collect()),
        Decision::Ok(_) => Ok(Vec::new()),
        Decision::Blocked(why) => Err(format!("blocked: {why}")),
        Decision::Failed(why) => Err(format!("failed: {why}")),
        Decision::Wait { what, .. } => Err(format!("wait: {what}")),
    }
}

#[test]
fn states_of_units_to_commands() {
    type Case = (Json, (&'static str, &'static str, &'static str), &'static [&'static str]);
    let cases: &[Case] = &[
        (json!({"state": "started"}), ("loaded", "active", "enabled"), &[]),
        (json!({"state": "started"}), ("loaded", "inactive", "enabled"), &["start"]),
        (json!({"state": "started"}), ("loaded", "failed", "enabled"), &["start"]),
        (json!({"state": "stopped"}), ("loaded", "failed", "enabled"), &[]),
        (json!({"state": "stopped"}), ("loaded", "active", "enabled"), &["stop"]),
        (json!({"state": "restarted"}), ("loaded", "active", "enabled"), &["restart"]),
        (json!({"state": "reloaded"}), ("loaded", "active", "enabled"), &["reload"]),
        (json!({"state": "reloaded"}), ("loaded", "inactive", "enabled"), &["start"]),
        (json!({"enabled": true}), ("loaded", "inactive", "enabled"), &[]),
        (json!({"enabled": true}), ("loaded", "inactive", "enabled-runtime"), &["enable"]),
        (json!({"enabled": true}), ("loaded", "inactive", "static"), &[]),
        (json!({"enabled": false}), ("loaded", "inactive", "enabled"), &["disable"]),
        (json!({"enabled": true, "state": "started"}), ("loaded", "inactive", "disabled"), &["enable", "start"]),
        (json!({"masked": true, "state": "stopped"}), ("loaded", "active", "enabled"), &["stop", "mask"]),
        (json!({"masked": true}), ("masked", "inactive", "masked"), &[]),
        (json!({"masked": true}), ("not-found", "inactive", ""), &["mask"]),
        (json!({"masked": false, "state": "started"}), ("masked", "inactive", "masked"), &["unmask"]),
        (json!({"state": "stopped", "enabled": false}), ("masked", "inactive", "masked"), &[]),
    ];
    for (args, (load, active, file), verbs) in cases {
        let mut args = args.clone();
        args["name"] = json!("nfs-server");
        let wanted: Vec<String> = verbs.iter().map(|verb| format!("systemctl {verb} nfs-server")).collect();
        assert_eq!(
            decided(&task(args.clone()), &seen(show(load, active, file))),
            Ok(wanted),
            "{args} {load} {active} {file}"
        );
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    for (args, (load, active, file), says) in [
        (json!({"state": "stopped"}), ("not-found", "inactive", ""), "there is no unit"),
        (json!({"state": "started"}), ("masked", "inactive", "masked"), "is masked"),
        (json!({"state": "started"}), ("bad-setting", "inactive", ""), "cannot load"),
        (json!({"enabled": true}), ("loaded", "active", "generated"), "cannot enable"),
        (json!({"state": "started"}), ("loaded", "levitating", "enabled"), "does not know"),
        (json!({"state": "started"}), ("loaded", "activating", "enabled"), "wait: "),
    ] {
        let mut args = args;
        args["name"] = json!("nfs-server");
        let why = decided(&task(args), &seen(show(load, active, file))).unwrap_err();
        assert!(why.contains(says), "{why}");
    }
}

#[test]
fn a_unit_file_that_systemd_has_not_read_is_read_first() {
    let unread = Seen { unread: true, ..seen(show("not-found", "inactive", "")) };
    assert_eq!(
        decided(&task(json!({"name": "x", "state": "started", "enabled": true})), &unread),
        Ok(vec!["systemctl daemon-reload".into(), "systemctl enable x".into(), "systemctl start x".into()])
    );
    let reload = task(json!({"daemon_reload": true}));
    let quiet = Seen { unit: None, unread: false, stale: false, drbd: Up::NOTHING };
    assert_eq!(decided(&reload, &quiet), Ok(vec![]));
    assert_eq!(decided(&reload, &Seen { stale: true, ..quiet }), Ok(vec!["systemctl daemon-reload".into()]));
}

#[test]
fn a_oneshot_leaves_nothing_to_look_at() {
    let text = "LoadState=loaded\nActiveState=inactive\nSubState=dead\nUnitFileState=static\nType=oneshot\nRemainAfterExit=no\n";
    let verdict = task(json!({"name": "x", "state": "started"})).decide(&seen(Show::parse(text).unwrap()));
    let Decision::Drift(change) = verdict.decision else { panic!("it starts") };
    assert_eq!(change.after, After::Done);
}

#[test]
fn names_are_completed_as_systemctl_does() {
    assert_eq!(full_name("ssh"), "ssh.service");
    assert_eq!(full_name("drbd@nfs1.target"), "drbd@nfs1.target");
    assert_eq!(full_name("v1.2"), "v1.2.service");
    assert_eq!(template_of("drbd@nfs1.target").as_deref(), Some("drbd@.target"));
    for name in ["", "-x", "a b", "*", "drbd@.target"] {
        let task: Systemd = serde_json::from_value(json!({"name": name, "state": "started"})).unwrap();
        assert_eq!(Task::check_args(&task).len(), 1, "{name}");
    }
}

/// One resource over three nodes; `peers`: connection state, role, disk state, replication state.
fn status(role: &str, disk: &str, peers: &[(&str, &str, &str, &str)]) -> String {
    let connections: Vec<Json> = peers
        .iter()
        .enumerate()
        .map(|(n, (connection, role, disk, replication))| {
            json!({
                "peer-node-id": n + 1, "name": format!("pve{}", n + 2), "connection-state": connection,
                "congested": false, "peer-role": role,
                "peer_devices": [{ "volume": 0, "replication-state": replication, "peer-disk-state": disk,
                    "peer-client": false, "resync-suspended": "no", "percent-in-sync": 100.0 }],
            })
        })
        .collect();
    let resource = json!({
        "name": "nfs1", "node-id": 0, "role": role, "suspended": false,
        "devices": [{ "volume": 0, "minor": 100, "disk-state": disk, "client": false, "quorum": true }],
        "connections": connections,
    });
    serde_json::to_string(&json!([resource])).unwrap()
}

#[test]
fn drbd_is_not_stopped_where_that_costs_data_or_quorum() {
    let good = ("Connected", "Secondary", "UpToDate", "Established");
    let away = ("Connecting", "Unknown", "DUnknown", "Off");
    let target = ("Connected", "Secondary", "Inconsistent", "SyncSource");
    let cases = [
        (status("Secondary", "UpToDate", &[good, good]), None),
        (status("Primary", "UpToDate", &[good, good]), Some("in use on this node")),
        (status("Secondary", "UpToDate", &[away, away]), Some("last up-to-date copy")),
        (status("Secondary", "UpToDate", &[good, away]), Some("quorum")),
        (status("Secondary", "UpToDate", &[good, target]), Some("being synced")),
        (status("Secondary", "Inconsistent", &[good, good]), None),
        (status("Secondary", "UpToDate", &[good, ("Confused", "Secondary", "UpToDate", "Off")]), Some("not known")),
    ];
    for (text, says) in cases {
        for unit in ["drbd@nfs1.target", "drbd.service"] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(dir.path().join("sys/module/drbd")).unwrap();
            std::fs::write(dir.path().join("sys/module/drbd/version"), "9.3.3\n").unwrap();
            let answer = text.clone();
            let host = Local::rooted("pve1", dir.path()).with_programs(Box::new(move |argv, _| {
                Some(match argv[0].as_str() {
                    "drbdsetup" => Output::ok(answer.clone()),
                    _ => Output::ok(show("loaded", "active", "enabled").text()),
                })
            }));
            for state in ["stopped", "restarted"] {
                let task = task(json!({"name": unit, "state": state}));
                let decided = decided(&task, &task.probe(&host).unwrap());
                match says {
                    None => assert_eq!(decided.map(|steps| steps.len()), Ok(1), "{text}"),
                    Some(says) => assert!(decided.unwrap_err().contains(says), "{text}"),
                }
            }
        }
    }
}

#[test]
fn without_the_module_nothing_is_asked_that_would_load_it() {
    let dir = tempfile::tempdir().unwrap();
    let host = Local::rooted("pve1", dir.path()).with_programs(Box::new(|argv, _| {
        assert_eq!(argv[0], "systemctl");
        Some(Output::ok(show("loaded", "active", "enabled").text()))
    }));
    let task = task(json!({"name": "drbd@nfs1.service", "state": "stopped"}));
    assert_eq!(decided(&task, &task.probe(&host).unwrap()).map(|steps| steps.len()), Ok(1));
}
