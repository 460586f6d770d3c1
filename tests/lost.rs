//! A node that loses power in the middle of an apply, through the real binary and the lab.

use serde_json::Value as Json;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_converge");

const PLAYBOOK: &str = "
- hosts: nodes
  tasks:
    - { name: before, copy: { dest: /etc/before, content: x } }
    - { name: between, pause: { seconds: 3 } }
    - { name: after, copy: { dest: /etc/after, content: x } }
";

#[test]
fn a_node_that_goes_down_in_the_middle_is_unreachable_and_the_others_go_on() {
    let temp = tempfile::tempdir().unwrap();
    let (lab, playbook) = (temp.path().join("lab"), temp.path().join("site.yml"));
    std::fs::write(&playbook, PLAYBOOK).unwrap();
    let mut child = Command::new(BINARY)
        .arg("apply")
        .arg(&playbook)
        .arg(format!("--lab={}", lab.display()))
        .args(["-o", "jsonl"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut results = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let event: Json = serde_json::from_str(&line.unwrap()).unwrap();
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        if event.get("outcome").is_some() {
            results.push((text("task"), text("host"), text("outcome")));
        }
        if results.last().is_some_and(|(task, host, _)| task == "before" && host == "pve3") && results.len() == 3 {
            let broken = Command::new(BINARY).args(["lab", "break", "node-down", "--dir"]).arg(&lab).output().unwrap();
            assert!(broken.status.success(), "{}", String::from_utf8_lossy(&broken.stderr));
            results.push(("off".into(), String::new(), String::new()));
        }
    }
    let after: Vec<(&str, &str)> =
        results.iter().filter(|r| r.0 == "after").map(|r| (r.1.as_str(), r.2.as_str())).collect();
    assert_eq!(after, [("pve1", "changed"), ("pve2", "changed"), ("pve3", "unreachable")], "{results:?}");
    assert_eq!(child.wait().unwrap().code(), Some(4));
}
