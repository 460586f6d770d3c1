//! A converged lab to copy and break, the real binary to run on it, and what a run said.

use super::cases::{After, Case, Says};
use serde_json::Value as Json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_converge");
const DEADLINE: Duration = Duration::from_secs(120);

pub struct Ran {
    pub exit: u8,
    pub json: Json,
    pub stderr: String,
}

impl Ran {
    pub fn results(&self) -> &[Json] {
        self.json["results"].as_array().map_or(&[], Vec::as_slice)
    }

    pub fn moved(&self) -> Vec<(&str, &str)> {
        let mut moved: Vec<_> =
            self.results().iter().filter(|r| matches!(text(r, "outcome"), "drifted" | "changed")).collect();
        moved.sort_by_key(|r| (text(r, "task"), text(r, "host")));
        moved.into_iter().map(|r| (text(r, "task"), text(r, "host"))).collect()
    }

    pub fn says(&self, (task, host, outcome, words): &Says) -> bool {
        self.results().iter().any(|r| {
            let said = format!("{} {}", text(r, "summary"), r["warnings"]);
            text(r, "task").contains(task)
                && text(r, "host") == *host
                && text(r, "outcome") == *outcome
                && said.contains(words)
        })
    }

    /// What is worth reading when a case fails.
    pub fn told(&self) -> String {
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
    pub fn expect(&self, what: &str, exit: u8, says: &[Says]) -> Result<(), String> {
        let missing: Vec<&Says> = says.iter().filter(|s| !self.says(s)).collect();
        if self.exit == exit && missing.is_empty() {
            return Ok(());
        }
        Err(format!("{what}: wanted exit {exit} and {missing:?}; it was {}", self.told()))
    }
}

pub fn text<'a>(json: &'a Json, key: &str) -> &'a str {
    json[key].as_str().unwrap_or_default()
}

/// Runs the binary; who is not done in time is killed, which fails the test.
pub fn run(dir: &Path, args: &[&str]) -> Ran {
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

pub struct Ground {
    pub temp: tempfile::TempDir,
    base: PathBuf,
    pub playbook: PathBuf,
}

impl Ground {
    /// One converged lab. Waits for peers are short: what they wait for never comes in some cases.
    pub fn converged() -> Self {
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

    pub fn copy(&self, name: &str) -> PathBuf {
        let lab = self.temp.path().join(name);
        assert!(Command::new("cp").arg("-r").arg(&self.base).arg(&lab).status().unwrap().success());
        lab
    }

    pub fn written(&self, name: &str, text: &str) -> PathBuf {
        let path = self.temp.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn on(&self, lab: &Path, command: &str, playbook: &Path) -> Ran {
        let lab = format!("--lab={}", lab.display());
        run(self.temp.path(), &[command, &playbook.display().to_string(), &lab, "-o", "json"])
    }

    pub fn lab(&self, lab: &Path, words: &[&str]) {
        let dir = lab.display().to_string();
        let ran = run(self.temp.path(), &[&["lab", "--dir", dir.as_str()], words].concat());
        assert_eq!(ran.exit, 0, "lab {words:?}: {}", ran.stderr);
    }

    pub fn play(&self, case: &Case) -> Result<(), String> {
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
