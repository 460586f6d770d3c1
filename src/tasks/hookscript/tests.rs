use super::installed::SCRIPT;
use super::*;
use crate::host::{Host, Output};
use crate::tasks::Decision;
use crate::tasks::fake::{Fake, faults, task};
use crate::tasks::fake_cluster::{Api, FakeNode, blocked, calls, drifts_and_predicts, lacks, nodes, ok, verdict};
use crate::tasks::own_program::{LINK, VERSIONS};
use serde_json::json;
use std::path::Path;

const PATH: &str = "/var/lib/vz/snippets/converge-hook";

fn api(config: serde_json::Value) -> Api {
    Api::three_nodes()
        .on("/storage", json!([{"storage": "local", "type": "dir", "path": "/var/lib/vz", "content": "iso,vztmpl"}]))
        .answer(cluster::guests(), json!([{"vmid": 101, "node": "pve2", "type": "lxc"}]))
        .on("/nodes/pve2/lxc/101/config", config)
}

fn version(sha256: &str) -> String {
    format!("{VERSIONS}/{sha256}/converge")
}

/// The program as this one installs it, and that it runs.
fn fit(fake: &Fake) {
    let own = own_program().unwrap();
    let (path, sha256, size_bytes) = (version(&own.sha256), own.sha256.clone(), own.size_bytes);
    fake.perform(&Step::from(crate::host::Action::InstallSelf { path, sha256, size_bytes })).unwrap();
    fake.link(LINK, &format!("{}/converge", own.sha256));
    fake.file("/usr/local/bin/converge", "", 0o755);
    runs(fake);
}

fn runs(fake: &Fake) {
    fake.answer(&[LINK, "hook", "--help"], Output::ok("usage"));
}

fn gone(fake: &Fake) {
    fake.answer(&[LINK, "hook", "--help"], Output::failed(127, "not found"));
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
    assert_eq!(
        change.summary,
        "put the hookscript and its program on pve1 (missing), pve2 (not executable), pve3 (old)"
    );
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
fn a_missing_old_broken_or_locked_program_drifts_even_when_the_container_uses_it() {
    let wanted: Hookscript = task(json!({"vmid": 101}));
    let own = &own_program().unwrap().sha256;
    let old = "0".repeat(64);
    let used = || api(json!({"hookscript": "local:snippets/converge-hook"}));
    for (state, said, steps) in [
        ("missing", "on pve3 (missing)", 5),
        ("old", "on pve3 (old, with an old version)", 5),
        ("cut short", "on pve3 (broken)", 3),
        ("not executable", "on pve3 (not executable)", 1),
        ("does not run", "on pve3 (broken)", 3),
    ] {
        let there = nodes(|name, fake| {
            if name != "pve3" {
                fit(fake);
            } else if state == "missing" {
                gone(fake);
            } else if state == "old" {
                fake.file(&version(&old), "", 0o755);
                fake.link(LINK, &format!("{old}/converge"));
                fake.file("/usr/local/bin/converge", "", 0o755);
                runs(fake);
            } else {
                fit(fake);
                match state {
                    "cut short" => fake.file(&version(own), "half", 0o755),
                    "not executable" => {
                        fake.files.borrow_mut().get_mut(Path::new(&version(own))).unwrap().0.mode = 0o644;
                        gone(fake);
                    }
                    _ => gone(fake),
                }
            }
            script(fake, SCRIPT, 0o755);
        });
        let Decision::Drift(change) = verdict(&wanted, &used(), &there).decision else { panic!("{state}") };
        assert_eq!(change.summary, format!("put the hookscript and its program {said}"), "{state}");
        assert_eq!(change.steps.len(), steps, "{state}: {:#?}", calls(&change));
        // What was done is enough.
        let FakeNode::Up(fake) = &there["pve3"] else { panic!() };
        for step in &change.steps {
            fake.perform(step).unwrap();
        }
        runs(fake);
        ok(&wanted, &used(), &there);
    }
}

#[test]
fn a_container_is_not_kept_from_starting() {
    let wanted: Hookscript = task(json!({"vmid": 101}));
    let there = nodes(|name, fake| {
        fit(fake);
        script(fake, SCRIPT, 0o755);
        if name == "pve2" {
            fake.files.borrow_mut().remove(Path::new(LINK));
            fake.file(LINK, "somebody's", 0o755);
        }
    });
    blocked(&wanted, &api(json!({})), &there, "pve2:/usr/local/lib/converge/converge is a file, not a link");
}

#[test]
fn a_node_that_is_down_may_still_start_it_later() {
    let wanted: Hookscript = task(json!({"vmid": 101, "activate": false}));
    let mut there = nodes(|_, fake| {
        fit(fake);
        script(fake, SCRIPT, 0o755);
    });
    there.insert("pve3", FakeNode::Down);
    blocked(&wanted, &api(json!({})), &there, "(pve3 cannot be reached: no route)");
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
    let token = |config| Api { user: Some("root@pam!x".into()), ..api(config) };
    let told = lacks(&wanted, &token(json!({})));
    assert!(told.starts_with("Certainly: only root@pam itself may set the hookscript of container 101"), "{told}");
    assert_eq!(lacks(&wanted, &token(json!({"hookscript": "local:snippets/converge-hook"}))), "");
    assert_eq!(lacks(&wanted, &api(json!({}))), "");
    blocked(&wanted, &api(json!({"lock": "backup"})), &there, "locked (backup)");
    let elsewhere: Hookscript = task(json!({"vmid": 101, "storage_path": "/srv"}));
    blocked(&elsewhere, &api(json!({})), &there, "lies at /var/lib/vz");
    blocked(&task::<Hookscript>(json!({"vmid": 101, "storage": "none"})), &api(json!({})), &there, "no storage none");
    assert!(faults::<Hookscript>(json!({"vmid": 101, "name": "a/b"})).contains("file name"));
}

/// The script itself, run by the shell that runs it on a node.
fn run(converge: Option<(&str, u32)>, phase: &str) -> (i32, String) {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("converge");
    if let Some((text, mode)) = converge {
        std::fs::write(&binary, text).unwrap();
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let once = folder.path().join("once");
    let text = SCRIPT.replace(&format!("converge={LINK}"), &format!("converge={}", binary.display()));
    let text = text.replace("/run/converge/hook/start-once", &once.display().to_string());
    assert_ne!(text, SCRIPT);
    let call = || {
        let out = std::process::Command::new("sh").args(["-c", &text, "hook", "101", phase]).output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        (out.status.code().unwrap(), said)
    };
    let first = call();
    if first.1.contains("nobody looked") {
        // Once, by hand, and not twice.
        std::fs::create_dir_all(&once).unwrap();
        std::fs::write(once.join("101"), "").unwrap();
        assert_eq!(call().0, 0);
        assert_eq!(call().0, 1);
    }
    first
}

#[test]
fn the_script_refuses_a_start_that_nobody_verified() {
    let said = |converge: Option<(&str, u32)>| {
        let (rc, said) = run(converge, "pre-start");
        assert_eq!(rc, 1, "{said}");
        assert!(said.contains("start of container 101 refused: "), "{said}");
        for phase in ["post-start", "pre-stop", "post-stop", "novel-phase"] {
            assert_eq!(run(converge, phase).0, 0);
        }
        said
    };
    assert!(said(None).contains("is missing on this node or not executable"));
    assert!(said(Some(("#!/bin/sh\n", 0o644))).contains("not executable"));
    assert!(said(Some(("#!/bin/sh\nexit 2\n", 0o755))).contains("did not run (exit code 2)"));
    assert!(said(Some(("#!/bin/sh\nkill -SEGV $$\n", 0o755))).contains("did not run (exit code 139)"));
    assert!(said(Some(("#!/no/interpreter\n", 0o755))).contains("did not run (exit code 12"));
    let able = "#!/bin/sh\necho \"$@\"; exit 0\n";
    assert_eq!(run(Some((able, 0o755)), "pre-start"), (0, "hook 101 pre-start\n".to_owned()));
    assert_eq!(run(Some((able, 0o755)), "novel-phase"), (0, String::new()));
    let denies = "#!/bin/sh\necho no; exit 1\n";
    assert_eq!(run(Some((denies, 0o755)), "pre-start"), (1, "no\n".to_owned()));
    assert_eq!(run(Some((denies, 0o755)), "post-stop").0, 0);
}

#[test]
fn a_container_that_is_not_shown_is_not_taken_for_none() {
    let wanted: Hookscript = task(json!({"vmid": 101}));
    let ready = nodes(|_, fake| {
        fit(fake);
        script(fake, SCRIPT, 0o755);
    });
    let none = || api(json!({})).answer(cluster::guests(), json!([]));
    blocked(&wanted, &none(), &ready, "there is no container 101");
    let hidden = none().on("/access/permissions", json!({"/": {"VM.Allocate": 1}}));
    blocked(&wanted, &hidden, &ready, "cannot tell whether container 101 exists: the account lacks VM.Audit");
}
