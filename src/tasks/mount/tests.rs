use super::*;
use crate::engine;
use crate::host::{Local, Output};
use crate::tasks::Decision;
use crate::wire::Status;
use serde_json::Value as Json;

fn task(json: Json) -> Mount {
    let task: Mount = serde_json::from_value(json).unwrap();
    assert_eq!(Task::check_args(&task), []);
    task
}

fn backup(state: &str) -> Mount {
    task(json!({"path": "/mnt/backup/", "src": "/dev/disk/by-id/x", "fstype": "ext4", "state": state}))
}

#[test]
fn fstab_is_edited_without_loss() {
    let entry = backup("mounted").entry();
    let line = "/dev/disk/by-id/x /mnt/backup ext4 defaults 0 0\n";
    for (before, after) in [
        (String::new(), line.to_owned()),
        ("# keep\n/dev/sda1\t/\text4 defaults".into(), format!("# keep\n/dev/sda1\t/\text4 defaults\n{line}")),
        ("/dev/disk/by-id/x   /mnt/backup/ ext4\n".into(), "/dev/disk/by-id/x   /mnt/backup/ ext4\n".into()),
        ("UUID=1 /mnt/backup xfs ro 0 2\nb /b ext4\n".into(), format!("{line}b /b ext4\n")),
        ("a /mnt/backup ext4\nb /b ext4\nc /mnt/backup ext4\n".into(), format!("{line}b /b ext4\n")),
    ] {
        assert_eq!(fstab::with(&before, &entry), after, "{before:?}");
        assert_eq!(fstab::with(&after, &entry), after, "idle on {after:?}");
    }
    assert_eq!(fstab::without("a /mnt/backup/ ext4\n# /mnt/backup\n", "/mnt/backup"), "# /mnt/backup\n");
}

#[test]
fn spaces_are_written_as_octal() {
    for text in ["/mnt/my data", "tab\there", "back\\slash", "plain", "#hash"] {
        assert_eq!(fstab::unescape(&fstab::escape(text)), text);
    }
    assert_eq!(fstab::escape("/mnt/my data"), "/mnt/my\\040data");
    let entry = task(json!({"path": "/mnt/my data", "src": "a:/b", "fstype": "nfs", "state": "present"})).entry();
    let text = fstab::with("", &entry);
    assert_eq!(text, "a:/b /mnt/my\\040data nfs defaults 0 0\n");
    assert!(fstab::has(&text, "/mnt/my data"));
}

const TABLE_TEXT: &str = "\
29 1 252:1 / / rw,relatime shared:1 - ext4 /dev/mapper/pve-root rw
40 29 0:30 / /mnt/auto rw shared:2 - autofs systemd-1 rw
41 29 8:1 / /mnt/my\\040data rw shared:3 master:1 - ext4 /dev/sda1 rw
";

#[test]
fn the_kernels_table_is_read() {
    let at = |target| table::find(TABLE_TEXT, target).unwrap().map(|m| m.source);
    assert_eq!(at("/mnt/my data").as_deref(), Some("/dev/sda1"));
    assert_eq!(at("/mnt/auto"), None);
    assert_eq!(at("/mnt"), None);
    assert!(table::find("nonsense\n", "/").is_err());
    let real = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(table::find(&real, "/proc").unwrap().is_some(), "this machine's own table");
    let more = table::with(TABLE_TEXT, "/mnt/new one", "s:/e", "nfs");
    assert_eq!(table::find(&more, "/mnt/new one").unwrap().unwrap().fstype, "nfs");
    assert_eq!(table::without(&more, "/mnt/new one"), TABLE_TEXT);
}

/// A node whose `mount` and `umount` know fstab and the table.
fn node() -> (tempfile::TempDir, Local) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_owned();
    for path in ["etc", "proc/self", "dev/disk/by-id", "mnt"] {
        std::fs::create_dir_all(root.join(path)).unwrap();
    }
    std::fs::write(root.join("etc/fstab"), "# static\n").unwrap();
    std::fs::write(root.join("proc/self/mountinfo"), TABLE_TEXT).unwrap();
    std::fs::write(root.join("dev/sdb"), "").unwrap();
    std::os::unix::fs::symlink("../../sdb", root.join("dev/disk/by-id/x")).unwrap();
    let host = Local::rooted("pve1", &root).with_programs(Box::new(move |argv, _| {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let now = std::fs::read_to_string(root.join("proc/self/mountinfo")).unwrap();
        let after = match words.as_slice() {
            // The kernel's name, as a real table shows it.
            ["mount", target] => table::with(&now, target, "/dev/sdb", "ext4"),
            ["umount", target] => table::without(&now, target),
            ["mount", "-o", "remount", _] => now,
            _ => return None,
        };
        std::fs::write(root.join("proc/self/mountinfo"), after).unwrap();
        Some(Output::default())
    }));
    (dir, host)
}

#[test]
fn mounted_remounted_unmounted_absent() {
    let (dir, host) = node();
    let apply = |task: &Mount| {
        let result = engine::apply(task, &host, &[], &mut |_, _| {});
        (result.status, result.summary)
    };
    let text = || std::fs::read_to_string(dir.path().join("etc/fstab")).unwrap();
    assert_eq!(apply(&backup("mounted")).0, Status::Changed);
    assert_eq!(apply(&backup("mounted")).0, Status::Ok, "the link and the kernel's name are one device");
    assert_eq!(text(), "# static\n/dev/disk/by-id/x /mnt/backup ext4 defaults 0 0\n");
    assert!(dir.path().join("mnt/backup").is_dir());
    let noatime = Mount { opts: "noatime".into(), ..backup("mounted") };
    assert!(apply(&noatime).1.contains("remount /mnt/backup"));
    assert_eq!(apply(&noatime).0, Status::Ok);
    let other = Mount { src: Some("/dev/sdc".into()), ..backup("mounted") };
    assert_eq!(
        apply(&other),
        (Status::Blocked, "/dev/sdb is mounted on /mnt/backup, not /dev/sdc; unmount it first".into())
    );
    assert_eq!(apply(&backup("unmounted")).0, Status::Changed);
    assert!(text().contains("/mnt/backup"));
    assert_eq!(apply(&backup("absent")).0, Status::Changed);
    assert_eq!(apply(&backup("absent")).0, Status::Ok);
    assert_eq!(text(), "# static\n");
}

#[test]
fn a_preview_sees_the_mount() {
    let (_dir, host) = node();
    let preview = crate::host::Preview::new(host);
    assert_eq!(engine::check(&backup("mounted"), &preview).status, Status::Drifted);
    let again = engine::check(&backup("mounted"), &preview);
    assert_eq!((again.status, again.provisional.len()), (Status::Ok, 0), "{}", again.summary);
}

#[test]
fn arguments_and_obstacles() {
    for (args, faults) in [
        (json!({"path": "/x", "state": "mounted"}), 2),
        (json!({"path": "x", "state": "absent"}), 1),
        (json!({"path": "/", "state": "unmounted"}), 1),
        (json!({"path": "/etc/pve/", "state": "absent"}), 1),
        (json!({"path": "/x", "src": "a", "fstype": "ext4", "opts": "a, b", "state": "present"}), 1),
    ] {
        let task: Mount = serde_json::from_value(args.clone()).unwrap();
        assert_eq!(Task::check_args(&task).len(), faults, "{args}");
    }
    let seen =
        Seen { fstab: None, table: String::new(), mounted: None, same_device: false, point: Some(FileKind::File) };
    assert!(matches!(backup("mounted").decide(&seen).decision, Decision::Blocked(_)));
    assert_eq!(Mount { boot: false, ..backup("present") }.entry().options, "defaults,noauto");
}
