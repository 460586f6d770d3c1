//! Commands that refuse or only answer: modules, create-md, adjust -d, faults in the configuration.

use super::bed::{Bed, RES};
use crate::lab::drbd::machines::{Data, Device};
use serde_json::Value;

#[test]
fn asking_loads_the_module_and_without_one_says_so() {
    let mut bed = Bed::new();
    bed.nodes.module.clear();
    let version = bed.ok("pve1", "drbdadm --version").stdout;
    assert!(version.contains("DRBDADM_VERSION=9.22.0\n") && bed.nodes.module.is_empty());
    assert_eq!(bed.ok("pve1", "drbdadm status").stdout, "# No currently configured DRBD found.\n");
    assert_eq!(bed.nodes.module.get("pve1").map(String::as_str), Some("9.3.3"));
    assert!(
        bed.ok("pve1", "drbdadm --version")
            .stdout
            .contains("DRBD_KERNEL_VERSION_CODE=0x090303\nDRBD_KERNEL_VERSION=9.3.3\n")
    );
    let status = bed.run("pve1", "drbdadm status nfs1");
    assert_eq!((status.rc, status.stdout.as_str()), (10, "# No currently configured DRBD found.\n"));
    assert_eq!(status.stderr, "nfs1: No such resource\nCommand 'drbdsetup status nfs1' terminated with exit code 10\n");
    let role = bed.run("pve1", "drbdadm role nfs1");
    assert_eq!(
        (role.rc, role.stderr.as_str()),
        (10, "nfs1: Unknown resource\nCommand 'drbdsetup role nfs1' terminated with exit code 10\n")
    );
    assert!(!bed.nodes.module.contains_key("pve2"), "only where somebody asked");
}

#[test]
fn without_any_module_only_the_tools_that_read_disks_work() {
    let mut bed = Bed::new();
    bed.nodes.module.clear();
    bed.nodes.available = None;
    assert_eq!(bed.run("pve1", "drbdsetup status --json").rc, 20);
    let status = bed.run("pve1", "drbdadm status");
    assert_eq!(status.rc, 20);
    assert!(status.stderr.ends_with("Failed to modprobe drbd (No such file or directory)\nCommand 'drbdsetup status' terminated with exit code 20\ncommand status exited with code 20\n"), "{status:?}");
    let up = bed.run("pve1", "drbdadm up nfs1");
    assert_eq!(up.rc, 1);
    assert!(up.stderr.ends_with("Command 'drbdsetup new-resource nfs1 0' terminated with exit code 20\n"), "{up:?}");
    let dry = bed.ok("pve1", "drbdadm -d adjust nfs1").stdout;
    assert_eq!(dry, recorded_action("01-module-not-loaded", "c7-drbdadm-adjust-d").trim_end_matches("rc=0\n"));
    bed.ok("pve1", "drbdadm create-md nfs1");
}

#[test]
fn under_the_old_module_the_new_words_are_not_understood() {
    let mut bed = Bed::new();
    bed.nodes.module.insert("pve1".into(), "8.4.11".into());
    for line in ["drbdadm status", "drbdadm up nfs1", "drbdadm -d adjust nfs1", "drbdadm create-md nfs1"] {
        let said = bed.run("pve1", line);
        assert_eq!(said.rc, 10, "{line}");
        assert_eq!(
            said.stderr,
            "drbd.d/nfs1.res:14: Parse error: 'disk | device | address | meta-disk | flexible-meta-disk' expected,\n\tbut got 'node-id'\n"
        );
    }
    let json = bed.run("pve1", "drbdsetup status --json");
    assert_eq!((json.rc, json.stderr.as_str()), (20, "status: unrecognized option '--json'\n"));
    assert_eq!(bed.ok("pve1", "drbdsetup events2 --now").stdout, "exists -\n");
    assert!(
        bed.ok("pve1", "drbdadm --version")
            .stdout
            .contains("DRBDADM_API_VERSION=1\nDRBD_KERNEL_VERSION_CODE=0x08040b\nDRBDADM_VERSION_CODE")
    );
}

fn recording(state: &str, what: &str) -> Value {
    let all = include_str!("../../../../tests/captured/drbd-9.3.3-utils-9.22-2026-11-22/commands.jsonl");
    all.lines()
        .map(|l| serde_json::from_str::<Value>(l).expect("a recording"))
        .find(|v| v["state"] == state && v["what"] == what)
        .unwrap_or_else(|| panic!("{what} of {state} was not recorded"))
}

fn recorded_action(state: &str, what: &str) -> String {
    recording(state, what)["out"].as_str().unwrap_or_default().to_owned()
}

/// Recording 05 was made with a resource t1 on /dev/vdc of 64 MiB.
fn create_md_bed(size_bytes: u64, data: Data, busy: bool) -> Bed {
    let mut bed = Bed::new();
    let disk = Device { device: "/dev/vdc".into(), size_bytes, data, busy };
    bed.nodes.disks.insert(("pve3".into(), "/dev/vdc".into()), disk.clone());
    bed.nodes.disks.insert(("pve3".into(), "/dev/loop0".into()), Device { device: "/dev/loop0".into(), ..disk });
    let text = RES
        .replace("resource nfs1", "resource t1")
        .replace("/dev/drbd100", "/dev/drbd101")
        .replace(":7000", ":7001")
        .replace("/dev/disk/by-id/virtio-pve3data", "/dev/vdc");
    bed.nodes.files.insert(("pve3".into(), "/etc/drbd.d/t1.res".into()), text);
    bed
}

#[test]
fn create_md_asks_refuses_and_obeys_force_as_recorded() {
    const MIB: u64 = 1 << 20;
    let ext4 = |kib| Data::Ext4 { size_kib: kib };
    // what, command, size, data, mounted, metadata there before, disk named in the file
    let cases: &[(&str, &str, u64, Data, bool, bool, &str)] = &[
        ("i1-blank", "create-md t1", 64 * MIB, Data::Blank, false, false, "/dev/vdc"),
        ("i2-existing-md-stdin-closed", "create-md t1", 64 * MIB, Data::Blank, false, true, "/dev/vdc"),
        ("i5-existing-md-force", "create-md --force t1", 64 * MIB, Data::Blank, false, true, "/dev/vdc"),
        (
            "i6-existing-md-force-maxpeers",
            "create-md --force --max-peers=5 t1",
            64 * MIB,
            Data::Blank,
            false,
            true,
            "/dev/vdc",
        ),
        ("j1-ext4full-stdin-closed", "create-md t1", 64 * MIB, ext4(65536), false, false, "/dev/vdc"),
        ("j4-ext4full-force", "create-md --force t1", 64 * MIB, ext4(65536), false, false, "/dev/vdc"),
        ("j6-ext4small-stdin-closed", "create-md t1", 64 * MIB, ext4(61440), false, false, "/dev/vdc"),
        ("j9-ext4small-force", "create-md --force t1", 64 * MIB, ext4(61440), false, false, "/dev/vdc"),
        ("k1-mounted-ext4", "create-md --force t1", 64 * MIB, ext4(65536), true, false, "/dev/vdc"),
        ("l1-40K", "create-md --force t1", 40960, Data::Blank, false, false, "/dev/loop0"),
        ("l2-100K", "create-md --force t1", 102_400, Data::Blank, false, false, "/dev/loop0"),
        ("l3-1M", "create-md --force t1", MIB, Data::Other, false, false, "/dev/loop0"),
        ("l4-missing-disk", "create-md --force t1", MIB, Data::Blank, false, false, "/dev/nosuch"),
        ("m1-random-data-closed", "create-md t1", 64 * MIB, Data::Other, false, false, "/dev/vdc"),
    ];
    for (what, command, size, data, busy, before, disk) in cases {
        let mut bed = create_md_bed(*size, data.clone(), *busy);
        if *before {
            bed.ok("pve3", "drbdadm create-md t1");
        }
        let text = bed.nodes.files.get_mut(&("pve3".into(), "/etc/drbd.d/t1.res".into())).unwrap();
        *text = text.replace("/dev/vdc", disk);
        let said = bed.run("pve3", &format!("drbdadm {command}"));
        let recorded = recording("05-create-md-cases", what);
        assert_eq!(Value::from(said.rc), recorded["rc"], "{what}: {said:?}");
        assert_eq!(Value::from(said.stdout), recorded["out"], "{what}");
        assert_eq!(Value::from(said.stderr), recorded["err"], "{what}");
    }
}

#[test]
fn create_md_never_touches_an_attached_disk() {
    let mut bed = Bed::healthy();
    for (what, line) in [
        ("a9-create-md-while-attached", "drbdadm create-md --force nfs1"),
        ("a91-dump-md-while-attached", "drbdadm dump-md nfs1"),
    ] {
        let said = bed.run("pve1", line);
        let recorded = recording("09-after-skip-initial-sync", what);
        assert_eq!(Value::from(said.rc), recorded["rc"]);
        assert_eq!(Value::from(said.stderr), recorded["err"]);
        assert_eq!(Value::from(said.stdout), recorded["out"]);
    }
}

#[test]
fn dumped_metadata_lies_where_the_real_one_does() {
    let mut bed = create_md_bed(64 << 20, Data::Blank, false);
    bed.ok("pve3", "drbdadm create-md --max-peers=5 t1");
    let dump = bed.ok("pve3", "drbdadm dump-md t1").stdout;
    let recorded = recorded_action("05-create-md-cases", "i7-dump-md");
    let ours: Vec<&str> = dump.lines().skip(2).take_while(|l| !l.starts_with("# al-extents")).collect();
    let theirs: Vec<&str> = recorded.lines().skip(2).take_while(|l| !l.starts_with("# al-extents")).collect();
    assert_eq!(ours, theirs);
    let gi = bed.ok("pve3", "drbdadm get-gi t1").stdout;
    assert_eq!(gi.lines().count(), 2);
}

/// Lines of a dry run with the options after the fixed words sorted: DRBD prints them in the order of the file.
fn sorted_options(text: &str) -> Vec<Vec<String>> {
    text.lines()
        .filter(|l| !l.starts_with("rc="))
        .map(|l| {
            let (mut options, words): (Vec<&str>, Vec<&str>) = l.split_whitespace().partition(|w| w.contains('='));
            options.sort_unstable();
            words.into_iter().chain(options).map(str::to_owned).collect()
        })
        .collect()
}

#[test]
fn a_dry_run_of_adjust_lists_what_was_recorded_for_each_change() {
    let net = "  net {\n";
    let cases: &[(&str, &str, &str)] = &[
        (
            "a02-adjust-d-net-options",
            net,
            "  net {\n max-buffers 8000; sndbuf-size 2M; verify-alg crc32c; ping-timeout 10;\n",
        ),
        (
            "a03-adjust-d-disk-options",
            net,
            "  disk { c-plan-ahead 7; c-max-rate 700M; c-fill-target 10M; c-min-rate 4M; al-extents 6007; on-io-error detach; }\n  net {\n",
        ),
        ("a04-adjust-d-peer-address", "192.168.2.13:7000", "192.168.2.23:7000"),
        ("a05-adjust-d-port", ":7000", ":7010"),
        ("a07-adjust-d-disk-changed", "virtio-pve2data", "virtio-pve2aux"),
        ("a08-adjust-d-minor-changed", "/dev/drbd100", "/dev/drbd101"),
        ("a09-adjust-d-protocol", "protocol C", "protocol A"),
        ("a10-adjust-d-node-id", "node-id 2", "node-id 5"),
        ("a06-adjust-d-missing-peer", "hosts pve1 pve2 pve3", "hosts pve1 pve2"),
    ];
    for (what, from, to) in cases {
        let mut bed = Bed::healthy();
        assert_eq!(bed.ok("pve2", "drbdadm -d adjust nfs1").stdout, "");
        bed.edit(from, to);
        let dry = bed.ok("pve2", "drbdadm -d adjust nfs1").stdout;
        let recorded = recorded_action("40-config-cases", what);
        let recorded = recorded.trim_end_matches("rc=0\n0\n");
        assert_eq!(sorted_options(&dry), sorted_options(recorded), "{what}");
        // Only named, not done.
        bed.edit(to, from);
        assert_eq!(bed.ok("pve2", "drbdadm -d adjust nfs1").stdout, "");
    }
}

#[test]
fn adjust_does_what_its_dry_run_says_and_is_then_at_rest() {
    let mut bed = Bed::healthy();
    bed.edit(
        "  net {\n",
        "  options { quorum majority; on-no-quorum io-error; }\n  disk { c-max-rate 700M; al-extents 6007; }\n  net {\n max-buffers 8000; protocol A;\n",
    );
    bed.edit("  protocol C;\n", "");
    bed.edit(":7000", ":7010");
    for node in ["pve1", "pve2", "pve3"] {
        assert_ne!(bed.ok(node, "drbdadm -d adjust nfs1").stdout, "");
        bed.ok(node, "drbdadm adjust nfs1");
        assert_eq!(bed.ok(node, "drbdadm -d adjust nfs1").stdout, "");
    }
    bed.is_as_recorded("11", &["pve1", "pve2", "pve3"], &[]);
    let show: Value = serde_json::from_str(&bed.ok("pve1", "drbdsetup show --json").stdout).unwrap();
    assert_eq!(show[0]["options"]["quorum"], "majority");
    assert_eq!(show[0]["connections"][0]["net"]["max-buffers"], "8000");
}

#[test]
fn one_fault_in_any_file_stops_every_command_in_the_words_that_were_recorded() {
    let cases: &[(&str, &str, &str)] = &[
        ("c01-missing-semicolon", "protocol C;", "protocol C"),
        ("c03-bad-enum", "after-sb-0pri discard-zero-changes", "after-sb-0pri discard-everything"),
        ("c07-duplicate-node-id", "node-id 1;", "node-id 0;"),
        ("c09-missing-node-id", "    node-id 1;\n", "\n"),
        ("c10-hostname-not-me", "on pve2 {", "on pve2.example {"),
        ("c11-mesh-unknown-host", "hosts pve1 pve2 pve3", "hosts pve1 pve2 pve9"),
        ("c12-no-mesh", "  connection-mesh { hosts pve1 pve2 pve3; }\n", ""),
        ("c13-duplicate-address", "192.168.2.12:7000", "192.168.2.11:7000"),
        ("c16-no-disk-on-self", "    disk /dev/disk/by-id/virtio-pve2data; ", "    "),
        ("c22-option-out-of-range", "    after-sb-2pri disconnect;", "    max-buffers 999999999;"),
        ("c23-bad-unit", "    after-sb-2pri disconnect;", "    sndbuf-size 2MB;"),
    ];
    for (what, from, to) in cases {
        let mut bed = Bed::new();
        bed.edit_on("pve2", from, to);
        if *what == "c10-hostname-not-me" {
            bed.edit_on(
                "pve2",
                "  connection-mesh { hosts pve1 pve2 pve3; }\n",
                "  connection-mesh { hosts pve1 pve2.example pve3; }\n",
            );
        }
        let said = bed.run("pve2", "drbdadm dump nfs1");
        let recorded = recording("40-config-cases", what);
        let out = recorded["out"].as_str().unwrap();
        assert!(out.ends_with(&format!("rc={}\n", said.rc)), "{what}: {said:?}, recorded {out}");
        assert_eq!(without_lines(&said.stderr), without_lines(recorded["err"].as_str().unwrap()), "{what}");
    }
    let mut bed = Bed::new();
    bed.nodes.files.insert(("pve2".into(), "/etc/drbd.d/dup.res".into()), RES.into());
    let said = bed.run("pve2", "drbdadm status");
    assert_eq!(said.rc, 10);
    assert_eq!(said.stderr, recording("40-config-cases", "c20-duplicate-resource")["err"].as_str().unwrap());
    let other = RES.replace("resource nfs1", "resource t2").replace("/dev/drbd100", "/dev/drbd102");
    bed.nodes.files.remove(&("pve2".into(), "/etc/drbd.d/dup.res".into()));
    bed.nodes.files.insert(("pve2".into(), "/etc/drbd.d/t2.res".into()), other);
    let said = bed.run("pve2", "drbdadm status");
    assert_eq!(said.stderr, recording("40-config-cases", "c21-same-disk-port-two-resources")["err"].as_str().unwrap());
    bed.nodes.files.remove(&("pve2".into(), "/etc/drbd.d/t2.res".into()));
    bed.nodes.files.remove(&("pve2".into(), "/etc/drbd.d/global_common.conf".into()));
    let said = bed.run("pve2", "drbdadm status");
    assert_eq!(said.stderr, recording("40-config-cases", "c31-no-global")["err"].as_str().unwrap());
}

/// The files of the recordings had their statements on other lines, and the lexer's token numbers mean nothing.
fn without_lines(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(file), Some(number), Some(rest)) if number.chars().all(|c| c.is_ascii_digit()) => {
                out += &format!("{file}:N:{rest}\n");
            }
            _ => out += &format!("{}\n", line.split(" (TK ").next().unwrap_or_default()),
        }
    }
    out
}

#[test]
fn a_new_file_is_tested_beside_the_old_one() {
    let mut bed = Bed::healthy();
    let good = RES.replace("discard-zero-changes", "disconnect");
    bed.nodes.files.insert(("pve2".into(), "/tmp/new.res".into()), good);
    let test = "drbdadm --config-to-test /tmp/new.res --config-to-exclude /etc/drbd.d/nfs1.res sh-nop";
    bed.ok("pve2", test);
    let twice = bed.run("pve2", "drbdadm --config-to-test /tmp/new.res sh-nop");
    assert_eq!(twice.rc, 10);
    assert!(
        twice.stderr.contains("/tmp/new.res:1: conflicting use of resource section 'nfs1' ...\ndrbd.d/nfs1.res:1: "),
        "{twice:?}"
    );
    bed.nodes.files.insert(("pve2".into(), "/tmp/new.res".into()), RES.replace("protocol C", "protcol C"));
    let bad = bed.run("pve2", test);
    assert_eq!(bad.rc, 10);
    assert!(
        bad.stderr.starts_with("/tmp/new.res:2: Parse error: ") && bad.stderr.ends_with("but got 'protcol'\n"),
        "{bad:?}"
    );
    assert_eq!(bed.ok("pve2", "drbdadm sh-resources").stdout, "nfs1\n");
}

#[test]
fn dump_is_laid_out_as_drbdadm_does() {
    let mut bed = Bed::new();
    let dump = bed.ok("pve2", "drbdadm dump nfs1").stdout;
    assert_eq!(dump, recorded_action("40-config-cases", "b1-dump"));
    assert_eq!(bed.run("pve2", "drbdadm up nosuch").stderr, "'nosuch' not defined in your config (for this host).\n");
    assert_eq!(bed.run("pve2", "drbdadm frobnicate nfs1").rc, 1);
}
