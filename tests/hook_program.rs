//! The hook as Proxmox VE calls it: the real program, its exit code, its output, its journal entries, mail and metrics,
//! over a directory that stands for a node and real stand-ins for `drbdsetup`, good ones and bad ones.

use serde_json::{Value as Json, json};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_converge");

struct Node {
    _temp: tempfile::TempDir,
    root: PathBuf,
    journal: UnixDatagram,
}

/// `Secondary/UpToDate` and its peers: connection, role, disk, replication.
fn status(role: &str, disk: &str, peers: &[[&str; 4]]) -> Json {
    let connection = |(n, [connection, role, disk, replication]): (usize, &[&str; 4])| {
        json!({"peer-node-id": n + 1, "name": format!("pve{}", n + 2), "connection-state": connection, "peer-role": role,
            "peer_devices": [{"volume": 0, "replication-state": replication, "peer-disk-state": disk}]})
    };
    json!([{"name": "nfs1", "node-id": 0, "role": role,
        "devices": [{"volume": 0, "minor": 100, "disk-state": disk, "client": false, "quorum": true}],
        "connections": peers.iter().enumerate().map(connection).collect::<Vec<_>>()}])
}

const GOOD: [&str; 4] = ["Connected", "Secondary", "UpToDate", "Established"];

fn good(role: &str) -> Json {
    status(role, "UpToDate", &[GOOD, GOOD])
}

fn peer_primary() -> Json {
    status("Secondary", "UpToDate", &[["Connected", "Primary", "UpToDate", "Established"], GOOD])
}

/// Waits are for the tests that are about them.
const HURRY: &str = "defaults: {wait_s: 0, boot_wait_s: 0, release_wait_s: 0}\n";

impl Node {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().to_path_buf();
        std::fs::create_dir_all(root.join("run/systemd/journal")).unwrap();
        let journal = UnixDatagram::bind(root.join("run/systemd/journal/socket")).unwrap();
        journal.set_nonblocking(true).unwrap();
        let node = Self { _temp: temp, root, journal };
        node.put("etc/pve/lxc/101.conf", "arch: amd64\nrootfs: /dev/drbd100,shared=1\n\n[snap]\nrootfs: /dev/drbd7\n");
        node.put("etc/converge/hook.yml", HURRY);
        node.put("sys/module/drbd/version", "9.3.3\n");
        node.put("sys/class/block/drbd100/dev", "147:100\n");
        node.put("sys/kernel/debug/drbd/resources/nfs1/volumes/0/openers", "");
        node.put("proc/uptime", "86400.00 1.00\n");
        node.put("var/lib/prometheus/node-exporter/.keep", "");
        node.process(1, "systemd", "mnt:[1]", "29 1 252:1 / / rw - ext4 /dev/mapper/pve-root rw\n");
        node.put("show.json", r#"[{"resource": "nfs1", "options": {"quorum": "majority"}}]"#);
        node.program(
            "drbdsetup",
            "echo \"$@\" >> $R/calls\ncase \"$1\" in\nstatus) cat $R/status.json;;\nshow) cat $R/show.json;;\n\
             secondary) cp $R/demoted.json $R/status.json;;\nesac",
        );
        node.program("sendmail", "cat >> $R/mail");
        node.program("kill", "echo \"$@\" >> $R/killed");
        node.says(&good("Secondary"));
        node.put("demoted.json", &good("Secondary").to_string());
        node
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let beside = path.with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    fn says(&self, status: &Json) {
        self.put("status.json", &status.to_string());
    }

    fn program(&self, name: &str, body: &str) {
        let path = format!("bin/{name}");
        self.put(&path, &format!("#!/bin/sh\nR={}\n{body}\n", self.root.display()));
        std::fs::set_permissions(self.path(&path), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn process(&self, pid: u32, name: &str, space: &str, mountinfo: &str) {
        self.put(&format!("proc/{pid}/comm"), &format!("{name}\n"));
        self.put(&format!("proc/{pid}/mountinfo"), mountinfo);
        std::fs::create_dir_all(self.path(&format!("proc/{pid}/ns"))).unwrap();
        std::fs::create_dir_all(self.path(&format!("proc/{pid}/fd"))).unwrap();
        symlink(space, self.path(&format!("proc/{pid}/ns/mnt"))).unwrap();
        symlink(space.replace("mnt", "net"), self.path(&format!("proc/{pid}/ns/net"))).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(["hook"]).args(args).env("CONVERGE_HOOK_ROOT", &self.root).stdin(Stdio::null());
        command
    }

    fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn hook(&self, args: &[&str]) -> (i32, String) {
        let output = self.command(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap(), said)
    }

    /// `CONVERGE_RESULT` of every entry since the last call.
    fn journal(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut bytes = vec![0; 1 << 16];
        while let Ok(length) = self.journal.recv(&mut bytes) {
            let entry = String::from_utf8(bytes[..length].to_vec()).unwrap();
            let field = |name: &str| entry.lines().find_map(|l| l.strip_prefix(name)).map(str::to_owned);
            assert!(field("MESSAGE=").is_some() && field("MESSAGE_ID=").is_some_and(|id| id.len() == 32), "{entry}");
            all.push(field("CONVERGE_RESULT=").unwrap());
        }
        all
    }
}

#[test]
fn a_healthy_start_is_let_through_and_told() {
    let node = Node::new();
    let (rc, said) = node.hook(&["101", "pre-start"]);
    assert_eq!(
        (rc, said.trim()),
        (0, "converge: container 101 may start: nfs1 is UpToDate here, 2 of 2 peers connected")
    );
    assert_eq!(node.text("calls"), "status --json\n", "one question, and no more");
    assert_eq!(node.journal(), ["allowed"]);
    let metric = node.text("var/lib/prometheus/node-exporter/converge-hook-101-start.prom");
    assert!(metric.contains("converge_hook_start_answer{vmid=\"101\"} 0\n"), "{metric}");
    assert_eq!(node.text("mail"), "");
}

#[test]
fn a_denial_says_what_why_and_what_to_do_everywhere_and_is_mailed_once() {
    let node = Node::new();
    node.says(&peer_primary());
    for _ in 0..2 {
        let (rc, said) = node.hook(&["101", "pre-start"]);
        assert_eq!(rc, 1);
        assert_eq!(said.lines().count(), 1, "{said}");
        for part in
            ["refused: nfs1 is in use on pve2, which is Primary", "destroy", "Stop what uses it", "--start-once 101"]
        {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(node.journal(), ["denied"]);
    }
    let mail = node.text("mail");
    assert_eq!(mail.matches("Subject: converge: start of container 101 refused on ").count(), 1, "{mail}");
    assert!(mail.starts_with("From: root\nTo: root\n") && mail.contains("nfs1 is in use on pve2"), "{mail}");
    // Another cause is another mail.
    node.says(&status("Secondary", "Outdated", &[GOOD, GOOD]));
    node.hook(&["101", "pre-start"]);
    assert_eq!(node.text("mail").matches("Subject:").count(), 2);
    let metric = node.text("var/lib/prometheus/node-exporter/converge-hook-101-start.prom");
    assert!(metric.contains("converge_hook_start_answer{vmid=\"101\"} 2\n"), "{metric}");
}

#[test]
fn what_passes_by_itself_is_waited_for() {
    let node = Node::new();
    node.put("etc/converge/hook.yml", "defaults: {wait_s: 60}\n");
    let connecting = ["Connecting", "Unknown", "DUnknown", "Off"];
    node.put("show.json", r#"[{"resource": "nfs1"}]"#);
    node.says(&status("Secondary", "UpToDate", &[connecting, connecting]));
    let child = node.spawn(&["101", "pre-start"]);
    let since = Instant::now();
    while node.text("calls").lines().filter(|l| *l == "status --json").count() < 2 {
        assert!(since.elapsed() < Duration::from_secs(50), "it did not look twice");
        std::thread::sleep(Duration::from_millis(50));
    }
    node.says(&good("Secondary"));
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(
        said.starts_with("converge: waiting up to 60 s: nfs1 is not connected to pve2, pve3 (Connecting)"),
        "{said}"
    );
    assert!(said.contains("may start"), "{said}");
    assert_eq!(node.journal(), ["allowed"]);
}

/// The stand-ins behave as badly as programs do; each is "cannot tell", in bounded time and memory.
#[test]
fn a_drbdsetup_that_gives_no_answer_is_cannot_tell() {
    for (body, cause) in [
        ("echo $$ > $R/pid; sleep 600 & wait", "no answer within 1 s: `"),
        ("echo $$ > $R/pid; exec yes '[{\"name\":\"nfs1\"}]'", "no answer within 1 s: `"),
        ("head -c 3000000 /dev/zero | tr '\\0' ' '; echo '[]'", "wrote more than 1 MiB"),
        ("kill -SEGV $$", "ended with 139"),
        ("echo broken >&2; exit 20", "ended with 20: broken"),
        ("echo '[{\"name\": \"nfs1\", \"role\":'", "EOF while parsing"),
        ("exit 0", "EOF while parsing"),
        ("echo '{\"some\": \"object\"}'", "drbdsetup status --json: "),
        ("printf '\\377\\376\\000'", "drbdsetup status --json: "),
    ] {
        let node = Node::new();
        node.put("etc/converge/hook.yml", "defaults: {wait_s: 0, boot_wait_s: 0, command_timeout_s: 1}\n");
        node.program("drbdsetup", body);
        let since = Instant::now();
        let (rc, said) = node.hook(&["101", "pre-start"]);
        assert_eq!(rc, 1, "{body}: {said}");
        assert!(
            said.contains("cannot tell the state of nfs1") || said.contains("cannot tell the state of /dev/drbd100"),
            "{said}"
        );
        assert!(said.contains(cause), "{body}: {said}");
        assert!(since.elapsed() < Duration::from_secs(20), "{body}");
        if let Ok(pid) = node.text("pid").trim().parse::<u32>() {
            assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{body}: left behind");
        }
    }
    let node = Node::new();
    std::fs::remove_file(node.path("bin/drbdsetup")).unwrap();
    let (rc, said) = node.hook(&["101", "pre-start"]);
    assert!(rc == 1 && said.contains("drbdsetup is not installed on this host"), "{said}");
}

/// The real one, of a machine that has the tools and no module.
#[test]
fn the_real_drbdsetup_without_a_module_is_cannot_tell() {
    let real = Path::new("/usr/sbin/drbdsetup");
    if !real.exists() || Path::new("/sys/module/drbd").exists() {
        eprintln!("skipped: no drbdsetup, or DRBD is loaded here");
        return;
    }
    let node = Node::new();
    std::fs::remove_file(node.path("bin/drbdsetup")).unwrap();
    symlink(real, node.path("bin/drbdsetup")).unwrap();
    let (rc, said) = node.hook(&["101", "pre-start"]);
    assert!(rc == 1 && said.contains("ended with 20: Failed to modprobe drbd"), "{said}");
    // Without a module it is not even asked: asking would load whatever module there is.
    std::fs::remove_file(node.path("sys/module/drbd/version")).unwrap();
    let (rc, said) = node.hook(&["101", "pre-start"]);
    assert!(rc == 1 && said.contains("the DRBD module is not loaded"), "{said}");
}

#[test]
fn a_configuration_that_does_not_read_denies_and_one_start_can_be_let_through() {
    let node = Node::new();
    node.put("etc/converge/hook.yml", "defaults:\n  wiat_s: 3\n");
    let (rc, said) = node.hook(&["101", "pre-start"]);
    assert!(rc == 1 && said.contains("hook.yml:2: unknown field `wiat_s`"), "{said}");
    assert!(said.contains("did you mean `wait_s`"), "{said}");
    assert_eq!(node.hook(&["101", "post-stop"]).0, 0);
    assert_eq!(node.hook(&["--start-once", "101"]).0, 0);
    node.journal();
    let (rc, said) = node.hook(&["101", "pre-start"]);
    assert!(rc == 0 && said.contains("holds for this start alone"), "{said}");
    assert_eq!(node.journal(), ["overridden"]);
    assert_eq!(node.hook(&["101", "pre-start"]).0, 1, "it is used up");
    // One that nobody used within an hour is forgotten.
    node.put("run/converge/hook/start-once/101", "1000000000\n");
    assert_eq!(node.hook(&["101", "pre-start"]).0, 1);
    assert!(!node.path("run/converge/hook/start-once/101").exists());
    // `touch` will do.
    node.put("run/converge/hook/start-once/101", "");
    assert_eq!(node.hook(&["101", "pre-start"]).0, 0);
    // A good start does not use it up.
    node.put("etc/converge/hook.yml", HURRY);
    assert_eq!(node.hook(&["--start-once", "101"]).0, 0);
    assert_eq!(node.hook(&["101", "pre-start"]).0, 0);
    assert!(node.path("run/converge/hook/start-once/101").exists());
}

#[test]
fn under_the_name_of_a_hookscript_it_is_one() {
    let node = Node::new();
    node.says(&peer_primary());
    symlink(BINARY, node.path("bin/converge-hook")).unwrap();
    let call = |phase: &str| {
        let mut command = Command::new(node.path("bin/converge-hook"));
        command.args(["101", phase]).env("CONVERGE_HOOK_ROOT", &node.root).output().unwrap()
    };
    assert_eq!(call("pre-start").status.code(), Some(1));
    assert_eq!(call("pre-hibernate").status.code(), Some(0));
    node.says(&good("Secondary"));
    assert_eq!(call("pre-start").status.code(), Some(0));
}

/// The real `/proc`: this test has `/dev/null` open, and nobody has `/dev/drbd100`.
#[test]
fn a_process_of_this_machine_is_found_by_what_it_has_open() {
    use converge::drbd::status;
    use converge::hook::holders::{Holder, find};
    let resource = status::parse(&good("Primary").to_string()).unwrap().remove(0);
    let node = converge::hook::ThisNode::default();
    assert_eq!(find(&node, &resource, &[]), Ok(Vec::new()));
    let _held = std::fs::File::open("/dev/null").unwrap();
    let found = find(&node, &resource, &["null".to_owned()]).unwrap();
    let own = std::process::id();
    assert!(found.iter().any(|h| matches!(h, Holder::Open(p) if p.pid == own)), "{found:?}");
}

#[test]
fn other_phases_and_other_containers_are_none_of_its_business() {
    let node = Node::new();
    node.says(&peer_primary());
    assert_eq!(node.hook(&["101", "pre-hibernate"]), (0, String::new()));
    node.put("etc/pve/lxc/102.conf", "rootfs: local-lvm:vm-102-disk-0,size=8G\nmp0: /srv,mp=/srv\n");
    assert_eq!(node.hook(&["102", "pre-start"]), (0, String::new()));
    assert_eq!(node.hook(&["102", "post-stop"]), (0, String::new()));
    assert_eq!(node.text("calls"), "", "drbdsetup was not asked");
    let (rc, said) = node.hook(&["103", "pre-start"]);
    assert!(rc == 1 && said.contains("103.conf: there is no such file"), "{said}");
    assert_eq!(node.hook(&["103", "post-stop"]).0, 0);
    // Advisory: it starts, and everybody is told.
    node.put("etc/converge/hook.yml", "defaults: {wait_s: 0}\ncontainers: {101: {mode: advisory}}\n");
    node.journal();
    let (rc, said) = node.hook(&["101", "pre-start"]);
    assert!(rc == 0 && said.contains("although it should not"), "{said}");
    assert_eq!(node.journal(), ["overridden"]);
}

#[test]
fn devices_are_found_below_names_partitions_and_lvm() {
    let node = Node::new();
    node.says(&peer_primary());
    node.put("etc/pve/storage.cfg", "lvm: ondrbd\n\tvgname vg0\n\tcontent rootdir\n");
    std::fs::create_dir_all(node.path("dev/vg0")).unwrap();
    std::fs::create_dir_all(node.path("dev/drbd/by-res/nfs1")).unwrap();
    symlink("../dm-3", node.path("dev/vg0/vm-101-disk-0")).unwrap();
    symlink("../../../drbd100", node.path("dev/drbd/by-res/nfs1/0")).unwrap();
    let block = node.path("sys/class/block");
    std::fs::create_dir_all(node.path("sys/devices/virtual/block/dm-3/slaves/drbd100p1")).unwrap();
    std::fs::create_dir_all(node.path("sys/devices/virtual/block/drbd100/drbd100p1")).unwrap();
    std::fs::write(node.path("sys/devices/virtual/block/drbd100/drbd100p1/partition"), "1\n").unwrap();
    symlink("../../devices/virtual/block/dm-3", block.join("dm-3")).unwrap();
    symlink("../../devices/virtual/block/drbd100/drbd100p1", block.join("drbd100p1")).unwrap();
    for line in [
        "rootfs: ondrbd:vm-101-disk-0,size=8G",
        "rootfs: /dev/drbd100p1",
        "rootfs: /dev/drbd/by-res/nfs1/0",
        "rootfs: /dev/drbd/by-res/nfs1/1",
        "rootfs: local-lvm:x\nmp3: mp=/data,volume=/dev/vg0/vm-101-disk-0",
    ] {
        node.put("etc/pve/lxc/101.conf", &format!("{line}\n"));
        let (rc, said) = node.hook(&["101", "pre-start"]);
        assert!(rc == 1 && said.contains("nfs1 is in use on pve2"), "{line}: {said}");
    }
    // LVM of the container itself keeps DRBD open rightly; what uses the LV is what counts.
    node.put("etc/pve/lxc/101.conf", "rootfs: ondrbd:vm-101-disk-0,size=8G\n");
    node.put("sys/class/block/dm-3/dev", "253:3\n");
    std::fs::create_dir_all(node.path("sys/class/block/drbd100/holders/dm-3")).unwrap();
    node.put("sys/kernel/debug/drbd/resources/nfs1/volumes/0/openers", "lvm\t77\t1\n+lvm\t77\t1\n");
    node.says(&good("Primary"));
    assert_eq!(node.hook(&["101", "pre-start"]).0, 0);
    node.process(700, "init", "mnt:[7]", "50 29 253:3 / /rootfs rw - ext4 /dev/dm-3 rw\n");
    let (rc, said) = node.hook(&["101", "pre-start"]);
    assert!(rc == 1 && said.contains("a mount at /rootfs in the namespace of init (pid 700)"), "{said}");
    // Of a resource that is not up its file names it.
    node.put("etc/pve/lxc/101.conf", "rootfs: /dev/drbd100\n");
    node.says(&json!([]));
    node.put("etc/drbd.d/data.res", "resource data { device /dev/drbd100; on a { node-id 0; disk /dev/x; } }");
    let (rc, said) = node.hook(&["101", "pre-start"]);
    assert!(rc == 1 && said.contains("data is not up on this node"), "{said}");
}

#[test]
fn after_a_stop_whoever_holds_the_device_is_named() {
    let node = Node::new();
    assert_eq!(node.hook(&["101", "post-stop"]), (0, "converge: container 101 stopped and DRBD was let go\n".into()));
    assert_eq!(node.journal(), ["released"]);
    node.says(&good("Primary"));
    node.put("sys/kernel/debug/drbd/resources/nfs1/volumes/0/openers", "mount\t2570\t13042\n+mount\t2570\t13042\n");
    node.process(4242, "bash", "mnt:[1]", "29 1 252:1 / / rw - ext4 /dev/mapper/pve-root rw\n");
    symlink("/dev/drbd100", node.path("proc/4242/fd/3")).unwrap();
    node.process(4300, "nfsd-host", "mnt:[9]", "40 29 147:100 / /mnt\\040x rw - ext4 /dev/drbd100 rw\n");
    node.put("proc/4300/net/rpc/nfsd.export/content", "#path domain(flags)\n/mnt x/data\t*(rw)\n/srv\t*(rw)\n");
    node.put("sys/class/block/loop7/loop/backing_file", "/dev/drbd100\n");
    std::fs::create_dir_all(node.path("sys/class/block/drbd100/holders/dm-9")).unwrap();
    node.put("sys/class/block/dm-9/dm/name", "vg-lv\n");
    let (rc, said) = node.hook(&["101", "post-stop"]);
    assert_eq!(rc, 0);
    for part in [
        "nfs1 stays Primary on",
        "bash (pid 4242)",
        "a mount at /mnt x in the namespace of nfsd-host (pid 4300)",
        "the loop device /dev/loop7",
        "the device dm-9 (vg-lv)",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(node.journal(), ["stuck"]);
    assert!(node.text("mail").contains("DRBD stays Primary"), "{}", node.text("mail"));
    let metric = node.text("var/lib/prometheus/node-exporter/converge-hook-101-stop.prom");
    assert!(metric.contains("converge_hook_stuck_primary{vmid=\"101\"} 1\n"), "{metric}");
    assert!(!node.text("calls").contains("secondary") && node.text("killed").is_empty());
    // With leave to: the processes, never those that live with the node itself.
    node.put("etc/converge/hook.yml", "defaults: {release_wait_s: 0, kill: true}\n");
    node.hook(&["101", "post-stop"]);
    let killed = node.text("killed");
    assert!(
        killed.contains("-TERM 4242\n") && killed.contains("-TERM 4300\n") && killed.contains("-KILL 4242\n"),
        "{killed}"
    );
    assert!(!killed.contains(" 1\n"), "{killed}");
}

#[test]
fn what_nobody_holds_is_demoted() {
    let node = Node::new();
    node.put("etc/converge/hook.yml", "defaults: {release_wait_s: 30}\n");
    node.says(&good("Primary"));
    let (rc, said) = node.hook(&["101", "post-stop"]);
    assert!(rc == 0 && said.contains("so it was made Secondary"), "{said}");
    assert_eq!(node.journal(), ["demoted"]);
    assert_eq!(node.text("calls").matches("secondary nfs1").count(), 1);
    assert!(!node.text("calls").contains("force"));
}

/// A container that ended by itself is started again while the hook of its end still waits.
#[test]
fn a_new_start_is_not_taken_for_a_leftover() {
    let node = Node::new();
    node.put("etc/converge/hook.yml", "defaults: {wait_s: 0, release_wait_s: 30, kill: true}\n");
    node.says(&good("Primary"));
    node.put("sys/kernel/debug/drbd/resources/nfs1/volumes/0/openers", "mount\t2570\t1\n");
    node.process(900, "init", "mnt:[9]", "40 29 147:100 / / rw - ext4 /dev/drbd100 rw\n");
    let stop = node.spawn(&["101", "post-stop"]);
    let since = Instant::now();
    while !node.text("calls").contains("status") {
        assert!(since.elapsed() < Duration::from_secs(25));
        std::thread::sleep(Duration::from_millis(20));
    }
    node.says(&good("Secondary"));
    let start = node.hook(&["101", "pre-start"]);
    node.says(&good("Primary"));
    assert_eq!(start.0, 0, "{}", start.1);
    let output = stop.wait_with_output().unwrap();
    assert!(output.status.success());
    let results = node.journal();
    assert!(results.contains(&"allowed".to_owned()) && !results.contains(&"stuck".to_owned()), "{results:?}");
    assert_eq!(node.text("killed"), "");
    assert_eq!(node.text("mail"), "");
}

/// Two at once for one container, many times: each gives a whole answer.
#[test]
fn two_hooks_at_once_do_not_disturb_each_other() {
    let node = Node::new();
    let children: Vec<Child> = (0..8).map(|_| node.spawn(&["101", "pre-start"])).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    assert_eq!(node.journal(), ["allowed"; 8]);
    let metric = node.text("var/lib/prometheus/node-exporter/converge-hook-101-start.prom");
    assert!(metric.ends_with('\n') && metric.lines().count() == 6, "{metric}");
    let left: Vec<_> = std::fs::read_dir(node.path("var/lib/prometheus/node-exporter")).unwrap().flatten().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn before_a_stop_and_after_a_start() {
    let node = Node::new();
    assert_eq!(node.hook(&["101", "pre-stop"]), (0, String::new()));
    let gone = ["Connecting", "Unknown", "DUnknown", "Off"];
    node.says(&status("Primary", "UpToDate", &[gone, ["Connected", "Secondary", "Inconsistent", "SyncSource"]]));
    let (rc, said) = node.hook(&["101", "pre-stop"]);
    assert!(rc == 0 && said.contains("has a current copy of nfs1"), "{said}");
    node.says(&good("Primary"));
    assert_eq!(node.hook(&["101", "post-start"]), (0, String::new()));
    node.says(&status("Secondary", "Outdated", &[GOOD, GOOD]));
    let (rc, said) = node.hook(&["101", "post-start"]);
    assert!(rc == 0 && said.contains("Secondary here although") && said.contains("Outdated"), "{said}");
    assert_eq!(node.journal(), ["last-copy", "started-badly"]);
}

#[test]
fn explain_shows_the_verdict_on_any_node_and_changes_nothing() {
    let node = Node::new();
    std::fs::create_dir_all(node.path("etc/pve/nodes/pve2/lxc")).unwrap();
    std::fs::rename(node.path("etc/pve/lxc/101.conf"), node.path("etc/pve/nodes/pve2/lxc/101.conf")).unwrap();
    let (rc, said) = node.hook(&["--explain", "101"]);
    assert_eq!(rc, 0, "{said}");
    assert!(said.contains("rootfs: /dev/drbd100\n") && said.contains("A start here now is allowed."), "{said}");
    node.says(&peer_primary());
    let (rc, said) = node.hook(&["--explain", "101"]);
    assert!(rc == 1 && said.contains("- refuses [peer-primary]: nfs1 is in use on pve2"), "{said}");
    assert!(said.contains("pve2: Connected, Primary, UpToDate Established"), "{said}");
    assert_eq!((node.journal().len(), node.text("mail").len()), (0, 0));
    assert!(!node.path("run/converge").exists());
    assert_eq!(node.hook(&["101"]).0, 2);
    assert_eq!(node.hook(&["nfs1", "pre-start"]).0, 2);
}
