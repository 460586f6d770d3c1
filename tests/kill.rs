//! An apply that is killed (SIGKILL) at any moment and run again always ends converged: no torn file, no lost
//! handler, and the same cluster as one that was never killed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_converge");

fn playbook() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks/drbd-nfs.yml")
}

fn apply(lab: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("apply").arg(playbook()).arg(format!("--lab={}", lab.display())).args(["-o", "json"]);
    command.stdin(Stdio::null());
    command
}

/// A small generator, so that a failure names a seed that repeats it.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}

/// Every file below the nodes and the cluster file system, by content; what differs by nature is left out.
fn tree(lab: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(dir: &Path, base: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                walk(&path, base, files);
            } else if kind.is_file() {
                files.insert(path.strip_prefix(base).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    for part in ["nodes", "pve", "devices"] {
        walk(&lab.join(part), lab, &mut files);
    }
    files
}

/// Files whose content is new in every lab: certificates, keys, random addresses, logs, times.
fn differs_by_nature(path: &Path) -> bool {
    let text = path.to_string_lossy();
    ["ssl", "priv", "tasks", "pem", ".key", "password", "log", "lxc/101.conf", "apt-updated", "run/converge"]
        .iter()
        .any(|part| text.contains(part))
}

#[test]
fn an_apply_killed_at_any_moment_converges_when_run_again() {
    let seed = std::env::var("CONVERGE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64 | 1
    });
    eprintln!("CONVERGE_SEED={seed}");
    let mut random = Random(seed);
    let temp = tempfile::tempdir().unwrap();

    let whole = temp.path().join("whole");
    let since = Instant::now();
    let output = apply(&whole).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let full_ms = since.elapsed().as_millis() as u64;
    let expected = tree(&whole);

    for round in 0..4 {
        let lab = temp.path().join(format!("killed-{round}"));
        for _ in 0..4 {
            let mut child = apply(&lab).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(random.below(full_ms + full_ms / 5)));
            let _ = child.kill();
            child.wait().unwrap();
        }
        let last = apply(&lab).output().unwrap();
        assert!(last.status.success(), "round {round}: {}", String::from_utf8_lossy(&last.stdout));
        let idle = apply(&lab).output().unwrap();
        let run: serde_json::Value = serde_json::from_slice(&idle.stdout).unwrap();
        assert_eq!((idle.status.code(), &run["totals"]["changed"]), (Some(0), &0.into()), "round {round}: {run:#}");

        let found = tree(&lab);
        let names = |files: &BTreeMap<PathBuf, Vec<u8>>| {
            files.keys().filter(|p| !differs_by_nature(p)).cloned().collect::<Vec<_>>()
        };
        assert_eq!(names(&found), names(&expected), "round {round}: other files than a run that was not killed");
        for (path, content) in &expected {
            if !differs_by_nature(path) {
                assert_eq!(found.get(path), Some(content), "round {round}: {} differs", path.display());
            }
        }
        let owed: Vec<_> = found.keys().filter(|p| p.ends_with("handlers.json")).collect();
        assert!(owed.is_empty(), "round {round}: handlers still owed: {owed:?}");
    }
}
