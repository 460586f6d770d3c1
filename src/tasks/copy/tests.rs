use super::*;
use crate::tasks::fake::{Desk, Fake, converges, faults, idle, refuses, task};
use serde_json::json;
use std::collections::BTreeMap;

fn copy(args: serde_json::Value) -> Copy {
    task(args)
}

#[test]
fn a_new_file_is_created_and_then_left_alone() {
    let host = Fake::with(&[]);
    let diff = converges(&copy(json!({"dest": "/etc/motd", "content": "hi\n", "mode": "0600"})), &host);
    assert_eq!(diff, "--- /dev/null\n+++ /etc/motd\n@@ -0,0 +1 @@\n+hi\n@@ attributes @@\n+mode 0600\n");
    assert_eq!(host.text("/etc/motd").unwrap(), "hi\n");
    assert_eq!(host.mode("/etc/motd"), 0o600);
}

#[test]
fn attributes_alone_are_drift_and_shown() {
    let host = Fake::with(&[("/etc/motd", "hi\n")]);
    let diff = converges(&copy(json!({"dest": "/etc/motd", "content": "hi\n", "mode": "u=rw,go="})), &host);
    assert_eq!(diff, "--- /etc/motd\n+++ /etc/motd\n@@ attributes @@\n-mode 0644\n+mode 0600\n");
    assert_eq!(*host.done.borrow(), ["set mode and owner of /etc/motd"]);
}

#[test]
fn an_existing_file_keeps_its_mode_when_none_is_asked_for() {
    let host = Fake::with(&[]);
    host.file("/etc/secret", "old", 0o640);
    converges(&copy(json!({"dest": "/etc/secret", "content": "new"})), &host);
    assert_eq!(host.mode("/etc/secret"), 0o640);
}

#[test]
fn force_off_leaves_an_existing_file_alone() {
    let host = Fake::with(&[("/etc/motd", "mine")]);
    idle(&copy(json!({"dest": "/etc/motd", "content": "theirs", "force": false})), &host);
    assert_eq!(host.text("/etc/motd").unwrap(), "mine");
}

#[test]
fn a_file_of_the_workstation_goes_into_a_directory_under_its_name() {
    let desk = Desk(BTreeMap::from([("files/a/key.asc", b"\xff\x00".as_slice())]));
    let host = Fake::with(&[]);
    let mut args = copy(json!({"dest": "/etc/apt/keyrings/", "src": "a/key.asc", "directory_mode": "0750"}));
    Task::resolve(&mut args, &desk).unwrap();
    let diff = converges(&args, &host);
    assert!(diff.contains("binary files differ (sha256 absent -> "), "{diff}");
    assert_eq!(host.mode("/etc/apt"), 0o750);
    assert!(host.text("/etc/apt/keyrings/key.asc").is_some());
}

#[test]
fn a_missing_source_is_a_fault() {
    let mut args = copy(json!({"dest": "/etc/x", "src": "gone"}));
    let error = Task::resolve(&mut args, &Desk(BTreeMap::new())).unwrap_err();
    assert_eq!(error.to_string(), "files/gone is not there");
}

#[test]
fn what_stands_in_the_way_is_a_reason() {
    let host = Fake::with(&[]);
    refuses(&copy(json!({"dest": "/nowhere/x", "content": "a"})), &host, "the directory of /nowhere/x does not exist");
    refuses(&copy(json!({"dest": "/etc", "content": "a"})), &host, "/etc is a directory");
    host.answer(&["getent", "passwd", "nobody-here"], crate::host::Output::failed(2, ""));
    let args = copy(json!({"dest": "/etc/x", "content": "a", "owner": "nobody-here"}));
    refuses(&args, &host, "there is no user `nobody-here`");
}

#[test]
fn an_owner_by_number_is_compared_by_name() {
    let host = Fake::with(&[("/etc/x", "a")]);
    host.answer(&["getent", "passwd", "0"], crate::host::Output::ok("root:x:0:0:root:/root:/bin/bash\n"));
    idle(&copy(json!({"dest": "/etc/x", "content": "a", "owner": "0"})), &host);
}

#[test]
fn a_link_is_replaced_or_followed_as_asked() {
    let host = Fake::with(&[("/etc/real", "a")]);
    host.link("/etc/link", "real");
    converges(&copy(json!({"dest": "/etc/link", "content": "b", "follow": true})), &host);
    assert_eq!(host.text("/etc/real").unwrap(), "b");
    converges(&copy(json!({"dest": "/etc/link", "content": "c"})), &host);
    assert_eq!(host.text("/etc/real").unwrap(), "b");
    assert_eq!(host.text("/etc/link").unwrap(), "c");
}

#[test]
fn a_source_on_the_host_keeps_its_mode_when_asked() {
    let host = Fake::with(&[]);
    host.file("/etc/a", "x", 0o440);
    converges(&copy(json!({"dest": "/etc/b", "src": "/etc/a", "remote_src": true, "mode": "preserve"})), &host);
    assert_eq!(host.mode("/etc/b"), 0o440);
    let gone = copy(json!({"dest": "/etc/b", "src": "/etc/gone", "remote_src": true}));
    refuses(&gone, &Fake::with(&[]), "the source /etc/gone does not exist");
}

#[test]
fn faults_are_found_without_a_host() {
    for (args, fault) in [
        (json!({"dest": "/x"}), "neither `content` nor `src`"),
        (json!({"dest": "/x", "content": "a", "src": "b"}), "exclude each other"),
        (json!({"dest": "x", "content": "a"}), "not an absolute path"),
        (json!({"dest": "/x", "content": "a", "validate": "visudo -cf"}), "does not name the file"),
        (json!({"dest": "/x", "src": "dir/"}), "directories cannot be copied"),
        (json!({"dest": "/x", "content": "a", "mode": "preserve"}), "only with `remote_src`"),
    ] {
        assert!(faults::<Copy>(args.clone()).contains(fault), "{args}");
    }
    assert_eq!(faults::<Copy>(json!({"dest": "/x", "content": "a", "validate": "visudo -cf %s"})), "");
}

#[test]
fn validation_is_argv() {
    let args = copy(json!({"dest": "/etc/sudoers.d/x", "content": "a", "validate": "visudo -cf '%s'"}));
    let host = Fake::with(&[]);
    host.directory("/etc/sudoers.d");
    let seen = Task::probe(&args, &host).unwrap();
    let super::super::Decision::Drift(change) = args.decide(&seen).decision else { panic!("no drift") };
    let Action::WriteFile { validate: Some(argv), .. } = &change.steps[0].action else { panic!("no write") };
    assert_eq!(*argv, ["visudo", "-cf", "%s"]);
}
