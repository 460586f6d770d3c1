use super::*;
use crate::tasks::fake::{Fake, converges, faults, idle, task};
use crate::tasks::{Decision, drbd_resource};
use serde_json::{Value as Json, json};

fn tuning() -> Json {
    json!({
        "global": { "usage-count": "yes", "udev-always-use-vnr": true, "disable-ip-verification": false },
        "common": {
            "disk": { "c-fill-target": "10M", "c-max-rate": "720M", "c-plan-ahead": 10, "c-min-rate": "20M" },
            "net": { "max-buffers": "36k", "sndbuf-size": "1024k", "rcvbuf-size": "2048k" },
        },
    })
}

#[test]
fn the_tuning_of_the_reference_system() {
    let fake = Fake::with(&[]);
    let global: DrbdGlobal = task(tuning());
    let diff = converges(&global, &fake);
    assert!(diff.starts_with("--- /dev/null\n+++ /etc/drbd.d/global_common.conf\n"), "{diff}");
    let text = fake.text(PATH).unwrap();
    assert!(text.contains("    udev-always-use-vnr;\n") && !text.contains("disable-ip"), "{text}");
    assert!(text.contains("        c-max-rate 720M;\n"), "{text}");
    // Another spelling of the same is left alone.
    fake.file(PATH, "global{usage-count yes;udev-always-use-vnr;}common{disk{c-fill-target 10M;c-max-rate 737280;c-plan-ahead 10;c-min-rate 20M;}net{max-buffers 36864;sndbuf-size 1M;rcvbuf-size 2M;}}", 0o644);
    idle(&global, &fake);
    // What is not described goes.
    fake.file(PATH, &text.replace("common {", "common { net { fencing dont-care; }"), 0o644);
    assert!(converges(&global, &fake).contains("-common { net { fencing dont-care; }"));
    fake.file(PATH, "global {", 0o644);
    converges(&global, &fake);
}

#[test]
fn faults_before_any_host_is_touched() {
    for (change, says) in [
        (json!({ "common": { "net": { "max-buffers": 7 } } }), "out of range"),
        (json!({ "common": { "disk": { "max-buffers": "36k" } } }), "no option of disk"),
        (json!({ "common": { "disk": { "c-max-rat": "7M" } } }), "no option of disk"),
        (json!({ "global": { "usage-count": "maybe" } }), "not one of yes, no, ask"),
    ] {
        assert!(faults::<DrbdGlobal>(change.clone()).contains(says), "{change}");
    }
    assert_eq!(faults::<DrbdGlobal>(tuning()), "");
}

#[test]
fn drbdadm_takes_what_is_written_and_refuses_what_is_wrong() {
    let fake = Fake::with(&[]);
    converges(&task::<DrbdGlobal>(tuning()), &fake);
    let text = fake.text(PATH).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("global.conf");
    let check = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let run = std::process::Command::new("drbdadm").arg("-c").arg(&path).arg("sh-nop").output();
        run.ok().map(|out| out.status.code().unwrap())
    };
    match check(&text) {
        None => eprintln!("skipped: no drbdadm"),
        Some(code) => {
            assert_eq!(code, 0, "{text}");
            assert_eq!(check(&text.replace("36k", "36q")), Some(10));
            assert_eq!(check(&text.replace("udev-always", "udev-never")), Some(10));
        }
    }
}

/// What the change means for a running resource is predicted, unless the resource has its own value.
#[test]
fn running_resources_will_have_to_adjust() {
    let fake = Fake::with(&[]);
    fake.file("/sys/module/drbd/version", "9.3.3\n", 0o444);
    let resource: drbd_resource::DrbdResource = task(json!({ "name": "nfs1", "device": "/dev/drbd100",
        "net": { "max-buffers": "8k", "sndbuf-size": "1M", "rcvbuf-size": "1M" }, "on": {
        "pve1": { "address": "10.0.0.1:7000", "disk": "/dev/x", "node_id": 0 },
        "pve2": { "address": "10.0.0.2:7000", "disk": "/dev/x", "node_id": 1 } } }));
    fake.file("/etc/drbd.d/nfs1.res", &resource.text(), 0o644);
    fake.file(PATH, "global { usage-count yes; }\n", 0o644);
    let status = r#"[{"name":"nfs1","node-id":0,"role":"Secondary","devices":[],"connections":[]}]"#;
    fake.answer(&["drbdsetup", "status", "--json"], Output::ok(status));
    fake.answer(&["drbdadm", "-d", "adjust", "nfs1"], Output::ok(""));
    let effects = |args: Json| {
        let task: DrbdGlobal = task(args);
        match task.decide(&task.probe(&fake).unwrap()).decision {
            Decision::Drift(change) => change.steps.into_iter().flat_map(|s| s.effects).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    };
    let all = effects(tuning());
    let [Effect::Answers { query, output }] = &all[..] else { panic!("{all:?}") };
    assert_eq!(query, &dry_run("nfs1"));
    assert_eq!(output.stdout, "drbdsetup peer-device-options nfs1 --set-defaults\n");
    let overridden = json!({ "common": { "net": { "max-buffers": "36k" } } });
    assert_eq!(effects(overridden), []);
    // Edited, and not adjusted since: putting the file back leaves nothing to adjust.
    fake.answer(&["drbdadm", "-d", "adjust", "nfs1"], Output::ok("drbdsetup net-options nfs1 1 --set-defaults\n"));
    let all = effects(tuning());
    assert!(matches!(&all[..], [Effect::Answers { output, .. }] if output.stdout.is_empty()), "{all:?}");
}
