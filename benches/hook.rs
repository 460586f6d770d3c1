//! The hook before a start on a healthy node, as Proxmox VE calls it: the whole program, beside the one program that it
//! runs. Aim: less than 10 ms over `drbdsetup status --json` itself, and less than 10 MB at its peak.

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_converge");

/// A directory that stands for a healthy node; its `drbdsetup` is `cat`, as cheap as a program gets.
fn node(root: &Path) -> PathBuf {
    let put = |path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("below the root")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    };
    put("etc/pve/lxc/101.conf", "rootfs: /dev/drbd100,shared=1\n");
    put("sys/module/drbd/version", "9.3.3\n");
    put("proc/uptime", "86400.00 1.00\n");
    let peer = |n: u32| {
        json!({"peer-node-id": n, "name": format!("pve{}", n + 1), "connection-state": "Connected",
            "peer-role": "Secondary", "peer_devices": [{"volume": 0, "replication-state": "Established",
            "peer-disk-state": "UpToDate"}]})
    };
    let status = json!([{"name": "nfs1", "node-id": 0, "role": "Secondary",
        "devices": [{"volume": 0, "minor": 100, "disk-state": "UpToDate", "client": false, "quorum": true}],
        "connections": [peer(1), peer(2)]}]);
    put("status.json", &status.to_string());
    let program = root.join("bin/drbdsetup");
    put("bin/drbdsetup", &format!("#!/bin/sh\nexec cat {}/status.json\n", root.display()));
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    program
}

fn run(command: &mut Command) {
    assert!(command.stdout(Stdio::null()).stdin(Stdio::null()).status().expect("it runs").success());
}

fn before_a_start(c: &mut Criterion) {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let drbdsetup = node(temp.path());
    let mut group = c.benchmark_group("pre-start on a healthy node");
    group.sample_size(50).measurement_time(Duration::from_secs(5));
    group.bench_function("drbdsetup alone", |b| b.iter(|| run(Command::new(&drbdsetup).args(["status", "--json"]))));
    group.bench_function("converge hook 101 pre-start", |b| {
        b.iter(|| run(Command::new(BINARY).args(["hook", "101", "pre-start"]).env("CONVERGE_HOOK_ROOT", temp.path())));
    });
    group.finish();
    println!("peak of the hook: {} KiB", peak_kib(temp.path()));
}

/// What the kernel counted at most, by GNU time.
fn peak_kib(root: &Path) -> String {
    let mut command = Command::new("/usr/bin/time");
    command.args(["-f", "%M", BINARY, "hook", "101", "pre-start"]).env("CONVERGE_HOOK_ROOT", root);
    match command.output() {
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(_) => "cannot be told without /usr/bin/time, in".into(),
    }
}

criterion_group!(benches, before_a_start);
criterion_main!(benches);
