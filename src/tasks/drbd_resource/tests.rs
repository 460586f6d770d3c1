use super::look::{Disk, FileSeen, Gi, OtherFile, Runtime};
use super::*;
use crate::drbd::{gi, plan, resource, status};
use crate::host::{Action, Step};
use crate::tasks::{Decision, Meanwhile};
use serde_json::{Value as Json, json};

mod cluster;
mod cycles;
mod refusals;

use cluster::Cluster;

pub fn task(changes: Json) -> DrbdResource {
    let mut args = json!({
        "name": "nfs1", "device": "/dev/drbd100",
        "options": { "quorum": "majority", "on-no-quorum": "io-error" },
        "net": { "protocol": "C" },
        "on": {
            "pve1": { "address": "192.168.2.11:7000", "disk": "/dev/disk/by-id/d1", "node_id": 0 },
            "pve2": { "address": "192.168.2.12:7000", "disk": "/dev/disk/by-id/d2", "node_id": 1 },
            "pve3": { "address": "192.168.2.13:7000", "disk": "/dev/disk/by-id/d3", "node_id": 2 },
        },
    });
    merge(&mut args, changes);
    serde_json::from_value(args).unwrap()
}

fn merge(into: &mut Json, from: Json) {
    match (into, from) {
        (Json::Object(into), Json::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Json::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// What a verdict is, in one line.
pub fn told(verdict: &Verdict) -> String {
    match &verdict.decision {
        Decision::Ok(why) => format!("ok: {why}"),
        Decision::Drift(change) => format!("drift: {}", change.summary),
        Decision::Blocked(why) => format!("blocked: {why}"),
        Decision::Failed(why) => format!("failed: {why}"),
        Decision::Wait { what, meanwhile, .. } => format!("wait {meanwhile:?}: {what}"),
    }
}

pub fn steps(verdict: &Verdict) -> Vec<Step> {
    match &verdict.decision {
        Decision::Drift(change) => change.steps.clone(),
        _ => Vec::new(),
    }
}

#[test]
fn faults_of_arguments() {
    assert_eq!(task(json!({})).check_args(), []);
    for (change, says) in [
        (json!({ "name": "nfs 1" }), "no name for a resource"),
        (json!({ "name": "all" }), "no name for a resource"),
        (json!({ "device": "/dev/sdb" }), "not /dev/drbdNUMBER"),
        (json!({ "minor": 7 }), "another minor"),
        (json!({ "on": { "pve2": { "node_id": 0 } } }), "pve1 and pve2 both have node_id 0"),
        (json!({ "on": { "pve2": { "node_id": 32 } } }), "not within 0..31"),
        (json!({ "on": { "pve2": { "address": "192.168.2.11:7001" } } }), "both have address 192.168.2.11"),
        (json!({ "on": { "pve2": { "address": "192.168.2.12" } } }), "no port"),
        (json!({ "on": { "pve2": { "address": "192.168.2.12:70000" } } }), "out of range"),
        (json!({ "on": { "pve2": { "disk": null } } }), "`disk` is missing"),
        (json!({ "on": { "pve2": { "disk": "sdb" } } }), "no path of a device"),
        (json!({ "on": { "pve2": { "disk": "/dev/x\n}" } } }), "no path of a device"),
        (
            json!({ "on": { "bad name": { "address": "192.168.2.14:7000", "disk": "none", "node_id": 3 } } }),
            "no host name",
        ),
        (json!({ "options": { "quorum": "most" } }), "not a number or one of"),
        (json!({ "net": { "protocol": "D" } }), "not one of A, B, C"),
        (json!({ "net": { "quorum": "majority" } }), "no option of net"),
        (json!({ "max_peers": 1 }), "not within 2..31"),
        (json!({ "first_source": "pve9" }), "not one of the hosts"),
        (json!({ "volumes": { "1": { "device": "/dev/drbd101" } } }), "excludes `device`"),
    ] {
        let all: Vec<String> = task(change.clone()).check_args().into_iter().map(|f| f.message).collect();
        assert!(all.iter().any(|m| m.contains(says)), "{change}: {all:?}");
    }
    let diskless = json!({ "on": { "pve3": { "disk": "none" } } });
    assert_eq!(task(diskless).check_args(), []);
}

#[test]
fn the_example_has_no_fault_and_no_warning() {
    let yaml: Vec<Json> = serde_yaml::from_str(DrbdResource::EXAMPLE).unwrap();
    let task: DrbdResource = serde_json::from_value(yaml[0]["drbd_resource"].clone()).unwrap();
    assert_eq!(task.check_args(), []);
    assert_eq!(task.warnings(), Vec::<String>::new());
}

#[test]
fn what_is_worth_a_warning() {
    let of = |change: Json| task(change).warnings().join(" | ");
    assert_eq!(of(json!({})), "");
    assert!(of(json!({ "options": { "quorum": "off" } })).contains("has no quorum"));
    let article = of(json!({ "options": { "quorum": "off" }, "net": { "after-sb-1pri": "discard-secondary" } }));
    assert!(article.contains("after-sb-1pri discard-secondary throws one side's data away"), "{article}");
    assert!(of(json!({ "net": { "shared-secret": "x" } })).contains("cram-hmac-alg"));
    let mut two = task(json!({}));
    two.on.remove("pve3");
    assert!(two.warnings()[0].contains("majority of two is both"));
}

#[test]
fn the_text_is_what_drbdadm_takes() {
    let mine = String::from_utf8(std::process::Command::new("uname").arg("-n").output().unwrap().stdout).unwrap();
    let text = |change: Json| task(change).text().replace("pve1", mine.trim());
    let check = |text: &str| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nfs1.res");
        std::fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap();
        let run = std::process::Command::new("drbdadm")
            .args(["--config-to-test", path, "--config-to-exclude", "/etc/drbd.d/nfs1.res", "sh-nop"])
            .output();
        run.ok().map(|out| (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned()))
    };
    if check("").is_none() || !std::path::Path::new("/etc/drbd.d/global_common.conf").exists() {
        eprintln!("skipped: no drbdadm, or not configured");
        return;
    }
    for change in [
        json!({}),
        json!({ "on": { "pve2": { "disk": "/dev/disk/by-id/scsi-0:1 \"x\" \\" }, "pve3": { "disk": "none" } } }),
        json!({ "net": { "shared-secret": "a b;} \"c\"", "cram-hmac-alg": "sha256", "max-buffers": "36k" },
            "disk": { "c-fill-target": "10M", "al-extents": 6007 }, "handlers": { "split-brain": "/usr/lib/x.sh root" } }),
        json!({ "meta_disk": "/dev/vg/md", "options": { "auto-promote-timeout": 50, "auto-promote": true } }),
        json!({ "on": { "pve1": { "address": "[fd00::1]:7000" }, "pve2": { "address": "[fd00::2]:7000" },
            "pve3": { "address": "[fd00::3]:7000" } } }),
    ] {
        let text = text(change);
        let (code, stderr) = check(&text).unwrap();
        assert_eq!(code, Some(0), "{stderr}\n{text}");
        let read = resource::File::read(&text).unwrap();
        assert_eq!(read.resources.len(), 1);
    }
    for (from, to) in [("protocol C", "protocol D"), ("node-id 1", "node-id 0"), ("7000;", ";"), ("majority", "most")] {
        let text = text(json!({})).replacen(from, to, 1);
        assert_eq!(check(&text).unwrap().0, Some(10), "{from} -> {to}");
    }
    // Several volumes.
    let mut two = task(
        json!({ "device": null, "volumes": { "0": { "device": "/dev/drbd100" }, "1": { "device": "/dev/drbd101" } } }),
    );
    for (name, host) in &mut two.on {
        host.disk = None;
        let disk = |n: u32| HostVolume { disk: format!("/dev/disk/by-id/{name}-{n}"), meta_disk: None };
        host.volumes = [("0".to_owned(), disk(0)), ("1".to_owned(), disk(1))].into();
    }
    assert_eq!(two.check_args(), []);
    let text = two.text().replace("pve1", mine.trim());
    let (code, stderr) = check(&text).unwrap();
    assert_eq!(code, Some(0), "{stderr}\n{text}");
}

use super::args::HostVolume;

#[test]
fn secrets_stay_out_of_diffs_and_others_reach() {
    let task = task(json!({ "net": { "shared-secret": "s3cret", "cram-hmac-alg": "sha256" } }));
    let cluster = Cluster::virgin();
    let verdicts = task.decide_all(&cluster.seen(&task));
    for verdict in verdicts.values() {
        let Decision::Drift(change) = &verdict.decision else { panic!("{}", told(verdict)) };
        assert!(!format!("{change:?}").contains("s3cret"), "{change:?}");
        assert!(change.diff.contains("shared-secret"), "{}", change.diff);
        let Action::WriteFile { mode, .. } = &change.steps[0].action else { panic!() };
        assert_eq!(*mode, Some(0o600));
    }
    assert!(!format!("{task:?}").contains("s3cret"));
}

#[test]
fn blkid_is_blank_only_in_silence() {
    use crate::host::Output;
    let blkid =
        |rc, stdout: &str, stderr: &str| look::read_blkid(&Output { rc, stdout: stdout.into(), stderr: stderr.into() });
    assert_eq!(blkid(2, "", ""), Disk::Blank);
    assert!(matches!(blkid(2, "", "blkid: error: /dev/x: No such file"), Disk::CannotTell(_)));
    assert!(matches!(blkid(1, "", ""), Disk::CannotTell(_)));
    assert!(matches!(blkid(0, "", ""), Disk::CannotTell(_)));
    assert!(matches!(blkid(8, "", ""), Disk::Holds(_)));
    assert_eq!(blkid(0, "DEVNAME=/dev/vdb\nTYPE=drbd\nVERSION=v09\n", ""), Disk::Metadata { version: "v09".into() });
    assert_eq!(blkid(0, "TYPE=ext4\nUUID=x\nUSAGE=filesystem\n", ""), Disk::Holds("ext4, UUID x".into()));
    assert_eq!(blkid(0, "PTTYPE=gpt\n", ""), Disk::Holds("partition table gpt".into()));
}

#[test]
fn kernel_names_of_disks_are_told_from_stable_ones() {
    for unstable in ["/dev/sdb", "/dev/sdb1", "/dev/nvme0n1p1", "/dev/vdb", "/dev/md0", "/dev/dm-3"] {
        assert!(look::is_unstable(unstable), "{unstable}");
    }
    for stable in ["/dev/disk/by-id/x", "/dev/vg/lv", "/dev/mapper/x", "/dev/drbd1", "/dev/zvol/a/b"] {
        assert!(!look::is_unstable(stable), "{stable}");
    }
}
