//! What fails in a cluster, seen by the real binary over real links: HTTPS to each node's own port, and a terminal
//! behind a WebSocket there (`converge lab serve`, another process). Each failure has a name on the host that it
//! concerns, the others go on, and an apply after it is mended loses nothing. The table is in docs/design/links.md.

#[path = "support/served.rs"]
mod served;
#[path = "support/sshd.rs"]
mod sshd;

use serde_json::Value as Json;
use served::Served;
use sshd::said;
use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const CONVERGE: &str = env!("CARGO_BIN_EXE_converge");

/// The reference system, built once by the test binary.
fn base() -> &'static Path {
    static BASE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let dir = BASE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let site = concat!(env!("CARGO_MANIFEST_DIR"), "/playbooks/drbd-nfs.yml");
        let lab = format!("--lab={}", dir.path().join("lab").display());
        let built = Command::new(CONVERGE).args(["apply", site, &lab]).output().unwrap();
        assert!(built.status.success(), "{}", said(&built));
        dir
    });
    dir.path()
}

/// A copy of it that is served, and the cluster.yml that leads there.
struct Bed {
    dir: tempfile::TempDir,
    server: Served,
    /// Where a node is looked for, if not at its own port.
    elsewhere: BTreeMap<&'static str, String>,
}

/// A result: task, host, outcome, words of its summary.
type Says = (&'static str, &'static str, &'static str, &'static str);

struct Ran {
    exit: i32,
    report: Json,
    stderr: String,
}

impl Ran {
    #[track_caller]
    fn expect(&self, exit: i32, says: &[Says]) {
        let text = |result: &Json, key: &str| result[key].as_str().unwrap_or_default().to_owned();
        let results = self.report["results"].as_array().unwrap();
        for (task, host, outcome, words) in says {
            let found = results.iter().find(|r| text(r, "task") == *task && text(r, "host") == *host);
            let found =
                found.unwrap_or_else(|| panic!("no result of {task} on {host}: {:#}\n{}", self.report, self.stderr));
            assert_eq!(text(found, "outcome"), *outcome, "{found:#}\n{}", self.stderr);
            assert!(text(found, "summary").contains(words), "`{words}`: {found:#}");
        }
        assert_eq!(self.exit, exit, "{:#}\n{}", self.report, self.stderr);
        // Words of libraries and bare numbers help nobody.
        for result in results.iter().filter(|r| text(r, "outcome") != "ok") {
            let summary = text(result, "summary");
            for bare in ["os error", "tls handshake", "client error", "unexpected"] {
                assert!(!summary.contains(bare), "`{bare}`: {summary}");
            }
        }
    }
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        assert!(Command::new("cp").arg("-r").arg(base().join("lab")).arg(dir.path()).status().unwrap().success());
        let server = Served::new(&dir.path().join("lab"));
        Self { dir, server, elsewhere: BTreeMap::new() }
    }

    fn lab(&self, words: &[&str]) {
        let output = self.lab_says(words);
        assert!(output.status.success(), "lab {words:?}: {}", said(&output));
    }

    fn lab_says(&self, words: &[&str]) -> Output {
        let dir = self.path("lab").display().to_string();
        Command::new(CONVERGE).args(["lab", "--dir", &dir]).args(words).output().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn at(&self, node: &str) -> &str {
        self.elsewhere.get(node).unwrap_or(&self.server.nodes[node].0)
    }

    fn run(&self, command: &str, playbook: &str) -> Ran {
        let names: Vec<&String> = self.server.nodes.keys().collect();
        let endpoints: Vec<String> = names.iter().rev().map(|name| format!("'{}'", self.at(name))).collect();
        let pins: Vec<String> = self.server.nodes.values().map(|(_, pin)| format!("'{pin}'")).collect();
        let nodes: String =
            names.iter().map(|name| format!("  {name}: {{ endpoint: '{}' }}\n", self.at(name))).collect();
        // The node that fails is the first to be asked.
        let text = format!(
            "endpoints: [{}]\nlogin: {{ user: root@pam, password: {{ env: PW }} }}\ntls: {{ fingerprints: [{}] }}\n\
             link: pve_shell\nnodes:\n{nodes}",
            endpoints.join(", "),
            pins.join(", ")
        );
        fs::write(self.path("cluster.yml"), text).unwrap();
        fs::write(self.path("site.yml"), playbook).unwrap();
        let mut run = Command::new(CONVERGE);
        run.args([command, "site.yml", "-i", "cluster.yml", "-o", "json"]).current_dir(self.dir.path()).env_clear();
        run.env("HOME", self.dir.path()).env("PW", &self.server.password).env("CONVERGE_AGENT", sshd::agent());
        let output = run.env("PATH", std::env::var_os("PATH").unwrap()).output().unwrap();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&output)));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said(&output).contains(&self.server.password), "{}", said(&output));
        Ran { exit: output.status.code().unwrap(), report, stderr }
    }
}

/// Every node, the container, then the cluster with tasks of its own.
fn site(cluster: &str) -> String {
    format!(
        "
- hosts: nodes
  tasks:
    - {{ name: node, copy: {{ dest: /etc/extra, content: x }} }}
- hosts: ct:101
  tasks:
    - {{ name: inside, copy: {{ dest: /etc/inside, content: x }} }}
- hosts: cluster
  tasks:
{cluster}"
    )
}

const SHARE: &str =
    "    - { name: share, pve_storage: { storage: share, type: dir, path: /srv/share, content: [iso] } }\n";
const NODES: [Says; 2] = [("node", "pve1", "changed", ""), ("node", "pve2", "changed", "")];
const INSIDE: Says = ("inside", "ct:101", "changed", "");

#[test]
fn a_node_that_is_off_refuses_and_the_others_go_on() {
    let bed = Bed::new();
    bed.lab(&["break", "node-down"]);
    let until = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(bed.at("pve3")).is_ok() {
        assert!(Instant::now() < until, "the node that is off listens");
        std::thread::sleep(Duration::from_millis(50));
    }
    let off: Says = ("node", "pve3", "unreachable", "nobody listens there (the node is off");
    bed.run("check", &site(SHARE))
        .expect(4, &[off, ("node", "pve1", "drifted", ""), ("share", "cluster", "drifted", "")]);
    let applied = bed.run("apply", &site(SHARE));
    applied.expect(4, &[off, NODES[0], NODES[1], INSIDE, ("share", "cluster", "changed", "")]);
    bed.lab(&["mend"]);
    bed.run("apply", &site(SHARE)).expect(0, &[("node", "pve3", "changed", ""), ("node", "pve1", "ok", "")]);
    bed.run("check", &site(SHARE)).expect(0, &[]);
}

#[test]
fn a_node_that_hangs_is_told_and_passed_over() {
    let mut bed = Bed::new();
    // The kernel takes connections for it, as for a node whose programs hang.
    let hung = TcpListener::bind("127.0.0.1:0").unwrap();
    bed.elsewhere.insert("pve3", hung.local_addr().unwrap().to_string());
    let silent: Says = ("node", "pve3", "unreachable", "the node is off or hangs, or a firewall is in between");
    // It is the first entry point, too.
    let applied = bed.run("apply", &site(SHARE));
    applied.expect(4, &[silent, NODES[0], NODES[1], INSIDE, ("share", "cluster", "changed", "")]);
    bed.elsewhere.clear();
    bed.run("apply", &site(SHARE)).expect(0, &[("node", "pve3", "changed", ""), ("node", "pve1", "ok", "")]);
}

#[test]
fn without_quorum_only_what_needs_none_is_done() {
    let bed = Bed::new();
    bed.lab(&["break", "no-quorum"]);
    let text = site(SHARE)
        + "- hosts: nodes\n  tasks:\n    - { name: shared, copy: { dest: \"/etc/pve/x-{{ inventory_hostname }}\", content: x } }\n";
    let refused: Says = ("share", "cluster", "blocked", "the cluster has no quorum");
    bed.run("check", &text).expect(1, &[refused, ("node", "pve1", "drifted", "")]);
    let applied = bed.run("apply", &text);
    applied.expect(1, &[refused, NODES[0], NODES[1], ("node", "pve3", "changed", ""), INSIDE]);
    assert!(
        applied.stderr.contains("no lock on the cluster") && applied.stderr.contains("no quorum"),
        "{}",
        applied.stderr
    );
    let only = text.replace(SHARE, "    - { name: read, debug: { msg: x } }\n");
    let blind = |node| ("shared", node, "blocked", "no quorum: this node does not see enough of the others");
    bed.run("check", &only).expect(1, &[blind("pve1"), blind("pve3")]);
    bed.run("apply", &only).expect(1, &[blind("pve1"), blind("pve3")]);
    bed.lab(&["mend"]);
    let healed = bed.run("apply", &text);
    healed.expect(
        0,
        &[("share", "cluster", "changed", ""), ("shared", "pve2", "changed", ""), ("node", "pve1", "ok", "")],
    );
    bed.run("check", &text).expect(0, &[]);
}

/// One that is cut off answers, and what it says is old.
#[test]
fn one_node_without_quorum_is_named_and_the_others_go_on() {
    let bed = Bed::new();
    bed.lab(&["break", "node-cut-off"]);
    let text = "
- hosts: nodes
  tasks:
    - { name: shared, copy: { dest: \"/etc/pve/x-{{ inventory_hostname }}\", content: x } }
    - { name: own, copy: { dest: /etc/own, content: x } }
- hosts: cluster
  tasks:
    - { name: share, pve_storage: { storage: share, type: dir, path: /srv/share, content: [iso] } }
";
    let apart: Says = ("shared", "pve3", "blocked", "no quorum: this node");
    let others = [("shared", "pve1", "changed", ""), ("own", "pve2", "changed", "")];
    let applied = bed.run("apply", text);
    // The one that is cut off is the first entry point, and not the one that is used.
    applied.expect(1, &[apart, others[0], others[1], ("share", "cluster", "changed", "")]);
    bed.lab(&["mend"]);
    bed.run("apply", text).expect(0, &[("shared", "pve3", "changed", ""), ("own", "pve3", "changed", "")]);
}

#[test]
fn a_locked_container_is_not_changed_and_the_tasks_inside_it_go_on() {
    let bed = Bed::new();
    bed.lab(&["break", "container-locked"]);
    let text = site("    - { name: memory, pct: { vmid: 101, memory: 3072 } }\n");
    let locked: Says = ("memory", "cluster", "blocked", "is locked (backup)");
    bed.run("check", &text).expect(1, &[locked, ("inside", "ct:101", "drifted", "")]);
    bed.run("apply", &text).expect(1, &[locked, NODES[0], NODES[1], INSIDE]);
    for node in bed.server.nodes.keys() {
        // Only its own node knows it.
        let _ = bed.lab_says(&["shell", node, "pct", "unlock", "101"]);
    }
    bed.run("apply", &text).expect(0, &[("memory", "cluster", "changed", ""), ("inside", "ct:101", "ok", "")]);
    bed.run("check", &text).expect(0, &[]);
}

#[test]
fn a_service_in_error_is_left_alone_until_it_was_disabled() {
    let bed = Bed::new();
    bed.lab(&["break", "ha-error"]);
    let tries = "    - { name: ha, ha_resource: { sid: 'ct:101', state: started, max_restart: 2 } }\n";
    let text = site(tries);
    let error: Says = ("ha", "cluster", "blocked", "is in state error on");
    bed.run("check", &text).expect(1, &[error, ("inside", "ct:101", "drifted", "")]);
    bed.run("apply", &text).expect(1, &[error, NODES[0], NODES[1], INSIDE]);
    for state in ["disabled", "started"] {
        let wanted = format!(
            "- hosts: cluster\n  tasks:\n    - {{ name: ha, ha_resource: {{ sid: 'ct:101', state: {state} }} }}\n"
        );
        bed.run("apply", &wanted).expect(0, &[("ha", "cluster", "changed", "")]);
    }
    bed.run("apply", &text).expect(0, &[("ha", "cluster", "changed", ""), ("inside", "ct:101", "ok", "")]);
    bed.run("check", &text).expect(0, &[]);
}

#[test]
fn a_storage_that_hangs_is_named_and_holds_up_nobody_else() {
    let bed = Bed::new();
    bed.lab(&["break", "storage-hung"]);
    let content = "    - { name: template, pve_template: { storage: nfs1, template: debian-13-standard } }\n";
    let hangs: Says = ("template", "cluster", "blocked", "storage nfs1 hangs on pve1");
    bed.run("check", &site(content)).expect(1, &[hangs, ("node", "pve1", "drifted", "")]);
    bed.run("apply", &site(content)).expect(1, &[hangs, NODES[0], NODES[1], INSIDE]);
    let export = "    - { name: export, timeout: 3, pve_storage: { storage: nfs1, type: nfs, server: 192.168.1.11, export: /data } }\n";
    let unused = |outcome| ("export", "cluster", outcome, "cannot use storage nfs1 on pve1, pve2, pve3");
    bed.run("check", &site(export)).expect(1, &[unused("blocked")]);
    bed.run("apply", &site(export)).expect(1, &[unused("failed")]);
    bed.lab(&["mend"]);
    bed.run("apply", &site(export)).expect(0, &[("export", "cluster", "ok", "")]);
}

#[test]
fn a_task_that_ends_with_an_error_is_told_with_the_end_of_its_log() {
    let bed = Bed::new();
    let new = "    - { name: volumes, pve_storage: { storage: volumes, type: dir, path: /srv/volumes, content: [rootdir] } }
    - name: new
      pct: { vmid: 102, hostname: other, ostemplate: 'local:vztmpl/debian-13-standard', rootfs: 'volumes:4', state: started, hookscript: 'local:snippets/no.sh' }\n";
    let hook = "- hosts: nodes
  tasks:
    - { name: snippets, file: { path: /var/lib/vz/snippets, state: directory } }
    - { name: hook, copy: { dest: /var/lib/vz/snippets/no.sh, content: \"#!/bin/sh\\nexit 1\\n\", mode: '0755' } }\n";
    let failed = bed.run("apply", &format!("{hook}{}", site(new)));
    failed.expect(1, &[("new", "cluster", "failed", "hookscript error for 102 on pre-start"), NODES[0], INSIDE]);
}
