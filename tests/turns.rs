//! Nodes of one cluster take turns: one looks, the others end at once, and when the one dies another takes over. The
//! nodes are processes, the cluster's file system a folder that says it is one; what pmxcfs does by itself, letting a lock
//! of a dead node expire, is done by the test.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn bed() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("pve/priv/lock")).unwrap();
    std::fs::create_dir(dir.path().join("bin")).unwrap();
    script(&dir.path().join("bin/stat"), "echo fuseblk");
    // Says that it runs, and goes on until it may end.
    script(
        &dir.path().join("look"),
        "echo \"$1\" >>\"$BED/looked\"\nwhile [ -e \"$BED/hold\" ]; do sleep 0.05; done\nexit \"$2\"",
    );
    dir
}

fn script(path: &Path, body: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn turn(dir: &Path, node: &str, exit: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_converge"));
    command.args(["schedule", "turn", "site", "--node", node, "--not-within", "1h", "--pve"]).arg(dir.join("pve"));
    command.arg("--").arg(dir.join("look")).args([node, exit]);
    let path = format!("{}:{}", dir.join("bin").display(), std::env::var("PATH").unwrap());
    command.env("PATH", path).env("BED", dir);
    command
}

fn run(dir: &Path, node: &str, exit: &str) -> (i32, String) {
    let output = turn(dir, node, exit).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
}

fn looked(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join("looked")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A node that looks, and does not end by itself. In a group of its own, to die with all it started.
fn begin(dir: &Path, node: &str) -> Child {
    std::fs::write(dir.join("hold"), "").unwrap();
    let before = looked(dir).len();
    let child = turn(dir, node, "0").process_group(0).stdout(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while looked(dir).len() == before {
        assert!(Instant::now() < until, "{node} did not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

/// A node loses its power: nothing of it says another word.
fn die(mut child: Child) {
    let group = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    // The shell that holds the lock has a trap for every signal but this one.
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    child.wait().unwrap();
}

fn lock(dir: &Path) -> PathBuf {
    dir.join("pve/priv/lock/converge-site")
}

#[test]
fn one_looks_and_the_others_say_who() {
    let dir = bed();
    let mut first = begin(dir.path(), "pve1");
    let (code, said) = run(dir.path(), "pve2", "0");
    assert!(code == 0 && said.contains("pve2 has nothing to do") && said.contains("pve1"), "{code} {said}");
    std::fs::remove_file(dir.path().join("hold")).unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(0));
    // Later in the same night: it was done.
    let (code, said) = run(dir.path(), "pve3", "0");
    assert!(code == 0 && said.contains("pve3 has nothing to do: pve1 looked"), "{code} {said}");
    assert_eq!(looked(dir.path()), ["pve1"]);
    assert!(!lock(dir.path()).exists());
}

#[test]
fn the_exit_code_is_that_of_the_look_and_what_could_not_tell_is_tried_by_another() {
    let dir = bed();
    assert_eq!(run(dir.path(), "pve1", "4").0, 4);
    assert_eq!(run(dir.path(), "pve2", "3").0, 3);
    assert_eq!(run(dir.path(), "pve3", "0").0, 0);
    // On the node itself somebody may want to see it again.
    assert_eq!(run(dir.path(), "pve2", "1").0, 1);
    assert_eq!(looked(dir.path()), ["pve1", "pve2", "pve2"]);
}

#[test]
fn when_the_node_that_looks_dies_another_takes_over() {
    let dir = bed();
    die(begin(dir.path(), "pve1"));
    assert!(lock(dir.path()).exists(), "a dead node frees nothing");
    let (code, said) = run(dir.path(), "pve2", "0");
    assert!(code == 0 && said.contains("another node is looking") && said.contains("pve1"), "{code} {said}");
    // Two minutes later.
    std::fs::remove_dir(lock(dir.path())).unwrap();
    std::fs::remove_file(dir.path().join("hold")).unwrap();
    assert_eq!(run(dir.path(), "pve2", "3").0, 3);
    assert_eq!(looked(dir.path()), ["pve1", "pve2"]);
    assert!(run(dir.path(), "pve3", "0").1.contains("pve2 looked"));
}

#[test]
fn a_node_without_the_cluster_cannot_tell_and_never_says_that_all_is_well() {
    let dir = bed();
    // Without quorum nothing can be written there.
    std::fs::remove_dir(dir.path().join("pve/priv/lock")).unwrap();
    let (code, said) = run(dir.path(), "pve1", "0");
    assert!(code == 4 && said.contains("cannot tell") && said.contains("quorum"), "{code} {said}");
    // Without pve-cluster it is an empty folder.
    script(&dir.path().join("bin/stat"), "echo ext2/ext3");
    let (code, said) = run(dir.path(), "pve1", "0");
    assert!(code == 4 && said.contains("pve-cluster"), "{code} {said}");
    assert!(looked(dir.path()).is_empty());
}
