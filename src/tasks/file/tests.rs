use super::*;
use crate::tasks::fake::{Fake, converges, faults, idle, refuses, task};
use serde_json::json;

fn file(args: serde_json::Value) -> File {
    task(args)
}

#[test]
fn a_directory_comes_with_those_above_it() {
    let host = Fake::with(&[]);
    let diff = converges(&file(json!({"path": "/srv/a/b/", "state": "directory", "mode": "0750"})), &host);
    assert!(diff.contains("+++ /srv/a/b/\n@@ attributes @@\n+mode 0750\n"), "{diff}");
    assert_eq!(host.mode("/srv/a"), 0o750);
    refuses(&file(json!({"path": "/etc/x", "state": "directory"})), &Fake::with(&[("/etc/x", "")]), "not a directory");
}

#[test]
fn recursion_sets_what_differs_and_leaves_links_alone() {
    let host = Fake::with(&[("/srv/d/a", "1"), ("/srv/d/sub/b", "2")]);
    host.link("/srv/d/l", "/etc");
    let args = file(json!({"path": "/srv/d", "recurse": true, "mode": "u=rwX,go=rX,o="}));
    converges(&args, &host);
    assert_eq!([host.mode("/srv/d"), host.mode("/srv/d/a"), host.mode("/srv/d/sub")], [0o750, 0o640, 0o750]);
    assert_eq!(host.mode("/etc"), 0o755);
}

#[test]
fn absent_removes_a_tree_but_no_mount_and_no_top_level_directory() {
    let host = Fake::with(&[("/srv/d/sub/b", "2")]);
    converges(&file(json!({"path": "/srv/d", "state": "absent"})), &host);
    assert_eq!(host.text("/srv/d/sub/b"), None);
    idle(&file(json!({"path": "/srv/d", "state": "absent"})), &host);

    let mounted = Fake::with(&[("/srv/d/x", "")]);
    let info = "36 35 98:0 / / rw - ext4 /dev/a rw\n37 36 98:1 / /srv/d/my\\040data rw - ext4 /dev/b rw\n";
    mounted.file("/proc/self/mountinfo", info, 0o444);
    refuses(&file(json!({"path": "/srv/d", "state": "absent"})), &mounted, "/srv/d/my data is a mount point");
    refuses(&file(json!({"path": "/", "state": "absent"})), &mounted, "right below the root");
    refuses(&file(json!({"path": "/etc/", "state": "absent"})), &mounted, "right below the root");
}

#[test]
fn links_are_made_moved_and_never_put_over_data() {
    let host = Fake::with(&[("/etc/a", ""), ("/etc/b", ""), ("/etc/plain", "data"), ("/etc/full/x", "")]);
    converges(&file(json!({"path": "/etc/l", "src": "a", "state": "link"})), &host);
    let diff = converges(&file(json!({"path": "/etc/l", "src": "/etc/b"})), &host);
    assert_eq!(diff, "--- /etc/l\n+++ /etc/l\n-link to a\n+link to /etc/b\n");
    for (path, src, reason) in [
        ("/etc/plain", "a", "`force: true` replaces it"),
        ("/etc/full", "a", "not empty"),
        ("/etc/n", "gone", "does not exist"),
    ] {
        let fresh = Fake::with(&[("/etc/a", ""), ("/etc/plain", "data"), ("/etc/full/x", "")]);
        refuses(&file(json!({"path": path, "src": src, "state": "link"})), &fresh, reason);
    }
    converges(&file(json!({"path": "/etc/plain", "src": "gone", "state": "link", "force": true})), &host);
}

#[test]
fn touch_creates_and_a_file_is_never_created() {
    let host = Fake::with(&[]);
    refuses(&file(json!({"path": "/etc/x", "state": "file", "mode": "0600"})), &host, "does not exist");
    converges(&file(json!({"path": "/etc/x", "state": "touch", "mode": "0600"})), &host);
    assert_eq!(host.text("/etc/x").unwrap(), "");
    converges(&file(json!({"path": "/etc/x", "mode": "g+r"})), &host);
    assert_eq!(host.mode("/etc/x"), 0o640);
}

#[test]
fn attributes_go_to_what_a_link_leads_to() {
    let host = Fake::with(&[("/etc/real", "")]);
    host.link("/etc/l", "real");
    converges(&file(json!({"path": "/etc/l", "mode": "0600"})), &host);
    assert_eq!(host.mode("/etc/real"), 0o600);
}

#[test]
fn faults_are_found_without_a_host() {
    for (args, fault) in [
        (json!({"path": "x"}), "not an absolute path"),
        (json!({"path": "/a/../b"}), "depends on what is a link"),
        (json!({"path": "/a", "state": "link"}), "needs `src`"),
        (json!({"path": "/a", "state": "directory", "src": "b"}), "is for `state: link`"),
        (json!({"path": "/a", "state": "file", "recurse": true}), "is for `state: directory`"),
        (json!({"path": "/a", "state": "absent", "mode": "0600"}), "what is absent"),
        (json!({"path": "/a", "state": "hard", "src": "/b"}), "hard links are not made"),
        (json!({"path": "/a", "state": "touch", "modification_time": "now"}), "never be in order"),
        (json!({"path": "/a", "state": "touch", "access_time": "202501020304.05"}), "could not be held"),
    ] {
        let found = faults::<File>(args.clone());
        assert!(found.contains(fault), "{args}: {found}");
    }
}

#[test]
fn a_touched_file_keeps_its_times_and_is_left_alone() {
    let host = Fake::with(&[]);
    let args = file(json!({
        "path": "/etc/x", "state": "touch", "access_time": "preserve", "modification_time": "preserve",
    }));
    converges(&args, &host);
    assert_eq!(host.done.borrow().len(), 1);
    let found = faults::<File>(json!({"path": "/a", "state": "hard", "src": "/b"}));
    assert_eq!(found.lines().count(), 1, "{found}");
}
