//! Every fault that `lab break` offers, through the real binary: check names it, apply heals it or says what only a
//! person may decide, and nobody hangs.

use serde_json::Value as Json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_converge");
const DEADLINE: Duration = Duration::from_secs(120);

/// A result that a run must contain: task (by a part of its name), host, outcome, words of its summary or warnings.
type Says = (&'static str, &'static str, &'static str, &'static str);

enum After {
    /// Apply ends with 0 and changes what check said; check is clean then.
    Healed,
    /// Apply ends with this code, saying this, and so does every check after it.
    Stays(u8, &'static [Says]),
    /// As above, and `lab mend` followed by an apply brings everything back.
    Mended(u8, &'static [Says]),
}

struct Case {
    fault: &'static str,
    exit: u8,
    check: &'static [Says],
    after: After,
}

const RESOURCE: &str = "The resource nfs1";
const PCT: &str = "Container 101";
const LOCKED: Says = (PCT, "cluster", "ok", "is locked (backup)");
const DOWN: Says = ("package source", "pve3", "unreachable", "powered off");
const CUT: &[Says] = &[
    (RESOURCE, "pve1", "blocked", "look at the replication network"),
    (RESOURCE, "pve3", "blocked", "look at the replication network"),
];
const CUT_APPLIED: &[Says] = &[
    (RESOURCE, "pve1", "failed", "look at the replication network"),
    (RESOURCE, "pve3", "failed", "look at the replication network"),
];
const ISOLATED: &[Says] = &[
    (RESOURCE, "pve1", "blocked", "no quorum here"),
    (RESOURCE, "pve2", "blocked", "pve2 is not connected to pve1"),
    (RESOURCE, "pve3", "blocked", "pve3 is not connected to pve1"),
];
const SPLIT: &[Says] = &[
    (RESOURCE, "pve1", "blocked", "Only you can decide whose changes to keep"),
    (RESOURCE, "pve2", "blocked", "split brain"),
    (RESOURCE, "pve3", "blocked", "--discard-my-data"),
];
const NO_QUORUM: &[Says] = &[("HA looks after", "cluster", "blocked", "the cluster has no quorum")];

const REFERENCE: &[Case] = &[
    Case {
        fault: "in-tree-module",
        exit: 3,
        check: &[("module that is loaded", "pve3", "drifted", "8.4.11"), (RESOURCE, "pve3", "drifted", "")],
        after: After::Healed,
    },
    Case {
        fault: "edited-res",
        exit: 3,
        check: &[(RESOURCE, "pve3", "drifted", "disconnect becomes discard-zero-changes")],
        after: After::Healed,
    },
    Case {
        fault: "service-disabled",
        exit: 3,
        check: &[("comes up at boot", "pve3", "drifted", "enable drbd@nfs1.target")],
        after: After::Healed,
    },
    Case {
        fault: "disk-failed",
        exit: 3,
        check: &[(RESOURCE, "pve3", "drifted", "it is Diskless here")],
        after: After::Healed,
    },
    Case {
        fault: "ha-group-edited",
        exit: 3,
        check: &[("It runs on these nodes", "cluster", "drifted", "change HA rule nfs1")],
        after: After::Healed,
    },
    Case {
        fault: "repository-gone",
        exit: 3,
        check: &[("package source", "pve3", "drifted", "linbit.sources")],
        after: After::Healed,
    },
    Case {
        fault: "export-removed",
        exit: 3,
        check: &[
            ("It is exported", "ct:101", "drifted", "/etc/exports"),
            ("export again", "ct:101", "drifted", "exportfs"),
        ],
        after: After::Healed,
    },
    Case {
        fault: "nfs-stopped",
        exit: 3,
        check: &[("It runs, also", "ct:101", "drifted", "start nfs-server")],
        after: After::Healed,
    },
    Case { fault: "node-down", exit: 4, check: &[DOWN], after: After::Mended(4, &[DOWN]) },
    Case { fault: "link-cut", exit: 1, check: CUT, after: After::Mended(1, CUT_APPLIED) },
    Case { fault: "peer-outdated", exit: 1, check: CUT, after: After::Mended(1, CUT_APPLIED) },
    Case { fault: "node-isolated", exit: 1, check: ISOLATED, after: After::Mended(1, &[]) },
    Case { fault: "split-brain", exit: 1, check: SPLIT, after: After::Stays(1, SPLIT) },
    Case { fault: "no-quorum", exit: 1, check: NO_QUORUM, after: After::Mended(1, NO_QUORUM) },
    Case { fault: "container-locked", exit: 0, check: &[LOCKED], after: After::Stays(0, &[LOCKED]) },
    Case {
        fault: "node-cut-off",
        exit: 0,
        check: &[(PCT, "cluster", "ok", "pve3: offline to the cluster")],
        after: After::Mended(0, &[(PCT, "cluster", "ok", "pve3: offline to the cluster")]),
    },
    // Nothing asks for another version: the hold is in nobody's way.
    Case { fault: "package-held", exit: 0, check: &[], after: After::Stays(0, &[]) },
];

const EXTRA: &str = r#"
- name: What the reference system does not need
  hosts: nodes
  tasks:
    - name: Mount rules
      apparmor_lines:
        lines:
          - mount fstype=nfsd,
          - mount fstype=rpc_pipefs,
    - name: Judged by what cannot be known yet
      command: /usr/bin/true
      register: answer
    - name: It said nothing
      assert:
        that: answer.stdout == ""
- name: Hooks
  hosts: cluster
  tasks:
    - name: Hook
      hookscript:
        vmid: 101
        activate: false
"#;

/// The container is moved away from where it runs.
const ELSEWHERE: &str = r#"
- name: Elsewhere
  hosts: cluster
  tasks:
    - name: Only there
      ha_group:
        name: nfs1
        nodes: [pve2]
        resources: ["ct:101"]
        restricted: true
        nofailback: true
"#;

struct Ran {
    exit: u8,
    json: Json,
    stderr: String,
}

impl Ran {
    fn results(&self) -> &[Json] {
        self.json["results"].as_array().map_or(&[], Vec::as_slice)
    }

    fn moved(&self) -> Vec<(&str, &str)> {
        let mut moved: Vec<_> =
            self.results().iter().filter(|r| matches!(text(r, "outcome"), "drifted" | "changed")).collect();
        moved.sort_by_key(|r| (text(r, "task"), text(r, "host")));
        moved.into_iter().map(|r| (text(r, "task"), text(r, "host"))).collect()
    }

    fn says(&self, (task, host, outcome, words): &Says) -> bool {
        self.results().iter().any(|r| {
            let said = format!("{} {}", text(r, "summary"), r["warnings"]);
            text(r, "task").contains(task)
                && text(r, "host") == *host
                && text(r, "outcome") == *outcome
                && said.contains(words)
        })
    }

    /// What is worth reading when a case fails.
    fn told(&self) -> String {
        let notable = self.results().iter().filter(|r| text(r, "outcome") != "ok" || r.get("warnings").is_some());
        let lines = notable.map(|r| {
            format!(
                "\n  {} on {}: {} {} {}",
                text(r, "task"),
                text(r, "host"),
                text(r, "outcome"),
                text(r, "summary"),
                r["warnings"]
            )
        });
        format!("exit {}{}\n{}", self.exit, lines.collect::<String>(), self.stderr)
    }

    /// Complaints, unless the run ended so and said all that.
    fn expect(&self, what: &str, exit: u8, says: &[Says]) -> Result<(), String> {
        let missing: Vec<&Says> = says.iter().filter(|s| !self.says(s)).collect();
        if self.exit == exit && missing.is_empty() {
            return Ok(());
        }
        Err(format!("{what}: wanted exit {exit} and {missing:?}; it was {}", self.told()))
    }
}

fn text<'a>(json: &'a Json, key: &str) -> &'a str {
    json[key].as_str().unwrap_or_default()
}

/// Runs the binary; who is not done in time is killed, which fails the test.
fn run(dir: &Path, args: &[&str]) -> Ran {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    let (out, err) = (dir.join(format!("stdout-{number}")), dir.join(format!("stderr-{number}")));
    let mut child = Command::new(BINARY)
        .args(args)
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let since = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if since.elapsed() > DEADLINE => {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{args:?} did not end within {DEADLINE:?}");
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    Ran {
        exit: status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX),
        json: serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap_or(Json::Null),
        stderr: String::from_utf8_lossy(&std::fs::read(err).unwrap()).into_owned(),
    }
}

struct Ground {
    temp: tempfile::TempDir,
    base: PathBuf,
    playbook: PathBuf,
}

impl Ground {
    /// One converged lab. Waits for peers are short: what they wait for never comes in some cases.
    fn converged() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks");
        let text = std::fs::read_to_string(from.join("drbd-nfs.yml")).unwrap();
        let vars = from.join("vars/drbd-nfs.yml").display().to_string();
        let short = text
            .replace("vars/drbd-nfs.yml]", &format!("{vars}]"))
            .replace("        first_sync: full\n", "        first_sync: full\n        connect_timeout_s: 3\n");
        assert!(short.contains("connect_timeout_s: 3"));
        let playbook = temp.path().join("reference.yml");
        std::fs::write(&playbook, short).unwrap();
        let base = temp.path().join("base");
        let ground = Self { temp, base, playbook };
        let made = ground.on(&ground.base, "apply", &ground.playbook);
        assert_eq!(made.exit, 0, "{}", made.told());
        ground
    }

    fn copy(&self, name: &str) -> PathBuf {
        let lab = self.temp.path().join(name);
        assert!(Command::new("cp").arg("-r").arg(&self.base).arg(&lab).status().unwrap().success());
        lab
    }

    fn written(&self, name: &str, text: &str) -> PathBuf {
        let path = self.temp.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn on(&self, lab: &Path, command: &str, playbook: &Path) -> Ran {
        let lab = format!("--lab={}", lab.display());
        run(self.temp.path(), &[command, &playbook.display().to_string(), &lab, "-o", "json"])
    }

    fn lab(&self, lab: &Path, words: &[&str]) {
        let dir = lab.display().to_string();
        let ran = run(self.temp.path(), &[&["lab", "--dir", dir.as_str()], words].concat());
        assert_eq!(ran.exit, 0, "lab {words:?}: {}", ran.stderr);
    }

    fn play(&self, case: &Case) -> Result<(), String> {
        let lab = self.copy(case.fault);
        self.lab(&lab, &["break", case.fault]);
        let check = self.on(&lab, "check", &self.playbook);
        check.expect("check", case.exit, case.check)?;
        let apply = self.on(&lab, "apply", &self.playbook);
        match &case.after {
            After::Healed => {
                apply.expect("apply", 0, &[])?;
                if check.moved() != apply.moved() {
                    return Err(format!("check said {:?}, apply did {:?}", check.moved(), apply.moved()));
                }
                self.on(&lab, "check", &self.playbook).expect("check after apply", 0, &[])
            }
            After::Stays(exit, says) => {
                apply.expect("apply", *exit, says)?;
                self.on(&lab, "check", &self.playbook).expect("check after apply", case.exit, case.check)
            }
            After::Mended(exit, says) => {
                apply.expect("apply", *exit, says)?;
                self.on(&lab, "check", &self.playbook).expect("check after apply", case.exit, case.check)?;
                self.lab(&lab, &["mend"]);
                self.on(&lab, "apply", &self.playbook).expect("apply after mend", 0, &[])?;
                self.on(&lab, "check", &self.playbook).expect("check after mend", 0, &[])
            }
        }
    }
}

#[test]
fn every_fault_is_named_and_healed_or_left_to_a_person() {
    let ground = Ground::converged();
    let wrong = std::thread::scope(|scope| {
        let apart = scope.spawn(|| {
            let mut wrong = Vec::new();
            wrong.extend(held_primary(&ground).err().map(|why| format!("held-primary: {why}")));
            wrong.extend(beside_the_reference(&ground).err());
            wrong
        });
        let mut wrong = Vec::new();
        for case in REFERENCE {
            let since = Instant::now();
            if let Err(why) = ground.play(case) {
                wrong.push(format!("{}: {why}", case.fault));
            }
            eprintln!("{}: {} ms", case.fault, since.elapsed().as_millis());
        }
        wrong.extend(apart.join().unwrap_or_else(|_| vec!["a run did not end in time".into()]));
        wrong
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The device stays Primary where it is held, so the container cannot start elsewhere.
fn held_primary(ground: &Ground) -> Result<(), String> {
    let lab = ground.copy("held-primary");
    ground.lab(&lab, &["break", "held-primary"]);
    // The container runs where the device is held: nothing is wrong yet.
    ground.on(&lab, "check", &ground.playbook).expect("check while it runs there", 0, &[])?;
    let elsewhere = ground.written("elsewhere.yml", ELSEWHERE);
    ground.on(&lab, "apply", &elsewhere).expect("the move", 0, &[])?;
    let gave_up: Says = ("HA looks after", "cluster", "blocked", "another node that is still Primary");
    // The HA manager takes some seconds to move it and to give up.
    let until = Instant::now() + Duration::from_secs(60);
    while !ground.on(&lab, "check", &ground.playbook).says(&gave_up) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(500));
    }
    ground.on(&lab, "check", &ground.playbook).expect("check", 1, &[gave_up])?;
    ground.on(&lab, "apply", &ground.playbook).expect("apply", 1, &[gave_up])
}

/// Faults in what only an extra playbook describes, and of a disk before it is DRBD's.
fn beside_the_reference(ground: &Ground) -> Result<(), String> {
    let extra = ground.written("extra.yml", EXTRA);
    let lab = ground.copy("extra");
    // The result of a command is not known before it runs: no verdict on it.
    let unknown: Says = ("It said nothing", "pve1", "skipped", "");
    ground.on(&lab, "check", &extra).expect("extra: first check", 3, &[unknown])?;
    ground.on(&lab, "apply", &extra).expect("extra: apply", 0, &[])?;
    ground.lab(&lab, &["break", "apparmor-line-removed"]);
    let drift: Says = ("Mount rules", "pve3", "drifted", "");
    ground.on(&lab, "check", &extra).expect("apparmor-line-removed: check", 3, &[drift])?;
    let healed: Says = ("Mount rules", "pve3", "changed", "");
    ground.on(&lab, "apply", &extra).expect("apparmor-line-removed: apply", 0, &[healed])?;
    let clean: Says = ("Mount rules", "pve3", "ok", "");
    ground.on(&lab, "check", &extra).expect("apparmor-line-removed: check after apply", 3, &[clean])?;

    let lab = ground.temp.path().join("foreign");
    ground.lab(&lab, &["break", "foreign-disk"]);
    let kept: Says = (RESOURCE, "pve3", "blocked", "Metadata is never created over data");
    let apply = ground.on(&lab, "apply", &ground.playbook);
    apply.expect("foreign-disk: apply", 1, &[kept])?;
    if apply.told().contains("wipefs") {
        return Err(format!("foreign-disk: dangerous advice: {}", apply.told()));
    }
    ground.on(&lab, "check", &ground.playbook).expect("foreign-disk: check after apply", 1, &[kept])
}
