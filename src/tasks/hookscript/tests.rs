use super::*;
use crate::host::Output;
use crate::tasks::Decision;
use crate::tasks::fake::{Fake, faults, task};
use crate::tasks::fake_cluster::{Api, FakeNode, blocked, calls, drifts_and_predicts, nodes, ok, verdict};
use serde_json::json;

const PATH: &str = "/var/lib/vz/snippets/converge-hook";

fn api(config: serde_json::Value) -> Api {
    Api::three_nodes()
        .on("/storage", json!([{"storage": "local", "type": "dir", "path": "/var/lib/vz", "content": "iso,vztmpl"}]))
        .answer(cluster::guests(), json!([{"vmid": 101, "node": "pve2", "type": "lxc"}]))
        .on("/nodes/pve2/lxc/101/config", config)
}

fn fit(fake: &Fake) {
    fake.file(BINARY, "", 0o755);
    fake.answer(&[BINARY, "hook", "--help"], Output::ok("usage"));
}

fn script(fake: &Fake, text: &str, mode: u32) {
    fake.file(PATH, text, mode);
}

#[test]
fn first_on_every_node_then_in_the_container() {
    let wanted: Hookscript = task(json!({"vmid": 101}));
    let bare = nodes(|name, fake| {
        fit(fake);
        match name {
            "pve1" => {}
            "pve2" => script(fake, SCRIPT, 0o644),
            _ => script(fake, "#!/bin/sh\nold\n", 0o755),
        }
    });
    let seen = api(json!({"digest": "aa", "hostname": "nfs1"}));
    let Decision::Drift(change) = verdict(&wanted, &seen, &bare).decision else { panic!() };
    assert_eq!(change.summary, "put the hookscript on pve1, pve2, pve3");
    assert!(change.diff.contains("-mode 0644") && change.diff.contains("-old"), "{}", change.diff);
    assert!(calls(&change).iter().all(|call| call.starts_with("on pve")), "no word to the API yet");
    let there = nodes(|_, fake| {
        fit(fake);
        script(fake, SCRIPT, 0o755);
    });
    let change = drifts_and_predicts(&wanted, api(json!({"digest": "aa"})), &there);
    assert_eq!(calls(&change), ["PUT /nodes/pve2/lxc/101/config digest=aa hookscript=local:snippets/converge-hook"]);
}

#[test]
fn a_container_is_not_kept_from_starting() {
    let wanted: Hookscript = task(json!({"vmid": 101}));
    let there = nodes(|name, fake| {
        script(fake, SCRIPT, 0o755);
        match name {
            "pve1" => fit(fake),
            "pve2" => {
                fake.file(BINARY, "", 0o755);
                fake.answer(&[BINARY, "hook", "--help"], Output::failed(2, "unrecognized subcommand"));
            }
            _ => {}
        }
    });
    blocked(&wanted, &api(json!({})), &there, "pve2: /usr/local/bin/converge has no `hook` command");
    blocked(&wanted, &api(json!({})), &there, "pve3: there is no /usr/local/bin/converge");
    let used = api(json!({"hookscript": "local:snippets/converge-hook"}));
    blocked(&wanted, &used, &there, "cannot start on these nodes");
    ok(&task::<Hookscript>(json!({"vmid": 101, "activate": false})), &api(json!({})), &there);
}

#[test]
fn a_node_that_is_down_may_still_start_it_later() {
    let wanted: Hookscript = task(json!({"vmid": 101, "activate": false}));
    let mut there = nodes(|_, fake| script(fake, SCRIPT, 0o755));
    there.insert("pve3", FakeNode::Down);
    blocked(&wanted, &api(json!({})), &there, "pve3: pve3 cannot be reached");
    let two: Hookscript = task(json!({"vmid": 101, "activate": false, "nodes": "pve1,pve2"}));
    ok(&two, &api(json!({})), &there);
}

#[test]
fn what_forbids_it_is_said() {
    let wanted: Hookscript = task(json!({"vmid": 101}));
    let there = nodes(|_, fake| {
        fit(fake);
        script(fake, SCRIPT, 0o755);
    });
    let token = Api { user: Some("root@pam!x".into()), ..api(json!({})) };
    blocked(&wanted, &token, &there, "only root@pam itself");
    blocked(&wanted, &api(json!({"lock": "backup"})), &there, "locked (backup)");
    let elsewhere: Hookscript = task(json!({"vmid": 101, "storage_path": "/srv"}));
    blocked(&elsewhere, &api(json!({})), &there, "lies at /var/lib/vz");
    blocked(&task::<Hookscript>(json!({"vmid": 101, "storage": "none"})), &api(json!({})), &there, "no storage none");
    assert!(faults::<Hookscript>(json!({"vmid": 101, "name": "a/b"})).contains("file name"));
}

/// The script itself, run by the shell that runs it on a node.
fn run(converge: Option<&str>, phase: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("converge");
    if let Some(text) = converge {
        std::fs::write(&binary, text).unwrap();
        std::process::Command::new("chmod").arg("755").arg(&binary).status().unwrap();
    }
    let text = SCRIPT.replace("converge=/usr/local/bin/converge", &format!("converge={}", binary.display()));
    assert_ne!(text, SCRIPT);
    let out = std::process::Command::new("sh").args(["-c", &text, "hook", "101", phase]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.code().unwrap(), said)
}

#[test]
fn the_script_refuses_a_start_that_nobody_verified() {
    let (rc, said) = run(None, "pre-start");
    assert_eq!(rc, 1);
    assert!(said.contains("start of container 101 refused"), "{said}");
    assert_eq!(run(None, "post-stop").0, 0);
    assert_eq!(run(None, "novel-phase").0, 0);
    assert_eq!(run(Some("#!/bin/sh\nexit 2\n"), "pre-start").0, 1, "a converge without the command");
    let able = "#!/bin/sh\n[ \"$2\" = --help ] && exit 0\necho \"$@\"; exit 7\n";
    assert_eq!(run(Some(able), "pre-start"), (7, "hook 101 pre-start\n".to_owned()));
    assert_eq!(run(Some(able), "novel-phase").0, 0);
}
