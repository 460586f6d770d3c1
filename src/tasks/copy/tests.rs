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
        (json!({"dest": "/x", "src": "/dir/", "remote_src": true}), "on the host cannot be copied"),
        (json!({"dest": "/x", "content": "a", "mode": "preserve"}), "`preserve` needs `src`"),
        (json!({"dest": "/x", "src": "a", "directory_mode": "preserve"}), "not taken from the source"),
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

/// A workstation's directory `conf` with two texts, one of them deeper, and bytes.
fn conf(args: serde_json::Value) -> Copy {
    let desk = Desk(BTreeMap::from([
        ("files/conf/a.conf", b"a\n".as_slice()),
        ("files/conf/sub/b.conf", b"b\n"),
        ("files/conf/sub/key.gpg", b"\xff\x00"),
    ]));
    let mut args = copy(args);
    Task::resolve(&mut args, &desk).unwrap();
    args
}

#[test]
fn a_directory_goes_where_ansible_puts_it() {
    for (src, dest, at) in [
        ("conf", "/etc/app", "/etc/app/conf"),
        ("conf", "/etc/app/", "/etc/app/conf"),
        ("conf/", "/etc/app", "/etc/app"),
        ("conf/", "/etc/app/", "/etc/app"),
        ("conf/", "/", ""),
    ] {
        let host = Fake::with(&[]);
        converges(&conf(json!({"src": src, "dest": dest})), &host);
        assert_eq!(host.text(&format!("{at}/sub/b.conf")).as_deref(), Some("b\n"), "{src} -> {dest}");
        assert_eq!(host.text(&format!("{at}/a.conf")).as_deref(), Some("a\n"), "{src} -> {dest}");
    }
}

#[test]
fn a_directory_is_shown_file_by_file_and_only_what_differs_is_touched() {
    let host = Fake::with(&[("/etc/app/a.conf", "old\n"), ("/etc/app/mine", "stays")]);
    host.file("/etc/app/sub/b.conf", "b\n", 0o644);
    let args = conf(json!({"src": "conf/", "dest": "/etc/app", "mode": "0644", "directory_mode": "0750"}));
    let diff = converges(&args, &host);
    assert!(diff.starts_with("--- /etc/app/a.conf\n+++ /etc/app/a.conf\n@@ -1 +1 @@\n-old\n+a\n"), "{diff}");
    assert!(diff.contains("+++ /etc/app/sub/key.gpg\nbinary files differ (sha256 absent -> "), "{diff}");
    assert_eq!(*host.done.borrow(), ["write /etc/app/a.conf (2 bytes)", "write /etc/app/sub/key.gpg (2 bytes)"]);
    assert_eq!(host.text("/etc/app/mine").as_deref(), Some("stays"));
    // A directory that was there keeps its mode.
    assert_eq!(host.mode("/etc/app/sub"), 0o755);
}

#[test]
fn new_directories_and_files_get_the_modes_asked_for() {
    let host = Fake::with(&[]);
    host.answer(&["getent", "passwd", "www-data"], crate::host::Output::ok("www-data:x:33:33:::\n"));
    let args =
        conf(json!({"src": "conf", "dest": "/etc/a/b", "mode": "0600", "directory_mode": "0700", "owner": "www-data"}));
    let diff = converges(&args, &host);
    assert!(diff.contains("--- /dev/null\n+++ /etc/a/b/conf/sub/\n@@ attributes @@\n+mode 0700\n+owner www-data\n"));
    for path in ["/etc/a", "/etc/a/b", "/etc/a/b/conf", "/etc/a/b/conf/sub"] {
        assert_eq!(host.mode(path), 0o700, "{path}");
    }
    assert_eq!(host.mode("/etc/a/b/conf/sub/b.conf"), 0o600);
    let owner = |path: &str| host.files.borrow()[Path::new(path)].0.owner.clone();
    assert_eq!(owner("/etc/a/b/conf/sub/b.conf"), "www-data");
    // Attributes alone are drift.
    host.file("/etc/a/b/conf/a.conf", "a\n", 0o644);
    let diff = converges(&args, &host);
    assert!(
        diff.starts_with("--- /etc/a/b/conf/a.conf\n+++ /etc/a/b/conf/a.conf\n@@ attributes @@\n-mode 0644"),
        "{diff}"
    );
    assert_eq!(diff.matches("---").count(), 1, "{diff}");
}

#[test]
fn what_stands_in_a_directorys_way_is_a_reason() {
    let args = conf(json!({"src": "conf/", "dest": "/etc/app"}));
    refuses(&args, &Fake::with(&[("/etc/app", "a file")]), "/etc/app is a regular file, not a directory");
    refuses(&args, &Fake::with(&[("/etc/app/sub", "a file")]), "/etc/app/sub is a regular file, not a directory");
    refuses(&args, &Fake::with(&[("/etc/app/a.conf/x", "")]), "/etc/app/a.conf is a directory, not a file");
    let error = Task::resolve(
        &mut copy(json!({"src": "conf/", "dest": "/etc/app"})),
        &Desk(BTreeMap::from([("files/conf", b"".as_slice())])),
    );
    assert_eq!(error.unwrap_err().to_string(), "files/conf is a file; write `src` without the last `/`");
}

#[test]
fn force_off_brings_only_what_is_missing_in_a_directory() {
    let host = Fake::with(&[("/etc/app/a.conf", "mine")]);
    converges(&conf(json!({"src": "conf/", "dest": "/etc/app", "force": false})), &host);
    assert_eq!(host.text("/etc/app/a.conf").as_deref(), Some("mine"));
    assert_eq!(host.text("/etc/app/sub/b.conf").as_deref(), Some("b\n"));
}

#[test]
fn links_that_are_not_followed_are_made_on_the_host() {
    let entry = |path: &str, item| SourceEntry { path: path.into(), item };
    let mut args = copy(json!({"src": "conf/", "dest": "/etc/app", "local_follow": false, "mode": "preserve"}));
    let script = SourceItem::File { mode: 0o750, content: Bytes(b"#!/bin/sh\n".to_vec()) };
    args.resolved = Some(Resolved::Tree(vec![
        entry("", SourceItem::Directory),
        entry("run", script),
        entry("start", SourceItem::Link { target: "run".into() }),
    ]));
    let host = Fake::with(&[]);
    let diff = converges(&args, &host);
    assert!(diff.ends_with("--- /etc/app/start\n+++ /etc/app/start\n+link to run\n"), "{diff}");
    assert_eq!(host.mode("/etc/app/run"), 0o750);
    let host = Fake::with(&[]);
    host.link("/etc/app/start", "elsewhere");
    host.directory("/etc/app");
    assert!(converges(&args, &host).contains("-link to elsewhere\n+link to run\n"));
    refuses(&args, &Fake::with(&[("/etc/app/start", "")]), "/etc/app/start is a regular file, not a symbolic link");
}

#[test]
fn the_diff_of_a_huge_directory_names_what_it_does_not_show() {
    let entry = |path: String, item| SourceEntry { path, item };
    let text: String = (0..300).map(|n| format!("{n}\n")).collect();
    let mut entries = vec![entry(String::new(), SourceItem::Directory)];
    entries.extend((0..20).map(|n| {
        entry(format!("{n:02}"), SourceItem::File { mode: 0o644, content: Bytes(text.clone().into_bytes()) })
    }));
    let mut args = copy(json!({"src": "many/", "dest": "/etc/many"}));
    args.resolved = Some(Resolved::Tree(entries));
    let host = Fake::with(&[]);
    let diff = converges(&args, &host);
    assert!(diff.lines().count() < 2100, "{}", diff.lines().count());
    assert!(diff.ends_with("+++ /etc/many/19\n... 301 more lines\n"), "{}", &diff[diff.len() - 80..]);
    assert_eq!(host.text("/etc/many/19").unwrap(), text);
}
